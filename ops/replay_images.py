"""The records of images that a release built: put into the state, never registered to be built.

Registering one would build it, from whatever the checkout holds now. What runs it names its digest,
so the cluster needs no build; but the state would go on to name the image of the release that was
left, and the next preview of the restored release's program would show a build. So the state gets
the release's own record first, and the update is told to leave it alone. Nothing in a registry is
touched by that.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from ops.checkpoint import STACK, Checkpoint, Resource, record

_IMAGES = frozenset({"docker:index/image:Image", "docker:image:Image"})
"""Deleting one of these deletes nothing, so a record of another can do no harm. Of others, such as
RegistryImage, the record says what a deletion takes out of the registry: theirs stay."""


def as_recorded(now: Resource, recorded: Resource) -> Resource:
    """An image as the state is to have it: the release's, in the place where it is now."""
    placed = replace(now, parent=recorded.parent)
    if now.type not in _IMAGES:
        return placed
    return replace(placed, id=recorded.id, inputs=recorded.inputs, outputs=recorded.outputs)


def differs(now: Resource, recorded: Resource) -> bool:
    """Whether the record of an image has to be exchanged."""
    return (now.id, now.inputs, now.outputs) != (recorded.id, recorded.inputs, recorded.outputs)


def absent(recorded: Checkpoint, current: Checkpoint) -> tuple[Resource, ...]:
    """What has to be entered into the state for the release's images that are not there now.

    Args:
        recorded: What the release deployed.
        current: The state.

    Returns:
        The images, each after what it needs: its provider and its parents. Not those of a
        program's own provider that is not there either.
    """
    release, present = recorded.alive, current.alive
    entered: dict[str, Resource] = {}
    for image in release.values():
        provider = present.get(image.provider_urn) or release.get(image.provider_urn)
        if image.type not in _IMAGES or image.urn in present or provider is None:
            continue
        if provider.urn not in present and not provider.is_default_provider:
            continue
        needed = [image]
        for first in (image.provider_urn, image.parent):
            urn = first
            while urn in release and urn not in present:
                needed.append(release[urn])
                urn = release[urn].parent
        reference = f"{provider.urn}::{provider.id}"
        for item in reversed(needed):
            known = {*present, *entered}
            entered[item.urn] = replace(
                item,
                provider=reference if item.urn == image.urn else item.provider,
                parent=item.parent if item.parent in known else _root(present),
                dependencies=tuple(urn for urn in item.dependencies if urn in known),
                options=_alone(item.options),
            )
    return tuple(entered.values())


def put(state: Mapping[str, Any], images: Sequence[Resource]) -> dict[str, Any]:
    """Put records into a state, as `pulumi stack export` prints it. Pure: returns a copy.

    Of what is there the inputs, outputs and id are exchanged, and the rest stays: its place, and
    so what it is allowed to depend on.
    """
    changed = copy.deepcopy(dict(state))
    resources = changed["deployment"]["resources"]
    places = {item["urn"]: item for item in resources if not item.get("delete")}
    for image in images:
        raw = record(image)
        if image.urn not in places:
            resources.append(raw)
            continue
        there = places[image.urn]
        for key in ("id", "inputs", "outputs"):
            there.pop(key, None)
            if key in raw:
                there[key] = raw[key]
    return changed


def _root(present: Mapping[str, Resource]) -> str:
    return next((urn for urn, item in present.items() if item.type == STACK), "")


def _alone(options: Mapping[str, Any]) -> dict[str, Any]:
    """What is recorded beside it, without what names other resources."""
    naming = ("propertyDependencies", "deletedWith", "replaceWith")
    return {key: value for key, value in options.items() if key not in naming}
