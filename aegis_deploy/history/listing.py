"""A stack's history as people and machines are shown it: releases, and which took whose place."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from aegis_deploy.backend.history_files import UNREADABLE
from aegis_deploy.common.errors import AegisError, ExitCode
from aegis_deploy.history import schema_store, stack_history
from aegis_deploy.history.rollback_target import again, neighbours, numbered
from aegis_deploy.model.database.dataset import Databases
from aegis_deploy.model.database.schema import DatabaseSchema
from aegis_deploy.model.release import Deployed, Release

if TYPE_CHECKING:
    from aegis_deploy.stack.session import Session


@dataclass(frozen=True)
class ReleaseEntry:
    """A release in the list.

    Attributes:
        release: The release.
        deployed: What it deployed.
        rolled_back_from: The release that this one took the place of, when it is a rollback.
        rolled_back_by: The rollback that took this one's place.
        misfit: Why it does not fit its database as that is now; empty when it does.
    """

    release: Release
    deployed: Deployed
    rolled_back_from: int | None = None
    rolled_back_by: int | None = None
    misfit: str = ""

    @property
    def schema(self) -> str:
        """Which revisions of the database it works with, and whether it still fits; for people."""
        said = "" if self.deployed.schema is None else str(self.deployed.schema)
        return f"{said}; {self.misfit}" if self.misfit else said

    @property
    def notes(self) -> str:
        """What there is to say about it, besides its result."""
        release = self.release
        said = [
            (release.operation, release.operation not in {"update", "unknown"}),
            ("current", release.current),
            ("verified", release.verified),
            ("refused", release.refused),
            (f"restores {release.restores}", release.restores is not None),
            (f"rolled back from {self.rolled_back_from}", self.rolled_back_from is not None),
            (f"rolled back by {self.rolled_back_by}", self.rolled_back_by is not None),
            ("does not fit the database", bool(self.misfit)),
        ]
        return ", ".join(text for text, holds in said if holds)

    def as_json(self) -> dict[str, Any]:
        """Return the entry for machines."""
        release = self.release
        return {
            "number": release.number,
            "kind": release.kind,
            "operation": release.operation,
            "whole": release.whole,
            "result": release.result,
            "started": release.started.isoformat(),
            "ended": release.ended.isoformat() if release.ended else None,
            "message": release.message,
            "who": release.who,
            "gitCommit": release.git_commit,
            "version": self.deployed.version,
            "imageDigest": self.deployed.image_digest,
            "changes": dict(release.changes),
            "verified": release.verified,
            "current": release.current,
            "refused": release.refused,
            "restores": release.restores,
            "rolledBackFrom": self.rolled_back_from,
            "rolledBackBy": self.rolled_back_by,
            "schema": None if self.deployed.schema is None else self.deployed.schema.as_json(),
            "misfit": self.misfit,
            "dataset": self.deployed.dataset or None,
        }


@dataclass(frozen=True)
class Listing:
    """A stack's history, newest first.

    Attributes:
        stack: The stack's name.
        entries: The releases.
        more: How many older ones are not in the list.
        unreadable: The files that cannot be read, and why.
        database: What the database of what runs was when last heard of; None when nothing was.
    """

    stack: str
    entries: tuple[ReleaseEntry, ...]
    more: int = 0
    unreadable: tuple[str, ...] = ()
    database: DatabaseSchema | None = None

    def as_json(self) -> dict[str, Any]:
        """Return the list for machines."""
        return {
            "stack": self.stack,
            "releases": [entry.as_json() for entry in self.entries],
            "more": self.more,
            "unreadable": list(self.unreadable),
            "database": None if self.database is None else self.database.as_json(),
        }


def collect(session: Session, *, limit: int | None) -> Listing:
    """List a stack's history.

    Args:
        session: The stack.
        limit: How many releases; None for all. No other is read.
    """
    # One more than is listed: a rollback at the end of the list took its place.
    tags, fault = stack_history.legible_tags(session)
    found = stack_history.listed(session, tags, limit=None if limit is None else limit + 1)
    replaced = relations(found)
    replacing = {old: new for new, old in replaced.items()}
    unreadable = [item.message for item in found if item.result == UNREADABLE]
    databases = None if fault else schema_store.parse(tags)
    if fault is not None:
        unreadable += (
            f"which releases are verified is not known: {told(fault)}",
            f"which releases fit the database is not known: {told(fault)}",
        )
    entries = []
    for release in found[:limit]:
        deployed = Deployed()
        if release.result != UNREADABLE:
            try:
                deployed = stack_history.glance(
                    session, release, schema=databases not in (None, Databases())
                )
            except AegisError as error:
                unreadable.append(told(error))
        number = release.number
        took, lost = replaced.get(number), replacing.get(number)
        why = _misfit(databases, deployed)
        entries.append(ReleaseEntry(release, deployed, took, lost, why))
    more = found[len(entries)].number if len(found) > len(entries) else 0
    runs = next((it.deployed.dataset for it in entries if it.release.current), "")
    database = None if databases is None else databases.of(runs)
    return Listing(session.name, tuple(entries), more, tuple(unreadable), database)


def find(releases: Sequence[Release], number: int) -> Release:
    """Find a release by its number.

    Raises:
        AegisError: There is none, or its history file cannot be read.
    """
    found = numbered(releases, number)
    if found is None:
        known = f"{releases[-1].number} to {releases[0].number}" if releases else "none yet"
        raise AegisError(
            what=f"there is no release {number}",
            why=f"the history has {known}",
            next="aegis history",
            code=ExitCode.USAGE,
        )
    if found.result == UNREADABLE:
        raise AegisError(what=f"release {number} cannot be read", why=found.message)
    return found


def told(error: AegisError) -> str:
    """Word why something cannot be shown, and what mends it."""
    return "\n".join(filter(None, (f"{error.what}: {error.why}", error.next)))


def relations(releases: Sequence[Release]) -> dict[int, int]:
    """Say which release each rollback took the place of; none where it was that one once more."""
    deploying = [release for release in releases if release.deploys and not release.begun]
    return {
        new.number: old.number
        for new, old in pairwise(deploying)
        if _takes_place(releases, new, old)
    }


def entry_of(
    releases: Sequence[Release],
    release: Release,
    deployed: Deployed,
    databases: Databases | None = None,
) -> ReleaseEntry:
    """Make the entry of one release, looking at its neighbours alone.

    Args:
        releases: The history, newest first.
        release: The one.
        deployed: What it deployed.
        databases: What is known of the stack's databases; None where nobody asked.
    """
    before, after = neighbours(releases, release)
    why = _misfit(databases, deployed)
    if not release.deploys or release.begun:
        return ReleaseEntry(release, deployed, misfit=why)
    took = before is not None and _takes_place(releases, release, before)
    lost = after is not None and _takes_place(releases, after, release)
    return ReleaseEntry(
        release,
        deployed,
        before.number if before is not None and took else None,
        after.number if after is not None and lost else None,
        why,
    )


def _misfit(databases: Databases | None, deployed: Deployed) -> str:
    return "" if databases is None else databases.misfit(deployed.schema, deployed.dataset)


def _takes_place(releases: Sequence[Release], new: Release, old: Release) -> bool:

    return new.restores is not None and not again(releases, new, old)
