"""A stack that was renamed between two releases, by the real CLI."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any, cast

import pytest

from aegis_deploy.common.errors import AegisError, ExitCode
from aegis_deploy.history import stack_history, verification_store
from aegis_deploy.model.events import Outcome, UpdateFailure
from aegis_deploy.stack import checkpoint, integrity
from aegis_deploy.stack.session import Session
from tests.integration.shop import Stand, maps, objects
from tests.series import every

pytestmark = pytest.mark.integration
NOBODY = "urn:pulumi:two::shop::kubernetes:core/v1:ConfigMap::nobody"


def renamed(stand: Stand) -> Session:
    stand.pulumi("stack", "rename", "--stack", "one", "two")
    return Session.open("two", stand.root / "project", stand.environment)


def declared(state: dict[str, Any]) -> list[tuple[Any, ...]]:
    """What a state says, without the ciphertexts, which are new each time."""
    resources = state["deployment"]["resources"]
    return [(it["urn"], it.get("dependencies"), it.get("inputs")) for it in resources]


def test_a_release_of_before_is_restored_and_the_state_is_whole(stand: Stand) -> None:
    session = stand.open()
    session.update(program=objects("a", data="1"), message="first")
    verification_store.mark_verified(session, stack_history.releases(session)[0])
    session.update(program=objects("a", "b", data="2"), message="second")
    verification_store.mark_verified(session, stack_history.releases(session)[0])
    two = renamed(stand)
    assert [it.verified for it in stack_history.releases(two)] == [True, True]

    assert stand.aegis("rollback", "--to", "1", "--yes", stack="two") == ExitCode.OK

    (only,) = maps(two)
    assert cast("Any", only)["inputs"]["data"] == {"x": "1"}
    assert only["urn"].startswith("urn:pulumi:two::shop::")
    newest = stack_history.releases(two)[0]
    assert (newest.restores, newest.verified) == (1, True)
    assert checkpoint.current(two).outputs["version"] == "1.0.1"
    assert stand.done().count("delete ConfigMap") == 1, "b alone; a is the one that was there"
    assert two.refresh(message="the engine takes the state").succeeded
    kept = stand.root / "backend" / ".pulumi"
    assert not (kept / "stacks" / "shop" / "one.pulumi-tags").exists()
    assert {it.name for it in (kept / "aegis" / "shop").iterdir()} == {
        "two.tags",
        "two.timelines",
    }


def test_what_was_changed_meanwhile_is_seen_across_the_renaming(
    stand: Stand, capsys: pytest.CaptureFixture[str]
) -> None:
    session = stand.open()
    session.update(program=objects("a", data="1"), message="first")
    two = renamed(stand)
    two.update(program=objects("a", "b", data="1"), message="second")
    capsys.readouterr()
    assert stand.aegis("diff", "1", "2", "--json", stack="two") == ExitCode.OK
    found = json.loads(capsys.readouterr().out)
    assert [(it["name"], it["change"]) for it in found["resources"]] == [("b", "added")]


def test_a_new_stack_of_the_old_name_takes_no_marks_away(stand: Stand) -> None:
    session = stand.open()
    session.update(program=objects("a"), message="first")
    verification_store.mark_verified(session, stack_history.releases(session)[0])
    two = renamed(stand)
    stand.init()
    before = session.tags()
    assert [it.verified for it in stack_history.releases(two)] == [True]
    two.store.adopt()
    assert two.tags() == before == stand.open().tags()


def test_a_state_that_the_engine_could_not_write_is_put_back(
    stand: Stand, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whatever the fault of ours is: it leaves what it says is in the state and is not."""
    session = stand.open()
    session.update(program=objects("a", data="1"), message="first")
    session.update(program=objects("a", "b", data="2"), message="second")
    two = renamed(stand)
    before = two.export()
    path = stand.root / "backend" / ".pulumi" / "stacks" / "shop" / "two.json"

    def broken(_: Session, **__: Any) -> Outcome:
        raw = json.loads(path.read_text())
        raw["checkpoint"]["latest"]["resources"][-1]["dependencies"] = [NOBODY]
        path.write_text(json.dumps(raw))
        why = "snapshot integrity failure; it was already written, but is invalid"
        return Outcome(
            succeeded=False,
            failures=(UpdateFailure("", why),),
            started=datetime.now(UTC),
            duration=1.0,
        )

    with monkeypatch.context() as patched:
        patched.setattr(Session, "update", broken)
        assert (
            stand.aegis("rollback", "--to", "1", "--yes", stack="two") == ExitCode.NOT_ROLLED_BACK
        )
    said = capsys.readouterr().err
    assert "the engine could not record the rollback of two to release 1" in said
    assert "the state is as it was before" in said
    assert declared(two.export()) == declared(before)
    assert stand.aegis("rollback", "--to", "1", "--yes", stack="two") == ExitCode.OK
    assert two.refresh(message="the engine takes the state").succeeded


@pytest.mark.parametrize(
    "lost",
    [
        pytest.param(
            "urn:pulumi:one::shop::kubernetes:core/v1:ConfigMap::a", id="of before the renaming"
        ),
        pytest.param(NOBODY, id="of nobody", marks=every),
    ],
)
def test_a_state_that_does_not_hold_together_is_recovered_from(
    stand: Stand, lost: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Releases of `aegis` of before left such states where a stack had been renamed."""
    session = stand.open()
    session.update(program=objects("a", "b", data="1"), message="first")
    verification_store.mark_verified(session, stack_history.releases(session)[0])
    two = renamed(stand)
    state = two.export()
    (changed,) = (it for it in state["deployment"]["resources"] if it["urn"].endswith("::b"))
    changed["dependencies"] = [lost]
    two.import_state(state, force=True)
    with pytest.raises(AegisError):
        two.refresh(message="the engine does not take it")

    assert stand.aegis("recover", stack="two") == ExitCode.OK

    said = capsys.readouterr().err
    assert "the state does not hold together: b: its dependency is not there" in said
    assert "mended in the state: b: its dependency is not there" in said
    assert two.refresh(message="the engine takes the state").succeeded
    assert stand.aegis("recover", stack="two") == ExitCode.OK
    assert integrity.faults(two.export()["deployment"]) == ()
    back = next(it for it in stack_history.releases(two) if it.restores is not None)
    assert (back.restores, back.verified) == (1, True)
