"""A program that outlives its language host is ended; one whose host lives is not."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import pytest

from aegis_deploy.common.process import Machine, RunningProcess
from aegis_deploy.pulumi_cli import process_reaper as module
from aegis_deploy.pulumi_cli.process_reaper import HOST, Programs, ended
from lab.command import wait_until


def test_an_engine_that_ends_while_it_is_looked_at_has_no_programs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A directory below /proc may go between any two looks at it; the thread that looks stays."""
    read = os.scandir

    def gone(path: Path) -> object:
        if "/proc/" in str(path):
            raise FileNotFoundError(2, "No such file or directory", str(path))
        return read(path)

    monkeypatch.setattr(os, "scandir", gone)
    assert Programs(os.getpid()).orphans() == []


def test_a_program_is_ended_once_its_host_was_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_LOOK_SECONDS", 0.02)
    looks: list[int] = []
    look = Programs.orphans

    def counted(programs: Programs) -> list[RunningProcess]:
        found = look(programs)
        looks.append(len(found))
        return found

    host = tmp_path / f"{HOST}-python"
    host.write_text("#!/bin/sh\nsleep 600 &\necho $$ $!\nwait\n")
    host.chmod(0o755)
    engine = subprocess.Popen(
        ["/bin/sh", "-c", f"{host} & wait"], stdout=subprocess.PIPE, text=True
    )
    assert engine.stdout is not None
    here = Machine.here()
    with engine, engine.stdout:
        host_pid, program = map(int, engine.stdout.readline().split())
        programs = Programs(engine.pid)
        assert programs.orphans() == []
        monkeypatch.setattr(Programs, "orphans", counted)
        with ended(engine.pid):
            wait_until(lambda: len(looks) > 2, what="some looks", timeout=60, interval=0.01)
            assert set(looks) == {0}
            assert here.find(program) is not None
            os.kill(host_pid, signal.SIGKILL)
            wait_until(
                lambda: here.find(program) is None, what="its end", timeout=60, interval=0.01
            )
        assert programs.orphans() == []
