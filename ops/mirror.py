"""A live copy of what a cluster holds of some Deployments, kept by watches in threads."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection
from types import TracebackType
from typing import Self

from ops.cluster import FORBIDDEN, Cluster, Object
from ops.workload import Snapshot, Workload, owner_of

_KINDS = {
    "deployments": "/apis/apps/v1/namespaces/{}/deployments",
    "replicasets": "/apis/apps/v1/namespaces/{}/replicasets",
    "pods": "/api/v1/namespaces/{}/pods",
}
_UNAUTHORIZED = 401
_AGAIN_SECONDS = 0.5


def read_snapshot(cluster: Cluster, workload: Workload) -> Snapshot:
    """Read once what a cluster holds of one Deployment.

    Raises:
        ApiError: It does not answer, or refuses.
    """
    found = (cluster.get(path.format(workload.namespace)) for path in _KINDS.values())
    return _assembled(workload, *(list(listed.get("items") or ()) for listed in found))


def _assembled(
    workload: Workload, deployments: list[Object], sets: list[Object], pods: list[Object]
) -> Snapshot:
    deployment = next((d for d in deployments if d["metadata"]["name"] == workload.name), None)
    if deployment is None:
        return Snapshot(deployment=None)
    owned = [s for s in sets if owner_of(s) == deployment["metadata"]["uid"]]
    uids = {s["metadata"]["uid"] for s in owned}
    return Snapshot(
        deployment=deployment,
        replica_sets=tuple(owned),
        pods=tuple(pod for pod in pods if owner_of(pod) in uids),
    )


class Mirror:
    """The Deployments, ReplicaSets and pods of some namespaces; a context manager."""

    def __init__(
        self,
        cluster: Cluster,
        namespaces: Collection[str],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._cluster = cluster
        self._clock = clock
        self._stop = threading.Event()
        self._changed = threading.Condition()
        self._count = 0
        self._objects: dict[tuple[str, str], dict[str, Object]] = {}
        self._lost: dict[tuple[str, str], tuple[float, str]] = {}
        self._refusal: str | None = None
        self._keys = [(kind, namespace) for namespace in sorted(set(namespaces)) for kind in _KINDS]
        self._threads = [
            threading.Thread(target=self._follow, args=key, daemon=True) for key in self._keys
        ]

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
        """Why the cluster may not be watched; None when it may."""
        with self._changed:
            return self._refusal

    @property
    def lost_for(self) -> float:
        """For how many seconds a part of the copy has not been kept current."""
        with self._changed:
            since = min((at for at, _ in self._lost.values()), default=None)
        return 0.0 if since is None else self._clock() - since

    @property
    def loss(self) -> str:
        """Why a part of the copy is not kept current."""
        with self._changed:
            return next((why for _, why in self._lost.values()), "")

    def wait(self, seen: int, seconds: float) -> int:
        """Wait until something has changed since ``seen`` changes, or some time has passed.

        Returns:
            How many changes there have been.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._count != seen, timeout=seconds)
            return self._count

    def snapshot(self, workload: Workload) -> Snapshot:
        """Return what the copy holds of one Deployment."""
        with self._changed:
            deployments, sets, pods = (
                list(self._objects.get((kind, workload.namespace), {}).values()) for kind in _KINDS
            )
        return _assembled(workload, deployments, sets, pods)

    def _follow(self, kind: str, namespace: str) -> None:
        """Keep one kind of one namespace current until told to stop."""
        from ops.cluster import ApiError

        key, path = (kind, namespace), _KINDS[kind].format(namespace)
        while not self._stop.is_set():
            try:
                listed = self._cluster.get(path)
                found = {item["metadata"]["uid"]: item for item in listed.get("items") or ()}
                self._set(key, found)
                version = listed["metadata"]["resourceVersion"]
                for change, thing in self._cluster.watch(path, {}, version, self._stop):
                    self._apply(key, change, thing)
            except ApiError as error:
                self._note(key, error)
                self._stop.wait(_AGAIN_SECONDS)

    def _set(self, key: tuple[str, str], found: dict[str, Object]) -> None:
        with self._changed:
            self._objects[key] = found
            self._lost.pop(key, None)
            self._count += 1
            self._changed.notify_all()

    def _apply(self, key: tuple[str, str], change: str, thing: Object) -> None:
        with self._changed:
            if change == "DELETED":
                self._objects[key].pop(thing["metadata"]["uid"], None)
            elif change in ("ADDED", "MODIFIED"):
                self._objects[key][thing["metadata"]["uid"]] = thing
            self._count += 1
            self._changed.notify_all()

    def _note(self, key: tuple[str, str], error: Exception) -> None:
        code = getattr(error, "code", 0)
        with self._changed:
            if code in (_UNAUTHORIZED, FORBIDDEN):
                self._refusal = str(error)
            self._lost.setdefault(key, (self._clock(), str(error)))
            self._count += 1
            self._changed.notify_all()
