"""Looking at a stack as it is just now; what cannot be asked is part of what is found."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from aegis_deploy.common.errors import AegisError
from aegis_deploy.drift import forgotten
from aegis_deploy.drift.clusters import Part
from aegis_deploy.flows import workloads
from aegis_deploy.flows.drift.drift_report import find_drift
from aegis_deploy.flows.status.live_status import StackDrift, Status, drift_of, look
from aegis_deploy.history import stack_history
from aegis_deploy.kubernetes.client import ApiError
from aegis_deploy.locking import lock_holders
from aegis_deploy.locking.lock_holders import Life

if TYPE_CHECKING:
    from aegis_deploy.drift.forgotten import Forgotten
    from aegis_deploy.flows.context import FlowContext
    from aegis_deploy.flows.status.live_status import LiveWorkload
    from aegis_deploy.locking.lock_holders import Holder
    from aegis_deploy.model.database.schema import DatabaseSchema
    from aegis_deploy.model.release import Release
    from aegis_deploy.model.workloads.rollout import Workload


def read_status(flow: FlowContext, *, drift: bool = True) -> Status:
    """Look at a stack; a cluster that does not answer is part of what is found.

    Args:
        flow: The stack.
        drift: Whether to look for drift, too, which takes seconds.
    """
    releases, unmarked = stack_history.legible(flow.session)
    release = next((it for it in releases if it.current), None)
    if unmarked is not None:
        flow.out.warn(f"which releases are verified is not known\n{unmarked}")
    live: list[LiveWorkload] = []
    unreachable: list[str] = []
    there: list[Workload] = []
    try:
        there = workloads.of_state(flow)
    except AegisError as error:
        flow.out.warn(f"what should run is not known\n{error}")
    parts = flow.clusters.of_workloads(there)
    if not there:
        # Whether it could be asked is told all the same.
        parts = [Part(it.name, (), it.connect) for it in flow.clusters.all()]
    for part in parts:
        try:
            live += look(part.connect(), part.items)
        except (ApiError, AegisError) as error:
            unreachable.append(part.told(error))
    holders = tuple(lock_holders.holders(flow.session))
    lost = _forgotten(flow, releases, holders)
    found = StackDrift(unknown="nobody asked")
    if drift:
        alone = unreachable and len(unreachable) == len(parts)
        found = _drift(flow, "; ".join(unreachable) if alone else "", holders, lost)
    return Status(
        stack=flow.session.name,
        release=release,
        deployed=None if release is None else stack_history.deployed(flow.session, release),
        live=tuple(live),
        unreachable="; ".join(unreachable),
        holders=holders,
        drift=found,
        forgotten=lost,
        database=_database(flow),
    )


def _database(flow: FlowContext) -> DatabaseSchema | None:
    try:
        return flow.schema_reader.look(remembers=False)
    except AegisError as error:
        flow.out.warn(f"what the database is is not known\n{error}")
        return None


def _forgotten(
    flow: FlowContext, releases: Sequence[Release], holders: Sequence[Holder]
) -> Forgotten:
    """Look for what the state lacks, unless somebody takes it out or puts it in just now."""
    if any(it.life is Life.HELD for it in holders):
        return forgotten.NOTHING_FORGOTTEN
    try:
        return forgotten.look(flow.session, releases)
    except AegisError as error:
        flow.out.warn(f"whether the state has all that was deployed is not known\n{error}")
        return forgotten.NOTHING_FORGOTTEN


def _drift(
    flow: FlowContext,
    unreachable: str,
    holders: Sequence[Holder],
    lost: Forgotten | None = None,
) -> StackDrift:
    """Look for drift, unless the answer could only be late or about the middle of something."""
    if unreachable:
        return StackDrift(unknown="the cluster was not asked")
    if any(it.life is Life.HELD for it in holders):
        return StackDrift(unknown="somebody changes the stack just now")
    try:
        with flow.out.progress(f"comparing {flow.session.name} with what is live"):
            found = find_drift(flow, lost)
    except AegisError as error:
        return StackDrift(unknown=f"{error.what}: {error.why}")
    drifted = drift_of(found.objects, found.unread, found.unreached)
    return replace(drifted, found=(*drifted.found, *found.forgotten.lines))
