"""When a release answers alone, so that it is not judged by what the one before answers. Pure.

A rollout is complete when no pod of the release before is wanted any more; some of them are still
ending then, and until every node knows (kube-proxy writes its rules at most once a second unless
told otherwise) requests reach them. A rollback from a slow release would be judged by that one's
answers.
"""

from __future__ import annotations

from dataclasses import dataclass, field

SETTLING_SECONDS = 2.0
"""How long after its pods began to end a release may still be sent requests."""
_LEAST_SECONDS = 1.0
_MOST_WAIT_SECONDS = 30.0


@dataclass(kw_only=True)
class Cutover:
    """The moments of one bake time, on one monotonic clock.

    Attributes:
        began: When the rollout was complete.
        bake_seconds: How long the service is probed.
        judged_from: From when on every answer is the new release's.
        alone: Since when there has been no pod of a release before; None while there is one.
        versions: What the pods of releases before are labelled with.
        settled: From when on every node knows the pods that there are.
        doubted: Whether something failed of which nobody can tell whose failure it was: all of the
            bake time comes after `settled` then.
    """

    began: float
    bake_seconds: float
    judged_from: float = field(init=False)
    settled: float = field(init=False)
    alone: float | None = field(default=None, init=False)
    versions: set[str] = field(default_factory=set)
    doubted: bool = field(default=False, init=False)

    def __post_init__(self) -> None:
        self.judged_from = self.began
        # Pods of before that ended at once are gone by now, and nodes may send to them yet.
        self.settled = self.began + SETTLING_SECONDS

    def look(self, now: float, *, ending: bool, serving: bool) -> None:
        """Take note of the pods of releases before.

        Args:
            now: The time.
            ending: Whether there are some, if only ending.
            serving: Whether some are not even ending.
        """
        if serving:
            self.judged_from = now + SETTLING_SECONDS
        elif ending and self.judged_from == self.began:
            self.judged_from = self.began + SETTLING_SECONDS
        if ending or serving:
            self.alone = None
            self.settled = now + SETTLING_SECONDS
        elif self.alone is None:
            self.alone = now
            # What is gone answers nothing: there is nothing to wait for.
            self.judged_from = min(self.judged_from, now)

    def doubt(self) -> None:
        """Take note of a failure that may be any release's, or nobody's."""
        self.doubted = True
        self.judged_from = max(self.judged_from, self.settled)

    @property
    def end(self) -> float:
        """When the bake time is over; some of it is left for the new release alone."""
        regular = self.began + self.bake_seconds
        least = self.bake_seconds if self.doubted else min(_LEAST_SECONDS, self.bake_seconds)
        return min(max(regular, self.judged_from + least), regular + _MOST_WAIT_SECONDS)

    def planned(self, rate: float) -> int:
        """Return how many probes there are to be that surely reach the new release."""
        return max(0, round((self.end - self.judged_from) * rate))
