"""Whether a StatefulSet's, a DaemonSet's rollout is done, and which pods are the new release's."""

from __future__ import annotations

from typing import Any

import pytest

from aegis_deploy.model.workloads.rollout import (
    Snapshot,
    Workload,
    left_as_they_are,
    rollout,
    serving,
)
from tests.unit.aegis_deploy.sets import NEW, OLD, daemon_set, live, pod, revision, stateful_set

ON_DELETE: dict[str, Any] = {"updateStrategy": {"type": "OnDelete"}}


def partition(pods: int) -> dict[str, Any]:
    return {"updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": pods}}}


class TestAStatefulSet:
    """Done when every pod that is to be is ready and updated, as far as its strategy asks."""

    @pytest.mark.parametrize(
        ("pods", "spec", "complete"),
        [
            ([pod("db-0"), pod("db-1")], {}, True),
            ([pod("db-0", OLD), pod("db-1")], {}, False),
            ([pod("db-0"), pod("db-1", ready=False)], {}, False),
            ([pod("db-0")], {}, False),
            ([], {}, False),
            ([], {"replicas": 0}, True),
            ([pod("db-0")], {"replicas": 0}, False),
            ([pod("db-0", OLD), pod("db-1")], partition(1), True),
            ([pod("db-0", OLD), pod("db-1", OLD)], partition(1), False),
            ([pod("db-0", OLD), pod("db-1", OLD)], partition(7), True),
            ([pod("db-0", OLD, ready=False), pod("db-1")], partition(1), False),
            ([pod("db-0", OLD), pod("db-1", OLD)], ON_DELETE, True),
            ([pod("db-0", OLD), pod("db-1", OLD, ready=False)], ON_DELETE, False),
        ],
    )
    def test_is_rolled_out(
        self, pods: list[dict[str, Any]], spec: dict[str, Any], complete: bool
    ) -> None:
        assert rollout(stateful_set(*pods, **spec)).complete is complete

    def test_is_not_before_its_controller_has_seen_the_change(self) -> None:
        pods = [pod("db-0"), pod("db-1")]
        stale = stateful_set(*pods, status={"observedGeneration": 1})
        assert not rollout(stale).complete
        assert stale.new_pods == ()

    def test_is_not_before_its_pods_are_available(self) -> None:
        pods = [pod("db-0"), pod("db-1")]
        assert not rollout(stateful_set(*pods, status={"availableReplicas": 1})).complete

    def test_is_though_its_current_revision_stays_behind(self) -> None:
        done = stateful_set(pod("db-0"), pod("db-1"), status={"currentRevision": OLD})
        assert rollout(done).complete

    def test_tells_its_pods_by_their_revision(self) -> None:
        found = stateful_set(pod("db-0", OLD), pod("db-1"), pod("db-2", going=True))
        assert [it["metadata"]["name"] for it in found.new_pods] == ["db-1"]
        assert [it["metadata"]["name"] for it in found.old_pods] == ["db-0"]
        said = rollout(found)
        assert (said.wanted, said.new, said.ready, said.old) == (2, 1, 1, 1)
        assert [(it.key, it.pods) for it in said.groups] == [(NEW, 1), (OLD, 1)]

    @pytest.mark.parametrize(
        ("spec", "why"),
        [
            (ON_DELETE, "2 pods of StatefulSet db are left at a release before"),
            (partition(1), "1 pod of StatefulSet db is left at a release before"),
            ({**partition(1), "ordinals": {"start": 1}}, "2 pods of StatefulSet db are left"),
            ({}, ""),
        ],
    )
    def test_pods_that_its_strategy_leaves_are_no_rollout_that_hangs(
        self, spec: dict[str, Any], why: str
    ) -> None:
        found = stateful_set(pod("db-0", OLD), pod("db-1", OLD), **spec)
        assert left_as_they_are(found).startswith(why)
        assert len(found.old_pods) + len(found.kept_pods) == 2

    @pytest.mark.parametrize(
        ("spec", "stays"),
        [
            ({"replicas": 0}, []),
            ({"replicas": 1}, ["db-0"]),
            ({"replicas": 1, "ordinals": {"start": 1}}, ["db-0", "db-1"]),
            ({"replicas": 3}, ["db-0", "db-1"]),
        ],
    )
    def test_pods_beyond_its_size_are_about_to_go(
        self, spec: dict[str, Any], stays: list[str]
    ) -> None:
        # Seen before its pods are: the set was told to run fewer, and they are not going yet.
        found = stateful_set(pod("db-0"), pod("db-1", ready=False), **spec)
        assert [it["metadata"]["name"] for it in found.new_pods] == stays


