"""How a deploy is told that did not end with its own release, verified. Pure.

How far the update was says what is true now, and what can be typed next.
"""

from __future__ import annotations

from collections.abc import Sequence

from aegis_deploy.common.errors import AegisError, ExitCode
from aegis_deploy.flows.decisions import Next, cause, lost
from aegis_deploy.flows.rollback_report import RollbackReport, named
from aegis_deploy.model.events import Outcome
from aegis_deploy.model.release import Release
from aegis_deploy.model.verdict import Verdict
from aegis_deploy.pulumi_cli import field_conflicts

_WAYS: Sequence[str] = ("aegis rollback", "aegis recover", "aegis history")
"""What an advice has in it that says how to get to another release, the first by its number."""


def ended(
    stack: str,
    step: Next,
    outcome: Outcome,
    verdict: Verdict | None,
    serving: str,
    *,
    way_back: bool,
) -> AegisError:
    """Word a deploy that failed or was stopped, and was not rolled back.

    Args:
        stack: The stack.
        step: What was decided to follow.
        outcome: What the update came to.
        verdict: What was seen of it; None when nothing was.
        serving: What serves, in a few words.
        way_back: Whether there is a release that a rollback would restore.
    """
    why = cause(outcome, verdict)
    if step is Next.GIVE_UP:
        return AegisError(
            what=f"the release failed on {stack} before it changed anything that runs",
            why=why,
            state=serving or "what ran before runs on",
            next=f"correct it, then: aegis deploy --stack {stack}",
        )
    if step is Next.STOP:
        return _stopped(stack, outcome, verdict, serving, way_back=way_back)
    if step is Next.LOST:
        return lost(
            stack, "during the deploy", why, who="cluster" if verdict is None else verdict.silent
        )
    return AegisError(
        what=f"the release failed on {stack}",
        why=why,
        state=_and("not rolled back, as asked", serving),
        next=back(stack, way_back=way_back),
        code=ExitCode.NOT_ROLLED_BACK,
    )


def rolled_back_before(stack: str, why: str, serving: str = "") -> AegisError:
    """Word a deploy that is refused, for what it would deploy was rolled back.

    Args:
        stack: The stack.
        why: Why it was.
        serving: What serves, where an update had begun.
    """
    return AegisError(
        what=f"this release was rolled back from {stack} before",
        why=why,
        state=serving or "nothing that runs was changed",
        next="aegis config restore brings the settings in line with what runs; "
        "--force deploys it all the same",
    )


def not_verified(stack: str, verdict: Verdict) -> AegisError:
    """Word a deploy of which something is held on its way out."""
    return AegisError(
        what=f"what was deployed to {stack} is not verified",
        why=verdict.reason,
        state=f"it is deployed and passed its gate; {verdict.serving}",
        next="see to what holds it; once it is gone this makes it again and verifies all of it: "
        f"aegis deploy --stack {stack}",
        code=ExitCode.NOT_ROLLED_BACK,
    )


def stuck(stack: str, why: str, refusal: AegisError, serving: str, *, way_back: bool) -> AegisError:
    """Word a release that failed and could not be rolled back.

    Args:
        stack: The stack.
        why: Why it failed.
        refusal: Why it could not be rolled back.
        serving: What serves, in a few words.
        way_back: Whether there is a release that a rollback would restore.
    """
    return AegisError(
        what=f"the release failed on {stack} and could not be rolled back",
        why=f"{why}\nno rollback: {refusal.what}: {refusal.why}",
        state=serving or "the failed release is what is deployed",
        next=once_mended(stack, refusal.next, way_back=way_back),
        code=ExitCode.NOT_ROLLED_BACK,
    )


def rolled_back(
    stack: str, report: RollbackReport, why: str, *, failed: int | None, excused: bool
) -> AegisError:
    """Word a release that failed and was replaced by the last verified one.

    Args:
        stack: The stack.
        report: What the rollback came to.
        why: Why the release failed.
        failed: The number of the release that failed; None when it could not be recorded.
        excused: Whether it failed for no fault of its own.
    """
    state = f"rolled back to {named(report.target, report.deployed)}, verified"
    for words, own in (("not deleted", False), ("not as it was", True)):
        these = ", ".join(it.resource for it in report.stays if it.own is own)
        state += f"; {words}: {these}" if these else ""
    return AegisError(
        what=f"the release failed on {stack}",
        why=why,
        state=state,
        next=_once_more(stack, why) if excused else _compared(stack, report.target, failed),
        code=ExitCode.ROLLED_BACK,
        details={"failed": failed, "rollback": report.as_json()},
    )


def once_mended(stack: str, advice: str, *, way_back: bool) -> str:
    """Say how to go on after a rollback that nobody typed was refused.

    Args:
        stack: The stack.
        advice: What was said against the cause of that.
        way_back: Whether there is a release that a rollback would restore.
    """
    if way_back:
        enough, more = _WAYS, f"once that is mended: aegis recover --stack {stack}"
    else:
        enough, more = _WAYS[:1], f"with what mends it: aegis deploy --stack {stack}"
    if any(way in advice for way in enough):
        return advice
    return "\n".join(filter(None, (advice, more)))


def back(stack: str, *, way_back: bool) -> str:
    """Say how to get away from a release that is not good.

    Args:
        stack: The stack.
        way_back: Whether there is a release that a rollback would restore.
    """
    if way_back:
        return f"aegis rollback --stack {stack}"
    return f"correct it, then: aegis deploy --stack {stack}"


def _once_more(stack: str, why: str) -> str:
    """Say how to deploy again what was rolled back for no fault of the release."""
    again = f"aegis deploy --stack {stack}"
    mended = field_conflicts.advice(why, stack)
    if mended:
        return f"it is not held to be bad\n{mended}\nthen: {again}"
    return f"it is not held to be bad: {again} deploys it again"


def _compared(stack: str, target: Release, failed: int | None) -> str:
    """Say how to see what was wrong, and how to get it out of the settings."""
    shown = "aegis history" if failed is None else f"aegis diff {target.number} {failed}"
    return (
        f"{shown} --stack {stack} shows what was changed; "
        f"aegis config restore --stack {stack} takes it out of the settings"
    )


def _stopped(
    stack: str, outcome: Outcome, verdict: Verdict | None, serving: str, *, way_back: bool
) -> AegisError:
    why, recover = cause(outcome, verdict), f"aegis recover --stack {stack}"
    if outcome.succeeded and (verdict is None or verdict.lost):
        why = "a signal came before the gate had judged the release"
        state, following = "the release is deployed and not verified", f"{recover} has it judged"
    elif outcome.succeeded:
        state = "the release is deployed, and is not good"
        following = back(stack, way_back=way_back)
    elif outcome.touched:
        state, following = "the stack is between two releases", recover
    else:
        state, following = "nothing that runs was changed", f"aegis deploy --stack {stack}"
    return AegisError(
        what=f"the deploy to {stack} was interrupted",
        why=why,
        state=_and(state, serving),
        next=following,
        code=ExitCode.INTERRUPTED,
    )


def _and(state: str, serving: str) -> str:
    return "; ".join(filter(None, (state, serving)))
