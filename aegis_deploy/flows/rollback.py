"""Going back to a release: the order of things; what each does is in :mod:`flows.operations`.

A rollback refreshes first, restores everything the release declared as a new update, and is judged
by the gate itself: one that does not come up healthy is the loudest thing this program says.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from aegis_deploy.common.errors import AegisError, ExitCode
from aegis_deploy.common.signals import Interrupted
from aegis_deploy.drift.external_changes import GOING
from aegis_deploy.flows.change_lines import NOTHING, in_order, stay_lines
from aegis_deploy.flows.decisions import cause, gate_of_rollback, headline, lost
from aegis_deploy.history.rollback_target import again, choose
from aegis_deploy.locking.lock_holders import ROLLBACK
from aegis_deploy.model.fingerprint import fingerprint
from aegis_deploy.model.release import Deployed, Release
from aegis_deploy.model.verdict import Verdict
from aegis_deploy.pulumi_cli.cli_errors import installing
from aegis_deploy.registry.image_registry import Presence
from aegis_deploy.replay import choices as replay_choices

if TYPE_CHECKING:
    from aegis_deploy.flows.operations import Actions
    from aegis_deploy.flows.update_runner import Ran
    from aegis_deploy.model.gate_settings import GateSettings
    from aegis_deploy.replay.choices import Choices
    from aegis_deploy.replay.model import Replay
    from aegis_deploy.replay.retained import Stay

_ATTEMPTS = 3
"""A restore that an outage or somebody's hand made fail is tried so often, for nobody may watch."""
_KILLED = "somebody killed it"


@dataclass(frozen=True, kw_only=True)
class RollbackRequest:
    """What was asked for.

    Attributes:
        to: The release's number; None means the last verified one before the present.
        preview: Whether to show what it would do, and no more.
        yes: Whether to go on without asking.
        choices: How the release is restored.
        wait_seconds: How long to wait for another deployer.
        guard: Whether another process goes on should this one die.
    """

    to: int | None = None
    preview: bool = False
    yes: bool = False
    choices: Choices = replay_choices.NONE
    wait_seconds: float = 0.0
    guard: bool = False


@dataclass(frozen=True, kw_only=True)
class RollbackReport:
    """What a rollback came to.

    Attributes:
        target: The release restored.
        deployed: What it runs.
        release: The number the rollback itself has in the history; None for a preview.
        verdict: The gate's; None for a preview.
        secrets: The secrets that changed, and those whose value was kept.
        losses: The data that was destroyed.
        stays: What the release does not have, and was not deleted.
        first: What went before the rest.
        reruns: The jobs that ran again.
        left: What had been left in the cluster and was taken back.
        adopted: What the state had lost and the cluster has: taken back, too.
        foreign: What the cluster has under the same names and is not the stack's: it is refused.
        replaced: The pods that kept a workload from going back and were replaced.
        unjudged: What runs pods and is not looked at by the gate.
        connections: The providers whose connections stay as they are.
        owned: The fields that are left to control loops.
        changes: What a preview showed.
        seconds: How long the update took.
    """

    target: Release
    deployed: Deployed
    release: int | None = None
    verdict: Verdict | None = None
    secrets: tuple[str, ...] = ()
    losses: tuple[str, ...] = ()
    stays: tuple[Stay, ...] = ()
    first: tuple[str, ...] = ()
    reruns: tuple[str, ...] = ()
    left: tuple[str, ...] = ()
    adopted: tuple[str, ...] = ()
    foreign: tuple[str, ...] = ()
    replaced: tuple[str, ...] = ()
    unjudged: tuple[str, ...] = ()
    connections: tuple[str, ...] = ()
    owned: tuple[str, ...] = ()
    changes: tuple[str, ...] = ()
    seconds: float = 0.0

    def as_json(self) -> dict[str, object]:
        """Return the report for machines."""
        return {
            "restored": self.target.number,
            "version": self.deployed.version,
            "imageDigest": self.deployed.image_digest,
            "release": self.release,
            "gate": None if self.verdict is None else self.verdict.as_json(),
            "secrets": list(self.secrets),
            "dataLost": list(self.losses),
            "stays": list(map(str, self.stays)),
            "first": list(self.first),
            "runAgain": list(self.reruns),
            "takenBack": list(self.left),
            "adopted": list(self.adopted),
            "foreign": list(self.foreign),
            "podsReplaced": list(self.replaced),
            "notJudged": list(self.unjudged),
            "connectionsKept": list(self.connections),
            "leftToControlLoops": list(self.owned),
            "changes": list(self.changes),
            "seconds": round(self.seconds, 3),
        }


