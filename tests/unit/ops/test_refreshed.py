"""A recovery's refresh takes nothing into the state that a control loop decided."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from ops.errors import AegisError
from ops.recover import refresh
from ops.refreshed import as_before
from tests.unit.ops.stage import outcome
from tests.unit.ops.test_field_owners import entry, scale
from tests.unit.ops.test_replay_owned import web


def state(*resources: dict[str, Any]) -> dict[str, Any]:
    return {"version": 3, "deployment": {"resources": list(resources)}}


def seen(replicas: int, *entries: dict[str, Any], **more: Any) -> dict[str, Any]:
    """A Deployment after a refresh: what is live, with who owns what."""
    found = web(replicas, **more)
    found["outputs"]["metadata"]["managedFields"] = list(entries)
    return found


BY_LOOP, BY_HAND = scale("kube-controller-manager"), scale("kubectl")


def test_what_a_loop_decided_is_as_it_was_declared() -> None:
    after = state({**seen(9, BY_LOOP), "delete": True}, seen(4, BY_LOOP))
    kept = copy.deepcopy(after)
    assert as_before(state(web(2)), after) == state(
        {**seen(9, BY_LOOP), "delete": True}, seen(2, BY_LOOP)
    )
    assert after == kept, "it is a copy"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (web(2), seen(3, BY_HAND)),
        (web(2), seen(2, BY_LOOP)),
        (web(None), seen(4, BY_LOOP)),
        ({**web(2), "urn": "another"}, seen(4, BY_LOOP)),
        (web(2), seen(4, entry("pulumi-kubernetes-1a", "f:spec", "f:replicas"))),
        (web(2), {**web(4), "outputs": {}}),
    ],
    ids=["a hand", "the same", "not declared", "not known", "the provider", "nobody"],
)
def test_all_else_is_as_the_refresh_found_it(before: dict[str, Any], after: dict[str, Any]) -> None:
    assert as_before(state(before), state(after)) is None


class Session:
    """A stack whose refresh finds an autoscaler's number."""

    name = "s"

    def __init__(self, *, succeeds: bool = True) -> None:
        self.now, self.succeeds, self.imported = state(web(2)), succeeds, list[Any]()

    def export(self) -> dict[str, Any]:
        return self.now

    def refresh(self, **_: Any) -> Any:
        self.now = state(seen(4, BY_LOOP))
        return outcome(self.succeeds)

    def import_state(self, found: dict[str, Any]) -> None:
        self.imported.append(found)


def test_a_recovery_puts_it_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ops.recover.reconnected", lambda *_: False)
    session: Any = Session()
    refresh(session)
    assert session.imported == [state(seen(2, BY_LOOP))]
    failed: Any = Session(succeeds=False)
    with pytest.raises(AegisError, match="could not be refreshed"):
        refresh(failed)
    assert failed.imported == []
