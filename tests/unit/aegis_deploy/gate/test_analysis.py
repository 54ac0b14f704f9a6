"""The gate judges each workload in the cluster that it is in."""

from __future__ import annotations

import pytest

from aegis_deploy.gate.analysis import judge
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
