"""Objects that a release wants, that are in the cluster, and that the state has no more.

``pulumi state delete`` and ``pulumi state move`` leave an object where it is and forget it, and so
does a refresh while something is away for a moment. To create it would fail ("already exists") in
the middle of things. What was this stack's own is taken back into the state, as it was last
recorded, and the update makes of it what the release says; what is somebody else's is refused
before anything is changed.

Ours is, for certain, what a record of this stack knows by the UID that the cluster gave it, or what
the field manager writes that the provider chose at random for that one object.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from aegis_deploy.common.errors import AegisError
from aegis_deploy.drift import live_objects
from aegis_deploy.drift.detection import deleted_at, is_object, named
from aegis_deploy.stack import checkpoint
from aegis_deploy.stack.checkpoint import Checkpoint, Resource, outline, plain

if TYPE_CHECKING:
    from aegis_deploy.kubernetes.client import Cluster, Object
    from aegis_deploy.model.release import Release
    from aegis_deploy.stack.session import Session

_LOOK_BACK = 50
"""So many releases are asked whether an object was theirs. The newest ones know nearly always."""
_OWN_MANAGER = re.compile(r"pulumi-kubernetes-[0-9a-f]{8}")
"""A field manager that the provider made up for one object. Others are shared, or chosen."""
_MOVED = {
    **dict.fromkeys(("Deployment", "DaemonSet", "ReplicaSet"), "apps"),
    **dict.fromkeys(("Ingress", "NetworkPolicy"), "networking.k8s.io"),
}
"""The API groups that the kinds of the group ``extensions`` went to."""

_RENDERS = "renderYamlToDirectory"
"""The setting of a provider by which it writes to files, and to no cluster."""

_UPSERTS = "upsertExistingObjects"
_UPSERTS_ALL = "PULUMI_K8S_UPSERT_EXISTING_OBJECTS"
"""The setting of a provider, and the variable, by which it takes over whatever is there already."""

Connect = Callable[[Resource | None], "Cluster"]
"""Connects to the cluster that a provider leads to; None for one that is not known."""


@dataclass(frozen=True)
class Adoption:
    """What is to be taken back into the state.

    Attributes:
        ours: The objects by the URNs they are to have, each as it was last recorded.
        foreign: What is there and somebody else's, a line each.
    """

    ours: Mapping[str, Resource] = field(default_factory=dict, repr=False)
    foreign: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        """Whether anything was found."""
        return bool(self.ours or self.foreign)


NONE = Adoption()
"""Nothing was looked for, or nothing found."""


def taken(foreign: Sequence[str]) -> AegisError:
    """Word that somebody else's objects are where the stack's are to be."""
    return AegisError(
        what="the cluster has objects of the same names that are not this stack's",
        why="\n".join(foreign),
        next="delete or rename them, or, if they are to be this stack's: pulumi import",
    )


def kind_of(token: str) -> str:
    """Return a type token, the same for an object's kind in whatever version of its API."""
    package, _, rest = token.partition(":")
    place, _, kind = rest.rpartition(":")
    if package != "kubernetes" or not place:
        return token
    group = place.partition("/")[0]
    return f"{_MOVED.get(kind, group) if group == 'extensions' else group}:{kind}"


def is_same(recorded: Resource, live: Mapping[str, Any]) -> bool:
    """Return whether a live object is the very one that a record is of. Pure.

    Args:
        recorded: The record; of a state whose secrets are encrypted, too.
        live: The object.
    """
    metadata = live.get("metadata") or {}
    uid = _uid(recorded)
    if uid and uid == metadata.get("uid"):
        return True
    manager = str(plain(recorded.outputs.get("__fieldManager")) or "")
    writers = {str(it.get("manager")) for it in metadata.get("managedFields") or ()}
    return _OWN_MANAGER.fullmatch(manager) is not None and manager in writers


