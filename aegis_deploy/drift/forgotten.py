"""What the last whole release declared and the state has no more, though no release took it out.

``pulumi state delete``, a targeted destroy, a refresh while something was away for a moment: what
is out of the state is nobody's any more. No update changes it, no drift is seen in it, and the next
release that wants it fails, for it may be there still.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from aegis_deploy.drift.detection import is_object, leaves, named
from aegis_deploy.model.fingerprint import provider_of
from aegis_deploy.stack.checkpoint import Resource, outline
from aegis_deploy.stack.renames import called_as_now

if TYPE_CHECKING:
    from aegis_deploy.model.release import Release
    from aegis_deploy.stack.session import Session


@dataclass(frozen=True)
class Forgotten:
    """What is out of the state.

    Attributes:
        release: The release that has it; None where nothing has to be in the state.
        resources: What it is, without secrets.
    """

    release: Release | None = None
    resources: tuple[Resource, ...] = ()

    @property
    def labels(self) -> tuple[str, ...]:
        """What people call it, a line each."""
        return tuple(named(it).label if is_object(it) else it.label for it in self.resources)

    @property
    def lines(self) -> tuple[str, ...]:
        """What is missing, a sentence each."""
        number = "the last release" if self.release is None else f"release {self.release.number}"
        return tuple(
            f"{it} is not in the state any more, and {number} has it" for it in self.labels
        )

    def __bool__(self) -> bool:
        """Whether anything is."""
        return bool(self.resources)

    def next(self, stack: str) -> str:
        """Say what takes it back."""
        number = "" if self.release is None else f" --to {self.release.number}"
        return (
            f"aegis rollback{number} --stack {stack} takes back what the cluster has and makes the "
            "rest anew; aegis deploy does so with what the program declares"
        )


NOTHING_FORGOTTEN = Forgotten()
"""Nothing is out of the state, or nobody can tell."""


def look(session: Session, releases: Iterable[Release]) -> Forgotten:
    """Find what the state lacks.

    Args:
        session: The stack.
        releases: Its history, newest first.

    Raises:
        AegisError: The release's checkpoint is damaged, or the state cannot be read.
    """
    release = last_whole(releases)
    recorded = None if release is None else session.store.checkpoint(release)
    if recorded is None:
        return NOTHING_FORGOTTEN
    wanted = called_as_now(recorded, session.name, session.project).get("resources") or ()
    return Forgotten(release, tuple(lacking(wanted, session.resources())))


def last_whole(releases: Iterable[Release]) -> Release | None:
    """Return the release that says what the state is to have.

    Args:
        releases: The history, newest first.

    Returns:
        The last whole one; None where that one did not end well, so that the state may be between
        two, or where a destroy came after it.
    """
    for release in releases:
        if release.emptied:
            return None
        if release.whole:
            return release if release.succeeded else None
    return None


def lacking(
    recorded: Sequence[Mapping[str, Any]], present: Sequence[Mapping[str, Any]]
) -> list[Resource]:
    """Return what a release recorded and a state has under no name. Pure.

    Args:
        recorded: The release's resources.
        present: The state's, those that wait to be deleted or made anew among them.
    """
    urns = {it["urn"] for it in present}
    objects = {(it["type"], it["id"]) for it in present if it.get("id")}
    # Those of several clusters may have the same name: each by its provider, then.
    counted = Counter(_named(it) for it in recorded if it.get("id"))
    twins = {it for it, often in counted.items() if often > 1}
    there = {(*_named(it), provider_of(it)) for it in present}
    return [
        item
        for item in map(outline, recorded)
        if item.custom
        and item.alive
        and not item.external
        and not item.is_default_provider
        and not item.options.get("viewOf")
        and not leaves(item)
        and item.urn not in urns
        and (
            (item.type, item.id) not in objects
            if (item.type, item.id) not in twins
            else (item.type, item.id, item.provider_urn) not in there
        )
    ]


def _named(resource: Mapping[str, Any]) -> tuple[str, str]:
    return str(resource["type"]), str(resource.get("id") or "")
