"""The containers of what runs pods: one reading of them for everybody who asks for images. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def containers_of(manifest: Mapping[str, Any] | None) -> list[Mapping[str, Any]]:
    """Return the containers of a workload's pods, those that only prepare them last.

    Args:
        manifest: The workload, as a program declares it or a cluster has it; it may be any JSON.
    """
    found: Any = manifest
    for name in ("spec", "template", "spec"):
        found = found.get(name) if isinstance(found, Mapping) else None
    if not isinstance(found, Mapping):
        return []
    lists = (found.get("containers"), found.get("initContainers"))
    return [
        container
        for listed in lists
        if isinstance(listed, list | tuple)
        for container in listed
        if isinstance(container, Mapping)
    ]


def images_of(manifest: Mapping[str, Any] | None) -> list[str]:
    """Return the image of each of those containers; an empty text where there is no text.

    Args:
        manifest: The workload, as :func:`containers_of` takes it.
    """
    found = (container.get("image") for container in containers_of(manifest))
    return [image if isinstance(image, str) else "" for image in found]
