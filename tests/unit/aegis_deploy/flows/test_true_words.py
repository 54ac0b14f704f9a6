"""What a flow says when it cannot go on names what does, for each flow that asks it to."""

from __future__ import annotations

from collections.abc import Sequence
from io import StringIO
from typing import cast
from unittest.mock import MagicMock

import pytest

from aegis_deploy.common.console import Output
from aegis_deploy.common.errors import AegisError, ExitCode
from aegis_deploy.common.signals import Signals
from aegis_deploy.flows import deploy as deploying
from aegis_deploy.flows import marking
from aegis_deploy.flows.context import FlowContext
from aegis_deploy.history import verification_store
from aegis_deploy.locking.takeover import Takeover
from aegis_deploy.model.release import Release
from aegis_deploy.stack.session import Session
from tests.unit.aegis_deploy.stage import outcome, release
from tests.unit.aegis_deploy.states import CONFIG_KIND, thing, urn
from tests.unit.aegis_deploy.states import made as states


class _Session:
    name = "s"


def made(monkeypatch: pytest.MonkeyPatch) -> FlowContext:
    out = Output(results=StringIO(), messages=StringIO(), answers=StringIO())
    monkeypatch.setattr(Takeover, "require", lambda _: None)
    return FlowContext.of(cast("Session", _Session()), out, Signals())


@pytest.mark.parametrize("found", [None, release(3)])
@pytest.mark.parametrize(
    ("restored", "following"),
    [
        (False, "aegis deploy --stack s; with nothing to change it lets the gate judge"),
        (True, "aegis recover --stack s; it lets the gate judge"),
    ],
)
def test_a_mark_that_could_not_be_written_is_by_what_would_not_deploy_another_release(
    monkeypatch: pytest.MonkeyPatch, found: Release | None, restored: bool, following: str
) -> None:
    full = AegisError(what="the disk is full")
    monkeypatch.setattr(verification_store, "mark_verified", MagicMock(side_effect=full))
    with pytest.raises(AegisError) as caught:
        marking.mark_verified(made(monkeypatch), found, restored=restored)
    assert following in caught.value.next
    assert caught.value.code is ExitCode.NOT_ROLLED_BACK


@pytest.mark.parametrize(
    ("message", "again"),
    [
        ("aegis: rollback to release 1", "the same again"),
        ("aegis: automated rollback to release 1: it crashed", "aegis recover --stack s"),
    ],
)
def test_a_rollback_that_could_not_be_begun_is_begun_again_by_what_does_it(
    monkeypatch: pytest.MonkeyPatch, message: str, again: str
) -> None:
    flow, told = made(monkeypatch), list[str]()

    def run(*_: object, again: str, **__: object) -> object:
        told.append(again)
        return MagicMock(outcome=outcome())

    monkeypatch.setattr(flow.session, "export", dict, raising=False)
    monkeypatch.setattr(flow.replay_runner, "_update_runner", MagicMock(run=run))
    replay = MagicMock(adopted=(), prepares=False, jobs=cast("Sequence[object]", ()))
    replay.owned = replay.freed = replay.dying = ()
    flow.replay_runner.restore(replay, release(1), message, [], MagicMock())
    assert told == [again]


def test_what_is_taken_back_is_told_where_the_cluster_has_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    flow = made(monkeypatch)
    provider = thing("pulumi:providers:kubernetes", "second")
    component = {"urn": urn("shop:a:Group", "group"), "type": "shop:a:Group", "custom": False}
    settings = thing(CONFIG_KIND, "settings")
    found = tuple(it for it in states(provider, component, settings).resources[2:])
    monkeypatch.setattr(flow.adopting, "of_update", lambda _: found)
    assert deploying._adoptable(flow, MagicMock()) == found
    shown = cast("StringIO", flow.out._results).getvalue()
    assert shown == "  adopted ConfigMap settings: the cluster has it, the state no more\n"
