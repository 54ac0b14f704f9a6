"""What a workload's own status says of its rollout, by kind. Pure.

The rules are those of ``kubectl rollout status`` (its ``rollout_status.go``), but for what kubectl
leaves undecided: which pods are the new release's, and pods that a strategy leaves as they are
(``OnDelete``, a partition), which are no rollout that hangs.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from aegis_deploy.model.workloads.workload_kinds import DAEMON_SET, DEPLOYMENT, JOB, STATEFUL_SET

Object = Mapping[str, Any]

PROGRESS_SECONDS = 600
"""How long a rollout may make no progress where nobody says it: a Deployment's own default."""
REVISION_LABEL = "controller-revision-hash"
_REVISION = "deployment.kubernetes.io/revision"
_GENERATION = "deprecated.daemonset.template.generation"
_GENERATION_LABEL = "pod-template-generation"
_ON_DELETE = "OnDelete"
_ORDINAL = re.compile(r"-(\d+)$")
_SLACK_SECONDS = 30.0


def observed(kind: str, live: Object) -> bool:
    """Return whether the cluster has taken note of a workload as it is now."""
    if kind == JOB:  # It has no generation to observe: what it runs cannot be changed.
        return True
    generation = int(live["metadata"].get("generation", 0))
    return _count(live, "observedGeneration") >= generation


def wanted(kind: str, live: Object) -> int:
    """Return how many pods a workload is to have: a DaemonSet one on each node that fits."""
    if kind == DAEMON_SET:
        return _count(live, "desiredNumberScheduled")
    if kind == JOB:
        return int(live["spec"].get("completions") or live["spec"].get("parallelism") or 1)
    return int(live["spec"].get("replicas", 1))


def complete(kind: str, live: Object) -> bool:
    """Return whether a rollout that the cluster has taken note of is done."""
    return _COMPLETE[kind](live)


def longest(kind: str, live: Object) -> float:
    """Return how many seconds a rollout may take in all; whether it progresses is judged apart."""
    pods = max(1, wanted(kind, live))
    if kind != DEPLOYMENT:
        # One pod after the other, and each may take as long as a rollout may make no progress.
        return float(PROGRESS_SECONDS * (pods + 1))
    spec = live["spec"]
    deadline = int(spec.get("progressDeadlineSeconds", PROGRESS_SECONDS))
    return deadline + pods * (int(spec.get("minReadySeconds", 0)) + _SLACK_SECONDS)


def newest(kind: str, live: Object, revisions: Iterable[Object]) -> Callable[[Object], bool] | None:
    """Return what tells the new release's pods; None as long as the cluster has made no revision.

    Args:
        kind: The workload's kind.
        live: The workload, of which the cluster has taken note.
        revisions: The ReplicaSets or ControllerRevisions it owns.
    """
    if kind == DEPLOYMENT:
        found = replica_set(live, revisions)
        return None if found is None else _owned_by(found["metadata"]["uid"])
    if kind == STATEFUL_SET:
        revision = (live.get("status") or {}).get("updateRevision")
        return None if not revision else lambda pod: _label(pod, REVISION_LABEL) == revision
    return _of_daemon_set(live, revisions) if kind == DAEMON_SET else lambda _: True


def replica_set(deployment: Object, candidates: Iterable[Object]) -> Object | None:
    """Return the ReplicaSet of a Deployment's new release; None until the cluster has made it."""
    revision = _annotation(deployment, _REVISION)
    return next(
        (
            it
            for it in candidates
            if revision is not None and _annotation(it, _REVISION) == revision
        ),
        None,
    )


def on_delete(live: Object) -> bool:
    """Return whether a workload's pods are replaced only when somebody deletes them."""
    return _strategy(live).get("type") == _ON_DELETE


def in_order(kind: str, live: Object) -> bool:
    """Return whether a controller waits for each pod before it goes on to the next."""
    return kind == STATEFUL_SET and live["spec"].get("podManagementPolicy") != "Parallel"


def below_partition(kind: str, live: Object, pod: Object) -> bool:
    """Return whether a StatefulSet's partition leaves a pod at the release before."""
    place = ordinal(pod)
    if kind != STATEFUL_SET or on_delete(live) or place is None:
        return False
    return place < _start(live) + _partition(live)


