"""Commands that run while a test does something else."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path


@dataclass
class Running:
    """A command that runs.

    Attributes:
        process: Its process.
        log: What it writes.
        seconds: How long it may take to end.
    """

    process: subprocess.Popen[bytes]
    log: Path
    seconds: float

    @property
    def text(self) -> str:
        """What it has written so far."""
        return self.log.read_text()

    def wait(self) -> int:
        """Wait for its end; return its exit code."""
        return self.process.wait(timeout=self.seconds)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Have the CLI that it is or has begun stand still: its update lasts meanwhile."""
        [cli] = [
            it for it in (self.process.pid, *below(self.process.pid)) if name_of(it) == "pulumi"
        ]
        os.kill(cli, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(cli, signal.SIGCONT)

    def kill(self) -> None:
        """End it and everything in its process group, at once."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(timeout=self.seconds)


def begin(
    argv: Sequence[str], directory: Path, environment: Mapping[str, str], seconds: float
) -> Running:
    """Begin a command in a process group of its own.

    Args:
        argv: The command.
        directory: Where it runs, and where its log is put.
        environment: Its environment.
        seconds: How long it may take to end.
    """
    log = directory / f"{time.monotonic_ns()}.out"
    with log.open("wb") as into:
        process = subprocess.Popen(
            argv,
            cwd=directory,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=into,
            stderr=into,
            start_new_session=True,
        )
    return Running(process, log, seconds)


def below(pid: int) -> list[int]:
    """Return the processes that a process started, and those that they did."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            fields = path.read_text().rpartition(")")[2].split()
            if int(fields[1]) == pid and fields[0] != "Z":
                found.append(int(path.parent.name))
    return [*found, *(deeper for child in found for deeper in below(child))]


def name_of(pid: int) -> str:
    """Return the name of a process's program; empty when it has ended."""
    try:
        return (Path("/proc") / str(pid) / "comm").read_text().strip()
    except OSError:
        return ""
