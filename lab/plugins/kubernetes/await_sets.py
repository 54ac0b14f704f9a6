"""StatefulSets and DaemonSets: rolled out when every pod runs the new revision."""

from __future__ import annotations

from lab.plugins.kubernetes.await_pod import problems_of, selector_text
from lab.plugins.kubernetes.awaiting import DELETED, Condition, Subject, self_subject
from lab.plugins.kubernetes.objects import (
    Object,
    name_of,
    namespace_of,
    nested,
    number,
    owned_by,
    text,
)


class _SetRolledOut(Condition):
    """What both kinds share: the object, its pods, and a generation that must be observed."""

    def __init__(self, live: Object) -> None:
        super().__init__(live)
        self._pods: dict[str, Object] = {}

    def subjects(self) -> list[Subject]:
        """Return the set and its pods."""
        labels = selector_text(nested(self.live, "spec", "selector"))
        pods = Subject("v1", "Pod", namespace_of(self.live), label_selector=labels)
        return [self_subject(self.live), pods]

    def observe(self, event: str, obj: Object, now: float) -> None:  # noqa: ARG002
        """Keep the state of the set and its pods."""
        if obj.get("kind") == "Pod":
            if event == DELETED:
                self._pods.pop(name_of(obj), None)
            elif owned_by(obj, self.live):
                self._pods[name_of(obj)] = obj
        elif self.is_mine(obj) and event != DELETED:
            self.live = obj

    def warnings(self) -> list[str]:
        """Return the pods' problems."""
        return problems_of(self._pods)

    def _observed(self) -> bool:
        generation = number(self.live, "metadata", "generation")
        return generation > 0 and number(self.live, "status", "observedGeneration") >= generation


class StatefulSetRolledOut(_SetRolledOut):
    """A StatefulSet: all replicas ready, and the update revision the current one."""

    def met(self, now: float) -> bool:  # noqa: ARG002
        """Say whether the rollout is complete."""
        return self._observed() and self._replicas_ready() and self._revision_ready()

    def progress(self) -> str:
        """Count the pods, then name the revision."""
        ready, wanted = number(self.live, "status", "readyReplicas"), self._wanted()
        if number(self.live, "metadata", "generation") <= 1:
            return f"[1/2] Waiting for StatefulSet to create Pods ({ready}/{wanted} Pods ready)"
        if not self._replicas_ready():
            return f"[1/3] Waiting for StatefulSet update to roll out ({ready}/{wanted} Pods ready)"
        return "[2/3] Waiting for StatefulSet to update .status.currentRevision"

    def reasons(self) -> list[str]:
        """Return what is missing: ready pods, the new revision."""
        found = []
        if not self._replicas_ready():
            ready = number(self.live, "status", "readyReplicas")
            found.append(f"{ready} out of {self._wanted()} replicas succeeded readiness checks")
        if not self._revision_ready():
            current = text(self.live, "status", "currentRevision")
            target = text(self.live, "status", "updateRevision")
            found.append(
                f'StatefulSet controller failed to advance from revision "{current}" to '
                f'revision "{target}"'
            )
        return found + self.warnings()

    def _wanted(self) -> int:
        wanted = nested(self.live, "spec", "replicas")
        return 1 if wanted is None else int(wanted)

    def _on_delete(self) -> bool:
        updated = number(self.live, "metadata", "generation") > 1
        return updated and text(self.live, "spec", "updateStrategy", "type") == "OnDelete"

    def _replicas_ready(self) -> bool:
        fields = ["replicas", "readyReplicas"]
        if not self._on_delete():
            fields.append("currentReplicas")
        wanted = self._wanted()
        return all(number(self.live, "status", field) == wanted for field in fields)

    def _revision_ready(self) -> bool:
        current = text(self.live, "status", "currentRevision")
        return self._on_delete() or (
            current != "" and current == text(self.live, "status", "updateRevision")
        )


class DaemonSetRolledOut(_SetRolledOut):
    """A DaemonSet: the new revision on every node that should have it, available and ready."""

    def met(self, now: float) -> bool:  # noqa: ARG002
        """Say whether the rollout is complete."""
        return self._observed() and not self._missing()

    def progress(self) -> str:
        """Name the first thing that is missing."""
        return self._missing() or "Waiting for the DaemonSet's controller"

    def reasons(self) -> list[str]:
        """Return what is missing and the pods' problems."""
        return [self.progress(), *self.warnings()]

    def _missing(self) -> str:
        status = self.live.get("status") or {}
        if "desiredNumberScheduled" not in status:
            return "Waiting for the DaemonSet to be scheduled"
        wanted = number(status, "desiredNumberScheduled")
        for field, word in (
            ("currentNumberScheduled", "Current"),
            ("updatedNumberScheduled", "Updated"),
            ("numberAvailable", "Available"),
            ("numberReady", "Ready"),
        ):
            if number(status, field) < wanted:
                return f"{word}: {number(status, field)}/{wanted}"
        return ""
