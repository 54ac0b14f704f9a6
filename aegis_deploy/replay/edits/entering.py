"""Putting records of a release into the state, before the update that restores it.

For what must not be created by the update, since it is there already: an image that was built
(`built_images`), an object that the program told Pulumi to leave when it went
(``retainOnDelete``), and one that somebody took out of the state alone (`adoption`): the cluster
has it still, and creating it would fail ("already exists"). The refresh finds out whether it is:
one that is gone after all is created.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from aegis_deploy.stack.checkpoint import STACK, Checkpoint, Resource, record


def is_left(item: Resource) -> bool:
    """Whether the object is left where it is when the resource goes."""
    managed = item.custom and not item.external and not item.is_provider
    return bool(managed and item.id and item.retained)


def absent(
    recorded: Checkpoint,
    current: Checkpoint,
    wanted: Callable[[Resource], bool],
    adopted: Mapping[str, Resource] | None = None,
) -> Mapping[str, Resource]:
    """What has to be entered into the state for some of the release's that is not there now.

    Args:
        recorded: What the release deployed.
        current: The state.
        wanted: Which of the release's resources.
        adopted: Objects that were seen there, by URN, as they were last recorded.

    Returns:
        Those by URN, each after what it needs: its provider and its parents. Not those of a
        program's own provider that is not there either, unless they were seen through it.
    """
    present, seen = current.alive, adopted or {}
    release = {**recorded.alive, **seen}
    entered: dict[str, Resource] = {}
    for item in release.values():
        provider = present.get(item.provider_urn) or release.get(item.provider_urn)
        if not wanted(item) or item.urn in present or provider is None:
            continue
        own = provider.urn not in present and not provider.is_default_provider
        if own and item.urn not in seen:
            continue
        needed = [item]
        for first in (item.provider_urn, item.parent):
            urn = first
            # What a provider manages is entered for itself, once it is known to be there.
            while urn in release and urn not in present and not _is_managed(release[urn]):
                needed.append(release[urn])
                urn = release[urn].parent
        reference = f"{provider.urn}::{provider.id}"
        for one in reversed(needed):
            known = {*present, *entered}
            entered[one.urn] = replace(
                one,
                provider=reference if one.urn == item.urn else one.provider,
                parent=one.parent if one.parent in known else _root(present),
                dependencies=tuple(urn for urn in one.dependencies if urn in known),
                options=_alone(one.options),
            )
    return entered


def put(state: Mapping[str, Any], records: Sequence[Resource]) -> dict[str, Any]:
    """Put records into a state, as `pulumi stack export` prints it. Pure: returns a copy.

    Of what is there the inputs, outputs and id are exchanged, and the rest stays: its place, and
    so what it is allowed to depend on.
    """
    changed = copy.deepcopy(dict(state))
    resources = changed["deployment"]["resources"]
    places = {it["urn"]: it for it in resources if not it.get("delete")}
    for item in records:
        raw = record(item)
        if item.urn not in places:
            resources.append(raw)
            continue
        there = places[item.urn]
        for key in ("id", "inputs", "outputs"):
            there.pop(key, None)
            if key in raw:
                there[key] = raw[key]
    return changed


def _is_managed(item: Resource) -> bool:
    return item.custom and not item.is_provider


def _root(present: Mapping[str, Resource]) -> str:
    return next((urn for urn, item in present.items() if item.type == STACK), "")


def _alone(options: Mapping[str, Any]) -> dict[str, Any]:
    """What is recorded beside it, without what names other resources."""
    naming = ("propertyDependencies", "deletedWith", "replaceWith")
    return {key: value for key, value in options.items() if key not in naming}
