"""What of a stack runs pods and is looked at: what its state has, and what an update will have."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from aegis_deploy.model.fingerprint import jobs_of_steps, workloads_of_state, workloads_of_steps

if TYPE_CHECKING:
    from aegis_deploy.flows.context import FlowContext
    from aegis_deploy.model.events import Changes
    from aegis_deploy.model.workloads.rollout import Workload


def of_state(flow: FlowContext) -> list[Workload]:
    """Return what the gate judges of the stack's state."""
    resources = flow.session.resources()
    flow.clusters.see(resources)
    return workloads_of_state(resources, flow.clusters.place)


def to_watch(flow: FlowContext, changes: Changes) -> list[Workload]:
    """Return what an update may roll out or, of Jobs, run, and what it could change.

    Not what is in a cluster that the update only leaves: it may be gone with all that is in it.

    Args:
        flow: The stack.
        changes: What the update's preview shows.
    """
    there = of_state(flow)
    unknown = flow.clusters.expect(changes.steps)
    if unknown:
        flow.out.warn(
            f"how provider {', '.join(unknown)} connects is known only once the update has "
            "made it: what is in its cluster is not watched meanwhile, and judged afterwards"
        )
    place = flow.clusters.place
    left = {place(it.provider) for it in there} - {it.name for it in flow.clusters.all()}
    kept = [
        replace(it, cluster=name)
        for it in there
        for name in [place(it.provider)]
        if name is not None and name not in left
    ]
    steps = changes.steps
    found = [*kept, *workloads_of_steps(steps, place), *jobs_of_steps(steps, place)]
    return list(dict.fromkeys(found))
