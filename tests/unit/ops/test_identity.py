"""A release is recognised again by its images, and nothing is claimed that is not known."""

from __future__ import annotations

from typing import Any

from ops.identity import (
    images_of_state,
    images_of_steps,
    is_shown,
    workloads_of_state,
    workloads_of_steps,
)
from ops.workload import Workload
from tests.unit.ops.stage import BAD, DEPLOYMENT, GOOD, step


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


def test_components_and_providers_are_no_news() -> None:
    assert is_shown(step())
    assert not is_shown(step(custom=False))
    assert not is_shown(step(type="pulumi:providers:kubernetes"))
    assert not is_shown(step("same"))
