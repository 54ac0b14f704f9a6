"""What state a stack was left in by whoever worked on it, and what brings it in order.

The finding reads and changes nothing; the decision is pure. Repair is `recover`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any

from aegis_deploy.backend.history_files import UNREADABLE
from aegis_deploy.common.errors import AegisError
from aegis_deploy.history import stack_history
from aegis_deploy.locking.lock_holders import CONTRACT, DEPLOY, ROLLBACK, Holder, Life, holders
from aegis_deploy.model.release import Release
from aegis_deploy.stack import integrity

if TYPE_CHECKING:
    from aegis_deploy.common.process import Machine
    from aegis_deploy.stack.session import Session


_UNRECORDED = "the state was changed by something that the history does not have"


class Action(Enum):
    """What brings a stack in order."""

    NOTHING = "nothing"
    """It is in order."""
    JUDGE = "judge"
    """The update is complete, but its deployer died before the gate's verdict."""
    RESTORE = "restore"
    """It was left in the middle of something, or its last update failed."""
    FINISH = "finish"
    """The same, but there is no verified release to go back to: what is there is kept."""


@dataclass(frozen=True)
class Pending:
    """An operation on a resource that was begun and never confirmed.

    Attributes:
        urn: The resource.
        type: creating, updating, deleting, reading, importing; replacing when of a replacement
            the deletion was done and the creation was not begun.
    """

    urn: str
    type: str

    def __str__(self) -> str:
        """Say what was being done to what."""
        return f"{self.type} {self.urn.rpartition('::')[2]}"


@dataclass(frozen=True)
class Diagnosis:
    """The state a stack is in.

    Attributes:
        stack: Its name.
        holders: Who has locks and claims on it, judged.
        pending: What was begun and never confirmed.
        last: The last release that could change what is deployed.
        verified: The newest verified release.
        unrecorded: Whether something changed the state that the history does not have.
        aimed: The release that a rollback which did not end was to restore.
        broken: What does not hold together in the state, so that the engine does not use it.
    """

    stack: str
    holders: tuple[Holder, ...] = ()
    pending: tuple[Pending, ...] = ()
    last: Release | None = None
    verified: Release | None = None
    unrecorded: bool = False
    aimed: Release | None = None
    broken: tuple[str, ...] = ()

    @property
    def left_behind(self) -> tuple[Holder, ...]:
        """What belongs to nobody who lives."""
        return tuple(holder for holder in self.holders if holder.life is not Life.HELD)

    @property
    def interrupted(self) -> bool:
        """Whether somebody ended in the middle of an operation."""
        return bool(self.pending or self.left_behind or self.unrecorded or self.broken)

    @property
    def says(self) -> tuple[str, ...]:
        """The findings, a line each."""
        lines = [f"{_kind(holder)} of {holder}: {holder.why}" for holder in self.holders]
        lines += [f"never confirmed: {pending}" for pending in self.pending]
        lines += [f"the state does not hold together: {it}" for it in self.broken]
        if self.unrecorded:
            lines.append(_UNRECORDED)
        if self.last is not None and not self.last.succeeded:
            lines.append(f"release {self.last.number}, the last, {self.last.result}")
        return tuple(lines)


@dataclass(frozen=True)
class Decision:
    """What to do about a diagnosis.

    Attributes:
        action: What to do.
        target: The release to restore, or to judge.
        why: Why, in a line.
    """

    action: Action
    target: Release | None
    why: str


def diagnose(
    session: Session, here: Machine | None = None, *, found: Sequence[Holder] | None = None
) -> Diagnosis:
    """Say what state the stack is in. Nothing is changed.

    Args:
        session: The stack.
        here: This machine.
        found: Who had locks and claims on it, when they were taken over already.

    Raises:
        AegisError: The state cannot be read; the error names the file and its newest backup.
    """
    releases = stack_history.reading(session)
    deployment = session.export()["deployment"]
    operations = deployment.get("pending_operations") or ()
    who = tuple(holders(session, here) if found is None else found)
    last = next((release for release in releases if release.deploys), None)
    return Diagnosis(
        stack=session.name,
        holders=who,
        pending=tuple(pending_of(operation) for operation in operations),
        last=last,
        verified=next((it for it in releases if _is_good(it)), None),
        unrecorded=is_unrecorded(session),
        aimed=_aimed(releases, who, last),
        broken=integrity.faults(deployment),
    )


