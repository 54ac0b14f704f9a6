"""A timeline, drawn: phases, pods by release, probes, latency, and the moments that decided. Pure.

Everything is on one axis of time, so that what happened together stands together.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from aegis_deploy.model.timeline import ROLLBACK, PodSample, ProbeSample, Timeline
from aegis_deploy.report import svg

WIDE, NARROW = 920, 400
"""Two drawings of each timeline: one scaled down to a phone could not be read there."""
_LEFT, _RIGHT = 46, 14
_MARKS, _PHASES, _PODS, _PROBES, _LATENCY, _AXIS = 20, 22, 130, 90, 90, 30
_GAP, _TITLE, _LANE = 12, 18, 17
_COLOURS = 6
_CHARACTER = 7
_NARROW_TICKS, _WIDE_TICKS = 4, 9
_BRIEF = 0.02
"""A phase takes at least this share of the width, or it could not be seen."""


@dataclass(frozen=True)
class Moment:
    """A moment that decided.

    Attributes:
        at: When, in seconds since the timeline began.
        kind: passed, failed or rollback.
        words: What happened.
    """

    at: float
    kind: str
    words: str


@dataclass(frozen=True)
class Series:
    """The pods of one release, as the legend names them.

    Attributes:
        key: What names them.
        name: What a person calls them.
        colour: The number of their colour.
    """

    key: str
    name: str
    colour: int


def moments(timeline: Timeline) -> list[Moment]:
    """Return the moments that decided, in order."""
    found = [
        Moment(
            it.at,
            "passed" if it.passed else "failed",
            f"{it.words}{', of the rollback' if it.of == ROLLBACK else ''}: {it.reason}",
        )
        for it in timeline.judgements
    ]
    found += [
        Moment(it.at, "rollback", "rollback began") for it in timeline.phases if it.name == ROLLBACK
    ]
    return sorted(found, key=lambda it: it.at)


def series(timeline: Timeline) -> list[Series]:
    """Return the releases whose pods are in a timeline, in the order in which they came."""
    seen: dict[str, str] = {}
    for sample in timeline.pods:
        for group in sample.groups:
            seen.setdefault(group.key, group.name)
    names = list(seen.values())
    return [
        # Two releases of one version differ in their settings: the hash tells them apart.
        Series(
            key,
            f"{name} ({key.rpartition('/')[2]})" if names.count(name) > 1 else name,
            place % _COLOURS,
        )
        for place, (key, name) in enumerate(seen.items())
    ]


def draw(timeline: Timeline, width: int = WIDE) -> str:
    """Draw a timeline; empty when there is nothing in it that has a place in time.

    Args:
        timeline: The timeline.
        width: How wide the drawing is.
    """
    last = [it.at + it.seconds for it in timeline.probes] + [it.at for it in timeline.pods]
    seconds = max([timeline.seconds, *last])
    if seconds <= 0 or not (timeline.pods or timeline.probes or timeline.phases):
        return ""
    return _Plot(timeline, width, seconds).drawn()


class _Plot:
    """One drawing, from top to bottom."""

    def __init__(self, timeline: Timeline, width: int, seconds: float) -> None:
        self.timeline, self.width = timeline, width
        self.x = svg.Scale(0, seconds, _LEFT, width - _RIGHT)
        self.moments = moments(timeline)
        self.lanes = self._lanes()
        panels = [_PODS] if timeline.pods else []
        panels += [_PROBES, _LATENCY] if timeline.probes else []
        self.top: float = _MARKS + _LANE * (max(self.lanes, default=0))
        self.bottom: float = self.top + _PHASES + sum(it + _GAP + _TITLE for it in panels)
        self.root = svg.drawing(width, self.bottom + _AXIS, self._label())

    def drawn(self) -> str:
        """Draw all of it."""
        self._time_axis()
        self._phases()
        y = float(self.top + _PHASES)
        if self.timeline.pods:
            y = self._panel(y, _PODS, "pods by release", self._pods)
        if self.timeline.probes:
            y = self._panel(y, _PROBES, "probes a second", self._probes)
            self._panel(y, _LATENCY, "latency of good answers, ms", self._latency)
        self._marks()
        return svg.written(self.root)

    def _label(self) -> str:
        told = "; ".join(f"{it.at:.1f} s {it.words}" for it in self.moments)
        return (
            f"Timeline of {self.timeline.command} to {self.timeline.stack}: {told or 'no verdict'}"
        )

    def _lanes(self) -> list[int]:
        """The row of each mark: those that would cover one another stand in rows of their own."""
        taken: list[float] = []
        rows = []
        for it in self.moments:
            x = self.x(it.at)
            row = next((r for r, end in enumerate(taken) if x - end > _LANE), len(taken))
            taken[row : row + 1] = [x]
            rows.append(row)
        return rows

    def _time_axis(self) -> None:
        about = _WIDE_TICKS if self.width > NARROW else _NARROW_TICKS
        for at, name in svg.time_ticks(self.x.most, about):
            x = self.x(at)
            svg.line(self.root, (x, self.top), (x, self.bottom), "grid")
            near = x > self.width - _RIGHT - len(name) * _CHARACTER / 2
            kind = "tick end" if near else "tick middle"
            svg.text(self.root, x, self.bottom + 18, name, kind)

    def _phases(self) -> None:
        least = _BRIEF * (self.width - _LEFT - _RIGHT)
        for it in self.timeline.phases:
            start = self.x(it.at)
            end = self.x(it.at + (it.seconds or 0.0)) if it.seconds is not None else self.x.end
            wide = max(end - start, least)
            wide = min(wide, self.x.end - start)
            kind = "phase failed" if it.failed else f"phase {it.name}"
            box = svg.add(
                self.root, "rect", kind, x=start, y=self.top, width=wide, height=_PHASES - 4, rx=3
            )
            took = "its end was not seen" if it.seconds is None else f"{it.seconds:.1f} s"
            svg.hint(box, f"{it.name}: {took}{', failed' if it.failed else ''}")
            if wide > len(it.name) * _CHARACTER + 6:
                middle = start + wide / 2
                on = " on" if it.failed or it.name == ROLLBACK else ""
                svg.text(self.root, middle, self.top + 13, it.name, f"phase-name middle{on}")

    def _panel(
        self, y: float, height: int, title: str, draw: Callable[[float, float], None]
    ) -> float:
        svg.text(self.root, _LEFT, y + _TITLE - 4, title, "title")
        top, bottom = y + _TITLE, y + _TITLE + height
        draw(top, bottom)
        svg.line(self.root, (_LEFT, bottom), (self.width - _RIGHT, bottom), "axis")
        return bottom + _GAP

    def _scale(self, most: float, top: float, bottom: float) -> svg.Scale:
        """A scale from 0 with its ticks drawn."""
        marks = svg.ticks(0, most, 3, least_step=1.0)
        scale = svg.Scale(0, most, bottom, top)
        for value in marks:
            y = scale(value)
            svg.line(self.root, (_LEFT, y), (self.width - _RIGHT, y), "grid")
            svg.text(self.root, _LEFT - 6, y + 4, f"{value:g}", "tick end")
        return scale

    def _pods(self, top: float, bottom: float) -> None:
        samples = self.timeline.pods
        most = max(max(it.wanted, sum(g.pods for g in it.groups)) for it in samples)
        y = self._scale(max(1, most) + 0.2, top, bottom)
        below = [0] * len(samples)
        for one in series(self.timeline):
            found = [_of(sample, one.key) for sample in samples]
            ready = [low + it[0] for low, it in zip(below, found, strict=True)]
            every = [low + it[1] for low, it in zip(below, found, strict=True)]
            for lower, upper, kind in ((below, ready, "ready"), (ready, every, "unready")):
                path = svg.band(
                    self._at(samples, upper, y), self._at(samples, lower, y), self.x.end
                )
                area = svg.add(self.root, "path", f"pods c{one.colour} {kind}", d=path)
                svg.hint(area, f"{one.name}: {'ready' if kind == 'ready' else 'not ready'}")
            below = every
        wanted = self._at(samples, [it.wanted for it in samples], y)
        svg.add(self.root, "path", "wanted", d=svg.steps(wanted, self.x.end))

    def _at(
        self, samples: Sequence[PodSample], values: Sequence[float], y: svg.Scale
    ) -> list[tuple[float, float]]:
        return [(self.x(it.at), y(value)) for it, value in zip(samples, values, strict=True)]

    def _probes(self, top: float, bottom: float) -> None:
        samples = self.timeline.probes
        y = self._scale(max(it.sent / it.seconds for it in samples) * 1.1 or 1.0, top, bottom)
        for it in samples:
            x, end = self.x(it.at), self.x(it.at + it.seconds)
            wide = max(0.5, end - x - (1 if end - x > 3 else 0))  # noqa: PLR2004
            good = y((it.sent - it.failed) / it.seconds)
            every = y(it.sent / it.seconds)
            said = f"{it.at:g} s: {it.sent} probes, {it.failed} failed"
            for kind, upper, lower in (("good", good, bottom), ("bad", every, good)):
                if lower > upper:
                    box = svg.add(
                        self.root,
                        "rect",
                        f"probe {kind}",
                        x=x,
                        y=upper,
                        width=wide,
                        height=round(lower - upper, 2),
                    )
                    svg.hint(box, said)

    def _latency(self, top: float, bottom: float) -> None:
        samples = [it for it in self.timeline.probes if it.sent > it.failed]
        limit = self.timeline.asked.get("p99Ms", 0.0)
        slowest = max((it.p99_ms for it in samples), default=1.0)
        # A limit far above everything that was seen would press it flat against the axis.
        shown = limit if limit <= 2.5 * slowest else 0.0
        y = self._scale(max(slowest, shown, 1.0) * 1.1, top, bottom)
        for name in ("p99", "p50"):
            points = [
                (
                    self.x(it.at + it.seconds / 2),
                    y(it.p99_ms if name == "p99" else it.p50_ms),
                )
                for it in samples
            ]
            for x, place in points:
                svg.add(self.root, "circle", f"latency {name}", cx=x, cy=place, r=2)
            path = "".join(
                # Where nothing was asked, nothing is known: no line leads across.
                f"{'L' if place and _follows(samples[place - 1], it) else 'M'}{x:g} {height:g}"
                for place, (it, (x, height)) in enumerate(zip(samples, points, strict=True))
            )
            if path:
                svg.add(self.root, "path", f"latency {name}", d=path)
        if shown:
            svg.line(self.root, (_LEFT, y(shown)), (self.width - _RIGHT, y(shown)), "limit")

    def _marks(self) -> None:
        for place, (it, lane) in enumerate(zip(self.moments, self.lanes, strict=True), start=1):
            x, y = self.x(it.at), 10 + _LANE * lane
            svg.line(self.root, (x, y + 8), (x, self.bottom), f"mark {it.kind}")
            disc = svg.add(self.root, "circle", f"mark {it.kind}", cx=x, cy=y, r=8)
            svg.hint(disc, f"{it.at:.1f} s: {it.words}")
            svg.text(self.root, x, y + 4, place, "mark-number middle")


def _follows(before: ProbeSample, after: ProbeSample) -> bool:
    return after.at - before.at <= before.seconds


def _of(sample: PodSample, key: str) -> tuple[int, int]:
    """How many pods of a release are ready, and how many there are."""
    found = next((it for it in sample.groups if it.key == key), None)
    return (0, 0) if found is None else (found.ready, found.pods)
