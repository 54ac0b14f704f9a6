"""What to do next, decided from what has happened. Pure; the flows act on it."""

from __future__ import annotations

from dataclasses import replace
from enum import Enum

from aegis_deploy.common.errors import AegisError, ExitCode
from aegis_deploy.model.events import Outcome
from aegis_deploy.model.gate_settings import INGRESS, UNSET, GateSettings
from aegis_deploy.model.verdict import Verdict


class Next(Enum):
    """What follows an update."""

    JUDGE = "let the gate judge what is running now"
    KEEP = "the release is good"
    STOP = "a signal asked to stop; leave everything to `aegis recover`"
    LOST = "the cluster or the database stopped answering; nothing is known, so nothing is undone"
    GIVE_UP = "it failed before it changed anything; there is nothing to undo"
    LEAVE = "it failed, and nobody wants a rollback"
    RESTORE = "it failed; restore the last verified release"


def after_update(
    outcome: Outcome,
    evidence: Verdict | None,
    *,
    interrupted: bool,
    roll_back: bool,
) -> Next:
    """Decide what follows an update.

    Args:
        outcome: What the update came to.
        evidence: What was seen of its rollout that cannot become good; None when nothing was.
        interrupted: Whether a signal asked to stop meanwhile.
        roll_back: Whether a failed release is to be replaced by the last verified one.
    """
    if interrupted:
        return Next.STOP
    if evidence is not None and evidence.lost:
        return Next.LOST
    if outcome.succeeded and evidence is None:
        return Next.JUDGE
    if not outcome.succeeded and not outcome.touched:
        return Next.GIVE_UP
    return Next.RESTORE if roll_back else Next.LEAVE


def after_judgement(verdict: Verdict, *, interrupted: bool, roll_back: bool) -> Next:
    """Decide what follows the gate's verdict on a complete rollout."""
    if verdict.passed:
        return Next.KEEP
    if interrupted:
        return Next.STOP
    if verdict.lost:
        return Next.LOST
    return Next.RESTORE if roll_back else Next.LEAVE


def cause(outcome: Outcome, verdict: Verdict | None) -> str:
    """Return why a release failed, with the evidence, for a person.

    What was seen in the cluster comes first: an update that was stopped for it says only that it
    was stopped.
    """
    if verdict is not None and not verdict.passed:
        return "\n".join([verdict.reason, *verdict.evidence])
    return outcome.why or outcome.text or "the update failed and gave no reason"


def headline(text: str) -> str:
    """Return the first line of a cause, for a history's message or a mark."""
    return next((line.strip() for line in text.splitlines() if line.strip()), "unknown")


def lost(
    stack: str,
    during: str,
    why: str,
    *,
    who: str = "cluster",
    state: str = "",
    command: str = "recover",
) -> AegisError:
    """Word that the cluster or the database stopped answering in the middle of something.

    Args:
        stack: The stack's name.
        during: The middle of what.
        why: What was seen last.
        who: Which of them: cluster or database.
        state: What is known of what runs.
        command: What goes on from there.
    """
    return AegisError(
        what=f"the {who} of {stack} stopped answering {during}",
        why=why,
        state=state or f"nothing was undone; {unknown(who)}",
        next=f"once it answers: aegis {command} --stack {stack}",
        code=ExitCode.NOT_ROLLED_BACK,
    )


def unknown(who: str) -> str:
    """Return what nobody knows of a release when the cluster, or the database, does not answer."""
    if who == "database":
        return "whether what serves works with its data is not known"
    return "what serves is not known"


def gate_of_rollback(own: GateSettings | None, standard: GateSettings | None) -> GateSettings:
    """Decide what a rollback is judged by.

    What describes the release is its own: the path, whether it names its version, how long it may
    take to start. How closely it is looked at, and what is asked of its answers, is the stricter
    of its own gate and the one that a release passed last: an old, lax gate does not weaken the
    judgement, and the gate of a release that failed, which may be the very mistake, has no say.

    Args:
        own: The gate the release was deployed with; None when it had none.
        standard: The gate of the newest verified release; None when there is none.
    """
    if own is None or standard is None:
        return own or standard or UNSET
    return replace(
        own,
        bake_seconds=max(own.bake_seconds, standard.bake_seconds),
        success_ratio=max(own.success_ratio, standard.success_ratio),
        p99_ms=min(own.p99_ms, standard.p99_ms),
        probe_rate=max(own.probe_rate, standard.probe_rate),
        crashes=min(own.crashes, standard.crashes),
        prometheus=own.prometheus or standard.prometheus,
        # A release without a way in is asked straight, whatever this says.
        through=INGRESS if INGRESS in (own.through, standard.through) else own.through,
        address=own.address or standard.address,
        ca=own.ca or standard.ca,
    )
