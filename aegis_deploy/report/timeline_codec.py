"""Timelines as files: JSON that is bounded, whatever went on, and read back without trust. Pure.

What is too much is thinned out, never refused: a timeline must not fail a deploy.
"""

from __future__ import annotations

import heapq
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime
from typing import Any, TypeVar

from aegis_deploy.model.timeline import (
    MOST_SAMPLES,
    Judgement,
    PodSample,
    ProbeSample,
    Span,
    Timeline,
)
from aegis_deploy.model.workloads.rollout import Group

FORMAT = 1
MOST_BYTES = 128 * 1024
"""So large a file may be."""
MOST_STEPS = 300
MOST_LINES = 60
LONGEST_LINE = 400
_MOST_GROUPS = 8
_FEWEST_SAMPLES = 8
_Item = TypeVar("_Item")


def bounded(timeline: Timeline) -> Timeline:
    """Return a timeline of which no part is longer than it may be."""
    pods = tuple(map(_few, _thinned(timeline.pods, MOST_SAMPLES)))
    probes = timeline.probes[:MOST_SAMPLES]
    steps = _weightiest(timeline.steps)
    judgements = tuple(
        replace(
            it,
            reason=_cut(it.reason),
            serving=_cut(it.serving),
            evidence=_lines(it.evidence),
            notes=_lines(it.notes),
        )
        for it in timeline.judgements[-_MOST_GROUPS:]
    )
    parts = (pods, probes, steps, judgements)
    before = (timeline.pods, timeline.probes, timeline.steps, timeline.judgements)
    return replace(
        timeline,
        outcome="\n".join(_lines(timeline.outcome.splitlines())),
        planned=_lines(timeline.planned, MOST_STEPS),
        phases=timeline.phases[:MOST_LINES],
        pods=pods,
        probes=probes,
        steps=steps,
        judgements=judgements,
        thinned=timeline.thinned or any(map(_shorter, parts, before)),
    )


def encode(timeline: Timeline) -> bytes:
    """Write a timeline as JSON of no more than `MOST_BYTES`."""
    kept, longest = bounded(timeline), LONGEST_LINE
    while len(content := _written(kept)) > MOST_BYTES and longest > 1:
        fewer = _halved(kept)
        if fewer == kept:
            # What is left is mostly text, and in JSON a character may take twelve bytes.
            longest //= 2
            fewer = _terse(kept, longest)
        kept = fewer
    return content


