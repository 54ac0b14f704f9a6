"""Recording how a change of a stack goes. It listens, and asks the cluster and the engine nothing.

Keeping what was recorded is `report.timeline_store`.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from aegis_deploy.model.probe_metrics import Answer
from aegis_deploy.model.timeline import (
    ROLLBACK,
    Judgement,
    PodSample,
    Span,
    Timeline,
    probe_samples,
)
from aegis_deploy.model.workloads.rollout import Group

if TYPE_CHECKING:
    from aegis_deploy.model.gate_settings import GateSettings
    from aegis_deploy.model.verdict import Verdict
    from aegis_deploy.model.workloads.rollout import Rollout, Workload

MOST_ANSWERS = 200_000
"""So many probes are remembered; an hour of fifty a second has fewer."""


def name_of(moment: float) -> str:
    """Return what a timeline that began at a moment is called: names sort by time."""
    return f"{round(moment * 1_000_000):017}.json"


@dataclass
class Recorder:
    """A change of a stack that is under way. Every method may be called from any thread.

    Attributes:
        stack: The stack's name.
        command: What is done.
        clock: Seconds on a clock that only goes forward, the one that probes use.
    """

    stack: str
    command: str = ""
    clock: Callable[[], float] = time.monotonic
    _lock: threading.RLock = field(default_factory=threading.RLock, repr=False)

    def __post_init__(self) -> None:
        """Count from now on."""
        self.begin(self.command)

    def begin(self, command: str) -> None:
        """Forget everything, and count from now on.

        Args:
            command: What is done.
        """
        self.command = command
        self._began = self.clock()
        self._started = datetime.now(UTC)
        self._phases: list[Span] = []
        self._steps: dict[str, Span] = {}
        self._pods: list[PodSample] = []
        self._answers: list[tuple[float, Answer]] = []
        self._judgements: list[Judgement] = []
        self._asked: dict[str, float] = {}
        self._planned: tuple[str, ...] = ()
        self._outcome = ""
        self._missed = False

    @property
    def name(self) -> str:
        """What its file is called: names are in the order in which recordings began."""
        return name_of(self._started.timestamp())

    @property
    def changed(self) -> bool:
        """Whether anything happened that is worth keeping: more than a look was taken."""
        return bool(self._judgements) or any(it.name != "preview" for it in self._phases)

    @property
    def speaks(self) -> bool:
        """Whether there is text in it that comes from containers or from the engine."""
        return bool(self._outcome) or any(it.evidence for it in self._judgements)

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Note when a phase begins and ends; one that raises failed."""
        with self._lock:
            place = len(self._phases)
            self._phases.append(Span(name=name, at=self._now()))
        failed = True
        try:
            yield
            failed = False
        finally:
            with self._lock:
                span = self._phases[place]
                seconds = round(self._now() - span.at, 3)
                self._phases[place] = replace(span, seconds=seconds, failed=span.failed or failed)

    def phase_failed(self) -> None:
        """Say that the phase that is under way, or was the last, failed."""
        with self._lock:
            if self._phases:
                self._phases[-1] = replace(self._phases[-1], failed=True)

    def plan(self, lines: Sequence[str]) -> None:
        """Note what is to change."""
        self._planned = tuple(line.strip() for line in lines)

    def asks(self, gate: GateSettings) -> None:
        """Note what the gate asks of the release."""
        self._asked = {
            "bakeSeconds": float(gate.bake_seconds),
            "successRatio": float(gate.success_ratio),
            "p99Ms": float(gate.p99_ms),
            "probeRate": float(gate.probe_rate),
            "canary": float(gate.canary_seconds),
        }

    def step(self, key: str, name: str, kind: str) -> None:
        """Note that a step begins, ends or fails.

        Args:
            key: What names it among the steps of one phase.
            name: It, in a person's words.
            kind: ``begins``, ``ends`` or ``fails``.
        """
        with self._lock:
            now, key = self._now(), f"{len(self._phases)} {key}"
            span = self._steps.setdefault(key, Span(name=name, at=now))
            if kind != "begins":
                seconds, failed = round(now - span.at, 3), kind == "fails"
                self._steps[key] = replace(span, name=name, seconds=seconds, failed=failed)

    def rollouts(self, rollouts: Mapping[Workload, Rollout]) -> None:
        """Note how far rollouts are."""
        several = len(rollouts) > 1
        groups = tuple(
            Group(
                key=f"{workload}/{it.key}",
                name=f"{workload.label} {it.name}" if several else it.name,
                pods=it.pods,
                ready=it.ready,
            )
            for workload, rollout in rollouts.items()
            for it in rollout.groups
        )
        wanted = sum(it.wanted for it in rollouts.values())
        with self._lock:
            last = self._pods[-1] if self._pods else None
            if last is None or (last.wanted, last.groups) != (wanted, groups):
                self._pods.append(PodSample(at=self._now(), wanted=wanted, groups=groups))

    def answer(self, due: float, answer: Answer) -> None:
        """Note what came of a probe that was due at a moment of the clock."""
        with self._lock:
            if len(self._answers) < MOST_ANSWERS:
                self._answers.append((max(0.0, due - self._began), answer))
            else:
                self._missed = True

    def judged(self, verdict: Verdict) -> None:
        """Note a verdict, or evidence that ended an update."""
        if not verdict.passed:
            self.phase_failed()
        with self._lock:
            restoring = any(it.name == ROLLBACK for it in self._phases)
            self._judgements.append(
                Judgement(
                    at=self._now(),
                    of="rollback" if restoring else "release",
                    passed=verdict.passed,
                    kind=verdict.kind,
                    reason=verdict.reason,
                    evidence=verdict.evidence,
                    notes=verdict.notes,
                    serving=verdict.serving,
                    figures=None if verdict.figures is None else verdict.figures.as_json(),
                )
            )

    def ended(self, outcome: str) -> None:
        """Note how it ended when it did not end well."""
        self._outcome = outcome

    def timeline(self, *, finished: bool = False) -> Timeline:
        """Return what was recorded so far; nothing in it is masked.

        Args:
            finished: Whether it has ended.
        """
        with self._lock:
            return Timeline(
                stack=self.stack,
                command=self.command,
                started=self._started,
                seconds=self._now(),
                finished=finished,
                outcome=self._outcome,
                planned=self._planned,
                phases=tuple(self._phases),
                steps=tuple(self._steps.values()),
                pods=tuple(self._pods),
                probes=probe_samples(self._answers),
                judgements=tuple(self._judgements),
                asked=dict(self._asked),
                thinned=self._missed,
            )

    def _now(self) -> float:
        return round(self.clock() - self._began, 3)
