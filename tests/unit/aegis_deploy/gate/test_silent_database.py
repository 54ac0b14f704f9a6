"""A pod that waits for its database is told from one that would wait for no good reason."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any, cast

import pytest

from aegis_deploy.gate.silent_database import who_says_away
from aegis_deploy.kubernetes.client import ApiError, Cluster
from aegis_deploy.model.gate_settings import DataPaths, GateSettings
from aegis_deploy.model.workloads.rollout import Workload
from tests.unit.aegis_deploy.two_clusters import Api, place

WEB = Workload(namespace="shop", name="web", service="web")
JOB = Workload(namespace="shop", name="migrate", kind="Job")
PODS = "/api/v1/namespaces/shop/pods"
AWAY = (503, {"type": "urn:aegis:problem:database-away"})
GOOD = (200, {"data": "read"})
BROKEN = (500, {"title": "no such column"})
SET = GateSettings(data=DataPaths(write="/tryout"))


@dataclass
class Waiting(Api):
    """A rollout of which one new pod is not ready, and pods that answer in their turn.

    Attributes:
        says: What each pod that is asked answers, by the end of its name.
        sent: What was asked for, and how.
        ready: The pods of the release before, by name.
    """

    says: dict[str, tuple[int, dict[str, Any]]] = field(default_factory=dict)
    sent: list[str] = field(default_factory=list)
    ready: list[str] = field(default_factory=list)

    def answer(self, *given: object, **more: object) -> tuple[int, bytes]:
        pod, _, path = str(given[0]).partition("/proxy")
        self.sent.append(f"{more['method']} {path}")
        assert pod.startswith(f"{PODS}/http:")
        assert pod.endswith(":8080")
        name = pod.removeprefix(f"{PODS}/http:").removesuffix(":8080")
        status, said = self.says.get(name, self.says.get("", GOOD))
        if not status:
            raise ApiError(0, "no answer")
        return status, json.dumps(said).encode()


def waiting(**says: tuple[int, dict[str, Any]]) -> Waiting:
    """A rollout in which both pods of the release before are ready."""
    it = Waiting("one", says=says)
    place(it, "unready")
    for pod in it.lists[PODS]:
        pod["metadata"]["annotations"] = {"aegis.dev/data-read": "/records"}
        pod["spec"]["containers"][0]["ports"] = [{"name": "http", "containerPort": 8080}]
    conditions = {
        pod["metadata"]["name"]: {c["type"]: c["status"] for c in pod["status"]["conditions"]}
        for pod in it.lists[PODS]
    }
    it.ready = [name for name, said in conditions.items() if said["Ready"] == "True"]
    return it


def says(it: Waiting, *workloads: Workload, settings: GateSettings = GateSettings()) -> str:  # noqa: B008 - it is frozen
    return who_says_away(cast("Cluster", it), workloads or (WEB,), settings)


def test_every_pod_that_is_ready_says_so_by_its_own_path() -> None:
    it = waiting(**{"": AWAY})
    assert it.ready
    assert says(it) == ", ".join(it.ready)
    assert it.sent == ["GET /records"] * len(it.ready), "those that wait were never there"


@pytest.mark.parametrize("other", [GOOD, BROKEN, (0, {})], ids=["reads", "broken", "silent"])
def test_where_one_does_not_the_release_is_judged_as_ever(other: tuple[int, Any]) -> None:
    it = waiting(**{"": AWAY})
    it.says[it.ready[0]] = other
    assert says(it) == ""


def test_where_none_is_ready_nobody_can_tell() -> None:
    it = waiting(**{"": AWAY})
    it.lists[PODS] = [pod for pod in it.lists[PODS] if pod["metadata"]["name"] not in it.ready]
    assert it.lists[PODS]
    assert (says(it), it.sent) == ("", [])


def test_one_that_is_ending_is_not_asked() -> None:
    it = waiting(**{"": AWAY})
    for pod in it.lists[PODS]:
        pod["metadata"]["deletionTimestamp"] = "2026-01-02T03:04:05Z"
    assert (says(it), it.sent) == ("", [])


def test_the_gates_own_setting_comes_before_what_pods_say() -> None:
    it = waiting(**{"": AWAY})
    assert says(it, settings=SET)
    assert set(it.sent) == {"POST /tryout"}
    silent = waiting(**{"": AWAY})
    assert says(silent, settings=GateSettings(data=DataPaths())) == ""


def test_what_says_nothing_of_data_is_not_asked() -> None:
    it = waiting(**{"": AWAY})
    for pod in it.lists[PODS]:
        del pod["metadata"]["annotations"]
    assert (says(it), it.sent) == ("", [])


def test_a_job_serves_nobody_and_a_silent_cluster_says_nothing() -> None:
    it = waiting(**{"": AWAY})
    assert says(it, JOB, settings=SET) == ""
    it.silent = True
    assert says(it) == ""
