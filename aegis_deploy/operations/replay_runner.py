"""Previewing the restoring of a release, and carrying it out as an update under watch."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from aegis_deploy.common.console import Output
from aegis_deploy.common.errors import AegisError, ExitCode
from aegis_deploy.history import stack_history
from aegis_deploy.locking import reconnect
from aegis_deploy.model.events import Changes, Event, Outcome
from aegis_deploy.model.gate_settings import GateSettings
from aegis_deploy.model.release import AUTOMATED, Release
from aegis_deploy.model.timeline import ROLLBACK
from aegis_deploy.model.workloads.rollout import Workload
from aegis_deploy.operations.gate_runner import GateRunner
from aegis_deploy.operations.update_runner import Ran, UpdateRunner
from aegis_deploy.pulumi_cli.cli_errors import BROKEN

if TYPE_CHECKING:
    from aegis_deploy.drift.clusters import Clusters
    from aegis_deploy.replay.model import Replay
    from aegis_deploy.stack.session import Session


class ReplayRunner:
    """Restores releases of one stack.

    Args:
        session: The stack, open.
        out: Where progress goes.
        clusters: Its clusters.
        gate_runner: Says when a rollout is complete.
        update_runner: Runs the update under watch.
    """

    def __init__(
        self,
        session: Session,
        out: Output,
        clusters: Clusters,
        gate_runner: GateRunner,
        update_runner: UpdateRunner,
    ) -> None:
        self._session, self._out, self._clusters = session, out, clusters
        self._gate_runner, self._update_runner = gate_runner, update_runner

    def preview(self, replay: Replay, target: Release) -> Changes:
        """Preview the restoring of a release."""
        from aegis_deploy.replay.apply import register

        stack = self._session.name
        with self._out.progress(f"previewing the rollback to release {target.number}"):
            try:
                return self._session.preview(
                    program=register(replay),
                    exclude=replay.preview_exclude,
                    refresh=True,
                    config=replay.settings,
                    again=f"aegis rollback --to {target.number}",
                )
            except AegisError as error:
                if reconnect.says_refused(error.why):
                    error.next = (
                        "the credentials that were recorded are refused, so that nothing can be "
                        f"previewed; `aegis rollback --to {target.number} --stack {stack} "
                        "--yes` first gives the providers those that the settings have now"
                    )
                raise

    def restore(
        self,
        replay: Replay,
        target: Release,
        message: str,
        workloads: Sequence[Workload],
        gate: GateSettings,
    ) -> Ran:
        """Restore a release as a new update, watching its rollouts.

        The update ends, and deletes what the release does not have, once they are complete; but
        what could block it goes first. It reads the live objects first, unless all of them are as
        the state records them.
        """
        from aegis_deploy.kubernetes.rollout_monitor import LOST_SECONDS
        from aegis_deploy.replay.apply import carry_out

        self._clusters.learn((*replay.providers.values(), *replay.resources))
        if replay.dying:
            self._gate_runner.let_go(replay.dying)
        before = self._session.export()
        if replay.adopted:
            self._out.say(f"taken back into the state: {', '.join(replay.adopted)}")
        if replay.prepares:
            self._session.import_state(replay.prepare(before))
        refresh = self._has_to_be_refreshed(replay, before)
        ended = threading.Event()

        def cleared() -> None:
            nonlocal before
            before = self._session.export()

        def settle() -> str | None:
            return self._gate_runner.settled(replay.workloads, gate, ended)

        def run(on_event: Callable[[Event], None]) -> Outcome:
            return carry_out(
                self._session,
                replay,
                message=message,
                refresh=refresh,
                settle=settle,
                on_event=on_event,
                on_cleared=cleared,
                stopped=ended.is_set,
            )

        def stop() -> None:
            ended.set()
            self._session.stop()

        try:
            ran = self._update_runner.run(
                ROLLBACK,
                f"restoring release {target.number}",
                run,
                [*workloads, *replay.jobs],
                gate,
                stop=stop,
                # Nobody may be there to type it again.
                patience=LOST_SECONDS,
                restores=replay.declared,
                # What nobody typed is not typed again.
                again=f"aegis recover --stack {self._session.name}"
                if message.startswith(AUTOMATED)
                else "the same again",
            )
        finally:
            ended.set()
        if BROKEN.search(f"{ran.outcome.why}\n{ran.outcome.text}"):
            raise self._put_back(before, target, ran)
        if ran.outcome.succeeded and (replay.owned or replay.freed):
            self._tell_declared(replay)
        return ran

    def _has_to_be_refreshed(self, replay: Replay, exported: Mapping[str, Any]) -> bool:
        """Whether the engine has to read the live objects before it changes them."""
        from aegis_deploy.drift.as_recorded import is_as_recorded
        from aegis_deploy.stack import checkpoint

        # The state was changed since, or is once what goes first is gone.
        if replay.prepares or replay.first.goes:
            return True
        # A further run of the CLI, to decrypt, would take what is spared.
        state = checkpoint.without_cli(self._session, exported["deployment"])
        return state is None or not is_as_recorded(state, self._clusters)

    def _tell_declared(self, replay: Replay) -> None:
        """See to what of a release was left to control loops while it was restored."""
        from aegis_deploy.kubernetes.client import ApiError
        from aegis_deploy.replay import owned_fields

        try:
            for line in owned_fields.give_back(replay, self._clusters.at) if replay.freed else ():
                self._out.say(line)
            state = owned_fields.as_declared(self._session.export(), replay)
            if state is not None:
                stack_history.put(self._session, state)
        except (ApiError, AegisError) as error:
            self._out.warn(f"a preview may show fields that control loops own as changed\n{error}")

    def _put_back(self, before: Mapping[str, Any], target: Release, ran: Ran) -> AegisError:
        """Put a state back that holds together; return what to tell."""
        state = "the state is as it was before; what runs may be between two releases"
        try:
            self._session.import_state(before)
        except AegisError as error:
            state = f"the state does not hold together, and could not be put back: {error.why}"
        return AegisError(
            what=f"the engine could not record the rollback of {self._session.name} to release "
            f"{target.number}",
            why=ran.outcome.why or ran.outcome.text,
            state=f"{state}; {ran.serving}" if ran.serving else state,
            next=f"aegis recover --stack {self._session.name}; "
            "and report it, it is a fault of aegis",
            code=ExitCode.NOT_ROLLED_BACK,
        )
