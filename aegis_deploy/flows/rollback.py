"""Going back to a release: what is done, in which order.

A rollback refreshes first, restores everything the release declared as a new update, and is judged
by the gate itself: one that does not come up healthy is the loudest thing this program says. What
is said of it is :mod:`flows.rollback_report`, and :mod:`flows.rollback_endings` where it failed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from aegis_deploy.common.errors import AegisError, ExitCode
from aegis_deploy.common.signals import Interrupted
from aegis_deploy.drift.external_changes import GOING
from aegis_deploy.flows import marking, workloads
from aegis_deploy.flows import rollback_endings as endings
from aegis_deploy.flows.change_lines import NO_CHANGES, in_order, stay_lines
from aegis_deploy.flows.decisions import cause, gate_of_rollback, headline
from aegis_deploy.flows.rollback_report import (
    RollbackReport,
    command_to,
    message,
    planned_report,
    summary_lines,
)
from aegis_deploy.history import stack_history
from aegis_deploy.history.rollback_target import again, choose
from aegis_deploy.locking import reconnect
from aegis_deploy.locking.lock_holders import ROLLBACK
from aegis_deploy.model import declared
from aegis_deploy.model.fingerprint import fingerprint, images_of_state
from aegis_deploy.model.release import Deployed, Release
from aegis_deploy.model.verdict import Verdict
from aegis_deploy.registry.image_registry import Presence
from aegis_deploy.replay import choices as replay_choices
from aegis_deploy.report import timeline_store

if TYPE_CHECKING:
    from aegis_deploy.flows.context import FlowContext
    from aegis_deploy.model.gate_settings import GateSettings
    from aegis_deploy.operations.update_runner import Ran
    from aegis_deploy.replay.choices import Choices
    from aegis_deploy.replay.model import Replay

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


def rollback(flow: FlowContext, request: RollbackRequest) -> RollbackReport:
    """Roll a stack back because a person wants it.

    Raises:
        AegisError: It was refused before any change, or did not come up healthy.
    """
    with (
        flow.takeover.claimed(ROLLBACK, "rollback", request.wait_seconds),
        timeline_store.kept(flow.session, flow.recorder, ROLLBACK, flow.out.warn),
        flow.takeover.guarded(request.guard),
    ):
        return roll_back(flow, request)


def roll_back(
    flow: FlowContext, request: RollbackRequest, first: Callable[[], None] | None = None
) -> RollbackReport:
    """Roll a stack back that is claimed already.

    Args:
        flow: The stack.
        request: What was asked for.
        first: What to do before the update, once nothing refuses it any more.

    Raises:
        AegisError: As `rollback` says.
    """
    stack, releases = flow.session.name, stack_history.reading(flow.session)
    to = flow.takeover.aimed if request.to is None else request.to
    flow.schema_reader.look()
    target = choose(
        releases, to, interrupted=flow.takeover.cut_short, misfit=flow.schema_reader.misfit
    )
    deployed = stack_history.deployed(flow.session, target)
    with ThreadPoolExecutor(1) as beside:
        asked = beside.submit(flow.look_up_images, deployed.images)
        replay = flow.replay_planner.plan(target, request.choices)
        if not request.preview:
            replay.require(
                allow_data_loss=request.choices.allow_data_loss,
                command=command_to(target, stack),
            )
        refuse_gone(flow, target, asked.result())
    report = announced(flow, target, deployed, replay)
    if request.preview or not request.yes:
        report = replace(report, changes=_previewed(flow, replay, target))
        for line in report.changes:
            flow.out.show(line)
        if request.preview:
            return report
        if not flow.out.confirm(f"Roll {stack} back to release {target.number}?"):
            raise AegisError(what="not confirmed", state="nothing was changed")
    if first is not None:
        first()
    failed = next((it for it in releases if it.current), None)
    resources = flow.session.resources() if failed is not None else ()
    runs = images_of_state(resources)
    # One that failed is recorded with what was declared before, where it failed.
    declares = declared.of_state(resources) if failed is not None and failed.succeeded else ""
    standard = next((it for it in releases if it.verified), None)
    done = restore(flow, target, replay, why="", standard=standard, choices=request.choices)
    taken = failed is not None and failed.restores is None and failed.whole
    if failed is not None and taken and not again(releases, failed, target):
        why = f"rolled back by hand to release {target.number}"
        remember(flow, failed, runs, why, declares)
    return finished(report, done)


def refuse_gone(flow: FlowContext, target: Release, found: Sequence[Presence]) -> None:
    """Refuse a release whose image is gone; say which ones nobody could ask for.

    Raises:
        AegisError: An image is gone from its registry.
    """
    gone = [it.image for it in found if it.there is False]
    if gone:
        raise endings.images_gone(target, gone)
    for it in found:
        if it.there is None:
            flow.out.warn(f"nobody can say whether {it.image} is still there: {it.why}")


def announced(
    flow: FlowContext, target: Release, deployed: Deployed, replay: Replay
) -> RollbackReport:
    """Say what a rollback means, before it is done; return its report as far as it is known."""
    report = planned_report(target, deployed, replay)
    for line in summary_lines(report):
        flow.out.show(line)
    return report


def _previewed(flow: FlowContext, replay: Replay, target: Release) -> tuple[str, ...]:
    """Say what a rollback would change, in the order in which it does."""
    more = tuple(f"  change {it}, which is taken back into the state" for it in replay.altered)
    try:
        changes = flow.replay_runner.preview(replay, target)
    except AegisError as error:
        if not (replay.first.goes or replay.first.leads):
            raise
        # The cluster is asked for each change, which goes through what blocks it.
        flow.out.warn(
            "what the records say is shown, for the cluster does not let itself be asked before "
            f"what comes first is done\n{error.why}"
        )
        return (*more, *in_order(replay, None))
    # The preview knows nothing of what the state does not have yet.
    shown = in_order(replay, changes)
    return more if more and shown == NO_CHANGES else (*shown, *more)


def planned(flow: FlowContext, target: Release, choices: Choices = replay_choices.NONE) -> Replay:
    """Plan the restoring of a release after an update of this very work, which failed.

    One that did not hear what became of a creation leaves it pending: the object may be there, in
    the way of the next update or for good. So that is settled first.

    Raises:
        AegisError: The state cannot be read or settled.
    """
    replay = flow.replay_planner.plan(target, choices)
    if replay.pending:
        flow.takeover.settle()
        replay = flow.replay_planner.plan(target, choices)
    return replay


def restore(
    flow: FlowContext,
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
        flow: The stack.
        target: The release.
        replay: Its replay.
        why: Why it is done with nobody asking; empty when a person did.
        standard: The newest verified release: its gate is what was last held to be good.
        choices: How it is restored.

    Raises:
        AegisError: It did not come up healthy, or a signal ended it.
    """
    stack = flow.session.name
    flow.takeover.becomes(ROLLBACK, target)
    last = None if standard is None else flow.gate_runner.recorded_gate(standard)
    gate = gate_of_rollback(flow.gate_runner.recorded_gate(target), last)
    began = False
    replaced: list[str] = []
    for left in reversed(range(_ATTEMPTS)):
        judged = workloads.of_state(flow)
        with _worded(stack, target, began=began):
            ran = flow.replay_runner.restore(replay, target, message(target, why), judged, gate)
        replaced += ran.replaced
        began = began or ran.outcome.succeeded or ran.outcome.touched
        _require_end(flow, target, ran, last=not left, began=began)
        verdict = ran.evidence
        with _worded(stack, target, began=began):
            if left and verdict is None and _reconnected(flow, ran):
                replay = planned(flow, target, choices)
                continue
            if ran.outcome.succeeded and verdict is None:
                verdict = _judge(flow, target, gate, replay)
                if verdict.passed:
                    newest = stack_history.recorded(flow.session, ran.outcome)
                    accept(flow, target, newest, replay)
                    return Restored(newest, verdict, ran.outcome.duration, replay, tuple(replaced))
        # What the watch saw may be older than what it says of the end.
        serving = ran.serving if verdict is None or ran.evidence else verdict.serving
        killed = ran.outcome.killed
        untold = (
            flow.gate_runner.untold(judged, gate, verdict, ran.outcome)
            if began and not killed
            else None
        )
        if untold is not None:
            # It was good with its data once, and nobody can tell now.
            raise endings.cluster_lost(stack, target, replace(untold, serving=serving))
        outside = _KILLED if killed else flow.gate_runner.external_cause(judged, ran, verdict)
        reason = cause(ran.outcome, verdict)
        if verdict is not None and verdict.kind == GOING:
            raise endings.incomplete(stack, target, verdict)
        if not began and (outside is None or not left):
            raise endings.not_begun(stack, target, reason)
        if outside is None or not left:
            raise endings.unhealthy(stack, target, reason, serving)
        flow.out.warn(f"{headline(reason)}\n{outside}; it is restored once more")
        try:
            if killed:
                flow.takeover.settle()
            replay = planned(flow, target, choices)
        except AegisError as error:
            why_not = f"{reason}\nnot restored once more: {error.what}: {error.why}"
            if not began:
                raise endings.not_begun(stack, target, why_not) from error
            raise endings.unhealthy(stack, target, why_not, serving) from error
    raise AssertionError("the last attempt returns or raises")


