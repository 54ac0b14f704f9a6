"""Marking a stack's releases: as verified, as not to be deployed again, as no longer so."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aegis_deploy.common.errors import AegisError, ExitCode
from aegis_deploy.history import verification_store

if TYPE_CHECKING:
    from aegis_deploy.flows.context import FlowContext
    from aegis_deploy.model.release import Release


def mark_verified(flow: FlowContext, release: Release | None, *, restored: bool = False) -> None:
    """Remember that a release passed its gate.

    Args:
        flow: The stack.
        release: The release; None when the history does not have what was judged.
        restored: Whether it is a rollback, which no deploy of the program would repeat.

    Raises:
        AegisError: It did, but that could not be written down.
    """
    flow.takeover.require()
    try:
        _mark(flow, release, restored=restored)
    finally:
        flow.takeover.unjudged = False


def _mark(flow: FlowContext, release: Release | None, *, restored: bool) -> None:
    stack = flow.session.name
    command = f"aegis {'recover' if restored else 'deploy'} --stack {stack}"
    unless = "" if restored else " with nothing to change"
    judged = f"{command};{unless} it lets the gate judge what runs, and marks it"
    if release is None:
        raise AegisError(
            what=f"what runs in {stack} is good, and could not be marked as verified",
            why="the update succeeded, and nobody can tell which of the records in the history "
            "is its own",
            state="it is deployed, healthy, and NOT marked as verified",
            next=judged,
            code=ExitCode.NOT_ROLLED_BACK,
        )
    if not release.whole:
        flow.out.warn(
            f"not marked as verified: {release.number} is a {release.operation}, no whole "
            f"release\naegis deploy --stack {stack} deploys, judges and marks one"
        )
        return
    try:
        verification_store.mark_verified(flow.session, release)
    except AegisError as error:
        raise AegisError(
            what=f"release {release.number} is good, but could not be marked as verified: "
            + error.what,
            why=error.why,
            state=f"release {release.number} is deployed, healthy, and NOT marked as verified",
            next=f"mend that, then: {judged}",
            code=ExitCode.NOT_ROLLED_BACK,
        ) from error


def refuse(
    flow: FlowContext, release: Release, fingerprint: str, why: str, declared: str = ""
) -> None:
    """Remember that a release may not be deployed again unless insisted on."""
    try:
        verification_store.refuse(flow.session, release, fingerprint, why, declared)
    except AegisError as error:
        # What was rolled back is rolled back all the same.
        flow.out.warn(f"release {release.number} could not be marked as refused\n{error}")


def pardon(
    flow: FlowContext, fingerprint: str | None, key: str | None = None, declared: str = ""
) -> None:
    """Forget a refusal; see `history.verification_store.pardon`."""
    try:
        verification_store.pardon(flow.session, fingerprint, key, declared)
    except AegisError as error:
        flow.out.warn(f"the refusal of this release could not be forgotten\n{error}")
