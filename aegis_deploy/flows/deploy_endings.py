"""How a deploy is told that did not end with a verified release, its own or the one before. Pure.

How far the update was says what is true now, and what can be typed next.
"""

from __future__ import annotations

from collections.abc import Sequence

from aegis_deploy.common.errors import AegisError, ExitCode
from aegis_deploy.flows.decisions import Next, cause, lost
from aegis_deploy.model.events import Outcome
from aegis_deploy.model.verdict import Verdict

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
        return lost(stack, "during the deploy", why)
    return AegisError(
        what=f"the release failed on {stack}",
        why=why,
        state=_and("not rolled back, as asked", serving),
        next=back(stack, way_back=way_back),
        code=ExitCode.NOT_ROLLED_BACK,
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
