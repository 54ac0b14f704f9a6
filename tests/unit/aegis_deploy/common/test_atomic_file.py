"""Files that are written whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from aegis_deploy.common import atomic_file


def test_takes_the_place_of_what_was_there_with_its_rights(tmp_path: Path) -> None:
    path = tmp_path / "settings"
    path.write_text("before")
    path.chmod(0o640)
    atomic_file.write(path, b"after")
    assert path.read_text() == "after"
    assert path.stat().st_mode & 0o777 == 0o640
    assert os.listdir(tmp_path) == ["settings"]  # noqa: PTH208


def test_a_link_goes_on_leading_where_it_leads(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "settings").write_text("before")
    (tmp_path / "settings").symlink_to(tmp_path / "there" / "settings")
    atomic_file.write(tmp_path / "settings", b"after")
    assert (tmp_path / "settings").is_symlink()
    assert (tmp_path / "there" / "settings").read_text() == "after"


def test_what_is_no_file_becomes_none(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reading = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    atomic_file.write(pipe, b"through")
    assert os.read(reading, 100) == b"through"
    os.close(reading)
    assert pipe.is_fifo()


def test_what_cannot_be_written_leaves_what_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "settings"
    path.write_text("before")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        atomic_file.write(path, b"after")
    assert path.read_text() == "before"
    assert os.listdir(tmp_path) == ["settings"]  # noqa: PTH208
