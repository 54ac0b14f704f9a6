"""Keeping others from a directory, on file systems of one machine and of several."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from aegis_deploy.common import directory_lock
from aegis_deploy.common.directory_lock import alone
from lab.command import wait_until
from tests.rendering import ROOT

COUNTER = """
import sys, time
from pathlib import Path
from aegis_deploy.common.directory_lock import alone
directory, times = Path(sys.argv[1]), int(sys.argv[2])
for _ in range(times):
    with alone(directory, shared=sys.argv[3] == "True"):
        count = int((directory / "count").read_text())
        time.sleep(0.001)
        (directory / "count").write_text(str(count + 1))
"""
HOLDER = """
import sys
from pathlib import Path
from aegis_deploy.common.directory_lock import alone
with alone(Path(sys.argv[1]), shared=True):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.mark.parametrize("shared", [True, False])
def test_one_is_in_it_at_a_time(tmp_path: Path, shared: bool) -> None:
    (tmp_path / "count").write_text("0")
    command = [sys.executable, "-c", COUNTER, str(tmp_path), "20", str(shared)]
    running = [subprocess.Popen(command, cwd=ROOT) for _ in range(4)]
    assert [it.wait(120) for it in running] == [0] * 4
    assert (tmp_path / "count").read_text() == "80"
    assert os.listdir(tmp_path) == ["count"]  # noqa: PTH208


def test_an_error_gives_it_up(tmp_path: Path) -> None:
    for shared in (True, False):
        with pytest.raises(KeyError), alone(tmp_path, shared=shared):
            raise KeyError
        with alone(tmp_path, shared=shared):
            pass
    assert os.listdir(tmp_path) == []  # noqa: PTH208


def test_of_somebody_who_died_with_it_is_taken_away_after_a_while(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        process.send_signal(signal.SIGKILL)
    lock = tmp_path / ".lock"
    assert lock.exists()
    old = time.time() - directory_lock._LOST_SECONDS - 1
    os.utime(lock, (old, old))
    with alone(tmp_path, shared=True):
        assert lock.stat().st_mtime > old
    assert not lock.exists()


def test_a_living_ones_is_waited_for(tmp_path: Path) -> None:
    with alone(tmp_path, shared=True):
        process = subprocess.Popen(
            [sys.executable, "-c", HOLDER, str(tmp_path)],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        wait_until(
            lambda: len(os.listdir(tmp_path)) > 2,  # noqa: PTH208
            what="the other one waits",
            timeout=120,
        )
    assert process.communicate("")[0] == "held\n"
    assert process.returncode == 0
