"""Which containers a workload's pods have."""

from __future__ import annotations

from typing import Any

import pytest

from aegis_deploy.history.stack_history import describe
from aegis_deploy.model.fingerprint import images_of_state
from aegis_deploy.model.workloads.pod_images import containers_of, images_of


def manifest(**spec: Any) -> dict[str, Any]:
    return {"spec": {"template": {"spec": spec}}}


MAIN, FIRST = {"image": "r/app@sha256:" + "1" * 64}, {"image": "r/migrate@sha256:" + "2" * 64}


def test_those_that_prepare_it_come_last() -> None:
    assert containers_of(manifest(containers=[MAIN], initContainers=[FIRST])) == [MAIN, FIRST]


@pytest.mark.parametrize(
    "odd",
    [None, {}, {"spec": None}, {"spec": {"template": []}}, manifest(containers="x"), {"spec": 7}],
)
def test_anything_else_has_none(odd: Any) -> None:
    assert containers_of(odd) == []


def test_a_mended_image_that_prepares_it_makes_another_release() -> None:
    def state(first: str) -> list[dict[str, Any]]:
        made = manifest(containers=[MAIN], initContainers=[{"image": first}])
        kind = "kubernetes:apps/v1:Deployment"
        return [
            {"type": kind, "urn": f"urn:pulumi:s::p::{kind}::a", "outputs": made, "inputs": made}
        ]

    bad, good = state("r/migrate@sha256:bad"), state("r/migrate@sha256:good")
    assert images_of_state(bad) != images_of_state(good)
    described = describe({"resources": good})
    assert described.images == (MAIN["image"], "r/migrate@sha256:good")
    assert described.image_digest == "sha256:" + "1" * 64


def test_an_image_that_is_no_text_is_an_empty_one() -> None:
    boxes = [{"image": "a:1"}, {}, {"image": {"secret": "?"}}]
    manifest = {"spec": {"template": {"spec": {"containers": boxes}}}}
    assert images_of(manifest) == ["a:1", "", ""]
    assert images_of(None) == []
