"""Reading Kubernetes objects as plain dictionaries: fields, identity, shape.

Any field may hold ``UNKNOWN`` during a preview; reading then answers as if it were absent.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias, cast

Json: TypeAlias = Any
"""A JSON value, or ``UNKNOWN`` in its place."""
Object: TypeAlias = dict[str, Any]
"""A Kubernetes object (or part of one) as JSON."""

AUTONAMED = "pulumi.com/autonamed"
SKIP_AWAIT = "pulumi.com/skipAwait"
WAIT_FOR = "pulumi.com/waitFor"
TIMEOUT_SECONDS = "pulumi.com/timeoutSeconds"
REPLACE_UNREADY = "pulumi.com/replaceUnready"
PATCH_FORCE = "pulumi.com/patchForce"
PATCH_FIELD_MANAGER = "pulumi.com/patchFieldManager"
DELETION_PROPAGATION = "pulumi.com/deletionPropagationPolicy"
DEPLOYMENT_REVISION = "deployment.kubernetes.io/revision"


def nested(obj: Json, *path: str) -> Json:
    """Return the value at a path of keys, None when any part of it is missing."""
    for key in path:
        if not isinstance(obj, Mapping):
            return None
        obj = obj.get(key)
    return obj


def text(obj: Json, *path: str) -> str:
    """Return the string at a path, "" when there is none."""
    value = nested(obj, *path)
    return value if isinstance(value, str) else ""


def number(obj: Json, *path: str) -> int:
    """Return the whole number at a path, 0 when there is none."""
    value = nested(obj, *path)
    return value if isinstance(value, int) and not isinstance(value, bool) else 0


def items(obj: Json, *path: str) -> list[Object]:
    """Return the objects of the list at a path, an empty list when there is none."""
    value = nested(obj, *path)
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def name_of(obj: Json) -> str:
    """Return ``metadata.name`` or ""."""
    return text(obj, "metadata", "name")


def namespace_of(obj: Json) -> str:
    """Return ``metadata.namespace`` or ""."""
    return text(obj, "metadata", "namespace")


def annotation(obj: Json, key: str) -> str:
    """Return an annotation's value or ""."""
    return text(obj, "metadata", "annotations", key)


def condition(obj: Json, kind: str) -> Object | None:
    """Return the entry of ``status.conditions`` with this type."""
    for entry in items(obj, "status", "conditions"):
        if entry.get("type") == kind:
            return entry
    return None


def owned_by(obj: Object, owner: Object | None) -> bool:
    """Say whether the owner is among the object's owner references (direct ones only)."""
    uid = text(owner, "metadata", "uid")
    owners = items(obj, "metadata", "ownerReferences")
    return bool(uid) and any(reference.get("uid") == uid for reference in owners)


def set_field(obj: Object, value: Json, *path: str) -> None:
    """Set the value at a path, creating maps on the way; an unknown on the way stays unknown."""
    for key in path[:-1]:
        child = obj.setdefault(key, {})
        if not isinstance(child, dict):
            return
        obj = child
    obj[path[-1]] = value


def remove_field(obj: Json, *path: str) -> None:
    """Remove the value at a path if it is there."""
    parent = nested(obj, *path[:-1])
    if isinstance(parent, dict):
        parent.pop(path[-1], None)


def object_id(obj: Object) -> str:
    """Return the id the state knows an object by: ``namespace/name`` or ``name``."""
    namespace = namespace_of(obj)
    return f"{namespace}/{name_of(obj)}" if namespace else name_of(obj)


def split_id(identifier: str) -> tuple[str, str]:
    """Return the namespace ("" without one) and the name in an id."""
    namespace, slash, name = identifier.partition("/")
    return (namespace, name.split("/")[0]) if slash else ("", identifier)


def label(obj: Object) -> str:
    """Name an object for people: ``namespace/name``, without the namespace ``default``."""
    namespace = namespace_of(obj)
    return name_of(obj) if namespace in ("", "default") else f"{namespace}/{name_of(obj)}"


def is_kind(obj: Json, api_group: str, kind: str) -> bool:
    """Say whether an object is of this kind in this API group, whatever the version."""
    group, slash, _version = text(obj, "apiVersion").partition("/")
    return text(obj, "kind") == kind and (group if slash else "") == api_group


def is_secret(obj: Json) -> bool:
    """Say whether an object is a core Secret."""
    return is_kind(obj, "", "Secret") or is_kind(obj, "core", "Secret")


def prune(live: Json, shape: Json) -> Object:
    """Reduce a live object to the fields that also stand in the shape (the inputs).

    Lists are cut to the shape's length and reduced item by item.
    """
    return cast(Object, _prune(live, shape)) if isinstance(live, dict) else {}


def _prune(live: Json, shape: Json) -> Json:
    if isinstance(live, dict) and isinstance(shape, dict):
        return {key: _prune(value, shape[key]) for key, value in live.items() if key in shape}
    if isinstance(live, list) and isinstance(shape, list):
        if not live or not shape:
            return []
        if type(live[0]) is not type(shape[0]):
            return list(live)
        return [_prune(value, target) for value, target in zip(live, shape, strict=False)]
    return live
