"""A recovery's refresh takes nothing into the state that a control loop decided."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from aegis_deploy.common.errors import AegisError
from aegis_deploy.history.stack_history import put, unrecorded
from aegis_deploy.locking.refreshed import as_before
from aegis_deploy.locking.state_repair import refresh
from tests.unit.aegis_deploy.kubernetes.test_managed_fields import entry, scale
from tests.unit.aegis_deploy.replay.test_owned_fields import web
from tests.unit.aegis_deploy.stage import outcome, release


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

    def __init__(self, *, succeeds: bool = True, backend_url: str = "file:///b") -> None:
        self.now, self.succeeds, self.imported = state(web(2)), succeeds, list[Any]()
        self.backend_url, self.tagged, self.record = backend_url, dict[str, Any](), state()

    def export(self) -> dict[str, Any]:
        return self.now

    def refresh(self, **_: Any) -> Any:
        self.now = self.record = state(seen(4, BY_LOOP))
        return outcome(self.succeeds)

    def import_state(self, found: dict[str, Any]) -> None:
        self.imported.append(found)
        self.now = found

    def change_tags(self, change: dict[str, str]) -> None:
        self.tagged |= change

    def tags(self) -> dict[str, str]:
        return self.tagged

    # Its store

    @property
    def store(self) -> Any:
        return self

    def recorded(self, _: Any) -> Any:
        return self.record

    def checkpoint(self, _: Any) -> Any:
        return self.record["deployment"]


def test_a_recovery_puts_it_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aegis_deploy.locking.state_repair.reconnected", lambda *_: False)
    session: Any = Session()
    refresh(session)
    assert session.imported == [state(seen(2, BY_LOOP))]
    failed: Any = Session(succeeds=False)
    with pytest.raises(AegisError, match="could not be refreshed") as caught:
        refresh(failed)
    assert caught.value.next == "once that is mended: aegis recover --stack s"
    assert failed.imported == []


@pytest.mark.parametrize("url", ["file:///state", "s3://state", "postgres://ann:***@db/state"])
def test_what_was_put_so_is_no_update_that_could_not_be_recorded(
    monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    monkeypatch.setattr("aegis_deploy.locking.state_repair.reconnected", lambda *_: False)
    session: Any = Session(backend_url=url)
    refresh(session)
    assert session.now != session.record
    assert not unrecorded(session, release(1))
    session.now = state(web(9))
    assert unrecorded(session, release(1)), "what came after it is"


def test_where_nobody_compares_nothing_is_noted() -> None:
    session: Any = Session(backend_url="https://api.example.com")
    put(session, state(web(2)))
    assert session.tagged == {}
