"""How tests wait: for a state, never for a time; and for the processes of a test to be gone."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

SECONDS = 180
"""How long a test waits for a state: far above what a slow machine needs that is busy as well."""
_LOOK_SECONDS = 0.02


def wait_until(holds: Callable[[], bool], never: str) -> None:
    """Wait until something is so.

    Args:
        holds: Says whether it is.
        never: What the test says when it never is.
    """
    deadline = time.monotonic() + SECONDS
    while not holds():
        assert time.monotonic() < deadline, f"{never} within {SECONDS} s"
        time.sleep(_LOOK_SECONDS)


def processes(directory: Path) -> dict[int, str]:
    """The command lines of the processes that work in a directory or are given a path of it."""
    inside = f"{directory}/"
    found = {}
    for entry in Path("/proc").glob("[0-9]*"):
        # One that has ended, waited for or not, works nowhere. One that has just begun to run a
        # program may have no words yet, though whoever started it goes on already.
        with suppress(OSError):
            words = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            works_there = f"{(entry / 'cwd').readlink()}/".startswith(inside)
            if works_there or inside in words:
                found[int(entry.name)] = words or (entry / "comm").read_text().strip()
    found.pop(os.getpid(), None)
    return found


@contextmanager
def no_process_left(directory: Path) -> Iterator[None]:
    """Require of a block that whatever it started in a directory ends by itself.

    What does not is ended, so that it is in nobody's way; after a failure of the block, at once.
    """
    try:
        yield
        wait_until(lambda: not processes(directory), f"no end of {processes(directory)}")
    finally:
        for pid in processes(directory):
            with suppress(OSError):
                os.kill(pid, signal.SIGKILL)
