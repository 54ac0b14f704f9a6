"""Dates and moments some days earlier or later, as PostgreSQL writes them. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass

from aegis_deploy.data import rules
from aegis_deploy.data.values.bounds import Bounds
from aegis_deploy.data.values.keyed import Digest, derived

_DAY = re.compile(r"(?P<year>\d{4,})-(?P<month>\d\d)-(?P<day>\d\d)(?P<rest>.*?)(?P<bc> BC)?")
_MIDNIGHT = re.compile(r"(\d{4,}-\d\d-\d\d)(?: 00:00:00(?:\+00)?)?")
_OUT_OF = {"infinity", "-infinity"}


@dataclass(frozen=True)
class Window:
    """Whole days that a check keeps a column to.

    Attributes:
        first: The first, counted from the first of March of year 0.
        days: How many.
    """

    first: int
    days: int


def window_of(bounds: Bounds, base: str) -> Window | None:
    """Return the days that a column's checks keep it to; None: they do not name whole days.

    Args:
        bounds: What its checks say.
        base: Its type: of a moment, the last day has to be told by the one after it.
    """
    low, high = bounds.low, bounds.high
    first = None if low is None else _MIDNIGHT.fullmatch(low.value)
    last = None if high is None else _MIDNIGHT.fullmatch(high.value)
    if low is None or high is None or first is None or last is None:
        return None
    if base != "date" and (high.inclusive or not low.inclusive):
        return None
    start, end = (_days(*map(int, it[1].split("-"))) for it in (first, last))
    start += not low.inclusive
    count = end - start + high.inclusive
    return Window(start, count) if count > 1 else None


def shift_key(key: bytes) -> bytes:
    """Return the key of shifts.

    Args:
        key: The key of all.
    """
    return derived(key, "shift")


def offset(rule: rules.Shift, key: bytes, value: str) -> int:
    """Return by how many days a date is shifted, never by none.

    Args:
        rule: The rule.
        key: That of :func:`shift_key`.
        value: The value of the column that decides; empty: the key alone does.
    """
    number = Digest(key).below(value, 2 * rule.days) - rule.days
    return number if number < 0 else number + 1


def shifted(value: str, days: int, window: Window | None = None) -> str:
    """Return a date or a moment some days later; its time of day stays.

    Args:
        value: It, as PostgreSQL writes it with DateStyle ISO.
        days: How many.
        window: The days that it stays in; after the last one comes the first. None: all are.
    """
    if value in _OUT_OF:
        return value
    match = _DAY.fullmatch(value)
    if match is None:
        raise ValueError("a date is not written as ISO has it")
    year = int(match["year"])
    number = _days(1 - year if match["bc"] else year, int(match["month"]), int(match["day"]))
    if window is not None and 0 <= number - window.first < window.days:
        # Not by none: it would be the same day again.
        number = window.first + (number - window.first + (days % window.days or 1)) % window.days
    else:
        number += days
    year, month, day = _civil(number)
    era = " BC" if year < 1 else ""
    return f"{1 - year if year < 1 else year:04}-{month:02}-{day:02}{match['rest']}{era}"


_ERA_DAYS, _ERA_YEARS = 146097, 400
_MARCH = 3


def _days(year: int, month: int, day: int) -> int:
    """Days since the first of March of year 0, as H. Hinnant's `days_from_civil` counts them.

    https://howardhinnant.github.io/date_algorithms.html; Python's dates end before year 1.
    """
    year -= month < _MARCH
    era, of_era = divmod(year, _ERA_YEARS)
    of_year = (153 * ((month - _MARCH) % 12) + 2) // 5 + day - 1
    return era * _ERA_DAYS + of_era * 365 + of_era // 4 - of_era // 100 + of_year


def _civil(days: int) -> tuple[int, int, int]:
    """The inverse, `civil_from_days`."""
    era, of_era = divmod(days, _ERA_DAYS)
    year = (of_era - of_era // 1460 + of_era // 36524 - of_era // 146096) // 365
    of_year = of_era - (365 * year + year // 4 - year // 100)
    part = (5 * of_year + 2) // 153
    month = (part + 2) % 12 + 1
    return (
        year + era * _ERA_YEARS + (month < _MARCH),
        month,
        of_year - (153 * part + 2) // 5 + 1,
    )
