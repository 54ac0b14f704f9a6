"""The records of images that a release built: put into the state, never registered to be built.

Registering one would build it, from whatever the checkout holds now. What runs it names its digest,
so the cluster needs no build; but the state would go on to name the image of the release that was
left, and the next preview of the restored release's program would show a build. So the state gets
the release's own record first, and the update is told to leave it alone. Nothing in a registry is
touched by that.
"""

from __future__ import annotations

from dataclasses import replace

from aegis_deploy.stack.checkpoint import Resource

_IMAGES = frozenset({"docker:index/image:Image", "docker:image:Image"})
"""Deleting one of these deletes nothing, so a record of another can do no harm. Of others, such as
RegistryImage, the record says what a deletion takes out of the registry: theirs stay."""


def is_image(item: Resource) -> bool:
    """Whether a record of another image can be put in the place of this one."""
    return item.type in _IMAGES


def as_recorded(now: Resource, recorded: Resource) -> Resource:
    """An image as the state is to have it: the release's, in the place where it is now."""
    placed = replace(now, parent=recorded.parent)
    if now.type not in _IMAGES:
        return placed
    return replace(placed, id=recorded.id, inputs=recorded.inputs, outputs=recorded.outputs)


def differs(now: Resource, recorded: Resource) -> bool:
    """Whether the record of an image has to be exchanged."""
    return (now.id, now.inputs, now.outputs) != (recorded.id, recorded.inputs, recorded.outputs)
