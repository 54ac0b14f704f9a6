"""Releases over time, drawn: how many of a day or a week went well, failed, or went back. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from aegis_deploy.history.dora import Deployment
from aegis_deploy.model.release import Release
from aegis_deploy.report import svg

GOOD, FAILED, ROLLBACK = "good", "failed", "rollback"
_LEFT, _RIGHT, _TOP, _HEIGHT, _AXIS = 34, 14, 10, 150, 26
_MOST_BARS = 60
_WIDEST_BAR = 64.0
_CHARACTER = 7
_PERIODS = (
    timedelta(hours=1),
    timedelta(days=1),
    timedelta(days=7),
    timedelta(days=28),
    timedelta(days=364),
)


@dataclass
class Period:
    """The releases of one period.

    Attributes:
        start: When it began.
        counts: How many there were, by how they went.
    """

    start: datetime
    counts: Counter[str] = field(default_factory=Counter)


def periods(
    found: Sequence[Deployment], rollbacks: Sequence[Release], now: datetime
) -> tuple[timedelta, list[Period]]:
    """Count releases by period, the shortest of which there are not too many.

    Args:
        found: The deployments.
        rollbacks: The rollbacks.
        now: The present moment.

    Returns:
        How long a period is, and the periods, oldest first, those without a release too.
    """
    kinds = [(it.release.started, FAILED if it.failed else GOOD) for it in found]
    kinds += [(it.started, ROLLBACK) for it in rollbacks]
    if not kinds:
        return _PERIODS[0], []
    first = min(when for when, _ in kinds)
    last = max(now, *(when for when, _ in kinds))
    length = next((it for it in _PERIODS if (last - first) / it < _MOST_BARS), _PERIODS[-1])
    midnight = datetime(first.year, first.month, first.day, tzinfo=UTC)
    start = midnight + ((first - midnight) // length) * length
    made = [Period(start + place * length) for place in range((last - start) // length + 1)]
    for when, kind in kinds:
        made[(when - start) // length].counts[kind] += 1
    return length, made


def draw(length: timedelta, made: Sequence[Period], width: int) -> str:
    """Draw periods as bars; empty when there are none.

    Args:
        length: How long a period is.
        made: The periods.
        width: How wide the drawing is.
    """
    if not made:
        return ""
    bottom = _TOP + _HEIGHT
    root = svg.drawing(width, bottom + _AXIS, f"Releases in {len(made)} periods of {length}")
    most = max(it.counts.total() for it in made)
    y = svg.Scale(0, most * 1.05, bottom, _TOP)
    for value in svg.ticks(0, most, 4, least_step=1.0):
        svg.line(root, (_LEFT, y(value)), (width - _RIGHT, y(value)), "grid")
        svg.text(root, _LEFT - 6, y(value) + 4, f"{value:g}", "tick end")
    x = svg.Scale(0, len(made), _LEFT, width - _RIGHT)
    form = "%m-%d %H:%M" if length < timedelta(days=1) else "%Y-%m-%d"
    about = max(1, (width - _LEFT) // (len(f"{made[0].start:{form}}") * _CHARACTER + 24))
    every = -(-len(made) // about)
    for place, it in enumerate(made):
        left, right = x(place), x(place + 1)
        gap = min(2.0, (right - left) / 5)
        below = 0
        for kind in (GOOD, FAILED, ROLLBACK):
            count = it.counts[kind]
            if not count:
                continue
            upper, lower = y(below + count), y(below)
            box = svg.add(
                root,
                "rect",
                f"release {kind}",
                x=round(left + gap, 2),
                y=upper,
                width=round(min(_WIDEST_BAR, max(1.0, right - left - 2 * gap)), 2),
                height=round(lower - upper, 2),
            )
            svg.hint(box, f"{it.start:{form}}: {count} {kind}")
            below += count
        if place % every == 0:
            svg.text(root, left, bottom + 18, f"{it.start:{form}}", "tick")
    svg.line(root, (_LEFT, bottom), (width - _RIGHT, bottom), "axis")
    return svg.written(root)
