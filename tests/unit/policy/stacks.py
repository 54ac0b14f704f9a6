"""Stacks to judge: the program's own, with what a test changes in them."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from typing import Any

from policy.aegis_policy.resources import Resource, Secret, Stack
from policy.aegis_policy.rule import violations
from policy.aegis_policy.rules import RULES
from tests.rendering import TOKEN, render

REPLICAS = 4
"""Production's, as Pulumi.yaml has them."""

GONE = object()
"""Takes the place of a value that is to be taken away."""


def program(stack: str, **changes: str | None) -> list[Resource]:
    """What the program registers for a stack, with the marks of what is secret.

    Args:
        stack: The stack.
        **changes: Settings to change, without their namespace.
    """
    found = []
    for item in render(stack, token=TOKEN, host="api.example.com", **changes).resources:
        inputs = copy.deepcopy(item.manifest if item.is_manifest else dict(item.inputs))
        for key in item.secret_inputs:
            inputs[key] = Secret(inputs[key])
        found.append(Resource(item.urn, item.type, inputs))
    return found


def resource(stack: str, type_token: str, name: str, inputs: Mapping[str, Any]) -> Resource:
    """One more resource of a stack."""
    return Resource(f"urn:pulumi:{stack}::aegis::{type_token}::{name}", type_token, inputs)


def changed(stack: str, kind: str, changes: Mapping[str, Any]) -> list[Resource]:
    """The program's resources, with values of the first object of a kind put in or taken away.

    Args:
        stack: The stack.
        kind: The kind of the object.
        changes: Values by path, such as ``spec.replicas``; a number is a place in a list.
    """
    resources = program(stack)
    inputs: Any = next(item for item in resources if item.kind == kind).inputs
    for path, value in changes.items():
        *way, last = path.split(".")
        place = inputs
        for key in way:
            place = place[int(key)] if isinstance(place, list) else place.setdefault(key, {})
        if value is GONE:
            del place[last]
        else:
            place[int(last) if isinstance(place, list) else last] = value
    return resources


def told(resources: Iterable[Resource], replicas: int | None = REPLICAS) -> list[tuple[str, str]]:
    """The violations of a stack: rule and message."""
    found = violations(RULES, Stack(replicas).add(resources))
    return [(item.rule.name, item.message) for item in found]
