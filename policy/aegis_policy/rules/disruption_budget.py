"""A PodDisruptionBudget guards every service, and lets a node be drained."""

from __future__ import annotations

from collections.abc import Iterator

from ..pods import pod_labels, replicas, selects
from ..quantities import share
from ..resources import Resource, Stack, is_unknown, look, mapped
from ..rule import Level, Rule

_GUARDED = ("Deployment", "StatefulSet")
_BUDGET = "PodDisruptionBudget"


def _check(resource: Resource, stack: Stack) -> Iterator[str]:
    if resource.kind == _BUDGET:
        yield from _budget(resource, stack)
        return
    count = replicas(resource, stack)
    budgets = [item for item in stack.of_kind(_BUDGET) if _matches(item, resource)]
    if len(budgets) > 1:
        names = ", ".join(sorted(item.name for item in budgets))
        yield (
            f"several PodDisruptionBudgets match its pods ({names}): then no pod can be evicted at "
            "all. Keep one."
        )
    if count is not None and count > 1 and not budgets:
        yield (
            "no PodDisruptionBudget matches its pods: a node drain may take all of them at once. "
            "Add one whose selector is the workload's."
        )


def _budget(budget: Resource, stack: Stack) -> Iterator[str]:
    spec = look(budget.inputs, "spec")
    workloads = [item for item in stack.of_kind(*_GUARDED) if _matches(budget, item)]
    if is_unknown(spec):
        return
    if not workloads:
        yield "its selector matches no pods of this stack, so it guards nothing. Correct it."
    if look(spec, "unhealthyPodEvictionPolicy") != "AlwaysAllow":
        yield (
            "spec.unhealthyPodEvictionPolicy is not AlwaysAllow: pods that never become ready hold "
            "a node's drain for ever. Set it."
        )
    least, most = look(spec, "minAvailable"), look(spec, "maxUnavailable")
    for workload in workloads:
        count = replicas(workload, stack)
        if count is None or is_unknown(least) or is_unknown(most):
            continue
        if most is not None:
            spared = share(most, count)
        else:
            needed = share(1 if least is None else least, count)
            spared = None if needed is None else count - needed
        if count > 0 and (spared is None or spared < 1):
            yield (
                f"it never lets one of the {count} pods of {workload.name} go, so no node under "
                "them can be drained. Write maxUnavailable: 1."
            )


def _matches(budget: Resource, workload: Resource) -> bool:
    selector = look(budget.inputs, "spec", "selector")
    chosen = mapped(selector)
    return (
        budget.namespace == workload.namespace
        and bool(chosen)
        and selects(selector, pod_labels(workload))
    )


RULE = Rule(
    name="disruption-budget",
    level=Level.MANDATORY,
    says="A PodDisruptionBudget guards every service, and lets a node be drained.",
    check=_check,
    kinds=(*_GUARDED, _BUDGET),
    whole_stack=True,
)
