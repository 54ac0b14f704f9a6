"""Field managers: who owns which field of a live object, and how ownership moves.

Objects are created with a plain POST by the manager ``pulumi-kubernetes``; the first apply patch
takes those fields over, else it would conflict with its own creation.
"""

from __future__ import annotations

import copy
import secrets as randomness

from lab.plugins.kubernetes.objects import (
    PATCH_FIELD_MANAGER,
    PATCH_FORCE,
    Json,
    Object,
    annotation,
    items,
    nested,
    remove_field,
    set_field,
    text,
)
from lab.plugins.kubernetes.settings import Settings

CREATOR = "pulumi-kubernetes"
_PREDECESSORS = (
    ("kubectl", "Apply"),
    ("kubectl", "Update"),
    ("before-first-apply", "Update"),
    (CREATOR, "Update"),
    ("pulumi-resource-kubernetes", "Update"),
)
_CREATORS = (CREATOR, "pulumi-kubernetes.exe", "pulumi-resource-kubernetes")


def manager_name(inputs: Object, remembered: str, settings: Settings) -> str:
    """Return the field manager of a resource.

    Args:
        inputs: An annotation in them comes first.
        remembered: The one in the state, "" when there is none.
        settings: Without server-side apply every resource has the same one.
    """
    if not settings.server_side_apply:
        return CREATOR
    given = annotation(inputs, PATCH_FIELD_MANAGER) or remembered
    return given or f"{CREATOR}-{randomness.token_hex(4)}"


def take_over(live: Object, manager: str) -> list[Object] | None:
    """Return the managed fields with the predecessors' fields given to the manager.

    Returns:
        None when nothing is to change.
    """
    entries = copy.deepcopy(items(live, "metadata", "managedFields"))
    mine = next(
        (e for e in entries if e.get("manager") == manager and e.get("operation") == "Apply"), None
    )
    kept, moved = [], False
    for entry in entries:
        if entry is mine:
            continue
        if not _is_predecessor(entry):
            kept.append(entry)
            continue
        moved = True
        if mine is None:
            mine = {**entry, "manager": manager, "operation": "Apply"}
        else:
            mine["fieldsV1"] = _union(mine.get("fieldsV1"), entry.get("fieldsV1"))
    return [*kept, mine] if moved and mine is not None else None


def forced(inputs: Object, live: Object | None, settings: Settings, *, preview: bool) -> bool:
    """Say whether an apply patch overrides other managers."""
    if annotation(inputs, PATCH_FORCE) == "true" or settings.patch_force:
        return True
    if live is None:
        return preview
    entries = items(live, "metadata", "managedFields")
    created = any(
        entry.get("operation") == "Update" and entry.get("manager") in _CREATORS
        for entry in entries
    )
    return not entries or (preview and created)


def leave_ignored(inputs: Object, live: Object, manager: str, ignored: list[str]) -> None:
    """Make ignored fields of the inputs harmless, in place.

    A field another manager owns is left to it; else the live value is sent, so it stays.
    """
    for path in ignored:
        keys = path.split(".")
        mine = theirs = False
        for entry in items(live, "metadata", "managedFields"):
            if _owns(entry.get("fieldsV1"), keys):
                mine, theirs = (
                    mine or entry.get("manager") == manager,
                    theirs or entry.get("manager") != manager,
                )
        current = nested(live, *keys)
        if theirs and not mine:
            remove_field(inputs, *keys)
        elif current is not None:
            set_field(inputs, copy.deepcopy(current), *keys)


def identity_only(obj: Object) -> Object:
    """Return just the identity of an object; applying it gives up all other fields."""
    metadata = {"name": text(obj, "metadata", "name")}
    if text(obj, "metadata", "namespace"):
        metadata["namespace"] = text(obj, "metadata", "namespace")
    return {"apiVersion": obj.get("apiVersion"), "kind": obj.get("kind"), "metadata": metadata}


def _is_predecessor(entry: Object) -> bool:
    return not entry.get("subresource") and any(
        str(entry.get("manager")).startswith(name) and entry.get("operation") == operation
        for name, operation in _PREDECESSORS
    )


def _union(mine: Json, theirs: Json) -> Json:
    if not isinstance(mine, dict) or not isinstance(theirs, dict):
        return mine if isinstance(mine, dict) else theirs
    merged = dict(mine)
    for key, value in theirs.items():
        merged[key] = _union(merged[key], value) if key in merged else value
    return merged


def _owns(fields: Json, keys: list[str]) -> bool:
    for key in keys:
        if not isinstance(fields, dict) or f"f:{key}" not in fields:
            return False
        fields = fields[f"f:{key}"]
    return True
