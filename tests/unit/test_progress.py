"""The line that says what the workers of a run are at."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests import progress
from tests.progress import Doing, Printer, Worker, line


def test_the_line_says_how_far_it_is_and_who_waits_for_whom() -> None:
    workers = [
        Doing("gw1", "test_a_node", 90.0, "alone", waits=True),
        Doing("gw0", "test_scaling", 80.0, "test_rollback"),
        Doing("gw2", "test_quick", 99.0),
    ]
    assert line(0.0, 100.0, 7, 20, workers) == (
        "[1:40] 7 of 20 tests have ended · gw0 test_scaling (20 s) · "
        "gw1 waits for the lab (10 s), which is used by test_rollback"
    )


def test_who_waits_for_another_run_is_told_so() -> None:
    said = line(0.0, 9.0, 0, 1, [Doing("gw0", "", 1.0, "alone", waits=True)])
    assert said.endswith("which is used by another run on this machine")


def test_what_workers_note_is_what_is_printed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "LONG_SECONDS", 0)
    first, second = Worker(tmp_path, "gw0"), Worker(tmp_path, "gw1")
    first.pytest_runtest_logstart("tests/e2e/test_gate.py::test_a[crash]@test_gate")
    first.uses("test_gate", False)
    second.uses("alone", True)
    (tmp_path / "gw2").write_text("half writ")
    doings = sorted(Printer(tmp_path)._doings(), key=lambda it: it.worker)
    assert [(it.worker, it.test, it.group, it.waits) for it in doings] == [
        ("gw0", "test_a", "test_gate", False),
        ("gw1", "", "alone", True),
    ]


def test_a_note_after_the_end_of_the_run_is_no_error(tmp_path: Path) -> None:
    Worker(tmp_path / "gone", "gw0").begins("test_late")


def test_workers_know_the_place_that_the_run_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AEGIS_TESTS_PROGRESS", "")
    assert progress.place_of_run({}) is None
    made = progress.begin_run()
    try:
        assert progress.place_of_run({"AEGIS_TESTS_PROGRESS": str(made)}) == made
    finally:
        made.rmdir()
