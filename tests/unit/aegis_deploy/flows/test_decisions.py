"""What follows an update, by tables."""

from __future__ import annotations

from dataclasses import replace

import pytest

from aegis_deploy.flows.decisions import (
    Next,
    after_judgement,
    after_update,
    cause,
    gate_of_rollback,
    headline,
)
from aegis_deploy.model.events import Outcome, UpdateFailure
from aegis_deploy.model.gate_settings import UNSET, GateSettings, Prometheus
from aegis_deploy.model.verdict import LOST, Verdict
from tests.unit.aegis_deploy.stage import CRASHED, FAILED, PASSED, outcome, step

GONE = Verdict(passed=False, reason="the cluster did not answer for 90 s", kind=LOST)
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
        (outcome(), GONE, False, True, Next.LOST),
        (outcome(False, steps=[step()]), GONE, False, True, Next.LOST),
        (outcome(False, steps=[step()]), GONE, True, True, Next.STOP),
    ],
)
def test_an_update_is_followed_by_what_its_outcome_asks_for(
    done: Outcome, evidence: Verdict | None, interrupted: bool, roll_back: bool, expected: Next
) -> None:
    assert after_update(done, evidence, interrupted=interrupted, roll_back=roll_back) is expected


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


def test_a_verdict_that_is_none_undoes_nothing() -> None:
    assert after_judgement(GONE, interrupted=False, roll_back=True) is Next.LOST


def test_components_and_builds_are_nothing_that_runs() -> None:
    component = step("create", type="aegis:api:ApiService", custom=False)
    assert not outcome(False, steps=[BUILT, component]).touched
    assert outcome(False, steps=[BUILT, step()]).touched


def test_the_cause_is_what_was_seen_rather_than_that_the_update_was_stopped() -> None:
    stopped = outcome(False, failures=(UpdateFailure("", "update cancelled"),))
    assert cause(stopped, CRASHED).splitlines() == ["CrashLoopBackOff of a-1", "ValueError: boom"]
    assert cause(stopped, None) == "update cancelled"
    assert cause(outcome(False), None) != ""


def test_a_headline_is_the_first_line_that_says_something() -> None:
    assert headline("\n  a\nb") == "a"
    assert headline("") == "unknown"


class TestTheGateOfARollback:
    """An old release's gate, or none, does not weaken the judgement; a failed one's has no say."""

    def test_without_a_gate_of_its_own_a_release_is_held_to_the_one_passed_last(self) -> None:
        standard = GateSettings(bake_seconds=40, path="/health")
        assert gate_of_rollback(None, standard) == standard
        assert gate_of_rollback(None, None) == UNSET

    def test_the_stricter_figure_holds_whichever_has_it(self) -> None:
        lax = GateSettings(bake_seconds=0, success_ratio=0.5, p99_ms=9000, probe_rate=1, crashes=9)
        strict = GateSettings(
            bake_seconds=9, success_ratio=1, p99_ms=200, probe_rate=20, crashes=1, path="/new"
        )
        assert gate_of_rollback(lax, strict) == replace(strict, path="/version")
        assert gate_of_rollback(strict, lax) == strict

    def test_what_describes_the_release_is_its_own(self) -> None:
        own = GateSettings(path="/old", version_check=False, unready_seconds=90, canary=3)
        chosen = gate_of_rollback(own, GateSettings(unready_seconds=5))
        assert chosen == own

    def test_a_query_that_the_release_did_not_have_is_asked_too(self) -> None:
        query = Prometheus(url="http://p", query="q", most=1)
        assert gate_of_rollback(GateSettings(), GateSettings(prometheus=query)).prometheus == query
