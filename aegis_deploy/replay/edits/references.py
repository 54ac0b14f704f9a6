"""Taking references out of a state, so that what they name can go while what names it stays. Pure.

A dependency says in which order things are made and deleted. What stays has been made; what it was
made after may go. The engine would keep that for its sake, and all that it was made after in turn,
or leave a state that does not hold together.
"""

from __future__ import annotations

import copy
from collections.abc import Collection, Mapping
from typing import Any


def cut(
    state: Mapping[str, Any], first: Collection[str], then: Collection[str] = ()
) -> dict[str, Any]:
    """Take references out of a state, as `pulumi stack export` prints it. Returns a copy.

    Parents and providers are left: what stays needs its own.

    Args:
        state: The state.
        first: The URNs that nothing may name any more.
        then: Those that only they themselves may name, and what only waits to be deleted, so that
            they are deleted in the right order.
    """
    changed = copy.deepcopy(dict(state))
    going = {*first, *then}
    for raw in changed["deployment"].get("resources") or ():
        gone = set(first) if raw["urn"] in going or raw.get("delete") else going
        for key in ("dependencies", "replaceWith"):
            if raw.get(key):
                raw[key] = [urn for urn in raw[key] if urn not in gone]
        if raw.get("propertyDependencies"):
            raw["propertyDependencies"] = {
                key: urns and [urn for urn in urns if urn not in gone]
                for key, urns in raw["propertyDependencies"].items()
            }
        if raw.get("deletedWith") in gone:
            del raw["deletedWith"]
    return changed
