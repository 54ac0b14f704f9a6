"""A recovery that only lets the gate judge what its deployer left: as a rollback would have."""

from __future__ import annotations

from dataclasses import replace

import pytest

from aegis_deploy.common.errors import AegisError, ExitCode
from aegis_deploy.drift.external_changes import ALTERED
from aegis_deploy.flows.recovery import Recovered, _act
from aegis_deploy.locking.diagnosis import Action, Decision, Diagnosis
from aegis_deploy.model.release import Release
from aegis_deploy.model.verdict import LOST, Verdict
from aegis_deploy.operations.update_runner import Ran
from aegis_deploy.replay.limits.retained import Stay
from tests.unit.aegis_deploy.stage import FAILED, PASSED, Replayed, Stage, outcome, release

CLAIM = Stay("PersistentVolumeClaim data", "urn::data", "the volume's data")
SECRET = Stay("Secret key", "urn::key", "it is protected", protected=True)
BACK = release(3, restores=1)
GOOD = release(1, verified=True)
KEPT = frozenset({"urn::data", "urn::key", "urn::home"})
TAKEN = Verdict(passed=False, reason="Service web was deleted", kind=ALTERED)
SILENT = Verdict(passed=False, reason="no answer", kind=LOST)


def _stage(*verdicts: Verdict, last: object = BACK, restores: int = 0) -> Stage:
    stage = Stage(
        history=[last, release(2), GOOD],  # type: ignore[list-item]
        replayed=Replayed(stays=(CLAIM, SECRET), kept=KEPT),
        restores=[Ran(outcome())] * restores,
    )
    stage.verdicts = list(verdicts)
    return stage


def _judged(stage: Stage) -> Recovered:
    last, verified = stage.history[0], stage.history[-1]
    decision = Decision(Action.JUDGE, last, "its deployer died")
    _, stays = _act(stage.flow, decision, Diagnosis("s", last=last, verified=verified), "")
    return Recovered(stack="s", action="judge", stays=tuple(map(str, stays)))


def test_what_stays_beside_the_restored_release_is_no_matter_and_is_told() -> None:
    stage = _stage(PASSED)
    told = _judged(stage)
    assert (stage.whole, stage.apart) == (True, KEPT)
    assert stage.did == ["beside 1", "judge", "verify 3"]
    said = stage.messages.getvalue()
    assert "not deleted:" in said
    assert "PersistentVolumeClaim data: the volume's data" in said
    assert "aegis rollback --to 1 --stack s --allow-data-loss" in said
    assert "pulumi state unprotect 'urn::key' --stack s" in said
    assert told.as_json()["stays"] == [str(CLAIM), str(SECRET)]


def test_what_was_restored_and_is_good_is_refused_no_longer() -> None:
    stage = _stage(PASSED)
    stage.refusals = {"its": "it crashed", "another": "it was slow"}
    stage.refused_keys = {"its": GOOD.key}
    _judged(stage)
    assert stage.refusals == {"another": "it was slow"}


def test_what_is_missing_of_the_release_itself_is_made_again() -> None:
    stage = _stage(TAKEN, PASSED, restores=1)
    told = _judged(stage)
    assert stage.did[:4] == ["beside 1", "judge", "replay 1", "becomes rollback 1"]
    assert told.stays == (str(CLAIM), str(SECRET)), "the restore tells of them too"


@pytest.mark.parametrize("gone", [False, True], ids=["not legible", "gone from the history"])
def test_where_the_release_cannot_be_read_nothing_is_missed(gone: bool) -> None:
    stage = _stage(PASSED)
    if gone:
        stage.history[-1] = replace(GOOD, number=99)
    else:
        stage.illegible = AegisError(what="its secrets cannot be decrypted")
    told = _judged(stage)
    assert (stage.whole, stage.apart, told.stays) == (False, (), ())
    assert "what stays beside release 1 is not known" in stage.messages.getvalue()
    assert stage.did[-1] == "verify 3"


def test_a_deploy_has_nothing_beside_it() -> None:
    stage = _stage(PASSED, last=release(3))
    assert _judged(stage).stays == ()
    assert stage.did == ["judge", "verify 3"]
    assert (stage.whole, stage.messages.getvalue().count("not deleted")) == (False, 0)


def test_a_cluster_that_is_silent_leaves_the_judgement_to_the_next_one() -> None:
    stage = _stage(SILENT)
    with pytest.raises(AegisError, match="stopped answering"):
        _judged(stage)
    assert stage.did[-1] == "leave to judge"


@pytest.mark.parametrize("last", [BACK, release(3)], ids=["a rollback", "a release"])
def test_what_waits_for_a_database_that_is_away_is_left_to_the_next_one(last: Release) -> None:
    stage = _stage(FAILED, last=last)
    stage.away = True
    with pytest.raises(AegisError, match="the database of s stopped answering") as caught:
        _judged(stage)
    assert caught.value.next == "once it answers: aegis recover --stack s"
    assert stage.did[-1] == "leave to judge"


def test_a_rollback_that_is_not_healthy_by_itself_is_not_restored_once_more() -> None:
    stage = _stage(FAILED)
    with pytest.raises(AegisError, match="did not pass its gate") as caught:
        _judged(stage)
    assert caught.value.code is ExitCode.NOT_ROLLED_BACK
    assert "it was a rollback already" in caught.value.state
