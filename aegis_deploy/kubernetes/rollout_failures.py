"""Why a rollout can no longer succeed, seen in what the cluster says of its pods.

Pure: it is given objects and the time, and remembers since when it has seen what. The time is the
caller's, never the cluster's, so that clocks that differ make no evidence.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from aegis_deploy.model.gate_settings import GateSettings
from aegis_deploy.model.workloads.rollout import (
    Object,
    Snapshot,
    condition,
    container_statuses,
    ends_of,
    holdup,
    image_of,
    is_going,
    is_ready,
    memory_limit,
    probe_of,
    ran_seconds,
    readiness_budget,
    rollout,
    startup_budget,
)
from aegis_deploy.model.workloads.rollout_status import PROGRESS_SECONDS, counts
from aegis_deploy.model.workloads.workload_kinds import DEPLOYMENT, JOB

_IMAGE_NAME = ("InvalidImageName", "ErrImageNeverPull")
_IMAGE = (*_IMAGE_NAME, "ErrImagePull", "ImagePullBackOff", "RegistryUnavailable")
_FINAL_PULL = ("not found", "manifest unknown", "denied", "unauthorized", "forbidden", "no match")
_OF_THE_NODE = ("ContainerStatusUnknown", "Unknown")
"""How the kubelet words the end of a container that its node took along, as at a reboot."""
_CONFIGURATION = ("CreateContainerConfigError", "CreateContainerError", "RunContainerError")

DELETED = "deleted"
"""The kind of a failure that somebody's hand made: what was rolled out was deleted."""

REGISTRY = "registry"
"""The kind of one that the registry made, which may be there again at any moment."""

NODE = "node"
"""The kind of one that a node made, which does not reach its API server or its runtime."""

_OF_THE_PATH = (
    "failed to sync configmap cache",
    "failed to sync secret cache",
    "have not yet been read at least once",
    "timed out waiting for the condition",
    "connection refused",
    "connection error",
    "context deadline exceeded",
    "i/o timeout",
    "etcdserver:",
)
"""What a kubelet says of a container that it could make but for who should have answered it. It
words that with the same reasons as a reference to what does not exist, and tries again."""

PULL_SECONDS = 20.0
"""How long an image may fail to come for a reason that may pass, such as a registry restarted."""

CONFIGURATION_SECONDS = 2.0
"""How long a missing reference may last: it may be made at the same time."""

AGAIN_SECONDS = 40.0
"""How long for a pod that waited before: what it misses may be made again, and a kubelet looks for
it every 10 to 15 s."""

NODE_SECONDS = 90.0
"""How long a node may not get through: client-go's reflectors wait up to 30 s, doubled by jitter,
before they list anew what an API server had no answer to, and the kubelet looks at a pod again only
some seconds later."""

REFUSED_SECONDS = 5.0
"""How long pods may be refused once no pod of before is ending: what ends counts in a quota to its
last moment, and that may be as long as its grace period."""

MISSING_SECONDS = 60.0
"""How long a pod of a set may not even be made, while every other one is ready: its controller says
only by events that it is refused, and may itself have been started anew just now."""

DEADLINE_SECONDS = 2.0
"""How long a progress deadline must be exceeded: at first it may be that of the rollout before,
which the cluster has not yet taken back."""


