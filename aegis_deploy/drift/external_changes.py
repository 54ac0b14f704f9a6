"""What befell a release from outside while it was deployed: an outage, or somebody's hand. Pure.

A release is held to be bad, and refused the next time, for what it did itself. When the cluster or
the registry was away, or somebody changed or deleted what was being rolled out, going back is still
the right thing; the release may be deployed again.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from aegis_deploy.drift.detection import CHANGED, REMOVED, FieldChange, compare
from aegis_deploy.kubernetes.managed_fields import UNKNOWN, Manager, Owners, Scaling, written
from aegis_deploy.kubernetes.rollout_failures import DELETED, NODE, REGISTRY
from aegis_deploy.model.fingerprint import Place, only, workloads_of_state
from aegis_deploy.model.verdict import LOST, UNTOLD
from aegis_deploy.model.workloads.workload_kinds import DEPLOYMENT
from aegis_deploy.pulumi_cli import field_conflicts
from aegis_deploy.stack.checkpoint import outline

if TYPE_CHECKING:
    from aegis_deploy.drift.detection import Same
    from aegis_deploy.model.events import Outcome
    from aegis_deploy.model.verdict import Verdict
    from aegis_deploy.model.workloads.rollout import Workload

ALTERED = "altered"
"""The kind of a verdict on what is not, or no longer, what was deployed."""
GOING = "going"
"""The kind of a verdict while something that was deployed is being deleted."""
_OUTSIDE = {
    GOING: "somebody deletes what was deployed",
    DELETED: "somebody deleted what was being rolled out",
    ALTERED: "somebody changed what was deployed",
    REGISTRY: "the registry did not hand out the image",
    NODE: "a node did not get through to its API server or its runtime",
    LOST: "the cluster did not answer",
    UNTOLD: "its database did not answer",
    "unreachable": "the cluster could not be asked",
}
_NO_ANSWER = re.compile(
    r"does not answer|cluster is (?:currently )?unreachable|connection (?:refused|reset|lost)"
    r"|i/o timeout|TLS handshake timeout|no route to host|unexpected EOF|etcdserver: "
    r"|context deadline exceeded|currently unable to handle the request|ServiceUnavailable"
    r"|http2: client connection",
    re.IGNORECASE,
)
_MISSING = re.compile(r'(?P<kind>configmap|secret) "(?P<name>[^"]+)" not found', re.IGNORECASE)
_KINDS = {"configmap": "ConfigMap", "secret": "Secret"}
_READS = {
    "configMapRef": ("ConfigMap", "name"),
    "configMapKeyRef": ("ConfigMap", "name"),
    "configMap": ("ConfigMap", "name"),
    "secretRef": ("Secret", "name"),
    "secretKeyRef": ("Secret", "name"),
    "secret": ("Secret", "secretName"),
}
"""Where a pod's specification names what it reads: the kind, and the key that has the name."""
_RESTARTED = "kubectl.kubernetes.io/restartedAt"


def excuse(
    outcome: Outcome | None,
    verdict: Verdict | None,
    *,
    silent: float = 0.0,
    hands: Sequence[str] = (),
    resources: Iterable[Mapping[str, Any]] = (),
) -> str | None:
    """Say what from outside made a release fail; None when it failed by itself.

    Args:
        outcome: What its update came to.
        verdict: The evidence against it, or the gate's verdict.
        silent: For how many seconds the cluster did not answer meanwhile.
        hands: What somebody changed meanwhile, a line each.
        resources: The stack's state.
    """
    if hands:
        return "; ".join(hands)
    if verdict is not None and not verdict.passed:
        return _OUTSIDE.get(verdict.kind) or _taken_away(verdict.reason, resources)
    if outcome is not None:
        said = _taken_away(outcome.why, resources) or field_conflicts.told(outcome.why)
        if said is not None:
            return said
    if silent > 0:
        return f"the cluster did not answer for {silent:.0f} s meanwhile"
    if outcome is not None and _NO_ANSWER.search(outcome.why):
        return "something that it needs did not answer"
    return None


def _taken_away(reason: str, resources: Iterable[Mapping[str, Any]]) -> str | None:
    """Say that something is missing which the release did bring along."""
    found = _MISSING.search(reason)
    if found is None:
        return None
    kind = _KINDS[found["kind"].lower()]
    for it in resources:
        metadata = (it.get("outputs") or {}).get("metadata") or {}
        if it["type"].rpartition(":")[2] == kind and metadata.get("name") == found["name"]:
            return f"somebody deleted {kind} {found['name']}"
    return None


def hands(live: Mapping[str, Any]) -> list[str]:
    """Say what somebody set in a live workload's specification after Pulumi did, a line each.

    Control loops are nobody's hand, and neither is a restart, which changes no declared field.
    """
    owners = Owners(live)
    since = max((it.time for it in owners.managers if it.is_pulumi), default=None)
    if since is None:
        return []
    name = f"{live.get('kind', DEPLOYMENT)} {live['metadata']['name']}"
    return [
        f"{it.name} set {', '.join(fields)} of {name} at {it.time}"
        for it in owners.hands
        if it.time >= since and (fields := _specified(it, owners))
    ]


def _specified(manager: Manager, owners: Owners) -> list[str]:
    return sorted(
        written(path)
        for path in manager.fields
        if path[0] == "spec" and _RESTARTED not in path and not owners.leaves(manager, path)
    )


