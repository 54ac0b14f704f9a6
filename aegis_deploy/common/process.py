"""Whether a process of this machine is still the one that somebody wrote down.

A process number means something only in the space it is counted in: containers share a machine's
boot and have numbers of their own (https://man7.org/linux/man-pages/man7/pid_namespaces.7.html).
"""

from __future__ import annotations

import getpass
import os
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path

_PROC = Path("/proc")
_SLACK = timedelta(seconds=10)
"""How far the start of a process, counted from the boot, may be off."""
_NAMELESS = frozenset({"", "localhost", "localhost.localdomain", "runner"})
_FIRST_SPACE = "4026531836"
"""The space that a kernel starts with, from which every process is seen (PROC_PID_INIT_INO)."""


@dataclass(frozen=True)
class RunningProcess:
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
        host: Its name, which other machines may have as well.
        boot: What names this boot of it and the space in which its processes are counted here;
            empty where the system does not tell.
        proc: Where the kernel tells about processes.
        kernel: What names the boot alone.
        space: What names the space alone.
    """

    host: str
    boot: str = ""
    proc: Path = _PROC
    kernel: str = ""
    space: str = ""

    @classmethod
    def here(cls) -> Machine:
        """The machine this runs on."""
        try:
            kernel = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        except OSError:
            kernel = ""
        try:
            space = str(Path("/proc/self/ns/pid").readlink()).strip("pid:[]")
        except OSError:
            space = ""
        boot = sha256(f"{kernel} {space}".encode()).hexdigest() if kernel and space else ""
        return cls(socket.gethostname(), boot, kernel=kernel, space=space)

    @property
    def sees_all(self) -> bool:
        """Whether every process of this kernel is seen from here, containers' as well."""
        if self.space != _FIRST_SPACE:
            return False
        try:
            (self.proc / "1" / "stat").read_text()
        except OSError:  # A /proc that hides what other users run (hidepid).
            return False
        return True

    def is_named(self, host: str) -> bool:
        """Whether a host's name means this machine and can mean no other."""
        return host == self.host and host not in _NAMELESS

    def find(self, pid: int) -> RunningProcess | None:
        """The process with this id; None when there is none, or only its remains."""
        if not (self.proc / "stat").exists():
            return RunningProcess(pid) if _answers(pid) else None
        try:
            stat = (self.proc / str(pid) / "stat").read_text()
        except OSError:
            # What is hidden from this user can still be asked whether it is there.
            hidden = self.proc == _PROC and _answers(pid)
            return RunningProcess(pid) if hidden else None
        # The name is in parentheses and may hold any character, parentheses too.
        name, fields = stat.partition("(")[2].rpartition(")")[0], stat.rpartition(")")[2].split()
        if fields[0] in {"Z", "X"}:
            return None
        ticks = int(fields[19])
        return RunningProcess(pid, name, self._moment(ticks), ticks)

    def lives(self, process: RunningProcess) -> bool:
        """Whether a process that was seen runs still; another one may have its id by now."""
        found = self.find(process.pid)
        return found is not None and found.ticks == process.ticks

    def find_within(self, pid: int) -> Iterator[RunningProcess]:
        """The processes that have this number in a container's space, and another one here."""
        try:
            every = list(self.proc.glob("[0-9]*/status"))
        except OSError:
            return
        for status in every:
            try:
                lines = status.read_text().splitlines()
            except OSError:
                continue
            spaces = next((it.split()[1:] for it in lines if it.startswith("NSpid:")), [])
            if len(spaces) > 1 and spaces[-1] == str(pid):
                process = self.find(int(spaces[0]))
                if process is not None:
                    yield process

    def _moment(self, ticks: int) -> datetime | None:
        for line in (self.proc / "stat").read_text().splitlines():
            if line.startswith("btime "):
                seconds = int(line.split()[1]) + ticks / os.sysconf("SC_CLK_TCK")
                return datetime.fromtimestamp(seconds, UTC)
        return None


def user() -> str:
    """Who runs this, as far as the system has a name: a container's user often has a number only.

    The variables that name a user come first, as for the CLI.
    """
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # The second one from Python 3.13 on.
        return str(os.getuid())


def began_after(process: RunningProcess, moment: datetime | None) -> bool:
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
