"""A release is recognised again by its images, and nothing is claimed that is not known."""

from __future__ import annotations

from typing import Any

import pytest

from aegis_deploy.model.fingerprint import (
    images_of_state,
    images_of_steps,
    is_shown,
    jobs_of_steps,
    ungated_of_state,
    workloads_of_state,
    workloads_of_steps,
)
from aegis_deploy.model.workloads.rollout import Workload
from tests.unit.aegis_deploy.stage import BAD, DEPLOYMENT, GOOD, step

SET = "kubernetes:apps/v1:StatefulSet"


def _resource(image: str, **more: Any) -> dict[str, Any]:
    pod = {"spec": {"containers": [{"image": image}]}}
    metadata = {"namespace": "n", "name": "a"}
    return {
        "type": DEPLOYMENT,
        "inputs": {"spec": {"template": {"spec": {"containers": [{"image": "old"}]}}}},
        "outputs": {"metadata": metadata, "spec": {"template": pod}},
        **more,
    }


def test_the_images_of_a_preview_and_of_the_state_after_it_are_the_same() -> None:
    assert images_of_steps([step(image=BAD)]) == images_of_state([_resource(BAD)]) == BAD


def test_the_order_of_the_workloads_does_not_count() -> None:
    other = step(image=GOOD, urn="other")
    assert images_of_steps([step(), other]) == images_of_steps([other, step()])


def test_an_image_that_is_yet_to_be_built_is_not_known() -> None:
    assert images_of_steps([step(image="")]) is None
    assert images_of_steps([step(image=""), step(image=BAD)]) == BAD, "the update knows it"
    assert images_of_steps([]) is None


def test_what_goes_does_not_count() -> None:
    assert images_of_steps([step("delete", image=GOOD)]) is None
    assert images_of_state([_resource(GOOD, delete=True)]) is None
    assert workloads_of_steps([step("delete")]) == []
    assert workloads_of_state([_resource(GOOD, delete=True)]) == []


def test_deployments_are_named_where_a_preview_can_name_them() -> None:
    here = [Workload(namespace="n", name="a")]
    assert workloads_of_steps([step(), step(object="", urn="autonamed")]) == here
    assert workloads_of_state([_resource(GOOD), {"type": "kubernetes:core/v1:Service"}]) == here


class TestKinds:
    """What is judged is every kind that runs pods for good, each by its own name."""

    def test_those_of_one_name_are_all_judged(self) -> None:
        kinds = ("Deployment", "StatefulSet", "DaemonSet")
        there = [_resource(GOOD, type=f"kubernetes:apps/v1:{it}") for it in kinds]
        steps = [step(urn=it, type=f"kubernetes:apps/v1:{it}") for it in kinds]
        wanted = [Workload(namespace="n", name="a", kind=it) for it in kinds]
        assert workloads_of_state(there) == wanted
        assert workloads_of_steps(steps) == wanted

    def test_one_without_a_namespace_is_in_the_default_one(self) -> None:
        bare = _resource(GOOD, type=SET)
        del bare["outputs"]["metadata"]["namespace"]
        wanted = [Workload(namespace="default", name="a", kind="StatefulSet")]
        assert workloads_of_state([bare]) == wanted
        assert workloads_of_steps([step(type=SET, namespace="")]) == wanted

    def test_what_is_only_read_is_somebody_elses(self) -> None:
        assert workloads_of_state([_resource(GOOD, type=SET, external=True)]) == []
        assert workloads_of_steps([step("read", type=SET)]) == []

    @pytest.mark.parametrize(
        ("op", "runs"), [("create", True), ("replace", True), ("same", False), ("delete", False)]
    )
    def test_a_job_is_watched_where_it_runs(self, op: str, runs: bool) -> None:
        found = [Workload(namespace="n", name="a", kind="Job")] if runs else []
        assert jobs_of_steps([step(op, type="kubernetes:batch/v1:Job")]) == found
        assert jobs_of_steps([step(op)]) == []

    def test_a_job_that_is_deleted_to_be_made_again_runs(self) -> None:
        ops = ("delete-replaced", "replace", "create-replacement", "delete-replaced")
        steps = [step(op, type="kubernetes:batch/v1:Job") for op in ops]
        assert len(jobs_of_steps(steps)) == 1

    def test_what_runs_pods_unjudged_is_named(self) -> None:
        release = {"type": "kubernetes:helm.sh/v3:Release", "urn": "urn:pulumi:s::p::t::cache"}
        there = [release, _resource(GOOD, urn="x"), {**release, "delete": True}]
        assert ungated_of_state(there) == ["Release cache"]


def test_components_and_providers_are_no_news() -> None:
    assert is_shown(step())
    assert not is_shown(step(custom=False))
    assert not is_shown(step(type="pulumi:providers:kubernetes"))
    assert not is_shown(step("same"))
