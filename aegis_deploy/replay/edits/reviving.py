"""Objects that a failed update left behind, and that the release to be restored still means.

A failed update that replaces an autonamed object leaves the old one in the cluster and, pending
its deletion, in the state. Restoring the release means that very object: creating it would fail
("already exists"), and so would everything after it. Its record is exchanged for that of its
replacement: the old object is the resource again, the replacement is what waits to be deleted,
which the replay does last. Nothing in the cluster is touched by that, and it is the truth about it.

A deployer that dies between the deletion of an object and the making of its replacement leaves the
record of the old one, marked as one whose replacement is pending. The next update makes the
replacement and then deletes the old one after all, by its name, and the new object is gone (engine
3.259.0). So the mark goes before the update, whose refresh sees whether there is an object.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from aegis_deploy.stack.checkpoint import RETAINED, UNMADE, Checkpoint, Resource


@dataclass(frozen=True)
class Revival:
    """An object that waits to be deleted and is the release's own.

    Attributes:
        urn: Its URN.
        resource: What a person calls it.
        id: What its provider calls it.
        instead_of: What its provider calls the replacement; empty when there is none.
        left: Whether the replacement's object is left in the cluster, since it holds data.
    """

    urn: str
    resource: str
    id: str
    instead_of: str = ""
    left: bool = False


def find(targets: Sequence[Resource], current: Checkpoint) -> list[Revival]:
    """Find the targets whose very object waits to be deleted."""
    alive = current.alive
    waiting = {(item.urn, item.id): item for item in current.resources if item.delete and item.id}
    providers = {f"{item.urn}::{item.id}" for item in alive.values() if item.is_provider}
    found = []
    for target in targets:
        left = waiting.get((target.urn, target.id)) if target.custom else None
        # One that an older, since replaced provider manages is not this resource any more.
        if left is None or target.is_provider or left.provider not in providers:
            continue
        replacement = alive.get(target.urn)
        if replacement is None:
            found.append(Revival(left.urn, left.label, left.id))
        elif replacement.provider == left.provider and replacement.id != left.id:
            found.append(Revival(left.urn, left.label, left.id, replacement.id))
    return found


def revive(state: Mapping[str, Any], revivals: Sequence[Revival]) -> dict[str, Any]:
    """Exchange the records in a state, as `pulumi stack export` prints it. Pure: returns a copy.

    The records change places too, so that everything still comes after what it depends on. Marks
    of replacements that are yet to be made are taken away.
    """
    revived = copy.deepcopy(dict(state))
    resources = revived["deployment"].get("resources", [])
    for item in resources:
        item.pop(UNMADE, None)
    for revival in revivals:
        places = {
            (item.get("id"), bool(item.get("delete"))): place
            for place, item in enumerate(resources)
            if item["urn"] == revival.urn
        }
        left = places[(revival.id, True)]
        del resources[left]["delete"]
        if revival.instead_of:
            replacement = places[(revival.instead_of, False)]
            resources[replacement]["delete"] = True
            if revival.left:
                # It cannot be in the state as well: there both have one URN.
                resources[replacement][RETAINED] = True
            resources[replacement], resources[left] = resources[left], resources[replacement]
    return revived
