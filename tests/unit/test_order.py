"""In which order tests run, and which stay together."""

from __future__ import annotations

from pathlib import Path

from tests.order import ALONE, LONGEST_FIRST, ROOT, group_of, rank

E2E = ROOT / "tests" / "e2e"
UNIT = ROOT / "tests" / "unit" / "app" / "test_drain.py"
INTEGRATION = ROOT / "tests" / "integration" / "test_session.py"


def test_what_waits_longest_begins_first_and_what_needs_no_lab_fills_the_gaps() -> None:
    slow, quick, new = (E2E / f"{name}.py" for name in (*LONGEST_FIRST[::11], "test_new"))
    tests: list[tuple[Path, bool]] = [
        (UNIT, False),
        (E2E / "test_lab.py", True),
        (INTEGRATION, False),
        (new, False),
        (quick, False),
        (slow, False),
    ]
    ordered = [path for path, alone in sorted(tests, key=lambda it: rank(it[0], alone=it[1]))]
    assert ordered == [slow, quick, new, E2E / "test_lab.py", INTEGRATION, UNIT]


def test_the_tests_of_an_end_to_end_file_stay_together_and_others_go_anywhere() -> None:
    assert group_of(E2E / "test_gate.py", alone=False) == "test_gate"
    assert group_of(UNIT, alone=False) == group_of(INTEGRATION, alone=False) == ""


def test_all_that_need_the_lab_for_themselves_stay_together() -> None:
    files = (E2E / "test_lab.py", E2E / "test_faults_cluster.py")
    assert {group_of(path, alone=True) for path in files} == {ALONE}


def test_every_file_that_is_said_to_take_long_is_there() -> None:
    assert [name for name in LONGEST_FIRST if not (E2E / f"{name}.py").is_file()] == []
