"""Staging runs exactly half of production's pods, rounded up."""

from __future__ import annotations

from collections.abc import Iterator

from ..pods import replicas
from ..resources import Resource, Stack
from ..rule import Level, Rule

STAGING = "staging"


def _check(resource: Resource, stack: Stack) -> Iterator[str]:
    count = replicas(resource, stack)
    if resource.stack != STAGING or count is None:
        return
    production = stack.production_replicas
    if production is None:
        yield (
            f"nobody can say what half of production is: the Pulumi.yaml that the policy pack is "
            f"below has no {resource.project}:productionReplicas. Write it there."
        )
        return
    half = -(-production // 2)
    if count != half:
        yield (
            f"it runs {count} replicas, and half of production's {production} is {half}. "
            f'Run: pulumi config set --stack {STAGING} {resource.project}:scale "0.5"'
        )


RULE = Rule(
    name="staging-is-half",
    level=Level.MANDATORY,
    says="Staging runs exactly half of production's pods, rounded up.",
    check=_check,
    kinds=("Deployment", "StatefulSet"),
)
