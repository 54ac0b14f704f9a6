"""Objects as an API server reports them, for the tests of what is waited for."""

from __future__ import annotations

from typing import Any

MODIFIED = "MODIFIED"


def make_object(kind: str, version: str = "v1", **fields: Any) -> dict[str, Any]:
    """Return an object named team/a in its second generation."""
    metadata = {"name": "a", "namespace": "team", "uid": f"uid-{kind}", "generation": 2}
    metadata |= fields.pop("metadata", {})
    return {"apiVersion": version, "kind": kind, "metadata": metadata, **fields}


def make_conditions(**states: Any) -> list[dict[str, Any]]:
    """Return conditions: a type with a status, or with (status, reason, message)."""
    found = []
    for kind, state in states.items():
        given = state if isinstance(state, tuple) else (state,)
        status, reason, message = (*given, "", "")[:3]
        found.append({"type": kind, "status": status, "reason": reason, "message": message})
    return found


def make_owned(kind: str, owner: str, **fields: Any) -> dict[str, Any]:
    """Return an object with an owner."""
    obj = make_object(kind, fields.pop("version", "v1"), **fields)
    obj["metadata"]["ownerReferences"] = [{"uid": owner}]
    return obj


def make_container(**state: Any) -> dict[str, Any]:
    """Return the status of a container that is not ready."""
    return {"name": "web", "ready": False, **state}


def make_pod(status: dict[str, Any] | None = None, **states: Any) -> dict[str, Any]:
    """Return a pod of a ReplicaSet."""
    whole = {"conditions": make_conditions(**states), **(status or {})}
    return make_owned("Pod", "uid-ReplicaSet", metadata={"name": "web-1"}, status=whole)


UNREADY = ("False", "ContainersNotReady", "containers with unready status: [web]")
