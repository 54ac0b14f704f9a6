"""Keeping others from a directory between a look at a file in it and a change.

The kernel's own lock (flock) holds on this machine and ends with its process. On a file system that
several machines mount it may hold on one of them alone, and a directory cannot be locked so at all
on some (https://man7.org/linux/man-pages/man2/flock.2.html, "NFS details"). There a hard link is
the lock: one of those who make it succeeds, on NFS as well
(https://man7.org/linux/man-pages/man2/open.2.html, O_EXCL).
"""

from __future__ import annotations

import fcntl
import os
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from aegis_deploy.common import filesystem

_NAME = ".lock"
_LOOK_SECONDS = 0.05
_LOST_SECONDS = 30.0
"""What is done under the lock takes milliseconds: whoever has it for so long is dead."""


@contextmanager
def alone(directory: Path, *, shared: bool | None = None) -> Iterator[None]:
    """Hold the lock of a directory, which is there, while the block runs.

    Args:
        directory: The directory.
        shared: Whether other machines may write to it; None to find out.

    Raises:
        OSError: It cannot be locked.
    """
    if not filesystem.is_own(directory) if shared is None else shared:
        with _linked(directory):
            yield
        return
    # The directory itself is locked: a file for it would stay behind for ever.
    handle = os.open(directory, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


@contextmanager
def _linked(directory: Path) -> Iterator[None]:
    lock, mine = directory / _NAME, directory / f"{_NAME}.{uuid.uuid4().hex}"
    try:
        while not _link(mine, lock):
            _break(mine, lock)
            time.sleep(_LOOK_SECONDS)
        yield
    finally:
        with suppress(OSError):
            # Not another's, should this one have been held for a dead one's.
            if lock.stat().st_ino == mine.stat().st_ino:
                lock.unlink()
        mine.unlink(missing_ok=True)


def _link(mine: Path, lock: Path) -> bool:
    """Try to take it; the time of one's own file is the server's clock."""
    mine.write_text("")
    with suppress(FileExistsError):
        os.link(mine, lock)
    # The answer to a link that was made may be lost: the count of links says it.
    return mine.stat().st_nlink > 1


def _break(mine: Path, lock: Path) -> None:
    """Take away the lock of somebody who died with it."""
    with suppress(FileNotFoundError):
        held = lock.stat()
        if mine.stat().st_mtime - held.st_mtime <= _LOST_SECONDS:
            return
        # By a name that only one of those who see it can give it.
        gone = lock.with_name(f"{_NAME}.dead-{held.st_ino}-{held.st_mtime_ns}")
        if lock.stat().st_ino == held.st_ino:
            lock.rename(gone)
            gone.unlink()
