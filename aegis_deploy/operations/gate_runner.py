"""Judging what a flow deployed: the gate's settings, its verdict, and who else had a hand in it.

The gate itself is `gate.analysis`, what befalls a release from outside `drift.external_changes`;
this module brings them together with the stack's settings, its state and its cluster.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from aegis_deploy.common.console import Output
from aegis_deploy.common.errors import AegisError
from aegis_deploy.common.signals import Signals
from aegis_deploy.drift.clusters import Clusters
from aegis_deploy.locking.takeover import Takeover
from aegis_deploy.model.fingerprint import (
    provider_of,
    rendered_of_state,
    routes_of_state,
    ungated_of_state,
)
from aegis_deploy.model.gate_settings import UNSET, GateSettings, gate_settings
from aegis_deploy.model.release import Release
from aegis_deploy.model.timeline import GATE
from aegis_deploy.model.verdict import LOST, UNTOLD, Verdict
from aegis_deploy.model.workloads.rollout import Workload, within
from aegis_deploy.model.workloads.workload_kinds import GATED
from aegis_deploy.operations.status_line import StatusLine
from aegis_deploy.report.recorder import Recorder

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aegis_deploy.drift.live_objects import Standing
    from aegis_deploy.kubernetes.client import Object
    from aegis_deploy.kubernetes.managed_fields import Scaling
    from aegis_deploy.model.events import Outcome
    from aegis_deploy.model.release import ConfigValue
    from aegis_deploy.operations.update_runner import Ran
    from aegis_deploy.stack.session import Session

_GOING_SECONDS = 60.0
"""So long an object that is being deleted is waited for: what cleans up after it may take time."""
_LOOK_SECONDS = 1.0


class GateRunner:
    """Judges the releases of one stack.

    Args:
        session: The stack, open.
        out: Where progress and warnings go.
        clusters: The clusters that the stack is in.
        takeover: The claim on the stack, and whether something is yet to be judged.
        recorder: Listens.
        signals: Whether one asked to stop.
    """

    def __init__(
        self,
        session: Session,
        out: Output,
        clusters: Clusters,
        *,
        takeover: Takeover,
        recorder: Recorder,
        signals: Signals,
    ) -> None:
        self._session, self._out, self._clusters = session, out, clusters
        self._takeover, self._recorder, self._signals = takeover, recorder, signals
        self._status_line = StatusLine(out, recorder)

    def gate(self, settings: Mapping[str, ConfigValue]) -> GateSettings:
        """Read a release's gate from its settings.

        Raises:
            AegisError: They are wrong.
        """
        found = settings.get(f"{self._session.project}:gate")
        if found is None:
            return UNSET
        try:
            return gate_settings(found.value)
        except ValueError as error:
            raise AegisError(
                what=f"the setting {self._session.project}:gate is wrong",
                why=str(error),
                next=f"pulumi config set --path '{self._session.project}:gate.bakeSeconds' 15",
            ) from error

    def recorded_gate(self, release: Release) -> GateSettings | None:
        """Read the gate a release was deployed with; None when it had none that can be read."""
        if f"{self._session.project}:gate" not in release.config:
            return None
        try:
            return self.gate(release.config)
        except AegisError as error:
            self._out.warn(f"the gate of release {release.number} cannot be read: {error.why}")
            return None

    def judge(
        self,
        workloads: Sequence[Workload],
        gate: GateSettings,
        *,
        dry: bool = False,
        whole: bool = False,
        apart: Collection[str] = (),
    ) -> Verdict:
        """Let the gate judge what runs.

        Args:
            workloads: What runs pods.
            gate: What is asked of them.
            dry: Whether nothing may be changed, not even for a moment.
            whole: Whether everything that is declared has to be there, as it has to be once a
                release was restored; nothing of it may be on its way out in any case.
            apart: The URNs of what is declared and is not the release's: whether that is there is
                no matter.

        Raises:
            AegisError: There is no way to a cluster, and nothing may have been changed.
        """
        from aegis_deploy.gate.analysis import judge

        resources = self._session.resources()
        rendered = rendered_of_state(resources, self._clusters.place)
        beside = (
            *(f"{it}: only its provider waits for it" for it in ungated_of_state(resources)),
            *(f"{it}: its provider writes it to a file" for it in rendered),
        )
        if not workloads:
            reason = f"the stack has no {', '.join(GATED)}, so there was nothing to judge"
            return Verdict(passed=True, reason=reason, notes=(reason, *beside))
        self._recorder.asks(gate)
        with (
            self._out.progress(f"the gate judges {self._session.name}"),
            self._recorder.phase(GATE),
        ):
            blind = self._blind(workloads, dry=dry)
            verdict = blind or judge(
                self._clusters.of,
                list(workloads),
                gate,
                external=routes_of_state(resources, self._clusters.place),
                dry=dry,
                on_progress=self._status_line.gate,
                on_answer=self._recorder.answer,
            )
        verdict = replace(verdict, notes=(*verdict.notes, *beside))
        if verdict.passed:
            verdict = self._compared(verdict, workloads)
        if verdict.passed:
            verdict = self._standing(verdict, whole=whole, apart=apart)
        self._recorder.judged(verdict)
        self._takeover.require()
        # One that passed counts as judged once that is written down; see `flows.marking`.
        self._takeover.unjudged = self._takeover.unjudged and (verdict.lost or verdict.passed)
        return verdict

    def _blind(self, workloads: Sequence[Workload], *, dry: bool) -> Verdict | None:
        """The verdict where there is no way to a cluster that something runs in.

        Raises:
            AegisError: So it is, and nothing may have been changed.
        """
        for part in self._clusters.of_workloads(workloads):
            try:
                part.connect()
            except AegisError as error:
                if dry:
                    raise
                return Verdict(passed=False, kind=LOST, reason=f"{error.what}: {error.why}")
        return None

    def untold(
        self,
        workloads: Sequence[Workload],
        gate: GateSettings,
        verdict: Verdict | None,
        outcome: Outcome | None = None,
    ) -> Verdict | None:
        """Return what there is instead of a verdict while a release's database is away.

        Args:
            workloads: What runs pods.
            gate: What is asked of them.
            verdict: What was found against the release; None when nothing was.
            outcome: What its update came to, which a provider may have ended before that.
        """
        from aegis_deploy.gate import silent_database

        if verdict is None:
            if outcome is None or outcome.succeeded:
                return None
            reason, *evidence = outcome.why.splitlines() or ["the rollout did not end well"]
            verdict = Verdict(passed=False, reason=reason, evidence=tuple(evidence))
        elif verdict.passed or verdict.kind not in silent_database.SHOWN_BY:
            return None
        says = silent_database.who_says_away(self._clusters.of, workloads, gate)
        if not says:
            return None
        reason = (
            f"{verdict.reason}, while the database was away, as pods say that are ready: {says}"
        )
        return replace(verdict, kind=UNTOLD, reason=reason)

    def external_cause(
        self, workloads: Sequence[Workload], ran: Ran, verdict: Verdict | None
    ) -> str | None:
        """Say what from outside made a release fail; None when it failed by itself."""
        from aegis_deploy.drift import external_changes, live_objects
        from aegis_deploy.kubernetes.client import ApiError

        hands: list[str] = []
        for part in self._clusters.of_workloads(workloads):
            # What failed may be the very way to the cluster.
            with suppress(ApiError, AegisError):
                live = live_objects.of_workloads(part.connect(), part.items)
                found = (line for it in live.values() for line in external_changes.hands(it))
                hands += (f"{line}{within(part.name)}" for line in found)
        return external_changes.excuse(
            ran.outcome,
            verdict,
            silent=ran.silent,
            hands=hands,
            resources=self._session.resources(),
        )

    def settled(
        self, workloads: Sequence[Workload], gate: GateSettings, ended: threading.Event
    ) -> str | None:
        """Wait until rollouts are complete; return why they never will be.

        Args:
            workloads: What runs pods.
            gate: What is evidence.
            ended: Set to wait no longer.
        """
        from aegis_deploy.gate.analysis import Stopped, judge

        if not workloads:
            return None
        try:
            verdict = judge(
                self._clusters.of, workloads, gate, rollout_only=True, restores=True, stop=ended
            )
        except Stopped:
            return "stopped before the rollout was complete"
        except AegisError as error:
            return f"the rollout cannot be watched: {error}"
        return None if verdict.passed else "\n".join([verdict.reason, *verdict.evidence])

    def standing(self) -> Standing:
        """Wait for what is declared and is being deleted to be gone; return what does not stand.

        Raises:
            ApiError: No cluster answers.
            AegisError: There is no way to any.
        """
        return self._waited()[0]

    def let_go(self, urns: Collection[str]) -> None:
        """Wait for what is being deleted to be gone, for some time; it is gone on with after that.

        Args:
            urns: What is waited for.
        """
        from aegis_deploy.kubernetes.client import ApiError

        # Whoever cannot look finds out more in the update that follows.
        with suppress(ApiError, AegisError):
            self._waited(only=urns)

    def _standing(self, verdict: Verdict, *, whole: bool, apart: Collection[str]) -> Verdict:
        """What is declared and on its way out is soon missing, however well the rest runs."""
        from aegis_deploy.drift import external_changes
        from aegis_deploy.kubernetes.client import ApiError

        try:
            found, went = self._waited(apart=apart)
        except (ApiError, AegisError) as error:
            note = f"whether all of it is there: {error}"
            return replace(verdict, notes=(*verdict.notes, note))
        unknown = (f"whether all of it is there: {it}" for it in found.unknown)
        verdict = replace(verdict, notes=(*verdict.notes, *unknown))
        return external_changes.standing(verdict, found.going, found.gone if whole or went else ())

    def _waited(
        self, apart: Collection[str] = (), only: Collection[str] | None = None
    ) -> tuple[Standing, bool]:
        """Look at what is declared until none of it is on its way, for some time at most.

        Returns:
            What does not stand, and whether something had been on its way.
        """
        from aegis_deploy.drift import live_objects
        from aegis_deploy.drift.detection import is_object
        from aegis_deploy.stack.checkpoint import outline

        resources = self._session.resources()
        self._clusters.see(resources)
        declared = [
            it
            for it in map(outline, resources)
            if is_object(it) and it.urn not in apart and (only is None or it.urn in only)
        ]
        parts = self._clusters.of_resources(declared)
        if not parts:
            return live_objects.Standing(), False  # It need not even have a cluster.
        limit, went = time.monotonic() + _GOING_SECONDS, False
        while True:
            found = live_objects.standing_in(parts)
            if not found.going or time.monotonic() >= limit or self._signals.interrupted:
                return found, went
            if not went:
                went = True
                self._out.say(f"waiting until it is gone: {'; '.join(found.going)}")
            time.sleep(_LOOK_SECONDS)

    def _compared(self, verdict: Verdict, workloads: Sequence[Workload]) -> Verdict:
        """What runs may be good, and not what was deployed: somebody may have changed it since."""
        from aegis_deploy.drift import external_changes, live_objects
        from aegis_deploy.kubernetes import autoscalers
        from aegis_deploy.kubernetes.client import ApiError, same_quantity

        resources = self._session.resources()
        place = self._clusters.place
        objects = [it for it in resources if str(it["type"]).startswith("kubernetes:")]
        live: dict[Workload, Object] = {}
        scaling: dict[Workload, Scaling] = {}
        gone: list[tuple[str, str, str]] = []
        try:
            for part in self._clusters.of_workloads(workloads):
                cluster = part.connect()
                found = live_objects.of_workloads(cluster, part.items)
                scaled = autoscalers.read(cluster, found.values())
                own = [it for it in objects if place(provider_of(it)) == part.name]
                read = external_changes.read_by_pods(own, found.values())
                gone += live_objects.gone(cluster, read)
                live |= found
                scaling |= {workload: scaled.of(it) for workload, it in found.items()}
        except ApiError as error:
            note = f"whether somebody changed it meanwhile: {error}"
            return replace(verdict, notes=(*verdict.notes, note))
        verdict = external_changes.taken(verdict, gone)
        verdict, beside = external_changes.compared(
            verdict, resources, live, same_quantity, scaling, place=place
        )
        for line in beside:
            self._out.warn(f"{line}; `aegis drift --fix` puts it back")
        return verdict