@contextmanager
def _worded(stack: str, target: Release, *, began: bool) -> Iterator[None]:
    """Word what is refused in the block once the rollback has changed something."""
    try:
        yield
    except AegisError as error:
        if not began or error.code is not ExitCode.REFUSED:
            raise
        unhealthy = endings.unhealthy(stack, target, f"{error.what}: {error.why}")
        unhealthy.again = True
        raise unhealthy from error


def _require_end(flow: FlowContext, target: Release, ran: Ran, *, last: bool, began: bool) -> None:
    """Go on only where the update came to an end of its own, or may be tried again.

    Args:
        flow: The stack.
        target: The release.
        ran: The update.
        last: Whether it is not tried again.
        began: Whether anything that runs was changed.

    Raises:
        AegisError: A signal, the cluster's silence or, at last, a death ended it.
    """
    stack = flow.session.name
    if flow.signals.interrupted and not ran.outcome.succeeded:
        raise endings.interrupted(stack, target, ran, began=began)
    if ran.evidence is not None and ran.evidence.lost:
        raise endings.cluster_lost(stack, target, ran.evidence)
    if ran.outcome.killed and last:
        raise endings.cut_short(stack, target, ran)


def _reconnected(flow: FlowContext, ran: Ran) -> bool:
    return reconnect.reconnected(flow.session, ran.outcome, flow.out.warn)


