"""The build context: which files it holds, and the digest that tells whether it changed.

The digest is part of the resource's inputs in the state, so it has to be, byte for byte, the one
the official provider computes: over the Dockerfile, then over every file that .dockerignore leaves
in, in lexical order, each with its path, its mode and the hash of its content (of a symbolic link:
of the path it leads to).
"""

from __future__ import annotations

import hashlib
import os
import posixpath
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from lab.plugins.docker.ignore import Ignore, read_patterns

_MAX_LINKS: Final = 255
_TYPES: Final = {
    stat.S_IFDIR: "d",
    stat.S_IFLNK: "L",
    stat.S_IFBLK: "D",
    stat.S_IFCHR: "Dc",
    stat.S_IFIFO: "p",
    stat.S_IFSOCK: "S",
}
_SPECIAL_BITS: Final = ((stat.S_ISUID, "u"), (stat.S_ISGID, "g"), (stat.S_ISVTX, "t"))
_ORDER: Final = "dLDpSugct"


@dataclass(frozen=True)
class Entry:
    """A file or directory of the context.

    Attributes:
        path: Relative to the context, with slashes.
        mode: As ``os.lstat`` gives it.
    """

    path: str
    mode: int


def entries(context: str, ignore: Ignore) -> Iterator[Entry]:
    """Walk a context in lexical order, a directory before its content, without what is ignored."""
    yield from _walk(context, "", ignore, None)


def _walk(
    context: str, directory: str, ignore: Ignore, parent: Sequence[bool] | None
) -> Iterator[Entry]:
    with os.scandir(os.path.join(context, directory)) as scan:  # noqa: PTH118
        found = sorted(scan, key=lambda item: os.fsencode(item.name))
    for item in found:
        path = f"{directory}/{item.name}" if directory else item.name
        ignored, matches = ignore.match(path, parent)
        if not ignored:
            yield Entry(path, item.stat(follow_symlinks=False).st_mode)
        if item.is_dir(follow_symlinks=False) and (not ignored or ignore.may_hold_exceptions(path)):
            yield from _walk(context, path, ignore, matches)


def digest(context: str, dockerfile: str) -> str:
    """Return the context's digest, as the official provider writes it into the state.

    Args:
        context: The context's directory.
        dockerfile: The Dockerfile's path (not relative to the context).

    Raises:
        OSError: A file cannot be read or a symbolic link leads nowhere.
        BadPattern: The ignore file has a line that cannot be read.
    """
    total = hashlib.sha256()
    # The Dockerfile counts under one name and without its mode, wherever it is.
    _add(total, "Dockerfile", "-" * 10, _file_hash(dockerfile))
    for entry in entries(context, Ignore(read_patterns(dockerfile, context))):
        if stat.S_ISDIR(entry.mode):
            continue
        path = os.path.join(context, entry.path)  # noqa: PTH118
        if stat.S_ISLNK(entry.mode):
            content = hashlib.sha256(os.fsencode(resolved(path)))
        elif stat.S_ISREG(entry.mode) or stat.S_ISSOCK(entry.mode):
            content = _file_hash(path)
        else:
            content = hashlib.sha256()
        _add(total, entry.path, mode_string(entry.mode), content)
    return total.hexdigest()


def archive_members(context: str, dockerfile: str) -> list[str]:
    """Return what the daemon gets: what is not ignored, the directories on the way to it.

    A Dockerfile and an ignore file inside the context are sent even when they are ignored, for
    the daemon needs them.

    Args:
        context: The context's directory.
        dockerfile: The Dockerfile's path.
    """
    ignore = Ignore(read_patterns(dockerfile, context))
    members = {entry.path for entry in entries(context, ignore)}
    for needed in (relative_dockerfile(context, dockerfile), ".dockerignore"):
        if not needed.startswith("../") and os.path.lexists(f"{context}/{needed}"):
            members.add(needed)
    for path in list(members):
        while path := posixpath.dirname(path):
            members.add(path)
    return sorted(members)


def relative_dockerfile(context: str, dockerfile: str) -> str:
    """Return the Dockerfile's path seen from the context; it starts with ``../`` outside of it."""
    return os.path.relpath(os.path.realpath(dockerfile), os.path.realpath(context))


def _add(total: hashlib._Hash, path: str, mode: str, content: hashlib._Hash) -> None:
    total.update(os.fsencode(path) + mode.encode() + content.digest() + b"\0")


def _file_hash(path: str) -> hashlib._Hash:
    with open(path, "rb") as file:  # noqa: PTH123
        return hashlib.file_digest(file, "sha256")


def mode_string(mode: int) -> str:
    """Return a mode as Go prints it, such as ``-rw-r--r--`` or ``Lrwxrwxrwx``."""
    kind = _TYPES.get(stat.S_IFMT(mode), "")
    marks = kind + "".join(letter for bit, letter in _SPECIAL_BITS if mode & bit)
    prefix = "".join(sorted(marks, key=_ORDER.index)) or "-"
    return prefix + stat.filemode(mode & 0o777)[1:]


def resolved(path: str) -> str:
    """Return where a path leads once its links are followed, relative when the path is.

    Raises:
        OSError: A link leads nowhere, or in circles.
    """
    pending = path.split("/")[::-1]
    root = "/" if path.startswith("/") else ""
    done: list[str] = []
    links = 0
    while pending:
        part = pending.pop()
        if part in ("", "."):
            continue
        if part == "..":
            if done and done[-1] != "..":
                done.pop()
            elif not root:
                done.append(part)
            continue
        here = root + "/".join([*done, part])
        if not stat.S_ISLNK(os.lstat(here).st_mode):
            done.append(part)
            continue
        links += 1
        if links > _MAX_LINKS:
            raise OSError(f"too many links in {path}")
        target = os.readlink(here)  # noqa: PTH115
        if target.startswith("/"):
            root, done = "/", []
        pending.extend(target.split("/")[::-1])
    return posixpath.normpath(root + "/".join(done))
