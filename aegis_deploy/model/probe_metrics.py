"""What probes saw, as metrics, and whether they are good enough. Pure."""

from __future__ import annotations

import math
from bisect import insort
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from aegis_deploy.model.gate_settings import GateSettings

_PERCENT = 100


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What came of one probe.

    Attributes:
        ok: Whether it was answered well: a status of 200 to 399.
        what: The status, or what went wrong, in a few words.
        milliseconds: From when it was due until the whole answer was there.
        version: The version the answer names, if it is a failure, too.
        excuse: Why it says nothing of whoever answered; empty when it does.
    """

    ok: bool
    what: str
    milliseconds: float
    version: str | None = None
    excuse: str = ""

    @property
    def lost(self) -> bool:
        """Whether there was no answer at all: an error's name stands where a status would."""
        return not self.ok and not self.what.isdigit()


@dataclass(frozen=True, kw_only=True)
class ProbeMetrics:
    """What a number of probes saw.

    Attributes:
        total: How many there were.
        failed: How many were not answered well.
        p99_ms: What 99 % of the answers took at most; of fewer than 100, the slowest.
        slow: How many good answers took longer than the gate allows.
        outcomes: How often each status or error came back.
        versions: How often each version was named by a good answer.
        excused: How many more there were that say nothing of whoever answered, by why.
    """

    total: int = 0
    failed: int = 0
    p99_ms: float = 0.0
    slow: int = 0
    outcomes: Mapping[str, int] = field(default_factory=dict)
    versions: Mapping[str, int] = field(default_factory=dict)
    excused: Mapping[str, int] = field(default_factory=dict)

    @property
    def success_ratio(self) -> float:
        """The share that was answered well; 1 of none."""
        return 1.0 if self.total == 0 else (self.total - self.failed) / self.total

    @property
    def lost(self) -> int:
        """How many got no answer at all."""
        return sum(count for what, count in self.outcomes.items() if not what.isdigit())

    def __str__(self) -> str:
        said = ", ".join(f"{what}: {count}" for what, count in self.outcomes.items())
        versions = ", ".join(f"{v}: {n}" for v, n in self.versions.items()) or "not named"
        excused = "".join(f"; {n} more not counted: {why}" for why, n in self.excused.items())
        return (
            f"{self.total} answered or lost, {self.failed} failed, p99 {self.p99_ms:.0f} ms; "
            f"status {said or 'none'}; version {versions}{excused}"
        )

    def as_json(self) -> dict[str, Any]:
        """Return the figures for machines."""
        return {
            "total": self.total,
            "failed": self.failed,
            "successRatio": round(self.success_ratio, 6),
            "p99Ms": round(self.p99_ms, 1),
            "outcomes": dict(self.outcomes),
            "versions": dict(self.versions),
        }


def percentile(values: Iterable[float], percent: float) -> float:
    """Return the value that ``percent`` of the values do not exceed (nearest rank); 0 of none."""
    return _ranked(sorted(values), percent)


class Tally:
    """Answers that are summed up as they come; a failed one counts as failed, not as slow."""

    def __init__(self, p99_ms: float) -> None:
        """Begin with none.

        Args:
            p99_ms: What counts as slow.
        """
        self._p99_ms, self._total, self._slow = p99_ms, 0, 0
        self._good: list[float] = []
        """How long the good ones took, in order."""
        self._outcomes, self._versions = Counter[str](), Counter[str]()
        self._excused = Counter[str]()

    def add(self, answer: Answer) -> None:
        """Count one more."""
        if answer.excuse:
            self._excused[answer.excuse] += 1
            return
        self._total += 1
        self._outcomes[answer.what] += 1
        if answer.ok:
            if answer.version is not None:
                self._versions[answer.version] += 1
            insort(self._good, answer.milliseconds)
            self._slow += answer.milliseconds > self._p99_ms

    def figures(self) -> ProbeMetrics:
        """Return what they came to so far."""
        return ProbeMetrics(
            total=self._total,
            failed=self._total - len(self._good),
            p99_ms=_ranked(self._good, 99),
            slow=self._slow,
            outcomes=dict(self._outcomes),
            versions=dict(self._versions),
            excused=dict(self._excused),
        )


def _ranked(ordered: Sequence[float], percent: float) -> float:
    if not ordered:
        return 0.0
    return ordered[max(0, math.ceil(percent * len(ordered) / _PERCENT) - 1)]


def allowed_failures(total: int, ratio: float) -> int:
    """Return how many of ``total`` probes may fail so that ``ratio`` is still reached."""
    return max(0, math.floor(total * (1 - ratio) + 1e-9))


def allowed_slow(total: int) -> int:
    """Return how many of ``total`` answers may be slow.

    As many as leave the 99th percentile below the limit; of fewer than 100 answers one, since one
    slow answer of so few tells of a busy moment and nothing of the percentile.
    """
    return max(total - math.ceil(99 * total / _PERCENT), min(1, total - 1), 0)


def shortcoming(
    seen: ProbeMetrics, settings: GateSettings, planned: int = 0, of: str = ""
) -> tuple[str, str] | None:
    """Return what makes figures not good enough: its kind and it in one line.

    Args:
        seen: What was seen so far.
        settings: What is asked for.
        planned: How many probes there are to be in all. While fewer have been answered, only what
            no further answer can make good counts.
        of: Which probes they are of, where they are not of all.
    """
    total = max(planned, seen.total)
    if seen.failed > allowed_failures(total, settings.success_ratio):
        worst = max(
            ((c, w) for w, c in seen.outcomes.items() if not w.startswith(("2", "3"))),
            default=(0, ""),
        )[1]
        return "success-ratio", (
            f"{seen.failed} of {seen.total} {of or 'probes'} failed (mostly: {worst}); at least "
            f"{settings.success_ratio:.2%} must be answered well"
        )
    if seen.slow > allowed_slow(total - seen.failed):
        return "latency", (
            f"{seen.slow} of {seen.total} {of or 'answers'} took longer than "
            f"{settings.p99_ms:g} ms; 99 % must not"
        )
    return None
