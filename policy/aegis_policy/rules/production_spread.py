"""Production runs at least two pods, spread over nodes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ..pods import pod_labels, pod_spec, replicas, selects
from ..resources import Resource, Stack, is_unknown, listed, look
from ..rule import Level, Rule

PRODUCTION = "production"
_LEAST = 2
_NODE = "kubernetes.io/hostname"


def _check(resource: Resource, stack: Stack) -> Iterator[str]:
    count = replicas(resource, stack)
    if resource.stack != PRODUCTION or count is None:
        return
    if count < _LEAST:
        yield (
            f"it runs {count} replica{'' if count == 1 else 's'} in production: a node that goes "
            f"takes the service along. Set {resource.project}:productionReplicas in Pulumi.yaml "
            f'to 2 or more and the scale of {PRODUCTION} to "1".'
        )
    spec = pod_spec(resource)
    if is_unknown(spec) or any(_spreads(item, resource) for item in _terms(spec)):
        return
    yield (
        "nothing keeps its pods apart: all of them may land on one node. Add a "
        f"topologySpreadConstraint over {_NODE} whose labelSelector matches the pods."
    )


def _terms(spec: Any) -> Iterator[Any]:  # noqa: ANN401
    yield from listed(spec, "topologySpreadConstraints")
    apart = look(spec, "affinity", "podAntiAffinity")
    yield from listed(apart, "requiredDuringSchedulingIgnoredDuringExecution")
    for weighted in listed(apart, "preferredDuringSchedulingIgnoredDuringExecution"):
        yield look(weighted, "podAffinityTerm")


def _spreads(term: Any, resource: Resource) -> bool:  # noqa: ANN401
    selector = look(term, "labelSelector")
    return (
        look(term, "topologyKey") == _NODE
        and selector is not None
        and selects(selector, pod_labels(resource))
    )


RULE = Rule(
    name="production-spread",
    level=Level.MANDATORY,
    says="Production runs at least two pods, spread over nodes.",
    check=_check,
    kinds=("Deployment", "StatefulSet"),
)
