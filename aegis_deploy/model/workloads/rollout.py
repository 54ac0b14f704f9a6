"""What a cluster holds of a workload: its pods, how far a rollout is, what serves.

Pure: the objects come from elsewhere, as the API has them. What differs by kind is
:mod:`model.workloads.rollout_status`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import Any

from aegis_deploy.model.workloads import rollout_status
from aegis_deploy.model.workloads.workload_kinds import DEPLOYMENT

Object = Mapping[str, Any]

_VERSION = "app.kubernetes.io/version"
_HASHES = ("pod-template-hash", rollout_status.REVISION_LABEL)
_SLACK_SECONDS = 30.0


def within(cluster: str) -> str:
    """Word which cluster something is in, to follow its name; empty for a stack's own."""
    return f" (provider {cluster})" if cluster else ""


@dataclass(frozen=True, kw_only=True)
class Workload:
    """Something that runs pods and is watched.

    Attributes:
        namespace: Its namespace.
        name: Its name.
        service: The Service it is probed through; None means the one that selects its pods.
        kind: Its kind; those of different kinds may have the same name.
        cluster: Which of a stack's clusters it is in, by the name of a provider that leads there;
            empty for a stack's own, and where there is only one. Those in different ones may have
            the same name, too.
        provider: The URN of its provider; empty for one that connects as the settings say.
    """

    namespace: str
    name: str
    service: str | None = None
    kind: str = DEPLOYMENT
    cluster: str = ""
    provider: str = field(default="", compare=False, repr=False)

    def __str__(self) -> str:
        # A Deployment is called as it was when there was nothing else, for what was recorded then.
        return f"{self._kind}{self.namespace}/{self.name}{self.where}"

    @property
    def label(self) -> str:
        """What a person calls it among others of its namespace."""
        return f"{self._kind}{self.name}{self.where}"

    @property
    def where(self) -> str:
        """Which cluster it is in, worded to follow its name; empty for a stack's own."""
        return within(self.cluster)

    @property
    def _kind(self) -> str:
        return "" if self.kind == DEPLOYMENT else f"{self.kind} "


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """What a cluster holds of one workload at a moment.

    Attributes:
        live: The workload; None when there is none (yet).
        kind: Its kind.
        revisions: What it owns that stands for its releases: ReplicaSets or ControllerRevisions.
        pods: Its pods.
    """

    live: Object | None
    kind: str = DEPLOYMENT
    revisions: tuple[Object, ...] = ()
    pods: tuple[Object, ...] = ()

    @property
    def observed(self) -> bool:
        """Whether the cluster has taken note of the workload as it is now."""
        return self.live is not None and rollout_status.observed(self.kind, self.live)

    @property
    def replica_set(self) -> Object | None:
        """A Deployment's new release's ReplicaSet; None until the cluster has made it."""
        if self.live is None or not self.observed or self.kind != DEPLOYMENT:
            return None
        return rollout_status.replica_set(self.live, self.revisions)

    @property
    def tells_apart(self) -> bool:
        """Whether it is known yet which pods are the new release's."""
        return self._newest is not None

    def is_new(self, pod: Object) -> bool:
        """Return whether a pod is the new release's, also one that is going."""
        return self._newest is not None and self._newest(pod)

    @property
    def new_pods(self) -> tuple[Object, ...]:
        """The new release's pods, without those that are going or about to.

        A cluster tells of a workload and of its pods in no order: one that was told to run fewer
        is seen before the pods that it then deletes are, and what those go through is over.
        """
        new = tuple(p for p in self.pods if self.is_new(p) and not is_going(p))
        if self.live is None:
            return new
        return rollout_status.lasting(self.kind, self.live, new, last=_goes_last)

    @property
    def old_pods(self) -> tuple[Object, ...]:
        """The pods of releases before that go or are to go."""
        kept = {pod["metadata"].get("uid") for pod in self.kept_pods}
        return tuple(
            p for p in self.pods if not self.is_new(p) and p["metadata"].get("uid") not in kept
        )

    @property
    def kept_pods(self) -> tuple[Object, ...]:
        """The pods of releases before that the workload's strategy leaves as they are."""
        live = self.live
        if live is None or self._newest is None or self.kind == DEPLOYMENT:
            return ()
        every = rollout_status.on_delete(live)
        return tuple(
            pod
            for pod in self.pods
            if not self.is_new(pod)
            and not is_going(pod)
            and (every or rollout_status.below_partition(self.kind, live, pod))
        )

    @cached_property
    def _newest(self) -> Callable[[Object], bool] | None:
        if self.live is None or not self.observed:
            return None
        return rollout_status.newest(self.kind, self.live, self.revisions)


