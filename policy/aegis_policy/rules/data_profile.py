"""Each stack serves the data that belongs in it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ..pods import WORKLOADS, containers
from ..resources import Resource, Stack, is_unknown, listed, look, mapped
from ..rule import Level, Rule

ENVIRONMENT, PROFILE = "AEGIS_ENVIRONMENT", "AEGIS_DATA_PROFILE"

PERMITTED: Mapping[str, tuple[str, ...]] = {
    "development": ("mock", "sample"),
    "staging": ("sample", "mock"),
    "production": ("real",),
}
"""The data a stack may serve. The program refuses the rest as well; this holds without it."""


def _check(resource: Resource, stack: Stack) -> Iterator[str]:  # noqa: ARG001
    if resource.kind == "ConfigMap":
        yield from _variables(resource, mapped(resource.inputs, "data"))
        return
    for container in containers(resource):
        items = listed(container.spec, "env")
        given = {str(look(item, "name")): look(item, "value") for item in items}
        yield from _variables(resource, given)


def _variables(resource: Resource, variables: Mapping[str, Any]) -> Iterator[str]:
    environment, profile = (look(variables, name) for name in (ENVIRONMENT, PROFILE))
    stack = resource.stack
    if environment is not None and not is_unknown(environment) and environment != stack:
        yield f"{ENVIRONMENT} is {environment} in stack {stack}. Set it to {stack}."
    if profile is None or is_unknown(profile):
        return
    permitted = PERMITTED.get(stack, ("mock",))
    if profile not in permitted:
        yield (
            f"{PROFILE} is {profile}, and {stack} may serve {' or '.join(permitted)} data only. "
            f"Run: pulumi config set --stack {stack} {resource.project}:dataProfile {permitted[0]}"
        )


RULE = Rule(
    name="data-profile",
    level=Level.MANDATORY,
    says="Each stack serves the data that belongs in it; real data stays in production.",
    check=_check,
    kinds=("ConfigMap", *WORKLOADS),
)
