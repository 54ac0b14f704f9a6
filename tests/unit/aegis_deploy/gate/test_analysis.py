"""The gate judges each workload in the cluster that it is in."""

from __future__ import annotations

from dataclasses import replace

import pytest

from aegis_deploy.gate.analysis import judge
from aegis_deploy.model.routes.external_routes import HTTP_ROUTE, Route
from aegis_deploy.model.verdict import LOST
from tests.unit.aegis_deploy.two_clusters import GATE, Api, at, place, two_apis, workload


@pytest.fixture
def apis() -> dict[str, Api]:
    return two_apis()


def test_what_fails_is_told_with_its_cluster_and_its_own_log(apis: dict[str, Api]) -> None:
    place(apis["east"], "complete")
    place(apis["west"], "crash-loop")
    verdict = judge(at(apis), [workload("east"), workload("west")], GATE)
    assert not verdict.passed
    assert verdict.reason.endswith(" (provider west)")
    assert any("log of west" in line for line in verdict.evidence)
    assert "web (provider east): " in verdict.serving
    assert "web (provider west): " in verdict.serving


def test_all_have_to_be_good(apis: dict[str, Api]) -> None:
    for it in apis.values():
        place(it, "complete")
    assert judge(at(apis), [workload("east"), workload("west")], GATE).passed


def test_one_that_does_not_answer_is_no_pass(
    apis: dict[str, Api], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("aegis_deploy.gate.analysis._LOST_SECONDS", 0.3)
    place(apis["east"], "complete")
    place(apis["west"], "complete").silent = True
    verdict = judge(at(apis), [workload("east"), workload("west")], GATE)
    assert (verdict.passed, verdict.kind) == (False, LOST)
    assert "west does not answer (provider west)" in verdict.reason


def test_a_route_that_is_not_in_effect_is_no_pass(
    apis: dict[str, Api], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("aegis_deploy.gate.analysis._ROUTE_SECONDS", 0.3)
    place(apis["east"], "complete")
    route = Route(kind=HTTP_ROUTE, namespace="shop", name="web", cluster="east")
    east = [workload("east")]
    verdict = judge(at(apis), east, GATE, external=[route])
    assert (verdict.passed, verdict.kind) == (False, "route")
    assert verdict.reason.startswith("HTTPRoute shop/web (provider east): ")
    apis["east"].lists["/apis/gateway.networking.k8s.io/v1/namespaces/shop/httproutes"] = [
        {"metadata": {"name": "web", "namespace": "shop"}, "spec": {}}
    ]
    assert judge(at(apis), east, GATE, external=[route]).passed
    # Whoever waits for the rollout alone has another gate judge the rest.
    assert judge(
        at(apis), east, GATE, external=[replace(route, name="b")], rollout_only=True
    ).passed
