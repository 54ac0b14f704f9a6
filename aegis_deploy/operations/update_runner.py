"""Updates that run under watch: told as they go, and stopped as soon as they cannot succeed.

Owns what a person sees of an update and of its rollouts, and the stopping of it on evidence.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from aegis_deploy.common.console import Output
from aegis_deploy.common.errors import AegisError
from aegis_deploy.common.signals import Signals
from aegis_deploy.locking.takeover import Run, Takeover
from aegis_deploy.model.events import Event, Outcome, UpdateFailure
from aegis_deploy.model.fingerprint import called, is_shown
from aegis_deploy.model.gate_settings import GateSettings
from aegis_deploy.model.timeline import UPDATE
from aegis_deploy.model.verdict import CANARY, Verdict
from aegis_deploy.model.waits import Waits
from aegis_deploy.model.workloads.rollout import Workload
from aegis_deploy.operations.status_line import StatusLine
from aegis_deploy.report import timeline_store
from aegis_deploy.report.recorder import Recorder

if TYPE_CHECKING:
    from aegis_deploy.kubernetes.client import Cluster
    from aegis_deploy.kubernetes.rollout_monitor import RolloutMonitor
    from aegis_deploy.pods.onward import Onward
    from aegis_deploy.stack.checkpoint import Resource

_PATIENCE_SECONDS = 5.0
_LOST_END_SECONDS = 60.0
"""So long an update may take to end once the cluster is lost; requests may hang in its provider."""


@dataclass(frozen=True)
class Ran:
    """An update that has ended.

    Attributes:
        outcome: What it came to.
        evidence: What was seen of its rollout that cannot become good, when anything was.
        serving: What served when it ended, in a few words.
        silent: For how many seconds the cluster did not answer meanwhile.
        replaced: The pods that kept a workload from going back, or on, and were replaced, a line
            each.
    """

    outcome: Outcome
    evidence: Verdict | None = None
    serving: str = ""
    silent: float = 0.0
    replaced: tuple[str, ...] = ()


class UpdateRunner:
    """Runs the updates of one stack under watch.

    Args:
        takeover: The claim on the stack.
        out: Where progress goes.
        signals: What signals do meanwhile.
        where: Returns the cluster that each workload is in.
        recorder: Listens.
    """

    def __init__(
        self,
        takeover: Takeover,
        out: Output,
        signals: Signals,
        where: Callable[[Workload], Cluster],
        recorder: Recorder,
    ) -> None:
        self._takeover, self._out, self._signals = takeover, out, signals
        self._where, self._recorder = where, recorder
        self._status_line = StatusLine(out, recorder)
        self._ended = threading.Event()
        self._waits = Waits()
        self._again = ""

    def run(
        self,
        phase: str,
        what: str,
        run: Run,
        workloads: Sequence[Workload],
        gate: GateSettings,
        *,
        stop: Callable[[], None],
        patience: float = _PATIENCE_SECONDS,
        restores: Mapping[Workload, Resource] | None = None,
        onward: Onward | None = None,
        again: str = "the same again",
    ) -> Ran:
        """Run an update; stop it as soon as its rollout cannot succeed any more.

        One that fails while the cluster does not answer is followed by nothing before it does, or
        is lost: what comes next would fail as well.

        Args:
            phase: What is done, as a timeline calls it.
            what: It, for a person.
            run: The update.
            workloads: What it may roll out or, of Jobs, run.
            gate: What is evidence.
            stop: What ends the update cleanly.
            patience: For how many seconds a cluster that does not answer is waited for before it.
            restores: What it restores, where it goes back; pods in its way are replaced.
            onward: What it takes on, where it goes forward, and whose pods may be replaced then.
            again: What is to be typed once the cluster answers, where it cannot be begun.

        Raises:
            AegisError: It cannot be begun, for example since the cluster does not answer, or
                somebody took the stack over meanwhile.
        """
        self._recorder.asks(gate)
        self._again = again
        with self._recorder.phase(phase):
            ran = self._run(
                what,
                run,
                workloads,
                gate,
                stop=stop,
                patience=patience,
                restores=restores or {},
                onward=onward,
            )
        if ran.outcome.succeeded and ran.evidence is None:
            timeline_store.save(
                self._takeover.session, self._recorder, self._out.warn, finished=False
            )
        else:
            # What follows is not to be held up by writing.
            self._recorder.phase_failed()
            if ran.evidence is None and not ran.outcome.succeeded:
                # What the engine, a provider or the program's own gate said.
                first, *rest = ran.outcome.why.splitlines() or ["it gave no reason"]
                self._recorder.judged(
                    Verdict(
                        passed=False,
                        kind=UPDATE,
                        reason=first,
                        evidence=tuple(rest),
                        serving=ran.serving,
                    )
                )
        return ran

    def _run(
        self,
        what: str,
        run: Run,
        workloads: Sequence[Workload],
        gate: GateSettings,
        *,
        stop: Callable[[], None],
        patience: float,
        restores: Mapping[Workload, Resource],
        onward: Onward | None,
    ) -> Ran:
        from aegis_deploy.kubernetes.rollout_monitor import RolloutMonitor

        run = self._takeover.noting(run)
        self._takeover.begins()
        self._waits = Waits()
        with self._out.progress(what, self._waits.line), self._signals.stopping(stop):
            if not workloads:
                ran = Ran(run(self._tell))
                self._takeover.require()
                return ran

            def failed(evidence: Verdict) -> None:
                self._recorder.judged(evidence)
                self._end(evidence, stop)

            watch = RolloutMonitor(
                self._where,
                list(workloads),
                gate,
                on_progress=self._status_line.rollouts,
                on_failure=failed,
            )
            with watch:
                self._reach(watch, patience)
                # From here on only what changes is told.
                self._recorder.rollouts(watch.progress())
                replaced: list[str] = []
                try:
                    with self._replacing(restores, onward, gate, replaced) as hear:
                        outcome = run(hear)
                finally:
                    self._ended.set()
                self._takeover.require()
                if not outcome.succeeded:
                    watch.reached(gives_up=lambda: self._signals.interrupted)
                    if watch.failure is None:
                        # A provider says that pods are not ready, and not what they wait for.
                        held = tuple(UpdateFailure("", line) for line in watch.held_up())
                        outcome = replace(outcome, failures=(*outcome.failures, *held))
                return Ran(outcome, watch.failure, watch.serving(), watch.silent, tuple(replaced))

    @contextmanager
    def _replacing(
        self,
        restores: Mapping[Workload, Resource],
        onward: Onward | None,
        gate: GateSettings,
        replaced: list[str],
    ) -> Iterator[Callable[[Event], None]]:
        """Replace pods that are in the way while the block runs; yields who is to hear of events.

        Args:
            restores: What is restored.
            onward: What is taken on instead.
            gate: What is evidence.
            replaced: Gets a line for each pod.
        """
        from aegis_deploy.pods.pod_replacement import Replacement, concerned

        concerns = concerned(restores) if onward is None else onward.sets
        if not concerns:
            yield self._tell
            return
        replacement = Replacement(
            self._where,
            concerns,
            gate,
            onward,
            require=self._takeover.require,
            on_replaced=lambda it: self._recorder.step(
                f"replace {it.uid}", f"replace {it}", "ends"
            ),
            tell=self._out.warn,
        )

        def hear(event: Event) -> None:
            replacement.hear(event)
            self._tell(event)

        with replacement:
            yield hear
        replaced += replacement.replaced

    def _reach(self, watch: RolloutMonitor, patience: float) -> None:
        """See that the cluster answers before anything is begun."""
        self._ended.clear()
        if watch.knows:
            return
        self._out.say("waiting for the cluster, which does not answer")
        if not watch.reached(patience, gives_up=lambda: self._signals.interrupted):
            raise AegisError(
                what=f"the cluster of {self._takeover.session.name} does not answer",
                why=watch.loss,
                state="nothing was begun",
                next="kubectl get --raw /readyz says whether the API server answers; once it does: "
                + self._again,
            )

    def _end(self, verdict: Verdict, stop: Callable[[], None]) -> None:
        """End an update; by force when its provider waits for a cluster that is lost."""
        stop()
        if verdict.lost:
            threading.Thread(target=self._end_by_force, name="end", daemon=True).start()

    def _end_by_force(self) -> None:
        if not self._ended.wait(_LOST_END_SECONDS):
            self._out.warn("the update does not end; it is killed, for the cluster is lost")
            self._takeover.session.engine.kill()

    def _tell(self, event: Event) -> None:
        self._waits.note(event)
        step = event.step
        if event.message.startswith(CANARY):
            for line in event.message.splitlines():
                self._out.say(f"  {line}")
        if step is None or not is_shown(step):
            return
        self._recorder.step(f"{step.op} {step.urn}", called(step), event.kind)
        if event.kind in {"ends", "fails"}:
            word = "failed: " if event.kind == "fails" else ""
            self._out.say(f"  {word}{called(step)}")
