"""A second lab is refused while the first one runs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from lab import cgroup, owner
from lab.errors import EXIT_REFUSED, LabError
from lab.settings import LabSettings


@pytest.fixture(autouse=True)
def note(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The note, not on the real machine."""
    path = tmp_path / "owner"
    monkeypatch.setattr(owner, "NOTE", path)
    return path


def running(monkeypatch: pytest.MonkeyPatch, *processes: int) -> None:
    """Let the lab's control group have these processes."""
    monkeypatch.setattr(cgroup, "members", lambda: set(processes))


def test_without_a_note_a_lab_may_run(lab: LabSettings) -> None:
    owner.require_own(lab)


def test_ones_own_lab_may_run_again(lab: LabSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    running(monkeypatch, 17)
    owner.claim(lab)
    owner.require_own(lab)


def test_another_lab_that_runs_is_left_alone(
    lab: LabSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    running(monkeypatch, 17)
    owner.claim(lab)
    with pytest.raises(LabError, match="another lab runs") as error:
        owner.require_own(replace(lab, state=lab.state / "other"))
    assert error.value.code == EXIT_REFUSED
    assert str(lab.state) in error.value.next


def test_another_lab_that_is_gone_does_not_matter(
    lab: LabSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    running(monkeypatch)
    owner.claim(lab)
    owner.require_own(replace(lab, state=lab.state / "other"))


def test_the_note_goes_with_the_lab(lab: LabSettings, note: Path) -> None:
    owner.claim(lab)
    owner.release()
    owner.release()
    assert not note.exists()
