"""What this process adds to a history is known by what it is, and counts as the last.

So does what a dead one added that did not live to see to that: whoever follows it knows the record
by the state that the update left.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime
from typing import TYPE_CHECKING

from aegis_deploy.backend.history_files import restamped
from aegis_deploy.common.errors import AegisError

if TYPE_CHECKING:
    from aegis_deploy.backend.protocol import Store
    from aegis_deploy.model.release import Release

_READ = 200
"""So many of the newest records are looked at."""
_COMPARED = 20
"""And so many of those that were written since the dead one began, the first ones by its clock."""


@contextmanager
def recorded_last(
    names: Callable[[], Sequence[str]], stamp: Callable[[str, str], None]
) -> Iterator[list[str]]:
    """See what is recorded during the block, and have it count as later than all before it.

    Args:
        names: Reads the names of the history's records, the oldest first.
        stamp: Gives a record the second key instead of the first.

    Yields:
        The keys of what was recorded, the last one last, once the block has ended. None are
        there when nothing was, or nobody can tell.
    """
    before, made = names(), list[str]()
    try:
        yield made
    finally:
        with suppress(OSError, AegisError):
            for key, wanted in restamped(before, names()):
                made.append(_stamped(key, wanted, stamp))


def _stamped(key: str, wanted: str, stamp: Callable[[str, str], None]) -> str:
    try:
        if key != wanted:
            stamp(key, wanted)
    except (OSError, AegisError):
        return key  # Only the order in the history is another than it was.
    return wanted


def put_last(store: Store, since: str) -> bool:
    """Have the record of a dead one's update count as the last, where its clock put it before.

    Its last record has the state as it is now; nobody else's has, for every writing of a state has
    a time of its own in it.

    Args:
        store: The store of a stack that is claimed.
        since: When the dead one began, by its own clock, as its claim says.

    Returns:
        Whether there was one.

    Raises:
        AegisError: The history or the state cannot be read.
    """
    state = store.state()
    releases = [] if state is None else store.releases(_READ)
    if state is None or not releases or not releases[0].key.isdecimal():
        return False  # Only the CLI can read it.
    now, (newest, *older) = state["deployment"], releases

    def is_last(release: Release) -> bool:
        return bool(store.checkpoint(release) == now)

    for release in _since(older, since):
        if is_last(release):
            # One who died while it moved the record has left it in both places.
            there = is_last(newest)
            store.stamp(release.key, newest.key if there else str(int(newest.key) + 1))
            return True
    return False


def _since(older: Sequence[Release], moment: str) -> list[Release]:
    """The records that the clock of that moment wrote after it, the oldest first."""
    try:
        first = datetime.fromisoformat(moment).timestamp() * 10**9
    except ValueError:
        return []
    return [it for it in reversed(older) if int(it.key) >= first][:_COMPARED]
