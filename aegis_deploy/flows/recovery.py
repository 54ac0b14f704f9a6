"""Putting a stack in order after whoever worked on it died: what is done, in which order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from aegis_deploy.common import temp_dir
from aegis_deploy.common.errors import AegisError, ExitCode
from aegis_deploy.drift.external_changes import ALTERED, GOING
from aegis_deploy.flows import marking, workloads
from aegis_deploy.flows.decisions import lost
from aegis_deploy.flows.rollback import (
    accept,
    announced,
    finished,
    refuse_gone,
    restore,
)
from aegis_deploy.flows.rollback_report import command_to
from aegis_deploy.history import stack_history
from aegis_deploy.history.diff import compare_settings
from aegis_deploy.history.rollback_target import numbered
from aegis_deploy.locking.diagnosis import Action, decide, diagnose, explain
from aegis_deploy.locking.lock_holders import RECOVERY
from aegis_deploy.locking.state_repair import disown, refresh, settle
from aegis_deploy.report import timeline_store

if TYPE_CHECKING:
    from aegis_deploy.flows.context import FlowContext
    from aegis_deploy.flows.rollback_report import RollbackReport
    from aegis_deploy.locking.diagnosis import Decision, Diagnosis
    from aegis_deploy.locking.lock_holders import Holder
    from aegis_deploy.locking.state_repair import Settled
    from aegis_deploy.model.release import Release
    from aegis_deploy.replay.limits.retained import Stay
    from aegis_deploy.replay.model import Replay

    _Done = tuple[RollbackReport | None, Sequence[Stay]]


@dataclass(frozen=True, kw_only=True)
class Recovered:
    """What was found, and what was done about it.

    Attributes:
        stack: The stack's name.
        action: nothing, judge, restore or finish.
        findings: What was found, a line each.
        repairs: What was repaired in the state, a line each.
        target: The release that was restored or judged.
        rollback: What was restored, as `aegis rollback --json` says it; None when nothing was.
        stays: What a rollback left although the release that runs does not have it, a line each.
        done: Whether it was done, or only looked at.
    """

    stack: str
    action: str
    findings: tuple[str, ...] = ()
    repairs: tuple[str, ...] = ()
    target: int | None = None
    rollback: Mapping[str, Any] | None = None
    stays: tuple[str, ...] = ()
    done: bool = True

    def as_json(self) -> dict[str, Any]:
        """Return it for machines."""
        return {
            "stack": self.stack,
            "action": self.action,
            "findings": list(self.findings),
            "repairs": list(self.repairs),
            "target": self.target,
            "rollback": self.rollback,
            "stays": list(self.stays),
            "done": self.done,
        }


def put_in_order(
    flow: FlowContext,
    *,
    take: bool = False,
    preview: bool = False,
    by: str = "",
    wait_seconds: float = 0.0,
) -> Recovered:
    """Find out what state a stack is in, and bring it to its verified release or finish.

    Args:
        flow: The stack.
        take: Whether to take away also a lock that cannot be told from a living one's.
        preview: Whether to say what would be done, and no more.
        by: Who does it, when it is no person; history is told.
        wait_seconds: How long to wait for those who live.

    Raises:
        AegisError: Somebody alive works on it, or what was restored did not come up healthy.
    """
    temp_dir.sweep()
    if not by:
        diagnosis = diagnose(flow.session)
        decision = decide(diagnosis)
        in_order = decision.action is Action.NOTHING and not diagnosis.interrupted
        if preview or in_order:
            return replace(_told(flow, diagnosis, decision), done=not preview)
    recovering = flow.takeover.recovering(by or "recovery", take=take, wait_seconds=wait_seconds)
    kept = timeline_store.kept(flow.session, flow.recorder, RECOVERY, flow.out.warn)
    with recovering as claim, kept:
        # Looked at once more: another recovery may have been quicker.
        diagnosis = diagnose(flow.session, found=claim.over)
        decision = decide(diagnosis)
        found = _told(flow, diagnosis, decision)
        settled = settle(flow.session, take=take, mine=claim.id, over=claim.over)
        repairs = tuple(_repairs(replace(settled, cleared=(*claim.over, *settled.cleared))))
        for line in repairs:
            flow.out.say(line)
        if settled.confirmed:
            # What was entered has to be looked at before anything could delete it.
            refresh(flow.session)
            for it in disown(flow.session, settled).foreign:
                line = f"not adopted, for it is not of the update that died: {it.urn}"
                flow.out.warn(line)
                repairs = (*repairs, line)
        report, stays = _act(flow, decision, diagnosis, by)
    restored = None if report is None else report.as_json()
    told = tuple(map(str, stays))
    return replace(found, repairs=repairs, rollback=restored, stays=told, done=True)


def _told(flow: FlowContext, diagnosis: Diagnosis, decision: Decision) -> Recovered:
    findings = tuple(explain(diagnosis, decision))
    for line in findings:
        flow.out.say(line)
    return Recovered(
        stack=flow.session.name,
        action=decision.action.value,
        findings=findings,
        target=decision.target.number if decision.target is not None else None,
        done=False,
    )


def _act(flow: FlowContext, decision: Decision, diagnosis: Diagnosis, by: str) -> _Done:
    if decision.action is Action.NOTHING:
        return None, ()
    if decision.action is Action.RESTORE and decision.target is not None:
        why = f"{by}: {decision.why}" if by else decision.why
        report = _restore(flow, decision.target, why)
        return report, report.stays
    if decision.action is Action.JUDGE and decision.target is not None:
        return _judge(flow, decision.target, diagnosis.verified, by)
    with flow.out.progress(f"refreshing {flow.session.name}"):
        refresh(flow.session)
    return None, ()


def _restore(flow: FlowContext, target: Release, why: str) -> RollbackReport:
    replay = flow.replay_planner.plan(target)
    replay.require(command=command_to(target, flow.session.name))
    deployed = stack_history.deployed(flow.session, target)
    refuse_gone(flow, target, flow.look_up_images(deployed.images))
    report = announced(flow, target, deployed, replay)
    return finished(report, restore(flow, target, replay, why=why))


def _compare_settings(flow: FlowContext, last: Release) -> None:
    """Say where the next deploy would take back what a dead deploy had set for itself."""
    differing = [it.what for it in compare_settings(last.config, flow.program_update.settings())]
    if differing:
        flow.out.warn(
            f"the settings are not those that release {last.number} runs with: "
            f"{', '.join(differing)}\n"
            f"the next deploy would change that: aegis config restore --stack {flow.session.name} "
            "brings the file in line with what runs"
        )


def _beside(flow: FlowContext, last: Release) -> tuple[Release, Replay] | None:
    """Return what a rollback restored, and what stays beside that; None when it was none.

    Where it cannot be read any more, nobody knows what of the state has to be there.
    """
    if last.restores is None:
        return None
    target = numbered(stack_history.reading(flow.session), last.restores)
    why = "the history does not have it any more"
    if target is not None:
        try:
            return target, flow.replay_planner.beside(target)
        except AegisError as error:
            why = f"{error.what}: {error.why}"
    flow.out.warn(f"what stays beside release {last.restores} is not known\n{why}")
    return None


def _judge(flow: FlowContext, last: Release, verified: Release | None, by: str) -> _Done:
    """Let the gate say what its deployer did not live to hear."""
    restored = last.restores is not None
    beside = _beside(flow, last)
    judged, gate = workloads.of_state(flow), flow.gate_runner.gate(last.config)
    verdict = flow.gate_runner.judge(
        judged,
        gate,
        whole=beside is not None,
        apart=() if beside is None else beside[1].kept,
    )
    verdict = flow.gate_runner.untold(judged, gate, verdict) or verdict
    if verdict.passed:
        if beside is None:
            marking.mark_verified(flow, last, restored=restored)
        else:
            accept(flow, beside[0], last, beside[1])
        _compare_settings(flow, last)
        return None, () if beside is None else beside[1].stays
    if verdict.lost:
        flow.takeover.deploys()
        raise lost(
            flow.session.name,
            f"while the gate judged release {last.number}",
            verdict.reason,
            who=verdict.silent,
        )
    # What did not come up healthy when it was restored would not when it is restored once more.
    again = verified is not None and last.restores in {verified.number, verified.restores}
    # But for what somebody took away from it.
    taken = verdict.kind in {ALTERED, GOING}
    if verified is None or (again and restored and not taken):
        left = "no release is verified" if verified is None else "it was a rollback already"
        raise AegisError(
            what=f"release {last.number} of {flow.session.name} did not pass its gate",
            why="\n".join([verdict.reason, *verdict.evidence]),
            state=f"release {last.number} is deployed, and {left}",
            next="aegis deploy, with what mends it",
            code=ExitCode.NOT_ROLLED_BACK,
        )
    report = _restore(flow, verified, f"{by}: {verdict.reason}" if by else verdict.reason)
    return report, report.stays


def _repairs(settled: Settled) -> list[str]:
    lines = [f"taken away: the {_kind(it)} of {it}" for it in settled.cleared]
    lines += settled.ended
    lines += [f"mended in the state: {it}" for it in settled.mended]
    lines += [f"entered, for the refresh to look: {it}" for it in settled.confirmed]
    lines += [f"left to the refresh: {it}" for it in settled.forgotten]
    lines += [f"may have been created, look for it: {it.urn}" for it in settled.unknown]
    return lines


def _kind(holder: Holder) -> str:
    return "lock" if holder.lock is not None else "claim"
