"""Which pod keeps a workload from going back: none but one that surely never becomes ready."""

from __future__ import annotations

from typing import Any

import pytest

from aegis_deploy.model.gate_settings import GateSettings
from aegis_deploy.model.workloads.rollout import Snapshot, Workload
from aegis_deploy.pods.onward import Onward
from aegis_deploy.pods.stuck_pods import STILL_SECONDS, Lookout, Stuck, in_the_way
from tests.unit.aegis_deploy.sets import (
    CRASHED,
    HANGING,
    NEW,
    OLD,
    RUNNING,
    daemon_set,
    pod,
    stateful_set,
)
from tests.unit.aegis_deploy.stage import step

DB = Workload(namespace="shop", name="db", kind="StatefulSet")
SETTINGS = GateSettings(unready_seconds=5)
ON_DELETE: dict[str, Any] = {"updateStrategy": {"type": "OnDelete"}}
CRASHING: dict[str, Any] = {"ready": False, "state": CRASHED, "restarts": 2}
NO_REGISTRY = {"waiting": {"reason": "ErrImagePull", "message": "dial tcp: i/o timeout"}}
NO_IMAGE = {"waiting": {"reason": "ImagePullBackOff", "message": "manifest unknown"}}


def before() -> Snapshot:
    """The set with the template of the release that goes."""
    return stateful_set(pod("db-0", OLD), pod("db-1", NEW, **CRASHING), generation=1)


def found(
    snapshot: Snapshot,
    *moments: float,
    op: str = "update",
    diffs: tuple[str, ...] = ("spec",),
    first: Snapshot | None = None,
    onward: Onward | None = None,
) -> Stuck | None:
    """What is in the way at the last of some moments after the update came to the set."""
    lookout, stuck = Lookout(DB, SETTINGS, onward), None
    lookout.find(first or before(), 0.0)
    lookout.begins(step(op, diffs=diffs))
    for moment in moments or (1.0,):
        stuck = lookout.find(snapshot, moment)
    return stuck


class TestAStatefulSet:
    """The pod that its controller waits for."""

    def test_is_held_by_a_pod_that_crashes_at_the_revision_that_goes(self) -> None:
        stuck = found(stateful_set(pod("db-0"), pod("db-1", OLD, **CRASHING)))
        assert stuck is not None
        assert (stuck.pod, stuck.uid) == ("db-1", f"db-1 {OLD}")
        assert "ended with exit code 3" in stuck.why
        assert str(stuck) == "pod db-1 of StatefulSet db"

    def test_is_not_before_the_update_came_to_it(self) -> None:
        snapshot = stateful_set(pod("db-0"), pod("db-1", OLD, **CRASHING))
        lookout = Lookout(DB, SETTINGS)
        assert lookout.find(snapshot, 0.0) is None
        lookout.begins(step("refresh"))
        assert lookout.find(snapshot, 1.0) is None
        # It began, and the cluster has the template of before still.
        lookout.begins(step("update", diffs=("spec",)))
        assert lookout.find(snapshot, 2.0) is None

    @pytest.mark.parametrize(
        ("op", "diffs"), [("same", ()), ("update", ("metadata",)), ("update", ())]
    )
    def test_is_at_once_where_the_template_is_restored_already(
        self, op: str, diffs: tuple[str, ...]
    ) -> None:
        snapshot = stateful_set(pod("db-0"), pod("db-1", OLD, **CRASHING))
        assert found(snapshot, op=op, diffs=diffs, first=snapshot) is not None

    def test_is_not_before_its_controller_has_seen_the_template(self) -> None:
        late = stateful_set(
            pod("db-0"), pod("db-1", OLD, **CRASHING), status={"observedGeneration": 1}
        )
        assert found(late) is None

    @pytest.mark.parametrize(
        "pods",
        [
            # Of the release that is restored, ready, going.
            [pod("db-0"), pod("db-1", NEW, **CRASHING)],
            [pod("db-0"), pod("db-1", OLD)],
            [pod("db-0"), pod("db-1", OLD, going=True, **CRASHING)],
            # Its controller waits for the first one, which becomes ready or is ending.
            [pod("db-0", NEW, ready=False), pod("db-1", OLD, **CRASHING)],
            [pod("db-0", OLD, going=True), pod("db-1", OLD, **CRASHING)],
        ],
    )
    def test_is_not_held_by_any_other(self, pods: list[dict[str, Any]]) -> None:
        assert found(stateful_set(*pods), 1.0, 1000.0) is None

    def test_is_held_by_the_first_of_several(self) -> None:
        pods = [pod(f"db-{it}", OLD, **CRASHING) for it in (10, 9)]
        stuck = found(stateful_set(*pods, replicas=11))
        assert stuck is not None
        assert stuck.pod == "db-9"

    def test_is_not_held_where_its_pods_are_managed_in_parallel(self) -> None:
        parallel: dict[str, Any] = {"podManagementPolicy": "Parallel"}
        snapshot = stateful_set(pod("db-0"), pod("db-1", OLD, **CRASHING), **parallel)
        assert found(snapshot, 1.0, 1000.0) is None
        by_hand = stateful_set(pod("db-0"), pod("db-1", OLD, **CRASHING), **parallel, **ON_DELETE)
        assert found(by_hand) is not None, "nobody else replaces it"

    def test_is_not_held_by_what_its_partition_leaves(self) -> None:
        part: dict[str, Any] = {
            "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": 1}}
        }
        assert found(stateful_set(pod("db-0", OLD, **CRASHING), pod("db-1"), **part)) is None

    @pytest.mark.parametrize(
        ("state", "seconds", "held"),
        [
            (NO_IMAGE, 0.0, True),
            (NO_REGISTRY, 1000.0, False),
            (RUNNING, STILL_SECONDS - 1, False),
            (RUNNING, STILL_SECONDS, True),
        ],
    )
    def test_is_not_held_by_what_may_become_ready_by_itself(
        self, state: dict[str, Any], seconds: float, held: bool
    ) -> None:
        snapshot = stateful_set(pod("db-0"), pod("db-1", OLD, ready=False, state=state))
        assert (found(snapshot, 1.0, 1.0 + seconds) is not None) is held

    def test_is_held_by_an_init_container_that_waits_for_ever(self) -> None:
        hangs = pod("db-1", OLD, ready=False, state=HANGING, initial=RUNNING)
        snapshot = stateful_set(pod("db-0"), hangs)
        assert found(snapshot, 1.0, STILL_SECONDS) is None
        stuck = found(snapshot, 1.0, 1.0 + STILL_SECONDS)
        assert stuck is not None
        assert "init container wait of pod db-1 still runs" in stuck.why

    def test_is_not_while_something_goes_on_in_the_pod(self) -> None:
        lookout = Lookout(DB, SETTINGS)
        lookout.find(before(), 0.0)
        lookout.begins(step("update", diffs=("spec",)))
        for moment, name in enumerate("abc"):
            initial = {"running": {"startedAt": name}}
            hangs = pod("db-1", OLD, ready=False, state=HANGING, initial=initial)
            snapshot = stateful_set(pod("db-0"), hangs)
            assert lookout.find(snapshot, moment * (STILL_SECONDS - 1)) is None


