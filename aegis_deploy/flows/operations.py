"""What the flows do to a stack, one call each: the seam between deciding and doing.

`deploy` and `rollback` hold the order of things and the decisions; everything that has an effect,
or has to be asked of somebody, goes through :class:`Actions`.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import replace
from importlib import import_module
from typing import TYPE_CHECKING, Any

from aegis_deploy.common import git
from aegis_deploy.common.console import Output
from aegis_deploy.common.errors import AegisError, ExitCode
from aegis_deploy.common.signals import Signals
from aegis_deploy.drift.detection import is_object
from aegis_deploy.flows.adopting import Adopting
from aegis_deploy.flows.gate_runner import GateRunner
from aegis_deploy.flows.update_runner import Ran, UpdateRunner
from aegis_deploy.history import stack_history, verification_store
from aegis_deploy.locking import lease, reconnect
from aegis_deploy.locking.lock_holders import RECOVERY
from aegis_deploy.locking.takeover import Takeover
from aegis_deploy.model import declared
from aegis_deploy.model.events import Changes, Event, Outcome
from aegis_deploy.model.fingerprint import (
    called,
    declared_by_steps,
    images_of_state,
    is_shown,
    jobs_of_steps,
    workloads_of_state,
    workloads_of_steps,
)
from aegis_deploy.model.gate_settings import GateSettings
from aegis_deploy.model.release import AUTOMATED, ConfigValue, Deployed, Release
from aegis_deploy.model.rollout import Workload, within
from aegis_deploy.model.timeline import PREVIEW, ROLLBACK, UPDATE
from aegis_deploy.model.verdict import Verdict
from aegis_deploy.pods.onward import Onward, revisions_of, sets_of
from aegis_deploy.pulumi_cli.cli_errors import BROKEN
from aegis_deploy.pulumi_cli.project import qualified
from aegis_deploy.registry.image_registry import Presence, look_up_all
from aegis_deploy.replay import choices as replay_choices
from aegis_deploy.report import timeline_store
from aegis_deploy.report.recorder import Recorder

if TYPE_CHECKING:
    from aegis_deploy.kubernetes.client import Cluster
    from aegis_deploy.replay.choices import Choices
    from aegis_deploy.replay.model import Replay
    from aegis_deploy.stack.checkpoint import Checkpoint, Resource
    from aegis_deploy.stack.session import Session

_DONE = ("Job ", "Pod ")
Config = Mapping[str, ConfigValue]


class Actions:
    """Everything a flow may do to one stack.

    Args:
        session: The stack, open.
        out: Where progress goes.
        signals: What signals do meanwhile.

    Attributes:
        previewed: What the program declared in the last preview, as `model.declared` has it.
        clusters: The clusters that the stack is in.
    """

    def __init__(self, session: Session, out: Output, signals: Signals) -> None:
        self.session = session
        self.out = out
        self.signals = signals
        self._overrides: dict[str, str] = {}
        self.previewed = ""
        self._sets: Mapping[Workload, str] = {}
        self._refreshes = False
        self._recording = Recorder(session.name)
        self._turn = Takeover(session, out)
        self._judging = GateRunner(
            session, out, self._turn, self._recording, lambda: self.interrupted
        )
        self.clusters = self._judging.clusters
        self._adopting = Adopting(session, out, self.clusters)
        self._watched = UpdateRunner(self._turn, out, signals, self.clusters.of, self._recording)

    @property
    def stack(self) -> str:
        """The stack's name."""
        return self.session.name

    @property
    def interrupted(self) -> bool:
        """Whether a signal asked to stop."""
        return self.signals.received is not None

    # Whose turn it is

    @property
    def cut_short(self) -> bool:
        """Whether an update before this work ended unrecorded; see `locking.takeover.Takeover`."""
        return self._turn.cut_short

    @property
    def aimed(self) -> int | None:
        """The release that a rollback which died was to restore."""
        return self._turn.aimed

    @contextmanager
    def claimed(self, intent: str, message: str, wait_seconds: float) -> Iterator[None]:
        """Keep others away while the block runs; see `locking.takeover.Takeover.claimed`."""
        with self._turn.claimed(intent, message, wait_seconds), self._kept(intent):
            yield

    @contextmanager
    def recovering(
        self, message: str, *, take: bool = False, wait_seconds: float = 0.0
    ) -> Iterator[lease.Claimed]:
        """Follow whoever died while the block runs; see `locking.takeover.Takeover.recovering`."""
        turn = self._turn.recovering(message, take=take, wait_seconds=wait_seconds)
        with turn as claim, self._kept(RECOVERY):
            yield claim

    def guarded(self, wanted: bool) -> AbstractContextManager[None]:
        """Have another process put the stack in order should this one die in the block."""
        return self._turn.guarded(wanted)

    def becomes(self, intent: str, target: Release) -> None:
        """Say that the work has become another; what `locking.state_repair` would go on with."""
        self._turn.becomes(intent, target)

    def leave_to_judge(self) -> None:
        """Say of a recovery that what it leaves is still to be judged by the next one."""
        self._turn.deploys()

    def require_room(self) -> None:
        """See that there is room for what an update writes.

        Raises:
            AegisError: There is not.
        """
        self.session.store.require_room()

    def warm(self) -> None:
        """Begin to import what an update and its watching need; reading goes on meanwhile."""
        self.session.warm()
        threading.Thread(target=self._warm, name="warm", daemon=True).start()

    def settle(self) -> None:
        """Settle what an update of this process left half-done; see `locking.takeover.Takeover`."""
        self._turn.settle()

    # What there is

    def releases(self) -> Sequence[Release]:
        """Return the stack's releases, newest first; each is read when it is looked at."""
        return stack_history.reading(self.session)

    def recorded(self, outcome: Outcome) -> Release | None:
        """Return the release that an update of this process became; None when there is none.

        Not the newest one: another machine's clock may be ahead, and others may have updated the
        stack since, without a claim.
        """
        key = outcome.recorded
        return next((it for it in self.releases() if it.key == key), None) if key else None

    def deployed(self, release: Release) -> Deployed:
        """Return what a release deployed."""
        return stack_history.deployed(self.session, release)

    def unreadable(self, release: Release) -> AegisError | None:
        """Return why a release could not be restored from its record; None when it could be."""
        from aegis_deploy.stack import checkpoint

        return checkpoint.fault(self.session, release)

    def outputs(self, release: Release) -> Mapping[str, object]:
        """Return what a release's program said of itself, by name."""
        return dict(self.session.store.outputs(release) or {})

    def checked_out(self) -> str | None:
        """Return the commit the program is checked out at; None where nobody can tell."""
        return git.commit(self.session.directory)

    def settings(self) -> Config:
        """Return the settings the next update would use."""
        overridden = {key: ConfigValue(value) for key, value in self._overrides.items()}
        return {**self.session.settings(), **overridden}

    def workloads(self) -> list[Workload]:
        """Return what the gate judges of the stack's state."""
        resources = self.session.resources()
        self.clusters.see(resources)
        return workloads_of_state(resources, self.clusters.place)

    def to_watch(self, changes: Changes) -> list[Workload]:
        """Return what an update may roll out or, of Jobs, run, and what it could change.

        Not what is in a cluster that the update only leaves: it may be gone with all that is in it.

        Args:
            changes: What the update's preview shows.
        """
        there = self.workloads()
        unknown = self.clusters.expect(changes.steps)
        if unknown:
            self.out.warn(
                f"how provider {', '.join(unknown)} connects is known only once the update has "
                "made it: what is in its cluster is not watched meanwhile, and judged afterwards"
            )
        place = self.clusters.place
        left = {place(it.provider) for it in there} - {it.name for it in self.clusters.all()}
        kept = [
            replace(it, cluster=name)
            for it in there
            for name in [place(it.provider)]
            if name is not None and name not in left
        ]
        steps = changes.steps
        found = [*kept, *workloads_of_steps(steps, place), *jobs_of_steps(steps, place)]
        return list(dict.fromkeys(found))

    def declared(self) -> str:
        """Return what the stack's state says was declared, as `model.declared` has it."""
        return declared.of_state(self.session.resources())

    def images(self) -> str | None:
        """Return the images that the stack's state says are running."""
        return images_of_state(self.session.resources())

    def refusal(self, fingerprint: str, declared: str = "") -> str | None:
        """Return why something may not be deployed again; None when it may."""
        return verification_store.is_refused(self.session, fingerprint, declared)

    def presence(self, images: Sequence[str]) -> list[Presence]:
        """Ask the registries for images."""
        return look_up_all(images)

    # What is remembered

    def mark_verified(self, release: Release | None, *, restored: bool = False) -> None:
        """Remember that a release passed its gate.

        Args:
            release: The release; None when the history does not have what was judged.
            restored: Whether it is a rollback, which no deploy of the program would repeat.

        Raises:
            AegisError: It did, but that could not be written down.
        """
        self._turn.require()
        try:
            self._mark(release, restored=restored)
        finally:
            self._turn.unjudged = False

    def _mark(self, release: Release | None, *, restored: bool) -> None:
        command = f"aegis {'recover' if restored else 'deploy'} --stack {self.stack}"
        unless = "" if restored else " with nothing to change"
        judged = f"{command};{unless} it lets the gate judge what runs, and marks it"
        if release is None:
            raise AegisError(
                what=f"what runs in {self.stack} is good, and could not be marked as verified",
                why="the update succeeded, and nobody can tell which of the records in the history "
                "is its own",
                state="it is deployed, healthy, and NOT marked as verified",
                next=judged,
                code=ExitCode.NOT_ROLLED_BACK,
            )
        if not release.whole:
            self.out.warn(
                f"not marked as verified: {release.number} is a {release.operation}, no whole "
                f"release\naegis deploy --stack {self.stack} deploys, judges and marks one"
            )
            return
        try:
            verification_store.mark_verified(self.session, release)
        except AegisError as error:
            raise AegisError(
                what=f"release {release.number} is good, but could not be marked as verified: "
                + error.what,
                why=error.why,
                state=f"release {release.number} is deployed, healthy, and NOT marked as verified",
                next=f"mend that, then: {judged}",
                code=ExitCode.NOT_ROLLED_BACK,
            ) from error

    def refuse(self, release: Release, fingerprint: str, why: str, declared: str = "") -> None:
        """Remember that a release may not be deployed again unless insisted on."""
        try:
            verification_store.refuse(self.session, release, fingerprint, why, declared)
        except AegisError as error:
            # What was rolled back is rolled back all the same.
            self.out.warn(f"release {release.number} could not be marked as refused\n{error}")

    def pardon(self, fingerprint: str | None, key: str | None = None, declared: str = "") -> None:
        """Forget a refusal; see `history.verification_store.pardon`."""
        try:
            verification_store.pardon(self.session, fingerprint, key, declared)
        except AegisError as error:
            self.out.warn(f"the refusal of this release could not be forgotten\n{error}")

    # What the program declares

    def preview(self, policy_packs: Sequence[str] = ()) -> Changes:
        """Preview what the program declares now; its settings are checked on the way.

        Args:
            policy_packs: Directories of policy packs to ask as well.
        """

        def preview(refresh: bool) -> Changes:
            return self.session.preview(
                policy_packs=policy_packs, overrides=self._overrides, refresh=refresh
            )

        with self.out.progress(f"previewing {self.stack}"), self._recording.phase(PREVIEW):
            try:
                changes = preview(self._refreshes)
            except AegisError as error:
                if not self._refreshes or not reconnect.says_refused(error.why):
                    raise
                changes = preview(refresh=False)
        self.previewed = declared_by_steps(changes.steps)
        self._sets = sets_of(changes.steps)
        self._recording.plan([called(step) for step in changes.steps if is_shown(step)])
        return changes

    def update(self, message: str, workloads: Sequence[Workload], gate: GateSettings) -> Ran:
        """Update the stack to what the program declares, watching its rollouts."""

        def once(on_event: Callable[[Event], None]) -> Outcome:
            return self.session.update(
                message=message,
                on_event=on_event,
                overrides=self._overrides,
                refresh=self._refreshes,
                environment={declared.VARIABLE: self.previewed} if self.previewed else None,
            )

        def run(on_event: Callable[[Event], None]) -> Outcome:
            outcome = once(on_event)
            if self._refreshes and self.reconnected(outcome):
                outcome = once(on_event)
            # At once: whoever ends this process now ends it before the gate has said a word.
            self._turn.unjudged = outcome.succeeded
            return outcome

        self._turn.deploys()
        stop = self.session.stop
        what = f"updating {self.stack}"
        onward = self._onward()
        ran = self._watched.run(UPDATE, what, run, workloads, gate, stop=stop, onward=onward)
        lost = ran.evidence is not None and ran.evidence.lost
        self._turn.unjudged = ran.outcome.succeeded and (ran.evidence is None or lost)
        return ran

    def _onward(self) -> Onward | None:
        """Say whose pods an update may have replaced for the StatefulSets that it comes to."""
        verified = next((it for it in self.releases() if it.verified), None) if self._sets else None
        if verified is None:
            return Onward(self._sets) if self._sets else None
        try:
            record = self.session.store.checkpoint(verified)
        except AegisError:
            record = None
        resources = None if record is None else record.get("resources") or ()
        return Onward(self._sets, revisions_of(resources, self._sets))

    def reconnected(self, outcome: Outcome) -> bool:
        """Whether credentials were refused, and providers have others now; see `locking.reconnect`.

        Raises:
            AegisError: The program, which says which ones, cannot be run.
        """
        if not reconnect.reconnected(self.session, outcome):
            return False
        self.out.warn(
            f"{outcome.why.splitlines()[0]}\nthe credentials that were recorded are refused; "
            "once more, with those that the settings have now"
        )
        return True

    def adoptable(self, changes: Changes) -> tuple[Resource, ...]:
        """Return what an update would make and is there already; see `flows.adopting`.

        Raises:
            AegisError: It is somebody else's.
        """
        found = self._adopting.of_update(changes)
        # Their providers and components come with them, which no cluster has.
        for it in filter(is_object, found):
            self.out.show(f"  adopted {it.label}: the cluster has it, the state no more")
        return found

    def adopt(self, records: Sequence[Resource]) -> None:
        """Take objects back into the state, for the next update to look at and to change."""
        if records:
            from aegis_deploy.replay.edits import entering

            self.session.import_state(entering.put(self.session.export(), records))
            self._refreshes = True

    def override(self, key: str, value: str) -> None:
        """Have previews and updates use a setting which the stack's file does not have yet.

        Args:
            key: The setting, one of the project's own.
            value: What it is to be.
        """
        self._overrides[qualified(key, self.session.project)] = value

    def keep_overrides(self) -> None:
        """Write the settings into the stack's file that what runs now was deployed with."""
        for key, value in self._overrides.items():
            words = ("config", "set", key, value, "--stack", self.session.reference)
            try:
                self.session.engine.expect(*words)
            except AegisError as error:
                self.out.warn(
                    f"what runs has {key} = {value}, which could not be written into "
                    f"{self.session.config_file.name}: {error.why or error.what}\n"
                    f"the next deploy would take it back: pulumi {' '.join(words)}"
                )

    # What a release declared

    def replay(self, target: Release, choices: Choices = replay_choices.NONE) -> Replay:
        """Plan the restoring of a release; see `replay.planning.plan` and `flows.adopting`."""
        from aegis_deploy.replay import config as replay_config
        from aegis_deploy.replay import planning
        from aegis_deploy.stack import checkpoint

        self.out.say(f"reading what release {target.number} declared")
        recorded, current = checkpoint.both(self.session, target)
        both = self._declared_by(target, recorded), current
        planned = planning.plan(*both, choices)
        self.clusters.learn(current.alive.values())
        self._expect(planned)
        found = self._adopting.of_replay(planned, both, target)
        if found:
            planned = planning.plan(*both, choices, adopting=found)
        providers = {it.provider_urn for it in planned.resources if is_object(it)}
        planned = replace(planned, places={it: self.clusters.place(it) for it in providers})
        planned = self._leaving(planned, current)
        return replay_config.completed(planned, target.config, self.session)

    def beside(self, target: Release) -> Replay:
        """Plan the restoring of a release that was restored, to learn what stays beside it.

        All that a rollback knew of that is in the state and in the release's record still; nobody
        else is asked.

        Raises:
            AegisError: One of them cannot be read.
        """
        from aegis_deploy.replay import planning
        from aegis_deploy.stack import checkpoint

        return planning.plan(*checkpoint.both(self.session, target))

    def declared_in(self, release: Release) -> Checkpoint:
        """Return what a release declared, resource by resource.

        Raises:
            AegisError: Its record cannot be loaded.
        """
        from aegis_deploy.stack import checkpoint

        return self._declared_by(release, checkpoint.load(self.session, release))

    def preview_replay(self, replay: Replay, target: Release) -> Changes:
        """Preview the restoring of a release."""
        from aegis_deploy.replay.program import registering

        with self.out.progress(f"previewing the rollback to release {target.number}"):
            try:
                return self.session.preview(
                    program=registering(replay),
                    exclude=replay.preview_exclude,
                    refresh=True,
                    config=replay.settings,
                    again=f"aegis rollback --to {target.number}",
                )
            except AegisError as error:
                if reconnect.says_refused(error.why):
                    error.next = (
                        "the credentials that were recorded are refused, so that nothing can be "
                        f"previewed; `aegis rollback --to {target.number} --stack {self.stack} "
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
        what could block it goes first.
        """
        from aegis_deploy.kubernetes.rollout_monitor import LOST_SECONDS
        from aegis_deploy.replay.apply import carry_out

        self._expect(replay)
        if replay.dying:
            self._judging.let_go(replay.dying)
        before = self.session.export()
        if replay.adopted:
            self.out.say(f"taken back into the state: {', '.join(replay.adopted)}")
        if replay.prepares:
            self.session.import_state(replay.prepare(before))
        ended = threading.Event()

        def cleared() -> None:
            nonlocal before
            before = self.session.export()

        def settle() -> str | None:
            return self._judging.settled(replay.workloads, gate, ended)

        def run(on_event: Callable[[Event], None]) -> Outcome:
            return carry_out(
                self.session,
                replay,
                message=message,
                settle=settle,
                on_event=on_event,
                on_cleared=cleared,
                stopped=ended.is_set,
            )

        def stop() -> None:
            ended.set()
            self.session.stop()

        try:
            what = f"restoring release {target.number}"
            # Nobody may be there to type it again.
            patience = LOST_SECONDS
            ran = self._watched.run(
                ROLLBACK,
                what,
                run,
                [*workloads, *replay.jobs],
                gate,
                stop=stop,
                patience=patience,
                restores=replay.declared,
                # What nobody typed is not typed again.
                again=f"aegis recover --stack {self.stack}"
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

    def _expect(self, replay: Replay) -> None:
        """Take note of how the providers of a replay will connect."""
        self.clusters.learn((*replay.providers.values(), *replay.resources))

    def _declared_by(self, release: Release, recorded: Checkpoint) -> Checkpoint:
        from aegis_deploy.replay import owned_fields
        from aegis_deploy.stack import checkpoint

        def load(other: Release) -> Checkpoint:
            return checkpoint.load(self.session, other)

        return owned_fields.declared(recorded, release, self.releases(), load)

    def _leaving(self, replay: Replay, current: Checkpoint) -> Replay:
        """Leave to control loops what they own of what a replay restores."""
        from aegis_deploy.kubernetes.client import ApiError
        from aegis_deploy.replay import owned_fields

        try:
            return owned_fields.looked_at(replay, current, self.clusters)
        except (ApiError, AegisError) as error:
            self.out.warn(f"what control loops own is not known, and is written over\n{error}")
            return replay

    def _tell_declared(self, replay: Replay) -> None:
        """See to what of a release was left to control loops while it was restored."""
        from aegis_deploy.kubernetes.client import ApiError
        from aegis_deploy.replay import owned_fields

        try:
            for line in owned_fields.give_back(replay, self.clusters.at) if replay.freed else ():
                self.out.say(line)
            state = owned_fields.as_declared(self.session.export(), replay)
            if state is not None:
                stack_history.put(self.session, state)
        except (ApiError, AegisError) as error:
            self.out.warn(f"a preview may show fields that control loops own as changed\n{error}")

    def _put_back(self, before: Mapping[str, Any], target: Release, ran: Ran) -> AegisError:
        """Put a state back that holds together; return what to tell."""
        state = "the state is as it was before; what runs may be between two releases"
        try:
            self.session.import_state(before)
        except AegisError as error:
            state = f"the state does not hold together, and could not be put back: {error.why}"
        return AegisError(
            what=f"the engine could not record the rollback of {self.stack} to release "
            f"{target.number}",
            why=ran.outcome.why or ran.outcome.text,
            state=f"{state}; {ran.serving}" if ran.serving else state,
            next=f"aegis recover --stack {self.stack}; and report it, it is a fault of aegis",
            code=ExitCode.NOT_ROLLED_BACK,
        )

    # The gate

    def gate(self, settings: Config) -> GateSettings:
        """Read a release's gate from its settings.

        Raises:
            AegisError: They are wrong.
        """
        return self._judging.gate(settings)

    def recorded_gate(self, release: Release) -> GateSettings | None:
        """Read the gate a release was deployed with; None when it had none that can be read."""
        return self._judging.recorded_gate(release)

    def judge(
        self,
        workloads: Sequence[Workload],
        gate: GateSettings,
        *,
        dry: bool = False,
        whole: bool = False,
        apart: Collection[str] = (),
    ) -> Verdict:
        """Let the gate judge what runs; see `flows.gate_runner.GateRunner.judge`."""
        tell = self._watched.tell_gate
        return self._judging.judge(workloads, gate, tell, dry=dry, whole=whole, apart=apart)

    def require_standing(self) -> None:
        """See that nothing that is declared is being deleted, before anything is changed.

        What is gone is made again by the next update, which then looks at what there is.

        Raises:
            AegisError: Something is, and something holds it.
        """
        from aegis_deploy.kubernetes.client import ApiError

        try:
            found = self._judging.standing()
        except (ApiError, AegisError) as error:
            self.out.warn(f"whether something is being deleted is not known\n{error}")
            return
        for it in found.unknown:
            self.out.warn(f"whether something is being deleted is not known\n{it}")
        if found.going:
            raise AegisError(
                what=f"what is declared in {self.stack} is being deleted",
                why="\n".join(found.going),
                next="see to what holds it; once it is gone the same command makes it again; "
                "--force deploys meanwhile, and verifies nothing",
            )
        # One that has done its work may have been tidied away, which is no reason to run it again.
        if any(not it.startswith(_DONE) for it in found.gone):
            self._refreshes = True
            self.out.warn(f"is gone, and is made again: {', '.join(found.gone)}")

    def interference(
        self, workloads: Sequence[Workload], ran: Ran, verdict: Verdict | None
    ) -> str | None:
        """Say what from outside made a release fail; None when it failed by itself."""
        return self._judging.interference(workloads, ran, verdict)

    def connected(self) -> Cluster:
        """Return the cluster that the stack's settings lead to."""
        return self._judging.connected()

    def require_cluster(self) -> None:
        """Make sure that the clusters answer and know who asks, before anything is changed.

        Raises:
            AegisError: One does not.
        """
        from aegis_deploy.kubernetes.client import require_answer

        for part in self.clusters.all():
            require_answer(part.connect(), f"{self.stack}{within(part.name)}")

    # Inside

    def _kept(self, command: str) -> AbstractContextManager[None]:
        """Keep a timeline of what happens in the block, for `aegis report`."""
        return timeline_store.kept(self.session, self._recording, command, self.out.warn)

    def _warm(self) -> None:
        # What is wrong is said when it is wanted, not here.
        with suppress(Exception):
            self.connected()
            import_module("aegis_deploy.gate.analysis")
            import_module("aegis_deploy.replay.program")
