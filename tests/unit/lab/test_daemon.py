"""Starting, finding, replacing and ending long-running programs, with real ones that sleep."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from lab import cgroup
from lab.command import wait_until
from lab.daemon import Daemon, Supervisor, start_time
from lab.errors import LabError
from lab.settings import LabSettings

SLEEP = str(shutil.which("sleep"))
SHELL = str(shutil.which("sh"))

# The supervisor leaves its processes running on purpose and keeps no hold of them.
pytestmark = [
    pytest.mark.filterwarnings("ignore:subprocess .* is still running:ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


@pytest.fixture
def joined(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A plain file in the place of the control group's; daemons write their id into it."""
    file = tmp_path / "cgroup.procs"
    file.write_text("")
    monkeypatch.setattr(cgroup, "daemons_file", lambda **_: file)
    monkeypatch.setattr(cgroup, "members", lambda *_: set(map(int, file.read_text().split())))
    return file


@pytest.fixture
def supervisor(lab: LabSettings, joined: Path) -> Iterator[Supervisor]:
    """A supervisor whose daemons end with the test."""
    assert joined.exists()
    supervisor = Supervisor(lab)
    yield supervisor
    supervisor.stop(*supervisor.names(), grace=1)
    for pid in cgroup.members():
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def sleeper(seconds: int = 61, configuration: str = "") -> Daemon:
    argv = [SLEEP, str(seconds)]
    return Daemon(name="sleeper", argv=argv, configuration=configuration, inside=False)


def started(supervisor: Supervisor, daemon: Daemon) -> int:
    """Start a daemon, wait until its program runs and return its id."""
    supervisor.start(daemon)
    pid = supervisor.pid_of(daemon.name)
    assert pid is not None
    command_line = Path(f"/proc/{pid}/cmdline")
    wanted = b"".join(word.encode() + b"\0" for word in daemon.argv)
    wait_until(lambda: command_line.read_bytes() == wanted, what="the program", timeout=60)
    return pid


