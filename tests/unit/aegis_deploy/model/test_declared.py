"""A mended program is told from the one that was rolled back."""

from __future__ import annotations

from typing import Any

import pytest

from aegis_deploy.model.declared import UNKNOWN, digest, joined, of_state
from aegis_deploy.model.signatures import SECRET, SIGNATURE

KIND = "kubernetes:apps/v1:Deployment"


def declared(image: str = "r/app@sha256:1", probe: str = "/wrong", **more: Any) -> dict[str, Any]:
    container = {"image": image, "readinessProbe": {"httpGet": {"path": probe}}, **more}
    return {"spec": {"template": {"spec": {"containers": [container]}}}}


def test_another_probe_is_another_release() -> None:
    assert digest(KIND, declared()) != digest(KIND, declared(probe="/readyz"))


@pytest.mark.parametrize("image", ["r/app@sha256:2", UNKNOWN])
def test_an_image_is_compared_by_itself(image: str) -> None:
    assert digest(KIND, declared(image=image)) == digest(KIND, declared())


def test_a_secret_is_the_same_masked_and_encrypted() -> None:
    kept = {SIGNATURE: SECRET, "ciphertext": "v1:abc"}
    assert digest(KIND, declared(env=[{"value": kept}])) == digest(
        KIND, declared(env=[{"value": "[secret]"}])
    )


def test_what_is_no_object_of_a_cluster_counts_for_nothing() -> None:
    assert digest("docker:index/image:Image", {"tag": "1"}) == ""
    assert joined({"urn:a": ""}) == ""


def test_a_state_and_a_preview_of_it_are_the_same() -> None:
    state: list[dict[str, Any]] = [
        {"urn": "urn:a", "type": KIND, "inputs": declared()},
        {"urn": "urn:b", "type": "pulumi:pulumi:Stack"},
        {"urn": "urn:a", "type": KIND, "inputs": declared(probe="/old"), "delete": True},
    ]
    assert of_state(state) == joined({"urn:a": digest(KIND, declared()), "urn:b": ""}) != ""
