"""Pods of a release that goes, which keep the one that is to be there from coming. Pure.

A StatefulSet's controller waits for each pod to be ready before it goes on, also for one whose
template was taken back since: a pod that never becomes ready keeps its set from ever going back
(kubernetes/kubernetes#67250; Kubernetes' own documentation calls it a forced rollback, and has
people delete the pod). With ``OnDelete`` nobody but a person replaces a pod in any case. Where an
update goes back, whose pod it is does not matter; where it goes forward, see `pods.onward`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

from aegis_deploy.kubernetes.rollout_failures import NODE, REGISTRY, Observer, RolloutFailure
from aegis_deploy.model.events import Step
from aegis_deploy.model.gate_settings import GateSettings
from aegis_deploy.model.workloads import rollout_status
from aegis_deploy.model.workloads.rollout import (
    Object,
    Snapshot,
    Workload,
    container_statuses,
    holdup,
    is_going,
    is_ready,
)
from aegis_deploy.model.workloads.workload_kinds import DEPLOYMENT
from aegis_deploy.pods.onward import Onward

STILL_SECONDS = 30.0
"""How long nothing about a pod may change that is not ready, until it counts as one that hangs: an
init container may wait for ever, and nothing but its silence shows it."""
_PASSING = (REGISTRY, NODE)
"""What may be over at any moment: the pod may then become ready by itself."""
_NOT_YET = ("refresh", "read")


@dataclass(frozen=True, kw_only=True)
class Stuck:
    """A pod that is in the way.

    Attributes:
        workload: Whose it is.
        pod: Its name.
        uid: Its uid: another pod of the same name may take its place at any moment.
        why: Why it never becomes ready.
        spared: Whether it is left all the same.
    """

    workload: Workload
    pod: str
    uid: str
    why: str
    spared: bool = False

    def __str__(self) -> str:
        workload = self.workload
        return f"pod {self.pod} of {workload.kind} {workload.name}{workload.where}"


class Lookout:
    """Looks at one workload that is being changed, again and again, for a pod in its way.

    Args:
        workload: The workload.
        settings: What is evidence.
        onward: What the update may do for it where it goes forward; None where it goes back.
    """

    def __init__(
        self, workload: Workload, settings: GateSettings, onward: Onward | None = None
    ) -> None:
        self._workload, self._settings, self._onward = workload, settings, onward
        self._observer = Observer(settings)
        self._still: dict[str, tuple[str, float]] = {}
        self._before: tuple[str, int] | None = None
        self._begun = self._as_it_was = False

    def begins(self, step: Step) -> None:
        """Take note that the update came to the workload.

        Args:
            step: What it does to it.
        """
        if step.op not in _NOT_YET:
            self._begun = True
            self._as_it_was = step.op == "same" or "spec" not in step.diffs

    def find(self, snapshot: Snapshot, now: float) -> Stuck | None:
        """Return the pod that is in the way at a moment; None when none surely is.

        Args:
            snapshot: What the cluster holds of the workload.
            now: Seconds on any clock that only goes forward.
        """
        if not self._is_there(snapshot):
            self._observer, self._still = Observer(self._settings), {}
            return None
        left = in_the_way(snapshot) if self._is_ours(snapshot) else ()
        by_name = {str(pod["metadata"]["name"]): pod for pod in left}
        failure = self._observer.observe_pods(left, now)
        if failure is not None and failure.kind in _PASSING:
            return None
        if failure is None or failure.pod not in by_name:
            failure = self._hanging(left, now)
        if failure is None or failure.pod is None:
            return None
        pod = by_name[failure.pod]
        return Stuck(
            workload=self._workload,
            pod=failure.pod,
            uid=str(pod["metadata"]["uid"]),
            why=failure.reason,
            spared=self._onward is not None and self._onward.spares(self._workload, pod),
        )

    def _is_ours(self, snapshot: Snapshot) -> bool:
        """Return whether the workload's pods are the update's business at all."""
        return self._onward is None or snapshot.live is None or self._onward.minds(snapshot.live)

    def _is_there(self, snapshot: Snapshot) -> bool:
        """Return whether the cluster has the template of the update, and has taken note of it.

        Until then the pods of the release that goes are the ones that are wanted.
        """
        if snapshot.live is None:
            return False
        metadata = snapshot.live["metadata"]
        seen = (str(metadata["uid"]), int(metadata.get("generation", 0)))
        if self._before is None:
            self._before = seen
        return self._begun and snapshot.observed and (self._as_it_was or seen != self._before)

    def _hanging(self, left: tuple[Object, ...], now: float) -> RolloutFailure | None:
        said = {str(pod["metadata"]["uid"]): _told(pod) for pod in left}
        self._still = {
            uid: before if before[0] == what else (what, now)
            for uid, what in said.items()
            for before in [self._still.get(uid, (what, now))]
        }
        for pod in left:
            _, since = self._still[str(pod["metadata"]["uid"])]
            if now - since >= STILL_SECONDS:
                container, why = holdup(pod)
                name = pod["metadata"]["name"]
                reason = f"pod {name} is not ready, and nothing about it has changed for"
                return RolloutFailure(
                    kind="unready",
                    reason=f"{reason} {STILL_SECONDS:g} s{why}",
                    pod=name,
                    container=container,
                )
        return None


def in_the_way(snapshot: Snapshot) -> tuple[Object, ...]:
    """Return the pods that could be in the way: not ready, not the new release's, and not replaced.

    A Deployment, a DaemonSet and a StatefulSet whose pods are managed in parallel replace theirs,
    ready or not.
    """
    live = snapshot.live
    if live is None or snapshot.kind == DEPLOYMENT or not snapshot.tells_apart:
        return ()
    in_order = rollout_status.in_order(snapshot.kind, live)
    if not in_order and not rollout_status.on_delete(live):
        return ()
    unready = [pod for pod in snapshot.pods if is_going(pod) or not is_ready(pod)]
    if in_order:
        # Its controller looks at no pod before those of lower numbers are ready.
        unready = sorted(unready, key=lambda pod: rollout_status.ordinal(pod) or 0)[:1]
    return tuple(
        pod
        for pod in unready
        if not is_going(pod)
        and not snapshot.is_new(pod)
        and not rollout_status.below_partition(snapshot.kind, live, pod)
    )


def _told(pod: Object) -> str:
    """What is said of a pod's containers, in a form that is the same while nothing goes on."""
    states = [
        (it["name"], it.get("state"), it.get("restartCount")) for it, _ in container_statuses(pod)
    ]
    return json.dumps([(pod.get("status") or {}).get("phase"), states], sort_keys=True)