def _judge(flow: FlowContext, target: Release, gate: GateSettings, replay: Replay) -> Verdict:
    """Let the gate judge what was restored.

    Raises:
        AegisError: A signal or the cluster's silence ended it.
    """
    try:
        verdict = flow.gate_runner.judge(
            workloads.of_state(flow), gate, whole=True, apart=replay.kept
        )
    except Interrupted as signal:
        raise endings.unjudged(flow.session.name, target, signal) from signal
    if verdict.lost:
        raise endings.cluster_lost(flow.session.name, target, verdict)
    return verdict


def accept(flow: FlowContext, target: Release, newest: Release | None, replay: Replay) -> None:
    """Remember that a release which was restored is good, and say what stays beside it.

    Args:
        flow: The stack.
        target: The release.
        newest: The rollback that restored it; None when the history does not have it.
        replay: What says what stays.

    Raises:
        AegisError: That could not be written down.
    """
    stack = flow.session.name
    if replay.stays:
        flow.out.warn("\n".join(stay_lines(replay, stack, command_to(target, stack))))
    marking.mark_verified(flow, newest, restored=True)
    # What runs again and passed its gate is not refused, whoever wanted it back.
    resources = flow.session.resources()
    images = images_of_state(resources)
    runs = None if images is None else fingerprint(images, target.config)
    marking.pardon(flow, runs, target.key, declared.of_state(resources))


def remember(
    flow: FlowContext, failed: Release, images: str | None, why: str, declares: str
) -> None:
    """Remember what was rolled back, so that nobody deploys it again by mistake.

    Args:
        flow: The stack.
        failed: The release.
        images: Its images; None when they are not known.
        why: Why it was rolled back.
        declares: What it declared, as `model.declared` has it; empty when that is not known.
    """
    if images is None:
        flow.out.warn("what was rolled back cannot be recognised again: its images are not known")
        return
    marking.refuse(flow, failed, fingerprint(images, failed.config), headline(why), declares)


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
