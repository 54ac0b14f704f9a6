"""The update to what the program declares: previewed and carried out with the same settings.

Owns what the next update is given besides the stack's files: settings that these do not have yet,
whether it looks at what there is first, and what its preview saw declared.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from aegis_deploy.common.console import Output
from aegis_deploy.common.errors import AegisError
from aegis_deploy.history import stack_history
from aegis_deploy.locking import reconnect
from aegis_deploy.locking.takeover import Takeover
from aegis_deploy.model import declared
from aegis_deploy.model.events import Changes, Event, Outcome
from aegis_deploy.model.fingerprint import called, declared_by_steps, is_shown
from aegis_deploy.model.gate_settings import GateSettings
from aegis_deploy.model.release import Config, ConfigValue
from aegis_deploy.model.timeline import PREVIEW, UPDATE
from aegis_deploy.model.workloads.rollout import Workload
from aegis_deploy.operations.update_runner import Ran, UpdateRunner
from aegis_deploy.pods.onward import Onward, revisions_of, sets_of
from aegis_deploy.pulumi_cli.project import qualified
from aegis_deploy.report.recorder import Recorder

if TYPE_CHECKING:
    from aegis_deploy.stack.checkpoint import Resource
    from aegis_deploy.stack.session import Session


class ProgramUpdate:
    """Previews and updates one stack.

    Args:
        session: The stack, open.
        out: Where progress goes.
        takeover: The claim on the stack.
        update_runner: Runs the update under watch.
        recorder: Listens.

    Attributes:
        declared: What the program declared in the last preview, as `model.declared` has it.
        refreshes: Whether previews and updates look at the live objects first.
    """

    def __init__(
        self,
        session: Session,
        out: Output,
        takeover: Takeover,
        update_runner: UpdateRunner,
        recorder: Recorder,
    ) -> None:
        self._session, self._out, self._takeover = session, out, takeover
        self._update_runner, self._recorder = update_runner, recorder
        self.declared = ""
        self.refreshes = False
        self._overrides: dict[str, str] = {}
        self._once: set[str] = set()
        self._sets: Mapping[Workload, str] = {}

    def override(self, key: str, value: str, *, once: bool = False) -> None:
        """Have previews and updates use a setting which the stack's file does not have yet.

        Args:
            key: The setting, one of the project's own.
            value: What it is to be.
            once: Whether the file is never to have it, whatever becomes of the update.
        """
        name = qualified(key, self._session.project)
        self._overrides[name] = value
        if once:
            self._once.add(name)

    def keep_overrides(self) -> None:
        """Write the settings into the stack's file that what runs now was deployed with."""
        for key, value in self._overrides.items():
            if key in self._once:
                continue
            words = ("config", "set", key, value, "--stack", self._session.reference)
            try:
                self._session.engine.expect(*words)
            except AegisError as error:
                self._out.warn(
                    f"what runs has {key} = {value}, which could not be written into "
                    f"{self._session.config_file.name}: {error.why or error.what}\n"
                    f"the next deploy would take it back: pulumi {' '.join(words)}"
                )

    def settings(self) -> Config:
        """Return the settings the next update would use."""
        overridden = {key: ConfigValue(value) for key, value in self._overrides.items()}
        return {**self._session.settings(), **overridden}

    def adopt(self, records: Sequence[Resource]) -> None:
        """Take objects back into the state, for the next update to look at and to change."""
        if records:
            from aegis_deploy.replay.edits import entering

            self._session.import_state(entering.put(self._session.export(), records))
            self.refreshes = True

    def preview(self, policy_packs: Sequence[str] = ()) -> Changes:
        """Preview what the program declares now; its settings are checked on the way.

        Args:
            policy_packs: Directories of policy packs to ask as well.
        """

        def preview(refresh: bool) -> Changes:
            return self._session.preview(
                policy_packs=policy_packs, overrides=self._overrides, refresh=refresh
            )

        with (
            self._out.progress(f"previewing {self._session.name}"),
            self._recorder.phase(PREVIEW),
        ):
            try:
                changes = preview(self.refreshes)
            except AegisError as error:
                if not self.refreshes or not reconnect.says_refused(error.why):
                    raise
                changes = preview(refresh=False)
        self.declared = declared_by_steps(changes.steps)
        self._sets = sets_of(changes.steps)
        self._recorder.plan([called(step) for step in changes.steps if is_shown(step)])
        return changes

    def update(self, message: str, workloads: Sequence[Workload], gate: GateSettings) -> Ran:
        """Update the stack to what the program declares, watching its rollouts."""

        def once(on_event: Callable[[Event], None]) -> Outcome:
            return self._session.update(
                message=message,
                on_event=on_event,
                overrides=self._overrides,
                refresh=self.refreshes,
                environment={declared.VARIABLE: self.declared} if self.declared else None,
            )

        def run(on_event: Callable[[Event], None]) -> Outcome:
            outcome = once(on_event)
            if self.refreshes and reconnect.reconnected(self._session, outcome, self._out.warn):
                outcome = once(on_event)
            # At once: whoever ends this process now ends it before the gate has said a word.
            self._takeover.unjudged = outcome.succeeded
            return outcome

        self._takeover.deploys()
        ran = self._update_runner.run(
            UPDATE,
            f"updating {self._session.name}",
            run,
            workloads,
            gate,
            stop=self._session.stop,
            onward=self._onward(),
        )
        lost = ran.evidence is not None and ran.evidence.lost
        self._takeover.unjudged = ran.outcome.succeeded and (ran.evidence is None or lost)
        return ran

    def _onward(self) -> Onward | None:
        """Say whose pods an update may have replaced for the StatefulSets that it comes to."""
        if not self._sets:
            return None
        releases = stack_history.reading(self._session)
        verified = next((it for it in releases if it.verified), None)
        if verified is None:
            return Onward(self._sets)
        try:
            record = self._session.store.checkpoint(verified)
        except AegisError:
            record = None
        resources = None if record is None else record.get("resources") or ()
        return Onward(self._sets, revisions_of(resources, self._sets))
