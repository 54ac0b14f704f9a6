"""A passphrase that was changed between two releases, by the real CLI."""

from __future__ import annotations

import json
import subprocess
from typing import Any, cast

import pytest

from aegis_deploy.common.errors import ExitCode
from aegis_deploy.history import stack_history, verification_store
from aegis_deploy.model.release import ConfigValue
from aegis_deploy.stack import checkpoint, temp_config
from tests.integration.shop import Stand, maps, objects
from tests.integration.waiting import SECONDS

pytestmark = pytest.mark.integration
FORMER = "PULUMI_CONFIG_PASSPHRASE_OLD"


def rotated(stand: Stand, monkeypatch: pytest.MonkeyPatch, *, hidden: bool = False) -> str:
    """Two releases, then another passphrase; the one of before is returned."""
    session = stand.open()
    session.update(program=objects("a", data="1", hidden=hidden), message="first")
    verification_store.mark_verified(session, stack_history.releases(session)[0])
    stand.pulumi("config", "set", "--stack", "one", "--secret", "token", "rotated")
    session.update(program=objects("a", data="2", hidden=hidden), message="second")
    before = stand.environment["PULUMI_CONFIG_PASSPHRASE"]
    subprocess.run(
        ["pulumi", "stack", "change-secrets-provider", "--stack", "one", "passphrase"],
        cwd=stand.root / "project",
        env=stand.environment,
        input="another one\nanother one\n",
        text=True,
        check=True,
        capture_output=True,
        timeout=SECONDS,
    )
    stand.environment["PULUMI_CONFIG_PASSPHRASE"] = "another one"
    stand.enter(monkeypatch)
    return before


def test_a_release_of_before_is_restored_with_the_passphrase_of_before_and_encrypted_anew(
    stand: Stand, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(FORMER, rotated(stand, monkeypatch))
    assert stand.aegis("rollback", "--to", "1", "--yes") == ExitCode.OK
    monkeypatch.delenv(FORMER)
    session = stand.open()
    newest = stack_history.releases(session)[0]
    assert (newest.restores, newest.verified) == (1, True)
    assert cast("Any", maps(session)[0])["inputs"]["data"] == {"x": "1"}
    # From here on the present passphrase is enough.
    assert session.decrypted({"shop:token": newest.config["shop:token"]}) == {
        "shop:token": "hunter2"
    }
    assert checkpoint.load(session, newest).outputs
    assert stand.aegis("rollback", "--to", "3", "--yes") == ExitCode.OK


def test_without_it_nothing_is_changed_and_it_is_said_how_to_give_it(
    stand: Stand, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    rotated(stand, monkeypatch)
    assert stand.aegis("rollback", "--to", "1", "--yes") == ExitCode.REFUSED
    said = capsys.readouterr().err
    assert "cannot be decrypted with this passphrase" in said
    assert FORMER in said
    assert "state: nothing was changed" in said


def test_a_release_that_cannot_be_read_any_more_is_told_while_there_is_time(
    stand: Stand, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    before = rotated(stand, monkeypatch)
    session = stand.open()
    first, last = (
        next(it for it in stack_history.releases(session) if it.number == n) for n in (1, 2)
    )
    fault = checkpoint.fault(session, first)
    assert fault is not None
    assert FORMER in fault.next
    # What differs is shown as far as it can be, and the rest is not held to be another.
    capsys.readouterr()
    assert stand.aegis("diff", "1", "2") == ExitCode.OK
    shown = capsys.readouterr()
    assert "data.x: 1 -> 2" in shown.out
    assert "hunter" not in shown.out + shown.err
    assert last.config["shop:token"] != first.config["shop:token"]
    monkeypatch.setenv(FORMER, before)
    assert checkpoint.fault(stand.open(**{FORMER: before}), first) is None


def test_secrets_that_nobody_can_look_into_are_masked_and_not_held_to_differ(
    stand: Stand, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    rotated(stand, monkeypatch, hidden=True)
    capsys.readouterr()
    assert stand.aegis("diff", "1", "2") == ExitCode.OK
    shown = capsys.readouterr()
    assert "data: [secret] -> [secret], encrypted anew, perhaps another" in shown.out
    assert "which secrets differ is not known" in shown.err
    assert FORMER in shown.err


def test_what_is_opened_and_closed_without_the_cli_is_what_it_would_be(stand: Stand) -> None:
    for path, secret in (("tree.leaf[0]", "열쇠"), ("tree.plain", ""), ("alone", '{"a": 1}')):
        flags = ("--secret", "--path") if secret else ("--path",)
        stand.pulumi("config", "set", "--stack", "one", *flags, path, secret or "7")
    session = stand.open()
    settings = session.settings()
    hidden = {key: it for key, it in settings.items() if it.secret}
    read = json.loads(stand.run("config", "--json", "--show-secrets", "--stack", "one").stdout)
    theirs = {key: read[key].get("objectValue", read[key].get("value")) for key in hidden}
    assert session.decrypted(hidden) == theirs
    assert theirs["shop:tree"]["leaf"] == ["열쇠"]
    # And the other way round: the CLI reads what was closed here.
    config = {"shop:back": ConfigValue("hin und zurück", secret=True)}
    with temp_config.temporary(session, config) as written:
        words = ("config", "--json", "--show-secrets", "--stack", "one")
        back = json.loads(stand.run(*words, "--config-file", str(written)).stdout)
    assert back["shop:back"]["value"] == "hin und zurück"
