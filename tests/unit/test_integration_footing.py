"""What the integration tests stand on: things made once a run, and processes that are gone."""

from __future__ import annotations

import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.integration import waiting
from tests.integration.prepared import copy, once
from tests.integration.waiting import no_process_left, processes


class TestWhatIsPrepared:
    """It is made once, whoever comes first, and is whole or not there."""

    def test_is_made_by_the_first_while_the_others_wait(
        self, tmp_path_factory: pytest.TempPathFactory
    ) -> None:
        made: list[Path] = []
        tmp_path_factory.getbasetemp()  # Made when it is first asked for, by as many as ask.

        def make(root: Path) -> None:
            time.sleep(0.05)
            (root / "project").mkdir()
            made.append(root)

        with ThreadPoolExecutor(4) as pool:
            given = set(pool.map(lambda _: once(tmp_path_factory, "first", make), range(4)))
        assert len(made) == 1
        assert [(path / "project").is_dir() for path in given] == [True]

    def test_that_could_not_be_made_is_made_anew(
        self, tmp_path_factory: pytest.TempPathFactory
    ) -> None:
        def fail(root: Path) -> None:
            (root / "half").touch()
            raise OSError

        with pytest.raises(OSError):
            once(tmp_path_factory, "anew", fail)
        given = once(tmp_path_factory, "anew", lambda root: (root / "whole").touch())
        assert [path.name for path in given.iterdir()] == ["whole"]

    def test_is_copied_and_not_shared(self, tmp_path: Path) -> None:
        for name in ("prepared", "root"):
            (tmp_path / name).mkdir()
        (tmp_path / "prepared" / "project").mkdir()
        copy(tmp_path / "prepared", tmp_path / "root")
        (tmp_path / "root" / "project" / "of the test").touch()
        assert list((tmp_path / "prepared" / "project").iterdir()) == []


class TestProcessesOfATest:
    """They are found by where they work and by what they are given, and none stays."""

    @pytest.mark.parametrize("fails", [False, True])
    def test_that_stay_are_told_of_and_ended(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails: bool
    ) -> None:
        monkeypatch.setattr(waiting, "SECONDS", 0.1)
        stays: list[subprocess.Popen[bytes]] = []

        def block() -> None:
            with no_process_left(tmp_path):
                stays.append(subprocess.Popen(["sleep", "300"], cwd=tmp_path))
                assert not fails, "of the block"

        with pytest.raises(AssertionError, match="of the block" if fails else "sleep"):
            block()
        assert stays[0].wait() < 0
        assert processes(tmp_path) == {}

    def test_are_those_of_no_other_test(self, tmp_path: Path) -> None:
        (tmp_path / "one").mkdir()
        (tmp_path / "one0").mkdir()
        with subprocess.Popen(["sleep", "300"], cwd=tmp_path / "one0") as process:
            try:
                assert processes(tmp_path / "one") == {}
                assert list(processes(tmp_path / "one0")) == [process.pid]
            finally:
                process.kill()

    def test_are_found_before_they_have_words(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A process runs its program, to whoever started it, before the kernel knows its words."""
        read = Path.read_bytes
        monkeypatch.setattr(
            Path, "read_bytes", lambda it: b"" if it.name == "cmdline" else read(it)
        )
        with subprocess.Popen(["sleep", "300"], cwd=tmp_path) as process:
            try:
                assert processes(tmp_path) == {process.pid: "sleep"}
            finally:
                process.kill()

    def test_that_have_ended_are_not(self, tmp_path: Path) -> None:
        with subprocess.Popen(["true"], cwd=tmp_path, stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            process.stdout.read()
            waiting.wait_until(lambda: processes(tmp_path) == {}, "it stays, a zombie")