def test_of_a_deployments_pods_those_that_serve_least_are_about_to_go() -> None:
    owner = {"name": "web-1", "uid": "r", "annotations": {"deployment.kubernetes.io/revision": "1"}}
    pods = [pod("young", ready=False), pod("crashing", ready=False, restarts=2), pod("ready")]
    for it in pods:
        it["metadata"]["ownerReferences"] = [{"controller": True, "uid": "r"}]

    def stays(size: int) -> list[str]:
        shown = Snapshot(
            live=live({"replicas": size}, {}, annotations=owner["annotations"]),
            revisions=({"metadata": owner},),
            pods=tuple(pods),
        )
        return sorted(it["metadata"]["name"] for it in shown.new_pods)

    assert stays(0) == []
    assert stays(1) == ["ready"]
    assert stays(2) == ["ready", "young"]
    assert stays(3) == ["crashing", "ready", "young"]


class TestADaemonSet:
    """Done when every node that fits has a ready pod of the new release."""

    @pytest.mark.parametrize(
        ("status", "spec", "complete"),
        [
            ({}, {}, True),
            ({"updatedNumberScheduled": 0}, {}, False),
            ({"updatedNumberScheduled": 0}, ON_DELETE, True),
            ({"currentNumberScheduled": 0}, ON_DELETE, False),
            ({"numberAvailable": 0, "numberUnavailable": 1}, {}, False),
            ({"numberUnavailable": 1}, {}, False),
            ({"numberReady": 0}, {}, False),
            ({"observedGeneration": 1}, {}, False),
        ],
    )
    def test_is_rolled_out(
        self, status: dict[str, Any], spec: dict[str, Any], complete: bool
    ) -> None:
        assert rollout(daemon_set(pod("db-a"), status=status, **spec)).complete is complete

    def test_that_no_node_fits_is_to_run_no_pods(self) -> None:
        nothing = dict.fromkeys(
            ("desiredNumberScheduled", "currentNumberScheduled", "numberReady"), 0
        )
        none = daemon_set(status=nothing | {"numberAvailable": 0, "updatedNumberScheduled": 0})
        assert rollout(none).complete
        assert rollout(none).wanted == 0

    def test_tells_its_pods_by_the_revision_that_has_its_template(self) -> None:
        # The newest revision may not be known yet: that of the release before is then not it.
        before = revision("a", "db:0")
        old, new = pod("db-x", "a", generation=1), pod("db-y", "b", generation=1)
        assert daemon_set(old, new, revisions=(before,)).new_pods == ()
        found = daemon_set(old, new, revisions=(before, revision("b", "db:1")))
        assert [it["metadata"]["name"] for it in found.new_pods] == ["db-y"]

    def test_tells_them_also_by_the_generation_of_its_template(self) -> None:
        made = pod("db-x", "b", generation=2)
        assert daemon_set(made).new_pods == (made,)

    def test_keeps_old_pods_where_they_are_to_be_deleted_by_hand(self) -> None:
        found = daemon_set(pod("db-x", "a", generation=1), **ON_DELETE)
        assert "left at a release before" in left_as_they_are(found)
        assert found.old_pods == ()


def test_what_serves_is_told_by_release_whatever_the_kind() -> None:
    found = stateful_set(pod("db-0", OLD, version="1"), pod("db-1", version="2"))
    assert serving(found) == (
        "the release before still serves, 1 ready pod (1); the new release serves too, "
        "1 ready pod (2)"
    )


def test_pods_that_a_strategy_leaves_serve() -> None:
    found = stateful_set(pod("db-0", OLD, version="1"), **ON_DELETE)
    assert serving(found) == "the release before still serves, 1 ready pod (1)"


def test_workloads_of_the_same_name_are_told_apart_and_a_deployment_is_called_as_ever() -> None:
    web, db = (
        Workload(namespace="n", name="a", kind=kind) for kind in ("Deployment", "StatefulSet")
    )
    assert web == Workload(namespace="n", name="a")
    assert (str(web), web.label) == ("n/a", "a")
    assert (str(db), db.label) == ("StatefulSet n/a", "StatefulSet a")
    assert len({web, db}) == 2


def test_nothing_is_known_of_what_is_not_there() -> None:
    gone = Snapshot(live=None, kind="StatefulSet")
    assert (gone.new_pods, gone.kept_pods, gone.tells_apart) == ((), (), False)
    assert not rollout(gone).complete