def _is_good(release: Release) -> bool:
    return release.verified and not release.refused and release.result != UNREADABLE


def _aimed(
    releases: Sequence[Release], found: Sequence[Holder], last: Release | None
) -> Release | None:
    """The release that the dead one's claim, or the last update's message, says was restored."""
    dead = (it.claim for it in found if it.life is not Life.HELD and it.claim is not None)
    number = next((claim.target for claim in dead), None)
    if number is None and last is not None and not last.succeeded:
        number = last.restores
    if number is None:
        return None
    return next((it for it in releases if it.number == number and it.succeeded), None)


def decide(diagnosis: Diagnosis) -> Decision:
    """Say what brings the stack in order. Pure.

    A rollback that died is gone on with; a release that was complete is judged before it is
    undone; everything else that was left half-done goes back to the newest verified release.
    """
    last, verified = diagnosis.last, diagnosis.verified
    intents = {holder.claim.intent for holder in diagnosis.left_behind if holder.claim is not None}
    # Whether one that cannot be read failed nobody knows; what it began and left undone is seen.
    failed = last is not None and not last.succeeded and last.result != UNREADABLE
    if not diagnosis.interrupted and not failed:
        return _whole(last)
    whole = not (diagnosis.pending or diagnosis.unrecorded or diagnosis.broken)
    complete = whole and not failed
    if complete and last is not None and not _has_lock(diagnosis):
        if last.verified and (DEPLOY in intents or _was_only_meant(diagnosis)):
            return Decision(Action.NOTHING, None, f"release {last.number} is verified")
        if DEPLOY in intents:
            return Decision(Action.JUDGE, last, "its deployer died before the gate's verdict")
    if diagnosis.aimed is not None:
        return Decision(Action.RESTORE, diagnosis.aimed, "a rollback did not come to its end")
    only = diagnosis.unrecorded and not (diagnosis.pending or diagnosis.left_behind)
    cut = _UNRECORDED if only else "an update was cut short"
    why = "the last update failed" if failed else cut
    if verified is None:
        return Decision(Action.FINISH, None, f"{why}, and no release is verified")
    return Decision(Action.RESTORE, verified, why)


def _whole(last: Release | None) -> Decision:
    """Decide where nothing was left half-done."""
    if last is not None and last.restores is not None and not last.verified:
        # Stopped while the gate judged it, or it failed there: nobody else comes back to it.
        return Decision(Action.JUDGE, last, "a rollback was never seen to be healthy")
    return Decision(Action.NOTHING, None, "nothing was left half-done")


def explain(diagnosis: Diagnosis, decision: Decision) -> Sequence[str]:
    """Say what was found and what follows from it, a line each."""
    lines = list(diagnosis.says) or [f"{diagnosis.stack} is in order"]
    if decision.action is Action.RESTORE and decision.target is not None:
        lines.append(f"{decision.why}: back to release {decision.target.number}, verified")
    elif decision.action is not Action.NOTHING:
        lines.append(decision.why)
    return lines


def is_unrecorded(session: Session) -> bool:
    """Whether something changed the state that the history does not have, as far as it shows."""
    try:
        return stack_history.unrecorded(session, stack_history.newest(session))
    except AegisError:
        return False  # The last checkpoint cannot be read; the state, of which it is a copy, can.


def pending_of(operation: Mapping[str, Any]) -> Pending:
    """An operation as a state records it."""
    return Pending(operation["resource"]["urn"], operation["type"])


def _was_only_meant(diagnosis: Diagnosis) -> bool:
    """Whether whoever died had changed nothing of what is deployed.

    A claim to roll back gets its aim before anything is done; a contract is about the database.
    """
    claims = [holder.claim for holder in diagnosis.left_behind if holder.claim is not None]
    meant = all(
        it.intent == CONTRACT or (it.intent == ROLLBACK and it.target is None) for it in claims
    )
    return bool(claims) and meant


def _has_lock(diagnosis: Diagnosis) -> bool:
    return any(holder.lock is not None for holder in diagnosis.left_behind)


def _kind(holder: Holder) -> str:
    kind = "a lock" if holder.lock is not None else "a lease"
    return f"{kind}, {holder.life.value},"
