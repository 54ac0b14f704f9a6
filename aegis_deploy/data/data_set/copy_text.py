"""A row in COPY's text format.

It is https://www.postgresql.org/docs/current/sql-copy.html#SQL-COPY-FILE-FORMATS.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

NULL = "\\N"
_SPECIAL = re.compile(r"[\\\t\n\r]").search
_ESCAPED = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"})
_ESCAPE = re.compile(r"\\(x[0-9A-Fa-f]{1,2}|[0-7]{1,3}|.)", re.DOTALL)
_PLAIN = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}


def encode(row: Sequence[str | None]) -> bytes:
    """Return a row as COPY has it, with its newline.

    Args:
        row: The values' text; None: NULL.
    """
    fields = [NULL if it is None else it.translate(_ESCAPED) if _SPECIAL(it) else it for it in row]
    return ("\t".join(fields) + "\n").encode()


def decode(line: bytes) -> list[str | None]:
    """Return the values' text; None: NULL.

    Args:
        line: As COPY has it, with its newline.
    """
    text = line.decode().removesuffix("\n")
    return [
        None if it == NULL else _ESCAPE.sub(_character, it) if "\\" in it else it
        for it in text.split("\t")
    ]


def _character(found: re.Match[str]) -> str:
    said = found[1]
    if said[0] == "x" and len(said) > 1:
        return chr(int(said[1:], 16))
    if said[0] in "01234567":
        return chr(int(said, 8))
    return _PLAIN.get(said, said)
