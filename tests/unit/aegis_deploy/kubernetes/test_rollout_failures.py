"""Evidence, held against what a real cluster said of rollouts that could not succeed.

``recorded/`` has the Deployment, its ReplicaSets and its pods at the moment of the evidence, as
Kubernetes 1.35 gave them.
"""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any, ClassVar

import pytest

from aegis_deploy.kubernetes.rollout_failures import (
    AGAIN_SECONDS,
    CONFIGURATION_SECONDS,
    DEADLINE_SECONDS,
    MISSING_SECONDS,
    NODE_SECONDS,
    PULL_SECONDS,
    REFUSED_SECONDS,
    Observer,
    RolloutFailure,
)
from aegis_deploy.model.gate_settings import GateSettings
from aegis_deploy.model.workloads.rollout import Snapshot, rollout, serving
from aegis_deploy.model.workloads.rollout_status import PROGRESS_SECONDS
from tests.unit.aegis_deploy.sets import (
    CRASHED,
    HANGING,
    LAST,
    NEW,
    OLD,
    RUNNING,
    daemon_set,
    job,
    pod,
    revision,
    stateful_set,
)

RECORDED = Path(__file__).parents[1] / "recorded"
SETTINGS = GateSettings(unschedulable_seconds=3, unready_seconds=5)


