"""Every run of the Pulumi CLI: started here, stopped here; `failures` says why one failed.

The CLI gets a session of its own, so that a terminal's Ctrl-C reaches it only through `stop`,
once (a second one makes it give up half-way). What it prints goes to memory that has no name (on
Linux; elsewhere to a file that has none): should this process die, the CLI meets no broken pipe, is
told to stop (`death_watch`, on Linux), and ends its update cleanly. No secret comes to a disk so.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, NoReturn

from aegis_deploy.common.errors import AegisError
from aegis_deploy.pulumi_cli import process_reaper
from aegis_deploy.pulumi_cli.cli_errors import Finished, explain, last_lines
from aegis_deploy.pulumi_cli.cli_version import remembered
from aegis_deploy.pulumi_cli.death_watch import DeathWatch

OLDEST = (3, 238, 0)
"""Since then an after-hook's error fails the update, which the gate rests on."""
_asking = threading.Lock()
_LONGEST_RUN = 600.0
"""So many seconds a run that changes nothing in a cluster may take; a backend may not answer."""
_END_SECONDS = 15.0
"""So long such a run may take to end when this process is told to stop, before it is ended."""
_BEGIN_SECONDS = 60.0
"""So long a process may take to begin once its caller is told to stop."""
_QUICK = {"GOGC": "400", "GOMEMLIMIT": "512MiB"}
"""Less tidying up of memory by the CLI and its plugins, which takes a seventh of their start, up to
that size of each (https://go.dev/doc/gc-guide). What somebody has set holds."""

# Become the CLI, once it is known whom to interrupt when the process that started it dies.
# A shell starts what it puts in the background with interrupts ignored, and that is inherited: the
# CLI must hear them all the same, or nothing could stop an update that a script started with `&`.
# Until it can, an interrupt is held back (`_held_interrupts`), not lost.
_BECOME = """
import os, signal, sys
signal.signal(signal.SIGINT, signal.SIG_DFL)
try:
    os.write(int(sys.argv[2]), b"%d\\n" % os.getpid())
except OSError:
    pass  # Whoever killed the watch wants none.
os.close(int(sys.argv[2]))
signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGINT])
if os.getppid() != int(sys.argv[1]):
    sys.exit(130)
os.execvp(sys.argv[3], sys.argv[3:])
"""


