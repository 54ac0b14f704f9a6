"""Providers that outlive the CLI that started them: official ones do, for minutes.

What they were asked to do, they may go on doing: one that tries again until the cluster takes a
change does so after what follows has changed it back. Nobody hears what becomes of it. So whoever
follows the dead ends them first. Each is told the address of its engine; where nobody listens there
any more, the engine is gone, whoever else may be at work in the same directory.
"""

from __future__ import annotations

import os
import re
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from aegis_deploy.common.process import Machine, RunningProcess

PROVIDER = "pulumi-resource"
"""How the names of providers begin; the kernel keeps 15 letters of them."""
_ENGINE = re.compile(r"127\.0\.0\.1:(\d+)")
_END_SECONDS = 10.0
_ANSWER_SECONDS = 1.0


def ended(directory: Path) -> tuple[str, ...]:
    """End the providers whose engine is gone; return what to tell of them.

    Args:
        directory: The project's directory, in which its engines start providers.
    """
    here = Machine.here()
    found = list(_left(directory, here))
    for process in found:
        with suppress(OSError):
            os.kill(process.pid, signal.SIGKILL)
    limit = time.monotonic() + _END_SECONDS
    while (rest := [it for it in found if here.lives(it)]) and time.monotonic() < limit:
        time.sleep(0.05)
    return tuple(
        f"still at work after its CLI's death, and not this user's to end: {_named(it)}"
        if it in rest
        else f"ended, for it was at work after its CLI's death: {_named(it)}"
        for it in found
    )


def _left(directory: Path, here: Machine) -> Iterator[RunningProcess]:
    for path in here.proc.glob("[0-9]*"):
        with suppress(OSError, ValueError):
            process = here.find(int(path.name))
            if process is None or not process.name.startswith(PROVIDER):
                continue
            if (path / "cwd").resolve() != directory.resolve():
                continue
            words = (path / "cmdline").read_bytes().decode(errors="replace").split("\0")
            engines = [found[1] for found in map(_ENGINE.fullmatch, words) if found]
            if engines and not any(_answers(int(port)) for port in engines):
                yield process


def _answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=_ANSWER_SECONDS).close()
    except ConnectionRefusedError:
        return False
    except OSError:
        pass  # One that is too busy to answer is there.
    return True


def _named(process: RunningProcess) -> str:
    return f"{process.name} (process {process.pid})"
