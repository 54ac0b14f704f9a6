"""Rollouts that are watched: how far they are, and evidence as soon as there is some.

:class:`RolloutMonitor` does it in a thread, beside an update that runs; a gate does it by itself.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from types import TracebackType
from typing import Any, Self

from aegis_deploy.kubernetes.client import ApiError, Cluster
from aegis_deploy.kubernetes.informer import Informer
from aegis_deploy.kubernetes.informers import Informers, Where, informer_of, reach
from aegis_deploy.kubernetes.rollout_failures import DELETED, Observer, RolloutFailure
from aegis_deploy.model.gate_settings import GateSettings
from aegis_deploy.model.verdict import LOST, Verdict
from aegis_deploy.model.workloads.rollout import (
    Rollout,
    Snapshot,
    Workload,
    holdup,
    is_ready,
    left_as_they_are,
    rollout,
    serving,
)
from aegis_deploy.model.workloads.workload_kinds import JOB

LOG_LINES = 10
EVENTS = 4
LOST_SECONDS = 90.0
"""For so long an API server may not answer before an update is ended; a restart takes less."""
_LOOK_SECONDS = 0.25
_LONGEST_LINE = 300


class Rollouts:
    """Some workloads, looked at through one informer.

    A Job among them is looked at for evidence alone: it rolls nothing out, and serves nobody.
    """

    def __init__(
        self,
        informer: Informer | Informers,
        workloads: Sequence[Workload],
        settings: GateSettings,
        *,
        upcoming: bool = False,
        restores: bool = False,
    ) -> None:
        """Prepare it.

        Args:
            informer: The live copy of what is in the clusters.
            workloads: The workloads.
            settings: What is evidence.
            upcoming: Whether the rollouts have yet to begin: a workload is judged only once it
                has been changed.
            restores: Whether pods that are there may wait for what was just made again.
        """
        self._informer = informer
        self._workloads = tuple(workloads)
        restores = restores or upcoming
        self._observers = {it: Observer(settings, restores=restores) for it in self._workloads}
        self._upcoming = upcoming
        self._before: dict[Workload, tuple[str, int] | None] = {}
        self._alive: set[Workload] = set()

    def failure(self) -> tuple[Workload, RolloutFailure] | None:
        """Return the evidence there is, and of which workload.

        The time in which the cluster does not answer counts against no pod: nobody knows what
        became of them in it.
        """
        if not self._informer.complete or self._informer.lost_for > 0:
            return None
        now = self._informer.heard
        for workload in self._workloads:
            snapshot = self._informer.snapshot(workload)
            if self._deleted(workload, snapshot):
                return workload, RolloutFailure(
                    kind=DELETED,
                    reason=f"somebody deleted {workload.kind} {workload.namespace}/{workload.name}"
                    f"{workload.where}",
                )
            if self._begun(workload, snapshot):
                found = self._observers[workload].observe(snapshot, now)
                if found is not None:
                    return workload, replace(found, reason=f"{found.reason}{workload.where}")
        return None

    def complete(self) -> bool:
        """Return whether every rollout is done."""
        return self._informer.complete and all(r.complete for r in self.progress().values())

    def progress(self) -> dict[Workload, Rollout]:
        """Return how far each rollout is."""
        return {w: rollout(self._informer.snapshot(w)) for w in self._rolling}

    def left_as_they_are(self) -> list[str]:
        """Say which pods of releases before stay, a line a workload that keeps some."""
        said = (left_as_they_are(self._informer.snapshot(w)) for w in self._rolling)
        return [line for line in said if line]

    def held_up(self) -> list[str]:
        """Say which rollouts wait for what of a pod of theirs, a line each."""
        lines = []
        for workload in self._rolling:
            snapshot = self._informer.snapshot(workload)
            pods = snapshot.new_pods if self._begun(workload, snapshot) else ()
            late = next((pod for pod in pods if not is_ready(pod)), None)
            _, why = (None, "") if late is None else holdup(late)
            if why:
                lines.append(
                    f"{workload.kind} {workload.name}{workload.where} is not rolled out{why}"
                )
        return lines

    def serving(self) -> str:
        """Say what serves now."""
        said = [(w, serving(self._informer.snapshot(w))) for w in self._rolling]
        if len(said) == 1:
            return said[0][1]
        return "; ".join(f"{workload.label}: {what}" for workload, what in said)

    @property
    def _rolling(self) -> list[Workload]:
        return [it for it in self._workloads if it.kind != JOB]

    def _deleted(self, workload: Workload, snapshot: Snapshot) -> bool:
        """Return whether a workload that was being rolled out is gone, or on its way.

        What the update itself deletes is not being rolled out.
        """
        if workload.kind == JOB:
            return False  # One that is done may be tidied away.
        going = snapshot.live is None or "deletionTimestamp" in snapshot.live["metadata"]
        if not going and self._begun(workload, snapshot):
            self._alive.add(workload)
        return going and workload in self._alive

    def _begun(self, workload: Workload, snapshot: Snapshot) -> bool:
        if not self._upcoming:
            return True
        metadata = None if snapshot.live is None else snapshot.live["metadata"]
        seen = None if metadata is None else (metadata["uid"], metadata.get("generation", 0))
        if workload not in self._before:
            self._before[workload] = seen
            # What is fine now is the past, whatever it went through.
            self._observers[workload].observe(snapshot, 0.0)
        return seen is not None and self._before[workload] != seen


class RolloutMonitor:
    """Watches rollouts in a thread while something else changes them; a context manager.

    Start it before the update. Nothing that was there before counts as evidence.
    """

    def __init__(
        self,
        cluster: Where,
        workloads: Sequence[Workload],
        settings: GateSettings,
        *,
        upcoming: bool = True,
        on_progress: Callable[[dict[Workload, Rollout]], None] | None = None,
        on_failure: Callable[[Verdict], None] | None = None,
    ) -> None:
        """Prepare it.

        Args:
            cluster: The cluster, or what returns the one that each workload is in.
            workloads: What is about to change.
            settings: What is evidence.
            upcoming: Whether they have yet to be changed; False when they just were.
            on_progress: Called from the thread when a rollout got further.
            on_failure: Called from the thread, once, with the evidence.

        Raises:
            AegisError: There is no way to a cluster.
        """
        self._cluster_of = reach(cluster)
        self._informer = informer_of(cluster, workloads)
        self._rollouts = Rollouts(self._informer, workloads, settings, upcoming=upcoming)
        self._upcoming = upcoming
        self._on_progress, self._on_failure = on_progress, on_failure
        self._stop = threading.Event()
        self._failure: Verdict | None = None
        self._started = time.monotonic()
        self._told: dict[Workload, Rollout] | None = None
        self._thread = threading.Thread(target=self._run, name="watch", daemon=True)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    @property
    def failure(self) -> Verdict | None:
        """The evidence; None as long as there is none."""
        return self._failure

    def start(self) -> None:
        """Begin to watch; returns when the state before the update is known, or after 5 s."""
        self._informer.__enter__()
        self._informer.first()
        self._rollouts.failure()
        self._thread.start()

    def stop(self) -> None:
        """End it."""
        self._stop.set()
        self._informer.__exit__(None, None, None)
        self._thread.join(timeout=5)

    def serving(self) -> str:
        """Say what serves now."""
        return self._rollouts.serving()

    def progress(self) -> dict[Workload, Rollout]:
        """Return how far each rollout is."""
        return self._rollouts.progress()

    def held_up(self) -> list[str]:
        """Say which rollouts wait for what of a pod of theirs, a line each."""
        return self._rollouts.held_up() if self._informer.complete else []

    @property
    def knows(self) -> bool:
        """Whether the state is known, or may not be."""
        return self._informer.complete or self._informer.refusal is not None

    @property
    def silent(self) -> float:
        """For how many seconds in all the cluster did not answer."""
        return self._informer.silent

    @property
    def loss(self) -> str:
        """Why the cluster does not answer."""
        return self._informer.loss

    def reached(
        self, patience: float = LOST_SECONDS, *, gives_up: Callable[[], bool] = bool
    ) -> bool:
        """Return whether the cluster answers now, once it does or has been silent for so long.

        When it has been silent for too long that is the verdict, unless there is one already.

        Args:
            patience: For how many seconds it may be silent.
            gives_up: Ends the wait when it is true.
        """
        before = self._informer.beats
        while self._informer.beats == before and self._informer.refusal is None:
            if self._informer.lost_for > patience or gives_up():
                lost = self._lost()
                if lost is not None and self._failure is None:
                    self._fail(lost)
                return False
            time.sleep(_LOOK_SECONDS)
        return True

    def _lost(self) -> Verdict | None:
        if self._informer.lost_for <= LOST_SECONDS:
            return None
        return Verdict(
            passed=False,
            kind=LOST,
            reason=f"the cluster did not answer for {LOST_SECONDS:g} s: {self._informer.loss}",
            seconds=time.monotonic() - self._started,
        )

    def _run(self) -> None:
        seen, blind = 0, None
        while not self._stop.is_set():
            try:
                verdict = self._look() or self._lost()
                blind = None
            except Exception as error:
                # Whoever waits for evidence would wait for ever for a thread that had ended.
                now = time.monotonic()
                blind = blind or now
                verdict = self._blinded(error) if now - blind > LOST_SECONDS else None
            if verdict is not None:
                self._fail(verdict)
                return
            seen = self._informer.wait(seen, _LOOK_SECONDS)

    def _look(self) -> Verdict | None:
        """Look once; return the evidence there is."""
        found = self._rollouts.failure()
        if found is not None:
            workload, failure = found
            return Verdict(
                passed=False,
                kind=failure.kind,
                reason=failure.reason,
                evidence=detail(self._cluster_of(workload), workload, failure),
                serving=self._rollouts.serving(),
                seconds=time.monotonic() - self._started,
            )
        progress = self._rollouts.progress()
        if self._on_progress is not None and progress != self._told:
            # How far the rollout before got is no news.
            news = self._told is not None or not self._upcoming
            self._told = progress
            if news:
                self._on_progress(progress)
        return None

    def _blinded(self, error: Exception) -> Verdict:
        return Verdict(
            passed=False,
            kind=LOST,
            reason=f"the rollouts could not be looked at for {LOST_SECONDS:g} s: "
            f"{type(error).__name__}: {error}",
            seconds=time.monotonic() - self._started,
        )

    def _fail(self, verdict: Verdict) -> None:
        self._failure = verdict
        if self._on_failure is not None:
            self._on_failure(verdict)


def detail(cluster: Cluster, workload: Workload, failure: RolloutFailure) -> tuple[str, ...]:
    """Return the last log lines of what failed and the last warnings about it, as lines.

    It is known that it failed: nothing about the details keeps that from being told.
    """
    try:
        return _detail(cluster, workload, failure)
    except Exception as error:
        return (f"its log and its events cannot be read: {type(error).__name__}: {error}",)


def _detail(cluster: Cluster, workload: Workload, failure: RolloutFailure) -> tuple[str, ...]:
    lines: list[str] = []
    namespace = workload.namespace
    if failure.pod is not None and failure.container is not None:
        log = cluster.logs(
            namespace, failure.pod, failure.container, previous=failure.ended, lines=LOG_LINES
        )
        if not log and failure.kind in ("crash", "startup", "memory"):
            # It may have been started anew, or not yet, since it was looked at.
            log = cluster.logs(
                namespace,
                failure.pod,
                failure.container,
                previous=not failure.ended,
                lines=LOG_LINES,
            )
        told = [line.rstrip() for line in log.splitlines() if line.strip()]
        if told:
            lines.append(f"last log lines of {failure.pod}, container {failure.container}:")
            lines += [f"  {line[:_LONGEST_LINE]}" for line in told[-LOG_LINES:]]
    try:
        events = cluster.events(namespace, failure.pod)
    except ApiError:
        events = []
    if failure.pod is None:
        events = [e for e in events if _of(e).startswith(workload.name)]
    warnings = [e for e in events if e.get("type") == "Warning"][-EVENTS:]
    if warnings:
        lines.append("last events:")
        lines += [f"  {told_event(event)}" for event in warnings]
    return tuple(lines)


def _of(event: Mapping[str, Any]) -> str:
    """The name of the object that an event is about; an event may have none."""
    return str((event.get("involvedObject") or {}).get("name") or "")


def told_event(event: dict[str, object]) -> str:
    """Return an event as a line."""
    message = " ".join(str(event.get("message") or "").split())
    count = event.get("count")
    times = f" ({count} times)" if isinstance(count, int) and count > 1 else ""
    return f"{event.get('reason')}: {message[:_LONGEST_LINE]}{times}"
