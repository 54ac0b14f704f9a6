"""Whether a process of this machine is still the one that somebody wrote down."""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

_SLACK = timedelta(seconds=10)
"""How far the start of a process, counted from the boot, may be off."""
_NAMELESS = frozenset({"", "localhost", "localhost.localdomain", "runner"})


@dataclass(frozen=True)
class Running:
    """A process that runs.

    Attributes:
        pid: Its id.
        name: Its program's name; empty where the system does not tell.
        started: When it began; None where the system does not tell.
        ticks: The same in the kernel's ticks since the boot, which no clock can shift.
    """

    pid: int
    name: str = ""
    started: datetime | None = None
    ticks: int | None = None


@dataclass(frozen=True)
class Machine:
    """This machine, or one in a test.

    Attributes:
        host: Its name.
        boot: What names this boot of it; empty where the system does not tell.
        proc: Where the kernel tells about processes.
    """

    host: str
    boot: str = ""
    proc: Path = Path("/proc")

    @classmethod
    def here(cls) -> Machine:
        """The machine this runs on."""
        try:
            boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        except OSError:
            boot = ""
        return cls(socket.gethostname(), boot)

    def is_named(self, host: str) -> bool:
        """Whether a host's name means this machine and can mean no other."""
        return host == self.host and host not in _NAMELESS

    def find(self, pid: int) -> Running | None:
        """The process with this id; None when there is none, or only its remains."""
        if not (self.proc / "stat").exists():
            return Running(pid) if _answers(pid) else None
        try:
            stat = (self.proc / str(pid) / "stat").read_text()
        except OSError:
            return None
        # The name is in parentheses and may hold any character, parentheses too.
        name, fields = stat.partition("(")[2].rpartition(")")[0], stat.rpartition(")")[2].split()
        if fields[0] in {"Z", "X"}:
            return None
        ticks = int(fields[19])
        return Running(pid, name, self._moment(ticks), ticks)

    def _moment(self, ticks: int) -> datetime | None:
        for line in (self.proc / "stat").read_text().splitlines():
            if line.startswith("btime "):
                seconds = int(line.split()[1]) + ticks / os.sysconf("SC_CLK_TCK")
                return datetime.fromtimestamp(seconds, UTC)
        return None


def began_after(process: Running, moment: datetime | None) -> bool:
    """Whether a process began too late to have written something at that moment."""
    if process.started is None or moment is None:
        return False
    return process.started > moment + _SLACK


def _answers(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
