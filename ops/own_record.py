"""What this process adds to a history is known by what it is, and counts as the last."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress

from ops.errors import AegisError
from ops.records import restamped


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
