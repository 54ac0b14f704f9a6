"""Gathering what there is to tell of one release; what cannot be told is said."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from typing import TYPE_CHECKING

from aegis_deploy.common.errors import AegisError, ExitCode
from aegis_deploy.history import stack_history
from aegis_deploy.history.compare import Compared, compare
from aegis_deploy.history.diff import compare_settings
from aegis_deploy.history.listing import entry_of, find, told
from aegis_deploy.history.rollback_target import neighbours, numbered
from aegis_deploy.model.release import Deployed, Release
from aegis_deploy.report import timeline_store
from aegis_deploy.report.release_report import ReleaseReport

if TYPE_CHECKING:
    from aegis_deploy.model.timeline import Timeline
    from aegis_deploy.stack.session import Session


def is_empty(session: Session) -> bool:
    """Whether nothing was ever done to a stack."""
    return not session.store.releases(1)


def collect(session: Session, number: int | None = None) -> ReleaseReport:
    """Gather what there is to tell of a release; what cannot be told is said.

    Args:
        session: The stack.
        number: Its number. None means the last one that was deployed: an automated rollback is
            told of with the release it took the place of.

    Raises:
        AegisError: There is no such release.
    """
    releases, unmarked = stack_history.legible(session)
    release = _last(releases) if number is None else find(releases, number)
    unknown = [] if unmarked is None else [f"which releases are verified: {told(unmarked)}"]
    before, _ = neighbours(releases, release)
    entry = entry_of(releases, release, _deployed(session, release, unknown))
    by = entry.rolled_back_by
    return ReleaseReport(
        stack=session.name,
        entry=entry,
        before=None if before is None else before.number,
        compared=_compared(session, before, release, unknown),
        timeline=_timeline(session, release, unknown),
        rollback=None if by is None else numbered(releases, by),
        unknown=tuple(unknown),
    )


def _last(releases: Sequence[Release]) -> Release:
    deploying = [*islice((it for it in releases if it.deploys and not it.begun), 2)]
    if not deploying:
        raise AegisError(
            what="there is no release to report on",
            why="the stack has never been updated",
            next="aegis deploy",
            code=ExitCode.USAGE,
        )
    newest = deploying[0]
    return deploying[1] if newest.automated and len(deploying) > 1 else newest


def _deployed(session: Session, release: Release, unknown: list[str]) -> Deployed:
    try:
        return stack_history.deployed(session, release)
    except AegisError as error:
        unknown.append(f"what was deployed: {told(error)}")
        return Deployed()


def _compared(
    session: Session, before: Release | None, release: Release, unknown: list[str]
) -> Compared | None:
    if before is None:
        return None
    try:
        return compare(session, before.number, release.number)
    except AegisError as error:
        # A checkpoint that is damaged, or secrets that nobody here can decrypt.
        unknown.append(f"which resources changed: {told(error)}")
    settings = compare_settings(before.config, release.config)
    return Compared(session.name, before.number, release.number, settings)


def _timeline(session: Session, release: Release, unknown: list[str]) -> Timeline | None:
    try:
        shelf = session.store.timelines
        found = timeline_store.find(shelf, release)
    except AegisError as error:
        unknown.append(f"how it went: {told(error)}")
        return None
    except (OSError, ValueError) as error:
        unknown.append(f"how it went: its timeline cannot be read: {error}")
        return None
    if found is None:
        where = "" if shelf.shared else " on this machine, where this backend has them kept"
        unknown.append(
            f"how it went, moment by moment: no timeline was recorded{where}. `aegis deploy`, "
            "`rollback`, `recover` and a gate in `pulumi up` record one; the oldest are let go"
        )
    elif not found.finished:
        unknown.append("how it ended: whoever deployed it died, or is still at work")
    if found is not None and found.thinned:
        unknown.append("some moments: there were more than a timeline keeps")
    if found is not None and not shelf.shared:
        unknown.append("what other machines did: with this backend timelines stay on each machine")
    return found
