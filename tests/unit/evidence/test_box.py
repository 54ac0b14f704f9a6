"""The folders of evidence: bounded in number, time and size."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from tests.evidence import box as module
from tests.evidence.box import KEPT_RUNS, Box, Refused, make_run_folder, run_folder

ENVIRONMENT = {"PATH": os.environ["PATH"]}


class TestARunHasAFolderOfItsOwn:
    """A run never writes into another's, nor into the checkout."""

    def test_below_the_one_that_is_named(self, tmp_path: Path) -> None:
        found = run_folder({"AEGIS_EVIDENCE": str(tmp_path / "named")}, None)
        assert found.parent == tmp_path / "named"
        assert not found.parent.exists(), "a run in which nothing fails leaves nothing"

    def test_never_in_the_checkout(self) -> None:
        assert not run_folder({}, None).is_relative_to(Path(__file__).resolve().parents[3])

    def test_for_its_owner_alone(self, tmp_path: Path) -> None:
        folder = run_folder({"AEGIS_EVIDENCE": str(tmp_path / "all")}, None)
        make_run_folder(folder)
        assert folder.stat().st_mode & 0o077 == 0

    def test_the_newest_are_kept_and_nothing_else_is_touched(self, tmp_path: Path) -> None:
        old = [tmp_path / f"run-20260101-00000{number}-{2**22 + 1}" for number in range(8)]
        foreign = tmp_path / "run-of-somebody"
        for path in [*old, foreign]:
            path.mkdir()
            (path / "file").touch()
        new = run_folder({"AEGIS_EVIDENCE": str(tmp_path)}, None)
        make_run_folder(new)
        make_run_folder(new)
        assert sorted(tmp_path.iterdir()) == sorted([*old[-(KEPT_RUNS - 1) :], new, foreign])

    def test_of_a_run_that_goes_on_is_kept(self, tmp_path: Path) -> None:
        going = tmp_path / f"run-20260101-000000-{os.getpid()}"
        old = [tmp_path / f"run-20260102-00000{number}-{2**22 + 1}" for number in range(8)]
        for path in [going, *old]:
            path.mkdir()
        make_run_folder(tmp_path / "run-20260103-000000-1")
        assert going.is_dir()
        assert not old[0].exists()

    def test_not_behind_somebodys_link(self, tmp_path: Path) -> None:
        (tmp_path / "real").mkdir()
        (tmp_path / "link").symlink_to(tmp_path / "real")
        with pytest.raises(Refused, match="AEGIS_EVIDENCE names another"):
            make_run_folder(tmp_path / "link" / "run-20260101-000000-1")


class TestABoxIsBounded:
    """Evidence takes no more time and room than it may."""

    def test_in_a_file_whose_end_is_kept(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(module, "FILE_BYTES", 100)
        source = tmp_path / "log"
        source.write_text("".join(f"row {number}\n" for number in range(100)))
        box = Box(tmp_path / "box", ENVIRONMENT)
        box.copy(source, "log.txt")
        text = (tmp_path / "box" / "log.txt").read_text()
        assert text.endswith("row 99\n")
        assert len(text) < 150

    def test_in_size(self, tmp_path: Path) -> None:
        box = Box(tmp_path / "box", ENVIRONMENT, room=10)
        box.write("first", "12345678")
        with pytest.raises(Refused, match="no room"):
            box.write("second", "12345678")
        box.write("third", "12")

    def test_in_time(self, tmp_path: Path) -> None:
        box = Box(tmp_path / "box", ENVIRONMENT, seconds=0)
        with pytest.raises(Refused, match="are over"):
            box.write("first", "")
        with pytest.raises(Refused, match="are over"):
            box.command("true")

    def test_in_the_time_of_a_command(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(module, "COMMAND_SECONDS", 0.2)
        started = time.monotonic()
        with pytest.raises(Refused, match="sleep 60: not within"):
            Box(tmp_path / "box", ENVIRONMENT).command("sleep", "60")
        assert time.monotonic() - started < 50


class TestACommand:
    """A command answers or says why not."""

    def test_hands_back_its_standard_output_alone(self, tmp_path: Path) -> None:
        box = Box(tmp_path / "box", ENVIRONMENT)
        assert box.command("sh", "-c", "echo it; echo beside it >&2") == "it\n"

    def test_that_fails_says_why_without_secrets(self, tmp_path: Path) -> None:
        box = Box(tmp_path / "box", ENVIRONMENT, frozenset({"known-one"}))
        with pytest.raises(Refused, match="exited with 3 no such thing") as raised:
            box.command("sh", "-c", "echo no such thing known-one >&2; exit 3")
        assert "known-one" not in str(raised.value)

    def test_that_is_not_there_is_said_to_be_missing(self, tmp_path: Path) -> None:
        with pytest.raises(Refused, match="there-is-none is not on PATH"):
            Box(tmp_path / "box", ENVIRONMENT).command("there-is-none")


def test_no_secret_is_written(tmp_path: Path) -> None:
    box = Box(tmp_path / "box", ENVIRONMENT, frozenset({"known-one"}))
    assert "known-one" not in box.write("below/file", "a known-one")
    assert "known-one" not in (tmp_path / "box" / "below" / "file").read_text()
