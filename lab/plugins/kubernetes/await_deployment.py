"""Deployments: rolled out when the controller has seen our change and its pods are available."""

from __future__ import annotations

from lab.plugins.kubernetes.await_pod import problems_of, selector_text
from lab.plugins.kubernetes.awaiting import DELETED, Condition, Subject, self_subject
from lab.plugins.kubernetes.objects import (
    DEPLOYMENT_REVISION,
    Object,
    annotation,
    condition,
    items,
    name_of,
    namespace_of,
    nested,
    number,
    owned_by,
    text,
)


class DeploymentRolledOut(Condition):
    """A Deployment, its ReplicaSets, their Pods and the claims its volumes name.

    Met when the controller has observed the generation we wrote, the ReplicaSet of the current
    revision has all its pods ready, the Deployment is available and, from the second revision on,
    reports the new ReplicaSet as available.
    """

    def __init__(self, live: Object) -> None:
        super().__init__(live)
        self._reconciled = False
        self._replica_sets: dict[str, Object] = {}
        self._pods: dict[str, Object] = {}
        self._claims: dict[str, Object] = {}

    def subjects(self) -> list[Subject]:
        """Return the Deployment and what belongs to it."""
        namespace = namespace_of(self.live)
        labels = selector_text(nested(self.live, "spec", "selector"))
        found = [
            self_subject(self.live),
            Subject("apps/v1", "ReplicaSet", namespace, label_selector=labels),
            Subject("v1", "Pod", namespace, label_selector=labels),
        ]
        if self._claim_names():
            found.append(Subject("v1", "PersistentVolumeClaim", namespace))
        return found

    def observe(self, event: str, obj: Object, now: float) -> None:  # noqa: ARG002
        """Keep the state of the Deployment and what belongs to it."""
        kind = obj.get("kind")
        if kind == "ReplicaSet" and owned_by(obj, self.live):
            self._keep(self._replica_sets, event, obj, annotation(obj, DEPLOYMENT_REVISION))
        elif kind == "Pod":
            self._keep(self._pods, event, obj, name_of(obj))
        elif kind == "PersistentVolumeClaim" and name_of(obj) in self._claim_names():
            self._keep(self._claims, event, obj, name_of(obj))
        elif self.is_mine(obj) and event != DELETED:
            self.live = obj
            observed = nested(obj, "status", "observedGeneration")
            if observed is not None and observed == nested(obj, "metadata", "generation"):
                self._reconciled = True

    def met(self, now: float) -> bool:  # noqa: ARG002
        """Say whether the rollout is complete."""
        return (
            self._reconciled
            and self._available()
            and (self._revision() == "1" or self._progressed())
            and self._replicas_ready()
            and not self._unbound_claims()
        )

    def progress(self) -> str:
        """Count the new ReplicaSet's pods."""
        current = self._current()
        if current is None:
            return "Waiting for the Deployment's new ReplicaSet"
        ready, wanted = number(current, "status", "readyReplicas"), self._wanted(current)
        return f"Waiting for app ReplicaSet to be available ({ready}/{wanted} Pods available)"

    def warnings(self) -> list[str]:
        """Return why pods cannot be created, and the problems of the new ReplicaSet's pods."""
        current = self._current()
        refused = condition(self.live, "ReplicaFailure")
        found = []
        if refused is not None and refused.get("status") == "True":
            found.append(f"[{refused.get('reason')}] {text(refused, 'message')}")
        return found + problems_of({n: p for n, p in self._pods.items() if owned_by(p, current)})

    def reasons(self) -> list[str]:
        """Return the Deployment's own conditions, what was missing, and the pods' problems."""
        found = []
        for kind in ("Progressing", "Available"):
            state = condition(self.live, kind)
            if state is not None and state.get("status") != "True" and state.get("reason"):
                found.append(f"[{state['reason']}] {text(state, 'message')}")
        if self._unbound_claims():
            found.append(
                "Failed to bind PersistentVolumeClaim(s): " + ", ".join(self._unbound_claims())
            )
        if not self._available():
            found.append("Minimum number of live Pods was not attained")
        elif self._revision() != "1" and not self._progressed():
            found.append("Minimum number of Pods to consider the application live was not attained")
        elif not self._replicas_ready():
            found.append(
                "Attempted to roll forward to new ReplicaSet, but minimum number of Pods did not "
                "become live"
                if self._revision() != "1"
                else "Minimum number of Pods to consider the application live was not attained"
            )
        return found + self.warnings()

    @staticmethod
    def _keep(known: dict[str, Object], event: str, obj: Object, key: str) -> None:
        if event == DELETED:
            known.pop(key, None)
        else:
            known[key] = obj

    def _revision(self) -> str:
        return annotation(self.live, DEPLOYMENT_REVISION)

    def _current(self) -> Object | None:
        return self._replica_sets.get(self._revision()) if self._revision() else None

    def _available(self) -> bool:
        state = condition(self.live, "Available")
        return state is not None and state.get("status") == "True"

    def _progressed(self) -> bool:
        state = condition(self.live, "Progressing")
        return (
            state is not None
            and state.get("status") == "True"
            and state.get("reason") == "NewReplicaSetAvailable"
        )

    @staticmethod
    def _wanted(replica_set: Object) -> int:
        wanted = nested(replica_set, "spec", "replicas")
        return 1 if wanted is None else int(wanted)

    def _replicas_ready(self) -> bool:
        current = self._current()
        if current is None:
            return False
        return number(current, "status", "readyReplicas") >= self._wanted(current)

    def _claim_names(self) -> set[str]:
        volumes = items(self.live, "spec", "template", "spec", "volumes")
        names = (text(volume, "persistentVolumeClaim", "claimName") for volume in volumes)
        return {name for name in names if name}

    def _unbound_claims(self) -> list[str]:
        return sorted(
            name
            for name, claim in self._claims.items()
            if nested(claim, "status", "phase") != "Bound"
        )
