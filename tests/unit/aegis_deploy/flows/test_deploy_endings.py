"""What is told of a deploy that ended without a verified release is true of how far it was."""

from __future__ import annotations

import pytest

from aegis_deploy.common.errors import ExitCode
from aegis_deploy.drift.external_changes import excuse
from aegis_deploy.flows.decisions import Next, after_judgement
from aegis_deploy.flows.deploy_endings import ended, once_mended
from aegis_deploy.model.events import Outcome
from aegis_deploy.model.verdict import LOST, UNTOLD, Verdict
from tests.unit.aegis_deploy.stage import CRASHED, FAILED, outcome, step

SILENT = Verdict(passed=False, reason="no answer for 90 s", kind=LOST)
AWAY = Verdict(passed=False, reason="its database was away", kind=UNTOLD)
DEPLOY, RECOVER, ROLLBACK = (f"aegis {it} --stack s" for it in ("deploy", "recover", "rollback"))


@pytest.mark.parametrize(
    ("came_to", "verdict", "state", "following"),
    [
        (outcome(False, stopped=True), None, "nothing that runs was changed", DEPLOY),
        (outcome(False, steps=(step(),)), None, "the stack is between two releases", RECOVER),
        (outcome(False, killed=True), None, "the stack is between two releases", RECOVER),
        (outcome(), None, "the release is deployed and not verified", f"{RECOVER} has it judged"),
        (outcome(), SILENT, "the release is deployed and not verified", f"{RECOVER} has it judged"),
        (outcome(), CRASHED, "the release is deployed, and is not good", ROLLBACK),
        (outcome(), FAILED, "the release is deployed, and is not good", ROLLBACK),
    ],
)
def test_a_signal_says_how_far_it_was(
    came_to: Outcome, verdict: Verdict | None, state: str, following: str
) -> None:
    error = ended("s", Next.STOP, came_to, verdict, "release 1 serves", way_back=True)
    assert error.code is ExitCode.INTERRUPTED
    assert (error.state, error.next) == (f"{state}; release 1 serves", following)


def test_one_that_succeeded_is_not_said_to_have_failed() -> None:
    error = ended("s", Next.STOP, outcome(), None, "", way_back=True)
    assert error.why == "a signal came before the gate had judged the release"


@pytest.mark.parametrize(
    ("verdict", "who", "unknown"),
    [
        (SILENT, "cluster", "what serves is not known"),
        (AWAY, "database", "whether what serves works with its data is not known"),
    ],
)
def test_whoever_stopped_answering_is_named_and_nothing_is_undone(
    verdict: Verdict, who: str, unknown: str
) -> None:
    assert after_judgement(verdict, interrupted=False, roll_back=True) is Next.LOST
    error = ended("s", Next.LOST, outcome(), verdict, "", way_back=True)
    assert error.what == f"the {who} of s stopped answering during the deploy"
    assert (error.why, error.state) == (verdict.reason, f"nothing was undone; {unknown}")
    assert error.next == f"once it answers: {RECOVER}"
    assert excuse(outcome(), verdict) is not None, "it is not held to be bad"


@pytest.mark.parametrize(
    ("way_back", "following"), [(True, ROLLBACK), (False, f"correct it, then: {DEPLOY}")]
)
def test_going_back_is_advised_only_where_there_is_something_to_go_back_to(
    way_back: bool, following: str
) -> None:
    for step_, came_to in ((Next.LEAVE, outcome(False)), (Next.STOP, outcome())):
        assert ended("s", step_, came_to, FAILED, "", way_back=way_back).next == following


@pytest.mark.parametrize(
    ("advice", "way_back", "following"),
    [
        ("give the passphrase", True, f"give the passphrase\nonce that is mended: {RECOVER}"),
        ("", True, f"once that is mended: {RECOVER}"),
        ("once it answers: aegis recover --stack s", True, None),
        ("choose another release: aegis history", True, None),
        ("name the one you trust: aegis rollback --to 3", False, None),
        ("aegis history", False, f"aegis history\nwith what mends it: {DEPLOY}"),
    ],
)
def test_a_refused_rollback_of_its_own_says_how_to_go_on(
    advice: str, way_back: bool, following: str | None
) -> None:
    assert once_mended("s", advice, way_back=way_back) == (following or advice)
