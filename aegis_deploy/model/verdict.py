"""What a gate found, and in which words it is told."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from aegis_deploy.model.database.data_probes import DataFigures
from aegis_deploy.model.probe_metrics import ProbeMetrics

LOST = "lost"
"""The kind of a verdict that is none: the cluster did not answer any more."""
UNTOLD = "untold"
"""The kind of one that is none either: the release's database did not answer, so that nobody can
tell whether it works with its data. What was before would be told no better."""

AGAIN = "was rolled back before"
"""What is said of a release that is refused: words that a deployer recognises."""
CANARY = "canary: "
"""How what is said of a release that has a share of the requests begins: words that a deployer
passes on."""


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """Whether a release is good.

    Attributes:
        passed: Whether it is.
        reason: Why, in one line.
        kind: What failed: a :class:`RolloutFailure`'s kind, or success-ratio,
            latency, version, route (what leads in is not in effect), prometheus, data (what asks
            for it is wrong), timeout, unreachable, lost, untold; "passed" when nothing did.
        evidence: The failing container's last log lines and events, as lines.
        serving: What serves now, in a few words.
        figures: What the probes saw; None when none were sent.
        data: What those of the release's data saw.
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
    data: tuple[DataFigures, ...] = ()
    seconds: float = 0.0
    notes: tuple[str, ...] = ()
    via: str = ""

    @property
    def lost(self) -> bool:
        """Whether the cluster or the database stopped answering: nothing is known then."""
        return self.kind in (LOST, UNTOLD)

    @property
    def silent(self) -> str:
        """Who stopped answering, where it is `lost`."""
        return "database" if self.kind == UNTOLD else "cluster"

    def seen(self, via: str = "") -> list[str]:
        """Return what the probes saw, a line for each kind of them.

        Args:
            via: What is said of the way they took.
        """
        lines = [] if self.figures is None else [f"probes: {self.figures}{via}"]
        return [*lines, *(f"{it.what}: {it.figures}" for it in self.data)]

    def lines(self) -> list[str]:
        """Return the verdict for people."""
        lines = [f"gate {'passed' if self.passed else 'failed'}: {self.reason}"]
        lines += [f"  {line}" for line in self.evidence]
        lines += [f"  {line}" for line in self.seen(f"; sent {self.via or 'to the new pods'}")]
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
            "data": [it.as_json() for it in self.data],
        }
