"""Whether what is live is what a state records, to the last field.

Then a refresh would learn nothing: it reads the same objects, by a provider that is started for it
and a third of what a rollback takes to begin. It is answered with yes only where nothing is left
to doubt: of anything that is not an object of a cluster, only its provider knows how it is.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from aegis_deploy.common.errors import AegisError
from aegis_deploy.drift import live_objects
from aegis_deploy.drift.detection import deleted_at, is_object
from aegis_deploy.kubernetes.client import ApiError
from aegis_deploy.model.signatures import opened

if TYPE_CHECKING:
    from aegis_deploy.drift.clusters import Clusters
    from aegis_deploy.stack.checkpoint import Checkpoint, Resource

_FAULTS = "initErrors"
"""What a state records of an object that was made and did not come up."""
_OWN = "__"
"""What the provider records beside an object is called so."""
_COUNTED = ("generation", "managedFields", "resourceVersion")
"""What the server counts and notes of an object, whatever is in it."""
_REVISION = "deployment.kubernetes.io/revision"
"""Kubernetes' own count of a Deployment's templates, which it writes after each change of one."""


def is_as_recorded(state: Checkpoint, clusters: Clusters) -> bool:
    """Return whether everything that a state has is live as it records it.

    Args:
        state: The state.
        clusters: The clusters that its providers lead to.
    """
    managed = [it for it in state.resources if it.custom and not it.is_provider]
    if state.pending or not all(map(is_object, managed)):
        return False
    try:
        live: dict[str, Mapping[str, Any] | None] = {}
        for part in clusters.of_resources(managed):
            found = live_objects.read(part.connect(), part.items)
            live |= {urn: it.object for urn, it in found.items()}
    except (ApiError, AegisError):
        return False  # Who refreshes is told why.
    return unchanged(managed, live)


def unchanged(resources: Iterable[Resource], live: Mapping[str, Mapping[str, Any] | None]) -> bool:
    """Return whether objects are live as they are recorded. Pure.

    What a cluster says of how they do (``status``) is no part of it.

    Args:
        resources: What stands for an object each, with its secrets decrypted.
        live: The objects, by URN.
    """
    for item in resources:
        there = live.get(item.urn)
        if there is None or deleted_at(there) or item.options.get(_FAULTS):
            return False
        if _given(opened(item.outputs)) != _given(there):
            return False
    return True


def _given(thing: Mapping[str, Any]) -> dict[str, Any]:
    """What is given to a cluster, and what it filled in when it got it."""
    metadata = {k: v for k, v in (thing.get("metadata") or {}).items() if k not in _COUNTED}
    notes = {k: v for k, v in (metadata.pop("annotations", None) or {}).items() if k != _REVISION}
    rest = {k: v for k, v in thing.items() if k != "status" and not k.startswith(_OWN)}
    return {**rest, "metadata": {**metadata, "annotations": notes}}