class TestStarting:
    """A daemon runs once, in the lab's group, with what it was given and nothing else."""

    def test_puts_it_into_the_group_before_its_program_runs(
        self, supervisor: Supervisor, joined: Path
    ) -> None:
        pid = started(supervisor, sleeper())
        assert joined.read_text().split() == [str(pid)]

    def test_again_changes_nothing(self, supervisor: Supervisor) -> None:
        pid = started(supervisor, sleeper())
        supervisor.start(sleeper())
        assert supervisor.pid_of("sleeper") == pid
        assert supervisor.runs_as(sleeper())

    def test_gives_it_its_own_environment_and_a_log(self, supervisor: Supervisor) -> None:
        script = 'echo "$WORD ${HOME-none} $PWD"; exec sleep 61'
        argv = [SHELL, "-c", script]
        env = {"WORD": "mine", "PATH": os.environ["PATH"]}
        supervisor.start(Daemon(name="speaker", argv=argv, environment=env, inside=False))
        log = supervisor.log_of("speaker")
        wait_until(lambda: log.read_text() != "", what="the log", timeout=60)
        assert log.read_text() == "mine none /\n"

    def test_enters_the_namespaces_of_the_holder(
        self, lab: LabSettings, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(Supervisor, "pid_of", lambda *_: 4242)
        command = Supervisor(lab)._command(Daemon(name="x", argv=["/bin/x", "--flag"]))
        namespaces = ["--net=/proc/4242/ns/net", "--mount=/proc/4242/ns/mnt"]
        assert command[-6:] == ["nsenter", *namespaces, "--", "/bin/x", "--flag"]

    def test_puts_a_log_that_grew_large_aside(
        self, supervisor: Supervisor, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("lab.daemon.LOG_LIMIT", 10)
        log = supervisor.log_of("sleeper")
        log.parent.mkdir(parents=True)
        log.write_text("a long story\n")
        started(supervisor, sleeper())
        assert log.read_text() == ""
        assert log.with_name("sleeper.log.1").read_text() == "a long story\n"


class TestReplacing:
    """What runs is what is wanted now."""

    @pytest.mark.parametrize(
        "wanted", [sleeper(62), sleeper(configuration="new")], ids=["arguments", "configuration"]
    )
    def test_happens_when_something_changed(self, supervisor: Supervisor, wanted: Daemon) -> None:
        former = started(supervisor, sleeper())
        assert not supervisor.runs_as(wanted)
        now = started(supervisor, wanted)
        assert now != former
        assert start_time(former) is None
        assert supervisor.runs_as(wanted)


class TestAfterAKill:
    """An `up` that was killed leaves nothing that the next one cannot find."""

    @pytest.mark.parametrize("record", [None, "", '{"pid": 1', "[]", '{"pid": 1, "extra": 2}'])
    def test_an_unrecorded_daemon_is_adopted(
        self, supervisor: Supervisor, lab: LabSettings, record: str | None
    ) -> None:
        pid = started(supervisor, sleeper())
        file = lab.state / "pids" / "sleeper.json"
        file.unlink()
        if record is not None:
            file.write_text(record)
        assert supervisor.pid_of("sleeper") is None
        supervisor.start(sleeper())
        assert supervisor.pid_of("sleeper") == pid

    def test_another_program_is_not(self, supervisor: Supervisor, lab: LabSettings) -> None:
        pid = started(supervisor, sleeper())
        (lab.state / "pids" / "sleeper.json").unlink()
        assert started(supervisor, sleeper(62)) != pid
        os.kill(pid, signal.SIGKILL)

    def test_a_number_given_to_somebody_else_is_not_taken_for_ours(
        self, supervisor: Supervisor, lab: LabSettings
    ) -> None:
        with subprocess.Popen([SLEEP, "63"]) as stranger:
            records = lab.state / "pids"
            records.mkdir()
            started_at = start_time(stranger.pid)
            assert started_at is not None
            record = {"pid": stranger.pid, "started": started_at - 1, "argv": [SLEEP, "63"]}
            (records / "sleeper.json").write_text(json.dumps(record))
            assert supervisor.pid_of("sleeper") is None
            supervisor.stop("sleeper")
            assert stranger.poll() is None
            stranger.kill()


class TestStopping:
    """A stopped daemon is gone when `stop` returns."""

    def test_ends_several_together_and_forgets_them(self, supervisor: Supervisor) -> None:
        daemons = [
            Daemon(name=name, argv=[SLEEP, seconds], inside=False)
            for name, seconds in (("one", "64"), ("two", "65"))
        ]
        pids = [started(supervisor, daemon) for daemon in daemons]
        assert supervisor.names() == ["one", "two"]
        supervisor.stop("one", "two")
        assert [start_time(pid) for pid in pids] == [None, None]
        assert supervisor.names() == []

    def test_uses_force_when_asking_does_not_help(self, supervisor: Supervisor) -> None:
        script = "trap '' TERM; echo ready; while :; do sleep 1; done"
        argv = [SHELL, "-c", script]
        supervisor.start(Daemon(name="deaf", argv=argv, inside=False))
        log = supervisor.log_of("deaf")
        wait_until(lambda: "ready" in log.read_text(), what="the trap", timeout=60)
        pid = supervisor.pid_of("deaf")
        assert pid is not None
        supervisor.stop("deaf", grace=0.1)
        assert start_time(pid) is None

    def test_of_what_never_ran_is_no_error(self, supervisor: Supervisor) -> None:
        supervisor.stop("nobody")


class TestWaiting:
    """The wait for a daemon ends as soon as it cannot succeed, and quotes the log."""

    def test_fails_at_once_when_the_daemon_ended(self, supervisor: Supervisor) -> None:
        argv = [SHELL, "-c", "echo address already in use; exit 1"]
        supervisor.start(Daemon(name="brief", argv=argv, inside=False))
        begin = time.monotonic()
        with pytest.raises(LabError) as caught:
            supervisor.wait_for("brief", lambda: False, what="brief to answer", timeout=120)
        assert time.monotonic() - begin < 60
        assert "brief ended by itself" in caught.value.why
        assert "address already in use" in caught.value.why
        assert str(supervisor.log_of("brief")) in caught.value.why

    def test_quotes_the_log_of_one_that_runs_and_does_not_answer(
        self, supervisor: Supervisor
    ) -> None:
        started(supervisor, sleeper())
        supervisor.log_of("sleeper").write_text("still thinking\n")
        with pytest.raises(LabError, match="still thinking"):
            supervisor.wait_for(["sleeper"], lambda: False, what="an answer", timeout=0.1)


class TestStartTime:
    """Start times tell processes with the same number apart."""

    def test_of_this_process_stays_the_same(self) -> None:
        assert start_time(os.getpid()) == start_time(os.getpid()) is not None

    def test_reads_past_a_name_with_brackets_and_blanks(self, tmp_path: Path) -> None:
        odd = tmp_path / "a) S (b"
        odd.symlink_to(SLEEP)
        with subprocess.Popen([odd, "66"]) as process:
            wait_until(
                lambda: "a) S (b" in Path(f"/proc/{process.pid}/stat").read_text(),
                what="the program",
                timeout=60,
            )
            seen = start_time(process.pid)
            own = start_time(os.getpid())
            process.kill()
        assert seen is not None
        assert own is not None
        assert seen >= own

    def test_of_a_zombie_whose_other_threads_still_end_is_there(self) -> None:
        # What the thread that a process begins with does is end itself, alone.
        script = (
            "import ctypes, platform, threading, time\n"
            "threading.Thread(target=time.sleep, args=[600], daemon=True).start()\n"
            "number = {'x86_64': 60, 'aarch64': 93}[platform.machine()]\n"
            "ctypes.CDLL(None).syscall(number, 0)\n"
        )
        with subprocess.Popen([sys.executable, "-c", script]) as process:
            try:
                stat = Path(f"/proc/{process.pid}/stat")
                deadline = time.monotonic() + 60
                while stat.read_text().rpartition(")")[2].split()[0] != "Z":
                    assert time.monotonic() < deadline
                    time.sleep(0.01)
                assert start_time(process.pid) is not None
            finally:
                process.kill()
        assert start_time(process.pid) is None

    def test_of_a_zombie_is_none(self) -> None:
        process = subprocess.Popen(["true"])
        wait_until(lambda: start_time(process.pid) is None, what="its end", timeout=60)
        assert Path(f"/proc/{process.pid}").exists()
        process.wait()

    def test_of_nobody_is_none(self) -> None:
        process = subprocess.Popen(["true"])
        process.wait()
        assert start_time(process.pid) is None
