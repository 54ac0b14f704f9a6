"""The gate: whether a release that was rolled out is good. One gate, for every caller.

Rollout complete, then a bake time in which the service is probed, then the verdict; evidence ends
it at once. What is good is decided by :mod:`kubernetes.rollout_failures` and
:mod:`model.probe_metrics`, which are pure; this module collects what they need. Nothing in the
cluster is changed, but for the nudge that :mod:`kubernetes.nudge` gives to a Service that is left
behind.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import NoReturn

from aegis_deploy.gate.cutover import Cutover
from aegis_deploy.gate.data_prober import DataProber, Ways
from aegis_deploy.gate.prober import OnAnswer, Prober, ask
from aegis_deploy.gate.prober import Route as Probed
from aegis_deploy.gate.prometheus import shortfall
from aegis_deploy.gate.routes import NoServiceError, Routes
from aegis_deploy.gate.version_check import Expected, VersionCheck
from aegis_deploy.kubernetes.client import ApiError, Cluster
from aegis_deploy.kubernetes.informer import Informer
from aegis_deploy.kubernetes.informers import Informers, Where, informer_of, reach
from aegis_deploy.kubernetes.node_leases import RENEWED_SECONDS, NodeLeases
from aegis_deploy.kubernetes.rollout_failures import NODE
from aegis_deploy.kubernetes.rollout_monitor import Rollouts, detail
from aegis_deploy.model.database.data_probes import READ, WRITE, DataFigures, rate
from aegis_deploy.model.gate_settings import INGRESS, GateSettings
from aegis_deploy.model.probe_metrics import ProbeMetrics, shortcoming
from aegis_deploy.model.routes.external_routes import Route
from aegis_deploy.model.verdict import LOST, UNTOLD, Verdict
from aegis_deploy.model.workloads.rollout import Rollout, Workload, longest_rollout, version_of

_LOOK_SECONDS = 0.2
_LOST_SECONDS = 60.0
_CAUSE_SECONDS = 2.0
"""How long after its first lost requests the kubelet may take to say that a container died."""
_LEASE_LOOK_SECONDS = 1.0
_UNHEARD_SECONDS = 30.0
_ENDPOINTS_SECONDS = 120.0
"""How long EndpointSlices may be behind: their controller's watches start again up to 60 s after an
API server that was away is back, and only then does it try again what it could not do."""
_ROUTE_SECONDS = 60.0
"""How long a controller may take to see a route and to say what it makes of it."""
_ENTRY_SECONDS = 15.0
"""How long after that a way in may not lead there yet: its proxies are told one by one."""
_BEAT_SECONDS = 6.0
"""The API server gives a sign of life each second, and may take some to do so."""
_AWAY = "its database was away"
_NUDGE_SECONDS = 5.0
"""How long they may be behind, as a rule far below a second, until Kubernetes is to look again."""


@dataclass(frozen=True, kw_only=True)
class Progress:
    """How far a gate is, for whoever shows it.

    Attributes:
        phase: rollout, canary or bake.
        rollouts: How far each rollout is.
        figures: What the probes have seen so far.
        seconds_left: Of the bake time.
    """

    phase: str
    rollouts: Mapping[Workload, Rollout]
    figures: ProbeMetrics | None = None
    seconds_left: float | None = None


class Stopped(Exception):  # noqa: N818 - not an error: the caller asked for it
    """The caller stopped the gate before its verdict."""


class _Failed(Exception):  # noqa: N818 - carries a verdict out of the loop
    def __init__(self, verdict: Verdict) -> None:
        super().__init__(verdict.reason)
        self.verdict = verdict


def judge(
    cluster: Where,
    workloads: Sequence[Workload],
    settings: GateSettings,
    *,
    expected: Expected | None = None,
    external: Sequence[Route] = (),
    rollout_only: bool = False,
    restores: bool = False,
    dry: bool = False,
    on_progress: Callable[[Progress], None] | None = None,
    on_answer: OnAnswer | None = None,
    stop: threading.Event | None = None,
) -> Verdict:
    """Judge a release that has just been applied, or what runs.

    Args:
        cluster: The cluster it is in, or what returns the one that each workload is in.
        workloads: What it runs.
        settings: What is asked of it.
        expected: What it must say of itself; by default the version its pods are labelled with.
        external: What leads in from outside and has to be in effect.
        rollout_only: Whether to wait for the rollout alone, its canary step with it, without the
            bake time.
        restores: Whether pods that are there may wait for what was just made again.
        dry: Whether not even a nudge may be given.
        on_progress: Told about each change and about each round of the bake time.
        on_answer: Told what came of each probe.
        stop: Set by another thread to end it early.

    Raises:
        Stopped: ``stop`` was set.
        AegisError: There is no way to a cluster.
    """
    started = time.monotonic()
    with informer_of(cluster, workloads) as informer:
        gate = _Gate(
            cluster,
            informer,
            workloads=tuple(workloads),
            settings=settings,
            expected=expected,
            external=external,
            restores=restores,
            dry=dry,
            on_progress=on_progress,
            on_answer=on_answer,
            stop=stop,
        )
        try:
            gate.roll_out(canary=settings.canary_seconds > 0)
            if not rollout_only:
                gate.await_routes()
            figures = None if rollout_only else gate.bake()
        except _Failed as failed:
            verdict = failed.verdict
        except NoServiceError as error:
            verdict = Verdict(
                passed=False, kind="unreachable", reason=str(error), notes=tuple(gate.notes)
            )
        else:
            reason = "the rollout is complete"
            if figures is not None:
                reason += f", and the service was good for {settings.bake_seconds:g} s"
            verdict = Verdict(passed=True, reason=reason, figures=figures, notes=tuple(gate.notes))
        return replace(
            verdict,
            serving=gate.rollouts.serving(),
            seconds=time.monotonic() - started,
            via=gate.via,
            data=gate.data,
        )


class _Gate:
    """One run of the gate."""

    def __init__(
        self,
        cluster: Where,
        informer: Informer | Informers,
        *,
        workloads: tuple[Workload, ...],
        settings: GateSettings,
        expected: Expected | None,
        external: Sequence[Route],
        restores: bool,
        dry: bool,
        on_progress: Callable[[Progress], None] | None,
        on_answer: OnAnswer | None,
        stop: threading.Event | None,
    ) -> None:
        self.cluster_of, self.informer, self.workloads = reach(cluster), informer, workloads
        self.settings = settings
        self.rollouts = Rollouts(informer, workloads, settings, restores=restores)
        self.notes: list[str] = []
        self.data: tuple[DataFigures, ...] = ()
        self.via = ""
        self._on_progress, self._on_answer, self._stop = on_progress, on_answer, stop
        self._astray, self._dry = "", dry
        self._routes = Routes(
            cluster,
            informer,
            workloads,
            settings,
            external=external,
            on_silence=self._look_again,
        )
        self._version = VersionCheck(
            informer,
            workloads,
            settings=settings,
            expected=expected,
            routes=self._routes,
            note=self._note,
        )
        self._said: Progress | None = None
        self._begun = time.monotonic()

    def roll_out(self, *, canary: bool) -> None:
        """Wait until every rollout is complete; with ``canary``, probe the new pods meanwhile."""
        limit, silent = None, self.informer.silent
        with ExitStack() as stack:
            prober, data = None, None
            if canary:
                prober = stack.enter_context(self._prober(self._routes.of_new_pods))
                data = stack.enter_context(self._data_prober(self._routes.of_data_of_new_pods))
            for now in self._rounds():
                if self.informer.complete and limit is None:
                    snapshots = map(self.informer.snapshot, self.workloads)
                    limit = now + max(map(longest_rollout, snapshots))
                self._evidence()
                if limit is not None:
                    self._identify()
                figures = None
                if prober is not None and data is not None:
                    self._require_probes(prober, *data)
                    figures, self.data = prober.figures(), data.figures(Prober.figures)
                    self._shortcoming(
                        figures,
                        lambda rate: round(self.settings.canary_seconds * rate),
                        "while new pods were probed one by one: ",
                    )
                phase = "canary" if figures is not None and figures.total else "rollout"
                self._tell(phase, figures)
                if self.rollouts.complete():
                    for note in self.rollouts.left_as_they_are():
                        self._note(note)
                    return
                if limit is not None and now > limit + self.informer.silent - silent:
                    missing = [str(w) for w in self.workloads if not self._done(w)]
                    self._fail(
                        "timeout", f"the rollout of {', '.join(missing)} did not end in time"
                    )

    def await_routes(self) -> None:
        """Wait until what leads in from outside is in effect as it is declared now."""
        limit, silent = time.monotonic() + _ROUTE_SECONDS, self.informer.silent
        for now in self._rounds():
            self._evidence()
            why = self._routes.not_in_effect()
            if not why:
                return
            if now > limit + self.informer.silent - silent:
                self._fail("route", f"{why}, for {_ROUTE_SECONDS:g} s now")

    def bake(self) -> ProbeMetrics | None:
        """Probe the services for the bake time; None when there is nothing to probe."""
        if self.settings.bake_seconds <= 0:
            self._prometheus()
            return None
        begun = time.monotonic()
        while True:
            self._await_endpoints(begun)
            try:
                return self._baked()
            except _Failed as failed:
                asked = failed.verdict.figures is not None
                away = failed.verdict.kind == UNTOLD
                patience = self.settings.away_seconds if away else _ENDPOINTS_SECONDS
                if not asked or not self._astray or time.monotonic() > begun + patience:
                    raise
                # What was lost on the way to nowhere says nothing of who is not asked.
                self._note(
                    f"the bake time began anew: {failed.verdict.reason}, while {self._astray}"
                )

    def _baked(self) -> ProbeMetrics | None:
        self._astray, began = "", time.monotonic()
        routes, why = self._routes.of_services()
        ways, wrong_data = self._routes.of_data(), self._routes.wrong_data()
        if wrong_data:
            self._fail("data", wrong_data)
        for note in self._routes.notes:
            self._note(note)
        if why and not any(ways.values()):
            self.notes.append(f"{why}, so no requests were sent")
        self.via = ", ".join(dict.fromkeys(route.name for route in routes))
        self._enter(routes)
        prober, data = self._prober(lambda: routes), self._data_prober(lambda: ways)
        silent = self.informer.silent
        cutover = Cutover(began=time.monotonic(), bake_seconds=self.settings.bake_seconds)
        with prober, data:
            for now in self._rounds():
                self._evidence()
                self._identify()
                self._look(cutover, now)
                self._require_probes(prober, *data)
                figures = self._judged_all(prober, data, cutover)
                for seen in (figures, *(it.figures for it in self.data)):
                    self._look_where_it_leads(seen, began)
                self._shortcoming(figures, cutover.planned)
                # What the cluster did not answer in was no time in which it was looked at.
                left = cutover.end + self.informer.silent - silent - now
                self._tell("bake", figures if routes else None, max(0.0, left))
                unheard = cutover.alone is None and self._version.is_unheard(figures)
                waits = unheard or bool(routes and not figures.total)
                waits = waits or any(it.unheard for it in self.data)
                if left <= 0 and not (waits and left > -_UNHEARD_SECONDS):
                    break
        if any(route.proxied for route in (*routes, *ways[READ], *ways[WRITE])):
            self._hear_out()
        doubted = cutover.doubted
        figures = self._judged_all(prober, data, cutover)
        if cutover.doubted and not doubted:
            # It was waited for until after the bake time, so that no whole one came after it.
            self._astray = "nodes may not have known the pods that there are"
            self._fail("unreachable", "a probe was lost", figures=figures)
        if routes and not figures.total:
            self._fail("unreachable", "no probe came to anything that tells of the new release")
        self._shortcoming(figures, lambda _: 0)
        self._tell_of_data(figures)
        if cutover.alone is not None:
            settled = prober.figures(since=cutover.alone)
            wrong = self._version.wrong_answer(settled)
            if wrong is not None:
                self._fail("version", wrong, figures=settled)
        self._prometheus()
        before = prober.figures()
        if before.failed > figures.failed:
            self._note(
                f"{before.failed - figures.failed} failed probes, sent while pods of the release "
                "before could still be reached"
            )
        return figures if routes else None

    def _enter(self, routes: Sequence[Probed]) -> None:
        """Wait, for a while, until ways in lead to a service that answers well.

        A route that was only just taken may lead nowhere for a moment. Whoever never answers well
        is judged by that in the bake time, which begins then.
        """
        if self.settings.through != INGRESS:
            return
        limit = time.monotonic() + _ENTRY_SECONDS
        for now in self._rounds():
            self._evidence()
            waited = [it for it in routes if not it.proxied]
            answers = [ask(it, self.settings.path, fresh=True, seconds=2.0) for it in waited]
            if all(it.ok for it in answers) or now > limit:
                return

    def _tell_of_data(self, figures: ProbeMetrics) -> None:
        """Say what could not be told of the release's data; go no further when that is all of it.

        Whether a database is away for the release's sake, which may have used up its connections,
        or for its own, nobody can tell from what the release answers. So it is neither good nor
        bad, unless it is back soon.
        """
        for it in self.data:
            if it.unheard:
                self._fail(
                    "unreachable",
                    f"none of the {it.what} came to anything that tells of it",
                    figures=figures,
                )
            if it.refused:
                self._note(
                    f"the {it.what}: they go through the API server, where this account lacks "
                    "the right to create services/proxy and pods/proxy"
                )
            if it.untold(self.settings.success_ratio):
                self._astray = "nobody could tell whether the release works with its data"
                self._fail(UNTOLD, f"{_AWAY}, as the answers to {it.what} say", figures=figures)
            if it.away:
                self._note(f"{it.away} of the {it.what}: {_AWAY}")

    def _require_probes(self, *probers: Prober) -> None:
        """Go no further when nothing is probed any more."""
        fault = next((it.fault for it in probers if it.fault is not None), None)
        if isinstance(fault, _Failed | NoServiceError | Stopped):
            raise fault
        if fault is not None:
            why = f"{type(fault).__name__}: {fault}"
            self._fail("unreachable", f"no more probes could be sent: {why}")

    def _hear_out(self) -> None:
        """Wait for the API server's next sign of life: without it its last probes do not count."""
        before, limit = self.informer.beats, time.monotonic() + _BEAT_SECONDS
        for now in self._rounds():
            if self.informer.beats != before or now > limit:
                return

    def _await_endpoints(self, begun: float) -> None:
        """Wait until the Services lead to the new pods, which they do at once as a rule."""
        limit, silent = begun + _ENDPOINTS_SECONDS, self.informer.silent
        nudged = time.monotonic()
        for now in self._rounds():
            self._evidence()
            why = self._routes.behind()
            if not why:
                return
            if now > nudged + _NUDGE_SECONDS and not self._dry:
                nudged = now
                self._nudge()
            if now > limit + self.informer.silent - silent:
                self._note(f"{why}, for {_ENDPOINTS_SECONDS:g} s now")
                return

    def _nudge(self) -> None:
        try:
            self._routes.nudge()
        except ApiError as error:
            # Who may not is waited with all the same.
            if not error.silence:
                self._note(f"Kubernetes could not be made to look at a Service again: {error}")

    def _look_where_it_leads(self, figures: ProbeMetrics, since: float) -> None:
        """Find out whether what failed was led astray: that can be seen only while it lasts."""
        if not figures.failed or self._astray:
            return
        if self.informer.doubted_since(since):
            self._astray = "the control plane did not hear of the node of a pod"
        else:
            self._astray = self._routes.behind()

    def _look(self, cutover: Cutover, now: float) -> None:
        old = [pod for w in self.workloads for pod in self.informer.snapshot(w).old_pods]
        serving = any(it.old for it in self.rollouts.progress().values())
        cutover.look(now, ending=bool(old), serving=serving)
        cutover.versions.update(filter(None, map(version_of, old)))

    def _judged(self, prober: Prober, cutover: Cutover) -> ProbeMetrics:
        """Sum up what the new release answered, as far as that can be told."""
        # Requests that got no answer may have been sent to a pod that is no more.
        if prober.unnamed_failures(cutover.judged_from) or prober.lost(cutover.settled):
            cutover.doubt()
        # Good answers say whose they are, as a rule, and failures may not: to count the ones and
        # leave out the others would be to judge by what was good.
        names = not (cutover.doubted or prober.nameless)
        named = set(filter(None, self._version.named())) if names else set()
        return prober.figures(since=cutover.judged_from, naming=named - cutover.versions)

    def _judged_all(self, prober: Prober, data: DataProber, cutover: Cutover) -> ProbeMetrics:
        """Sum up what the new release answered, of its data as well."""
        self.data = data.figures(lambda it: self._judged(it, cutover))
        return self._judged(prober, cutover)

    def _rounds(self) -> Iterator[float]:
        """Yield the time whenever something may have changed."""
        seen = 0
        while True:
            if self._stop is not None and self._stop.is_set():
                raise Stopped
            if self.informer.refusal is not None:
                self._fail("unreachable", f"the rollout cannot be watched: {self.informer.refusal}")
            if self.informer.lost_for > _LOST_SECONDS:
                self._fail(
                    LOST,
                    f"the cluster did not answer for {_LOST_SECONDS:g} s: {self.informer.loss}",
                )
            now = time.monotonic()
            if not self.informer.complete and now > self._begun + _LOST_SECONDS:
                # Whatever holds up whoever reads: nobody waits for it without end.
                why = f"could not be read for {_LOST_SECONDS:g} s: {self.informer.loss}"
                self._fail(LOST, f"what is in the cluster {why}")
            yield now
            seen = self.informer.wait(seen, _LOOK_SECONDS)

    def _evidence(self) -> None:
        found = self.rollouts.failure()
        if found is not None:
            workload, failure = found
            lines = detail(self.cluster_of(workload), workload, failure)
            self._fail(failure.kind, failure.reason, lines)

    def _shortcoming(
        self, figures: ProbeMetrics, planned: Callable[[float], int], when: str = ""
    ) -> None:
        """Go no further when what was seen is not good enough, or cannot become so.

        Args:
            figures: What the probes of the service saw.
            planned: How many probes there are to be, at so many a second.
            when: What is said of the time.
        """
        sent = self.settings.probe_rate
        seen = [(figures, sent, "")]
        seen += [(it.figures, rate(it.of, sent), it.what) for it in self.data]
        for found, often, what in seen:
            short = shortcoming(found, self.settings, planned(often), what)
            if short is not None:
                kind, why = short
                gone = self._await_cause() if found.lost else ""
                if gone:
                    self._astray = f"node {gone} was not heard of"
                    self._fail(NODE, f"{when}{why}, while {self._astray}", figures=figures)
                self._fail(kind, when + why, figures=figures)

    def _await_cause(self) -> str:
        """Let the death of a container, or of a node, be the verdict; it says more than requests.

        Returns:
            The node that was not heard of, with which requests may have gone; empty for none.
        """
        begun = looked = time.monotonic()
        leases = self._leases()
        silent = [node for it in leases for node in it.look()]
        for now in self._rounds():
            self._evidence()
            if silent and now > looked + _LEASE_LOOK_SECONDS:
                looked, silent = now, [node for it in leases for node in it.look()]
            if now > begun + (RENEWED_SECONDS if silent else _CAUSE_SECONDS):
                break
        return ", ".join(silent)

    def _leases(self) -> list[NodeLeases]:
        """The leases of the nodes that requests may have come to."""
        nodes: dict[Cluster, set[str]] = {}
        for workload in self.workloads:
            pods = self.informer.snapshot(workload).pods
            names = {str((it.get("spec") or {}).get("nodeName") or "") for it in pods} - {""}
            if names:
                nodes.setdefault(self.cluster_of(workload), set()).update(names)
        return [NodeLeases(cluster, names) for cluster, names in nodes.items()]

    def _identify(self) -> None:
        wrong = self._version.wrong_pod()
        if wrong is not None:
            self._fail("version", wrong)

    def _prober(self, routes: Callable[[], Sequence[Probed]]) -> Prober:
        return Prober(
            routes,
            self.settings.path,
            rate=self.settings.probe_rate,
            p99_ms=self.settings.p99_ms,
            on_answer=self._on_answer,
            was_heard=self.informer.was_heard,
        )

    def _data_prober(self, ways: Ways) -> DataProber:
        return DataProber(ways, self.settings, was_heard=self.informer.was_heard)

    def _look_again(self) -> None:
        """Wait for a cluster that does not answer, unless it is gone for good."""
        next(self._rounds())
        time.sleep(_LOOK_SECONDS)

    def _prometheus(self) -> None:
        asked = self.settings.prometheus
        why = None if asked is None else shortfall(asked)
        if why is not None:
            self._fail("prometheus", why)

    def _done(self, workload: Workload) -> bool:
        return self.rollouts.progress()[workload].complete

    def _note(self, note: str) -> None:
        if note not in self.notes:
            self.notes.append(note)

    def _tell(
        self, phase: str, figures: ProbeMetrics | None = None, seconds_left: float | None = None
    ) -> None:
        if self._on_progress is None or not self.informer.complete:
            return
        progress = Progress(
            phase=phase,
            rollouts=self.rollouts.progress(),
            figures=figures,
            seconds_left=seconds_left,
        )
        if progress != self._said:
            self._said = progress
            self._on_progress(progress)

    def _fail(
        self,
        kind: str,
        reason: str,
        evidence: tuple[str, ...] = (),
        figures: ProbeMetrics | None = None,
    ) -> NoReturn:
        raise _Failed(
            Verdict(
                passed=False,
                kind=kind,
                reason=reason,
                evidence=evidence,
                figures=figures,
                notes=tuple(self.notes),
            )
        )
