"""What workloads wait for, decided on recorded statuses."""

from __future__ import annotations

from typing import Any

import pytest

from lab.plugins.kubernetes.await_deployment import DeploymentRolledOut
from lab.plugins.kubernetes.await_pod import PodReady, pod_problem, pod_ready
from lab.plugins.kubernetes.await_sets import DaemonSetRolledOut, StatefulSetRolledOut
from lab.plugins.kubernetes.await_simple import JobComplete
from tests.unit.lab.plugins.kubernetes.objects import (
    MODIFIED,
    UNREADY,
    make_conditions,
    make_container,
    make_object,
    make_owned,
    make_pod,
)


class TestPods:
    """What is said about a pod that is not ready."""

    @pytest.mark.parametrize(
        ("container", "expected"),
        [
            (
                {"state": {"waiting": {"reason": "ImagePullBackOff", "message": "no such image"}}},
                "[ImagePullBackOff] no such image",
            ),
            (
                {
                    "state": {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off"}},
                    "lastState": {
                        "terminated": {
                            "reason": "OOMKilled",
                            "exitCode": 137,
                            "finishedAt": "2026-01-01T00:00:00Z",
                            "message": "last words\n",
                        }
                    },
                },
                (
                    "[CrashLoopBackOff] back-off\n"
                    'container "web" terminated at 2026-01-01T00:00:00Z '
                    "(OOMKilled: exit code 137)\nlast words"
                ),
            ),
            (
                {"state": {"terminated": {"reason": "Error", "exitCode": 3}}},
                'container "web" completed with exit code 3 (Error)',
            ),
            (
                {"state": {"terminated": {"reason": "Error", "exitCode": 3, "message": "boom"}}},
                "[Error] boom",
            ),
            ({"state": {"waiting": {"reason": "ContainerCreating"}}}, None),
        ],
        ids=["image", "crash loop", "ended", "ended with words", "creating"],
    )
    def test_containers(self, container: dict[str, Any], expected: str | None) -> None:
        status = {"containerStatuses": [make_container(**container)]}
        pod = make_pod(status, PodScheduled="True", Initialized="True", Ready=UNREADY)
        lead = "[Pod team/web-1]: containers with unready status: [web]"
        assert pod_problem(pod) == (f"{lead}\n{expected}" if expected else lead)

    def test_an_initmake_container(self) -> None:
        waiting = {"waiting": {"reason": "CrashLoopBackOff", "message": "again"}}
        pod = make_pod(
            {"initContainerStatuses": [make_container(state=waiting)]},
            PodScheduled="True",
            Initialized=("False", "", ""),
        )
        assert pod_problem(pod) == "[Pod team/web-1]: [CrashLoopBackOff] again"

    def test_one_that_cannot_be_scheduled(self) -> None:
        pod = make_pod(PodScheduled=("False", "Unschedulable", "0/1 nodes: Insufficient cpu"))
        assert pod_problem(pod) == "[Pod team/web-1]: [Unschedulable] 0/1 nodes: Insufficient cpu"

    def test_ready_ones_have_no_problem(self) -> None:
        ready = make_pod(PodScheduled="True", Initialized="True", Ready="True")
        done = make_pod(
            {"phase": "Succeeded"}, PodScheduled="True", Initialized="True", Ready="False"
        )
        for pod in (ready, done):
            assert pod_problem(pod) is None
            assert pod_ready(pod)
            assert PodReady(pod).met(0)
        assert not pod_ready(make_pod())

    def test_a_bare_pod_says_how_far_it_is(self) -> None:
        condition = PodReady(make_pod(PodScheduled="True", Initialized="False"))
        assert condition.progress() == 'Waiting for Pod "team/web-1" to be initialized'


def _deployment(*, revision: str = "2", observed: int = 2, **states: Any) -> dict[str, Any]:
    return make_object(
        "Deployment",
        "apps/v1",
        metadata={"annotations": {"deployment.kubernetes.io/revision": revision}},
        spec={"selector": {"matchLabels": {"app": "a"}}},
        status={"observedGeneration": observed, "conditions": make_conditions(**states)},
    )


def _replica_set(revision: str = "2", ready: int = 2, wanted: int | None = 2) -> dict[str, Any]:
    return make_owned(
        "ReplicaSet",
        "uid-Deployment",
        version="apps/v1",
        metadata={
            "name": f"a-{revision}",
            "annotations": {"deployment.kubernetes.io/revision": revision},
        },
        spec={} if wanted is None else {"replicas": wanted},
        status={"readyReplicas": ready} if ready else {},
    )


_COMPLETE: dict[str, Any] = {"Available": "True", "Progressing": ("True", "NewReplicaSetAvailable")}
_ROLLING: dict[str, Any] = {"Available": "True", "Progressing": ("True", "ReplicaSetUpdated")}


class TestDeployments:
    """A rollout is complete when controller, pods and conditions agree."""

    def _after(self, *events: dict[str, Any], live: dict[str, Any] | None = None) -> Any:
        condition = DeploymentRolledOut(live or _deployment(observed=1))
        for event in events:
            condition.observe(MODIFIED, event, 0)
        return condition

    @pytest.mark.parametrize(
        ("events", "met"),
        [
            ([_replica_set(), _deployment(**_COMPLETE)], True),
            ([_deployment(**_COMPLETE), _replica_set()], True),
            ([_deployment(**_COMPLETE)], False),
            ([_replica_set(), _deployment(observed=1, **_COMPLETE)], False),
            ([_replica_set("1"), _deployment(**_COMPLETE)], False),
            ([_replica_set(ready=1), _deployment(**_COMPLETE)], False),
            ([_replica_set(ready=0, wanted=0), _deployment(**_COMPLETE)], True),
            ([_replica_set(ready=1, wanted=None), _deployment(**_COMPLETE)], True),
            ([_replica_set(), _deployment(**_ROLLING)], False),
            ([_replica_set("1"), _deployment(revision="1", **_ROLLING)], True),
            ([_replica_set("1"), _deployment(revision="1", Available="False")], False),
        ],
        ids=[
            "complete",
            "in any order",
            "no replica set",
            "not observed",
            "old replica set",
            "pods missing",
            "scaled to zero",
            "one by default",
            "still rolling",
            "first revision has no rollout",
            "not available",
        ],
    )
    def test_when_it_is_complete(self, events: list[dict[str, Any]], met: bool) -> None:
        assert self._after(*events).met(0) is met

    def test_what_our_write_has_made_old_does_not_count(self) -> None:
        stale = _deployment(**_COMPLETE)
        stale["metadata"]["generation"] = stale["status"]["observedGeneration"] = 1
        assert not self._after(_replica_set(), stale).met(0)

    def test_claims_must_be_bound(self) -> None:
        live = _deployment(observed=1)
        volumes = [{"persistentVolumeClaim": {"claimName": "a"}}]
        for deployment in (live, complete := _deployment(**_COMPLETE)):
            deployment["spec"]["template"] = {"spec": {"volumes": volumes}}
        pending = make_object("PersistentVolumeClaim", status={"phase": "Pending"})
        condition = self._after(_replica_set(), pending, complete, live=live)
        assert not condition.met(0)
        assert "Failed to bind PersistentVolumeClaim(s): a" in condition.reasons()
        condition.observe(MODIFIED, pending | {"status": {"phase": "Bound"}}, 0)
        assert condition.met(0)

    def test_reasons_name_the_conditions_and_the_new_pods(self) -> None:
        crash = {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off"}}
        status = {"containerStatuses": [make_container(state=crash)]}
        pod = make_pod(status, PodScheduled="True", Initialized="True", Ready=UNREADY)
        old = make_pod(status, PodScheduled="True", Initialized="True", Ready=UNREADY)
        old["metadata"] |= {"name": "old", "ownerReferences": [{"uid": "other"}]}
        late = ("False", "ProgressDeadlineExceeded", 'ReplicaSet "a-2" has timed out')
        refused = ("True", "FailedCreate", "violates PodSecurity")
        deployment = _deployment(Available="True", Progressing=late, ReplicaFailure=refused)
        reasons = self._after(_replica_set(ready=0), pod, old, deployment).reasons()
        assert reasons == [
            '[ProgressDeadlineExceeded] ReplicaSet "a-2" has timed out',
            "Minimum number of Pods to consider the application live was not attained",
            "[FailedCreate] violates PodSecurity",
            "[Pod team/web-1]: containers with unready status: [web]\n[CrashLoopBackOff] back-off",
        ]

    def test_progress_counts_pods(self) -> None:
        condition = self._after(_deployment(**_ROLLING))
        assert "new ReplicaSet" in condition.progress()
        condition.observe(MODIFIED, _replica_set(ready=1), 0)
        assert "(1/2 Pods available)" in condition.progress()

    def test_it_watches_what_belongs_to_it(self) -> None:
        subjects = self._after().subjects()
        assert [subject.kind for subject in subjects] == ["Deployment", "ReplicaSet", "Pod"]
        assert subjects[1].label_selector == "app=a"


class TestSets:
    """StatefulSets and DaemonSets roll out pod by pod."""

    @pytest.mark.parametrize(
        ("status", "spec", "met"),
        [
            ({}, {}, True),
            ({"observedGeneration": 1}, {}, False),
            ({"readyReplicas": 1}, {}, False),
            ({"updateRevision": "r2"}, {}, False),
            ({"currentReplicas": 1}, {}, False),
            (
                {"updateRevision": "r2", "currentReplicas": 0},
                {"updateStrategy": {"type": "OnDelete"}},
                True,
            ),
        ],
        ids=["complete", "not observed", "not ready", "old revision", "not current", "on delete"],
    )
    def test_stateful_sets(self, status: dict[str, Any], spec: dict[str, Any], met: bool) -> None:
        counts = dict.fromkeys(("replicas", "readyReplicas", "currentReplicas"), 2)
        whole = {"observedGeneration": 2, "currentRevision": "r1", "updateRevision": "r1", **counts}
        live = make_object(
            "StatefulSet", "apps/v1", spec={"replicas": 2, **spec}, status=whole | status
        )
        condition = StatefulSetRolledOut(live)
        assert condition.met(0) is met
        if not met and not {"observedGeneration"} & status.keys():
            assert condition.reasons()

    @pytest.mark.parametrize(
        ("status", "missing"),
        [
            ({}, None),
            ({"numberReady": 1}, "Ready: 1/2"),
            ({"updatedNumberScheduled": 0}, "Updated: 0/2"),
        ],
    )
    def test_daemon_sets(self, status: dict[str, int], missing: str | None) -> None:
        fields = (
            "desiredNumberScheduled",
            "currentNumberScheduled",
            "updatedNumberScheduled",
            "numberAvailable",
            "numberReady",
        )
        whole = dict.fromkeys(fields, 2) | {"observedGeneration": 2} | status
        condition = DaemonSetRolledOut(make_object("DaemonSet", "apps/v1", status=whole))
        assert condition.met(0) is (missing is None)
        if missing:
            assert condition.reasons() == [missing]


class TestJobs:
    """A Job runs to its end, or fails."""

    def _job(self, **states: Any) -> dict[str, Any]:
        status = {"startTime": "t", "conditions": make_conditions(**states), "failed": 1}
        return make_object("Job", "batch/v1", status=status)

    def test_it_completes(self) -> None:
        condition = JobComplete(self._job())
        assert not condition.met(0)
        assert "(Active: 0 | Succeeded: 0 | Failed: 1)" in condition.progress()
        condition.observe(MODIFIED, self._job(Complete="True"), 0)
        assert condition.met(0)

    def test_it_fails_with_its_pods_words(self) -> None:
        condition = JobComplete(self._job())
        ended = {"terminated": {"reason": "Error", "exitCode": 1, "message": "no table"}}
        pod = make_pod(
            {"containerStatuses": [make_container(state=ended)]},
            PodScheduled="True",
            Initialized="True",
            Ready=("False", "", ""),
        )
        pod["metadata"]["ownerReferences"] = [{"uid": "uid-Job"}]
        condition.observe("ADDED", pod, 0)
        condition.observe("DELETED", pod, 0)
        condition.observe(MODIFIED, self._job(Failed=("True", "BackoffLimitExceeded", "end")), 0)
        assert condition.failed()
        assert condition.reasons() == [
            "[BackoffLimitExceeded] end",
            "[Pod team/web-1]: [Error] no table",
        ]