def lasting(
    kind: str, live: Object, pods: Sequence[Object], *, last: Callable[[Object], Any]
) -> tuple[Object, ...]:
    """Return those of the new release's pods that stay at the size that a workload is to have.

    A StatefulSet deletes the pods of the highest places, a Deployment's ReplicaSet those that serve
    least (``getPodsToDelete`` in its ``replica_set.go``). A DaemonSet has no size to exceed.

    Args:
        kind: The workload's kind.
        live: The workload, of which the cluster has taken note.
        pods: The new release's pods, without those that are going.
        last: Orders pods of a ReplicaSet: what is kept longest comes first.
    """
    size = wanted(kind, live)
    if kind == STATEFUL_SET:
        end = _start(live) + size
        return tuple(pod for pod in pods if (ordinal(pod) or 0) < end)
    if kind == DEPLOYMENT and len(pods) > size:
        return tuple(sorted(pods, key=last)[:size])
    return tuple(pods)


def ordinal(pod: Object) -> int | None:
    """Return a StatefulSet's pod's place; None when its name has none."""
    found = _ORDINAL.search(str(pod["metadata"].get("name") or ""))
    return None if found is None else int(found[1])


def counts(live: Object) -> dict[str, str]:
    """Return everything a workload's status counts: while none of it changes, nothing goes on."""
    status = live.get("status") or {}
    return {key: str(value) for key, value in sorted(status.items()) if isinstance(value, int)}


def _deployed(live: Object) -> bool:
    pods = wanted(DEPLOYMENT, live)
    return all(
        _count(live, name) == pods for name in ("updatedReplicas", "replicas", "availableReplicas")
    )


def _set_rolled_out(live: Object) -> bool:
    pods, status = wanted(STATEFUL_SET, live), live.get("status") or {}
    # A cluster that counts no available ones knows no `minReadySeconds` either.
    available = "availableReplicas" if "availableReplicas" in status else "readyReplicas"
    if any(_count(live, name) != pods for name in ("replicas", "readyReplicas", available)):
        return False
    if on_delete(live):
        return True
    # Not that the current revision is the updated one, which may stay behind for ever
    # (kubernetes/kubernetes#106055): when every pod is updated, so is the set.
    return _count(live, "updatedReplicas") >= pods - _partition(live)


def _daemons_rolled_out(live: Object) -> bool:
    pods = wanted(DAEMON_SET, live)
    current = "currentNumberScheduled" if on_delete(live) else "updatedNumberScheduled"
    return _count(live, "numberUnavailable") == 0 and all(
        _count(live, name) >= pods for name in (current, "numberReady", "numberAvailable")
    )


def _finished(live: Object) -> bool:
    return any(
        it.get("type") == "Complete" and it.get("status") == "True"
        for it in (live.get("status") or {}).get("conditions") or ()
    )


_COMPLETE: Mapping[str, Callable[[Object], bool]] = {
    DEPLOYMENT: _deployed,
    STATEFUL_SET: _set_rolled_out,
    DAEMON_SET: _daemons_rolled_out,
    JOB: _finished,
}


def _of_daemon_set(live: Object, revisions: Iterable[Object]) -> Callable[[Object], bool]:
    """What tells a DaemonSet's new pods, as its controller does: either of two labels.

    Its status names no revision. The one that is it has the very template that the DaemonSet has:
    the newest one known may be that of the release before.
    """
    template = _stripped(live["spec"]["template"])
    generation = _annotation(live, _GENERATION)
    hashes = {
        _label(it, REVISION_LABEL)
        for it in revisions
        if _stripped(((it.get("data") or {}).get("spec") or {}).get("template")) == template
    } - {None}

    def is_new(pod: Object) -> bool:
        made = _label(pod, _GENERATION_LABEL)
        return (made is not None and made == generation) or _label(pod, REVISION_LABEL) in hashes

    return is_new


def _stripped(value: Any) -> Any:  # noqa: ANN401 - any JSON value
    """A template without the patch's own mark, and without what is null."""
    if isinstance(value, Mapping):
        return {
            key: _stripped(inner)
            for key, inner in value.items()
            if key != "$patch" and inner is not None
        }
    return [_stripped(inner) for inner in value] if isinstance(value, list) else value


def _strategy(live: Object) -> Object:
    found: Object = live["spec"].get("updateStrategy") or {}
    return found


def _start(live: Object) -> int:
    return int((live["spec"].get("ordinals") or {}).get("start", 0))


def _partition(live: Object) -> int:
    return int((_strategy(live).get("rollingUpdate") or {}).get("partition") or 0)


def _owned_by(uid: str) -> Callable[[Object], bool]:
    return lambda pod: any(
        it.get("controller") and it["uid"] == uid
        for it in pod["metadata"].get("ownerReferences") or ()
    )


def _count(live: Object, name: str) -> int:
    return int((live.get("status") or {}).get(name) or 0)


def _annotation(thing: Object, name: str) -> str | None:
    value: str | None = (thing["metadata"].get("annotations") or {}).get(name)
    return value


def _label(thing: Object, name: str) -> str | None:
    value: str | None = (thing["metadata"].get("labels") or {}).get(name)
    return value