def recorded(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((RECORDED / f"{name}.json").read_text(encoding="utf-8"))
    return found


def snapshot(found: dict[str, Any]) -> Snapshot:
    return Snapshot(
        live=found["deployment"],
        revisions=tuple(found["replica_sets"]),
        pods=tuple(found["pods"]),
    )


def seen(
    found: dict[str, Any], *moments: float, settings: GateSettings = SETTINGS
) -> RolloutFailure | None:
    """Look at the same thing at some moments; return what was evidence at the last one."""
    observer, failure = Observer(settings), None
    for moment in moments:
        failure = observer.observe(snapshot(found), moment)
    return failure


def new_pod(found: dict[str, Any]) -> dict[str, Any]:
    """The one pod of the new release in a recording."""
    (pod,) = snapshot(found).new_pods
    assert isinstance(pod, dict)
    return pod


def container(found: dict[str, Any]) -> dict[str, Any]:
    status: dict[str, Any] = new_pod(found)["status"]["containerStatuses"][0]
    return status


AT_ONCE = [
    ("crash", "crash", "ended with exit code 1"),
    ("crash-loop", "crash", "ended with exit code 1 (2 ends"),
    ("exec", "crash", "could not be started: failed to create"),
    ("oom", "memory", "more memory than its limit, 64Mi"),
    ("image", "image", "aegis:none cannot be pulled (ErrImagePull)"),
]

AFTER_A_WHILE = [
    ("deadline", DEADLINE_SECONDS, "deadline", "made no progress for 3 s"),
    ("config", CONFIGURATION_SECONDS, "configuration", 'configmap "nowhere" not found'),
    ("unschedulable", 3, "unschedulable", "0/1 nodes are available"),
    ("unready", 5, "unready", "has not become ready for 5 s"),
    ("refused", REFUSED_SECONDS, "refused", "exceeded quota: q"),
]


class TestEvidence:
    """What can no longer become good is told as soon as that is sure, and not before."""

    @pytest.mark.parametrize(("name", "kind", "why"), AT_ONCE)
    def test_is_there_at_first_sight(self, name: str, kind: str, why: str) -> None:
        failure = seen(recorded(name), 100.0)
        assert failure is not None
        assert failure.kind == kind
        assert why in failure.reason

    @pytest.mark.parametrize(("name", "seconds", "kind", "why"), AFTER_A_WHILE)
    def test_is_there_once_it_has_lasted(
        self, name: str, seconds: float, kind: str, why: str
    ) -> None:
        assert seen(recorded(name), 100.0, 100.0 + seconds - 0.1) is None
        failure = seen(recorded(name), 100.0, 100.0 + seconds)
        assert failure is not None
        assert failure.kind == kind
        assert why in failure.reason

    @pytest.mark.parametrize(("name", "seconds", "kind", "why"), AFTER_A_WHILE)
    def test_begins_anew_after_a_break(
        self, name: str, seconds: float, kind: str, why: str
    ) -> None:
        observer = Observer(SETTINGS)
        observer.observe(snapshot(recorded(name)), 0.0)
        observer.observe(snapshot(recorded("complete")), 1.0)
        assert observer.observe(snapshot(recorded(name)), seconds + 0.5) is None, (kind, why)

    def test_of_pods_that_are_refused_waits_for_those_that_end(self) -> None:
        # They count in the quota to their last moment.
        ending = recorded("refused")
        ending["pods"][0]["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
        observer = Observer(SETTINGS)
        for now in (0.0, 100.0):
            assert observer.observe(snapshot(ending), now) is None
        assert observer.observe(snapshot(recorded("refused")), 101.0) is None
        failure = observer.observe(snapshot(recorded("refused")), 101.0 + REFUSED_SECONDS)
        assert failure is not None
        assert failure.kind == "refused"

    def test_of_a_pod_that_was_there_waits_for_what_is_made_again(self) -> None:
        observer = Observer(SETTINGS, restores=True)
        observer.observe(snapshot(recorded("config")), 0.0)
        assert observer.observe(snapshot(recorded("config")), AGAIN_SECONDS - 1) is None
        failure = observer.observe(snapshot(recorded("config")), AGAIN_SECONDS)
        assert failure is not None
        assert failure.kind == "configuration"

    @pytest.mark.parametrize(
        "message",
        [
            "failed to sync configmap cache: timed out waiting for the condition",
            "failed to sync secret cache: timed out waiting for the condition",
            "services have not yet been read at least once, cannot construct envvars",
            "rpc error: code = Unavailable desc = connection error: connect: connection refused",
        ],
    )
    def test_of_a_node_that_reached_nobody_waits_until_it_does(self, message: str) -> None:
        # As the kubelet words it while its API server, or containerd, is started anew.
        found = recorded("config")
        container(found)["state"]["waiting"]["message"] = message
        assert seen(found, 0.0, NODE_SECONDS - 0.1) is None
        failure = seen(found, 0.0, NODE_SECONDS)
        assert failure is not None
        assert failure.kind == "node"
        assert message in failure.reason

    def test_a_complete_rollout_shows_none(self) -> None:
        assert seen(recorded("complete"), 0.0, 1000.0) is None

    @pytest.mark.parametrize("name", [name for name, *_ in AT_ONCE])
    def test_counts_only_once_the_cluster_has_seen_the_change(self, name: str) -> None:
        found = recorded(name)
        found["deployment"]["metadata"]["generation"] += 1
        assert seen(found, 0.0, 1000.0) is None

    @pytest.mark.parametrize("name", ["crash", "oom", "image", "exec"])
    def test_of_a_pod_that_is_going_is_none(self, name: str) -> None:
        found = recorded(name)
        new_pod(found)["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
        assert seen(found, 0.0, 1000.0) is None

    def test_of_the_release_before_is_none(self) -> None:
        found = recorded("crash")
        for replica_set in found["replica_sets"]:
            replica_set["metadata"]["annotations"]["deployment.kubernetes.io/revision"] += "0"
        current = found["deployment"]["metadata"]["annotations"]
        other = copy.deepcopy(found["replica_sets"][0])
        other["metadata"] |= {"uid": "another", "annotations": dict(current)}
        found["replica_sets"].append(other)
        assert seen(found, 0.0, 1000.0) is None

    def test_nothing_yet_is_none(self) -> None:
        assert Observer(SETTINGS).observe(Snapshot(live=None), 0.0) is None


class TestAStartupProbe:
    """What it ended is told as what it is, and the progress deadline says that it waits for it."""

    PROBE: ClassVar = {"periodSeconds": 2, "failureThreshold": 4}

    def _ended(self, seconds: int, code: int = 137) -> dict[str, Any]:
        found = recorded("crash")
        new_pod(found)["spec"]["containers"][0]["startupProbe"] = self.PROBE
        status = container(found)
        status["started"] = False
        status["state"]["terminated"] |= {
            "exitCode": code,
            "startedAt": "2026-01-01T00:00:00Z",
            "finishedAt": f"2026-01-01T00:00:{seconds:02}Z",
        }
        return found

    @pytest.mark.parametrize("code", [137, 143, 0])
    def test_that_never_passed_is_named_whatever_the_exit_code(self, code: int) -> None:
        failure = seen(self._ended(8, code), 0.0)
        assert failure is not None
        assert failure.kind == "startup"
        assert "its startup probe never passed, for which it had 8 s" in failure.reason

    def test_is_not_blamed_for_an_end_before_its_budget(self) -> None:
        failure = seen(self._ended(3, 1), 0.0)
        assert failure is not None
        assert failure.kind == "crash"

    def test_is_not_blamed_for_what_had_started(self) -> None:
        found = self._ended(8)
        running = copy.deepcopy(found)
        container(running)["started"] = True
        container(running)["state"] = {"running": {}}
        observer = Observer(SETTINGS)
        assert observer.observe(snapshot(running), 0.0) is None
        failure = observer.observe(snapshot(found), 1.0)
        assert failure is not None
        assert failure.kind == "crash"

    def test_that_outlasts_the_progress_deadline_is_what_the_deadline_names(self) -> None:
        found = recorded("deadline")
        new_pod(found)["spec"]["containers"][0]["startupProbe"] = self.PROBE
        container(found).update(state={"running": {}}, started=False, ready=False)
        container(found)["restartCount"] = 0
        container(found).pop("lastState", None)
        failure = seen(found, 0.0, DEADLINE_SECONDS)
        assert failure is not None
        assert failure.kind == "deadline"
        assert "runs, but its startup probe has not passed" in failure.reason
        assert failure.container == "web", "its log is what there is to read"


class TestCrashes:
    """How many ends of a container are evidence, and of which."""

    def test_the_log_is_the_ended_containers(self) -> None:
        first = seen(recorded("crash"), 0.0)
        assert first is not None
        assert (first.container, first.ended) == ("web", False)

    def test_fewer_than_the_gate_names_are_forgiven(self) -> None:
        patient = GateSettings(crashes=3)
        assert seen(recorded("crash-loop"), 0.0, settings=patient) is None
        assert seen(recorded("crash-loop"), 0.0, settings=GateSettings(crashes=2)) is not None

    def test_those_of_a_pod_that_was_ready_at_first_sight_are_the_past(self) -> None:
        found = recorded("complete")
        pods = list(snapshot(found).new_pods)
        pods[0]["status"]["containerStatuses"][0]["restartCount"] = 4
        pods[0]["status"]["containerStatuses"][0]["lastState"] = {"terminated": {"exitCode": 1}}
        observer = Observer(SETTINGS)
        assert observer.observe(snapshot(found), 0.0) is None
        pods[0]["status"]["containerStatuses"][0]["restartCount"] = 5
        failure = observer.observe(snapshot(found), 1.0)
        assert failure is not None
        assert failure.kind == "crash"

    def test_the_first_is_seen_while_the_second_start_is_held_back(self) -> None:
        found = recorded("crash-loop")
        container(found)["restartCount"] = 0
        failure = seen(found, 0.0)
        assert failure is not None
        assert failure.ended

    def test_a_service_that_ends_without_an_error_has_crashed_too(self) -> None:
        found = recorded("crash")
        container(found)["state"]["terminated"]["exitCode"] = 0
        assert seen(found, 0.0) is not None

    @pytest.mark.parametrize("reason", ["Unknown", "ContainerStatusUnknown"])
    def test_one_whose_node_was_started_anew_has_not(self, reason: str) -> None:
        found = recorded("crash")
        container(found)["state"]["terminated"] |= {"exitCode": 255, "reason": reason}
        assert seen(found, 0.0) is None

    def test_one_that_a_node_lost_before_it_started_has_not(self) -> None:
        found = recorded("unready")
        # As the kubelet told after it and its runtime were killed between making and starting.
        container(found).update({"restartCount": 1, "lastState": {}})
        assert seen(found, 0.0) is None
        ended = {"terminated": {"exitCode": 1}}
        container(found).update({"restartCount": 2, "lastState": ended})
        assert seen(found, 0.0) is not None

    @pytest.mark.parametrize(("code", "restarts", "evidence"), [(0, 0, False), (1, 0, True)])
    def test_an_init_container_may_end_but_not_fail(
        self, code: int, restarts: int, evidence: bool
    ) -> None:
        found = recorded("unready")
        new_pod(found)["spec"]["initContainers"] = [{"name": "migrate"}]
        new_pod(found)["status"]["initContainerStatuses"] = [
            {
                "name": "migrate",
                "restartCount": restarts,
                "state": {"terminated": {"exitCode": code, "reason": "Completed"}},
            }
        ]
        assert (seen(found, 0.0) is not None) is evidence

    def test_a_sidecar_must_not_end(self) -> None:
        found = recorded("unready")
        new_pod(found)["spec"]["initContainers"] = [{"name": "proxy", "restartPolicy": "Always"}]
        new_pod(found)["status"]["initContainerStatuses"] = [
            {"name": "proxy", "restartCount": 0, "state": {"terminated": {"exitCode": 0}}}
        ]
        assert seen(found, 0.0) is not None


class TestWaiting:
    """A pull that may still succeed, a container that may still start."""

    def test_a_registry_that_is_away_is_waited_for(self) -> None:
        found = recorded("image")
        container(found)["state"]["waiting"] = {
            "reason": "ErrImagePull",
            "message": "dial tcp 198.18.0.2:5000: connect: connection refused",
        }
        assert seen(found, 0.0, PULL_SECONDS - 1) is None
        failure = seen(found, 0.0, PULL_SECONDS)
        assert failure is not None
        assert "connection refused" in failure.reason

    def test_before_its_startup_probe_a_container_is_not_expected_to_be_ready(self) -> None:
        found = recorded("unready")
        container(found)["started"] = False
        assert seen(found, 0.0, 1000.0) is None

    def test_a_readiness_probe_has_its_own_budget(self) -> None:
        found = recorded("unready")
        probe = new_pod(found)["spec"]["containers"][0]["readinessProbe"]
        probe |= {"periodSeconds": 10, "failureThreshold": 3, "timeoutSeconds": 2}
        assert seen(found, 0.0, 31.0) is None
        assert seen(found, 0.0, 32.0) is not None

    def test_a_paused_rollout_is_said_to_be(self) -> None:
        found = recorded("unready")
        found["deployment"]["spec"]["paused"] = True
        failure = seen(found, 0.0, REFUSED_SECONDS, settings=GateSettings(unready_seconds=99))
        assert failure is not None
        assert failure.kind == "paused"


class TestProgress:
    """How far a rollout is, and what serves."""

    def test_a_rollout_that_hangs_is_not_complete(self) -> None:
        found = rollout(snapshot(recorded("crash")))
        assert (found.wanted, found.new, found.ready, found.old) == (2, 1, 0, 2)
        assert not found.complete

    def test_one_that_is_done_is_complete(self) -> None:
        found = rollout(snapshot(recorded("complete")))
        assert found.complete
        assert (found.new, found.ready) == (2, 2)

    def test_what_serves_is_told_by_release(self) -> None:
        said = serving(snapshot(recorded("crash")))
        assert said == "the release before still serves, 2 ready pods (1)"
        assert serving(snapshot(recorded("complete"))) == "the new release serves, 2 ready pods (1)"
        assert serving(Snapshot(live=None)) == "nothing serves: no pod is ready"


class TestASet:
    """A StatefulSet and a DaemonSet are judged by their pods, and by what does not go on."""

    @pytest.mark.parametrize(
        ("made", "kind"),
        [
            (lambda it: stateful_set(pod("db-0"), it), "StatefulSet"),
            (lambda it: daemon_set(it, revisions=(revision(NEW, "db:1"),)), "DaemonSet"),
        ],
    )
    def test_whose_new_pod_crashes_fails(self, made: Any, kind: str) -> None:
        state = made(pod("db-1", ready=False, state=CRASHED, restarts=1))
        assert state.kind == kind
        failure = Observer(SETTINGS).observe(state, 0.0)
        assert failure is not None
        assert (failure.kind, failure.pod) == ("crash", "db-1")

    def test_whose_old_pod_crashes_does_not(self) -> None:
        old = pod("db-1", OLD, ready=False, state=CRASHED, restarts=1)
        assert Observer(SETTINGS).observe(stateful_set(pod("db-0"), old), 0.0) is None

    def test_that_was_told_to_run_fewer_is_not_blamed_for_those_it_is_about_to_delete(self) -> None:
        crashes = pod("db-0", ready=False, state=CRASHED, restarts=1)
        assert Observer(SETTINGS).observe(stateful_set(crashes, replicas=0), 0.0) is None

    def test_that_makes_no_progress_fails_and_names_what_holds_it_up(self) -> None:
        hangs = pod("db-1", ready=False, state=HANGING, initial=RUNNING)
        observer = Observer(SETTINGS)
        state = stateful_set(pod("db-0"), hangs)
        assert observer.observe(state, 0.0) is None
        assert observer.observe(state, PROGRESS_SECONDS - 1) is None
        failure = observer.observe(state, PROGRESS_SECONDS)
        assert failure is not None
        assert (failure.kind, failure.container) == ("deadline", "wait")
        assert "init container wait of pod db-1 still runs" in failure.reason

    def test_that_makes_progress_does_not_however_long_it_takes(self) -> None:
        observer = Observer(SETTINGS)
        for at in range(4):
            pods = [pod(f"db-{it}", NEW if it >= 4 - at else OLD) for it in range(4)]
            state = stateful_set(*pods, replicas=4, status={"updatedReplicas": at})
            assert observer.observe(state, at * (PROGRESS_SECONDS - 1.0)) is None

    def test_of_which_a_pod_is_not_even_made_fails(self) -> None:
        observer, state = Observer(SETTINGS), stateful_set(pod("db-0"))
        assert observer.observe(state, 0.0) is None
        failure = observer.observe(state, MISSING_SECONDS)
        assert failure is not None
        assert failure.kind == "refused"
        assert "1 of 2 pods of StatefulSet db have not been made" in failure.reason

    @pytest.mark.parametrize(
        "pods",
        [
            [pod("db-0"), pod("db-1")],
            [pod("db-0", ready=False)],
            [pod("db-0"), pod("db-1", going=True)],
        ],
    )
    def test_that_waits_for_a_pod_it_has_does_not(self, pods: list[dict[str, Any]]) -> None:
        patient = GateSettings(unready_seconds=10 * MISSING_SECONDS)
        observer, state = Observer(patient), stateful_set(*pods)
        assert observer.observe(state, 0.0) is None
        assert observer.observe(state, MISSING_SECONDS) is None

    def test_that_lets_a_pod_be_ready_for_a_while_makes_the_next_one_later(self) -> None:
        observer, state = Observer(SETTINGS), stateful_set(pod("db-0"), minReadySeconds=30)
        assert observer.observe(state, 0.0) is None
        assert observer.observe(state, MISSING_SECONDS + 29) is None
        assert observer.observe(state, MISSING_SECONDS + 30) is not None


class TestAJob:
    """Its pods may fail until it has."""

    def test_that_failed_is_evidence_with_its_last_pod(self) -> None:
        last = pod("db-x", ready=False, state=LAST)
        failure = Observer(SETTINGS).observe(job(last, failed="BackoffLimitExceeded"), 0.0)
        assert failure is not None
        assert (failure.kind, failure.pod, failure.container) == ("job", "db-x", "db")
        assert failure.reason.startswith("Job db failed (BackoffLimitExceeded): Job has reached")

    @pytest.mark.parametrize("why", ["DeadlineExceeded", "PodFailurePolicy"])
    def test_that_failed_without_a_pod_is_evidence_too(self, why: str) -> None:
        failure = Observer(SETTINGS).observe(job(failed=why), 0.0)
        assert failure is not None
        assert failure.pod is None

    def test_whose_pods_fail_may_try_again(self) -> None:
        again = pod("db-x", ready=False, state=CRASHED, restarts=4)
        assert Observer(SETTINGS).observe(job(again), 0.0) is None

    def test_whose_image_is_not_there_is_evidence(self) -> None:
        missing = {"waiting": {"reason": "ErrImagePull", "message": "manifest unknown"}}
        state = job(pod("db-x", ready=False, state=missing))
        failure = Observer(SETTINGS).observe(state, 0.0)
        assert failure is not None
        assert failure.kind == "image"

    def test_that_goes_since_it_is_made_again_is_the_past(self) -> None:
        gone = job(failed="BackoffLimitExceeded", going=True)
        assert Observer(SETTINGS).observe(gone, 0.0) is None
