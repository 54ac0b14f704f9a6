"""In which order tests run, and which stay together."""

from __future__ import annotations

from tests.order import ALONE, LONGEST_FIRST, ROOT, TOGETHER, group_of, rank

E2E = ROOT / "tests" / "e2e"
UNIT = ROOT / "tests" / "unit" / "app" / "test_drain.py"
INTEGRATION = ROOT / "tests" / "integration" / "test_session.py"


def test_what_waits_longest_begins_first_and_what_needs_no_lab_fills_the_gaps() -> None:
    slow, quick, new, alone = (
        E2E / f"{name}.py" for name in (LONGEST_FIRST[0], LONGEST_FIRST[-1], "test_new", ALONE[0])
    )
    tests = [UNIT, alone, INTEGRATION, new, quick, slow]
    assert sorted(tests, key=rank) == [slow, quick, new, alone, INTEGRATION, UNIT]


def test_the_tests_of_a_file_stay_together_but_for_those_of_the_engine() -> None:
    assert group_of(E2E / "test_gate.py") == "tests/e2e/test_gate.py"
    assert group_of(UNIT) == "tests/unit/app/test_drain.py"
    assert group_of(INTEGRATION) == ""
    assert all(group_of(INTEGRATION.with_stem(name)) for name in TOGETHER)


def test_all_that_need_the_lab_for_themselves_stay_together() -> None:
    assert len({group_of(E2E / f"{name}.py") for name in ALONE}) == 1


def test_every_file_that_is_named_is_there() -> None:
    files = [E2E / f"{name}.py" for name in (*ALONE, *LONGEST_FIRST)]
    files += [INTEGRATION.with_stem(name) for name in TOGETHER]
    assert [path for path in files if not path.is_file()] == []
