"""What a gate found, and in which words it is told."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from aegis_deploy.model.probe_metrics import ProbeMetrics

LOST = "lost"
"""The kind of a verdict that is none: the cluster did not answer any more."""

AGAIN = "was rolled back before"
"""What is said of a release that is refused: words that a deployer recognises."""


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """Whether a release is good.

    Attributes:
        passed: Whether it is.
        reason: Why, in one line.
        kind: What failed: a :class:`RolloutFailure`'s kind, or success-ratio,
            latency, version, prometheus, timeout, unreachable, lost; "passed" when nothing did.
        evidence: The failing container's last log lines and events, as lines.
        serving: What serves now, in a few words.
        figures: What the probes saw; None when none were sent.
        seconds: How long the gate took.
        notes: What was not judged, and why.
        via: Which way the probes went.
    """

    passed: bool
    reason: str
    kind: str = "passed"
    evidence: tuple[str, ...] = ()
    serving: str = ""
    figures: ProbeMetrics | None = None
    seconds: float = 0.0
    notes: tuple[str, ...] = ()
    via: str = ""

    @property
    def lost(self) -> bool:
        """Whether the cluster stopped answering: nothing is known of the release then."""
        return self.kind == LOST

    def lines(self) -> list[str]:
        """Return the verdict for people."""
        lines = [f"gate {'passed' if self.passed else 'failed'}: {self.reason}"]
        lines += [f"  {line}" for line in self.evidence]
        if self.figures is not None:
            lines.append(f"  probes: {self.figures}; sent {self.via or 'to the new pods'}")
        lines += [f"  not judged: {note}" for note in self.notes]
        if self.serving:
            lines.append(f"  now: {self.serving}")
        return lines

    def as_json(self) -> dict[str, Any]:
        """Return the verdict for machines."""
        return {
            "passed": self.passed,
            "kind": self.kind,
            "reason": self.reason,
            "evidence": list(self.evidence),
            "serving": self.serving,
            "seconds": round(self.seconds, 3),
            "notes": list(self.notes),
            "via": self.via,
            "figures": None if self.figures is None else self.figures.as_json(),
        }