def look(
    session: Session,
    wanted: Sequence[Resource],
    providers: Mapping[str, Resource],
    both: tuple[Checkpoint, Checkpoint],
    *,
    releases: Iterable[Release],
    connect: Connect,
) -> Adoption:
    """Look for objects that are to be made anew and are there already.

    Args:
        session: The stack.
        wanted: The objects, of a release's.
        providers: The providers, as they will connect, by URN.
        both: What that release recorded, and the state.
        releases: The history since that release, newest first.
        connect: Connects to a provider's cluster.

    Raises:
        ApiError: A cluster does not answer.
        AegisError: There is no way to a cluster.
    """
    recorded, present = both
    there = _there(wanted, providers, connect)
    # What the state has by another name, or is about to delete, is not out of it.
    had = {_uid(it) for it in present.resources} - {""}
    found = {
        item.urn: (item, live)
        for item, live in there
        if live["metadata"].get("uid") not in had and not deleted_at(live)
    }
    ours: dict[str, Resource] = {}
    for release in _since(releases):
        if not (found.keys() - ours.keys()):
            break
        knows = _knows(session, release, [it for urn, it in found.items() if urn not in ours])
        # The release's own record, where what was recorded last cannot be decrypted any more.
        ours |= {urn: recorded.alive[urn] for urn in knows}
        ours |= _last_recorded(session, release, knows) if knows else {}
    for urn, (_, live) in found.items():
        if urn not in ours and is_same(recorded.alive[urn], live):
            ours[urn] = recorded.alive[urn]
    foreign = tuple(
        f"{named(item).label}: {_whose(live)}"
        for urn, (item, live) in found.items()
        if urn not in ours and not _takes_over(providers.get(item.provider_urn), session)
    )
    return Adoption({urn: _as_now(it, recorded.alive[urn]) for urn, it in ours.items()}, foreign)


def _there(
    wanted: Sequence[Resource], providers: Mapping[str, Resource], connect: Connect
) -> list[tuple[Resource, Object]]:
    """Read what is there, each object in its own provider's cluster."""
    found: list[tuple[Resource, Object]] = []
    for urn in dict.fromkeys(it.provider_urn for it in wanted):
        provider = providers.get(urn)
        if provider is not None and provider.inputs.get(_RENDERS):
            continue
        items = [it for it in wanted if it.provider_urn == urn]
        live = live_objects.read(connect(provider), items)
        found += [(it, thing) for it in items if (thing := live[it.urn].object) is not None]
    return found


def _takes_over(provider: Resource | None, session: Session) -> bool:
    told = None if provider is None else plain(provider.inputs.get(_UPSERTS))
    return "true" in {str(told).lower(), session.environment.get(_UPSERTS_ALL, "").lower()}


def _since(releases: Iterable[Release]) -> Iterable[Release]:
    return (it for it, _ in zip(releases, range(_LOOK_BACK), strict=False))


def _knows(
    session: Session, release: Release, found: Sequence[tuple[Resource, Object]]
) -> dict[str, Object]:
    """Say which objects a release's checkpoint knows as its own, by the URNs they are to have."""
    try:
        deployment = session.store.checkpoint(release)
    except AegisError:
        return {}
    records = [outline(it) for it in (deployment or {}).get("resources") or () if it.get("id")]
    return {
        item.urn: live
        for item, live in found
        if any(_is_of(it, item) and is_same(it, live) for it in records)
    }


def _last_recorded(
    session: Session, release: Release, knows: Mapping[str, Object]
) -> dict[str, Resource]:
    """Return the records of what a release knows, its secrets decrypted."""
    try:
        records = checkpoint.load(session, release).resources
    except AegisError:
        return {}
    return {
        urn: it
        for urn, live in knows.items()
        for it in records
        if is_same(it, live) and kind_of(it.type) == kind_of(_type(urn))
    }


def _as_now(record: Resource, target: Resource) -> Resource:
    """A record in the place of a release's resource; only what the object itself is, is taken."""
    if record.type != target.type:  # Of another version of the API.
        return target
    return replace(target, id=record.id, inputs=record.inputs, outputs=record.outputs)


def _is_of(record: Resource, item: Resource) -> bool:
    return record.id == item.id and kind_of(record.type) == kind_of(item.type)


def is_whole_object(item: Resource) -> bool:
    """Whether it is an object's own resource, and not one that changes somebody else's object."""
    declared = plain(item.inputs.get("kind"))
    kind = item.type.rpartition(":")[2]
    is_patch = kind.endswith("Patch") and declared != kind
    return is_object(item) and bool(item.id) and not is_patch


def _uid(item: Resource) -> str:
    metadata = plain(item.outputs.get("metadata"))
    return str(metadata.get("uid") or "") if isinstance(metadata, Mapping) else ""


def _type(urn: str) -> str:
    return urn.split("::")[2].rpartition("$")[2]


def _whose(live: Mapping[str, Any]) -> str:
    metadata = live.get("metadata") or {}
    writers = (str(it.get("manager")) for it in metadata.get("managedFields") or ())
    by = next((f", by {it}" for it in writers if it), "")
    return f"made {metadata.get('creationTimestamp', 'at some time')}{by}; no record here is of it"
