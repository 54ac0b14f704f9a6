"""What is asked of the API server about what pods read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import pytest

from aegis_deploy.drift.live_objects import gone, of_workloads
from aegis_deploy.kubernetes.client import FORBIDDEN, NOT_FOUND, ApiError, Cluster
from aegis_deploy.model.workloads.rollout import Workload
from tests.unit.aegis_deploy.two_clusters import PATH, at, two_apis, workload


class _Cluster:
    """A cluster that answers some paths with a code, all others with an object."""

    def __init__(self, answers: Mapping[str, int]) -> None:
        self.answers = answers

    def get(self, path: str) -> dict[str, Any]:
        """Answer."""
        if path in self.answers:
            raise ApiError(self.answers[path], "no")
        return {"metadata": {}}


SETTINGS = ("ConfigMap", "team", "settings")
TOKEN = ("Secret", "team", "token")


def _gone(**answers: int) -> list[tuple[str, str, str]]:
    named = {f"/api/v1/namespaces/team/{kind}s/{NAMES[kind]}": it for kind, it in answers.items()}
    return gone(cast("Cluster", _Cluster(named)), [SETTINGS, TOKEN])


NAMES = {"configmap": "settings", "secret": "token"}


def test_only_what_is_not_there_is_gone() -> None:
    assert _gone() == []
    assert _gone(configmap=NOT_FOUND) == [SETTINGS]
    assert _gone(configmap=NOT_FOUND, secret=NOT_FOUND) == [SETTINGS, TOKEN]


def test_what_may_not_be_read_counts_as_there() -> None:
    assert _gone(secret=FORBIDDEN) == []


def test_a_server_that_does_not_answer_says_nothing_about_it() -> None:
    with pytest.raises(ApiError):
        _gone(secret=503)


def test_workloads_are_read_where_their_kind_is_and_what_is_gone_is_left_out() -> None:
    kinds = {"Deployment": "deployments", "StatefulSet": "statefulsets", "DaemonSet": "daemonsets"}
    for kind, plural in kinds.items():
        path = f"/apis/apps/v1/namespaces/team/{plural}/a"
        workload = Workload(namespace="team", name="a", kind=kind)
        cluster = cast("Cluster", _Cluster({path: NOT_FOUND}))
        others = [Workload(namespace="team", name="a", kind=it) for it in kinds if it != kind]
        assert list(of_workloads(cluster, [workload, *others])) == others


def test_objects_that_are_only_read_once_are_asked_of_their_own_cluster() -> None:
    apis = two_apis()
    for name, api in apis.items():
        api.lists[PATH] = [{"metadata": {"name": "web", "uid": name}}]
    both = [workload("east"), workload("west")]
    found = of_workloads(at(apis), both)
    assert [found[it]["metadata"]["uid"] for it in both] == ["east", "west"]
