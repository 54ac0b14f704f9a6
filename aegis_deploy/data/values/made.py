"""What a column of no reference holds when its rows are made up. Pure.

What the settings say comes first, then what its checks and its type allow, then what its name
speaks of.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from decimal import Decimal, InvalidOperation
from math import prod

from aegis_deploy.data import rules
from aegis_deploy.data.catalog import Column, Table
from aegis_deploy.data.values import fakes, spread
from aegis_deploy.data.values.bounds import (
    INTEGERS,
    Bounds,
    Kind,
    bounds_of,
    kind_of,
    misfit,
    narrower,
)
from aegis_deploy.data.values.naming import meant
from aegis_deploy.data.values.ordered import amount, fitted, limit, step
from aegis_deploy.data.values.spread import DAY_SECONDS, Form, Rows, Source

_FIRST, _LAST = date(2020, 1, 1), date(2024, 12, 31)
"""Days lie between these, whatever today is: the same seed makes the same rows tomorrow."""
_SPAN = 1000
"""Numbers without a bound lie within so many of their first."""
_ANY = 2**63
_PROBED = 64
_ELEMENTS = 3
_SIMPLE = {
    "interval": ("1 day", "36:00:00", "3 mons"),
    "time": ("08:00:00", "12:30:00", "23:59:59"),
    "timetz": ("08:00:00+00", "12:30:00+00", "23:59:59+00"),
    "inet": ("192.0.2.1", "198.51.100.7", "203.0.113.9", "2001:db8::1"),
    "cidr": ("192.0.2.0/24", "198.51.100.0/24", "2001:db8::/32"),
    "macaddr": ("00:00:5e:00:53:01", "00:00:5e:00:53:02"),
    "money": ("1.00", "25.50", "100.00"),
    "tsvector": ("", "'mock':1", "'made':1 'up':2"),
    "xml": ("<mock/>",),
    "point": ("(0,0)", "(1,2)"),
    "hstore": ("", '"made"=>"up"'),
    "oid": ("0",),
    "name": ("mock",),
}
"""Values of types that nothing else is known of; addresses are those of documentation (RFC 5737,
RFC 3849, RFC 7042)."""


class Refused(Exception):  # noqa: N818 - it is an answer, no fault
    """A column cannot be made up; the message says why."""


@dataclass(frozen=True)
class Unique:
    """That each row has a value of its own.

    Attributes:
        rows: How many rows there are.
    """

    rows: int


@dataclass(frozen=True)
class Settings:
    """What decides what a column holds.

    Attributes:
        table: Its table.
        column: It.
        said: How its values are spread.
        seed: What decides, together with the names.
        locale: Whose names and addresses.
        unique: Whether each row has a value of its own.
        limits: What columns that follow from it have it keep to, beside its checks.
    """

    table: Table
    column: Column
    said: rules.MockColumn
    seed: int
    locale: str
    unique: Unique | None = None
    limits: Bounds = field(default_factory=Bounds)

    @property
    def bounds(self) -> Bounds:
        """What its checks say."""
        return narrower(bounds_of(self.table, self.column), self.limits, self.kind)

    @property
    def kind(self) -> Kind:
        """The kind of its values, or of its elements."""
        return kind_of(self.column)

    @property
    def values(self) -> Sequence[str] | None:
        """The few values that it takes; None: they are not few."""
        if self.said.fixed is not None:
            return (self.said.fixed,)
        if self.said.choice is not None:
            return tuple(self.said.choice)
        if self.bounds.values is not None:
            return self.bounds.values
        if self.column.array:
            return None
        return ("false", "true") if self.kind == "truth" else _SIMPLE.get(self.column.base)

    @property
    def can_be_made(self) -> bool:
        """Whether it is of a type that something is known of, or somebody said what it holds."""
        return self.kind != "other" or self.values is not None

    def draw(self, *use: object) -> spread.Draw:
        """Return numbers at random of its own."""
        name = self.table.name
        return spread.stream(self.seed, name.schema, name.name, self.column.name, *use)


def room_of(settings: Settings) -> int:
    """Return how many different values a column can be given.

    Args:
        settings: What decides.
    """
    try:
        return _made(settings)[1]
    except Refused:
        return 0


def made_column(settings: Settings) -> Callable[[Rows], Sequence[str | None]]:
    """Return what a column holds.

    Args:
        settings: What decides.

    Raises:
        Refused: It cannot be made up.
    """
    try:
        source, _ = _made(settings)
    except Refused:
        # Nobody said what it holds, and nothing has to stand there.
        if settings.column.nullable and settings.said == rules.MockColumn(
            nulls=settings.said.nulls
        ):
            return lambda rows: [None] * len(rows)
        raise
    if settings.column.array and settings.said.fixed is None and settings.said.choice is None:
        return _array(settings, source)
    return source


def _array(settings: Settings, source: Source) -> Source:
    count = spread.below(settings.draw("elements"), _ELEMENTS + 1)

    def made(rows: Rows) -> list[str]:
        counts = count(rows)
        every = [
            row * _ELEMENTS + it
            for row, many in zip(rows, counts, strict=True)
            for it in range(many)
        ]
        values = iter(source(every))
        return ["{" + ",".join(_quoted(next(values)) for _ in range(many)) + "}" for many in counts]

    return made


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


_Made = tuple[Source, int]
"""A source, and how many different values it has when each row wants one."""


def _made(settings: Settings) -> _Made:
    said, unique = settings.said, settings.unique
    if unique is not None and settings.column.array:
        raise Refused("it is an array in a key; give it choice")
    values = settings.values
    if values is not None:
        return _few(settings, values)
    if said.pattern is not None:
        return _form(settings, spread.form_of(said.pattern))
    maker = _MAKERS.get(settings.kind)
    if maker is None:
        raise Refused(f"nothing is known of {settings.column.type}; give it fixed or choice")
    return maker(settings)


def _uuid(settings: Settings) -> _Made:
    return spread.uuids(settings.draw("high"), settings.draw("low")), 2**48


def _json(_: Settings) -> _Made:
    return (lambda rows: [f'{{"made": {it}}}' for it in rows]), _ANY


def _bytes(_: Settings) -> _Made:
    return (lambda rows: [f"\\x{it:016x}" for it in rows]), _ANY


def _few(settings: Settings, values: Sequence[str]) -> _Made:
    for it in values:
        reason = None if settings.column.array else misfit(it, settings.column, settings.bounds)
        if reason is not None:
            raise Refused(f"{it!r} does not fit: {reason}")
    if settings.unique is not None:
        return (lambda rows: [values[it % len(values)] for it in rows]), len(values)
    if settings.said.choice is not None:
        weights = [Decimal(str(it)) for it in settings.said.choice.values()]
        return spread.picked(values, spread.weighted(settings.draw(), weights)), len(values)
    return spread.picked(values, spread.below(settings.draw(), len(values))), len(values)


def _form(settings: Settings, form: Form) -> _Made:
    size = prod(map(len, form))
    _hold(settings, spread.filled(form, 0))
    if settings.unique is not None:
        name = settings.table.name
        names = (settings.seed, name.schema, name.name, settings.column.name)
        spot = spread.scattered(*names, size=size)
        return (lambda rows: [spread.filled(form, it) for it in spot(rows)]), size
    return spread.of_form(form, settings.draw()), size


def _hold(settings: Settings, *values: str) -> None:
    """Hold values against what the column takes."""
    for it in values:
        reason = misfit(it, settings.column, settings.bounds)
        if reason is not None:
            raise Refused(f"{reason}; give it pattern, choice or fixed")


# -- numbers and days -------------------------------------------------------------------------


def _ends(settings: Settings, first: Decimal, span: Decimal) -> tuple[Decimal, Decimal, bool, bool]:
    """Return the least and the greatest number, and whether they are ones themselves."""
    if settings.said.between is not None:
        try:
            low, high = map(Decimal, settings.said.between)
        except InvalidOperation:
            raise Refused("between has to be two numbers") from None
        return low, high, True, True
    low_limit, high_limit = settings.bounds.low, settings.bounds.high
    wanted = span if settings.unique is None else max(span, Decimal(settings.unique.rows))
    if low_limit is not None:
        low = Decimal(low_limit.value)
    else:
        low = first if high_limit is None else min(first, Decimal(high_limit.value) - span)
    high = low + wanted if high_limit is None else Decimal(high_limit.value)
    closed = low_limit is None or low_limit.inclusive
    return low, high, closed, high_limit is None or high_limit.inclusive


def _number(settings: Settings) -> _Made:
    column = settings.column
    scale, most = 0, Decimal(INTEGERS.get(column.base, 2**53)) - 1
    if settings.kind == "number":
        digits, scale = column.precision or (12, 2)
        scale = max(scale, 0)
        most = Decimal(10) ** (digits - scale) - 1
    low, high, low_in, high_in = _ends(settings, Decimal(1), Decimal(_SPAN))
    if settings.said.between is None:
        low, high = max(low, -most), min(high, most)
    unit = Decimal(1).scaleb(-scale)
    least = int((low / unit).to_integral_value("ROUND_CEILING"))
    greatest = int((high / unit).to_integral_value("ROUND_FLOOR"))
    least += not low_in and least * unit == low
    greatest -= not high_in and greatest * unit == high
    room = greatest - least + 1
    if room < 1:
        raise Refused(f"there is no number between {low} and {high}")
    shown = [str(Decimal(it).scaleb(-scale)) for it in (least, greatest)]
    _hold(settings, *shown)
    if settings.unique is None:
        return spread.numbers(settings.draw(), least, greatest, scale), room
    step = 10**scale if room >= settings.unique.rows * 10**scale else 1
    if step == 1 and not scale:
        return (lambda rows: [str(least + it) for it in rows]), room
    return (
        lambda rows: [str(Decimal(least + it * step).scaleb(-scale)) for it in rows]
    ), room // step


def _day(settings: Settings) -> _Made:
    column, said = settings.column, settings.said.between
    zone = "+00" if column.base == "timestamptz" else ""
    low = limit(column, settings.bounds.low, up=True)
    high = limit(column, settings.bounds.high, up=False)
    first, last = _FIRST, _LAST
    if said is not None:
        try:
            first, last = map(date.fromisoformat, said)
        except ValueError:
            raise Refused("between has to be two days, such as 2024-01-31") from None
        low = high = None
    least = amount(column, str(first)) if low is None else low
    most = amount(column, f"{last}T23:59:59") if high is None else high
    most = fitted(column, most, up=False)
    if said is None and high is None:
        most = max(least, most)
    elif said is None and low is None:
        least = min(least, most)
    one = step(column)
    size = int((most - least) / one) + 1
    if size < 1:
        raise Refused(f"there is no day between {first} and {last}")
    first_day, offset = divmod(int(least), DAY_SECONDS)
    start = date(1970, 1, 1) + timedelta(first_day)

    def show(place: Callable[[Rows], list[int]]) -> Source:
        if column.base == "date":
            return spread.days(place, start)
        return spread.moments(lambda rows: [it + offset for it in place(rows)], start, zone)

    if settings.unique is None:
        return show(spread.below(settings.draw(), size)), size
    apart = max(size // max(settings.unique.rows, 1), 1)
    return show(lambda rows: [it * apart for it in rows]), size


# -- texts ------------------------------------------------------------------------------------


def _text(settings: Settings) -> _Made:
    kind = settings.said.fake or meant(settings.column.name)
    try:
        return _faked(settings, kind if kind not in {None, "hash"} else "sentence")
    except Refused:
        forms = [spread.form_of_expression(it) for it, _ in settings.bounds.patterns]
        if settings.said.fake is not None or len(forms) != 1 or forms[0] is None:
            raise
        return _form(settings, forms[0])


def _faked(settings: Settings, kind: str | None) -> _Made:
    bounds, kind = settings.bounds, kind or "sentence"
    email = kind == "email"
    values = fakes.pool("user" if email else kind, settings.locale)
    tail = "@example.com" if email else ""
    if settings.unique is None:
        cut = [_fitted(it, tail, bounds) for it in values]
        _hold(settings, *cut[:_PROBED])
        return spread.picked(cut, spread.below(settings.draw(), len(cut))), len(cut)
    room = bounds.longest
    digits = len(spread.base36(max(settings.unique.rows - 1, 0)))
    if room is not None and room < digits + len(tail):
        return (lambda rows: [spread.base36(it) for it in rows]), 36**room
    kept = None if room is None else max(room - digits - len(tail) - 1, 0)
    joint = "." if email else " "
    place = spread.below(settings.draw(), len(values))

    def made(rows: Rows) -> list[str]:
        found = []
        for row, it in zip(rows, place(rows), strict=True):
            name, number = values[it][:kept].strip(), spread.base36(row).rjust(digits, "0")
            found.append(f"{name}{joint}{number}{tail}" if name else f"{number}{tail}")
        return found

    _hold(settings, *made(range(min(settings.unique.rows, _PROBED))))
    return made, _ANY


def _fitted(text: str, tail: str, bounds: Bounds) -> str:
    room = None if bounds.longest is None else max(bounds.longest - len(tail), 0)
    text = f"{text[:room].rstrip()}{tail}"
    return text.ljust(bounds.shortest, "x") if len(text) < bounds.shortest else text


_MAKERS: dict[Kind, Callable[[Settings], _Made]] = {
    "integer": _number,
    "number": _number,
    "day": _day,
    "uuid": _uuid,
    "json": _json,
    "bytes": _bytes,
    "text": _text,
}
