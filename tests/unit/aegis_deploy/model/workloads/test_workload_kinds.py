"""One list says which kinds run pods, and whoever asks for one asks it."""

from __future__ import annotations

from typing import Any

import pytest

from aegis_deploy.model.workloads.workload_kinds import (
    gated,
    is_job,
    is_ungated,
    is_workload,
    names_images,
)

PODS: dict[str, Any] = {"spec": {"template": {"spec": {"containers": [{"image": "a"}]}}}}


@pytest.mark.parametrize("kind", ["Deployment", "StatefulSet", "DaemonSet"])
def test_what_runs_for_good_is_judged_and_names_images(kind: str) -> None:
    token = f"kubernetes:apps/v1:{kind}"
    assert gated(token) == kind
    assert is_workload(token)
    assert names_images(token)
    assert not is_ungated(token, PODS)


@pytest.mark.parametrize(
    "token",
    [
        "kubernetes:apps/v1:StatefulSetPatch",
        "kubernetes:apps/v1:StatefulSetList",
        "kubernetes:apps/v1:ReplicaSet",
        "kubernetes:core/v1:Service",
        "shop:apps/v1:DaemonSet",
        "aegis:service:Deployment",
    ],
)
def test_nothing_else_is_judged(token: str) -> None:
    assert gated(token) is None


@pytest.mark.parametrize(
    ("token", "manifest", "ungated"),
    [
        ("kubernetes:helm.sh/v3:Release", {}, True),
        ("kubernetes:core/v1:Pod", {"spec": {"containers": [{"image": "a"}]}}, True),
        ("kubernetes:apps/v1:ReplicaSet", PODS, True),
        ("kubernetes:core/v1:ReplicationController", PODS, True),
        ("kubernetes:argoproj.io/v1alpha1:Rollout", PODS, True),
        ("kubernetes:serving.knative.dev/v1:Service", PODS, True),
        ("kubernetes:apps/v1:DeploymentPatch", PODS, True),
        ("kubernetes:core/v1:Service", {"spec": {"selector": {}}}, False),
        ("kubernetes:batch/v1:Job", PODS, False),
        ("shop:web:Site", PODS, False),
        ("kubernetes:argoproj.io/v1alpha1:Rollout", None, False),
    ],
)
def test_what_runs_pods_unjudged_is_told_by_its_template(
    token: str, manifest: dict[str, Any] | None, ungated: bool
) -> None:
    assert is_ungated(token, manifest) is ungated


def test_a_job_is_one_of_this_api_alone() -> None:
    assert is_job("kubernetes:batch/v1:Job")
    assert not is_job("kubernetes:batch/v1:CronJob")
