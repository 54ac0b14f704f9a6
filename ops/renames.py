"""States of when a stack or its project had another name: their names are those of now. Pure.

``pulumi stack rename`` and a new name in Pulumi.yaml change every URN of the state as it is, and
none of the states that the history has of before. Registered under its old URNs, a release would
be another stack's.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

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
    before = _names(deployment)
    if before is None or before == (stack, project):
        return deployment
    names = _Names(before, (stack, project))
    changed = {**deployment, "resources": list(map(names.resource, deployment["resources"]))}
    if deployment.get("pending_operations"):
        changed["pending_operations"] = [
            {**it, "resource": names.resource(it["resource"])}
            for it in deployment["pending_operations"]
        ]
    return changed


def _names(deployment: Mapping[str, Any]) -> tuple[str, str] | None:
    """The names that a state's stack and project had; None where it does not say."""
    for resource in deployment.get("resources") or ():
        if resource.get("type") == _STACK:
            head = str(resource["urn"]).split("::")
            return head[0].removeprefix("urn:pulumi:"), head[1]
    return None


class _Names:
    """Names of before and of now, each of a stack and a project."""

    def __init__(self, before: tuple[str, str], now: tuple[str, str]) -> None:
        self._before, self._now = (_head(*it) for it in (before, now))
        self._root_before, self._root_now = (_root(*it) for it in (before, now))

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


def _head(stack: str, project: str) -> str:
    return f"urn:pulumi:{stack}::{project}::"


def _root(stack: str, project: str) -> str:
    return f"{_head(stack, project)}{_STACK}::{project}-{stack}"
