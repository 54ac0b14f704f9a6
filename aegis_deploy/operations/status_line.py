"""The line that says how far rollouts and the gate are, while they go on; the timeline hears it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from aegis_deploy.common.console import Output
from aegis_deploy.model.workloads.rollout import Rollout, Workload
from aegis_deploy.report.recorder import Recorder

if TYPE_CHECKING:
    from aegis_deploy.gate.analysis import Progress


class StatusLine:
    """Shows progress.

    Args:
        out: Where it goes.
        recorder: Listens.
    """

    def __init__(self, out: Output, recorder: Recorder) -> None:
        self._out, self._recorder = out, recorder

    def rollouts(self, rollouts: Mapping[Workload, Rollout]) -> None:
        """Show how far rollouts are."""
        self._recorder.rollouts(rollouts)
        told = (
            f"{workload.label}: {it.ready} of {it.wanted} new pods ready, {it.old} old"
            for workload, it in rollouts.items()
        )
        self._out.status("; ".join(told))

    def gate(self, progress: Progress) -> None:
        """Show how far a gate is."""
        if progress.figures is None:
            self.rollouts(progress.rollouts)
            return
        self._recorder.rollouts(progress.rollouts)
        left = progress.seconds_left
        rest = "" if left is None else f", {left:.0f} s left"
        self._out.status(f"{progress.phase}: {progress.figures}{rest}")