def compared(
    verdict: Verdict,
    resources: Iterable[Mapping[str, Any]],
    live: Mapping[Workload, Mapping[str, Any]],
    same: Same,
    scaling: Mapping[Workload, Scaling] | None = None,
    *,
    place: Place = only,
) -> tuple[Verdict, list[str]]:
    """Hold what a gate let pass to what the state says was deployed.

    Args:
        verdict: The gate's.
        resources: The stack's state.
        live: What is live of them.
        same: Whether two texts are the same quantity.
        scaling: The autoscalers that aim at them, where anybody could look.
        place: Which cluster each provider leads to.

    Returns:
        The verdict, which is one that did not pass when the pods are not what was declared; and
        what else somebody set, such as the number of pods, a line each.
    """
    pods: list[str] = []
    beside: list[str] = []
    for raw in resources:
        for workload in workloads_of_state([raw], place):
            if workload in live:
                scaled = (scaling or {}).get(workload, UNKNOWN)
                found = altered(raw, live[workload], same, scaled)
                pods += (f"{it}{workload.where}" for it in found[0])
                beside += (f"{it}{workload.where}" for it in found[1])
    if pods:
        verdict = replace(
            verdict,
            passed=False,
            kind=ALTERED,
            reason="what runs is healthy, and not what was deployed: somebody changed it",
            evidence=(*verdict.evidence, *pods),
        )
    return verdict, beside


def altered(
    raw: Mapping[str, Any],
    live: Mapping[str, Any],
    same: Same,
    scaling: Scaling = UNKNOWN,
) -> tuple[list[str], list[str]]:
    """Compare a workload as the state says it was declared with the live one.

    Args:
        raw: The resource, as the state has it; encrypted secrets are not compared.
        live: The live object.
        same: Whether two texts are the same quantity.
        scaling: The autoscalers that aim at it.

    Returns:
        What its pods are that was not declared, and what else of its specification is, a line each.
    """
    found = compare(outline(raw), live, same, scaling)
    if found is None:
        return [], []
    pods: list[str] = []
    rest: list[str] = []
    owners = Owners(live, scaling)
    for field in found.fields:
        # What the API server wrote in another way than it was declared is nobody's hand.
        by_hand = owners.by_hand(field.where) or (field.change == REMOVED and field.by)
        if by_hand and field.change in (CHANGED, REMOVED) and field.path.startswith("spec."):
            (pods if field.path.startswith("spec.template.") else rest).append(
                f"{found.plain_label}: {_told(field)}"
            )
    return pods, rest


def read_by_pods(
    resources: Iterable[Mapping[str, Any]], live: Iterable[Mapping[str, Any]]
) -> list[tuple[str, str, str]]:
    """Say what the pods of workloads read that the release brought along.

    A pod that runs has read it; the next one, on whichever node, will need it again.

    Args:
        resources: The stack's state.
        live: The live workloads.

    Returns:
        Kind, namespace and name of each, sorted.
    """
    declared = {
        (str(raw["type"]).partition(":")[2], raw.get("id"))
        for raw in resources
        if not raw.get("delete") and not raw.get("external")
    }
    read = {
        (kind, str(it["metadata"]["namespace"]), name)
        for it in live
        for kind, name in _names(it["spec"]["template"].get("spec") or {})
    }
    return sorted(
        (kind, namespace, name)
        for kind, namespace, name in read
        if (f"core/v1:{kind}", f"{namespace}/{name}") in declared
    )


def _names(specification: Any) -> Iterator[tuple[str, str]]:  # noqa: ANN401 - any JSON value
    if isinstance(specification, list):
        for item in specification:
            yield from _names(item)
    if not isinstance(specification, Mapping):
        return
    for key, value in specification.items():
        if key in _READS and isinstance(value, Mapping) and not value.get("optional"):
            kind, where = _READS[key]
            # In a projected volume a Secret has its name where others have it.
            name = value.get(where) or value.get("name")
            if name:
                yield kind, str(name)
        else:
            yield from _names(value)


def taken(verdict: Verdict, gone: Sequence[tuple[str, str, str]]) -> Verdict:
    """Hold what a gate let pass to what is missing.

    Args:
        verdict: The gate's.
        gone: Kind, namespace and name of what the pods read and is not there any more.
    """
    if not gone:
        return verdict
    deleted = " and ".join(f"{kind} {name}" for kind, _, name in gone)
    return replace(
        verdict,
        passed=False,
        kind=ALTERED,
        reason=f"what runs is healthy, but no further pod could start: somebody deleted {deleted}",
    )


def _told(field: FieldChange) -> str:
    now = f"is {field.live}" if field.live else "is gone"
    by = f" (by {field.by} at {field.at})" if field.by else ""
    return f"{field.path} {now}, {field.declared} was declared{by}"


def standing(verdict: Verdict, going: Sequence[str], gone: Sequence[str]) -> Verdict:
    """Hold what a gate let pass to what is declared and is being deleted, or was.

    Args:
        verdict: The gate's.
        going: What is being deleted, a line each with what holds it.
        gone: What is not there.
    """
    if not going and not gone:
        return verdict
    what = f"{', '.join(going)}" if going else f"{', '.join(gone)} {_were(gone)} deleted"
    return replace(
        verdict,
        passed=False,
        kind=GOING if going else ALTERED,
        reason=f"what runs is healthy, and not all that was deployed stays: {what}"
        if going
        else f"what runs is healthy, and not all that was deployed is there: {what}",
    )


def _were(found: Sequence[str]) -> str:
    return "was" if len(found) == 1 else "were"
