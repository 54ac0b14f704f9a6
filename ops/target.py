"""Which release to go back to. Decides on the history alone; reads and changes nothing."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ops.errors import AegisError, ExitCode

if TYPE_CHECKING:
    from ops.release import Release

_SHOWN = 5


def choose(
    releases: Sequence[Release], to: int | None = None, *, interrupted: bool = False
) -> Release:
    """Choose the release to restore.

    Without a number: the last verified release before the one that is deployed, where a rollback
    counts as the release it restored, an update that changed nothing as the release it repeats,
    and releases that were refused are passed over.

    Args:
        releases: The history, newest first.
        to: The number asked for.
        interrupted: Whether an update died unrecorded, so that what is deployed is no longer
            what the history's last release deployed: that one may then be the target itself.

    Raises:
        AegisError: There is none, or the one asked for cannot be restored; it says why.
    """
    if to is not None:
        return _named(releases, to)
    before = _deployed_number(releases) + (1 if interrupted else 0)
    earlier = []
    for item in releases:
        if item.number < before and _can_be_restored(item):
            if item.verified:
                return item
            earlier.append(item)
    if not earlier:
        raise AegisError(
            what="there is no earlier release to go back to",
            why=_what_there_is(releases),
            next="aegis history",
        )
    numbers = ", ".join(str(item.number) for item in earlier[:_SHOWN])
    raise AegisError(
        what="no earlier release was verified by a gate",
        why=f"succeeded, but never verified: {numbers}",
        next=f"name the one you trust: aegis rollback --to {earlier[0].number}",
    )


def _named(releases: Sequence[Release], to: int) -> Release:
    """Return the release of that number, or say why it cannot be restored."""
    found = _numbered(releases, to)
    if found is None:
        known = f"{releases[-1].number} to {releases[0].number}" if releases else "none yet"
        raise AegisError(
            what=f"there is no release {to}",
            why=f"the history has {known}",
            next="aegis history",
            code=ExitCode.REFUSED,
        )
    if not found.deploys or found.kind == "destroy":
        raise AegisError(
            what=f"release {to} cannot be restored",
            why=f"it is a {found.kind}, which deployed nothing",
            next="aegis history",
        )
    if not found.succeeded:
        raise AegisError(
            what=f"release {to} cannot be restored",
            why=f"it {'failed' if found.result == 'failed' else 'is ' + found.result}"
            + (f": {found.message}" if found.message else ""),
            next=_suggestion(releases),
        )
    return found


def _deployed_number(releases: Sequence[Release]) -> int:
    """The number that what is deployed counts as: a rollback is the release it restored."""
    current = next((item for item in releases if item.current), None)
    if current is None:
        return max((item.number for item in releases), default=0) + 1
    seen = {current.number}
    while current.succeeded:
        if current.restores is not None:
            before = _numbered(releases, current.restores)
            if before is None or before.number in seen:
                return current.restores
        elif current.unchanged:
            before = _repeated(releases, current)
            if before is None:
                break
        else:
            break
        seen.add(before.number)
        current = before
    return current.number


def _place(releases: Sequence[Release], number: int) -> int:
    """Where a release is, or would be; few others are looked at on the way."""
    # Numbers seldom have a gap.
    guess = releases[0].number - number if releases else 0
    if 0 <= guess < len(releases) and releases[guess].number == number:
        return guess
    return bisect_left(releases, -number, key=lambda item: -item.number)


def _numbered(releases: Sequence[Release], number: int) -> Release | None:
    place = _place(releases, number)
    found = releases[place] if place < len(releases) else None
    return found if found is not None and found.number == number else None


def _repeated(releases: Sequence[Release], release: Release) -> Release | None:
    """The release that one which changed nothing is once more."""
    older = range(_place(releases, release.number) + 1, len(releases))
    return next((releases[place] for place in older if releases[place].deploys), None)


def _can_be_restored(release: Release) -> bool:
    return (
        release.succeeded
        and release.deploys
        and release.kind != "destroy"
        and not release.refused
        # What a rollback restored is in the history itself, under its own number.
        and release.restores is None
    )


def _what_there_is(releases: Sequence[Release]) -> str:
    if not releases:
        return "the stack has no history yet"
    last = ", ".join(
        f"{item.number} {item.kind} {item.result}{' (refused)' if item.refused else ''}"
        for item in releases[:_SHOWN]
    )
    return f"its history: {last}"


def _suggestion(releases: Sequence[Release]) -> str:
    for item in releases:
        if item.verified and _can_be_restored(item):
            return f"aegis rollback --to {item.number}"
    return "aegis history"
