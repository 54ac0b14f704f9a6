"""What has to hold before a deploy changes anything: what is declared stands, clusters answer."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from aegis_deploy.common.errors import AegisError
from aegis_deploy.model.database import schema
from aegis_deploy.model.database.dataset import SETTING, short
from aegis_deploy.model.migration.schema_plan import ahead, dataset_of, of_steps
from aegis_deploy.model.workloads.rollout import within
from aegis_deploy.operations import pending_revisions, route_check

if TYPE_CHECKING:
    from aegis_deploy.drift.live_objects import Standing
    from aegis_deploy.flows.context import FlowContext
    from aegis_deploy.model.events import Changes
    from aegis_deploy.model.gate_settings import GateSettings

_DONE = ("Job ", "Pod ")


def require_standing(flow: FlowContext, standing: Callable[[], Standing]) -> None:
    """See that nothing that is declared is being deleted, before anything is changed.

    What is gone is made again by the next update, which then looks at what there is.

    Args:
        flow: The stack.
        standing: Says what does not stand, as `GateRunner.standing` does.

    Raises:
        AegisError: Something is, and something holds it.
    """
    from aegis_deploy.kubernetes.client import ApiError

    try:
        found = standing()
    except (ApiError, AegisError) as error:
        flow.out.warn(f"whether something is being deleted is not known\n{error}")
        return
    for it in found.unknown:
        flow.out.warn(f"whether something is being deleted is not known\n{it}")
    if found.going:
        raise AegisError(
            what=f"what is declared in {flow.session.name} is being deleted",
            why="\n".join(found.going),
            next="see to what holds it; once it is gone the same command makes it again; "
            "--force deploys meanwhile, and verifies nothing",
        )
    # One that has done its work may have been tidied away, which is no reason to run it again.
    if any(not it.startswith(_DONE) for it in found.gone):
        flow.program_update.refreshes = True
        flow.out.warn(f"is gone, and is made again: {', '.join(found.gone)}")


def require_fit(flow: FlowContext, changes: Changes) -> None:
    """See that what is deployed fits the database, before anything is changed; say what migrates.

    What needs a later revision than the database is at is let through where the update migrates
    it: the migration itself then says whether it could.

    Args:
        flow: The stack.
        changes: What the update's preview shows.

    Raises:
        AegisError: It does not.
    """
    flow.schema_reader.look()
    dataset = dataset_of(changes.steps)
    if dataset and short(dataset) not in flow.schema_reader.known.datasets:
        raise _not_there(flow.session.name, dataset)
    database = flow.schema_reader.known.of(dataset)
    further = ahead(changes.steps, database)
    if further is not None:
        flow.out.show(f"  {further}")
        foreseen = pending_revisions.look(flow.session.directory, changes.steps, further)
        for line in () if foreseen is None else foreseen.lines():
            flow.out.show(f"    {line}")
        if further.freezes:
            flow.out.warn(further.freezes)
    code, migrates = of_steps(changes.steps)
    fit = schema.misfit_once_migrated if migrates else schema.misfit
    why = fit(code, database)
    if why:
        raise AegisError(
            what=f"this release does not fit the database of {flow.session.name} as it is now",
            why=why,
            state="nothing was changed",
            next="deploy code that does; the database is never taken back",
        )


def _not_there(stack: str, dataset: str) -> AegisError:
    return AegisError(
        what=f"the data set {short(dataset)} is not on the server of {stack}",
        why=f"the setting {SETTING} names it, and nothing has loaded it, or it was dropped",
        state="nothing was changed",
        next=f"aegis data refresh --stack {stack} --from PLACE loads and deploys it",
    )


def require_routes(flow: FlowContext, changes: Changes, gate: GateSettings, *, force: bool) -> None:
    """See that what leads in from outside will lead somewhere, before anything is changed.

    Args:
        flow: The stack.
        changes: What the update's preview shows.
        gate: What is asked of the release, from outside maybe.
        force: Whether somebody insists, so that it is told and no more.

    Raises:
        AegisError: It will not.
    """
    found = route_check.look_at_update(flow.session, flow.clusters, changes.steps, gate)
    for it in found.warnings:
        flow.out.warn(it)
    refusal = found.refusal(flow.session.name)
    if refusal is None:
        return
    if not force:
        refusal.next += "\n--force deploys it all the same"
        raise refusal
    flow.out.warn(f"{refusal.what}\n{refusal.why}")


def require_clusters(flow: FlowContext) -> None:
    """Make sure that the clusters answer and know who asks, before anything is changed.

    Raises:
        AegisError: One does not.
    """
    from aegis_deploy.kubernetes.client import require_answer

    for part in flow.clusters.all():
        require_answer(part.connect(), f"{flow.session.name}{within(part.name)}")
