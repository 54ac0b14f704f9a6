"""What .dockerignore leaves out of a build context.

docker-py has a matcher of its own. It always keeps the .dockerignore file and the Dockerfile, reads
``[^a]`` and backslashes differently and drops ``..``; a digest over its list would not be the one
the official provider writes into the state. So these are the rules of moby's patternmatcher, which
that provider uses, and the same list feeds the digest and the archive.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_WILDCARDS: Final = frozenset("*[]?^\\")
_ESCAPED: Final = frozenset(".+()|{}$")


class BadPattern(Exception):  # noqa: N818
    """A line of an ignore file cannot be read."""


def read_patterns(dockerfile: str, context: str) -> list[str]:
    """Return the patterns for a Dockerfile, from the file beside it or the context's own.

    Args:
        dockerfile: Path of the Dockerfile; ``<dockerfile>.dockerignore`` wins when it exists.
        context: The context's directory, whose ``.dockerignore`` counts otherwise.
    """
    for path in (Path(f"{dockerfile}.dockerignore"), Path(context, ".dockerignore")):
        try:
            text = path.read_text(encoding="utf-8-sig", errors="surrogateescape")
        except FileNotFoundError:
            continue
        return [clean for line in text.split("\n") if (clean := _clean(line))]
    return []


def _clean(line: str) -> str:
    if line.startswith("#"):
        return ""
    pattern = line.strip()
    exception = "!" if pattern.startswith("!") else ""
    pattern = pattern.removeprefix("!").strip()
    if pattern:
        pattern = _normal(pattern)
        if len(pattern) > 1:
            pattern = pattern.removeprefix("/")
    return exception + pattern


def _normal(path: str) -> str:
    """Return the shortest equal path; two leading slashes are one."""
    normal = posixpath.normpath(path)
    return normal[1:] if normal.startswith("//") else normal


@dataclass(frozen=True)
class _Pattern:
    text: str
    expression: re.Pattern[str]
    exception: bool

    def may_match_inside(self, directory: str) -> bool:
        """Say whether a path below a directory can match, judging by the part before a glob."""
        inside = f"{directory}/"
        glob = next((i for i, char in enumerate(self.text) if char in _WILDCARDS), None)
        if glob is None:
            return self.text.startswith(inside)
        fixed = self.text[: self.text.rfind("/", 0, glob) + 1]
        return fixed.startswith(inside) or inside.startswith(fixed)


class Ignore:
    """A list of patterns; later ones override earlier ones, ``!`` takes paths back in."""

    def __init__(self, patterns: Iterable[str]) -> None:
        self._patterns = [_compile(pattern) for pattern in patterns if pattern.strip()]

    def match(self, path: str, parent: Sequence[bool] | None) -> tuple[bool, list[bool]]:
        """Say whether a path is ignored.

        Args:
            path: Relative to the context, with slashes.
            parent: What this method returned second for the path's directory, None at the top.

        Returns:
            Whether it is ignored, and what its own children need as ``parent``.
        """
        ignored = False
        matches = []
        for index, pattern in enumerate(self._patterns):
            matched = parent is not None and parent[index]
            if not matched and pattern.exception == ignored:
                matched = pattern.expression.match(path) is not None
            if matched:
                ignored = not pattern.exception
            matches.append(matched)
        return ignored, matches

    def may_hold_exceptions(self, directory: str) -> bool:
        """Say whether an ignored directory can hold files that a ``!`` pattern takes back."""
        return any(
            pattern.exception and pattern.may_match_inside(directory) for pattern in self._patterns
        )


def _compile(text: str) -> _Pattern:
    pattern = text.strip()
    exception = pattern.startswith("!")
    pattern = pattern.removeprefix("!")
    if not pattern:
        raise BadPattern(f"{text!r} takes nothing back: a path must follow the '!'")
    pattern = _normal(pattern)
    try:
        expression = re.compile(_expression(pattern), re.DOTALL)
    except re.error as error:
        raise BadPattern(f"{text!r} is not a valid pattern: {error}") from error
    return _Pattern(pattern, expression, exception)


def _expression(pattern: str) -> str:
    """Return the regular expression of a cleaned pattern."""
    if pattern.startswith("**") and not _WILDCARDS & set(pattern[2:]):
        suffix = pattern[2:]  # "**/name": at any depth; "**name": any path that ends so
        bare = f"|{re.escape(suffix[1:])}" if suffix.startswith("/") else ""
        return rf"(?:.*{re.escape(suffix)}{bare})\Z"
    parts = []
    index = 0
    while index < len(pattern):
        char = pattern[index]
        index += 1
        if pattern.startswith("**", index - 1):
            index += 1
            if pattern.startswith("/", index):
                index += 1
            parts.append(".*" if index >= len(pattern) else "(?:.*/)?")
        elif char == "*":
            parts.append("[^/]*")
        elif char == "?":
            parts.append("[^/]")
        elif char == "\\" and index < len(pattern):
            parts.append(re.escape(pattern[index]))
            index += 1
        elif char in _ESCAPED or char == "\\":
            parts.append(re.escape(char))
        else:
            parts.append(char)
    return "".join(parts) + r"\Z"
