"""The processes a plugin starts, and their end.

Every child leads a process group of its own: the engine's SIGINT reaches the plugin only, and the
plugin ends the whole group, so that nothing a child started stays behind. A plugin that is killed
cannot do that, so the kernel ends its children: a program that outlives its language host keeps
the engine waiting for it, and the stack locked, for ever.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from typing import IO, Final

_GRACE_SECONDS: Final = 1.0

# Become the command, asking the kernel first for an end when the plugin dies. What it waits for is
# the end of the thread that started it, so that thread has to wait for the child.
_END_WITH_PLUGIN: Final = """
import ctypes, os, signal, sys
ctypes.CDLL(None).prctl(1, signal.SIGKILL, 0, 0, 0)
if os.getppid() != int(sys.argv[1]):
    sys.exit(130)
try:
    os.execvp(sys.argv[2], sys.argv[2:])
except OSError as error:
    sys.exit(f"{sys.argv[2]}: {error.strerror}")
"""


class Children:
    """Processes that run now; ``stop`` ends them all and refuses new ones."""

    def __init__(self, told_by: signal.Signals = signal.SIGTERM) -> None:
        """Begin with none.

        Args:
            told_by: The signal by which a process is told to end.
        """
        self._told_by = told_by
        self._lock = threading.Lock()
        self._running: set[Child] = set()
        self._stopped = False

    def start(
        self,
        command: Sequence[str],
        *,
        environment: Mapping[str, str],
        directory: str,
        output: int | IO[bytes] | None = None,
        errors: int | None = None,
        standard_input: bytes | None = None,
    ) -> Child:
        """Start a process; its output goes where the plugin's goes, or to a pipe.

        Args:
            command: The executable and its arguments.
            environment: All of its environment.
            directory: Its working directory.
            output: ``subprocess.PIPE`` for stdout and stderr in one pipe, None to inherit both.
            errors: ``subprocess.PIPE`` for a pipe of its own for stderr.
            standard_input: What the process reads, less than a pipe holds (64 KiB); None for
                nothing.
        """
        if sys.platform == "linux":
            prefix = [sys.executable, "-I", "-S", "-c", _END_WITH_PLUGIN, str(os.getpid())]
            command = [*prefix, *command]
        if errors is None and output is not None:
            errors = subprocess.STDOUT
        with self._lock:
            process = subprocess.Popen(
                command,
                env=environment,
                cwd=directory,
                stdin=subprocess.DEVNULL if standard_input is None else subprocess.PIPE,
                stdout=output,
                stderr=errors,
                process_group=0,
            )
            child = Child(process, self._told_by)
            self._running.add(child)
            stopped = self._stopped
        if stopped:
            child.stop()
        if process.stdin is not None:
            with contextlib.suppress(BrokenPipeError):
                process.stdin.write(standard_input or b"")
                process.stdin.close()
        return child

    def forget(self, child: Child) -> None:
        """Drop a process that has ended."""
        with self._lock:
            self._running.discard(child)

    def stop(self) -> None:
        """End every running process and every later one."""
        with self._lock:
            self._stopped = True
            running = list(self._running)
        for child in running:
            child.stop()


class Child:
    """One process with its group."""

    def __init__(self, process: subprocess.Popen[bytes], told_by: signal.Signals) -> None:
        self.process, self._told_by = process, told_by
        self.stopped = False

    def wait(self) -> int:
        """Wait for the end and return the exit code, negative for a signal."""
        return self.process.wait()

    def stop(self) -> None:
        """End the process's whole group: tell it, and kill it a second later."""
        if self.process.poll() is not None:
            return
        self.stopped = True
        self._signal(self._told_by)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(timeout=_GRACE_SECONDS)
        self._signal(signal.SIGKILL)

    def _signal(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, number)
