"""The one place that runs the CLI, with a shell script in the CLI's place."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from aegis_deploy.common.errors import AegisError
from aegis_deploy.common.signals import Interrupted, Signals
from aegis_deploy.pulumi_cli import engine as module
from aegis_deploy.pulumi_cli.cli_errors import Finished
from aegis_deploy.pulumi_cli.engine import Engine

SECONDS = 60


@pytest.fixture
def engine(tmp_path: Path) -> Engine:
    """An engine whose CLI is a script, to be written by `script`."""
    return Engine(tmp_path, {"PATH": f"{tmp_path}:/usr/bin:/bin"})


def script(directory: Path, text: str) -> None:
    path = directory / "pulumi"
    path.write_text("#!/bin/sh\n" + textwrap.dedent(text))
    path.chmod(0o755)


def wait_for(path: Path, text: str) -> None:
    deadline = time.monotonic() + SECONDS
    while not (path.exists() and text in path.read_text()):
        assert time.monotonic() < deadline, f"{path} never said {text}"
        time.sleep(0.01)


SLOW = """
    trap 'echo interrupted >> said; exit 8' INT
    echo running >> said
    for i in 1 2 3 4 5 6 7 8 9; do sleep 0.2; done
    echo ended >> said
"""
COUNTS = """
import os, signal, time
said = os.open("said", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
told = []
signal.signal(signal.SIGINT, lambda *_: (told.append(1), os.write(said, b"interrupted\\n")))
os.write(said, b"running\\n")
while not told:
    time.sleep(0.01)
time.sleep(0.2)
os.write(said, b"ended\\n")
"""


def children() -> list[str]:
    """The processes that this one has."""
    tasks = Path("/proc/self/task").glob("*/children")
    return [pid for it in tasks for pid in it.read_text().split()]


class TestARun:
    """It gives back what the CLI said, and never more than that."""

    @pytest.mark.parametrize("interruptible", [False, True])
    @pytest.mark.parametrize(
        ("own", "told"), [({}, "400 512MiB"), ({"GOGC": "50", "GOMEMLIMIT": "1GiB"}, "50 1GiB")]
    )
    def test_tidies_up_less_memory_unless_somebody_says_how_much(
        self, tmp_path: Path, own: dict[str, str], told: str, interruptible: bool
    ) -> None:
        engine = Engine(tmp_path, {"PATH": f"{tmp_path}:/usr/bin:/bin", **own})
        script(tmp_path, 'echo "$GOGC $GOMEMLIMIT"')
        done = engine.run(["preview"], interruptible=interruptible)
        assert done.stdout == f"{told}\n"

    def test_gives_code_and_both_streams(self, engine: Engine, tmp_path: Path) -> None:
        script(tmp_path, 'echo "$*"; echo oh >&2; exit 3')
        done = engine.run(["stack", "ls"])
        assert done == Finished(3, "--non-interactive --color=never stack ls\n", "oh\n")

    def test_feeds_what_is_not_to_be_on_a_command_line(
        self, engine: Engine, tmp_path: Path
    ) -> None:
        script(tmp_path, "cat")
        assert engine.run(["config", "set"], feed="hunter2").stdout == "hunter2"

    def test_without_a_cli_says_so(self, tmp_path: Path) -> None:
        with pytest.raises(AegisError, match="no pulumi CLI"):
            Engine(tmp_path, {"PATH": str(tmp_path)}).run(["version"])

    def test_does_not_show_what_was_printed_in_its_repr(self) -> None:
        assert "hunter2" not in repr(Finished(0, "hunter2", "hunter2"))

    @pytest.mark.parametrize(("version", "fits"), [("v3.259.0", True), ("3.237.9", False)])
    def test_wants_a_cli_that_is_new_enough(
        self, engine: Engine, tmp_path: Path, version: str, fits: bool
    ) -> None:
        script(tmp_path, f"echo {version}")
        if fits:
            assert engine.version() == "3.259.0"
        else:
            with pytest.raises(AegisError, match="at least"):
                engine.version()


@pytest.mark.skipif(not hasattr(os, "memfd_create"), reason="Linux has such files")
def test_what_the_cli_reads_and_prints_is_on_no_disk(engine: Engine, tmp_path: Path) -> None:
    script(tmp_path, "for it in 0 1 2; do readlink /proc/$$/fd/$it; done")
    places = engine.run(["stack", "import"], feed='{"plaintext": "s3cret"}').stdout.splitlines()
    assert len(places) == 3
    assert all(place.startswith("/memfd:") for place in places)


@contextmanager
def told_to_end_after(path: Path, text: str) -> Iterator[None]:
    """This process is sent SIGTERM as soon as a script has written that."""

    def tell() -> None:
        wait_for(path, text)
        os.kill(os.getpid(), signal.SIGTERM)

    telling = threading.Thread(target=tell)
    telling.start()
    with Signals().installed():
        yield
    telling.join()


class TestARunThatIsNotToBeStopped:
    """It writes settings or a state: it comes to its end before anything else is done."""

    def test_has_ended_when_a_signal_ends_its_caller(self, engine: Engine, tmp_path: Path) -> None:
        script(tmp_path, "echo begun > begun; sleep 1; echo done > written")
        with told_to_end_after(tmp_path / "begun", "begun"), pytest.raises(Interrupted):
            engine.run(["config", "set", "a", "b"])
        assert (tmp_path / "written").exists()

    def test_is_ended_when_somebody_insists(
        self, engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(module, "_END_SECONDS", 0.1)
        script(tmp_path, "echo $$ > begun; exec sleep 600")
        with told_to_end_after(tmp_path / "begun", "\n"), pytest.raises(Interrupted):
            engine.run(["config", "set", "a", "b"])
        assert_gone(int((tmp_path / "begun").read_text()))

    def test_is_known_to_whoever_is_told_to_stop_while_it_begins(
        self, engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The CLI may have begun to write before its start has returned to who starts it."""
        monkeypatch.setattr(module, "_END_SECONDS", 0.1)
        script(tmp_path, "echo $$ > begun; exec sleep 600")
        start = subprocess.Popen

        def slow(*args: Any, **options: Any) -> Any:
            process = start(*args, **options)
            wait_for(tmp_path / "begun", "\n")
            time.sleep(0.3)
            return process

        monkeypatch.setattr(subprocess, "Popen", slow)
        with told_to_end_after(tmp_path / "begun", "\n"), pytest.raises(Interrupted):
            engine.run(["config", "set", "a", "b"])
        assert_gone(int((tmp_path / "begun").read_text()))

    def test_that_never_ends_is_ended_and_told(
        self, engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(module, "_LONGEST_RUN", 0.5)
        script(tmp_path, "echo asking s3 >&2; echo $$ > begun; exec sleep 600")
        with pytest.raises(AegisError) as failed:
            engine.run(["stack", "export", "--stack", "a"])
        assert failed.value.what == "pulumi stack export did not end"
        assert_gone(int((tmp_path / "begun").read_text()))


def assert_gone(pid: int) -> None:
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


class TestStopping:
    """One interrupt, whoever asks and however often."""

    def test_interrupts_the_run_once(self, engine: Engine, tmp_path: Path) -> None:
        script(tmp_path, SLOW)

        def ask() -> None:
            wait_for(tmp_path / "said", "running")
            engine.stop()
            engine.stop()

        asked = threading.Thread(target=ask)
        asked.start()
        done = engine.run(["up"], interruptible=True)
        asked.join()
        assert done.code == 8
        assert (tmp_path / "said").read_text() == "running\ninterrupted\n"

    @pytest.mark.skipif(sys.platform != "linux", reason="where the CLI is started through a prefix")
    def test_reaches_the_cli_where_interrupts_are_ignored(
        self, engine: Engine, tmp_path: Path
    ) -> None:
        # As a shell starts what it puts in the background.
        before = signal.signal(signal.SIGINT, signal.SIG_IGN)
        try:
            self.test_interrupts_the_run_once(engine, tmp_path)
        finally:
            signal.signal(signal.SIGINT, before)

    def test_that_came_before_the_start_ends_the_run_too(
        self, engine: Engine, tmp_path: Path
    ) -> None:
        script(tmp_path, SLOW)
        engine.arm()
        engine.stop()
        assert engine.run(["up"], interruptible=True).code != 0
        assert not (tmp_path / "said").exists() or "ended" not in (tmp_path / "said").read_text()

    def test_does_not_touch_what_is_not_to_be_stopped(self, engine: Engine, tmp_path: Path) -> None:
        script(tmp_path, "echo fine")
        engine.stop()
        assert engine.run(["stack", "export"]).stdout == "fine\n"

    @pytest.mark.skipif(sys.platform != "linux", reason="where a death is watched for")
    @pytest.mark.parametrize("how", ["killed", "told to stop, then killed", "told to end"])
    def test_the_cli_is_told_to_stop_once_when_this_process_is_gone(
        self, engine: Engine, tmp_path: Path, how: str
    ) -> None:
        # The kernel would tell it again for each thread that its parent was handed on to.
        script(tmp_path, f"exec {sys.executable} -c {shlex.quote(COUNTS)}")
        program = (
            "import sys, threading, time\n"
            "from pathlib import Path\n"
            "from aegis_deploy.common.signals import Interrupted, Signals\n"
            "from aegis_deploy.pulumi_cli.engine import Engine\n"
            "for _ in range(8):\n"
            "    threading.Thread(target=time.sleep, args=(600,), daemon=True).start()\n"
            "engine = Engine(Path(sys.argv[1]), {'PATH': sys.argv[2]})\n"
            "def stop():\n"
            "    sys.stdin.readline()\n"
            "    engine.stop()\n"
            "    print('stopped', flush=True)\n"
            "threading.Thread(target=stop, daemon=True).start()\n"
            "try:\n"
            "    with Signals().installed():\n"
            "        engine.run(['up'], interruptible=True)\n"
            "except Interrupted:\n"
            "    pass\n"
        )
        for _ in range(6):
            with subprocess.Popen(
                [sys.executable, "-c", program, str(tmp_path), engine.environment["PATH"]],
                env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[4])},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            ) as child:
                wait_for(tmp_path / "said", "running")
                if how == "told to stop, then killed":
                    assert child.stdin is not None
                    assert child.stdout is not None
                    child.stdin.write("stop\n")
                    child.stdin.flush()
                    assert child.stdout.readline() == "stopped\n"
                child.send_signal(signal.SIGTERM if how == "told to end" else signal.SIGKILL)
            wait_for(tmp_path / "said", "ended")
            assert (tmp_path / "said").read_text() == "running\ninterrupted\nended\n"
            (tmp_path / "said").unlink()

    @pytest.mark.skipif(sys.platform != "linux", reason="where a death is watched for")
    def test_nothing_is_left_that_watches_for_a_death(self, engine: Engine, tmp_path: Path) -> None:
        script(tmp_path, "exit 0")
        before = set(children())
        assert engine.run(["up"], interruptible=True).code == 0
        assert set(children()) <= before

    @pytest.mark.skipif(sys.platform != "linux", reason="sessions")
    def test_a_terminals_interrupt_does_not_reach_the_cli_by_itself(
        self, engine: Engine, tmp_path: Path
    ) -> None:
        script(tmp_path, "cut -d' ' -f6 /proc/$$/stat")
        session = engine.run(["up"], interruptible=True).stdout.strip()
        assert session != str(os.getsid(0))
