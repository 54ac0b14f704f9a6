"""Whether an object that was found is the one that a dead update created, or somebody else's.

Pure. A creation is entered into the state before anybody knows whether it was done; the refresh
then reads whatever object has that name. Ours was created by Pulumi, and not before the update
began; where no lock says when that was, it has to be what the update wanted.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any

from aegis_deploy.model.signatures import SIGNATURE
from aegis_deploy.stack.checkpoint import RETAINED

KEPT = RETAINED
"""What is set on a resource until it is known whose it is."""
_MARK = "pulumi"
_SLACK = timedelta(seconds=30)
"""How far the clocks of the cluster and of the one who died may differ."""


def judge_entered(
    resources: Iterable[Mapping[str, Any]], entered: Collection[str], since: datetime | None
) -> tuple[set[str], list[dict[str, Any]]]:
    """Say which of the entered resources are somebody else's, and return the state without them.

    Args:
        resources: The state's, refreshed.
        entered: The URNs that were entered.
        since: When the update began.
    """
    foreign: set[str] = set()
    kept: list[dict[str, Any]] = []
    for resource in resources:
        was_entered = resource["urn"] in entered and resource.get(KEPT)
        if was_entered and not is_ours(resource, since):
            foreign.add(resource["urn"])
            continue
        # A program's own `retainOnDelete` comes back with its next registration.
        kept.append(
            {key: value for key, value in resource.items() if not (was_entered and key == KEPT)}
        )
    urns = {item["urn"] for item in kept}
    return foreign, [_without(item, foreign - urns) for item in kept]


def is_ours(resource: Mapping[str, Any], since: datetime | None) -> bool:
    """Whether the object was created by the update that began then."""
    inputs, live = resource.get("inputs") or {}, resource.get("outputs") or {}
    metadata = live.get("metadata")
    if not isinstance(metadata, Mapping):
        return False
    writers = [str(it.get("manager") or "") for it in metadata.get("managedFields") or ()]
    if writers and not any(writer.startswith(_MARK) for writer in writers):
        return False
    created = _moment(metadata.get("creationTimestamp"))
    if since is not None and created is not None:
        return created >= since - _SLACK
    return _within(inputs, live)


def _moment(text: Any) -> datetime | None:  # noqa: ANN401 - any JSON value
    try:
        return datetime.fromisoformat(text)
    except (TypeError, ValueError):
        return None


def _within(wanted: Any, live: Any) -> bool:  # noqa: ANN401 - any JSON value
    """Whether everything wanted is there; the cluster adds to it. A secret cannot be compared."""
    if isinstance(wanted, Mapping):
        if SIGNATURE in wanted:
            return True
        return isinstance(live, Mapping) and all(
            key in live and _within(value, live[key])
            for key, value in wanted.items()
            if not key.startswith("__")
        )
    if isinstance(wanted, list):
        return (
            isinstance(live, list)
            and len(wanted) == len(live)
            and all(_within(one, other) for one, other in zip(wanted, live, strict=True))
        )
    return bool(wanted == live)


def _without(item: dict[str, Any], gone: set[str]) -> dict[str, Any]:
    """A resource that depends on nothing that is not in the state any more."""
    if not gone:
        return item
    found = dict(item)
    if found.get("dependencies"):
        found["dependencies"] = [urn for urn in found["dependencies"] if urn not in gone]
    if found.get("propertyDependencies"):
        found["propertyDependencies"] = {
            key: [urn for urn in urns or () if urn not in gone]
            for key, urns in found["propertyDependencies"].items()
        }
    return found
