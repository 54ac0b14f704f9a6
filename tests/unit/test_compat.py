"""tests.compat: what meets is tried, and what does not work is told."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests import compat
from tests.compat import ROOT, Meeting, can_be_tried, meetings, tried, truncated


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout with three revisions, whose code works from the second on."""
    place = tmp_path / "checkout"
    versions = place / "app" / "migrations" / "versions"
    versions.mkdir(parents=True)
    for number in (1, 2, 3):
        (versions / f"r{number:04}_x.py").touch()
    (place / "app" / "migrations" / "schema.json").write_text('{"head": 3, "least": 2}')
    return place


def test_a_truncated_one_has_no_later_revision(checkout: Path, tmp_path: Path) -> None:
    made = truncated(checkout, 2, tmp_path / "made")
    kept = sorted(it.name for it in (made / "app" / "migrations" / "versions").iterdir())
    assert kept == ["r0001_x.py", "r0002_x.py"]
    assert json.loads((made / "app" / "migrations" / "schema.json").read_text())["head"] == 2


def test_code_meets_each_schema_that_it_says_it_works_with_and_the_code_before_its_own(
    checkout: Path, tmp_path: Path
) -> None:
    found = list(meetings(checkout, tmp_path / "before", tmp_path / "scratch"))
    assert [it.title for it in found] == [
        "this code on revision 2",
        "this code on revision 3, its own",
        "the code before on revision 3",
    ]
    assert [it.code for it in found] == [checkout, checkout, tmp_path / "before"]
    assert [it.schema == checkout for it in found] == [False, True, True]
    assert len(list(meetings(checkout, None, tmp_path / "again"))) == 2


@pytest.mark.parametrize(("head", "tried_too"), [(2, False), (3, True)])
def test_the_code_before_an_irreversible_revision_is_not_gone_back_to(
    checkout: Path, tmp_path: Path, head: int, tried_too: bool
) -> None:
    schema = Path("app", "migrations", "schema.json")
    (checkout / schema).write_text('{"head": 3, "least": 2, "irreversible": 3}')
    (tmp_path / "before" / schema).parent.mkdir(parents=True)
    (tmp_path / "before" / schema).write_text(json.dumps({"head": head, "least": 1}))
    found = [it.title for it in meetings(checkout, tmp_path / "before", tmp_path / "scratch")]
    assert ("the code before on revision 3" in found) is tried_too


def test_what_does_not_work_is_told(tmp_path: Path) -> None:
    said: list[str] = []
    found = [Meeting(it, tmp_path / it, tmp_path) for it in ("good", "bad")]
    assert tried(found, lambda code, _: code.name == "good", said.append) == ["bad"]
    assert said == ["works: good", "DOES NOT WORK: bad"]


def test_tests_that_would_run_on_their_own_schema_prove_nothing(tmp_path: Path) -> None:
    assert can_be_tried(ROOT)
    assert not can_be_tried(tmp_path)
    harness = tmp_path / compat._HARNESS
    harness.parent.mkdir(parents=True)
    harness.write_text("cwd=ROOT")
    assert not can_be_tried(tmp_path)
