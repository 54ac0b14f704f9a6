"""Dates and moments some days earlier or later, as PostgreSQL writes them. Pure."""

from __future__ import annotations

import re

from aegis_deploy.data import rules
from aegis_deploy.data.values.keyed import Digest, derived

_DAY = re.compile(r"(?P<year>\d{4,})-(?P<month>\d\d)-(?P<day>\d\d)(?P<rest>.*?)(?P<bc> BC)?")
_OUT_OF = {"infinity", "-infinity"}


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


def shifted(value: str, days: int) -> str:
    """Return a date or a moment some days later; its time of day stays.

    Args:
        value: It, as PostgreSQL writes it with DateStyle ISO.
        days: How many.
    """
    if value in _OUT_OF:
        return value
    match = _DAY.fullmatch(value)
    if match is None:
        raise ValueError("a date is not written as ISO has it")
    year = int(match["year"])
    number = _days(1 - year if match["bc"] else year, int(match["month"]), int(match["day"]))
    year, month, day = _civil(number + days)
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
