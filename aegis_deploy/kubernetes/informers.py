"""Live copies of all the clusters that some workloads are in, looked at as one."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Self

from aegis_deploy.kubernetes.client import Cluster
from aegis_deploy.kubernetes.informer import Informer, LiveCopy
from aegis_deploy.model.workloads.rollout import Snapshot, Workload

Where = Cluster | Callable[[Workload], Cluster]
"""The cluster that workloads are in, or what returns the one of each."""


def reach(where: Where) -> Callable[[Workload], Cluster]:
    """Return what returns the cluster of each workload."""
    return where if callable(where) else lambda _: where


def informer_of(where: Where, workloads: Iterable[Workload]) -> Informer | Informers:
    """Return a live copy of what some workloads need, a context manager.

    Args:
        where: Where they are.
        workloads: The workloads.

    Raises:
        AegisError: There is no way to one of the clusters.
    """
    cluster_of = reach(where)
    found: dict[int, tuple[Cluster, list[Workload]]] = {}
    for workload in workloads:
        cluster = cluster_of(workload)
        found.setdefault(id(cluster), (cluster, []))[1].append(workload)
    if len(found) == 1:
        return Informer(*next(iter(found.values())))
    return Informers(found.values())


class Informers(LiveCopy):
    """One informer for each of several clusters, which are judged together; a context manager.

    Nothing is known of the whole while it is not known of all of them.
    """

    def __init__(
        self,
        clusters: Iterable[tuple[Cluster, list[Workload]]],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._changed = threading.Condition()
        self._informers: list[tuple[str, Informer]] = []
        self._of: dict[Workload, Informer] = {}
        for cluster, workloads in clusters:
            informer = Informer(cluster, workloads, clock, changed=self._changed)
            self._informers.append((workloads[0].where, informer))
            self._of.update(dict.fromkeys(workloads, informer))
        self._beaten = [0 for _ in self._informers]
        self._rounds = 0

    def __enter__(self) -> Self:
        for informer in self._all:
            informer.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for informer in self._all:
            informer.__exit__(kind, error, trace)

    @property
    def complete(self) -> bool:
        """Whether everything has been read once."""
        return all(it.complete for it in self._all)

    @property
    def refusal(self) -> str | None:
        """Why one of the clusters may not be watched; None when all may."""
        found = ((where, it.refusal) for where, it in self._informers)
        return next((f"{why}{where}" for where, why in found if why is not None), None)

    @property
    def lost_for(self) -> float:
        """For how many seconds a part of the copies has not been kept current; 0 when all are."""
        return max(it.lost_for for it in self._all)

    @property
    def loss(self) -> str:
        """Why a part of the copies is not kept current."""
        where, lost = max(self._informers, key=lambda it: (it[1].lost_for, not it[1].complete))
        return f"{lost.loss}{where}"

    @property
    def heard(self) -> float:
        """For how many seconds the copies were known to be current, the least of them."""
        return min(it.heard for it in self._all)

    @property
    def silent(self) -> float:
        """For how many seconds in all the copies were not known to be current."""
        return sum(it.silent for it in self._all)

    def doubted_since(self, begin: float) -> bool:
        """Return what `Informer.doubted_since` does, of any of the clusters."""
        return any(it.doubted_since(begin) for it in self._all)

    def was_heard(self, begin: float, end: float) -> bool:
        """Return whether all API servers are known to have answered during the whole of a time."""
        return all(it.was_heard(begin, end) for it in self._all)

    @property
    def beats(self) -> int:
        """How often each of the API servers has answered since each had the last time."""
        with self._changed:
            now = [it.beats for it in self._all]
            if all(beats > before for beats, before in zip(now, self._beaten, strict=True)):
                self._beaten, self._rounds = now, self._rounds + 1
            return self._rounds

    def wait(self, seen: int, seconds: float) -> int:
        """Wait until something has changed since ``seen`` changes, or some time has passed.

        Returns:
            How many changes there have been.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._changes() != seen, timeout=seconds)
            return self._changes()

    def snapshot(self, workload: Workload) -> Snapshot:
        """Return what its cluster's copy holds of one workload."""
        return self._of[workload].snapshot(workload)

    def pods(self, namespace: str) -> frozenset[str]:
        """Return the uids of all the pods of a namespace, in whichever cluster."""
        return frozenset().union(*(it.pods(namespace) for it in self._all))

    @property
    def _all(self) -> list[Informer]:
        return [informer for _, informer in self._informers]

    def _changes(self) -> int:
        return sum(it.changes for it in self._all)
