"""What happened while a stack was changed, moment by moment, in a form that can be kept. Pure.

The history says what was deployed and how it ended. A timeline says how it went: pods by release,
probes second by second, steps and phases with their times, verdicts with their evidence. Times are
seconds since it began.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from aegis_deploy.model.probe_metrics import Answer, percentile
from aegis_deploy.model.workloads.rollout import Group

MOST_SAMPLES = 400
"""So many samples of one kind are kept; more could not be told apart in a plot."""


@dataclass(frozen=True, kw_only=True)
class PodSample:
    """The pods at a moment; they stay so until the next sample.

    Attributes:
        at: When.
        wanted: How many there are to be.
        groups: How many there are, by release.
    """

    at: float
    wanted: int
    groups: tuple[Group, ...] = ()


@dataclass(frozen=True, kw_only=True)
class ProbeSample:
    """The probes of an interval.

    Attributes:
        at: When it began.
        seconds: How long it is.
        sent: How many probes were due in it.
        failed: How many of them were not answered well.
        p50_ms: What half of the good answers took at most.
        p99_ms: What 99 % of them took at most.
    """

    at: float
    seconds: float
    sent: int
    failed: int
    p50_ms: float
    p99_ms: float


@dataclass(frozen=True, kw_only=True)
class Span:
    """Something that took its time: a phase of the work, or a step of an update.

    Attributes:
        name: What.
        at: When it began.
        seconds: How long it took; None when its end was not seen.
        failed: Whether it failed.
    """

    name: str
    at: float
    seconds: float | None = None
    failed: bool = False


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """A verdict of the gate, or evidence that ended an update.

    Attributes:
        at: When it was given.
        of: What was judged: ``release`` or ``rollback``.
        passed: Whether it is good.
        kind: What failed, as :class:`model.verdict.Verdict` calls it.
        reason: Why, in a line.
        evidence: Log lines and events.
        notes: What was not judged, and why.
        serving: What served then.
        figures: What the probes saw, as :class:`model.probe_metrics.ProbeMetrics` writes it.
    """

    at: float
    of: str
    passed: bool
    kind: str
    reason: str
    evidence: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    serving: str = ""
    figures: Mapping[str, Any] | None = None

    @property
    def words(self) -> str:
        """It in two words."""
        return (
            f"{'update' if self.kind == UPDATE else 'gate'} {'passed' if self.passed else 'failed'}"
        )


@dataclass(frozen=True, kw_only=True)
class Timeline:
    """How a change of a stack went.

    Attributes:
        stack: The stack's name.
        command: What was done: deploy, rollback, recover, ``pulumi up`` and so on.
        started: When it began.
        seconds: How long it took, or has taken so far.
        finished: Whether its end was recorded; its deployer died, or goes on, otherwise.
        outcome: How it ended, when it did not end well.
        planned: What was to change, as previewed, a line a resource.
        phases: Preview, update, gate, rollback.
        steps: The resources that were changed.
        pods: Pods by release.
        probes: What was sent to the service, and what came of it.
        judgements: The verdicts.
        asked: What the gate asked of the release, by its settings' names.
        thinned: Whether there was more than is kept.
    """

    stack: str
    command: str
    started: datetime
    seconds: float = 0.0
    finished: bool = False
    outcome: str = ""
    planned: tuple[str, ...] = ()
    phases: tuple[Span, ...] = ()
    steps: tuple[Span, ...] = ()
    pods: tuple[PodSample, ...] = ()
    probes: tuple[ProbeSample, ...] = ()
    judgements: tuple[Judgement, ...] = ()
    asked: Mapping[str, float] = field(default_factory=dict)
    thinned: bool = False


PREVIEW, UPDATE, GATE, ROLLBACK = "preview", "update", "gate", "rollback"
"""The names of the phases."""


def probe_samples(
    answers: Sequence[tuple[float, Answer]], most: int = MOST_SAMPLES
) -> tuple[ProbeSample, ...]:
    """Sum up probes by whole seconds, or by as many as leave no more than some samples.

    Seconds without a probe between two with one are there, with none sent: nothing was asked then.

    Args:
        answers: When each probe was due, and what came of it.
        most: How many samples there may be.
    """
    if not answers:
        return ()
    first = int(min(at for at, _ in answers))
    last = int(max(at for at, _ in answers))
    width = -(-(last - first + 1) // most)
    buckets: dict[int, list[Answer]] = {}
    for at, answer in answers:
        buckets.setdefault((int(at) - first) // width, []).append(answer)
    return tuple(
        _probe_sample(float(first + place * width), float(width), buckets.get(place, []))
        for place in range((last - first) // width + 1)
    )


def _probe_sample(at: float, seconds: float, answers: Sequence[Answer]) -> ProbeSample:
    good = [answer.milliseconds for answer in answers if answer.ok]
    return ProbeSample(
        at=at,
        seconds=seconds,
        sent=len(answers),
        failed=len(answers) - len(good),
        p50_ms=round(percentile(good, 50), 1),
        p99_ms=round(percentile(good, 99), 1),
    )