def rollback(actions: Actions, request: RollbackRequest) -> RollbackReport:
    """Roll a stack back because a person wants it.

    Raises:
        AegisError: It was refused before any change, or did not come up healthy.
    """
    with (
        actions.claimed(ROLLBACK, "rollback", request.wait_seconds),
        actions.guarded(request.guard),
    ):
        return roll_back(actions, request)


def roll_back(
    actions: Actions, request: RollbackRequest, first: Callable[[], None] | None = None
) -> RollbackReport:
    """Roll a stack back that is claimed already.

    Args:
        actions: The stack.
        request: What was asked for.
        first: What to do before the update, once nothing refuses it any more.

    Raises:
        AegisError: As `rollback` says.
    """
    releases = actions.releases()
    to = actions.aimed if request.to is None else request.to
    target = choose(releases, to, interrupted=actions.cut_short)
    deployed = actions.deployed(target)
    # Not before: the imports would hold up what the CLI is started for.
    actions.warm()
    with ThreadPoolExecutor(1) as beside:
        asked = beside.submit(actions.presence, deployed.images)
        replay = actions.replay(target, request.choices)
        if not request.preview:
            replay.require(
                allow_data_loss=request.choices.allow_data_loss,
                command=going_back(actions, target),
            )
        refuse_gone(target, asked.result(), actions)
    report = announced(actions, target, deployed, replay)
    if request.preview or not request.yes:
        report = replace(report, changes=_previewed(actions, replay, target))
        for line in report.changes:
            actions.out.show(line)
        if request.preview:
            return report
        if not actions.out.confirm(f"Roll {actions.stack} back to release {target.number}?"):
            raise AegisError(what="not confirmed", state="nothing was changed")
    if first is not None:
        first()
    failed = next((it for it in releases if it.current), None)
    runs = actions.images() if failed is not None else None
    # One that failed is recorded with what was declared before, where it failed.
    declares = actions.declared() if failed is not None and failed.succeeded else ""
    standard = next((it for it in releases if it.verified), None)
    done = restore(
        actions,
        target,
        replay,
        why="",
        standard=standard,
        choices=request.choices,
    )
    taken = failed is not None and failed.restores is None and failed.whole
    if failed is not None and taken and not again(releases, failed, target):
        why = f"rolled back by hand to release {target.number}"
        remember(actions, failed, runs, why, declares)
    return finished(report, done)


def announced(
    actions: Actions, target: Release, deployed: Deployed, replay: Replay
) -> RollbackReport:
    """Say what a rollback means, before it is done; return its report as far as it is known."""
    report = RollbackReport(
        target=target,
        deployed=deployed,
        secrets=secret_lines(replay),
        losses=tuple(f"{it.resource}: {it.what}; {it.why}" for it in replay.losses),
        stays=replay.stays,
        first=tuple(it.label for several in replay.first.goes for it in several),
        reruns=tuple(f"{it.resource}: {it.why}" for it in replay.reruns),
        left=replay.left,
        adopted=replay.adopted,
        foreign=replay.foreign,
        unjudged=replay.unjudged,
        connections=() if replay.connections is None else replay.connections.kept,
        owned=tuple(map(str, replay.owned)),
    )
    for line in summary_lines(report):
        actions.out.show(line)
    return report


@dataclass(frozen=True)
class Restored:
    """A release that was restored and judged.

    Attributes:
        release: The update that did it; None when the history does not have it.
        verdict: The gate's.
        seconds: How long the update took.
        replay: What was carried out.
        replaced: The pods that kept a workload from going back and were replaced, a line each.
    """

    release: Release | None
    verdict: Verdict
    seconds: float
    replay: Replay
    replaced: tuple[str, ...] = ()