def decode(content: bytes) -> Timeline:
    """Read a timeline.

    Raises:
        ValueError: It is damaged, or of a form that this version does not know.
    """
    try:
        raw = json.loads(content)
        if raw["format"] != FORMAT:
            raise ValueError(f"its form is {raw['format']!r}; this version reads {FORMAT}")
        return _timeline(raw)
    except (KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        raise ValueError(f"it is no timeline: {error}") from error


def _written(timeline: Timeline) -> bytes:
    raw = asdict(timeline)
    raw["started"] = timeline.started.astimezone(UTC).isoformat()
    return json.dumps({"format": FORMAT, **raw}, separators=(",", ":"), default=str).encode()


def _timeline(raw: Mapping[str, Any]) -> Timeline:
    return Timeline(
        stack=str(raw["stack"]),
        command=str(raw["command"]),
        started=_moment(raw["started"]),
        seconds=_number(raw["seconds"]),
        finished=bool(raw["finished"]),
        outcome=str(raw["outcome"]),
        planned=_texts(raw["planned"]),
        phases=_each(raw["phases"], _span),
        steps=_each(raw["steps"], _span),
        pods=_each(raw["pods"], _pods),
        probes=_each(raw["probes"], _probes),
        judgements=_each(raw["judgements"], _judgement),
        asked={str(name): _number(value) for name, value in raw["asked"].items()},
        thinned=bool(raw["thinned"]),
    )


def _span(raw: Mapping[str, Any]) -> Span:
    seconds = raw["seconds"]
    return Span(
        name=str(raw["name"]),
        at=_number(raw["at"]),
        seconds=None if seconds is None else _number(seconds),
        failed=bool(raw["failed"]),
    )


def _pods(raw: Mapping[str, Any]) -> PodSample:
    groups = _each(raw["groups"], _group)
    return PodSample(at=_number(raw["at"]), wanted=int(raw["wanted"]), groups=groups)


def _group(raw: Mapping[str, Any]) -> Group:
    return Group(
        key=str(raw["key"]),
        name=str(raw["name"]),
        pods=int(raw["pods"]),
        ready=int(raw["ready"]),
    )


def _probes(raw: Mapping[str, Any]) -> ProbeSample:
    return ProbeSample(
        at=_number(raw["at"]),
        seconds=_number(raw["seconds"]),
        sent=int(raw["sent"]),
        failed=int(raw["failed"]),
        p50_ms=_number(raw["p50_ms"]),
        p99_ms=_number(raw["p99_ms"]),
    )


def _judgement(raw: Mapping[str, Any]) -> Judgement:
    figures = raw["figures"]
    if figures is not None and not isinstance(figures, dict):
        raise TypeError("the probe metrics are none")
    return Judgement(
        at=_number(raw["at"]),
        of=str(raw["of"]),
        passed=bool(raw["passed"]),
        kind=str(raw["kind"]),
        reason=str(raw["reason"]),
        evidence=_texts(raw["evidence"]),
        notes=_texts(raw["notes"]),
        serving=str(raw["serving"]),
        figures=figures,
    )


def _each(raw: Any, make: Callable[[Mapping[str, Any]], _Item]) -> tuple[_Item, ...]:  # noqa: ANN401
    if not isinstance(raw, list):
        raise TypeError("a list is something else")
    return tuple(make(item) for item in raw)


def _texts(raw: Any) -> tuple[str, ...]:  # noqa: ANN401 - any JSON value
    if not isinstance(raw, list):
        raise TypeError("a list of texts is something else")
    return tuple(map(str, raw))


def _number(raw: Any) -> float:  # noqa: ANN401 - any JSON value
    value = float(raw)
    if not -1e9 < value < 1e9:  # noqa: PLR2004 - thirty years; NaN and infinity are neither
        raise ValueError(f"{raw!r} is no time or number")
    return value


def _moment(raw: Any) -> datetime:  # noqa: ANN401 - any JSON value
    found = datetime.fromisoformat(raw)
    return found if found.tzinfo is not None else found.replace(tzinfo=UTC)


def _few(sample: PodSample) -> PodSample:
    """A sample with a bounded number of groups, the largest."""
    largest = heapq.nlargest(_MOST_GROUPS, sample.groups, key=lambda it: it.pods)
    groups = (replace(it, key=_cut(it.key), name=_cut(it.name)) for it in largest)
    return replace(sample, groups=tuple(groups))


def _halved(kept: Timeline) -> Timeline:
    """Half of what there may be hundreds of."""
    return replace(
        kept,
        pods=_thinned(kept.pods, max(_FEWEST_SAMPLES, len(kept.pods) // 2)),
        steps=kept.steps[: len(kept.steps) // 2],
        planned=kept.planned[: len(kept.planned) // 2],
        probes=kept.probes[: max(_FEWEST_SAMPLES, len(kept.probes) // 2)],
        judgements=tuple(
            replace(it, evidence=it.evidence[: len(it.evidence) // 2]) for it in kept.judgements
        ),
        thinned=True,
    )


def _terse(kept: Timeline, longest: int) -> Timeline:
    """The texts that halving leaves alone, shorter; of the figures only the numbers."""

    def group(it: Group) -> Group:
        return replace(it, key=_cut(it.key, longest), name=_cut(it.name, longest))

    def judgement(it: Judgement) -> Judgement:
        numbers = {
            key: value
            for key, value in (it.figures or {}).items()
            if not isinstance(value, Mapping)
        }
        return replace(
            it,
            reason=_cut(it.reason, longest),
            serving=_cut(it.serving, longest),
            notes=tuple(_cut(note, longest) for note in it.notes),
            figures=it.figures and numbers,
        )

    return replace(
        kept,
        outcome="\n".join(_cut(line, longest) for line in kept.outcome.splitlines()),
        phases=tuple(replace(it, name=_cut(it.name, longest)) for it in kept.phases),
        pods=tuple(replace(it, groups=tuple(map(group, it.groups))) for it in kept.pods),
        judgements=tuple(map(judgement, kept.judgements)),
    )


def _thinned(samples: Sequence[PodSample], most: int) -> tuple[PodSample, ...]:
    """No more than some samples, spread evenly; the first and the last stay."""
    if len(samples) <= most:
        return tuple(samples)
    last = len(samples) - 1
    return tuple(samples[round(place * last / (most - 1))] for place in range(most))


def _weightiest(steps: Sequence[Span]) -> tuple[Span, ...]:
    """No more than some steps, in their order: the failed ones and the longest."""

    def weight(place: int) -> tuple[bool, float]:
        return steps[place].failed, steps[place].seconds or 0.0

    places = sorted(heapq.nlargest(MOST_STEPS, range(len(steps)), key=weight))
    return tuple(replace(steps[place], name=_cut(steps[place].name)) for place in places)


def _lines(lines: Sequence[str], most: int = MOST_LINES) -> tuple[str, ...]:
    return tuple(map(_cut, lines[:most]))


def _cut(text: str, longest: int = LONGEST_LINE) -> str:
    return text if len(text) <= longest else f"{text[: longest - 1]}…"


def _shorter(kept: Sequence[object], before: Sequence[object]) -> bool:
    return len(kept) < len(before)
