"""What the ledger says of releases: verified, refused, current. Pure.

Most marks are a release's own. An update that changed nothing shares those of the release it
repeats, and a gate that passed in a plain ``pulumi up`` is found by its time: :func:`settled` says
how far a part of a history is enough to know them.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Collection, Sequence
from dataclasses import replace
from datetime import datetime
from itertools import pairwise

from aegis_deploy.history import verification_store
from aegis_deploy.model.release import Release

_SKEW = 5.0
"""How far the clock of whoever runs an update and its store's may differ, in seconds."""
NEAR = 8
"""So many updates around a moment are asked whether a gate passed in them."""


def marked(found: Sequence[Release], book: verification_store.Verifications) -> list[Release]:
    """Say of each release whether it is verified, refused, current.

    Current is the newest that could change what is deployed, failed ones too: that is what a
    rollback starts from. An update that changed nothing has the marks of the release it repeats.
    Only a whole release is verified: of a targeted update a gate saw what older ones had left, too.
    """
    verified = shared({*book.verified, *passed(found, book.passed)}, found, earlier=False)
    refused = shared(book.refused, found, earlier=True)
    current = next((release.key for release in found if release.deploys), None)
    verified &= {release.key for release in found if release.whole}
    return [
        replace(
            release,
            verified=release.key in verified,
            refused=release.key in refused,
            current=release.key == current,
        )
        if release.key in verified or release.key in refused or release.key == current
        else release
        for release in found
    ]


def passed(found: Sequence[Release], moments: Sequence[datetime]) -> set[str]:
    """Return the keys of the updates inside which a gate passed.

    An update's own clock may differ from its store's; of several that were near, the one that
    ended nearest to the moment is meant. One that failed in the end is not verified.

    Args:
        found: The releases, newest first.
        moments: When gates passed.
    """
    updates = [
        (it.ended.timestamp(), it)
        for it in reversed(found)
        if it.ended is not None and it.kind == "update"
    ]
    # Not the history's order where machines' clocks differ.
    ended = sorted(updates, key=lambda item: item[0])
    ends = [end for end, _ in ended]
    keys = set()
    for moment in moments:
        at = moment.timestamp()
        # A history file knows whole seconds, so that an update ended up to one later.
        near = [
            ((end + 1 < at, abs(end + 1 - at)), it)
            for end, it in ended[bisect_left(ends, at - 1 - _SKEW) :][:NEAR]
            if it.started.timestamp() - _SKEW <= at
        ]
        if near:
            best = min(near, key=lambda item: item[0])[1]
            if best.succeeded and best.whole:
                keys.add(best.key)
    return keys


def shared(keys: Collection[str], found: Sequence[Release], *, earlier: bool) -> frozenset[str]:
    """Return the keys of all that repeat a release, or are repeated by one, among some.

    Args:
        keys: The keys of those.
        found: The releases, newest first.
        earlier: Whether what is said of a repetition is said of what it repeats, too.
    """
    every = set(keys)
    deploying = [it for it in found if it.deploys]
    pairs = [(new, old) for new, old in pairwise(deploying) if new.unchanged and old.whole]
    if earlier:
        every.update(old.key for new, old in pairs if new.key in every)
    every.update(new.key for new, old in reversed(pairs) if old.key in every)
    return frozenset(every)


def settled(found: Sequence[Release]) -> int:
    """Count the newest of some releases whose marks no older release could change.

    Args:
        found: The newest releases of a history, newest first.
    """
    ended = [place for place, it in enumerate(found) if it.ended and it.kind == "update"]
    if len(ended) < NEAR:
        return 0
    # Whichever updates a moment is near to, the first one counted is among those here.
    known = ended[-NEAR]
    for place in range(known - 1, -1, -1):
        it = found[place]
        if it.deploys and not it.unchanged:
            break
        if it.deploys:
            known = place
    return known
