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
