"""Starts the lab's long-running programs and knows them again.

A daemon is known by its id *and* its start time, so that a number the kernel gave to
somebody else since is never mistaken for ours.
"""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path

from lab import cgroup
from lab.command import TAIL_LINES, tail, wait_until
from lab.node import HOLDER
from lab.settings import LabSettings

LOG_LIMIT = 16 * 1024 * 1024
"""Bytes after which a log is put aside (one old one is kept) at the daemon's next start."""


@dataclass(frozen=True, kw_only=True)
class Daemon:
    """A long-running program of the lab.

    Attributes:
        name: Its name, also of its log and pid file.
        argv: Program (absolute) and arguments.
        environment: Its whole environment.
        configuration: What its configuration file says; one that runs with another is
            started anew.
        inside: Enter a node's network and mount namespace first.
        holder: The daemon that holds these namespaces.
        group: The part of the lab's control group that it belongs to; empty for the lab's own.
    """

    name: str
    argv: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=dict)
    configuration: str = ""
    inside: bool = True
    holder: str = HOLDER
    group: str = ""


@dataclass(frozen=True)
class Recorded:
    """What is remembered of a started daemon."""

    pid: int
    started: int
    argv: list[str]
    configuration: str = ""


class Supervisor:
    """Starts, finds and ends daemons. Keeps no process of its own running.

    Args:
        settings: Says where logs and pid files are.
    """

    def __init__(self, settings: LabSettings) -> None:
        self._settings = settings
        self._records = settings.state / "pids"

    def log_of(self, name: str) -> Path:
        """Return the log file of a daemon."""
        return self._settings.logs / f"{name}.log"

    def last_lines(self, name: str, lines: int = TAIL_LINES) -> str:
        """Return the end of a daemon's log, with the file's name above it."""
        path = self.log_of(name)
        text = path.read_text(errors="replace") if path.exists() else ""
        return f"{path}:\n{tail(text, lines)}"

    def pid_of(self, name: str) -> int | None:
        """Return the id of a daemon that runs, else None."""
        record = self._record(name)
        if record is None or start_time(record.pid) != record.started:
            return None
        return record.pid

    def runs_as(self, daemon: Daemon) -> bool:
        """Return whether the daemon runs, and with these very arguments."""
        record = self._record(daemon.name)
        return (
            record is not None
            and start_time(record.pid) == record.started
            and record.argv == list(daemon.argv)
            and record.configuration == _digest(daemon)
        )

    def start(self, daemon: Daemon) -> None:
        """Start a daemon unless it runs with the same arguments already.

        One that runs with other arguments (an older checkout's) is ended first.
        """
        if self.runs_as(daemon) or self._adopt(daemon):
            return
        self.stop(daemon.name)
        self._records.mkdir(parents=True, exist_ok=True)
        self._settings.logs.mkdir(parents=True, exist_ok=True)
        log = self.log_of(daemon.name)
        if log.exists() and log.stat().st_size > LOG_LIMIT:
            log.replace(log.with_suffix(".log.1"))
        with log.open("ab") as output:
            process = subprocess.Popen(
                self._command(daemon),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                env=dict(daemon.environment),
                cwd="/",
            )
        self._remember(daemon, process.pid)

    def _remember(self, daemon: Daemon, pid: int) -> None:
        started = start_time(pid)
        if started is not None:
            record = Recorded(pid, started, list(daemon.argv), _digest(daemon))
            self._record_file(daemon.name).write_text(json.dumps(asdict(record)))

    def _adopt(self, daemon: Daemon) -> bool:
        """Put on record a daemon whose `up` was killed between starting and recording it."""
        if self.pid_of(daemon.name) is not None:
            return False
        wanted = b"".join(word.encode() + b"\0" for word in daemon.argv)
        for pid in cgroup.members(cgroup.daemons_of(daemon.group)):
            with suppress(OSError):
                if Path(f"/proc/{pid}/cmdline").read_bytes() == wanted:
                    self._records.mkdir(parents=True, exist_ok=True)
                    self._remember(daemon, pid)
                    return True
        return False

    def _command(self, daemon: Daemon) -> list[str]:
        # The shell joins the control group and is then replaced: same process id throughout.
        group = str(cgroup.daemons_file(part=daemon.group))
        join = ["/bin/sh", "-c", 'echo $$ > "$0" && exec "$@"', group]
        if not daemon.inside:
            return [*join, *daemon.argv]
        holder = self.pid_of(daemon.holder)
        namespaces = [f"--net=/proc/{holder}/ns/net", f"--mount=/proc/{holder}/ns/mnt"]
        return [*join, "nsenter", *namespaces, "--", *daemon.argv]

    def stop(self, *names: str, grace: float = 10) -> None:
        """End daemons together and wait until they are gone.

        Args:
            names: The daemons; one that does not run is no error.
            grace: Seconds between SIGTERM and SIGKILL.
        """
        records = {name: record for name in names if (record := self._record(name)) is not None}
        for number, patience in ((signal.SIGTERM, grace), (signal.SIGKILL, 10.0)):
            deadline = time.monotonic() + patience
            running = [r for r in records.values() if start_time(r.pid) == r.started]
            for record in running:
                with suppress(ProcessLookupError):
                    os.kill(record.pid, number)
            while running and time.monotonic() < deadline:
                time.sleep(0.05)
                running = [r for r in running if start_time(r.pid) == r.started]
        for name in records:
            self._record_file(name).unlink(missing_ok=True)

    def names(self) -> list[str]:
        """Return the daemons that are on record."""
        return sorted(path.stem for path in self._records.glob("*.json"))

    def wait_for(
        self,
        names: str | Sequence[str],
        ready: Callable[[], bool],
        *,
        what: str,
        timeout: float = 60,
    ) -> float:
        """Wait until daemons answer; fails at once when one of them has ended.

        Args:
            names: The daemon, or several that must all run for the condition to come true.
            ready: Answers whether they do.
            what: In words, for the error: "the registry to answer".
            timeout: Seconds.

        Returns:
            The seconds it took.
        """
        watched = [names] if isinstance(names, str) else list(names)

        def ended() -> str | None:
            for name in watched:
                if self.pid_of(name) is None:
                    return f"{name} ended by itself; the end of {self.last_lines(name)}"
            return None

        def detail() -> str:
            return "\n".join(f"the end of {self.last_lines(name)}" for name in watched)

        return wait_until(ready, what=what, timeout=timeout, failed=ended, detail=detail)

    def _record_file(self, name: str) -> Path:
        return self._records / f"{name}.json"

    def _record(self, name: str) -> Recorded | None:
        try:
            return Recorded(**json.loads(self._record_file(name).read_text()))
        except (OSError, ValueError, TypeError):
            # Absent, or half-written by an `up` that was killed: the cgroup finds the process.
            return None


def _digest(daemon: Daemon) -> str:
    return hashlib.sha256(daemon.configuration.encode()).hexdigest()


def start_time(pid: int) -> int | None:
    """Return when a process started (clock ticks since boot), None when there is none.

    A zombie counts as gone, for nobody but its parent can do anything about it; but not while other
    threads of it still end, for until then it holds its ports and files.
    """
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    fields = text.rpartition(")")[2].split()
    state, threads, started = fields[0], int(fields[17]), int(fields[19])
    gone = state == "X" or (state == "Z" and threads <= 1)
    return None if gone else started
