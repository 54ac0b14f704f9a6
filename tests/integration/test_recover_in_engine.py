"""`aegis recover` after the CLI was killed, and what it says of a stack in order."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from aegis_deploy.common.console import Output
from aegis_deploy.common.errors import ExitCode
from aegis_deploy.common.process import Machine
from aegis_deploy.common.signals import Interrupted, Signals
from aegis_deploy.flows import marking
from aegis_deploy.flows.context import FlowContext
from aegis_deploy.history import stack_history, verification_store
from aegis_deploy.locking.lock_holders import Claim, read_claim
from aegis_deploy.model.gate_settings import GateSettings
from aegis_deploy.model.verdict import LOST, Verdict
from aegis_deploy.operations.gate_runner import GateRunner
from tests.integration.shop import Stand, copied_stand, maps, objects

pytestmark = pytest.mark.integration


@pytest.fixture
def dead(
    tmp_path: Path, programs: Path, made_dead: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Stand]:
    """A stack with a verified release, killed while the next one created ``b``."""
    with copied_stand(made_dead, tmp_path, programs) as made:
        made.enter(monkeypatch)
        yield made


def test_goes_back_to_the_verified_release_and_leaves_nothing_over(
    dead: Stand, capsys: pytest.CaptureFixture[str]
) -> None:
    session = dead.open()
    assert dead.aegis("recover", "--json") == ExitCode.OK
    document = json.loads(capsys.readouterr().out)
    assert (document["action"], document["target"]) == ("restore", 1)
    dead.wait_for("delete ConfigMap b")
    assert [it["id"] for it in maps(session)] == ["a"]
    newest = stack_history.releases(session)[0]
    assert (newest.restores, newest.verified, newest.succeeded) == (1, True, True)
    assert session.store.locks() == []
    assert session.store.claim() is None
    assert dead.aegis("recover") == ExitCode.OK
    assert stack_history.releases(session)[0].number == newest.number


def test_leaves_alone_what_somebody_else_made_under_the_name_that_was_asked_for(
    dead: Stand, capsys: pytest.CaptureFixture[str]
) -> None:
    session = dead.open()
    dead.tell("foreign", "shop/b")
    assert dead.aegis("recover", "--json") == ExitCode.OK
    said = capsys.readouterr()
    assert any("not adopted" in line for line in json.loads(said.out)["repairs"])
    assert [it["id"] for it in maps(session)] == ["a"]
    assert "delete ConfigMap b" not in dead.done()


def test_goes_on_with_a_rollback_that_died_although_a_newer_release_is_verified(
    dead: Stand, capsys: pytest.CaptureFixture[str]
) -> None:
    session = dead.open()
    session.store.swap_claim(None, left("rollback", target=1).encode())
    newest = stack_history.releases(session)[0]
    assert newest.number == 1
    dead.tell("hang", "")
    assert dead.aegis("recover", "--json") == ExitCode.OK
    first = json.loads(capsys.readouterr().out)
    assert (first["action"], first["target"]) == ("restore", 1)
    assert session.update(program=objects("a", "b"), message="third").succeeded
    third = stack_history.releases(session)[0]
    verification_store.mark_verified(session, third)
    session.store.swap_claim(None, left("rollback", target=1).encode())
    assert dead.aegis("recover", "--json") == ExitCode.OK
    second = json.loads(capsys.readouterr().out)
    assert (second["action"], second["target"]) == ("restore", 1)
    assert [it["id"] for it in maps(session)] == ["a"]


def test_a_recovery_that_died_itself_is_followed_to_the_same_release(
    stand: Stand, capsys: pytest.CaptureFixture[str]
) -> None:
    session = stand.open()
    session.update(program=objects("a"), message="first")
    verification_store.mark_verified(session, stack_history.releases(session)[0])
    session.update(program=objects("a", "b"), message="second")
    # It had taken everything away that its forerunner left, and had restored nothing yet.
    session.store.swap_claim(None, left("recover").encode())
    assert stand.aegis("recover", "--json") == ExitCode.OK
    assert json.loads(capsys.readouterr().out)["action"] == "restore"
    assert [it["id"] for it in maps(session)] == ["a"]
    assert session.store.claim() is None


def test_a_rollback_after_an_unrecorded_death_goes_back_to_the_newest_verified_release(
    dead: Stand,
) -> None:
    session = dead.open()
    assert dead.aegis("rollback", "--yes") == ExitCode.OK
    newest = stack_history.releases(session)[0]
    assert (newest.restores, newest.verified) == (1, True)
    assert [it["id"] for it in maps(session)] == ["a"]


def left(intent: str, target: int | None = None) -> Claim:
    """The claim of somebody on this machine who is dead."""
    here = Machine.here()
    return Claim(
        id="1",
        who=f"ann@{here.host}",
        boot=here.boot[:13],
        pid=os.getpid(),
        ticks=1,
        since="2026-01-02T03:04:05Z",
        intent=intent,
        target=target,
    )


def test_only_says_what_it_would_do_with_preview(
    dead: Stand, capsys: pytest.CaptureFixture[str]
) -> None:
    session = dead.open()
    assert dead.aegis("recover", "--preview") == ExitCode.OK
    said = capsys.readouterr()
    assert "would restore; nothing was changed" in said.out
    assert "never confirmed: creating b" in said.err
    assert len(session.store.locks()) == 1
    assert session.export()["deployment"]["pending_operations"]


@pytest.mark.parametrize("overrides", [{}, {"shop:replicas": "9"}])
def test_asks_the_gate_when_only_its_verdict_is_missing(
    stand: Stand, capsys: pytest.CaptureFixture[str], overrides: dict[str, str]
) -> None:
    session = stand.open()
    session.update(program=objects("a"), message="first")
    verification_store.mark_verified(session, stack_history.releases(session)[0])
    session.update(program=objects("a", "b"), message="second", overrides=overrides)
    session.store.swap_claim(session.store.claim(), left("deploy").encode())
    assert stand.aegis("recover") == ExitCode.OK
    newest = stack_history.releases(session)[0]
    assert (newest.number, newest.verified) == (2, True)
    assert session.store.claim() is None
    said = capsys.readouterr().err
    for word in ("release 2 runs with: shop:replicas", "aegis config restore --stack one"):
        assert (word in said) is bool(overrides)


def test_a_cluster_that_is_lost_meanwhile_leaves_the_verdict_to_the_next_recovery(
    stand: Stand, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    session = stand.open()
    session.update(program=objects("a"), message="first")
    verification_store.mark_verified(session, stack_history.releases(session)[0])
    session.update(program=objects("a", "b"), message="second")
    session.store.swap_claim(None, left("deploy").encode())
    gone = Verdict(passed=False, reason="the cluster did not answer for 60 s", kind=LOST)
    with monkeypatch.context() as patched:
        patched.setattr(GateRunner, "judge", lambda *_, **__: gone)
        assert stand.aegis("recover") == ExitCode.NOT_ROLLED_BACK
    said = capsys.readouterr().err
    assert "stopped answering while the gate judged release 2" in said
    assert "once it answers: aegis recover --stack one" in said
    claim = read_claim(session)
    assert claim is not None
    # This very process made it, which would pass for its living holder.
    session.store.swap_claim(claim.text, replace(claim, ticks=1).encode())
    assert stand.aegis("recover", "--json") == ExitCode.OK
    assert json.loads(capsys.readouterr().out)["action"] == "judge"
    newest = stack_history.releases(session)[0]
    assert (newest.number, newest.verified) == (2, True)


def test_a_signal_between_an_update_and_its_gate_leaves_the_claim_for_the_recovery(
    stand: Stand, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = stand.open()
    monkeypatch.setattr(session, "update", partial(session.update, program=objects("a")))

    def interrupted(*_: object, **__: object) -> None:
        raise Interrupted(signal.SIGTERM)

    monkeypatch.setattr("aegis_deploy.report.timeline_store.save", interrupted)
    flow = FlowContext.of(session, Output(), Signals())
    with pytest.raises(Interrupted), flow.takeover.claimed("deploy", "", 0):
        flow.program_update.update("a deploy", [], GateSettings())
    claim = read_claim(session)
    assert claim is not None
    assert claim.intent == "deploy"


@pytest.mark.parametrize("judged", ["", "judged", "marked"])
def test_an_update_that_nobody_judged_leaves_its_claim_for_the_recovery(
    stand: Stand, monkeypatch: pytest.MonkeyPatch, judged: str
) -> None:
    session = stand.open()
    update = partial(session.update, program=objects("a"))
    monkeypatch.setattr(session, "update", update)
    flow = FlowContext.of(session, Output(), Signals())
    with pytest.raises(Interrupted), flow.takeover.claimed("deploy", "", 0):
        assert flow.program_update.update("a deploy", [], GateSettings()).outcome.succeeded
        if judged:
            assert flow.gate_runner.judge([], GateSettings()).passed
        if judged == "marked":
            marking.mark_verified(flow, stack_history.releases(session)[0])
        raise Interrupted(signal.SIGINT)
    claim = read_claim(session)
    assert (claim.intent if claim else None) == (None if judged == "marked" else "deploy")


def test_finishes_where_no_release_is_verified(stand: Stand) -> None:
    session = stand.open()
    session.update(program=objects("a"), message="first")
    stand.tell("fail", "create ConfigMap")
    assert not session.update(program=objects("a", "b"), message="second").succeeded
    assert stand.aegis("recover") == ExitCode.OK
    newest = stack_history.releases(session)[0]
    assert newest.kind == "refresh"
    assert [it["id"] for it in maps(session)] == ["a"]


def test_refuses_while_somebody_alive_holds_the_stack(
    stand: Stand, capsys: pytest.CaptureFixture[str]
) -> None:
    session = stand.open()
    session.update(program=objects("a"), message="first")
    stand.tell("fail", "create ConfigMap")
    session.update(program=objects("a", "b"), message="second")
    here = Machine.here()
    process = here.find(os.getpid())
    held = Claim(
        id="1",
        who=f"ann@{here.host}",
        boot=here.boot[:13],
        pid=os.getpid(),
        ticks=None if process is None else process.ticks,
        since="2026-01-02T03:04:05Z",
        message="Ship it",
    )
    session.store.swap_claim(session.store.claim(), held.encode())
    assert stand.aegis("recover", "--take-lock") == ExitCode.REFUSED
    said = capsys.readouterr().err
    assert f"ann@{here.host}, since 2026-01-02T03:04:05Z: Ship it" in said
    assert session.store.claim() is not None