@dataclass(frozen=True, kw_only=True)
class RolloutFailure:
    """Evidence that a rollout can no longer succeed.

    Attributes:
        kind: What it is: crash, startup, memory, image, registry, configuration, node,
            unschedulable, unready, refused, deadline, paused, job or deleted.
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
    """Looks at one workload again and again until it fails or is no longer of interest."""

    def __init__(self, settings: GateSettings, *, restores: bool = False) -> None:
        """Prepare it.

        Args:
            settings: What is evidence.
            restores: Whether what pods miss that are there already may just have been made again.
        """
        self._settings = settings
        self._restores = restores
        self._there: set[str] = set()
        self._since: dict[tuple[str, ...], float] = {}
        self._seen: set[tuple[str, ...]] = set()
        self._forgiven: dict[tuple[str, str], int] | None = None
        self._started: set[tuple[str, str]] = set()

    def observe(self, snapshot: Snapshot, now: float) -> RolloutFailure | None:
        """Return the evidence there is at a moment.

        Args:
            snapshot: What the cluster holds.
            now: Seconds on any clock that only goes forward.
        """
        if self._forgiven is None:
            self._forgiven = dict(_ends_of_ready(snapshot))
            if self._restores:
                self._there = {pod["metadata"]["uid"] for pod in snapshot.pods}
        return self._first(self._failures(snapshot, now))

    def observe_pods(self, pods: Sequence[Object], now: float) -> RolloutFailure | None:
        """Return the evidence there is at a moment that some pods never become ready.

        Args:
            pods: The pods, whosever they are.
            now: As for `observe`.
        """
        self._forgiven = self._forgiven or {}
        return self._first(self._of_pods(pods, now))

    def _first(self, failures: Iterator[RolloutFailure]) -> RolloutFailure | None:
        self._seen = set()
        found = next(failures, None)
        if found is None:
            # What was not seen this time begins anew when it is seen again.
            self._since = {key: at for key, at in self._since.items() if key in self._seen}
        return found

    def _held(self, now: float, *key: str) -> float:
        """Return for how long something has been seen without a break."""
        self._seen.add(key)
        return now - self._since.setdefault(key, now)

    def _failures(self, snapshot: Snapshot, now: float) -> Iterator[RolloutFailure]:
        if snapshot.live is None or not snapshot.observed:
            return
        if snapshot.kind == JOB:
            if is_going(snapshot.live):
                return  # Its successor is what runs.
            yield from self._of_job(snapshot, snapshot.live, now)
            return
        yield from self._of_pods(snapshot.new_pods, now)
        if snapshot.kind == DEPLOYMENT:
            yield from self._of_controller(snapshot, snapshot.live, now)
        else:
            yield from self._of_set(snapshot, snapshot.live, now)

    def _of_pods(self, pods: Sequence[Object], now: float) -> Iterator[RolloutFailure]:
        self._started.update(
            (pod["metadata"]["uid"], status["name"])
            for pod in pods
            for status, _ in container_statuses(pod)
            if status.get("started")
        )
        yield from self._crashes(pods)
        for pod in pods:
            yield from self._waiting(pod, now)
            yield from self._unscheduled(pod, now)
            yield from self._unready(pod, now)

    def _crashes(self, pods: Sequence[Object]) -> Iterator[RolloutFailure]:
        ends, last = 0, None
        for pod in pods:
            for status, lasting in container_statuses(pod):
                count, state, ended = ends_of(status, lasting=lasting)
                # A node that is started anew may have lost one that was made and not yet started:
                # the next one counts as its restart, and nothing tells of an end.
                if not state or state.get("reason") in _OF_THE_NODE:
                    continue
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
        times = "" if ends == 1 else f" ({ends} ends in all)"
        if state.get("reason") == "OOMKilled":
            limit = memory_limit(pod, status["name"])
            kind, why = "memory", f"was killed for using more memory than its limit{limit}"
        elif self._never_started(pod, status["name"], state):
            budget = startup_budget(pod, status["name"])
            kind = "startup"
            why = (
                f"was ended after {ran_seconds(state):g} s, exit code {code}: its startup probe "
                f"never passed, for which it had {budget:g} s"
            )
        elif state.get("reason") in ("StartError", "ContainerCannotRun"):
            kind, why = "crash", f"could not be started: {_line(state.get('message'))}"
        else:
            kind, why = "crash", f"ended with exit code {code}"
        yield RolloutFailure(
            kind=kind,
            reason=f"{who} {why}{times}",
            pod=name,
            container=status["name"],
            ended=ended,
        )

    def _never_started(self, pod: Object, container: str, state: Object) -> bool:
        """Return whether a container ended because its startup probe used up its budget."""
        budget = startup_budget(pod, container)
        if budget is None or (pod["metadata"]["uid"], container) in self._started:
            return False
        # The probe that is one too many comes a period before the budget ends.
        period = float(probe_of(pod, container, "startupProbe").get("periodSeconds", 10))
        return ran_seconds(state) >= budget - period

    def _waiting(self, pod: Object, now: float) -> Iterator[RolloutFailure]:
        name = pod["metadata"]["name"]
        for status, _ in container_statuses(pod):
            waiting = (status.get("state") or {}).get("waiting") or {}
            reason, message = waiting.get("reason", ""), _line(waiting.get("message"))
            container = status["name"]
            if reason in _IMAGE:
                held = self._held(now, name, container, "image")
                final = reason in _IMAGE_NAME or any(
                    word in message.lower() for word in _FINAL_PULL
                )
                if final or held >= PULL_SECONDS:
                    image = status.get("image") or image_of(pod, container)
                    yield RolloutFailure(
                        kind="image" if final else REGISTRY,
                        reason=f"the image {image} cannot be pulled ({reason}): {message}",
                        pod=name,
                        container=container,
                    )
            elif reason in _CONFIGURATION:
                of_node = any(words in message for words in _OF_THE_PATH)
                what = NODE if of_node else "configuration"
                patience = NODE_SECONDS if of_node else self._patience(pod)
                if self._held(now, name, container, what) >= patience:
                    yield RolloutFailure(
                        kind=what,
                        reason=f"container {container} of pod {name} cannot be made "
                        f"({reason}): {message}",
                        pod=name,
                        container=container,
                    )

    def _patience(self, pod: Object) -> float:
        return AGAIN_SECONDS if pod["metadata"]["uid"] in self._there else CONFIGURATION_SECONDS

    def _unscheduled(self, pod: Object, now: float) -> Iterator[RolloutFailure]:
        scheduled = condition(pod, "PodScheduled")
        if scheduled.get("status") != "False" or scheduled.get("reason") != "Unschedulable":
            return
        name = pod["metadata"]["name"]
        held = self._held(now, name, "unschedulable")
        if held >= self._settings.unschedulable_seconds:
            yield RolloutFailure(
                kind="unschedulable",
                reason=f"no node takes pod {name}: {_line(scheduled.get('message'))}",
                pod=name,
            )

    def _unready(self, pod: Object, now: float) -> Iterator[RolloutFailure]:
        name = pod["metadata"]["name"]
        for status in (pod.get("status") or {}).get("containerStatuses") or ():
            running = (status.get("state") or {}).get("running")
            # Before `started` the startup probe has its own budget, at whose end comes a kill.
            if running is None or status.get("ready") or not status.get("started"):
                continue
            budget = max(self._settings.unready_seconds, readiness_budget(pod, status["name"]))
            if self._held(now, name, status["name"], "unready") >= budget:
                yield RolloutFailure(
                    kind="unready",
                    reason=f"container {status['name']} of pod {name} has started but has not "
                    f"become ready for {budget:g} s",
                    pod=name,
                    container=status["name"],
                )

    def _of_set(self, snapshot: Snapshot, live: Object, now: float) -> Iterator[RolloutFailure]:
        """A StatefulSet and a DaemonSet have no conditions that say what their controller meets."""
        progress = rollout(snapshot)
        if progress.complete:
            return
        pods = [pod for pod in snapshot.pods if not is_going(pod)]
        if self._held(now, "progress", *counts(live).values()) >= PROGRESS_SECONDS:
            yield self._late(snapshot.new_pods, f"{PROGRESS_SECONDS} s")
        whole = len(pods) == len(snapshot.pods) and all(map(is_ready, pods))
        lacks = progress.wanted - len(pods)
        # A pod is made once the one before it has been ready for so long.
        patience = MISSING_SECONDS + int(live["spec"].get("minReadySeconds", 0))
        if whole and lacks > 0 and self._held(now, "missing") >= patience:
            yield RolloutFailure(
                kind="refused",
                reason=f"{lacks} of {progress.wanted} pods of {snapshot.kind} "
                f"{live['metadata']['name']} have not been made for {patience:g} s",
            )

    def _of_job(self, snapshot: Snapshot, live: Object, now: float) -> Iterator[RolloutFailure]:
        """Its pods may fail until it has: what can never start is all that they tell."""
        failed = condition(live, "Failed")
        if failed.get("status") == "True":
            last = max(snapshot.pods, key=_made, default=None)
            status = {} if last is None else next((it for it, _ in container_statuses(last)), {})
            yield RolloutFailure(
                kind="job",
                reason=f"Job {live['metadata']['name']} failed ({failed.get('reason')}): "
                f"{_line(failed.get('message'))}",
                pod=None if last is None else last["metadata"]["name"],
                container=status.get("name"),
            )
        for pod in snapshot.new_pods:
            yield from self._waiting(pod, now)
            yield from self._unscheduled(pod, now)

    def _late(self, pods: Sequence[Object], deadline: str) -> RolloutFailure:
        """Word that a rollout makes no progress, and what holds up the first pod of its own."""
        late = next((pod for pod in pods if not is_ready(pod)), None)
        container, why = (None, "") if late is None else holdup(late)
        return RolloutFailure(
            kind="deadline",
            reason=f"the rollout made no progress for {deadline}{why}",
            pod=None if late is None else late["metadata"]["name"],
            container=container,
        )

    def _of_controller(
        self, snapshot: Snapshot, deployment: Object, now: float
    ) -> Iterator[RolloutFailure]:
        progressing = condition(deployment, "Progressing")
        exceeded = progressing.get("reason") == "ProgressDeadlineExceeded"
        if exceeded and self._held(now, "deadline") >= DEADLINE_SECONDS:
            seconds = deployment["spec"].get("progressDeadlineSeconds", PROGRESS_SECONDS)
            yield self._late(snapshot.new_pods, f"{seconds} s, its progress deadline")
        refused = condition(snapshot.replica_set or {}, "ReplicaFailure")
        is_refused = refused.get("status") == "True" and not any(map(is_going, snapshot.pods))
        if is_refused and self._held(now, "refused") >= REFUSED_SECONDS:
            yield RolloutFailure(
                kind="refused",
                reason=f"pods are refused ({refused.get('reason')}): "
                f"{_line(refused.get('message'))}",
            )
        paused = bool(deployment["spec"].get("paused"))
        unfinished = paused and not rollout(snapshot).complete
        if unfinished and self._held(now, "paused") >= REFUSED_SECONDS:
            name = deployment["metadata"]["name"]
            yield RolloutFailure(
                kind="paused",
                reason=f"Deployment {name} is paused in the middle of a rollout",
            )


def _ends_of_ready(snapshot: Snapshot) -> Iterator[tuple[tuple[str, str], int]]:
    """Yield how often containers have ended that are fine by now: that is the past."""
    for pod in snapshot.pods:
        if is_ready(pod):
            for status, lasting in container_statuses(pod):
                count, _, _ = ends_of(status, lasting=lasting)
                yield (pod["metadata"]["uid"], status["name"]), count


def _made(thing: Object) -> str:
    return str(thing["metadata"].get("creationTimestamp") or "")


def _line(text: object) -> str:
    return " ".join(str(text or "").split())
