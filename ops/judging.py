"""Judging what a flow deployed: the gate's settings, its verdict, and who else had a hand in it.

The gate itself is `ops.gate`, what befalls a release from outside `ops.interference`; this module
brings them together with the stack's settings, its state and its cluster.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from ops.errors import AegisError
from ops.gate_settings import UNSET, GateSettings, gate_settings
from ops.identity import ungated_of_state
from ops.output import Output
from ops.recording import Recording
from ops.release import Release
from ops.timeline import GATE
from ops.turn import Turn
from ops.verdict import Verdict
from ops.workload import Workload
from ops.workload_kinds import GATED

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ops.cluster import Cluster
    from ops.gate import Progress
    from ops.live_objects import Standing
    from ops.release import ConfigValue
    from ops.stack import Session
    from ops.watched import Ran

_GOING_SECONDS = 60.0
"""So long an object that is being deleted is waited for: what cleans up after it may take time."""
_LOOK_SECONDS = 1.0
_CONTEXT, _KUBECONFIG = "kubernetes:context", "kubernetes:kubeconfig"
"""The provider's own settings that say which cluster is meant."""


class Judging:
    """Judges the releases of one stack.

    Args:
        session: The stack, open.
        out: Where progress and warnings go.
        turn: Whose turn it is, and whether something is yet to be judged.
        recording: Listens.
        interrupted: Whether a signal asked to stop.
    """

    def __init__(
        self,
        session: Session,
        out: Output,
        turn: Turn,
        recording: Recording,
        interrupted: Callable[[], bool],
    ) -> None:
        self._session, self._out, self._turn, self._recording = session, out, turn, recording
        self._interrupted = interrupted
        self._cluster: Cluster | None = None
        self._connecting = threading.Lock()

    def connected(self) -> Cluster:
        """Return the cluster the stack is in."""
        with self._connecting:
            if self._cluster is None:
                self._cluster = self._connect()
            return self._cluster

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
        on_progress: Callable[[Progress], None],
        *,
        dry: bool = False,
        whole: bool = False,
        apart: Collection[str] = (),
    ) -> Verdict:
        """Let the gate judge what runs.

        Args:
            workloads: What runs pods.
            gate: What is asked of them.
            on_progress: Told how far it is.
            dry: Whether nothing may be changed, not even for a moment.
            whole: Whether everything that is declared has to be there, as it has to be once a
                release was restored; nothing of it may be on its way out in any case.
            apart: The URNs of what is declared and is not the release's: whether that is there is
                no matter.
        """
        from ops.gate import judge

        resources = self._session.resources()
        beside = tuple(
            f"{it}: only its provider waits for it" for it in ungated_of_state(resources)
        )
        if not workloads:
            reason = f"the stack has no {', '.join(GATED)}, so there was nothing to judge"
            return Verdict(passed=True, reason=reason, notes=(reason, *beside))
        self._recording.asks(gate)
        with (
            self._out.progress(f"the gate judges {self._session.name}"),
            self._recording.phase(GATE),
        ):
            verdict = judge(
                self.connected(),
                list(workloads),
                gate,
                dry=dry,
                on_progress=on_progress,
                on_answer=self._recording.answer,
            )
        verdict = replace(verdict, notes=(*verdict.notes, *beside))
        if verdict.passed:
            verdict = self._compared(verdict, workloads)
        if verdict.passed:
            verdict = self._standing(verdict, whole=whole, apart=apart)
        self._recording.judged(verdict)
        self._turn.require()
        # One that passed counts as judged once that is written down; see `Actions.mark_verified`.
        self._turn.unjudged = self._turn.unjudged and (verdict.lost or verdict.passed)
        return verdict

    def interference(
        self, workloads: Sequence[Workload], ran: Ran, verdict: Verdict | None
    ) -> str | None:
        """Say what from outside made a release fail; None when it failed by itself."""
        from ops import interference, live_objects
        from ops.cluster import ApiError

        hands: list[str] = []
        # What failed may be the very way to the cluster.
        with suppress(ApiError, AegisError):
            live = live_objects.of_workloads(self.connected(), workloads)
            hands = [line for it in live.values() for line in interference.hands(it)]
        return interference.excuse(
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
        from ops.gate import Stopped, judge

        if not workloads:
            return None
        try:
            verdict = judge(
                self.connected(), workloads, gate, rollout_only=True, restores=True, stop=ended
            )
        except Stopped:
            return "stopped before the rollout was complete"
        except AegisError as error:
            return f"the rollout cannot be watched: {error}"
        return None if verdict.passed else "\n".join([verdict.reason, *verdict.evidence])

    def standing(self) -> Standing:
        """Wait for what is declared and is being deleted to be gone; return what does not stand.

        Raises:
            ApiError: The cluster does not answer.
        """
        return self._waited()[0]

    def _standing(self, verdict: Verdict, *, whole: bool, apart: Collection[str]) -> Verdict:
        """What is declared and on its way out is soon missing, however well the rest runs."""
        from ops import interference
        from ops.cluster import ApiError

        try:
            found, went = self._waited(apart=apart)
        except ApiError as error:
            note = f"whether all of it is there: {error}"
            return replace(verdict, notes=(*verdict.notes, note))
        return interference.standing(verdict, found.going, found.gone if whole or went else ())

    def _waited(self, apart: Collection[str] = ()) -> tuple[Standing, bool]:
        """Look at what is declared until none of it is on its way, for some time at most.

        Returns:
            What does not stand, and whether something had been on its way.
        """
        from ops import live_objects
        from ops.checkpoint import outline
        from ops.drift import is_object

        declared = [
            it
            for it in map(outline, self._session.resources())
            if is_object(it) and it.urn not in apart
        ]
        if not declared:
            return live_objects.Standing(), False  # It need not even have a cluster.
        limit, went = time.monotonic() + _GOING_SECONDS, False
        while True:
            found = live_objects.standing(self.connected(), declared)
            if not found.going or time.monotonic() >= limit or self._interrupted():
                return found, went
            if not went:
                went = True
                self._out.say(f"waiting until it is gone: {'; '.join(found.going)}")
            time.sleep(_LOOK_SECONDS)

    def _compared(self, verdict: Verdict, workloads: Sequence[Workload]) -> Verdict:
        """What runs may be good, and not what was deployed: somebody may have changed it since."""
        from ops import autoscalers, interference, live_objects
        from ops.cluster import ApiError, same_quantity

        resources = self._session.resources()
        try:
            live = live_objects.of_workloads(self.connected(), workloads)
            scaled = autoscalers.read(self.connected(), live.values())
            read = interference.read_by_pods(resources, live.values())
            gone = live_objects.gone(self.connected(), read)
        except ApiError as error:
            note = f"whether somebody changed it meanwhile: {error}"
            return replace(verdict, notes=(*verdict.notes, note))
        verdict = interference.taken(verdict, gone)
        scaling = {workload: scaled.of(it) for workload, it in live.items()}
        verdict, beside = interference.compared(verdict, resources, live, same_quantity, scaling)
        for line in beside:
            self._out.warn(f"{line}; `aegis drift --fix` puts it back")
        return verdict

    def _connect(self) -> Cluster:
        from ops.cluster import connect

        names = (_CONTEXT, f"{self._session.project}:kubeContext", _KUBECONFIG)
        given = self._session.settings()
        found = {name: given[name] for name in names if name in given}
        # A kubeconfig holds a key, so it is a secret as a rule; without it another cluster would be
        # looked at than the one that is deployed to.
        hidden = {name: it for name, it in found.items() if it.encrypted}
        opened = self._session.decrypted(hidden) if hidden else {}
        context, own, kubeconfig = (
            opened.get(name, found[name].value) if name in found else None for name in names
        )
        return connect(_text(context) or _text(own), _text(kubeconfig))


def _text(value: object) -> str | None:
    return str(value) if value else None
