"""Leaving in the cluster what an update is about to replace, for it holds data. Pure."""

from __future__ import annotations

import copy
from collections.abc import Collection, Mapping
from typing import Any

from aegis_deploy.stack.checkpoint import RETAINED


def retain(state: Mapping[str, Any], urns: Collection[str]) -> dict[str, Any]:
    """Mark records in a state, as `pulumi stack export` prints it. Returns a copy.

    Args:
        state: The state.
        urns: Whose objects stay when their resources go.
    """
    marked = copy.deepcopy(dict(state))
    for item in marked["deployment"].get("resources") or ():
        if item["urn"] in urns and not item.get("delete"):
            item[RETAINED] = True
    return marked
