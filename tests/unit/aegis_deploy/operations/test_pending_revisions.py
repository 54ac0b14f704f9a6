"""What a checkout says of the revisions ahead of an update, and what squawk has against them."""

from __future__ import annotations

import json
import os
import sys
import sysconfig
from pathlib import Path
from typing import Any

import pytest

from aegis_deploy.model.events import Step
from aegis_deploy.model.migration.schema_plan import Ahead, Foreseen
from aegis_deploy.operations import pending_revisions, squawk
from aegis_deploy.operations.pending_revisions import look
from components.migration import _SAYS
from tests.rendering import ROOT

JOB = "kubernetes:batch/v1:Job"
FURTHER = Ahead(revision=1, head=4)


def revision(number: int, sql: str, **more: Any) -> dict[str, Any]:
    return {"revision": number, "kind": "expand", "about": f"Step {number}", "sql": [sql], **more}


LISTED = [
    revision(1, "DROP TABLE of_before;"),
    revision(2, "ALTER TABLE a RENAME TO b;"),
    revision(3, "ALTER TABLE a DROP COLUMN c;", kind="contract"),
    revision(4, "ALTER TABLE a RENAME TO b;", waived=["renaming-table"]),
    revision(5, "DROP TABLE of_later;"),
]


def step(*command: str, op: str = "create") -> Step:
    urn = f"urn:pulumi:s::p::{JOB}::a"
    return Step(op=op, urn=urn, type=JOB, name="a", migrates=True, revisions_command=command)


def listing(directory: Path, said: object) -> Step:
    (directory / "listed.json").write_text(f"loading\n{json.dumps(said)}\n")
    return step("cat", "listed.json")


def test_those_ahead_are_told_with_their_kind_and_what_squawk_has_against_them(
    tmp_path: Path,
) -> None:
    found = look(tmp_path, [listing(tmp_path, {"revisions": LISTED})], FURTHER)
    assert found is not None
    assert [it.number for it in found.revisions] == [2, 3, 4]
    rules = [[line.partition(":")[0] for line in it.lint] for it in found.revisions]
    assert "renaming-table" in rules[0]
    # A contract takes away, for that is what it is for; and a waiver was reviewed.
    assert "ban-drop-column" not in rules[1]
    assert "renaming-table" not in rules[2]
    assert squawk.TIMEOUTS not in str(rules), "what the connection sets is not seen"
    assert found.fault == ""
    assert "revision 3 (contract): Step 3" in found.lines()
    assert [it for it in found.lines() if it.startswith("    squawk: renaming-table: ")]
    said = found.as_json()
    assert isinstance(said["revisions"], list)
    assert said["revisions"][0]["lint"]


def test_where_squawk_is_not_installed_that_is_a_line_and_no_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sysconfig, "get_path", lambda _: str(tmp_path))
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    found = look(tmp_path, [listing(tmp_path, {"revisions": LISTED})], FURTHER)
    assert found is not None
    assert found.lines()[0] == "not linted: squawk is not installed here"
    assert [it.lint for it in found.revisions] == [(), (), ()]


@pytest.mark.parametrize(
    ("command", "why"),
    [
        (("no-such-command-anywhere",), "No such file or directory"),
        (("cat", "missing.json"), "exit 1: cat: missing.json"),
        (("echo", "nothing of it"), "exit 0: it lists none"),
        (("sleep", "60"), "timed out"),
    ],
)
def test_a_command_that_does_not_say_it_is_told_and_stops_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...], why: str
) -> None:
    monkeypatch.setattr(pending_revisions, "_SECONDS", 1)
    found = look(tmp_path, [step(*command)], FURTHER)
    assert found is not None
    assert found.revisions == ()
    (line,) = found.lines()
    assert line.startswith(f"which revisions those are is not known: {command[0]}")
    assert why in line


@pytest.mark.parametrize(
    ("steps", "further"),
    [
        ([], FURTHER),
        ([step()], FURTHER),
        ([step("false", op="same")], FURTHER),
        ([step("false")], None),
    ],
)
def test_where_nothing_migrates_or_says_how_they_are_listed_nothing_is_run(
    tmp_path: Path, steps: list[Step], further: Ahead | None
) -> None:
    assert look(tmp_path, steps, further) is None


def test_the_service_lists_its_own_with_all_that_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    command = json.loads(_SAYS["aegis.dev/schema-revisions"])
    found = look(ROOT, [step(*command)], Ahead(revision=None, head=1))
    assert isinstance(found, Foreseen)
    (first,) = found.revisions
    assert (first.number, first.kind, found.fault) == (1, "expand", "")
    assert first.sql[0] == "BEGIN;"
    assert first.lint == (), "make check has looked at it as well"
