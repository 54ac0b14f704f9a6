"""Programs whose language host died: they keep the engine waiting for ever, so they are ended.

The engine waits until everything that was asked of it is answered, and a program that outlives
its host goes on asking. The host cannot end it, being dead; the engine does not know it. Whoever
runs the engine sees both.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from aegis_deploy.common.process import Machine, RunningProcess

HOST = "pulumi-language"
"""How the names of language hosts begin; the kernel keeps 15 letters of them."""
_LOOK_SECONDS = 1.0


@contextmanager
def ended(engine: int) -> Iterator[None]:
    """End what outlives its language host under an engine, while the block runs.

    Args:
        engine: The engine's process id.
    """
    over = threading.Event()
    programs = Programs(engine)

    def watch() -> None:
        while not over.wait(_LOOK_SECONDS):
            for program in programs.orphans():
                with suppress(OSError):
                    os.kill(program.pid, signal.SIGKILL)

    thread = threading.Thread(target=watch, name="programs", daemon=True)
    if Path("/proc/self/task").exists():
        thread.start()
    try:
        yield
    finally:
        over.set()
        if thread.is_alive():
            thread.join()


class Programs:
    """The programs that language hosts under an engine run.

    Args:
        engine: The engine's process id.
    """

    def __init__(self, engine: int) -> None:
        self._engine = engine
        self._here = Machine.here()
        self._seen: dict[int, tuple[RunningProcess, RunningProcess]] = {}

    def orphans(self) -> list[RunningProcess]:
        """Return the programs that are there still although their host is gone."""
        for host in self._below(self._engine):
            if host.name.startswith(HOST):
                self._seen.update({it.pid: (it, host) for it in self._below(host.pid)})
        found = []
        for pid, (program, host) in list(self._seen.items()):
            if not self._here.lives(program):
                del self._seen[pid]
            elif not self._here.lives(host):
                found.append(program)
        return found

    def _below(self, pid: int) -> list[RunningProcess]:
        pids: list[str] = []
        with suppress(OSError):  # It may end while it is looked at, or one of its threads.
            for path in Path(f"/proc/{pid}/task").glob("*/children"):
                with suppress(OSError):
                    pids += path.read_text().split()
        return [it for it in map(self._here.find, map(int, pids)) if it is not None]
