"""Which release to go back to. Decides on the history alone; reads and changes nothing."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Sequence
from itertools import islice
from typing import TYPE_CHECKING

from aegis_deploy.common.errors import AegisError, ExitCode

if TYPE_CHECKING:
    from aegis_deploy.model.release import Release

UNFIT = "no earlier release fits the database as it is now"
_SHOWN = 5
_LOOKED_AT = 50
"""How many releases around one are asked for whether they fit: each is read for it."""


def choose(
    releases: Sequence[Release],
    to: int | None = None,
    *,
    interrupted: bool = False,
    misfit: Callable[[Release], str] = lambda _: "",
) -> Release:
    """Choose the release to restore.

    Without a number: what ran, verified, before what is deployed now. A rollback ran the release
    it restored, an update that changed nothing the release it repeats; what was refused is passed
    over, and so is what runs, and what is no whole release, such as a targeted update.

    Args:
        releases: The history, newest first.
        to: The number asked for.
        interrupted: Whether an update died unrecorded, so that what is deployed is no longer
            what the history's last release deployed: that one may then be the target itself.
        misfit: Says why a release does not fit the database as it is now; empty when it does.

    Raises:
        AegisError: There is none, or the one asked for cannot be restored; it says why.
    """
    if to is not None:
        return _fitting(releases, _named(releases, to), misfit)
    present, oldest = _present(releases, interrupted=interrupted)
    earlier: list[Release] = []
    unfit: dict[int, str] = {}
    for item in releases:
        if item.number >= oldest:
            continue
        found = _restorable(releases, item)
        if found is None or found.number == present:
            continue
        why = unfit.get(found.number) or misfit(found)
        if why:
            unfit[found.number] = why
            continue
        if found.verified or item.verified:
            return found
        earlier.append(found)
    if unfit and not earlier:
        raise AegisError(
            what=UNFIT,
            why="\n".join(f"release {it}: {said}" for it, said in list(unfit.items())[:_SHOWN]),
            next="go forward: mend it and deploy that; the database is never taken back",
            code=ExitCode.REFUSED,
        )
    if not earlier:
        raise AegisError(
            what="there is no earlier release to go back to",
            why=_what_there_is(releases),
            next="aegis history",
        )
    numbers = ", ".join(dict.fromkeys(str(item.number) for item in earlier[:_SHOWN]))
    raise AegisError(
        what="no earlier release was verified by a gate",
        why=f"succeeded, but never verified: {numbers}",
        next=f"name the one you trust: aegis rollback --to {earlier[0].number}",
    )


def _named(releases: Sequence[Release], to: int) -> Release:
    """Return the release of that number, or say why it cannot be restored."""
    found = numbered(releases, to)
    if found is None:
        known = f"{releases[-1].number} to {releases[0].number}" if releases else "none yet"
        raise AegisError(
            what=f"there is no release {to}",
            why=f"the history has {known}",
            next="aegis history",
            code=ExitCode.REFUSED,
        )
    if not found.deploys or found.emptied:
        raise AegisError(
            what=f"release {to} cannot be restored",
            why=f"it is a {found.operation}, which deployed nothing",
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


def _fitting(
    releases: Sequence[Release], found: Release, misfit: Callable[[Release], str]
) -> Release:
    """Return a release that was asked for, or say why it does not fit and which nearest one does.

    Raises:
        AegisError: It does not fit the database.
    """
    why = misfit(found)
    if not why:
        return found
    near = sorted(releases, key=lambda it: (abs(it.number - found.number), -it.number))
    fits = next(
        (
            it
            for it in near[:_LOOKED_AT]
            if it.verified and _restorable(releases, it) is it and not misfit(it)
        ),
        None,
    )
    raise AegisError(
        what=f"release {found.number} does not fit the database as it is now",
        why=why,
        state="nothing was changed",
        next="no release near it that is verified does: go forward"
        if fits is None
        else f"the nearest that does: aegis rollback --to {fits.number}",
        code=ExitCode.REFUSED,
    )


def ways_back(releases: Sequence[Release]) -> list[Release]:
    """Return the verified releases, of the newest, that can be gone back to by their number.

    Args:
        releases: The history, newest first.
    """
    near = islice(releases, _LOOKED_AT)
    return [it for it in near if it.verified and _restorable(releases, it) is it]


def ran(releases: Sequence[Release], release: Release) -> int:
    """Return the number of the release that ran after one: not its own where it is another's again.

    Args:
        releases: The history, newest first; older releases may be missing.
        release: One of them, which succeeded.
    """
    seen = {release.number}
    while release.succeeded:
        if release.restores is not None:
            before = numbered(releases, release.restores)
            if before is None or before.number in seen:
                return release.restores
        elif release.unchanged:
            before = _repeated(releases, release)
            if before is None or not before.whole:
                break
        else:
            break
        seen.add(before.number)
        release = before
    return release.number


def again(releases: Sequence[Release], one: Release, other: Release) -> bool:
    """Return whether one release is another one once more: restored, or an update of nothing.

    Args:
        releases: The history, newest first; older releases may be missing.
        one: One of them.
        other: Another of them.
    """
    return ran(releases, one) == ran(releases, other)


def _present(releases: Sequence[Release], *, interrupted: bool) -> tuple[int | None, int]:
    """Say what runs, and before which number that was chosen which ran before it.

    After a rollback somebody who goes back once more wants what ran before the release that it
    restored. What an update left that failed or died is no release: what ran before it did so
    just before it.
    """
    current = next((item for item in releases if item.current), None)
    if current is None:
        return None, max((item.number for item in releases), default=0) + 1
    if interrupted:
        return None, current.number + 1
    if not current.succeeded:
        return None, current.number
    number = ran(releases, current)
    return number, number


def _place(releases: Sequence[Release], number: int) -> int:
    """Where a release is, or would be; few others are looked at on the way."""
    # Numbers seldom have a gap.
    guess = releases[0].number - number if releases else 0
    if 0 <= guess < len(releases) and releases[guess].number == number:
        return guess
    return bisect_left(releases, -number, key=lambda item: -item.number)


def numbered(releases: Sequence[Release], number: int) -> Release | None:
    """Return the release of a number; None when there is none. Few others are looked at."""
    place = _place(releases, number)
    found = releases[place] if place < len(releases) else None
    return found if found is not None and found.number == number else None


def neighbours(
    releases: Sequence[Release], release: Release
) -> tuple[Release | None, Release | None]:
    """Return what was deployed before a release and what was after it, whatever it came to.

    A rollback's first step is left out: the rollback is what follows it.

    Args:
        releases: The history, newest first.
        release: One of them.
    """
    place = _place(releases, release.number)
    before = (releases[it] for it in range(place + 1, len(releases)))
    after = (releases[it] for it in range(place - 1, -1, -1))
    return (
        next((it for it in before if it.deploys and not it.begun), None),
        next((it for it in after if it.deploys and not it.begun), None),
    )


def _repeated(releases: Sequence[Release], release: Release) -> Release | None:
    """The release that one which changed nothing is once more, or what it made whole."""
    older = range(_place(releases, release.number) + 1, len(releases))
    return next((releases[place] for place in older if releases[place].deploys), None)


def _restorable(releases: Sequence[Release], release: Release) -> Release | None:
    """The release to restore for one to run again; None when it must not, or is no whole one.

    For a rollback that is the release it restored, by whose number people know it; but where it
    ran with other settings, for secrets were kept, or where that release is gone or a part of one,
    it is the rollback itself.
    """
    if not (release.succeeded and release.whole):
        return None
    if release.restores is None:
        return None if release.refused else release
    first = numbered(releases, ran(releases, release))
    if release.refused or (first is not None and first.refused):
        return None
    same = first is not None and first.succeeded and first.config == release.config
    return first if first is not None and first.whole and same else release


def _what_there_is(releases: Sequence[Release]) -> str:
    if not releases:
        return "the stack has no history yet"
    last = ", ".join(
        f"{item.number} {item.operation} {item.result}{' (refused)' if item.refused else ''}"
        for item in releases[:_SHOWN]
    )
    return f"its history: {last}"


def _suggestion(releases: Sequence[Release]) -> str:
    for item in releases:
        found = _restorable(releases, item) if item.verified else None
        if found is not None:
            return f"aegis rollback --to {found.number}"
    return "aegis history"
