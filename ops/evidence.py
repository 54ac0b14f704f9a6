"""Why a rollout can no longer succeed, seen in what the cluster says of its pods.

Pure: it is given objects and the time, and remembers since when it has seen what. The time is the
caller's, never the cluster's, so that clocks that differ make no evidence.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ops.gate_settings import GateSettings

Object = Mapping[str, Any]

_REVISION = "deployment.kubernetes.io/revision"
_VERSION = "app.kubernetes.io/version"

_IMAGE_NAME = ("InvalidImageName", "ErrImageNeverPull")
_IMAGE = (*_IMAGE_NAME, "ErrImagePull", "ImagePullBackOff", "RegistryUnavailable")
_FINAL_PULL = ("not found", "manifest unknown", "denied", "unauthorized", "forbidden", "no match")
_CONFIGURATION = ("CreateContainerConfigError", "CreateContainerError", "RunContainerError")

PULL_SECONDS = 20.0
"""How long an image may fail to come for a reason that may pass, such as a registry restarted."""

CONFIGURATION_SECONDS = 2.0
"""How long a missing reference may last: it may be made at the same time."""

REFUSED_SECONDS = 5.0
"""How long pods may be refused: a quota may come free as old pods end."""


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
        return tuple(p for p in self.pods if owner_of(p) == uid and not _going(p))

    @property
    def old_pods(self) -> tuple[Object, ...]:
        """The pods of releases before, also those that are going."""
        owner = self.replica_set
        uid = None if owner is None else owner["metadata"]["uid"]
        return tuple(p for p in self.pods if owner_of(p) != uid)


@dataclass(frozen=True, kw_only=True)
class Rollout:
    """How far a rollout is.

    Attributes:
        wanted: How many pods there are to be.
        new: How many pods of the new release there are.
        ready: How many of them are ready.
        old: How many pods of releases before still serve.
        complete: Whether it is done: every pod is new and available.
    """

    wanted: int
    new: int
    ready: int
    old: int
    complete: bool


@dataclass(frozen=True, kw_only=True)
class Failure:
    """Evidence that a rollout can no longer succeed.

    Attributes:
        kind: What it is: crash, memory, image, configuration, unschedulable, unready, refused,
            deadline or paused.
        reason: It, in one line.
        pod: The pod that shows it.
        container: The container that shows it.
        ended: Whether the log to read is that of a container that has been started anew since.
    """

    kind: str
    reason: str
    pod: str | None = None
    container: str | None = None
    ended: bool = False


class Observer:
    """Looks at one Deployment again and again until it fails or is no longer of interest."""

    def __init__(self, settings: GateSettings) -> None:
        self._settings = settings
        self._since: dict[tuple[str, ...], float] = {}
        self._seen: set[tuple[str, ...]] = set()
        self._forgiven: dict[tuple[str, str], int] | None = None

    def observe(self, snapshot: Snapshot, now: float) -> Failure | None:
        """Return the evidence there is at a moment.

        Args:
            snapshot: What the cluster holds.
            now: Seconds on any clock that only goes forward.
        """
        if self._forgiven is None:
            self._forgiven = dict(_ends_of_ready(snapshot))
        self._seen = set()
        found = next(self._failures(snapshot, now), None)
        if found is None:
            # What was not seen this time begins anew when it is seen again.
            self._since = {key: at for key, at in self._since.items() if key in self._seen}
        return found

    def _held(self, now: float, *key: str) -> float:
        """Return for how long something has been seen without a break."""
        self._seen.add(key)
        return now - self._since.setdefault(key, now)

    def _failures(self, snapshot: Snapshot, now: float) -> Iterator[Failure]:
        if snapshot.deployment is None or not snapshot.observed:
            return
        pods = snapshot.new_pods
        yield from self._crashes(pods)
        for pod in pods:
            yield from self._waiting(pod, now)
            yield from self._unscheduled(pod, now)
            yield from self._unready(pod, now)
        yield from self._of_controller(snapshot, now)

    def _crashes(self, pods: tuple[Object, ...]) -> Iterator[Failure]:
        ends, last = 0, None
        for pod in pods:
            for status, lasting in _statuses(pod):
                count, state, ended = _ends(status, lasting=lasting)
                key = (pod["metadata"]["uid"], status["name"])
                count -= (self._forgiven or {}).get(key, 0)
                if count <= 0:
                    continue
                ends += count
                last = (pod, status, state, ended)
        if last is None or ends < self._settings.crashes:
            return
        pod, status, state, ended = last
        name, code = pod["metadata"]["name"], state.get("exitCode")
        who = f"container {status['name']} of pod {name}"
        times = "" if ends == 1 else f" ({ends} ends of the new release's containers)"
        if state.get("reason") == "OOMKilled":
            limit = _memory_limit(pod, status["name"])
            kind, why = "memory", f"was killed for using more memory than its limit{limit}"
        elif state.get("reason") in ("StartError", "ContainerCannotRun"):
            kind, why = "crash", f"could not be started: {_line(state.get('message'))}"
        else:
            kind, why = "crash", f"ended with exit code {code}"
        yield Failure(
            kind=kind,
            reason=f"{who} {why}{times}",
            pod=name,
            container=status["name"],
            ended=ended,
        )

    def _waiting(self, pod: Object, now: float) -> Iterator[Failure]:
        name = pod["metadata"]["name"]
        for status, _ in _statuses(pod):
            waiting = (status.get("state") or {}).get("waiting") or {}
            reason, message = waiting.get("reason", ""), _line(waiting.get("message"))
            container = status["name"]
            if reason in _IMAGE:
                held = self._held(now, name, container, "image")
                final = reason in _IMAGE_NAME or any(
                    word in message.lower() for word in _FINAL_PULL
                )
                if final or held >= PULL_SECONDS:
                    image = status.get("image") or _image(pod, container)
                    yield Failure(
                        kind="image",
                        reason=f"the image {image} cannot be pulled ({reason}): {message}",
                        pod=name,
                        container=container,
                    )
            elif (
                reason in _CONFIGURATION
                and self._held(now, name, container, "configuration") >= CONFIGURATION_SECONDS
            ):
                yield Failure(
                    kind="configuration",
                    reason=f"container {container} of pod {name} cannot be made "
                    f"({reason}): {message}",
                    pod=name,
                    container=container,
                )

    def _unscheduled(self, pod: Object, now: float) -> Iterator[Failure]:
        scheduled = _condition(pod, "PodScheduled")
        if scheduled.get("status") != "False" or scheduled.get("reason") != "Unschedulable":
            return
        name = pod["metadata"]["name"]
        held = self._held(now, name, "unschedulable")
        if held >= self._settings.unschedulable_seconds:
            yield Failure(
                kind="unschedulable",
                reason=f"no node takes pod {name}: {_line(scheduled.get('message'))}",
                pod=name,
            )

    def _unready(self, pod: Object, now: float) -> Iterator[Failure]:
        name = pod["metadata"]["name"]
        for status in (pod.get("status") or {}).get("containerStatuses") or ():
            running = (status.get("state") or {}).get("running")
            # Before `started` the startup probe has its own budget, at whose end comes a kill.
            if running is None or status.get("ready") or not status.get("started"):
                continue
            budget = max(self._settings.unready_seconds, _readiness_budget(pod, status["name"]))
            if self._held(now, name, status["name"], "unready") >= budget:
                yield Failure(
                    kind="unready",
                    reason=f"container {status['name']} of pod {name} has started but has not "
                    f"become ready for {budget:g} s",
                    pod=name,
                    container=status["name"],
                )

    def _of_controller(self, snapshot: Snapshot, now: float) -> Iterator[Failure]:
        deployment = snapshot.deployment or {}
        progressing = _condition(deployment, "Progressing")
        if progressing.get("reason") == "ProgressDeadlineExceeded":
            pods = [p["metadata"]["name"] for p in snapshot.new_pods if not is_ready(p)]
            seconds = deployment["spec"].get("progressDeadlineSeconds", 600)
            yield Failure(
                kind="deadline",
                reason=f"the rollout made no progress for {seconds} s, its progress deadline",
                pod=pods[0] if pods else None,
            )
        refused = _condition(snapshot.replica_set or {}, "ReplicaFailure")
        if refused.get("status") == "True" and self._held(now, "refused") >= REFUSED_SECONDS:
            yield Failure(
                kind="refused",
                reason=f"pods are refused ({refused.get('reason')}): "
                f"{_line(refused.get('message'))}",
            )
        paused = bool(deployment["spec"].get("paused"))
        unfinished = paused and not rollout(snapshot).complete
        if unfinished and self._held(now, "paused") >= REFUSED_SECONDS:
            name = deployment["metadata"]["name"]
            yield Failure(
                kind="paused",
                reason=f"Deployment {name} is paused in the middle of a rollout",
            )


def rollout(snapshot: Snapshot) -> Rollout:
    """Say how far a Deployment's rollout is."""
    if snapshot.deployment is None:
        return Rollout(wanted=0, new=0, ready=0, old=0, complete=False)
    wanted = int(snapshot.deployment["spec"].get("replicas", 1))
    status = snapshot.deployment.get("status") or {}
    counts = [int(status.get(n, 0)) for n in ("updatedReplicas", "replicas", "availableReplicas")]
    new = snapshot.new_pods
    return Rollout(
        wanted=wanted,
        new=len(new),
        ready=sum(map(is_ready, new)),
        old=sum(1 for pod in snapshot.old_pods if not _going(pod)),
        complete=snapshot.observed and counts == [wanted] * 3,
    )


