"""A stack that was renamed between two releases, by the real CLI."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from ops import checkpoint, history, ledger
from ops.cli import main
from ops.errors import ExitCode
from ops.stack import Session
from tests.integration.shop import Stand, copied_stand, maps, objects

pytestmark = pytest.mark.integration


@pytest.fixture
def stand(
    tmp_path: Path, programs: Path, made_shop: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Stand]:
    with copied_stand(made_shop, tmp_path, programs) as made:
        made.enter(monkeypatch)
        yield made


def renamed(stand: Stand) -> Session:
    stand.pulumi("stack", "rename", "--stack", "one", "two")
    return Session.open("two", stand.root / "project", stand.environment)


def aegis(stand: Stand, *arguments: str) -> int:
    return main([*arguments, "--stack", "two", "--directory", str(stand.root / "project")])


def test_a_release_of_before_is_restored_and_the_state_is_whole(stand: Stand) -> None:
    session = stand.open()
    session.update(program=objects("a", data="1"), message="first")
    ledger.mark_verified(session, history.releases(session)[0])
    session.update(program=objects("a", "b", data="2"), message="second")
    ledger.mark_verified(session, history.releases(session)[0])
    two = renamed(stand)
    assert [it.verified for it in history.releases(two)] == [True, True]

    assert aegis(stand, "rollback", "--to", "1", "--yes") == ExitCode.OK

    (only,) = maps(two)
    assert cast("Any", only)["inputs"]["data"] == {"x": "1"}
    assert only["urn"].startswith("urn:pulumi:two::shop::")
    newest = history.releases(two)[0]
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
    assert aegis(stand, "diff", "1", "2", "--json") == ExitCode.OK
    found = json.loads(capsys.readouterr().out)
    assert [(it["name"], it["change"]) for it in found["resources"]] == [("b", "added")]


def test_a_new_stack_of_the_old_name_takes_no_marks_away(stand: Stand) -> None:
    session = stand.open()
    session.update(program=objects("a"), message="first")
    ledger.mark_verified(session, history.releases(session)[0])
    two = renamed(stand)
    stand.init()
    before = session.tags()
    assert [it.verified for it in history.releases(two)] == [True]
    two.store.adopt()
    assert two.tags() == before == stand.open().tags()
