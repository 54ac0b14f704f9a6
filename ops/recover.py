"""Putting a stack in order after whoever worked on it died.

Owns the diagnosis, the decision, and the repair of the state: orphaned locks are taken away and
pending operations settled. Restoring a release is `rollback`, to which `Decision.target` leads.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import Enum
from typing import TYPE_CHECKING, Any

from ops import history
from ops.errors import AegisError
from ops.locks import Holder, Life, clear, holders
from ops.ownership import KEPT as _KEPT
from ops.ownership import judge_entered
from ops.records import UNREADABLE
from ops.release import Release

if TYPE_CHECKING:
    from ops.process import Machine
    from ops.stack import Session

_CLUSTER_WIDE = frozenset(
    {
        "APIService",
        "CSIDriver",
        "CSINode",
        "ClusterRole",
        "ClusterRoleBinding",
        "CustomResourceDefinition",
        "FlowSchema",
        "IngressClass",
        "MutatingWebhookConfiguration",
        "Namespace",
        "Node",
        "PersistentVolume",
        "PriorityClass",
        "PriorityLevelConfiguration",
        "RuntimeClass",
        "StorageClass",
        "ValidatingAdmissionPolicy",
        "ValidatingAdmissionPolicyBinding",
        "ValidatingWebhookConfiguration",
        "VolumeAttachment",
    }
)


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
        type: creating, updating, deleting, reading, importing.
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
    """

    stack: str
    holders: tuple[Holder, ...] = ()
    pending: tuple[Pending, ...] = ()
    last: Release | None = None
    verified: Release | None = None
    unrecorded: bool = False
    aimed: Release | None = None

    @property
    def left_behind(self) -> tuple[Holder, ...]:
        """What belongs to nobody who lives."""
        return tuple(holder for holder in self.holders if holder.life is not Life.HELD)

    @property
    def interrupted(self) -> bool:
        """Whether somebody ended in the middle of an operation."""
        return bool(self.pending or self.left_behind or self.unrecorded)

    @property
    def says(self) -> tuple[str, ...]:
        """The findings, a line each."""
        lines = [f"{_kind(holder)} of {holder}: {holder.why}" for holder in self.holders]
        lines += [f"never confirmed: {pending}" for pending in self.pending]
        if self.unrecorded:
            lines.append("the state was changed by something that the history does not have")
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


@dataclass(frozen=True)
class Settled:
    """What was repaired in the state.

    Attributes:
        cleared: The locks and claims that were taken away.
        confirmed: Creations whose objects the state knows now, should they exist.
        forgotten: Operations that were dropped: the next refresh sees what they did.
        unknown: Creations nobody can look up by name: their objects may exist, and are listed.
        since: When what was begun was begun, as far as a lock or a claim says.
        foreign: Of those confirmed, whose objects turned out to be somebody else's.
    """

    cleared: tuple[Holder, ...] = ()
    confirmed: tuple[Pending, ...] = ()
    forgotten: tuple[Pending, ...] = ()
    unknown: tuple[Pending, ...] = ()
    since: datetime | None = None
    foreign: tuple[Pending, ...] = ()

    @property
    def interrupted(self) -> bool:
        """Whether an operation was cut short in its middle."""
        begun = self.confirmed or self.forgotten or self.unknown
        return bool(begun or any(holder.lock is not None for holder in self.cleared))

    def __bool__(self) -> bool:
        """Whether there was anything to settle."""
        return bool(self.cleared or self.confirmed or self.forgotten or self.unknown)


