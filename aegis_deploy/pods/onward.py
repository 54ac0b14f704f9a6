"""Which pods an update that goes forward may have replaced, and which never. Pure.

A release that broke and is mended by the next one leaves a StatefulSet with a pod that never
becomes ready, and for which its controller waits (kubernetes/kubernetes#67250). Replacing it is the
update's business as long as it is not a verified release's: whose pods those are tells that
release's record, which has the names of the revisions that the set's status named when the update
ended. With ``OnDelete`` it is a person's.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from aegis_deploy.model.events import Step
from aegis_deploy.model.fingerprint import workloads_of_state, workloads_of_steps
from aegis_deploy.model.workloads import rollout_status
from aegis_deploy.model.workloads.rollout import Object, Workload
from aegis_deploy.model.workloads.workload_kinds import STATEFUL_SET
from aegis_deploy.stack.checkpoint import outline

_REVISIONS = ("currentRevision", "updateRevision")


@dataclass(frozen=True)
class Onward:
    """The StatefulSets that an update takes on to a further release.

    Attributes:
        sets: Them, with their URNs.
        revisions: The revisions whose pods are the verified release's, by set; None where its
            record does not say which they are, so that every pod may be.
    """

    sets: Mapping[Workload, str]
    revisions: Mapping[Workload, frozenset[str] | None] = field(default_factory=dict)

    def minds(self, live: Object) -> bool:
        """Return whether a set's controller, and nobody else, waits for its pods.

        Args:
            live: The set.
        """
        return not rollout_status.on_delete(live)

    def spares(self, workload: Workload, pod: Object) -> bool:
        """Return whether a pod is left whatever it keeps from going on.

        Args:
            workload: Its set.
            pod: The pod.
        """
        kept = self.revisions.get(workload, frozenset())
        label = (pod["metadata"].get("labels") or {}).get(rollout_status.REVISION_LABEL)
        return kept is None or label in kept


def sets_of(steps: Iterable[Step]) -> Mapping[Workload, str]:
    """Return the StatefulSets that an update comes to, with their URNs.

    Args:
        steps: Its preview's, those that change nothing too.
    """
    return {
        workload: step.urn
        for step in steps
        for workload in workloads_of_steps([step])
        if workload.kind == STATEFUL_SET
    }


def revisions_of(
    resources: Iterable[Mapping[str, Any]] | None, sets: Iterable[Workload]
) -> Mapping[Workload, frozenset[str] | None]:
    """Return the revisions whose pods are a release's, by set; see `Onward`.

    A record that was made before the set's controller had taken note of it (with
    ``pulumi.com/skipAwait``) names those of before, and one that is secret none.

    Args:
        resources: What the release's record has; None where it cannot be read.
        sets: The sets that are asked for.
    """
    if resources is None:
        return dict.fromkeys(sets)
    found: dict[Workload, frozenset[str] | None] = {}
    for raw in resources:
        for workload in workloads_of_state([raw]):
            if workload.kind == STATEFUL_SET:
                known, named = found.get(workload, frozenset()), _named(outline(raw).outputs)
                found[workload] = None if known is None or named is None else known | named
    return found


def _named(recorded: Mapping[str, Any]) -> frozenset[str] | None:
    status = recorded.get("status") or {}
    named = frozenset(filter(None, map(status.get, _REVISIONS)))
    seen = bool(recorded.get("metadata")) and rollout_status.observed(STATEFUL_SET, recorded)
    return named if named and seen else None
