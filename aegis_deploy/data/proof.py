"""That no value of a masked column of production is in a data set, by fingerprints.

A fingerprint is Python's own keyed hash of a text (SipHash, 64 bits), whose key this process has
made and never tells; none of them leaves its memory. Values are counted and never shown. An empty
text, array or document is no value, as NULL is none; nor is a text without a letter or a digit.
What PostgreSQL takes in several forms is compared in one: a mask need not write a number as
PostgreSQL does.
"""

from __future__ import annotations

import json
from array import array
from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from itertools import groupby

from aegis_deploy.common.errors import AegisError
from aegis_deploy.data.catalog import Column, Table, TableName

_EMPTY = frozenset({None, "", "{}", "{NULL}", "[]", "null", '""'})
_LEAST = 1 << 16
_SPACE = 8
"""How many slots of the filter there are for each value: one in so many looks is in vain."""


@dataclass(frozen=True)
class Coincidence:
    """How many values of a masked column are on both sides.

    Attributes:
        table: The table.
        column: The column.
        values: How many different values the data set has in it.
        found: How many of these production has, too.
        allowed: Whether its rule says that they may coincide.
    """

    table: TableName
    column: str
    values: int
    found: int
    allowed: bool

    @property
    def bad(self) -> bool:
        """Whether it is to be refused."""
        return self.found > 0 and not self.allowed

    def __str__(self) -> str:
        """Say it to people."""
        return f"{self.table}.{self.column}: {self.found} of {self.values} values"


class Fingerprints:
    """The fingerprints of a table's masked columns in a data set."""

    def __init__(self, table: Table, columns: Sequence[str], masked: Mapping[str, bool]) -> None:
        """Begin with none.

        Args:
            table: The table.
            columns: The columns of the rows that are added, in order.
            masked: Of each masked column, whether values may coincide.
        """
        self.table = table.name
        self._allowed = dict(masked)
        self._own = [(i, name) for i, name in enumerate(columns) if name in masked]
        self._form = [_form(table.column(name)) for _, name in self._own]
        self._seen = [array("q") for _ in self._own]

    @property
    def columns(self) -> tuple[str, ...]:
        """The masked columns, in order."""
        return tuple(name for _, name in self._own)

    def add(self, row: Sequence[str | None]) -> None:
        """Add a row of the data set.

        Args:
            row: Its values' text.
        """
        for seen, form, (i, _) in zip(self._seen, self._form, self._own, strict=True):
            value = row[i]
            if value not in _EMPTY:
                seen.append(hash(form(value) if form and value else value))

    def compare(self, rows: Iterable[Sequence[str | None]]) -> list[Coincidence]:
        """Count what production has of them.

        Args:
            rows: Of each of production's rows the values of :attr:`columns`.
        """
        sides = []
        for seen in self._seen:
            # Eight bytes each; a set would take ten times that.
            ordered = array("q", (it for it, _ in groupby(sorted(seen))))
            size = max(_LEAST, 1 << (len(ordered) * _SPACE).bit_length())
            filled = bytearray(size)
            for it in ordered:
                filled[it & (size - 1)] = 1
            found: set[int] = set()
            sides.append((ordered, filled, size - 1, found))
        both = list(zip(sides, self._form, strict=True))
        for row in rows:
            for value, ((ordered, filled, mask, found), form) in zip(row, both, strict=True):
                if value in _EMPTY:
                    continue
                it = hash(form(value) if form and value else value)
                if filled[it & mask]:
                    place = bisect_left(ordered, it)
                    hit = place < len(ordered) and ordered[place] == it
                    # A blank or a dash is nobody's.
                    if hit and value and any(map(str.isalnum, value)):
                        found.add(it)
        return [
            Coincidence(self.table, name, len(ordered), len(found), self._allowed[name])
            for name, (ordered, _, _, found) in zip(self.columns, sides, strict=True)
        ]


def _form(column: Column) -> Callable[[str], str] | None:
    """Return what brings a column's values into one form; None: they have one."""
    if column.array:
        return None
    return _FORMS.get(column.base)


def _number(text: str) -> str:
    try:
        return str(Decimal(text).normalize())
    except InvalidOperation:
        return text


def _document(text: str) -> str:
    try:
        return json.dumps(json.loads(text, parse_float=_number), sort_keys=True)
    except (ValueError, RecursionError):
        return text


_FORMS: Mapping[str, Callable[[str], str]] = {
    **dict.fromkeys(("numeric", "float4", "float8", "int2", "int4", "int8"), _number),
    **dict.fromkeys(("json", "jsonb"), _document),
    "bool": lambda text: text[:1].lower(),
    "bpchar": str.rstrip,
    "uuid": lambda text: text.replace("-", "").lower(),
}


def as_json(found: Sequence[Coincidence]) -> dict[str, object]:
    """Return a proof for machines.

    Args:
        found: Of each masked column, what was found.
    """
    return {
        "columns": len(found),
        "values": sum(it.values for it in found),
        "coincide": [
            {
                "table": str(it.table),
                "column": it.column,
                "values": it.values,
                "found": it.found,
                "allowed": it.allowed,
            }
            for it in found
            if it.found
        ],
    }


def require(found: Sequence[Coincidence], state: str) -> None:
    """Refuse a data set that holds values of production where they are masked.

    Args:
        found: Of each masked column, what was found.
        state: What state things are in then.

    Raises:
        AegisError: It does.
    """
    bad = [it for it in found if it.bad]
    if bad:
        raise AegisError(
            what="the data set has values of production in masked columns",
            why="\n".join(str(it) for it in bad),
            state=state,
            next="give these columns rules that make values of their own, or, where values may "
            "be the same (a city), add coincide: true to the rule; then sample again",
            details={"proof": as_json(found)},
        )
