"""The CLI, with a mark as long as it changes a stack's state: two at once are noted.

Run as ``python -m tests.integration.marked_engine CLI MARKS WORDS...``; it becomes the CLI. The
mark is a lock of the kernel's that belongs to the process and to none of its children
(https://man7.org/linux/man-pages/man2/fcntl_locking.2.html): it outlives becoming the CLI, and goes
with its last breath, however it dies. Whoever finds it taken goes on and says so in ``together``;
``engines`` has all of them in the order in which they had it, which no clock decides.
"""

from __future__ import annotations

import fcntl
import json
import os
import struct
import sys
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

CHANGING = (("up",), ("refresh",), ("destroy",), ("import",), ("stack", "import"), ("state",))
"""The commands that change a state or what it is about."""
_FLOCK = "hhqqi4x"  # struct flock of Linux with 64 bits: type, whence, start, length, process.


def changes(words: Sequence[str]) -> bool:
    """Whether a command of the CLI changes a state."""
    if "--preview-only" in words:
        return False
    spoken = tuple(it for it in words if not it.startswith("-"))
    return any(spoken[: len(it)] == it for it in CHANGING)


def message(words: Sequence[str]) -> str:
    """What is to be in the history about it."""
    return dict(pairwise(words)).get("--message", "")


def is_running(marks: Path) -> bool:
    """Whether an engine has the mark; looks without touching it."""
    with (marks / "engine").open("a+") as file:
        asked = struct.pack(_FLOCK, fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
        found = struct.unpack(_FLOCK, fcntl.fcntl(file, fcntl.F_GETLK, asked))
    return bool(found[0] != fcntl.F_UNLCK)


def main(cli: str, place: str, *words: str) -> None:
    """Become the CLI."""
    if changes(words):
        marks = Path(place)
        said = {"who": os.environ["AEGIS_TEST_DEPLOYER"], "message": message(words), "words": words}
        handle = os.open(marks / "engine", os.O_RDWR | os.O_CREAT)
        try:
            fcntl.lockf(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            _write(marks / "together", {**said, "beside": os.pread(handle, 4096, 0).decode()})
        _write(marks / "engines", said)
        text = json.dumps(said).encode()
        os.pwrite(handle, text.ljust(4096), 0)
        os.set_inheritable(handle, True)
    os.execv(cli, [cli, *words])  # noqa: S606 - it is no shell's business


def _write(path: Path, said: object) -> None:
    with path.open("a") as file:
        file.write(json.dumps(said) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
