"""What a stack that was left half-done needs."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from aegis_deploy.backend.protocol import Lock
from aegis_deploy.locking.diagnosis import Action, Diagnosis, Pending, decide, explain
from aegis_deploy.locking.lock_holders import Claim, Holder, Life
from aegis_deploy.model.release import BEGUN, Release
from tests.unit.aegis_deploy.made_backend import urn

NOW = datetime(2026, 1, 1, tzinfo=UTC)
VERIFIED = Release(
    number=12, key="12", kind="update", result="succeeded", started=NOW, verified=True
)
NEWER = replace(VERIFIED, number=13, key="13", verified=False)
FAILED = replace(NEWER, result="failed")
PENDING = (Pending(urn("kubernetes:core/v1:ConfigMap", "config"), "creating"),)
CONFIG_MAP = "kubernetes:core/v1:ConfigMap"


def holder(intent: str = "", life: Life = Life.ORPHANED) -> Holder:
    """A claim with an intent; the CLI's lock without."""
    if not intent:
        lock = Lock("lock.json", "ann@ci-7", "ci-7", 1, NOW)
        return Holder(life, "ann@ci-7", "then", "", "its process 1 is gone", lock=lock)
    left = Claim(id="1", who="ann@ci-7", boot="", pid=1, ticks=1, since="then", intent=intent)
    return Holder(life, "ann@ci-7", "then", "", "its process 1 is gone", claim=left)


LOCK, DEPLOY, ROLLBACK, DRIFT = holder(), *map(holder, ("deploy", "rollback", "drift"))
CONTRACT = holder("contract")
AIMED = replace(ROLLBACK, claim=replace(ROLLBACK.claim, target=9)) if ROLLBACK.claim else ROLLBACK


class TestTheDecision:
    """Nothing, judge, restore or finish."""

    @pytest.mark.parametrize(
        ("diagnosis", "action", "target"),
        [
            (Diagnosis("s", last=VERIFIED, verified=VERIFIED), Action.NOTHING, None),
            (Diagnosis("s"), Action.NOTHING, None),
            (Diagnosis("s", last=NEWER, verified=VERIFIED), Action.NOTHING, None),
            (
                Diagnosis("s", last=replace(NEWER, restores=1), verified=VERIFIED),
                Action.JUDGE,
                replace(NEWER, restores=1),
            ),
            (
                Diagnosis("s", last=replace(NEWER, restores=1, verified=True), verified=VERIFIED),
                Action.NOTHING,
                None,
            ),
            (Diagnosis("s", last=FAILED, verified=VERIFIED), Action.RESTORE, VERIFIED),
            (Diagnosis("s", last=FAILED), Action.FINISH, None),
            (
                Diagnosis("s", (LOCK,), last=VERIFIED, verified=VERIFIED),
                Action.RESTORE,
                VERIFIED,
            ),
            (
                Diagnosis("s", (LOCK, DEPLOY), PENDING, VERIFIED, VERIFIED),
                Action.RESTORE,
                VERIFIED,
            ),
            (Diagnosis("s", (LOCK,), PENDING), Action.FINISH, None),
            (Diagnosis("s", (DEPLOY,), (), NEWER, VERIFIED), Action.JUDGE, NEWER),
            (Diagnosis("s", (DEPLOY,), (), VERIFIED, VERIFIED), Action.NOTHING, None),
            (Diagnosis("s", (DEPLOY,), (), FAILED, VERIFIED), Action.RESTORE, VERIFIED),
            (Diagnosis("s", (ROLLBACK,), (), NEWER, VERIFIED), Action.RESTORE, VERIFIED),
            (Diagnosis("s", (ROLLBACK,), (), VERIFIED, VERIFIED), Action.NOTHING, None),
            (Diagnosis("s", (CONTRACT,), (), VERIFIED, VERIFIED), Action.NOTHING, None),
            (
                Diagnosis("s", (AIMED,), (), VERIFIED, VERIFIED, aimed=NEWER),
                Action.RESTORE,
                NEWER,
            ),
            (Diagnosis("s", (AIMED,), (), VERIFIED, VERIFIED), Action.RESTORE, VERIFIED),
            (Diagnosis("s", (DRIFT,), (), VERIFIED, VERIFIED), Action.RESTORE, VERIFIED),
            (Diagnosis("s", (LOCK, ROLLBACK), (), VERIFIED, VERIFIED), Action.RESTORE, VERIFIED),
            (Diagnosis("s", (), PENDING, VERIFIED, VERIFIED), Action.RESTORE, VERIFIED),
        ],
        ids=[
            "in order",
            "never updated",
            "a plain update without a gate",
            "a rollback nobody saw healthy",
            "a rollback that is verified",
            "the last failed",
            "the first failed",
            "killed before anything was recorded",
            "killed in the middle",
            "killed in the middle of the first",
            "killed before the verdict",
            "killed after the verdict",
            "killed after a failure",
            "killed in a rollback",
            "killed before a rollback began",
            "killed while it contracted the database",
            "killed in a rollback that had its aim",
            "killed in a rollback to what is no more",
            "killed while it put back what was changed by hand",
            "killed in a rollback, its lock left",
            "killed, and its lock was cancelled by hand",
        ],
    )
    def test_follows_from_what_was_found(
        self, diagnosis: Diagnosis, action: Action, target: Release | None
    ) -> None:
        decision = decide(diagnosis)
        assert (decision.action, decision.target) == (action, target)

    def test_a_rollback_that_died_is_gone_on_with_whatever_else_is_verified(self) -> None:
        aimed = replace(VERIFIED, number=9, key="9", verified=False)
        for left in ((ROLLBACK,), (LOCK, ROLLBACK), (holder("recover"),)):
            found = Diagnosis("s", left, PENDING, VERIFIED, VERIFIED, aimed=aimed)
            assert decide(found).target is aimed
        stopped = replace(NEWER, result="failed", restores=9)
        assert decide(Diagnosis("s", (), (), stopped, VERIFIED, aimed=aimed)).target is aimed

    def test_a_rollback_of_which_only_the_first_step_is_done_is_gone_on_with(self) -> None:
        older = replace(VERIFIED, number=11, key="11")
        begun = replace(NEWER, result=BEGUN, restores=11)
        decision = decide(Diagnosis("s", last=begun, verified=VERIFIED, aimed=older))
        assert (decision.action, decision.target) == (Action.RESTORE, older)

    def test_a_holder_that_lives_is_no_sign_of_a_death(self) -> None:
        alive = holder("deploy", Life.HELD)
        assert decide(Diagnosis("s", (alive,), (), NEWER, VERIFIED)).action is Action.NOTHING

    def test_says_who_died_at_what_and_where_it_goes(self) -> None:
        diagnosis = Diagnosis("staging", (LOCK,), PENDING, FAILED, VERIFIED)
        text = "\n".join(explain(diagnosis, decide(diagnosis)))
        for said in (
            "ann@ci-7",
            "process 1 is gone",
            "creating config",
            "13",
            "back to release 12",
        ):
            assert said in text