@dataclass
class Repair:
    """A state whose pending operations are settled.

    Attributes:
        deployment: The state.
        confirmed: See `Settled`.
        forgotten: See `Settled`.
        unknown: See `Settled`.
    """

    deployment: dict[str, Any]
    confirmed: list[Pending] = field(default_factory=list)
    forgotten: list[Pending] = field(default_factory=list)
    unknown: list[Pending] = field(default_factory=list)


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
    releases = history.releases(session)
    operations = session.export()["deployment"].get("pending_operations") or ()
    who = tuple(holders(session, here) if found is None else found)
    last = next((release for release in releases if release.deploys), None)
    return Diagnosis(
        stack=session.name,
        holders=who,
        pending=tuple(_pending(operation) for operation in operations),
        last=last,
        verified=next((it for it in releases if _is_good(it)), None),
        unrecorded=is_unrecorded(session),
        aimed=_aimed(releases, who, last),
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
    whole = not diagnosis.pending and not diagnosis.unrecorded
    complete = whole and not failed and last is not None
    if complete and "deploy" in intents and not _has_lock(diagnosis):
        if last is not None and last.verified:
            return Decision(Action.NOTHING, None, f"release {last.number} is verified")
        return Decision(Action.JUDGE, last, "its deployer died before the gate's verdict")
    if diagnosis.aimed is not None:
        return Decision(Action.RESTORE, diagnosis.aimed, "a rollback did not come to its end")
    why = "the last update failed" if failed else "an update was cut short"
    if verified is None:
        return Decision(Action.FINISH, None, f"{why}, and no release is verified")
    return Decision(Action.RESTORE, verified, why)


def _whole(last: Release | None) -> Decision:
    """Decide where nothing was left half-done."""
    if last is not None and last.restores is not None and not last.verified:
        # Stopped while the gate judged it, or it failed there: nobody else comes back to it.
        return Decision(Action.JUDGE, last, "a rollback was never seen to be healthy")
    return Decision(Action.NOTHING, None, "nothing was left half-done")


def settle(
    session: Session,
    *,
    take: bool = False,
    here: Machine | None = None,
    mine: str | None = None,
    over: Sequence[Holder] = (),
) -> Settled:
    """Take away what the dead left, and settle what they had begun.

    The state is then as true as it can be without asking the cluster: a refresh comes next, and
    every restore begins with one. A creation that may have been done is entered with the name it
    asked for, so that the refresh finds its object, or finds it missing; forgetting it would
    leave the object in the cluster, in the way of the next release that wants the same name.

    Args:
        session: The stack.
        take: Whether to take away also a lock that cannot be told from a living one's.
        here: This machine.
        mine: The id of the caller's own claim, which stays.
        over: Whose claim and locks the caller took over when it made its own.

    Raises:
        AegisError: Somebody alive holds the stack, or it cannot be told and may not be taken.
    """
    # When the update began that was cut short: its lock was taken then.
    locks = [*session.store.locks(), *(it.lock for it in over if it.lock is not None)]
    since = min((it.since for it in locks if it.since), default=None)
    cleared = clear(session, take=take, here=here, mine=mine)
    state = session.export()
    if not (state["deployment"].get("pending_operations") or ()):
        return Settled(cleared=tuple(cleared))
    repair = settle_operations(state["deployment"])
    session.import_state({**state, "deployment": repair.deployment})
    return Settled(
        cleared=tuple(cleared),
        confirmed=tuple(repair.confirmed),
        forgotten=tuple(repair.forgotten),
        unknown=tuple(repair.unknown),
        since=since,
    )


def tidy(
    session: Session,
    *,
    take: bool = False,
    mine: str | None = None,
    over: Sequence[Holder] = (),
) -> Settled:
    """Settle what the dead left, and bring the state in line with the cluster if anything was.

    What a deploy or a rollback begins with; costs nothing when nothing was left.

    Args:
        session: The stack.
        take: As for `settle`.
        mine: As for `settle`.
        over: As for `settle`.

    Raises:
        AegisError: As `settle` does, or the cluster could not be asked.
    """
    settled = settle(session, take=take, mine=mine, over=over)
    if settled:
        refresh(session)
        settled = disown(session, settled)
    return settled


def disown(session: Session, settled: Settled) -> Settled:
    """After the refresh, let go of what was entered and turned out to be somebody else's.

    Whoever died may not have come to the creation: an object of that name may have been there
    before. Entered as its own, it would be deleted with the release.
    """
    if not settled.confirmed:
        return settled
    state = session.export()
    entered = {it.urn for it in settled.confirmed}
    foreign, resources = judge_entered(
        state["deployment"].get("resources") or (), entered, settled.since
    )
    session.import_state({**state, "deployment": {**state["deployment"], "resources": resources}})
    return replace(
        settled,
        confirmed=tuple(it for it in settled.confirmed if it.urn not in foreign),
        foreign=tuple(it for it in settled.confirmed if it.urn in foreign),
    )


def refresh(session: Session) -> None:
    """Bring the state in line with the cluster, after what was left has been settled.

    Raises:
        AegisError: The cluster could not be asked.
    """
    outcome = session.refresh(message="aegis: refresh after an update was cut short")
    if not outcome.succeeded:
        raise AegisError(
            what=f"{session.name} could not be refreshed after an update was cut short",
            why=outcome.why,
            state="locks and pending operations are settled; what serves, serves on",
            next="aegis recover, once the cluster answers",
        )


def settle_operations(deployment: Mapping[str, Any]) -> Repair:
    """Settle the pending operations of a state. Pure."""
    resources = [dict(resource) for resource in deployment.get("resources") or ()]
    repair = Repair({**deployment, "pending_operations": []})
    known = {(item["urn"], item.get("id")) for item in resources}
    urns = {item["urn"] for item in resources if not item.get("delete")}
    for operation in deployment.get("pending_operations") or ():
        pending, resource = _pending(operation), operation["resource"]
        if pending.type != "creating" or not resource.get("custom"):
            repair.forgotten.append(pending)
            continue
        name = object_id(resource)
        if name is None:
            repair.unknown.append(pending)
        elif (pending.urn, name) in known:
            repair.forgotten.append(pending)
        else:
            # Until it is known whose it is, nothing may delete it; see `disown`.
            entered = {**resource, "id": name, "outputs": resource.get("outputs") or {}}
            entered[_KEPT] = True
            if pending.urn in urns:
                # The creation of a replacement: the old one is what serves, and this one goes.
                entered["delete"] = True
            resources.append(entered)
            known.add((pending.urn, name))
            urns.add(pending.urn)
            repair.confirmed.append(pending)
    repair.deployment["resources"] = resources
    return repair


def object_id(resource: Mapping[str, Any]) -> str | None:
    """The provider's name for an object of Kubernetes that was to be created; None for others."""
    kind = str(resource["type"])
    metadata = (resource.get("inputs") or {}).get("metadata")
    if not kind.startswith("kubernetes:") or not isinstance(metadata, dict):
        return None
    name, namespace = metadata.get("name"), metadata.get("namespace")
    if not isinstance(name, str) or not name:
        return None
    if kind.rpartition(":")[2] in _CLUSTER_WIDE:
        return name
    return f"{namespace if isinstance(namespace, str) and namespace else 'default'}/{name}"


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
        return history.unrecorded(session, history.newest(session))
    except AegisError:
        return False  # The last checkpoint cannot be read; the state, of which it is a copy, can.


def _pending(operation: Mapping[str, Any]) -> Pending:
    return Pending(operation["resource"]["urn"], operation["type"])


def _has_lock(diagnosis: Diagnosis) -> bool:
    return any(holder.lock is not None for holder in diagnosis.left_behind)


def _kind(holder: Holder) -> str:
    kind = "a lock" if holder.lock is not None else "a claim"
    return f"{kind}, {holder.life.value},"
