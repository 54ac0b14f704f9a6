"""A live copy of what a cluster holds of some workloads, kept by watches in threads.

A watch that says nothing may have nothing to say, or nobody at its other end. So the API server is
asked a small question each second beside them, one that its store has to answer. When that is not
answered the copy counts as lost, and every watch is made anew.
"""

from __future__ import annotations

import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from types import TracebackType
from typing import Self

from aegis_deploy.kubernetes.client import FORBIDDEN, Cluster, Object
from aegis_deploy.kubernetes.liveness import Liveness
from aegis_deploy.model.workloads.rollout import Snapshot, Workload, could_serve, is_ready, owner_of
from aegis_deploy.model.workloads.workload_kinds import DAEMON_SET, DEPLOYMENT, JOB, STATEFUL_SET

_PATHS = {
    **{
        kind: f"/apis/apps/v1/namespaces/{{}}/{kind}"
        for kind in (
            "deployments",
            "replicasets",
            "statefulsets",
            "daemonsets",
            "controllerrevisions",
        )
    },
    "jobs": "/apis/batch/v1/namespaces/{}/jobs",
    "pods": "/api/v1/namespaces/{}/pods",
}
_READ: Mapping[str, tuple[str, str | None]] = {
    DEPLOYMENT: ("deployments", "replicasets"),
    STATEFUL_SET: ("statefulsets", None),
    DAEMON_SET: ("daemonsets", "controllerrevisions"),
    JOB: ("jobs", None),
}
"""What is read of a kind beside its pods: itself, and what stands for its releases. Nothing more is
asked for, so that a role has to allow no more than what a stack runs."""
_UNAUTHORIZED = 401
_AGAIN_SECONDS = 0.5
_FIRST_SECONDS, _FIRST_LOOK_SECONDS = 5.0, 0.25
_BEAT_SECONDS = 1.0
_ANSWER_SECONDS = 4.0
_REFUSED_SECONDS = 15.0
_FAULT = 500


def read_snapshot(cluster: Cluster, workload: Workload) -> Snapshot:
    """Read once what a cluster holds of one workload.

    Raises:
        ApiError: It does not answer, or refuses.
    """
    found = {
        kind: cluster.get(_PATHS[kind].format(workload.namespace)).get("items") or ()
        for kind in _kinds(workload)
    }
    return _assembled(workload, lambda kind: list(found[kind]))


def path_of(workload: Workload) -> str:
    """Return where the API server has what is of a workload's kind in its namespace."""
    return _PATHS[_READ[workload.kind][0]].format(workload.namespace)


def _kinds(workload: Workload) -> list[str]:
    return [*filter(None, _READ[workload.kind]), "pods"]


def _assembled(workload: Workload, listed: Callable[[str], list[Object]]) -> Snapshot:
    itself, revisions = _READ[workload.kind]
    live = next((it for it in listed(itself) if it["metadata"]["name"] == workload.name), None)
    if live is None:
        return Snapshot(live=None, kind=workload.kind)
    uid = live["metadata"]["uid"]
    owned = [it for it in listed(revisions) if owner_of(it) == uid] if revisions else []
    # A Deployment's pods are its ReplicaSets'.
    owners = {it["metadata"]["uid"] for it in owned} if workload.kind == DEPLOYMENT else {uid}
    return Snapshot(
        live=live,
        kind=workload.kind,
        revisions=tuple(owned),
        pods=tuple(pod for pod in listed("pods") if owner_of(pod) in owners),
    )


class LiveCopy(ABC):
    """What is read once as a whole, and then kept current."""

    @property
    @abstractmethod
    def complete(self) -> bool:
        """Whether everything has been read once."""

    @property
    @abstractmethod
    def refusal(self) -> str | None:
        """Why something may not be watched; None when all may."""

    @abstractmethod
    def wait(self, seen: int, seconds: float) -> int:
        """Wait until something has changed since ``seen`` changes, or some time has passed.

        Returns:
            How many changes there have been.
        """

    def first(self) -> None:
        """Wait until everything was read once, may not be read, or some seconds have passed."""
        seen, end = 0, time.monotonic() + _FIRST_SECONDS
        while not self.complete and time.monotonic() < end and not self.refusal:
            seen = self.wait(seen, _FIRST_LOOK_SECONDS)


