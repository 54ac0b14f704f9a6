"""Deploying a release: what is done, in which order.

Preview, update, gate, mark. A release that fails is replaced by the last verified one with nobody
typing anything.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from aegis_deploy.common.errors import AegisError, ExitCode
from aegis_deploy.common.signals import Interrupted
from aegis_deploy.drift.detection import is_object
from aegis_deploy.drift.external_changes import GOING
from aegis_deploy.flows import deploy_endings as endings
from aegis_deploy.flows import marking, preconditions, workloads
from aegis_deploy.flows.change_lines import change_lines
from aegis_deploy.flows.decisions import (
    Next,
    after_judgement,
    after_update,
    cause,
    headline,
    lost,
    unknown,
)
from aegis_deploy.flows.rollback import (
    announced,
    finished,
    planned,
    remember,
    restore,
)
from aegis_deploy.flows.rollback_report import command_to
from aegis_deploy.history import stack_history, verification_store
from aegis_deploy.history.rollback_target import UNFIT, choose
from aegis_deploy.locking.lock_holders import DEPLOY
from aegis_deploy.model.fingerprint import fingerprint, images_of_steps, is_shown
from aegis_deploy.model.release import Deployed, Release
from aegis_deploy.model.verdict import AGAIN, Verdict
from aegis_deploy.report import timeline_store
from aegis_deploy.stack import checkpoint

if TYPE_CHECKING:
    from aegis_deploy.flows.context import FlowContext
    from aegis_deploy.model.events import Changes
    from aegis_deploy.model.gate_settings import GateSettings
    from aegis_deploy.model.release import Config
    from aegis_deploy.stack.checkpoint import Resource

DIGEST_SETTING = "imageDigest"


@dataclass(frozen=True, kw_only=True)
class DeployRequest:
    """What was asked for.

    Attributes:
        image_digest: The image to deploy; None means what the settings say.
        message: What history says about it.
        yes: Whether to go on without asking.
        roll_back: Whether a failed release is replaced by the last verified one.
        force: Whether to deploy also what was rolled back, what the registry does not have, or
            what nobody would reach from outside.
        wait_seconds: How long to wait for another deployer.
        guard: Whether another process goes back should this one die.
        policy_packs: Directories of policy packs that are asked before anything is changed.
    """

    image_digest: str | None = None
    message: str = ""
    yes: bool = False
    roll_back: bool = True
    force: bool = False
    wait_seconds: float = 0.0
    guard: bool = False
    policy_packs: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class DeployReport:
    """What a deploy came to.

    Attributes:
        release: The release that runs now, verified.
        deployed: What it runs.
        changed: Whether anything was changed.
        verdict: The gate's; None when nothing had to be judged.
        replaced: The pods that kept a StatefulSet from going on and were replaced.
        seconds: How long the update took.
    """

    release: Release | None
    deployed: Deployed
    changed: bool
    verdict: Verdict | None = None
    replaced: tuple[str, ...] = ()
    seconds: float = 0.0

    def as_json(self) -> dict[str, object]:
        """Return the report for machines."""
        return {
            "release": None if self.release is None else self.release.number,
            "version": self.deployed.version,
            "imageDigest": self.deployed.image_digest,
            "changed": self.changed,
            "gate": None if self.verdict is None else self.verdict.as_json(),
            "podsReplaced": list(self.replaced),
            "seconds": round(self.seconds, 3),
        }


def deploy(flow: FlowContext, request: DeployRequest) -> DeployReport:
    """Deploy what the program declares.

    Raises:
        AegisError: It was refused before any change, or failed; the code says whether the last
            verified release is restored.
    """
    with (
        flow.takeover.claimed(DEPLOY, request.message, request.wait_seconds),
        timeline_store.kept(flow.session, flow.recorder, DEPLOY, flow.out.warn),
        flow.takeover.guarded(request.guard),
    ):
        if request.image_digest is not None:
            # Not in the settings file, which must not name a release that nobody wants any more,
            # nor go back to an old one while the new one runs: it changes once that is good.
            flow.program_update.override(DIGEST_SETTING, request.image_digest)
        return deploy_claimed(flow, request)


def deploy_claimed(flow: FlowContext, request: DeployRequest) -> DeployReport:
    """Deploy what the program declares to a stack that is claimed already.

    Args:
        flow: The stack.
        request: What was asked for; its image, its time to wait and its guard were seen to.

    Raises:
        AegisError: As `deploy` says.
    """
    # Read once: what is refused, rolled out, judged and remembered is one and the same.
    settings = flow.program_update.settings()
    gate = flow.gate_runner.gate(settings)
    changes = _previewed(flow, request)
    for line in ("what changes:", *change_lines(changes), *_warnings(changes)):
        flow.out.show(line)
    releases = stack_history.reading(flow.session)
    current = next((it for it in releases if it.current), None)
    # After a targeted update, an import, or one that failed once all was changed, one that changes
    # nothing is the whole release: a record of the others is none to verify or to go back to.
    if not changes and (current is None or (current.whole and current.succeeded)):
        return _unchanged(flow, current, gate)
    refuse_forbidden(flow, changes)
    adopted = _adoptable(flow, changes)
    images = images_of_steps(changes.steps)
    _refuse_again(flow, images, settings, force=request.force)
    _refuse_missing(flow, changes, force=request.force)
    preconditions.require_fit(flow, changes)
    preconditions.require_routes(flow, changes, gate, force=request.force)
    _warn_of_no_way_back(flow, releases, request)
    if not request.yes and not flow.out.confirm(f"Deploy to {flow.session.name}?"):
        raise AegisError(what="not confirmed", state="nothing was changed")
    to_watch = workloads.to_watch(flow, changes)
    if to_watch:
        preconditions.require_clusters(flow)
    flow.program_update.adopt(adopted)
    ran = flow.program_update.update(request.message or "aegis: deploy", to_watch, gate)
    if AGAIN in ran.outcome.why:
        # The program's own gate: only the update knew the image, which it had to build first.
        raise endings.rolled_back_before(flow.session.name, ran.outcome.why, ran.serving)
    images = images_of_steps([*changes.steps, *ran.outcome.steps])
    step = after_update(
        ran.outcome,
        ran.evidence,
        interrupted=flow.signals.interrupted,
        roll_back=request.roll_back,
    )
    verdict, serving = ran.evidence, ran.serving
    if step is Next.JUDGE:
        verdict = _judge(flow, request, gate)
        if verdict.kind == GOING:
            # Going back would not keep it either.
            raise endings.not_verified(flow.session.name, verdict)
        serving = verdict.serving
        step = after_judgement(
            verdict, interrupted=flow.signals.interrupted, roll_back=request.roll_back
        )
    newest = stack_history.recorded(flow.session, ran.outcome)
    if step is Next.KEEP:
        _keep(flow, newest, images, settings)
        return DeployReport(
            release=newest,
            deployed=_told(flow, newest),
            changed=bool(changes),
            verdict=verdict,
            replaced=ran.replaced,
            seconds=ran.outcome.duration,
        )
    why = cause(ran.outcome, verdict)
    if step is Next.RESTORE:
        untold = flow.gate_runner.untold(to_watch, gate, verdict, ran.outcome)
        outside = flow.gate_runner.external_cause(to_watch, ran, untold or verdict)
        raise _restored(
            flow, newest, images, why, serving, outside=outside, killed=ran.outcome.killed
        )
    way_back = _has_way_back(flow, recorded=newest is not None)
    raise endings.ended(flow.session.name, step, ran.outcome, verdict, serving, way_back=way_back)


def _previewed(flow: FlowContext, request: DeployRequest) -> Changes:
    """Preview, and see meanwhile that what is declared stands: neither knows of the other.

    What is gone has the next update look at what there is, and so a preview that did not.
    """
    preview = partial(flow.program_update.preview, request.policy_packs)
    if request.force:
        return preview()
    refreshed, failed = flow.program_update.refreshes, None
    with ThreadPoolExecutor(1) as beside:
        looked = beside.submit(flow.gate_runner.standing)
        try:
            changes = preview()
        except AegisError as error:  # What is gone may be why.
            failed = error
        preconditions.require_standing(flow, looked.result)
    if flow.program_update.refreshes and not refreshed:
        return preview()
    if failed is not None:
        raise failed
    return changes


def _keep(flow: FlowContext, newest: Release | None, images: str | None, settings: Config) -> None:
    """Remember that a release is good, and that what it has in it may be deployed again."""
    try:
        marking.mark_verified(flow, newest)
    finally:
        flow.program_update.keep_overrides()
    if images is not None:
        declared = flow.program_update.declared
        marking.pardon(flow, fingerprint(images, settings), declared=declared)


def _adoptable(flow: FlowContext, changes: Changes) -> tuple[Resource, ...]:
    """Say what an update would make and is there already; see `operations.adopting`.

    Raises:
        AegisError: It is somebody else's.
    """
    found = flow.adopting.of_update(changes)
    # Their providers and components come with them, which no cluster has.
    for it in filter(is_object, found):
        flow.out.show(f"  adopted {it.label}: the cluster has it, the state no more")
    return found


def _told(flow: FlowContext, release: Release | None) -> Deployed:
    """Say what a release deployed, which is good whether or not that can be read."""
    try:
        return Deployed() if release is None else stack_history.deployed(flow.session, release)
    except AegisError as error:
        flow.out.warn(f"what was deployed cannot be told\n{error.what}: {error.why}")
        return Deployed()


def _judge(flow: FlowContext, request: DeployRequest, gate: GateSettings) -> Verdict:
    try:
        return flow.gate_runner.judge(workloads.of_state(flow), gate)
    except Interrupted as signal:
        raise AegisError(
            what=f"stopped by {signal} while the gate judged {request.message or 'the release'}",
            state="the release is deployed and not verified",
            next=f"aegis recover --stack {flow.session.name} lets the gate judge it; "
            "aegis rollback goes back now",
            code=ExitCode.INTERRUPTED,
        ) from signal


def _unchanged(flow: FlowContext, current: Release | None, gate: GateSettings) -> DeployReport:
    """Nothing is to be changed: make sure that what runs has passed its gate."""
    deployed = Deployed() if current is None else stack_history.deployed(flow.session, current)
    if current is None or current.verified:
        if current is not None:
            flow.program_update.keep_overrides()
        return DeployReport(release=current, deployed=deployed, changed=False)
    verdict = flow.gate_runner.judge(workloads.of_state(flow), gate)
    if verdict.lost:
        nothing = f"nothing was to be changed, and nothing was; {unknown(verdict.silent)}"
        raise lost(
            flow.session.name,
            "while the gate judged what runs",
            verdict.reason,
            who=verdict.silent,
            state=nothing,
            command="deploy",
        )
    if verdict.kind == GOING:
        raise endings.not_verified(flow.session.name, verdict)
    if not verdict.passed:
        raise AegisError(
            what=f"what runs in {flow.session.name} does not pass its gate",
            why="\n".join([verdict.reason, *verdict.evidence]),
            state="nothing was to be changed, and nothing was",
            next=endings.back(flow.session.name, way_back=_has_way_back(flow, recorded=True)),
            code=ExitCode.GATE_FAILED,
        )
    try:
        marking.mark_verified(flow, current)
    finally:
        flow.program_update.keep_overrides()
    return DeployReport(release=current, deployed=deployed, changed=False, verdict=verdict)


def refuse_forbidden(flow: FlowContext, changes: Changes) -> None:
    """Refuse what a mandatory policy forbids; warn of what another one is against.

    Raises:
        AegisError: A mandatory policy would be broken.
    """
    broken = [
        (
            it.mandatory,
            f"{it.rule}: {it.urn.rpartition('::')[2] or flow.session.name}: {it.message}",
        )
        for it in changes.violations
    ]
    for mandatory, line in broken:
        if not mandatory:
            flow.out.warn(f"policy {line}")
    if changes.forbidden:
        raise AegisError(
            what=f"policy forbids this release in {flow.session.name}",
            why="\n".join(line for mandatory, line in broken if mandatory),
            next=f"correct it, then: aegis deploy --stack {flow.session.name}",
        )


def _refuse_again(flow: FlowContext, images: str | None, settings: Config, *, force: bool) -> None:
    """Refuse what was rolled back before, unless somebody insists.

    Raises:
        AegisError: It was, and nobody does.
    """
    if images is None:
        return
    why = verification_store.why_refused(
        flow.session, fingerprint(images, settings), flow.program_update.declared
    )
    if why is None:
        return
    if force:
        flow.out.warn(f"this release was rolled back before, and is deployed anyway: {why}")
        return
    raise endings.rolled_back_before(flow.session.name, why)


def _warn_of_no_way_back(
    flow: FlowContext, releases: Sequence[Release], request: DeployRequest
) -> None:
    """Warn when the release that a rollback would restore cannot be read any more."""
    if not request.roll_back:
        return
    try:
        target = choose(releases, interrupted=True, misfit=flow.schema_reader.misfit)
    except AegisError as none:
        # A stack's first releases have none to go back to, which is no news.
        if none.what == UNFIT:
            flow.out.warn(
                f"if this release is bad, nothing can take its place: {none.what}\n{none.why}"
            )
        return
    fault = checkpoint.fault(flow.session, target)
    if fault is not None:
        flow.out.warn(
            f"if this release is bad, release {target.number} cannot be restored by itself: "
            f"{fault.what}\n{fault.next}"
        )


def _refuse_missing(flow: FlowContext, changes: Changes, *, force: bool) -> None:
    """Refuse an image that its registry does not have, or a registry that does not answer.

    Raises:
        AegisError: So it is, and nobody insists.
    """
    images = [image for step in changes.changed if is_shown(step) for image in step.images if image]
    found = flow.look_up_images(images)
    missing = [f"its registry does not have {it.image}" for it in found if it.there is False]
    silent = [f"{it.image}: {it.why}" for it in found if not it.reached]
    if not missing and not silent:
        return
    if force:
        flow.out.warn("\n".join([*missing, *silent]))
        return
    first = "push it first" if missing else "see that the registry is up and its address right"
    raise AegisError(
        what=f"an image of this release cannot be pulled to {flow.session.name}"
        if missing
        else f"nobody can say whether this release's image can be pulled to {flow.session.name}",
        why="\n".join([*missing, *silent]),
        next=f"{first}; --force deploys it all the same, for a registry that only nodes reach",
    )


def _restored(
    flow: FlowContext,
    failed: Release | None,
    images: str | None,
    why: str,
    serving: str,
    *,
    outside: str | None,
    killed: bool,
) -> AegisError:
    """Replace a failed release by the last verified one; return what to tell.

    Args:
        flow: The stack.
        failed: The release that failed; None when it ended before it could be recorded.
        images: Its images.
        why: Why it failed.
        serving: What serves.
        outside: What made it fail that is no fault of its own: it may then be deployed again.
        killed: Whether its CLI was, whose lock is then in the way of any update.
    """
    flow.out.warn(f"the release failed: {headline(why)}")
    if outside is not None and outside not in why:
        why = f"{why}\n{outside}"
    try:
        flow.schema_reader.look()
        target = choose(
            stack_history.reading(flow.session),
            interrupted=failed is None,
            misfit=flow.schema_reader.misfit,
        )
        flow.session.store.require_room()
        if killed:
            flow.takeover.settle()
        replay = planned(flow, target)
        replay.require(command=command_to(target, flow.session.name))
        deployed = stack_history.deployed(flow.session, target)
        report = announced(flow, target, deployed, replay)
        done = restore(flow, target, replay, why=why)
    except AegisError as refusal:
        if refusal.code is not ExitCode.REFUSED:
            raise
        way_back = _has_way_back(flow, recorded=failed is not None)
        return endings.stuck(flow.session.name, why, refusal, serving, way_back=way_back)
    if failed is not None and outside is None:
        remember(flow, failed, images, why, flow.program_update.declared)
    return endings.rolled_back(
        flow.session.name,
        finished(report, done),
        why,
        failed=None if failed is None else failed.number,
        excused=outside is not None,
    )


def _has_way_back(flow: FlowContext, *, recorded: bool) -> bool:
    """Whether there is a release that a rollback without a number would restore."""
    try:
        choose(
            stack_history.reading(flow.session),
            interrupted=not recorded,
            misfit=flow.schema_reader.misfit,
        )
    except AegisError:
        return False
    return True


def _warnings(changes: Changes) -> list[str]:
    return [f"  warning: {line}" for line in changes.warnings]
