"""Made-up values of a row that stand in an order, as its checks want: a day after another. Pure.

One of two columns follows from the other: it is so much later or greater, by chance.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from functools import lru_cache

from aegis_deploy.data.catalog import Column
from aegis_deploy.data.values.bounds import Limit, Pair, kind_of
from aegis_deploy.data.values.spread import DAY_SECONDS, Draw, Rows

Made = Callable[[Rows], Sequence[str | None]]
"""Gives a column's values of some rows."""
_REACH = {"day": Decimal(30 * DAY_SECONDS), "number": Decimal(100)}
"""How far behind the one the other lies at most, in seconds or as numbers are."""
_SCALE = 2
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_TRIES = 64


@dataclass(frozen=True)
class Order:
    """That a column follows from another of its row.

    Attributes:
        base: The other one.
        rises: Whether it is the greater one.
        apart: Whether they are never the same.
    """

    base: str
    rises: bool
    apart: bool


def family(column: Column) -> str:
    """Return what a column can be compared with: `day`, `number`, or nothing.

    Args:
        column: It.
    """
    kind = "" if column.array else kind_of(column)
    return "number" if kind in {"integer", "number"} else "day" if kind == "day" else ""


def step(column: Column) -> Decimal:
    """Return what lies between two neighbours of a column, a second or one being the unit.

    Args:
        column: The column.
    """
    if family(column) == "day":
        return Decimal(DAY_SECONDS if column.base == "date" else 1)
    if kind_of(column) == "integer":
        return Decimal(1)
    return Decimal(1).scaleb(-(column.precision or (0, _SCALE))[1])


def amount(column: Column, text: str) -> Decimal:
    """Return a value as a number that those of other columns can be compared with.

    Args:
        column: Its column.
        text: It, as PostgreSQL writes it.

    Raises:
        ValueError: It is none that can be compared.
        ArithmeticError: Likewise.
    """
    return _seconds(text[:19]) if family(column) == "day" else Decimal(text)


def written(column: Column, number: Decimal) -> str:
    """Return a number as a value of a column.

    Args:
        column: The column.
        number: The number, one that the column has.
    """
    if family(column) != "day":
        return f"{number:f}"
    if column.base == "date":
        return _day(int(number) // DAY_SECONDS)
    moment = _EPOCH + timedelta(seconds=int(number))
    return f"{moment:%Y-%m-%d %H:%M:%S}" + ("+00" if column.base == "timestamptz" else "")


def fitted(column: Column, number: Decimal, *, up: bool) -> Decimal:
    """Return the nearest number that a column has.

    Args:
        column: The column.
        number: The number.
        up: Whether it is to be no less; else no more.
    """
    one = step(column)
    return (number / one).to_integral_value(ROUND_CEILING if up else ROUND_FLOOR) * one


def limit(column: Column, given: Limit | None, *, up: bool) -> Decimal | None:
    """Return the least or the greatest number that a column may have.

    Args:
        column: The column.
        given: What a check says; None: nothing.
        up: Whether it is the least.
    """
    if given is None:
        return None
    try:
        number = amount(column, given.value)
    except (ValueError, ArithmeticError):
        return None
    found = fitted(column, number, up=up)
    if found == number and not given.inclusive:
        found += step(column) if up else -step(column)
    return found


def orders(
    pairs: Sequence[Pair], columns: Mapping[str, Column], free: Callable[[str], bool]
) -> dict[str, list[Order]]:
    """Decide which column follows from which; a pair of which neither can is left out.

    Args:
        pairs: How checks compare the columns.
        columns: The columns.
        free: Whether one may follow from another.
    """
    found: dict[str, list[Order]] = {}

    def rests_on(one: str, other: str) -> bool:
        return one == other or any(rests_on(it.base, other) for it in found.get(one, ()))

    for pair in pairs:
        if not pair.ordered or family(columns[pair.least]) != family(columns[pair.most]):
            continue
        for name, base, rises in ((pair.most, pair.least, True), (pair.least, pair.most, False)):
            if free(name) and not rests_on(base, name):
                found.setdefault(name, []).append(Order(base, rises, pair.apart))
                break
    return found


def following(
    column: Column,
    bases: Sequence[tuple[Order, Column, Made]],
    plain: Made,
    draw: Draw,
    ends: tuple[Decimal | None, Decimal | None],
) -> Made:
    """Return what a column holds that follows from others.

    Args:
        column: The column.
        bases: From which, and what they hold.
        plain: What it holds where all of these are NULL.
        draw: Numbers at random.
        ends: The least and the greatest that it takes; None: any.
    """
    one, reach = step(column), _REACH[family(column)]
    least, most = ends

    def made(rows: Rows) -> list[str | None]:
        theirs = [source(rows) for _, _, source in bases]
        found = list[str | None]()
        for at, (own, number) in enumerate(zip(plain(rows), draw(rows), strict=True)):
            lows = [*_ends(bases, theirs, at, rises=True)]
            highs = [*_ends(bases, theirs, at, rises=False)]
            if not lows and not highs:
                found.append(own)
                continue
            low = max([*lows, *([] if least is None else [least])], default=None)
            high = min([*highs, *([] if most is None else [most])], default=None)
            if low is None or (not lows and high is not None):
                assert high is not None  # noqa: S101 - one of them is there
                low = high - reach if low is None else max(low, high - reach)
            high = low + reach if high is None else min(high, low + reach)
            room = max(int((high - low) / one) + 1, 1)
            found.append(written(column, low + (number * room >> 64) * one))
        return found

    def _ends(
        bases: Sequence[tuple[Order, Column, Made]],
        theirs: Sequence[Sequence[str | None]],
        at: int,
        *,
        rises: bool,
    ) -> Iterator[Decimal]:
        for (order, base, _), values in zip(bases, theirs, strict=True):
            value = values[at]
            if value is not None and order.rises is rises:
                number = amount(base, value)
                near = fitted(column, number, up=rises)
                if order.apart and near == number:
                    near += one if rises else -one
                yield near

    return made


def differing(made: Made, other: Made, rows_in_all: int) -> Made:
    """Return what a column holds that never has the value of another in its row.

    Where it would, it gets what it has in a row that there is not.

    Args:
        made: What it would hold.
        other: What the other holds.
        rows_in_all: How many rows the table has.
    """

    def apart(rows: Rows) -> list[str | None]:
        found, theirs = list(made(rows)), other(rows)
        same = [at for at, it in enumerate(found) if it is not None and it == theirs[at]]
        for more in range(1, _TRIES):
            if not same:
                break
            others = made([rows[at] + more * rows_in_all for at in same])
            for at, it in zip(same, others, strict=True):
                found[at] = it
            same = [at for at in same if found[at] is not None and found[at] == theirs[at]]
        return found

    return apart


@lru_cache(maxsize=20000)
def _seconds(text: str) -> Decimal:
    moment = datetime.fromisoformat(text).replace(tzinfo=UTC)
    return Decimal(int((moment - _EPOCH).total_seconds()))


@lru_cache(maxsize=20000)
def _day(number: int) -> str:
    return (date(1970, 1, 1) + timedelta(number)).isoformat()
