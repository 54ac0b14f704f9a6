"""Arrays as PostgreSQL writes them, element by element. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable

_ELEMENT = re.compile(
    r'"(?P<quoted>(?:[^"\\]|\\.)*)"|(?P<plain>[^{},"]+)|(?P<mark>[{},])', re.DOTALL
)
_PLAIN_ELEMENT = re.compile(r"[^\s{},\"\\]+")
_BOUNDS_OF_ARRAY = re.compile(r"^(?:\[-?\d+:-?\d+\])+=")


def each_element(value: str, mask: Callable[[str], str | None]) -> str:
    """Return an array with each of its elements masked; its form stays, and NULL in it.

    Args:
        value: It, as PostgreSQL writes it.
        mask: The mask of an element.
    """
    prefix = match[0] if (match := _BOUNDS_OF_ARRAY.match(value)) else ""
    found = [prefix]
    for element in _ELEMENT.finditer(value, len(prefix)):
        if element["mark"] is not None:
            found.append(element[0])
        elif element["plain"] is not None and element[0].strip().upper() == "NULL":
            found.append("NULL")
        else:
            plain = element["plain"]
            text = (
                re.sub(r"\\(.)", r"\1", element["quoted"], flags=re.DOTALL)
                if plain is None
                else plain
            )
            masked = mask(text)
            found.append("NULL" if masked is None else _as_element(masked))
    return "".join(found)


def _as_element(text: str) -> str:
    if _PLAIN_ELEMENT.fullmatch(text) and text.upper() != "NULL":
        return text
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
