"""aegis_deploy.flows.status.live_status: what is said of a stack, from recorded objects."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import pytest

from aegis_deploy.cli.commands.gate import changed, render
from aegis_deploy.common.console import Output
from aegis_deploy.common.errors import AegisError, ExitCode
from aegis_deploy.drift.detection import CHANGED, Drifted, FieldChange
from aegis_deploy.drift.forgotten import Forgotten
from aegis_deploy.flows.status.live_status import LiveWorkload, StackDrift, Status, drift_of, look
from aegis_deploy.kubernetes.client import ApiError, Cluster
from aegis_deploy.model.gate_settings import GateSettings
from aegis_deploy.model.verdict import Verdict
from aegis_deploy.model.workloads.rollout import Workload
from aegis_deploy.stack.checkpoint import outline
from tests.unit.aegis_deploy.sets import OLD, pod, stateful_set
from tests.unit.aegis_deploy.stage import release
from tests.unit.aegis_deploy.states import CONFIG_KIND, thing

RECORDED = Path(__file__).parents[1] / "recorded"
WEB = Workload(namespace="shop", name="web")


class RecordedCluster:
    """Answers with what was recorded, and refuses everything else."""

    def __init__(self, name: str, events: list[dict[str, Any]] | None = None) -> None:
        self._found = json.loads((RECORDED / f"{name}.json").read_text(encoding="utf-8"))
        self._events = events

    def get(self, path: str, query: Mapping[str, str] | None = None) -> dict[str, Any]:
        assert query is None
        kinds = {
            "/apis/apps/v1/namespaces/shop/deployments": [self._found["deployment"]],
            "/apis/apps/v1/namespaces/shop/replicasets": self._found["replica_sets"],
            "/api/v1/namespaces/shop/pods": self._found["pods"],
        }
        return {"items": kinds[path]}

    def events(self, namespace: str, name: str | None = None) -> list[dict[str, Any]]:
        assert (namespace, name) == ("shop", None)
        if self._events is None:
            raise ApiError(403, "events is forbidden")
        return self._events


def live(name: str, events: list[dict[str, Any]] | None = None) -> LiveWorkload:
    (found,) = look(cast(Cluster, RecordedCluster(name, events)), [WEB])
    return found


def status(name: str) -> Status:
    return Status(stack="staging", release=None, deployed=None, live=(live(name),))


STATES = [
    ("crash-loop", "CrashLoopBackOff"),
    ("image", "ErrImagePull"),
    ("config", "CreateContainerConfigError"),
    ("unschedulable", "Unschedulable"),
    ("oom", "OOMKilled"),
    ("unready", "not ready"),
]


@pytest.mark.parametrize(("name", "state"), STATES)
def test_a_pod_that_hangs_says_in_what(name: str, state: str) -> None:
    found = live(name)
    (new,) = [pod for pod in found.pods if pod.new]
    assert new.state == state
    assert not new.ready
    assert [pod.state for pod in found.pods if not pod.new and not pod.going] == ["ready"] * 2
    assert not status(name).healthy


def test_a_complete_rollout_is_healthy() -> None:
    found = status("complete")
    assert found.healthy
    assert "web: rollout complete; 2 of 2 new pods ready, 0 old" in "\n".join(found.lines())


def test_a_cluster_that_was_not_asked_is_not_healthy() -> None:
    found = Status(stack="staging", release=None, deployed=None, unreachable="no answer")
    assert not found.healthy
    assert "cluster   not asked: no answer" in found.lines()


def test_warnings_are_those_of_what_is_there_each_once() -> None:
    name = live("crash").pods[0].name
    event = {"type": "Warning", "reason": "BackOff", "message": "again"}
    events = [
        {**event, "involvedObject": {"name": "web-gone"}},
        {**event, "involvedObject": {"name": name}},
        {**event, "involvedObject": {"name": name}},
        {**event, "type": "Normal", "involvedObject": {"name": name}},
    ]
    assert live("crash", events).events == (f"{name}: BackOff: again",)


def test_events_that_may_not_be_read_hide_nothing_else() -> None:
    assert live("crash").pods
    assert live("crash").events == ()


def test_the_document_says_what_the_text_says() -> None:
    data = json.loads(json.dumps(status("crash").as_json()))
    assert data["healthy"] is False
    assert data["release"] is None
    assert {pod["version"] for pod in data["workloads"][0]["pods"]} == {"1", "2"}


class TestWhatIsNoRelease:
    """The last operation may have deployed a part, or nothing, or not all may be there still."""

    LOST = Forgotten(release(3), (outline(thing(CONFIG_KIND, "beta")),))

    @pytest.mark.parametrize(
        ("last", "words"),
        [
            (
                {"environment": {"pulumi.flag.target": "set"}},
                "4 (version unknown), a targeted update, NOT verified by a gate",
            ),
            ({"kind": "resource-import"}, "a resource import, NOT verified"),
            ({"kind": "destroy"}, "none: 4 is a destroy"),
            ({"kind": "destroy", "result": "failed"}, "none: 4 is a destroy, FAILED"),
        ],
    )
    def test_is_told_in_a_word(self, last: dict[str, Any], words: str) -> None:
        found = Status(stack="staging", release=release(4, **last), deployed=None)
        assert words in found.lines()[1]

    def test_a_verified_release_of_which_the_state_lacks_something_says_so(self) -> None:
        found = Status(
            stack="staging",
            release=release(3, verified=True),
            deployed=None,
            forgotten=self.LOST,
        )
        text = "\n".join(found.lines())
        assert "verified, but not all of it is in the state" in text
        assert "state     LACKS ConfigMap shop/beta" in text
        assert "aegis rollback --to 3 --stack staging" in text
        assert found.as_json()["missingFromState"] == ["ConfigMap shop/beta"]


class _Sets:
    """A cluster with a StatefulSet that is replaced by hand alone."""

    def __init__(self) -> None:
        by_hand: dict[str, Any] = {"updateStrategy": {"type": "OnDelete"}}
        self._held = stateful_set(pod("db-0", OLD), pod("db-1"), **by_hand)

    def get(self, path: str) -> dict[str, Any]:
        kinds = {
            "/apis/apps/v1/namespaces/shop/statefulsets": [self._held.live],
            "/api/v1/namespaces/shop/pods": list(self._held.pods),
        }
        return {"items": kinds[path]}

    def events(self, *_: object) -> list[dict[str, Any]]:
        return []


def test_a_stateful_set_is_told_with_its_kind_and_what_it_leaves() -> None:
    db = Workload(namespace="shop", name="db", kind="StatefulSet")
    found = Status(stack="s", release=None, deployed=None, live=look(cast(Cluster, _Sets()), [db]))
    text = "\n".join(found.lines())
    assert "StatefulSet shop/db: rollout complete; 1 of 2 new pods ready, 0 old" in text
    assert "1 pod of StatefulSet db is left at a release before by its strategy" in text
    assert "old  -  db-0  ready" in text
    (data,) = found.as_json()["workloads"]
    assert (data["kind"], data["namespace"], data["name"]) == ("StatefulSet", "shop", "db")


class TestGateCheck:
    """`aegis gate check --set`, and how a verdict is told."""

    def test_changes_only_what_is_named(self) -> None:
        before = GateSettings(bake_seconds=7, canary=3)
        after = changed(before, ["p99Ms=300", "successRatio=0.5"])
        assert after == GateSettings(bake_seconds=7, canary=3, p99_ms=300, success_ratio=0.5)

    @pytest.mark.parametrize("change", ["p99Ms", "p99=1", "p99Ms=fast", "prometheus=up"])
    def test_refuses_what_is_no_setting(self, change: str) -> None:
        with pytest.raises(AegisError) as refused:
            changed(GateSettings(), [change])
        assert refused.value.code is ExitCode.USAGE

    def test_a_verdict_that_failed_ends_with_its_own_code(self) -> None:
        verdict = Verdict(passed=False, kind="latency", reason="too slow", serving="it serves")
        with pytest.raises(AegisError, match="too slow") as failed:
            render("staging", verdict, Output())
        assert failed.value.code is ExitCode.GATE_FAILED
        assert failed.value.details["gate"] == verdict.as_json()


class TestDrift:
    """What is live and was not deployed so."""

    def test_names_what_changed_and_what_is_gone_and_what_goes(self) -> None:
        going = {"metadata": {"finalizers": ["example.com/a"]}}
        drift = drift_of(
            [
                Drifted(
                    "Deployment", "n", "web", "u", fields=(FieldChange("spec.replicas", CHANGED),)
                ),
                Drifted("Service", "n", "web-1f", "u", gone=True),
                Drifted("ConfigMap", "n", "c", "u", going="2026-01-02T03:04:05Z", live=going),
            ],
            ["Secret n/s"],
        )
        assert drift.found == (
            "Deployment web is not as it was declared: spec.replicas",
            "Service web-1f is gone",
            "ConfigMap n/c is being deleted since 2026-01-02T03:04:05Z, held by example.com/a",
        )
        assert drift.as_json()["drifted"] is True
        assert drift.lines()[0].startswith("drift     YES")
        assert drift.lines()[-1].strip() == "not compared: Secret n/s"

    def test_is_none_when_nothing_was_found(self) -> None:
        assert drift_of([]).as_json() == {"drifted": False, "found": [], "unknown": ""}
        assert drift_of([]).lines() == ["drift     none: what was declared is live"]

    def test_is_unknown_when_nobody_could_look(self) -> None:
        found = Status(
            stack="s", release=None, deployed=None, drift=StackDrift(unknown="no cluster")
        )
        assert found.as_json()["drift"]["drifted"] is None
        assert "drift     not looked for: no cluster" in found.lines()