def restore(
    actions: Actions,
    target: Release,
    replay: Replay,
    *,
    why: str,
    standard: Release | None = None,
    choices: Choices = replay_choices.NONE,
) -> Restored:
    """Restore a release and let the gate judge it.

    What is restored was good once. So when it fails for what befell it from outside, an outage or
    somebody's hand, it is restored once more.

    Args:
        actions: The stack.
        target: The release.
        replay: Its replay.
        why: Why it is done with nobody asking; empty when a person did.
        standard: The newest verified release: its gate is what was last held to be good.
        choices: How it is restored.

    Raises:
        AegisError: It did not come up healthy, or a signal ended it.
    """
    actions.becomes(ROLLBACK, target)
    last = None if standard is None else actions.recorded_gate(standard)
    gate = gate_of_rollback(actions.recorded_gate(target), last)
    began = False
    replaced: list[str] = []
    for left in reversed(range(_ATTEMPTS)):
        workloads = actions.workloads()
        with _begun(actions, target) if began else nullcontext():
            ran = actions.restore(replay, target, message(target, why), workloads, gate)
        replaced += ran.replaced
        began = began or ran.outcome.succeeded or ran.outcome.touched
        _require_end(actions, target, ran, last=not left, began=began)
        verdict = ran.evidence
        with _begun(actions, target) if began else nullcontext():
            if left and verdict is None and actions.reconnected(ran.outcome):
                replay = planned(actions, target, choices)
                continue
            if ran.outcome.succeeded and verdict is None:
                verdict = _judge(actions, target, gate, replay)
                if verdict.passed:
                    newest = actions.recorded(ran.outcome)
                    accept(actions, target, newest, replay)
                    return Restored(newest, verdict, ran.outcome.duration, replay, tuple(replaced))
        # What the watch saw may be older than what it says of the end.
        serving = ran.serving if verdict is None or ran.evidence else verdict.serving
        killed = ran.outcome.killed
        outside = _KILLED if killed else actions.interference(workloads, ran, verdict)
        reason = cause(ran.outcome, verdict)
        if verdict is not None and verdict.kind == GOING:
            raise _incomplete(actions, target, verdict)
        if not began and (outside is None or not left):
            raise _not_begun(actions, target, reason)
        if outside is None or not left:
            raise _unhealthy(actions, target, reason, serving)
        actions.out.warn(f"{headline(reason)}\n{outside}; it is restored once more")
        try:
            if killed:
                actions.settle()
            replay = planned(actions, target, choices)
        except AegisError as error:
            why_not = f"{reason}\nnot restored once more: {error.what}: {error.why}"
            if not began:
                raise _not_begun(actions, target, why_not) from error
            raise _unhealthy(actions, target, why_not, serving) from error
    raise AssertionError("the last attempt returns or raises")


def accept(actions: Actions, target: Release, newest: Release | None, replay: Replay) -> None:
    """Remember that a release which was restored is good, and say what stays beside it.

    Args:
        actions: The stack.
        target: The release.
        newest: The rollback that restored it; None when the history does not have it.
        replay: What says what stays.

    Raises:
        AegisError: That could not be written down.
    """
    if replay.stays:
        command = going_back(actions, target)
        actions.out.warn("\n".join(stay_lines(replay, actions.stack, command)))
    actions.mark_verified(newest, restored=True)
    _pardon(actions, target)


@contextmanager
def _begun(actions: Actions, target: Release) -> Iterator[None]:
    """Word what is refused in the block: before it the rollback had changed something."""
    try:
        yield
    except AegisError as error:
        if error.code is not ExitCode.REFUSED:
            raise
        unhealthy = _unhealthy(actions, target, f"{error.what}: {error.why}", "")
        unhealthy.again = True
        raise unhealthy from error


def planned(actions: Actions, target: Release, choices: Choices = replay_choices.NONE) -> Replay:
    """Plan the restoring of a release after an update of this very work, which failed.

    One that did not hear what became of a creation leaves it pending: the object may be there, in
    the way of the next update or for good. So that is settled first.

    Raises:
        AegisError: The state cannot be read or settled.
    """
    replay = actions.replay(target, choices)
    if replay.pending:
        actions.settle()
        replay = actions.replay(target, choices)
    return replay


