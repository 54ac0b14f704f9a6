"""One interrupt for an update whose deployer is gone, and none where it was interrupted already.

The kernel can send it by itself (PR_SET_PDEATHSIG(2const)), but does so for each thread that was
the parent, and a process that is killed hands its children on from thread to thread: the CLI got up
to five. It takes the second as an order to leave everything as it lies. So a process of its own
waits for the end of this one.
"""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import suppress
from types import TracebackType
from typing import Self

# Told which process is watched, and then once more when there is no need to interrupt it. What it
# reads from ends when nobody is left who could tell anything.
_WATCH = """
import os, signal
for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
    signal.signal(number, signal.SIG_IGN)
told = b""
while more := os.read(0, 64):
    told += more
process, _, over = told.partition(b"\\n")
if process and not over:
    os.kill(int(process), signal.SIGINT)
"""
_OVER = b"\n"
_NEEDED = ("LD_LIBRARY_PATH",)
"""What a Python may not start without, as GitHub's; what else the environment holds is secret."""


class DeathWatch:
    """Interrupts a process that nobody waits for any more; a context manager, around its life.

    That is when this process ends, or leaves the block, before `over` was said.

    Attributes:
        told: An open file for that process to inherit: into it goes its id and a line feed, before
            anything is begun that is to be interrupted. Then it closes the file.
    """

    def __enter__(self) -> Self:
        read, self.told = os.pipe()
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-S", "-c", _WATCH],
                cwd="/",
                env={name: os.environ[name] for name in _NEEDED if name in os.environ},
                stdin=read,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                # A terminal's Ctrl-C, or its end, is not for it.
                start_new_session=True,
            )
        except BaseException:
            os.close(self.told)
            raise
        finally:
            os.close(read)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        os.close(self.told)
        self._process.wait()

    def over(self) -> None:
        """Interrupt nothing any more: it has ended, or was interrupted."""
        with suppress(OSError):  # Whoever killed the watch wants none.
            os.write(self.told, _OVER)