@dataclass(frozen=True, kw_only=True)
class Group:
    """The pods of one release at a moment.

    Attributes:
        key: What names the release's pods: the hash of their template.
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
    """Say how far a workload's rollout is."""
    if snapshot.live is None:
        return Rollout(wanted=0, new=0, ready=0, old=0, complete=False)
    new = snapshot.new_pods
    return Rollout(
        wanted=wanted(snapshot),
        new=len(new),
        ready=sum(map(is_ready, new)),
        old=sum(1 for pod in snapshot.old_pods if not is_going(pod)),
        complete=snapshot.observed and rollout_status.complete(snapshot.kind, snapshot.live),
        groups=_groups(snapshot.pods),
    )


def wanted(snapshot: Snapshot) -> int:
    """Return how many pods a workload is to have."""
    return 0 if snapshot.live is None else rollout_status.wanted(snapshot.kind, snapshot.live)


def left_as_they_are(snapshot: Snapshot) -> str:
    """Say which pods of releases before a complete rollout leaves, and why; empty for none."""
    kept = snapshot.kept_pods
    if snapshot.live is None or not kept:
        return ""
    by = "strategy, OnDelete" if rollout_status.on_delete(snapshot.live) else "partition"
    name = snapshot.live["metadata"]["name"]
    pods, are = ("1 pod", "is") if len(kept) == 1 else (f"{len(kept)} pods", "are")
    return f"{pods} of {snapshot.kind} {name} {are} left at a release before by its {by}"


def could_serve(pod: Object) -> bool:
    """Return whether all of a pod's containers are ready, as its kubelet says.

    It is the pod itself that a control plane calls unready when it does not hear of its node.
    """
    if (pod.get("spec") or {}).get("readinessGates"):
        return is_ready(pod)
    found = (pod.get("status") or {}).get("containerStatuses") or ()
    return bool(found) and all(it.get("ready") for it in found) and not is_going(pod)


def longest_rollout(snapshot: Snapshot) -> float:
    """Return how many seconds a rollout may take in all; its progress is judged apart."""
    if snapshot.live is None:
        return _SLACK_SECONDS
    return rollout_status.longest(snapshot.kind, snapshot.live)


def _groups(pods: Iterable[Object]) -> tuple[Group, ...]:
    found: dict[str, list[Object]] = {}
    for pod in pods:
        if not is_going(pod):
            labels = pod["metadata"].get("labels") or {}
            key = next(filter(None, map(labels.get, _HASHES)), None) or owner_of(pod) or ""
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
    before = (*snapshot.old_pods, *snapshot.kept_pods)
    old = [p for p in before if is_ready(p) and not is_going(p)]
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


def template_version(workload: Object) -> str | None:
    """Return the version that the pods of a workload are to be labelled with."""
    return version_of({"metadata": {}, **workload["spec"]["template"]})


def is_ready(pod: Object) -> bool:
    """Return whether a pod is ready."""
    return condition(pod, "Ready").get("status") == "True"


def _goes_last(pod: Object) -> tuple[bool, int, str]:
    """Order pods as a ReplicaSet keeps them: what serves, what restarted less, what is older."""
    return not is_ready(pod), restarts(pod), str(pod["metadata"].get("creationTimestamp") or "")


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
    for status, lasting in container_statuses(pod):
        if status["name"] in _names(pod, "containers"):
            break
        why = _holds(status, lasting=lasting)
        if why:
            return status["name"], f"; init container {status['name']} of pod {name} {why}"
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


def _holds(status: Object, *, lasting: bool) -> str:
    """Say why an init container keeps those that come after it waiting; empty when it does not."""
    state = status.get("state") or {}
    reason = (state.get("waiting") or {}).get("reason")
    if reason:
        return "" if reason == "PodInitializing" else f"waits ({reason})"
    if "running" in state and not (lasting and status.get("started")):
        return "has not started" if lasting else "still runs, and the pod waits for its end"
    return ""


def _names(pod: Object, which: str) -> set[str]:
    return {it["name"] for it in (pod.get("spec") or {}).get(which) or ()}


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


def http_port(pod: Object) -> int | None:
    """Return the port a pod answers HTTP at: the one called so, or else its first."""
    ports = [it for c in pod["spec"]["containers"] for it in c.get("ports") or ()]
    named = [it for it in ports if "http" in str(it.get("name"))]
    return next((int(it["containerPort"]) for it in (*named, *ports)), None)


def condition(thing: Object, kind: str) -> Object:
    """Return one of an object's conditions; empty when it has none of that kind."""
    for found in (thing.get("status") or {}).get("conditions") or ():
        if found.get("type") == kind:
            one: Object = found
            return one
    return {}


def is_going(pod: Object) -> bool:
    """Whether a pod is ending."""
    return pod["metadata"].get("deletionTimestamp") is not None
