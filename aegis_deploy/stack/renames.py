"""States of when a stack or its project had another name: their names are those of now. Pure.

``pulumi stack rename`` and a new name in Pulumi.yaml change every URN of the state as it is, and
none of the states that the history has of before. Registered under its old URNs, a release would
be another stack's.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aegis_deploy.model.predecessor import Name, named_in

_STACK = "pulumi:pulumi:Stack"
_ONE = ("urn", "parent", "deletedWith", "viewOf")
_SEVERAL = ("dependencies", "replaceWith", "aliases")


def called_as_now(deployment: Mapping[str, Any], stack: str, project: str) -> Mapping[str, Any]:
    """Return a deployment with the names that its stack and its project have now.

    Args:
        deployment: The deployment, as a state has it; returned as it is where nothing was renamed.
        stack: The stack's name now.
        project: The project's.
    """
    before, now = named_in(deployment), Name(project, stack)
    if before is None or before == now:
        return deployment
    return with_names(deployment, before, now)


def with_names(deployment: Mapping[str, Any], before: Name, now: Name) -> Mapping[str, Any]:
    """Return a deployment in which what was called by one name is called by another.

    Args:
        deployment: The deployment, as a state has it.
        before: The one name.
        now: The other.
    """
    names = _Names(before, now)
    changed = {**deployment, "resources": list(map(names.resource, deployment["resources"]))}
    if deployment.get("pending_operations"):
        changed["pending_operations"] = [
            {**it, "resource": names.resource(it["resource"])}
            for it in deployment["pending_operations"]
        ]
    return changed


class _Names:
    """What URNs begin with, and the stack's own URN, under a name of before and that of now."""

    def __init__(self, before: Name, now: Name) -> None:
        self._before, self._now = _head(before), _head(now)
        self._root_before, self._root_now = _root(before), _root(now)

    def resource(self, raw: Mapping[str, Any]) -> dict[str, Any]:
        found = dict(raw)
        for key in _ONE:
            if found.get(key):
                found[key] = self.urn(found[key])
        for key in _SEVERAL:
            if found.get(key):
                found[key] = [self.urn(it) for it in found[key]]
        if found.get("propertyDependencies"):
            found["propertyDependencies"] = {
                key: None if urns is None else [self.urn(it) for it in urns]
                for key, urns in found["propertyDependencies"].items()
            }
        if found.get("provider"):
            urn, _, name = str(found["provider"]).rpartition("::")
            found["provider"] = f"{self.urn(urn)}::{name}"
        return found

    def urn(self, urn: str) -> str:
        if urn == self._root_before:
            return self._root_now
        if urn.startswith(self._before):
            return self._now + urn.removeprefix(self._before)
        return urn


def _head(name: Name) -> str:
    return f"urn:pulumi:{name.stack}::{name.project}::"


def _root(name: Name) -> str:
    return f"{_head(name)}{_STACK}::{name.project}-{name.stack}"
