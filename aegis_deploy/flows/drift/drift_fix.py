"""Putting back what the last release declared: what is done, in which order."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from aegis_deploy.common.errors import AegisError
from aegis_deploy.drift.detection import removal
from aegis_deploy.flows.drift.drift_report import declared_by, find_drift, require_all
from aegis_deploy.flows.rollback import RollbackRequest, roll_back
from aegis_deploy.kubernetes.client import ApiError
from aegis_deploy.locking.lock_holders import DRIFT_FIX
from aegis_deploy.report import timeline_store

if TYPE_CHECKING:
    from aegis_deploy.drift.detection import Drifted
    from aegis_deploy.flows.context import FlowContext


def put_back(flow: FlowContext, wait_seconds: float) -> None:
    """Put back what the last release declared, rolling, behind its gate.

    What somebody added is taken away first: an apply leaves fields alone that others own. It is
    looked for once the stack is claimed, for whoever was waited for may have deployed.

    Raises:
        AegisError: Somebody else works on the stack, there is no succeeded release to put back, or
            it does not come up healthy.
    """
    with (
        flow.takeover.claimed(DRIFT_FIX, "drift --fix", wait_seconds),
        timeline_store.kept(flow.session, flow.recorder, DRIFT_FIX, flow.out.warn),
    ):
        found = find_drift(flow)
        require_all(found)
        release, drifted = found.forgotten.release, found.objects
        if release is None or not found.forgotten:
            release = declared_by(flow)

        def take_away() -> None:
            taken: list[str] = []
            for item in drifted:
                if _take_away(flow, item, taken):
                    taken.append(item.label)

        roll_back(flow, RollbackRequest(to=release.number, yes=True), take_away)


def _take_away(flow: FlowContext, item: Drifted, taken: Sequence[str]) -> bool:
    """Take away what somebody added to an object; say whether there was anything."""
    patch = removal(item)
    if item.path is None or not patch:
        return False
    try:
        flow.clusters.at(item.provider).patch(item.path, patch)
    except ApiError as error:
        raise AegisError(
            what=f"what was added to {item.label} could not be taken away",
            why=str(error),
            state=f"of {', '.join(taken)} it was; nothing else was changed"
            if taken
            else "nothing was changed",
            next=f"aegis drift --stack {flow.session.name}, and once more with --fix",
        ) from error
    return True
