"""Commands that run while a test does something else."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
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