@dataclass
class Engine:
    """The CLI, run in a project's directory.

    Attributes:
        directory: The project's directory.
        environment: The whole environment it runs with.
    """

    directory: Path
    environment: Mapping[str, str] = field(repr=False)
    hidden: str | None = field(default=None, repr=False)
    """A password in the backend's address, which the CLI prints when it cannot open it."""
    tagging: threading.Lock = field(default_factory=threading.Lock, repr=False)
    """Held while tags are changed: the CLI reads all of them and writes all of them back."""
    _running: subprocess.Popen[bytes] | None = field(default=None, repr=False)
    _watch: DeathWatch | None = field(default=None, repr=False)
    _stopped: bool = field(default=False, repr=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    @property
    def program(self) -> str:
        """Where the CLI is."""
        found = shutil.which("pulumi", path=self.environment.get("PATH"))
        if found is None:
            raise AegisError(
                what="there is no pulumi CLI on PATH",
                why=f"PATH is {self.environment.get('PATH', '')}",
                next='install Pulumi, or `make up` and eval "$(make -s env)" for the lab\'s',
            )
        return found

    def run(
        self,
        arguments: Sequence[str],
        *,
        interruptible: bool = False,
        environment: Mapping[str, str] | None = None,
        directory: Path | None = None,
        feed: str | None = None,
        inherited: Sequence[int] = (),
    ) -> Finished:
        """Run the CLI until it ends, and do not judge how.

        Args:
            arguments: Its arguments; it never asks and never colours.
            interruptible: Whether `stop` is meant for this run, and so is our death.
            environment: Variables over the engine's own.
            directory: Where to run it instead of the project's directory.
            feed: What it reads from its standard input.
            inherited: Open files of this process that it has, too.

        Raises:
            AegisError: One that is not interruptible took too long, and was ended.
        """
        command = [self.program, "--non-interactive", "--color=never", *arguments]
        with nameless() as out, nameless() as err, nameless() as into:
            into.write((feed or "").encode())
            into.seek(0)
            variables = {**_QUICK, **self.environment}

            def begin(*prefix: str, files: Sequence[int] = ()) -> subprocess.Popen[bytes]:
                return subprocess.Popen(
                    [*prefix, *command],
                    cwd=directory or self.directory,
                    env={**variables, **(environment or {})},
                    stdin=into,
                    stdout=out,
                    stderr=err,
                    start_new_session=interruptible,
                    pass_fds=[*inherited, *files],
                )

            try:
                code = self._run_stoppable(begin) if interruptible else _run_whole(begin)
            except subprocess.TimeoutExpired as error:
                raise AegisError(
                    what=f"pulumi {' '.join(arguments[:2])} did not end",
                    why=f"it was ended after {_LONGEST_RUN:g} s: {last_lines(self._text(err), 3)}",
                    state="nothing that runs was changed",
                    next="see that the backend answers: pulumi stack ls",
                ) from error
            return Finished(code, self._text(out), self._text(err))

    def _run_stoppable(self, begin: Callable[..., subprocess.Popen[bytes]]) -> int:
        """Run an update, for which `stop` and our death are meant."""
        with ExitStack() as around:
            watch = around.enter_context(DeathWatch()) if sys.platform == "linux" else None
            if watch is None:
                process = begin()
            else:
                become = (sys.executable, "-I", "-S", "-c", _BECOME)
                with _held_interrupts():
                    process = begin(*become, str(os.getpid()), str(watch.told), files=[watch.told])
            self._started(process, watch)
            try:
                with process_reaper.ended(process.pid):
                    code = process.wait()
                if watch is not None:
                    watch.over()
                return code
            finally:
                with self._lock:
                    self._running = self._watch = None

    def expect(self, *arguments: str, environment: Mapping[str, str] | None = None) -> str:
        """Run the CLI and return what it printed.

        Raises:
            AegisError: When it failed, with the cause named.
        """
        done = self.run(arguments, environment=environment)
        if done.code:
            command = " ".join(word for word in arguments[:3] if not word.startswith("-"))
            raise explain(done, f"pulumi {command} failed")
        return done.stdout

    def expect_json(self, *arguments: str) -> Any:  # noqa: ANN401 - any JSON value
        """Run the CLI and return the JSON value it printed."""
        return json.loads(self.expect(*arguments))

    def arm(self) -> None:
        """Begin anew: what `stop` asked before is done with."""
        with self._lock:
            self._stopped = False

    def stop(self) -> None:
        """Ask the update that is running, or about to, to end at the next safe moment.

        Safe to call from any thread and more than once; only the first asks, for the CLI takes a
        second interrupt as an order to leave everything as it lies.
        """
        with self._lock:
            if self._stopped:
                return
            self._stopped = True
            self._interrupt()

    def kill(self) -> None:
        """End the update that is running at once; its lock and pending operations stay behind."""
        with self._lock:
            if self._running is not None and self._running.poll() is None:
                self._running.kill()

    @property
    def pid(self) -> int | None:
        """The process id of the update that is running."""
        running = self._running
        return None if running is None else running.pid

    def version(self) -> str:
        """The CLI's version.

        Raises:
            AegisError: When it is older than the oldest that works.
        """
        with _asking:  # Several stacks are previewed at once: one of them asks.
            text = remembered(
                Path(self.program),
                self.environment,
                lambda: self.expect("version").strip().removeprefix("v"),
            )
        found = tuple(int(part) for part in re.findall(r"\d+", text)[:3])
        if found < OLDEST:
            oldest = ".".join(map(str, OLDEST))
            raise AegisError(
                what=f"the pulumi CLI is {text}; at least {oldest} is needed",
                why=f"{self.program} says so",
                next="install a newer Pulumi",
            )
        return text

    def _text(self, stream: Any) -> str:  # noqa: ANN401 - the file object tempfile returns
        stream.seek(0)
        text = str(stream.read().decode(errors="replace"))
        return text.replace(f":{self.hidden}@", ":****@") if self.hidden else text

    def _started(self, process: subprocess.Popen[bytes], watch: DeathWatch | None) -> None:
        with self._lock:
            self._running, self._watch = process, watch
            if self._stopped:
                self._interrupt()

    def _interrupt(self) -> None:
        """Interrupt the update that runs, which our death is then no reason to do once more."""
        if self._running is None or self._running.poll() is not None:
            return
        self._running.send_signal(signal.SIGINT)
        if self._watch is not None:
            self._watch.over()


def nameless() -> IO[bytes]:
    """A file without a name, in memory where the system has such."""
    if hasattr(os, "memfd_create"):
        return os.fdopen(os.memfd_create("aegis"), "w+b")
    return tempfile.TemporaryFile()


def _run_whole(begin: Callable[[], subprocess.Popen[bytes]]) -> int:
    """Run to the end; one whose caller is told to stop before has written what it writes by then.

    It may be writing the state or a settings file; so it is ended only when it takes long, or when
    somebody insists.
    """
    begun: list[subprocess.Popen[bytes]] = []
    failed: list[BaseException] = []
    known = threading.Event()

    def start() -> None:
        try:
            begun.append(begin())
        except BaseException as error:
            failed.append(error)
        finally:
            known.set()

    try:
        # On another thread: who is told to stop while it begins would not know what has begun.
        threading.Thread(target=start, name="begin", daemon=True).start()
        known.wait()
        return begun[0].wait(_LONGEST_RUN) if begun else _raised(failed[0])
    except BaseException as error:
        if failed or not known.wait(_BEGIN_SECONDS):
            raise
        try:
            begun[0].wait(0 if isinstance(error, subprocess.TimeoutExpired) else _END_SECONDS)
        except BaseException:
            _end(begun[0])
        raise


def _raised(error: BaseException) -> NoReturn:
    raise error


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()


@contextmanager
def _held_interrupts() -> Iterator[None]:
    """Start a process with interrupts held back; `_BECOME` lets them through."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
