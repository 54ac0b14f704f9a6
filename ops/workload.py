"""What a cluster holds of a Deployment: its pods, how far a rollout is, what serves.

Pure: the objects come from elsewhere, as the API has them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

Object = Mapping[str, Any]

_REVISION = "deployment.kubernetes.io/revision"
_VERSION = "app.kubernetes.io/version"
_HASH = "pod-template-hash"
_SLACK_SECONDS = 30.0


@dataclass(frozen=True, kw_only=True)
class Workload:
    """A Deployment that is watched.

    Attributes:
        namespace: Its namespace.
        name: Its name.
        service: The Service it is probed through; None means the one that selects its pods.
    """

    namespace: str
    name: str
    service: str | None = None

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """What a cluster holds of one Deployment at a moment.

    Attributes:
        deployment: The Deployment; None when there is none (yet).
        replica_sets: The ReplicaSets it owns.
        pods: The pods those own.
    """

    deployment: Object | None
    replica_sets: tuple[Object, ...] = ()
    pods: tuple[Object, ...] = ()

    @property
    def observed(self) -> bool:
        """Whether the cluster has taken note of the Deployment as it is now."""
        if self.deployment is None:
            return False
        generation = int(self.deployment["metadata"].get("generation", 0))
        status = self.deployment.get("status") or {}
        return int(status.get("observedGeneration", 0)) >= generation

    @property
    def replica_set(self) -> Object | None:
        """The new release's ReplicaSet; None until the cluster has made it."""
        if self.deployment is None or not self.observed:
            return None
        revision = _annotation(self.deployment, _REVISION)
        for candidate in self.replica_sets:
            if revision is not None and _annotation(candidate, _REVISION) == revision:
                return candidate
        return None

    @property
    def new_pods(self) -> tuple[Object, ...]:
        """The new release's pods, without those that are going."""
        owner = self.replica_set
        if owner is None:
            return ()
        uid = owner["metadata"]["uid"]
        return tuple(p for p in self.pods if owner_of(p) == uid and not is_going(p))

    @property
    def old_pods(self) -> tuple[Object, ...]:
        """The pods of releases before, also those that are going."""
        owner = self.replica_set
        uid = None if owner is None else owner["metadata"]["uid"]
        return tuple(p for p in self.pods if owner_of(p) != uid)


@dataclass(frozen=True, kw_only=True)
class Group:
    """The pods of one release at a moment.

    Attributes:
        key: What names the release's pods: their ReplicaSet's hash.
        name: How a person calls it: the version that its pods name, or the hash.
        pods: How many there are, without those that are ending.
        ready: How many of them are ready.
    """

    key: str
    name: str
    pods: int
    ready: int


@dataclass(frozen=True, kw_only=True)
class Rollout:
    """How far a rollout is.

    Attributes:
        wanted: How many pods there are to be.
        new: How many pods of the new release there are.
        ready: How many of them are ready.
        old: How many pods of releases before still serve.
        complete: Whether it is done: every pod is new and available.
        groups: Its pods by release.
    """

    wanted: int
    new: int
    ready: int
    old: int
    complete: bool
    groups: tuple[Group, ...] = ()


def rollout(snapshot: Snapshot) -> Rollout:
    """Say how far a Deployment's rollout is."""
    if snapshot.deployment is None:
        return Rollout(wanted=0, new=0, ready=0, old=0, complete=False)
    pods = wanted(snapshot.deployment)
    status = snapshot.deployment.get("status") or {}
    counts = [int(status.get(n, 0)) for n in ("updatedReplicas", "replicas", "availableReplicas")]
    new = snapshot.new_pods
    return Rollout(
        wanted=pods,
        new=len(new),
        ready=sum(map(is_ready, new)),
        old=sum(1 for pod in snapshot.old_pods if not is_going(pod)),
        complete=snapshot.observed and counts == [pods] * 3,
        groups=_groups(snapshot.pods),
    )


def wanted(deployment: Object) -> int:
    """Return how many pods a Deployment is to have."""
    return int(deployment["spec"].get("replicas", 1))


def could_serve(pod: Object) -> bool:
    """Return whether all of a pod's containers are ready, as its kubelet says.

    It is the pod itself that a control plane calls unready when it does not hear of its node.
    """
    if (pod.get("spec") or {}).get("readinessGates"):
        return is_ready(pod)
    found = (pod.get("status") or {}).get("containerStatuses") or ()
    return bool(found) and all(it.get("ready") for it in found) and not is_going(pod)


def longest_rollout(snapshot: Snapshot) -> float:
    """Return how many seconds a rollout may take in all; Kubernetes itself judges its progress."""
    if snapshot.deployment is None:
        return _SLACK_SECONDS
    spec = snapshot.deployment["spec"]
    steps = max(1, wanted(snapshot.deployment))
    deadline = int(spec.get("progressDeadlineSeconds", 600))
    return deadline + steps * (int(spec.get("minReadySeconds", 0)) + _SLACK_SECONDS)


def _groups(pods: Iterable[Object]) -> tuple[Group, ...]:
    found: dict[str, list[Object]] = {}
    for pod in pods:
        if not is_going(pod):
            key = (pod["metadata"].get("labels") or {}).get(_HASH) or owner_of(pod) or ""
            found.setdefault(key, []).append(pod)
    return tuple(
        Group(
            key=key,
            name=version_of(members[0]) or key,
            pods=len(members),
            ready=sum(map(is_ready, members)),
        )
        for key, members in sorted(found.items())
    )