def test_other_kinds_replace_theirs_themselves_unless_they_are_told_not_to() -> None:
    crashing = pod("db-x", "a", generation=1, **CRASHING)
    assert in_the_way(daemon_set(crashing)) == ()
    assert in_the_way(daemon_set(crashing, **ON_DELETE)) == (crashing,)
    assert in_the_way(Snapshot(live=before().live, pods=(crashing,))) == ()


class TestAnUpdateThatGoesForward:
    """It replaces what the broken release before it left, and nothing that may be good."""

    BROKEN = stateful_set(pod("db-0"), pod("db-1", OLD, **CRASHING))

    def test_replaces_a_pod_of_a_release_that_is_not_verified(self) -> None:
        for onward in (Onward({DB: "u"}), Onward({DB: "u"}, {DB: frozenset({"db-verified"})})):
            stuck = found(self.BROKEN, onward=onward)
            assert stuck is not None
            assert (stuck.pod, stuck.spared) == ("db-1", False)

    @pytest.mark.parametrize("revisions", [frozenset({OLD, "db-older"}), None])
    def test_spares_one_that_is_or_may_be_the_verified_releases(
        self, revisions: frozenset[str] | None
    ) -> None:
        stuck = found(self.BROKEN, onward=Onward({DB: "u"}, {DB: revisions}))
        assert stuck is not None
        assert stuck.spared

    def test_has_no_say_in_a_ready_one_nor_in_a_new_one(self) -> None:
        for other in (pod("db-1", OLD), pod("db-1", NEW, **CRASHING)):
            there = stateful_set(pod("db-0"), other)
            assert found(there, 1.0, 1000.0, onward=Onward({DB: "u"})) is None

    def test_leaves_pods_that_a_person_deletes_to_that_person(self) -> None:
        by_hand = stateful_set(pod("db-0"), pod("db-1", OLD, **CRASHING), **ON_DELETE)
        assert found(by_hand) is not None, "where it goes back nobody else is asked"
        assert found(by_hand, 1.0, 1000.0, onward=Onward({DB: "u"})) is None


def test_where_nobody_knows_which_pods_are_new_none_is_in_the_way() -> None:
    unknown = stateful_set(pod("db-0", OLD, **CRASHING), status={"updateRevision": None})
    assert in_the_way(unknown) == ()