class Informer(LiveCopy):
    """Some workloads and all that is of their kinds in their namespaces; a context manager."""

    def __init__(
        self,
        cluster: Cluster,
        workloads: Iterable[Workload],
        clock: Callable[[], float] = time.monotonic,
        changed: threading.Condition | None = None,
    ) -> None:
        """Prepare it.

        Args:
            cluster: The cluster they are in.
            workloads: The workloads.
            clock: Says the time.
            changed: Told of each change; what other informers may be waited for with.
        """
        self._cluster = cluster
        self._clock = clock
        self._stop = threading.Event()
        self._changed = changed or threading.Condition()
        self._count = 0
        self._objects: dict[tuple[str, str], dict[str, Object]] = {}
        self._lost: dict[tuple[str, str], tuple[float, str]] = {}
        self._refused: dict[tuple[str, str], tuple[float, str]] = {}
        self._hearing = Liveness(clock())
        self._beats = 0
        self._doubted: float | None = None
        self._renewal = threading.Event()
        keys = {(kind, it.namespace) for it in workloads for kind in _kinds(it)}
        self._keys = sorted(keys, key=lambda key: (key[1], list(_PATHS).index(key[0])))
        self._threads = [
            threading.Thread(target=self._follow, args=key, daemon=True) for key in self._keys
        ]
        self._threads.append(threading.Thread(target=self._listen, daemon=True))

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop.set()
        with self._changed:  # Whoever waits for a change looks whether it is over.
            self._renewal.set()
            self._count += 1
            self._changed.notify_all()
        for thread in self._threads:
            thread.join(timeout=2)

    @property
    def complete(self) -> bool:
        """Whether everything has been read once."""
        with self._changed:
            return len(self._objects) == len(self._keys)

    @property
    def refusal(self) -> str | None:
        """Why the cluster may not be watched; None when it may, or did so a moment ago.

        An API server that has just been started refuses what it will allow as soon as it has read
        its roles.
        """
        with self._changed:
            now = self._clock()
            return next(
                (
                    why
                    for key, (since, why) in self._refused.items()
                    if key not in self._objects or now - since > _REFUSED_SECONDS
                ),
                None,
            )

    @property
    def lost_for(self) -> float:
        """For how many seconds a part of the copy has not been kept current; 0 when it is."""
        with self._changed:
            return self._lost_for()

    @property
    def loss(self) -> str:
        """Why a part of the copy is not kept current."""
        with self._changed:
            return next((why for _, why in self._lost.values()), "no answer")

    @property
    def heard(self) -> float:
        """For how many seconds the copy was known to be current: the only clock for evidence."""
        with self._changed:
            return self._hearing.heard

    @property
    def silent(self) -> float:
        """For how many seconds in all the copy was not known to be current."""
        with self._changed:
            now = self._hearing.last if self._lost_for() == 0 else self._clock()
            return self._hearing.silent + now - self._hearing.last

    def doubted_since(self, begin: float) -> bool:
        """Return whether since a time the control plane called a pod unready, and no kubelet did.

        It does so when it did not hear of a node, be it that it was away itself; Services then lead
        past the node's pods.
        """
        with self._changed:
            return self._doubted is not None and self._doubted >= begin

    def was_heard(self, begin: float, end: float) -> bool:
        """Return whether the API server is known to have answered during the whole of a time."""
        with self._changed:
            return self._hearing.covers(begin, end)

    @property
    def beats(self) -> int:
        """How many of the small questions were answered."""
        with self._changed:
            return self._beats

    @property
    def changes(self) -> int:
        """How many changes there have been."""
        with self._changed:
            return self._count

    def wait(self, seen: int, seconds: float) -> int:
        """Wait until something has changed since ``seen`` changes, or some time has passed.

        Returns:
            How many changes there have been.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._count != seen, timeout=seconds)
            return self._count

    def snapshot(self, workload: Workload) -> Snapshot:
        """Return what the copy holds of one workload."""
        with self._changed:
            found = {
                kind: list(self._objects.get((kind, workload.namespace), {}).values())
                for kind in _kinds(workload)
            }
        return _assembled(workload, found.__getitem__)

    def pods(self, namespace: str) -> frozenset[str]:
        """Return the uids of all the pods of a namespace, whosever they are."""
        with self._changed:
            return frozenset(self._objects.get(("pods", namespace), ()))

    def _follow(self, kind: str, namespace: str) -> None:
        """Keep one kind of one namespace current until told to stop."""
        from aegis_deploy.kubernetes.client import ApiError

        key, path = (kind, namespace), _PATHS[kind].format(namespace)
        while not self._stop.is_set():
            try:
                listed = self._cluster.get(path)
                found = {item["metadata"]["uid"]: item for item in listed.get("items") or ()}
                self._set(key, found)
                version = listed["metadata"]["resourceVersion"]
                with self._changed:
                    until = self._renewal
                for change, thing in self._cluster.watch(path, {}, version, until):
                    self._apply(key, change, thing)
            except ApiError as error:
                self._note(key, error)
                self._stop.wait(_AGAIN_SECONDS)
            except Exception as error:
                # A thread that ended would leave a copy that is never known to be old.
                self._note(key, _unreadable(kind, error))
                self._stop.wait(_AGAIN_SECONDS)

    def _set(self, key: tuple[str, str], found: dict[str, Object]) -> None:
        with self._changed:
            self._objects[key] = found
            # What was known of this part before was old until now.
            self._hearing.hear(self._clock(), whole=not self._lost)
            self._lost.pop(key, None)
            self._refused.pop(key, None)
            self._count += 1
            self._changed.notify_all()

    def _apply(self, key: tuple[str, str], change: str, thing: Object) -> None:
        with self._changed:
            if change == "DELETED":
                self._objects[key].pop(thing["metadata"]["uid"], None)
            elif change in ("ADDED", "MODIFIED"):
                self._objects[key][thing["metadata"]["uid"]] = thing
                if key[0] == "pods" and could_serve(thing) and not is_ready(thing):
                    self._doubted = self._clock()
            self._count += 1
            self._changed.notify_all()

    def _listen(self) -> None:
        """Ask again and again; what the store has to answer shows that all of it works."""
        from aegis_deploy.kubernetes.client import ApiError

        kind, namespace = self._keys[0]
        path = _PATHS[kind].format(namespace)
        while not self._stop.wait(_BEAT_SECONDS):
            try:
                status, _ = self._cluster.answer(path, {"limit": "1"}, seconds=_ANSWER_SECONDS)
                why = f"the API server answers {status}" if status >= _FAULT else ""
            except ApiError as error:
                why = str(error)
            except Exception as error:
                why = str(_unreadable(kind, error))
            if why:
                self._miss(why)
                continue
            with self._changed:
                self._beats += 1
                self._hearing.hear(self._clock(), whole=not self._lost)
                self._count += 1
                self._changed.notify_all()

    def _miss(self, why: str) -> None:
        """Take note of silence: what the watches have is old, and they may never say more."""
        with self._changed:
            for key in self._keys:
                self._lost.setdefault(key, (self._hearing.last, why))
            self._renewal.set()
            if not self._stop.is_set():
                self._renewal = threading.Event()
            self._count += 1
            self._changed.notify_all()

    def _lost_for(self) -> float:
        now = self._clock()
        since = min((at for at, _ in self._lost.values()), default=now)
        return max(now - since, self._hearing.silence(now))

    def _note(self, key: tuple[str, str], error: Exception) -> None:
        code = getattr(error, "code", 0)
        with self._changed:
            if code in (_UNAUTHORIZED, FORBIDDEN):
                self._refused.setdefault(key, (self._clock(), str(error)))
            self._lost.setdefault(key, (self._clock(), str(error)))
            self._count += 1
            self._changed.notify_all()


def _unreadable(kind: str, error: Exception) -> Exception:
    """Word an answer that is not what the API server answers."""
    return ValueError(f"what it says of {kind} cannot be read: {type(error).__name__}: {error}")
