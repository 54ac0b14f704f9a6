"""What is being deleted and would be in a replay's way: it is waited for, and made again. Pure.

An object on its way out takes changes and does nothing about them: a Deployment rolls out no more,
what is replaced is deleted no sooner. Nothing can be made in a namespace that ends, nor of a kind
whose definition does. What the replay leaves as it is holds nothing up; the gate waits for it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aegis_deploy.drift.detection import deleted_at
from aegis_deploy.replay.model import Replay
from aegis_deploy.stack.checkpoint import Checkpoint

_HOLDS_OTHERS = ("Namespace", "CustomResourceDefinition")


def in_the_way(
    replay: Replay, current: Checkpoint, live: Mapping[str, Mapping[str, Any] | None]
) -> tuple[str, ...]:
    """Return the URNs, as they are now, of what has to be gone before the replay begins.

    Args:
        replay: The replay.
        current: The stack's state now.
        live: The live objects, by the URNs of the replay.
    """
    present = current.alive
    found = []
    for item in replay.resources:
        there = live.get(item.urn)
        now = present.get(replay.present_urn(item.urn))
        if there is None or now is None or not deleted_at(there):
            continue
        if item.type.endswith(_HOLDS_OTHERS) or now.inputs != item.inputs:
            found.append(now.urn)
    return tuple(found)
