"""What a process that was killed left in the directory for temporary files."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from aegis_deploy.common import temp_dir
from aegis_deploy.common.process import Machine

HOLDER = """
import sys
from aegis_deploy.common import temp_dir
from aegis_deploy.common.process import Machine
path = temp_dir.directory()
(path / "key").write_text("a key")
print(path, flush=True)
sys.stdin.read()
"""


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(temp_dir, "_made", {})
    return tmp_path


def hold(place: Path) -> tuple[subprocess.Popen[str], Path]:
    """A process that has a directory with a file in it."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER],
        env={**os.environ, "TMPDIR": str(place)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    return process, Path(process.stdout.readline().strip())


def test_is_taken_away_by_the_next_one_and_not_while_its_process_lives(place: Path) -> None:
    process, left = hold(place)
    with process:
        temp_dir.sweep()
        assert (left / "key").exists()
        assert left.stat().st_mode & 0o077 == 0
        process.send_signal(signal.SIGKILL)
    assert (left / "key").exists()
    mine = temp_dir.directory()
    assert not left.exists()
    assert mine.is_dir()


def test_ends_with_a_process_that_ends_by_itself(place: Path) -> None:
    process, left = hold(place)
    process.communicate("")
    assert process.returncode == 0
    assert not left.exists()


@pytest.mark.parametrize("name", ["aegis-stand-in-0", "aegis-a-b-c-d-e", "aegis-0-a-b-1"])
def test_nothing_else_is_touched(place: Path, name: str) -> None:
    (place / name).mkdir()
    temp_dir.sweep()
    assert (place / name).is_dir()


def test_is_none_that_somebody_else_could_have_made_before(place: Path) -> None:
    known = temp_dir._name(Machine.here(), os.getpid())
    (place / "elsewhere").mkdir()
    (place / known).symlink_to(place / "elsewhere")
    mine = temp_dir.directory()
    assert mine.resolve() == place / mine.name
    assert mine.stat().st_mode & 0o077 == 0
    assert mine.name.startswith(known)


def test_of_another_container_is_left_alone(place: Path) -> None:
    parts = temp_dir._name(Machine.here(), 2**22 + 1).split("-")
    parts[3] = "1"
    other = place / "-".join([*parts, "x"])
    other.mkdir()
    temp_dir.sweep()
    assert other.is_dir()