def serving(snapshot: Snapshot) -> str:
    """Say in a few words what serves at a moment, by release."""
    old = [p for p in snapshot.old_pods if is_ready(p) and not _going(p)]
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
    return _condition(pod, "Ready").get("status") == "True"


def restarts(pod: Object) -> int:
    """Return how often a pod's containers have been started anew."""
    return sum(int(status.get("restartCount", 0)) for status, _ in _statuses(pod))


def owner_of(thing: Object) -> str | None:
    """Return the uid of the object that controls another."""
    for owner in thing["metadata"].get("ownerReferences") or ():
        if owner.get("controller"):
            return str(owner["uid"])
    return None


def _count(pods: list[Object]) -> str:
    versions = sorted({version_of(pod) or "" for pod in pods} - {""})
    named = f" ({', '.join(versions)})" if versions else ""
    return f"{len(pods)} ready pod{'' if len(pods) == 1 else 's'}{named}"


def _ends_of_ready(snapshot: Snapshot) -> Iterator[tuple[tuple[str, str], int]]:
    """Yield how often containers have ended that are fine by now: that is the past."""
    for pod in snapshot.pods:
        if is_ready(pod):
            for status, lasting in _statuses(pod):
                count, _, _ = _ends(status, lasting=lasting)
                yield (pod["metadata"]["uid"], status["name"]), count


