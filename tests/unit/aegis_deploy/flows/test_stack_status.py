"""What runs is told of each cluster."""

from __future__ import annotations

import pytest

from aegis_deploy.drift.forgotten import Forgotten
from aegis_deploy.flows.status import stack_status
from aegis_deploy.flows.status.live_status import Status
from tests.unit.aegis_deploy.two_clusters import Stack, place, standing


@pytest.fixture
def stack(monkeypatch: pytest.MonkeyPatch) -> Stack:
    return standing(monkeypatch)


def look(stack: Stack, *, compared: bool = False) -> Status:
    stack.monkeypatch.setattr("aegis_deploy.history.stack_history.legible", lambda _: ([], None))
    stack.monkeypatch.setattr("aegis_deploy.locking.lock_holders.holders", lambda _: ())
    stack.monkeypatch.setattr(stack_status, "_forgotten", lambda *_: Forgotten())
    return stack_status.read_status(stack.flow, drift=compared)


def test_each_is_told_where_it_is(stack: Stack) -> None:
    for it, what in (("east", "complete"), ("west", "crash-loop")):
        place(stack.apis[it], what)
    found = look(stack)
    said = {it["provider"]: it["complete"] for it in found.as_json()["workloads"]}
    assert said == {"east": True, "west": False}
    text = "\n".join(found.lines())
    assert "shop/web (provider east): rollout complete" in text
    assert "shop/web (provider west): rollout in progress" in text


@pytest.mark.parametrize("how", ["silent", "no way"])
def test_one_that_cannot_be_asked_is_named_and_the_others_are_told(stack: Stack, how: str) -> None:
    place(stack.apis["east"], "complete")
    if how == "silent":
        stack.apis["west"].silent = True
    else:
        del stack.apis["west"]
    found = look(stack, compared=True)
    assert [it.workload.cluster for it in found.live] == ["east"]
    assert "provider west" in found.unreachable
    assert not found.healthy
    (why,) = found.drift.unreached
    assert f"    not compared: {why}" in found.lines()
    assert "provider west" in why
    assert "provider west" in found.as_json()["drift"]["unknown"]