def _require_end(actions: Actions, target: Release, ran: Ran, *, last: bool, began: bool) -> None:
    """Go on only where the update came to an end of its own, or may be tried again.

    Args:
        actions: The stack.
        target: The release.
        ran: The update.
        last: Whether it is not tried again.
        began: Whether anything that runs was changed.

    Raises:
        AegisError: A signal, the cluster's silence or, at last, a death ended it.
    """
    if actions.interrupted and not ran.outcome.succeeded:
        raise AegisError(
            what=f"the rollback of {actions.stack} to release {target.number} was interrupted",
            why=ran.outcome.why,
            state=_serving(
                "the stack is between two releases" if began else "it changed nothing that runs",
                ran.serving,
            ),
            next=f"aegis recover --stack {actions.stack}",
            code=ExitCode.INTERRUPTED,
        )
    if ran.evidence is not None and ran.evidence.lost:
        raise _lost(actions, target, ran.evidence)
    if ran.outcome.killed and last:
        raise AegisError(
            what=f"the rollback of {actions.stack} to release {target.number} was cut short",
            why=ran.outcome.why,
            state=_serving("the stack is between two releases", ran.serving),
            next=f"see to what kills it; aegis recover --stack {actions.stack} goes on with it",
            code=ExitCode.NOT_ROLLED_BACK,
        )


def _judge(actions: Actions, target: Release, gate: GateSettings, replay: Replay) -> Verdict:
    """Let the gate judge what was restored.

    Raises:
        AegisError: A signal or the cluster's silence ended it.
    """
    try:
        verdict = actions.judge(actions.workloads(), gate, whole=True, apart=replay.kept)
    except Interrupted as signal:
        raise AegisError(
            what=f"stopped by {signal} while the gate judged the rollback",
            state=f"release {target.number} is restored; nobody has seen yet that it is healthy",
            next=f"aegis recover --stack {actions.stack} lets the gate judge it",
            code=ExitCode.INTERRUPTED,
        ) from signal
    if verdict.lost:
        raise _lost(actions, target, verdict)
    return verdict


def _lost(actions: Actions, target: Release, verdict: Verdict) -> AegisError:
    during = f"during the rollback to release {target.number}"
    return lost(actions.stack, during, verdict.reason, state="what serves is not known")


def _pardon(actions: Actions, target: Release) -> None:
    """What runs again and passed its gate is not refused, whoever wanted it back."""
    images = actions.images()
    runs = None if images is None else fingerprint(images, target.config)
    actions.pardon(runs, target.key, actions.declared())


def remember(
    actions: Actions, failed: Release, images: str | None, why: str, declared: str
) -> None:
    """Remember what was rolled back, so that nobody deploys it again by mistake.

    Args:
        actions: The stack.
        failed: The release.
        images: Its images; None when they are not known.
        why: Why it was rolled back.
        declared: What it declared, as `model.declared` has it; empty when that is not known.
    """
    if images is None:
        actions.out.warn(
            "what was rolled back cannot be recognised again: its images are not known"
        )
        return
    actions.refuse(failed, fingerprint(images, failed.config), headline(why), declared)


def message(target: Release, why: str) -> str:
    """Word the history's message of a rollback; the history reads the number from it."""
    kind = "automated rollback" if why else "rollback"
    reason = f": {headline(why)}" if why else ""
    return f"aegis: {kind} to release {target.number}{reason}"


def named(target: Release, deployed: Deployed) -> str:
    """Name a release for a person: its number and version."""
    version = f" ({deployed.version})" if deployed.version else ""
    return f"release {target.number}{version}"


def refuse_gone(target: Release, found: Sequence[Presence], actions: Actions) -> None:
    """Refuse a release whose image is gone; say which ones nobody could ask for.

    Raises:
        AegisError: An image is gone from its registry.
    """
    gone = [it.image for it in found if it.there is False]
    if gone:
        raise AegisError(
            what=f"release {target.number} cannot be restored",
            why="\n".join(f"its image is gone from the registry: {image}" for image in gone),
            next="choose another release: aegis history",
        )
    for it in found:
        if it.there is None:
            actions.out.warn(f"nobody can say whether {it.image} is still there: {it.why}")


def going_back(actions: Actions, target: Release) -> str:
    """Return the command that goes back to a release."""
    return f"aegis rollback --to {target.number} --stack {actions.stack}"


def secret_lines(replay: Replay) -> tuple[str, ...]:
    """Say of every secret that differs what happens to it."""
    words = {
        "changed": "gets the release's value back",
        "added": "comes back",
        "removed": "goes",
    }
    return tuple(
        f"{it.resource}: {it.path} "
        + ("keeps its current value" if it.kept else words.get(it.change, it.change))
        for it in replay.secrets
    )