def serving(snapshot: Snapshot) -> str:
    """Say in a few words what serves at a moment, by release."""
    old = [p for p in snapshot.old_pods if is_ready(p) and not is_going(p)]
    new = [p for p in snapshot.new_pods if is_ready(p)]
    if not old and not new:
        return "nothing serves: no pod is ready"
    parts = []
    if old:
        parts.append(f"the release before still serves, {_count(old)}")
    if new:
        parts.append(f"the new release serves{' too' if old else ''}, {_count(new)}")
    return "; ".join(parts)


def version_of(pod: Object) -> str | None:
    """Return the version a pod's label names."""
    label: str | None = (pod["metadata"].get("labels") or {}).get(_VERSION)
    return label


def is_ready(pod: Object) -> bool:
    """Return whether a pod is ready."""
    return condition(pod, "Ready").get("status") == "True"


def restarts(pod: Object) -> int:
    """Return how often a pod's containers have been started anew."""
    return sum(int(status.get("restartCount", 0)) for status, _ in container_statuses(pod))


def owner_of(thing: Object) -> str | None:
    """Return the uid of the object that controls another."""
    for owner in thing["metadata"].get("ownerReferences") or ():
        if owner.get("controller"):
            return str(owner["uid"])
    return None


def container_statuses(pod: Object) -> Iterator[tuple[Object, bool]]:
    """Yield the status of each container and whether it is one that should never end."""
    status = pod.get("status") or {}
    always = {
        container["name"]
        for container in (pod.get("spec") or {}).get("initContainers") or ()
        if container.get("restartPolicy") == "Always"
    }
    for found in status.get("initContainerStatuses") or ():
        yield found, found["name"] in always
    for found in status.get("containerStatuses") or ():
        yield found, True


def ends_of(status: Object, *, lasting: bool) -> tuple[int, Object, bool]:
    """Return how often a container has ended, how it did last, and whether it was started anew."""
    now = (status.get("state") or {}).get("terminated")
    before = (status.get("lastState") or {}).get("terminated") or {}
    waits = (status.get("state") or {}).get("waiting") is not None
    # The count goes up at the start that follows an end, not at the end.
    count = int(status.get("restartCount", 0)) + (1 if waits and before else 0)
    if now is not None and (lasting or now.get("exitCode") != 0):
        return count + 1, now, False
    if not lasting and before.get("exitCode") == 0:
        return 0, before, True
    return count, before, True


def readiness_budget(pod: Object, container: str) -> float:
    """Return how long a container may be unready by its own readiness probe, in seconds."""
    return _budget(probe_of(pod, container, "readinessProbe"))


def startup_budget(pod: Object, container: str) -> float | None:
    """Return how long a container may take to start, in seconds; None when nothing says it."""
    probe = probe_of(pod, container, "startupProbe")
    return _budget(probe) - float(probe.get("timeoutSeconds", 1)) if probe else None


def _budget(probe: Object) -> float:
    period, misses = probe.get("periodSeconds", 10), probe.get("failureThreshold", 3)
    return float(
        probe.get("initialDelaySeconds", 0) + period * misses + probe.get("timeoutSeconds", 1)
    )


def probe_of(pod: Object, container: str, name: str) -> Object:
    """Return one of a container's probes; empty when it has none of that name."""
    found: Object = _spec(pod, container).get(name) or {}
    return found


def ran_seconds(terminated: Object) -> float:
    """Return for how long a container ran that has ended; both times are the node's own."""
    try:
        began, ended = (
            datetime.fromisoformat(terminated[name]) for name in ("startedAt", "finishedAt")
        )
    except (KeyError, TypeError, ValueError):
        return 0.0
    return (ended - began).total_seconds()


def holdup(pod: Object) -> tuple[str | None, str]:
    """Return the container that keeps a pod from being ready, and why, worded to follow on."""
    name = pod["metadata"]["name"]
    for status in (pod.get("status") or {}).get("containerStatuses") or ():
        if status.get("ready"):
            continue
        container = status["name"]
        waiting = ((status.get("state") or {}).get("waiting") or {}).get("reason")
        if waiting:
            why = f"waits ({waiting})"
        elif probe_of(pod, container, "startupProbe") and not status.get("started"):
            why = "runs, but its startup probe has not passed"
        else:
            why = "is not ready"
        return container, f"; container {container} of pod {name} {why}"
    return None, ""


def _spec(pod: Object, container: str) -> Object:
    spec = pod.get("spec") or {}
    for candidate in (*(spec.get("containers") or ()), *(spec.get("initContainers") or ())):
        if candidate["name"] == container:
            found: Object = candidate
            return found
    return {}


def image_of(pod: Object, container: str) -> str:
    """Return the image a container is to run."""
    return str(_spec(pod, container).get("image", "of the container"))


def memory_limit(pod: Object, container: str) -> str:
    """Return a container's memory limit, worded to follow something; empty when it has none."""
    limits = (_spec(pod, container).get("resources") or {}).get("limits") or {}
    return f", {limits['memory']}" if "memory" in limits else ""


def _count(pods: list[Object]) -> str:
    versions = sorted({version_of(pod) or "" for pod in pods} - {""})
    named = f" ({', '.join(versions)})" if versions else ""
    return f"{len(pods)} ready pod{'' if len(pods) == 1 else 's'}{named}"


def condition(thing: Object, kind: str) -> Object:
    """Return one of an object's conditions; empty when it has none of that kind."""
    for found in (thing.get("status") or {}).get("conditions") or ():
        if found.get("type") == kind:
            one: Object = found
            return one
    return {}


def _annotation(thing: Object, name: str) -> str | None:
    value: str | None = (thing["metadata"].get("annotations") or {}).get(name)
    return value


def is_going(pod: Object) -> bool:
    """Whether a pod is ending."""
    return pod["metadata"].get("deletionTimestamp") is not None
