"""Documents of JSON, masked value by value; their keys stay. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

_STEP = re.compile(r"\.(?P<name>[^.\[\]*\"]+)|\[\"(?P<quoted>[^\"]+)\"\]|(?P<any>\[\*\]|\.\*)")
Step = str | None
"""A step of a path: a key, or None for any."""


def parsed_path(text: str) -> tuple[Step, ...]:
    """Read a path such as `$.owner.phone`, `$.list[*].id`, `$["a b"]`, `$.*`.

    Args:
        text: The path.

    Raises:
        ValueError: It is none.
    """
    if not text.startswith("$"):
        raise ValueError(f"{text} is no path: it has to begin with $")
    at, found = 1, list[Step]()
    while at < len(text):
        match = _STEP.match(text, at)
        if match is None:
            raise ValueError(f"{text} is no path such as $.owner.phone, $.list[*].id or $.*")
        found.append(match["name"] or match["quoted"])
        at = match.end()
    return tuple(found)


Leaf = Callable[[object], object]
"""A mask of a document's value."""


class Number(str):
    """A number as it is written: a float would lose digits."""

    __slots__ = ()


def redacted(value: object, text: str) -> object:
    """Return what stands for a document's value: the same words for any text, 0, false or null.

    Args:
        value: The value.
        text: The words.
    """
    if isinstance(value, Number):
        return Number("0")
    if isinstance(value, bool):
        return False
    return text if isinstance(value, str) else None


def document(ways: Mapping[tuple[Step, ...], Leaf], others: Leaf) -> Callable[[str], str]:
    """Return what masks a document, value by value; its keys stay.

    Args:
        ways: What becomes of the values at a path and below it.
        others: What becomes of all others.
    """
    open_ways = tuple(ways.items())

    def made(value: str) -> str:
        read = json.loads(value, parse_float=Number, parse_int=Number, parse_constant=Number)
        return _written(_walked(read, open_ways, others))

    return made


_Ways = Sequence[tuple[tuple[Step, ...], Leaf]]


def _walked(value: object, ways: _Ways, below: Leaf) -> object:
    """Mask a value; of the paths those are left that lead on from here."""
    below = next((leaf for path, leaf in ways if not path), below)
    if isinstance(value, dict):
        return {
            name: _walked(it, _onward(ways, name), below)
            for name, it in value.items()
        }  # fmt: skip
    if isinstance(value, list):
        onward = _onward(ways, None)
        return [_walked(it, onward, below) for it in value]
    return below(value)


def _onward(ways: _Ways, name: str | None) -> _Ways:
    """The paths whose first step is a key, or any; the exact one first."""
    found = [(path, leaf) for path, leaf in ways if path and path[0] in {name, None}]
    found.sort(key=lambda it: it[0][0] is None)
    return [(path[1:], leaf) for path, leaf in found]


_HALF_PAIR = re.compile("[\ud800-\udfff]")


def _written(value: Any) -> str:  # noqa: ANN401 - a document's value
    if isinstance(value, Number):
        return str(value)
    if isinstance(value, dict):
        inner = ", ".join(f"{_written(k)}: {_written(v)}" for k, v in value.items())
        return f"{{{inner}}}"
    if isinstance(value, list):
        return f"[{', '.join(map(_written, value))}]"
    text = json.dumps(value, ensure_ascii=False)
    # Half a pair of UTF-16, which `json` takes and UTF-8 does not, stays the escape that it was.
    return json.dumps(value) if _HALF_PAIR.search(text) else text
