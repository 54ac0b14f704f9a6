"""Putting a stack in order after whoever worked on it died.

Owns the repair of the state: orphaned locks are taken away and pending operations settled. What
state it was left in, and what is to be done, says `diagnosis`; restoring a release is `rollback`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

from aegis_deploy.common.errors import AegisError, ExitCode
from aegis_deploy.history import stack_history
from aegis_deploy.locking.diagnosis import Pending, pending_of
from aegis_deploy.locking.lock_holders import Holder, clear
from aegis_deploy.locking.pending_creates import KEPT as _KEPT
from aegis_deploy.locking.pending_creates import judge_entered
from aegis_deploy.locking.reconnect import reconnected
from aegis_deploy.locking.refreshed import as_before
from aegis_deploy.model.cluster_scoped import in_no_namespace
from aegis_deploy.model.predecessor import Name
from aegis_deploy.pulumi_cli import left_providers
from aegis_deploy.stack import integrity
from aegis_deploy.stack.checkpoint import UNMADE

if TYPE_CHECKING:
    from aegis_deploy.common.process import Machine
    from aegis_deploy.stack.session import Session


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
        ended: What is told of providers that were at work still.
        mended: What did not hold together in the state.
    """

    cleared: tuple[Holder, ...] = ()
    confirmed: tuple[Pending, ...] = ()
    forgotten: tuple[Pending, ...] = ()
    unknown: tuple[Pending, ...] = ()
    since: datetime | None = None
    foreign: tuple[Pending, ...] = ()
    ended: tuple[str, ...] = ()
    mended: tuple[str, ...] = ()

    @property
    def interrupted(self) -> bool:
        """Whether an operation was cut short in its middle."""
        begun = self.confirmed or self.forgotten or self.unknown or self.mended
        return bool(begun or any(holder.lock is not None for holder in self.cleared))

    def __bool__(self) -> bool:
        """Whether there was anything to settle."""
        begun = self.confirmed or self.forgotten or self.unknown or self.mended
        return bool(self.cleared or begun)


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
    state, mended = _whole(session)
    deployment = state["deployment"]
    marked = any(it.get(UNMADE) for it in deployment.get("resources") or ())
    begun = bool(marked or deployment.get("pending_operations"))
    ended = left_providers.ended(session.directory) if begun or cleared or over else ()
    if not begun:
        return Settled(cleared=tuple(cleared), ended=ended, mended=mended)
    repair = settle_operations(deployment)
    session.import_state({**state, "deployment": repair.deployment})
    return Settled(
        cleared=tuple(cleared),
        confirmed=tuple(repair.confirmed),
        forgotten=tuple(repair.forgotten),
        unknown=tuple(repair.unknown),
        since=since,
        ended=ended,
        mended=mended,
    )


def _whole(session: Session) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Return the state, in which all that is referred to is there; and what was not.

    Raises:
        AegisError: It cannot be mended.
    """
    state = session.export()
    broken = integrity.faults(state["deployment"])
    if not broken:
        return state, ()
    now = Name(session.project, session.name)
    named = integrity.under_one_name(state["deployment"], now)
    left = integrity.faults(named)
    session.import_state({**state, "deployment": named}, force=bool(left))
    if left:
        session.repair_state()
    mended = session.export()
    if integrity.faults(mended["deployment"]):
        raise AegisError(
            what=f"the state of {session.name} does not hold together",
            why="\n".join(integrity.faults(mended["deployment"])),
            state="what could be mended of it is mended; what serves, serves on",
            next="take what is named out of it: pulumi state delete, or pulumi state edit; then "
            f"aegis recover --stack {session.name}",
            code=ExitCode.NOT_ROLLED_BACK,
        )
    return mended, broken


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
    message, before = "aegis: refresh after an update was cut short", session.export()
    outcome = session.refresh(message=message)
    if reconnected(session, outcome):
        outcome = session.refresh(message=message)
    if not outcome.succeeded:
        raise AegisError(
            what=f"{session.name} could not be refreshed after an update was cut short",
            why=outcome.why,
            state="locks and pending operations are settled; what serves, serves on",
            next=f"once that is mended: aegis recover --stack {session.name}",
        )
    state = as_before(before, session.export())
    if state is not None:
        stack_history.put(session, state)


def settle_operations(deployment: Mapping[str, Any]) -> Repair:
    """Settle the pending operations of a state, and replacements of which half was done. Pure."""
    resources = [dict(resource) for resource in deployment.get("resources") or ()]
    repair = Repair({**deployment, "pending_operations": []})
    for resource in resources:
        if resource.pop(UNMADE, None):  # See `revivals`.
            repair.forgotten.append(Pending(resource["urn"], "replacing"))
    known = {(item["urn"], item.get("id")) for item in resources}
    urns = {item["urn"] for item in resources if not item.get("delete")}
    for operation in deployment.get("pending_operations") or ():
        pending, resource = pending_of(operation), operation["resource"]
        if pending.type != "creating" or not resource.get("custom"):
            repair.forgotten.append(pending)
            continue
        name = object_id(resource, resources)
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


def object_id(
    resource: Mapping[str, Any], resources: Iterable[Mapping[str, Any]] = ()
) -> str | None:
    """The provider's name for an object of Kubernetes that was to be created; None for others.

    Args:
        resource: The resource.
        resources: Those of the state, which may tell whether a custom kind is in no namespace.
    """
    kind = str(resource["type"])
    metadata = (resource.get("inputs") or {}).get("metadata")
    if not kind.startswith("kubernetes:") or not isinstance(metadata, dict):
        return None
    name, namespace = metadata.get("name"), metadata.get("namespace")
    if not isinstance(name, str) or not name:
        return None
    said = namespace if isinstance(namespace, str) else ""
    if in_no_namespace(kind, () if said else resources):
        return name
    return f"{said or 'default'}/{name}"
