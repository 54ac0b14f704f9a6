"""Which columns of made-up rows follow from others, where a CHECK compares the two. Pure."""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

from aegis_deploy.data import rules
from aegis_deploy.data.catalog import Column, Table
from aegis_deploy.data.values.bounds import Bounds, Limit, bounds_of, pairs_of
from aegis_deploy.data.values.ordered import (
    Made,
    Order,
    fitted,
    following,
    limit,
    orders,
    step,
    written,
)
from aegis_deploy.data.values.spread import Draw


@dataclass(frozen=True)
class RowOrders:
    """Which columns of a table follow from which.

    Attributes:
        table: The table.
        said: How a column's values are spread, by its name.
        of: What each column follows from that follows from any.
    """

    table: Table
    said: Callable[[str], rules.MockColumn]
    of: Mapping[str, Sequence[Order]]

    @classmethod
    def chosen(
        cls, table: Table, said: Callable[[str], rules.MockColumn], decided: Container[str]
    ) -> RowOrders:
        """Decide which column follows from which.

        Args:
            table: The table.
            said: How a column's values are spread, by its name.
            decided: The columns that refer to other rows; none of them follows.
        """
        columns = {it.name: it for it in table.columns}
        keyed = {name for key in table.keys for name in key.columns}

        def free(name: str) -> bool:
            given, column = said(name), columns[name]
            sources = (given.fixed, given.choice, given.pattern, given.fake)
            return not (
                name in decided
                or name in keyed
                or column.counted
                or column.generated
                or any(it is not None for it in sources)
                or bounds_of(table, column).values is not None
            )

        return cls(table, said, orders(pairs_of(table), columns, free))

    def limits(self, column: Column) -> Bounds:
        """Return what a column may hold so that those that follow from it have room.

        Args:
            column: The column.
        """
        if not any(it.base == column.name for bases in self.of.values() for it in bases):
            return Bounds()
        ends = [self._end(column.name, up=it) for it in (True, False)]
        low, high = (
            None if it is None else Limit(written(column, it), inclusive=True) for it in ends
        )
        return Bounds(low=low, high=high)

    def behind(self, column: Column, made: Made, source: Callable[[str], Made], draw: Draw) -> Made:
        """Return a column's values, behind those that it follows from, if it follows from any.

        Args:
            column: The column.
            made: Its values where it would not.
            source: Gives another column's values, by its name.
            draw: How far behind.
        """
        if column.name not in self.of:
            return made
        bases = [(it, self.table.column(it.base), source(it.base)) for it in self.of[column.name]]
        ends = self._end(column.name, up=True), self._end(column.name, up=False)
        return following(column, bases, made, draw, ends)

    def _end(self, name: str, *, up: bool) -> Decimal | None:
        """The least (up) or the greatest that a column takes, those that follow from it in mind."""
        column, said = self.table.column(name), self.said(name).between
        bounds = bounds_of(self.table, column)
        given = bounds.low if up else bounds.high
        if said is not None:
            given = Limit(said[0 if up else 1], inclusive=True)
        ends = [limit(column, given, up=up)]
        for other, bases in self.of.items():
            for it in bases:
                end = self._end(other, up=up) if it.base == name else None
                if end is not None and it.rises is not up:
                    apart = step(self.table.column(other)) if it.apart else 0
                    ends.append(fitted(column, end + (apart if up else -apart), up=up))
        known = [it for it in ends if it is not None]
        return (max(known) if up else min(known)) if known else None