def _statuses(pod: Object) -> Iterator[tuple[Object, bool]]:
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


def _ends(status: Object, *, lasting: bool) -> tuple[int, Object, bool]:
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


def _readiness_budget(pod: Object, container: str) -> float:
    probe = _spec(pod, container).get("readinessProbe") or {}
    period, misses = probe.get("periodSeconds", 10), probe.get("failureThreshold", 3)
    return float(
        probe.get("initialDelaySeconds", 0) + period * misses + probe.get("timeoutSeconds", 1)
    )


def _spec(pod: Object, container: str) -> Object:
    spec = pod.get("spec") or {}
    for candidate in (*(spec.get("containers") or ()), *(spec.get("initContainers") or ())):
        if candidate["name"] == container:
            found: Object = candidate
            return found
    return {}


def _image(pod: Object, container: str) -> str:
    return str(_spec(pod, container).get("image", "of the container"))


def _memory_limit(pod: Object, container: str) -> str:
    limits = (_spec(pod, container).get("resources") or {}).get("limits") or {}
    return f", {limits['memory']}" if "memory" in limits else ""


def _condition(thing: Object, kind: str) -> Object:
    for condition in (thing.get("status") or {}).get("conditions") or ():
        if condition.get("type") == kind:
            found: Object = condition
            return found
    return {}


def _annotation(thing: Object, name: str) -> str | None:
    value: str | None = (thing["metadata"].get("annotations") or {}).get(name)
    return value


def _going(pod: Object) -> bool:
    return pod["metadata"].get("deletionTimestamp") is not None


def _line(text: object) -> str:
    return " ".join(str(text or "").split())
