"""A second process that puts a stack in order when the one that works on it dies.

The two hold the ends of one socket, so death needs no telling: the kernel closes the dead one's
end, whatever killed it, and no process id can be taken for another's. While the worker lives it
sends its heartbeat. One that is silent for too long stands still; it is ended, so that never two
work on the stack, and then counts as dead.

Secrets reach the guard the way they reach every command, by the environment.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING

from aegis_deploy.common.errors import AegisError, ExitCode

if TYPE_CHECKING:
    from aegis_deploy.common.console import Output
    from aegis_deploy.locking.lease import Claimed
    from aegis_deploy.stack.session import Session

BY = "the guard, whose deployer died"
"""How history names who restored the release."""
SILENT_SECONDS = 30
"""How long a worker may send nothing. It beats by the second, whatever its backend takes."""
_BEAT_SECONDS = 1.0
PAUSES = (2.0, 5.0, 10.0, 20.0, 40.0, *[60.0] * 10)
"""How long to wait before each further try while the cluster or the backend does not answer."""
_START_SECONDS = 30.0
_at_work: list[subprocess.Popen[bytes]] = []
"""Guards that this process leaves running, as is meant: collecting one would warn of it."""
_READY, _BEAT, _BEGUN, _DONE = b"r", b".", b"b", b"d"

_KEPT_FROM = {
    "RUNNER_TRACKING_ID": "",
    "JENKINS_NODE_COOKIE": "dontKillMe",
    "BUILD_ID": "dontKillMe",
}
"""Variables by which a pipeline finds the processes of a job that has ended, to end them too."""


class Ending(Enum):
    """How the work that a guard watches came to an end."""

    DONE = "it was done, or failed and said so"
    """There is nothing to do for a guard."""
    UNBEGUN = "it died before it changed anything"
    """Nothing either."""
    DIED = "it died, or a signal cut it short"
    SILENT = "it stands still"


def watch(
    channel: socket.socket, *, silent_seconds: int = SILENT_SECONDS, look_seconds: float = 1.0
) -> Ending:
    """Watch until the work ends.

    Silence is counted in looks, not by a clock: after the whole machine has stood still, the
    worker gets its time like the guard.

    Args:
        channel: The guard's end of the socket.
        silent_seconds: How many looks may pass without a word.
        look_seconds: How long a look takes.
    """
    channel.settimeout(look_seconds)
    begun, silent = False, 0
    while True:
        try:
            said = channel.recv(4096)
        except TimeoutError:
            silent += 1
            if begun and silent >= silent_seconds:
                return Ending.SILENT
            continue
        except OSError:
            said = b""
        silent = 0
        begun = begun or _BEGUN in said
        if _DONE in said:
            return Ending.DONE
        if not said:
            return Ending.DIED if begun else Ending.UNBEGUN


def end(pid: int, *, parent: Callable[[], int] = os.getppid) -> bool:
    """End a worker that stands still; it is this process's parent as long as it exists.

    Returns:
        Whether it was there to be ended.
    """
    if parent() != pid:
        return False
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
    return True


class Watchdog:
    """A guard at work, seen from whom it watches.

    Attributes:
        pid: Its process.
        log: Where it writes what it does.
        begun: Whether it was told that the stack is being changed.
    """

    def __init__(self, channel: socket.socket, process: subprocess.Popen[bytes], log: Path) -> None:
        self.pid, self.log, self.begun = process.pid, log, False
        self._channel, self._process = channel, process
        self._over = threading.Event()

    def begins(self) -> None:
        """Tell it that the stack is about to be changed, once it is there.

        Raises:
            AegisError: It is not.
        """
        if self.begun:
            return
        self._channel.settimeout(_START_SECONDS)
        try:
            there = self._channel.recv(1) == _READY
            self._channel.settimeout(None)
            self._channel.sendall(_BEGUN)
        except OSError:
            there = False
        if not there:
            raise AegisError(
                what="the guard did not start",
                why=_text(self.log) or f"it said nothing; its log {self.log} is empty",
                next="mend that, or deploy without --detach-guard",
            )
        self.begun = True
        threading.Thread(target=self._beat, name="guard", daemon=True).start()

    def ends(self) -> None:
        """Tell it that there is nothing to do for it."""
        self._over.set()
        with suppress(OSError):
            self._channel.sendall(_DONE)
        if self.begun:
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(_BEAT_SECONDS)

    def close(self) -> None:
        """Let go of it; what it was not told is over counts as dead."""
        self._over.set()
        self._channel.close()
        if self._process.poll() is None:
            _at_work.append(self._process)

    def _beat(self) -> None:
        while not self._over.wait(_BEAT_SECONDS):
            try:
                self._channel.send(_BEAT, socket.MSG_DONTWAIT)
            except BlockingIOError:
                continue  # It is the guard that stands still.
            except OSError:
                return


@contextmanager
def guarding(session: Session, claim: Claimed, out: Output) -> Iterator[Watchdog]:
    """Have a guard watch over the block.

    A signal that cuts the work short is the guard's business as well: it goes on once this
    process has ended.
    """
    guard = start(session, claim.id)
    out.say(f"guard: process {guard.pid} goes on should this one die; its log: {guard.log}")
    try:
        yield guard
        guard.ends()
    except AegisError as error:
        if error.code is not ExitCode.INTERRUPTED or not guard.begun:
            guard.ends()
            raise
        claim.leaves = True
        error.next = f"nothing: the guard puts {session.name} in order; see {guard.log}"
        raise
    except BaseException:
        claim.leaves = guard.begun
        raise
    finally:
        guard.close()


def start(session: Session, name: str) -> Watchdog:
    """Start a guard that watches this process.

    Args:
        session: The stack.
        name: Tells its log from others'.
    """
    log = session.pulumi_home / "aegis" / f"guard-{session.project}-{session.name}-{name}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    ours, its = socket.socketpair()
    with its, os.fdopen(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "wb") as into:
        process = subprocess.Popen(
            # -P: the program's own directory may have a package of our name.
            [sys.executable, "-P", "-m", "aegis_deploy.cli.main", *arguments(session, log)],
            stdin=its.fileno(),
            stdout=into,
            stderr=into,
            env=environment(os.environ),
            start_new_session=True,
        )
    return Watchdog(ours, process, log)


def arguments(session: Session, log: Path) -> list[str]:
    """Return the guard's command line; it holds no secret."""
    where = ("--stack", session.reference, "--directory", str(session.directory))
    return ["guard", *where, "--log", str(log)]


def environment(given: Mapping[str, str]) -> dict[str, str]:
    """Return the guard's environment: the worker's, but for what would have it ended with it."""
    return {name: _KEPT_FROM.get(name, value) for name, value in given.items()}


def ready(channel: socket.socket) -> None:
    """Tell the worker that its guard is there."""
    channel.sendall(_READY)


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace").strip()
    except OSError:
        return ""
