"""What a stack that was left half-done needs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ops.backend import Lock
from ops.locks import Claim, Holder, Life
from ops.recover import (
    Action,
    Diagnosis,
    Pending,
    decide,
    explain,
    object_id,
    settle_operations,
)
from ops.release import Release
from tests.unit.ops.made_backend import urn

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


LOCK, DEPLOY, ROLLBACK = holder(), holder("deploy"), holder("rollback")


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


def resource(name: str, **more: Any) -> dict[str, Any]:
    """A resource of a state."""
    return {
        "urn": urn(CONFIG_MAP, name),
        "type": CONFIG_MAP,
        "custom": True,
        "inputs": {"metadata": {"name": name, "namespace": "shop"}},
        **more,
    }


def operation(kind: str, name: str, **more: Any) -> dict[str, Any]:
    """A pending operation of a state."""
    return {"type": kind, "resource": resource(name, **more)}


class TestPendingOperations:
    """None is left, and none is forgotten that may have left an object behind."""

    def test_a_creation_is_entered_under_the_name_it_asked_for(self) -> None:
        repair = settle_operations(
            {
                "resources": [resource("a", id="shop/a")],
                "pending_operations": [operation("creating", "b")],
            }
        )
        assert [it.get("id") for it in repair.deployment["resources"]] == ["shop/a", "shop/b"]
        assert not any(it.get("delete") for it in repair.deployment["resources"])
        assert [str(it) for it in repair.confirmed] == ["creating b"]

    def test_a_replacement_that_was_begun_is_entered_as_one_to_delete(self) -> None:
        metadata = {"name": "a-new", "namespace": "shop"}
        repair = settle_operations(
            {
                "resources": [resource("a", id="shop/a-old")],
                "pending_operations": [operation("creating", "a", inputs={"metadata": metadata})],
            }
        )
        old, new = repair.deployment["resources"]
        assert (old["id"], old.get("delete")) == ("shop/a-old", None)
        assert (new["id"], new["delete"]) == ("shop/a-new", True)

    def test_a_creation_of_what_is_there_is_not_entered_twice(self) -> None:
        repair = settle_operations(
            {
                "resources": [resource("a", id="shop/a")],
                "pending_operations": [operation("creating", "a")],
            }
        )
        assert repair.deployment["resources"] == [resource("a", id="shop/a")]

    @pytest.mark.parametrize("kind", ["updating", "deleting", "reading", "importing"])
    def test_everything_else_is_left_to_the_refresh(self, kind: str) -> None:
        repair = settle_operations(
            {
                "resources": [resource("a", id="shop/a")],
                "pending_operations": [operation(kind, "a", id="shop/a")],
            }
        )
        assert repair.deployment["pending_operations"] == []
        assert repair.deployment["resources"] == [resource("a", id="shop/a")]
        assert [it.type for it in repair.forgotten] == [kind]

    def test_what_nobody_can_look_up_is_told(self) -> None:
        queue = operation("creating", "q", type="aws:sqs/queue:Queue")
        repair = settle_operations({"resources": [], "pending_operations": [queue]})
        assert [it.urn for it in repair.unknown] == [queue["resource"]["urn"]]
        assert repair.deployment["resources"] == []

    @given(
        st.lists(st.sampled_from("abcd"), unique=True),
        st.lists(
            st.tuples(
                st.sampled_from(["creating", "updating", "deleting"]), st.sampled_from("abcd")
            ),
            max_size=6,
        ),
    )
    def test_no_resource_is_lost_and_no_urn_lives_twice(
        self, there: list[str], begun: list[tuple[str, str]]
    ) -> None:
        before = [resource(name, id=f"shop/{name}") for name in there]
        operations = [operation(kind, name) for kind, name in begun]
        repair = settle_operations({"resources": before, "pending_operations": operations})
        after = repair.deployment["resources"]
        alive = [it["urn"] for it in after if not it.get("delete")]
        objects = [(it["urn"], it["id"]) for it in after]
        assert after[: len(before)] == before
        assert len(alive) == len(set(alive))
        assert len(objects) == len(set(objects))
        assert repair.deployment["pending_operations"] == []


@pytest.mark.parametrize(
    ("kind", "metadata", "name"),
    [
        ("kubernetes:core/v1:ConfigMap", {"name": "a", "namespace": "shop"}, "shop/a"),
        ("kubernetes:core/v1:ConfigMap", {"name": "a"}, "default/a"),
        ("kubernetes:core/v1:Namespace", {"name": "shop"}, "shop"),
        ("kubernetes:rbac.authorization.k8s.io/v1:ClusterRole", {"name": "r"}, "r"),
        ("kubernetes:core/v1:ConfigMap", {}, None),
        ("kubernetes:core/v1:ConfigMap", None, None),
        ("kubernetes:core/v1:ConfigMap", {"name": {"secret": "?"}}, None),
        ("aws:s3/bucket:Bucket", {"name": "a"}, None),
    ],
)
def test_the_providers_name_of_an_object(
    kind: str, metadata: Mapping[str, Any] | None, name: str | None
) -> None:
    assert object_id({"type": kind, "inputs": {"metadata": metadata}}) == name
