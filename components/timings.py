"""How long the steps of a rollout and of a pod's end may take."""

from __future__ import annotations

from dataclasses import dataclass

_EXIT_SECONDS = 5
"""Between the end of draining and the kill: closing what is left, writing the last log line."""

_START_SECONDS = 10
"""What a pod that is fine needs from scheduling to its first ready probe, generously."""


@dataclass(frozen=True, kw_only=True)
class Timings:
    """The rollout's timings, all in seconds."""

    pre_stop: int
    """From a pod's deletion to its SIGTERM: every proxy drops the endpoint meanwhile."""
    drain: int
    """From SIGTERM until the service gives up on requests that still run."""
    min_ready: int
    """How long a new pod must stay ready before an old one goes."""
    progress_deadline: int
    """How long a rollout may make no progress before Kubernetes calls it failed."""

    @property
    def grace_period(self) -> int:
        """From a pod's deletion to its kill: longer than the sleep and the drain together."""
        return self.pre_stop + self.drain + _EXIT_SECONDS

    def rollout_timeout(self, steps: int) -> int:
        """How long Pulumi waits for a rollout of ``steps`` batches.

        The provider waits for its timeout even when a rollout has plainly failed, so this is kept
        near the progress deadline rather than at the default of ten minutes.
        """
        return self.progress_deadline + steps * (self.min_ready + _START_SECONDS)