def summary_lines(report: RollbackReport) -> list[str]:
    """Say what a rollback means, before it is done."""
    target = report.target
    mark = "verified" if target.verified else "NOT verified by a gate"
    lines = [f"back to {named(target, report.deployed)} of {target.started:%Y-%m-%d %H:%M}, {mark}"]
    if not target.whole:
        lines.append(
            f"  part    it is a {target.operation}, which left what older ones had deployed"
        )
    lines += [f"  secret  {line}" for line in report.secrets]
    if any("value back" in line for line in report.secrets):
        lines.append("          to keep one as it is now: --keep KEY")
    lines += [f"  stays   {line} as it is now" for line in report.connections]
    if report.connections:
        lines.append("          to restore these as well: --restore-providers")
    lines += [f"  first   {it} goes before the rest, which it could block" for it in report.first]
    lines += [f"  stays   {line}" for line in report.stays]
    if any(it.for_its_data for it in report.stays):
        lines.append("          to delete what holds data as well: --allow-data-loss")
    lines += [f"  stays   {line}" for line in report.owned]
    lines += [f"  DATA    {line}" for line in report.losses]
    lines += [f"  again   {line}" for line in report.reruns]
    lines += [f"  back    {it}: the cluster may still have it; taken back" for it in report.left]
    lines += [f"  adopted {it}: the cluster has it, the state no more" for it in report.adopted]
    lines += [f"  FOREIGN {it}" for it in report.foreign]
    lines += [f"  ungated {it}: only the provider waits for it" for it in report.unjudged]
    return lines


def _previewed(actions: Actions, replay: Replay, target: Release) -> tuple[str, ...]:
    """Say what a rollback would change, in the order in which it does."""
    more = tuple(f"  change {it}, which is taken back into the state" for it in replay.altered)
    try:
        changes = actions.preview_replay(replay, target)
    except AegisError as error:
        if not (replay.first.goes or replay.first.leads):
            raise
        # The cluster is asked for each change, which goes through what blocks it.
        actions.out.warn(
            "what the records say is shown, for the cluster does not let itself be asked before "
            f"what comes first is done\n{error.why}"
        )
        return (*more, *in_order(replay, None))
    # The preview knows nothing of what the state does not have yet.
    shown = in_order(replay, changes)
    return more if more and shown == NOTHING else (*shown, *more)


def finished(report: RollbackReport, done: Restored) -> RollbackReport:
    """Return a rollback's report with what came of it."""
    number = None if done.release is None else done.release.number
    return replace(
        report,
        release=number,
        verdict=done.verdict,
        seconds=done.seconds,
        replaced=done.replaced,
        stays=done.replay.stays,
    )


def _serving(state: str, serving: str) -> str:
    return f"{state}; {serving}" if serving else state


def _not_begun(actions: Actions, target: Release, why: str) -> AegisError:
    """Word a rollback whose update failed before it changed anything that runs."""
    missing = installing(why)
    following = f"{missing}, then" if missing else "correct that, then"
    return AegisError(
        what=f"the rollback of {actions.stack} to release {target.number} could not begin",
        why=why,
        state="nothing that runs was changed",
        next=f"{following}: aegis rollback --to {target.number} --stack {actions.stack}",
    )


def _incomplete(actions: Actions, target: Release, verdict: Verdict) -> AegisError:
    return AegisError(
        what=f"the rollback of {actions.stack} to release {target.number} is not complete",
        why=verdict.reason,
        state=_serving("everything else is restored, and NOT verified", verdict.serving),
        next="see to what holds it; once it is gone, this makes it again: "
        f"aegis recover --stack {actions.stack}",
        code=ExitCode.NOT_ROLLED_BACK,
    )


def _unhealthy(actions: Actions, target: Release, why: str, serving: str) -> AegisError:
    return AegisError(
        what=f"THE ROLLBACK of {actions.stack} to release {target.number} DID NOT COME UP HEALTHY",
        why=why,
        state=_serving("the stack is NOT at a verified release", serving),
        next=f"aegis status --stack {actions.stack}; a person is needed now\n"
        f"once the cause is gone: aegis recover --stack {actions.stack}",
        code=ExitCode.NOT_ROLLED_BACK,
    )
