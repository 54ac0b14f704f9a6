"""What follows an update, by tables."""

from __future__ import annotations

import pytest

from ops.decisions import Next, after_judgement, after_update, cause, headline, touched
from ops.events import Failure, Outcome
from tests.unit.ops.stage import CRASHED, FAILED, PASSED, outcome, step

BUILT = step("create", type="docker:index/image:Image")


@pytest.mark.parametrize(
    ("done", "evidence", "interrupted", "roll_back", "expected"),
    [
        (outcome(), None, False, True, Next.JUDGE),
        (outcome(), CRASHED, False, True, Next.RESTORE),
        (outcome(), CRASHED, False, False, Next.LEAVE),
        (outcome(False, steps=[step()]), None, False, True, Next.RESTORE),
        (outcome(False, steps=[step()]), CRASHED, False, False, Next.LEAVE),
        (outcome(False, steps=[BUILT]), None, False, True, Next.GIVE_UP),
        (outcome(False), None, False, True, Next.GIVE_UP),
        (outcome(False, killed=True), None, False, True, Next.RESTORE),
        (outcome(False, steps=[step()]), CRASHED, True, True, Next.STOP),
        (outcome(), None, True, True, Next.STOP),
    ],
)
def test_an_update_is_followed_by_what_its_outcome_asks_for(
    done: Outcome, evidence: object, interrupted: bool, roll_back: bool, expected: Next
) -> None:
    assert evidence in (None, CRASHED)
    seen = CRASHED if evidence is not None else None
    assert after_update(done, seen, interrupted=interrupted, roll_back=roll_back) is expected


@pytest.mark.parametrize(
    ("passed", "interrupted", "roll_back", "expected"),
    [
        (True, False, True, Next.KEEP),
        (True, True, False, Next.KEEP),
        (False, False, True, Next.RESTORE),
        (False, False, False, Next.LEAVE),
        (False, True, True, Next.STOP),
    ],
)
def test_a_verdict_is_followed_by_what_it_asks_for(
    passed: bool, interrupted: bool, roll_back: bool, expected: Next
) -> None:
    verdict = PASSED if passed else FAILED
    assert after_judgement(verdict, interrupted=interrupted, roll_back=roll_back) is expected


def test_components_and_builds_are_nothing_that_runs() -> None:
    component = step("create", type="aegis:api:ApiService", custom=False)
    assert not touched(outcome(False, steps=[BUILT, component]))
    assert touched(outcome(False, steps=[BUILT, step()]))


def test_the_cause_is_what_was_seen_rather_than_that_the_update_was_stopped() -> None:
    stopped = outcome(False, failures=(Failure("", "update cancelled"),))
    assert cause(stopped, CRASHED).splitlines() == ["CrashLoopBackOff of a-1", "ValueError: boom"]
    assert cause(stopped, None) == "update cancelled"
    assert cause(outcome(False), None) != ""


def test_a_headline_is_the_first_line_that_says_something() -> None:
    assert headline("\n  a\nb") == "a"
    assert headline("") == "unknown"
