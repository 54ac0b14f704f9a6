"""What an update has watched is where it will be."""

from __future__ import annotations

from typing import Any

import pytest

from aegis_deploy.common.errors import AegisError
from aegis_deploy.flows.preconditions import require_clusters
from aegis_deploy.flows.workloads import to_watch
from aegis_deploy.model.events import Changes
from tests.unit.aegis_deploy.drift.test_clusters import preview, provider
from tests.unit.aegis_deploy.two_clusters import EAST, Stack, deployed, standing


@pytest.fixture
def stack(monkeypatch: pytest.MonkeyPatch) -> Stack:
    return standing(monkeypatch)


def changes(*resources: dict[str, Any], op: str = "same") -> Changes:
    return Changes(tuple(preview(*resources, op=op)), {}, ())


def test_every_cluster_has_to_answer(stack: Stack) -> None:
    to_watch(stack.flow, changes(*stack.raw))
    require_clusters(stack.flow)
    assert [it.asked.count("/version") for it in stack.apis.values()] == [1, 1]
    stack.apis["west"].silent = True
    with pytest.raises(AegisError) as refused:
        require_clusters(stack.flow)
    assert "s (provider west)" in refused.value.what


def test_each_is_watched_once(stack: Stack) -> None:
    found = to_watch(stack.flow, changes(*stack.raw))
    assert list(map(str, found)) == [
        "shop/web (provider east)",
        "shop/web (provider west)",
    ]


def test_a_cluster_that_is_left_is_not_waited_for(stack: Stack) -> None:
    stay = [it for it in stack.raw if it["urn"].endswith("east")]
    found = to_watch(stack.flow, changes(*stay))
    assert [it.provider for it in found] == [EAST["urn"]]
    stack.apis["west"].silent = True
    require_clusters(stack.flow)


def test_one_that_only_the_update_can_know_is_told(stack: Stack) -> None:
    hidden = provider("new", kubeconfig="[secret]")
    found = to_watch(stack.flow, changes(*stack.raw, hidden, deployed(hidden), op="x"))
    assert len(found) == 2
    assert "how provider new connects is known only once" in stack.streams.messages.getvalue()
