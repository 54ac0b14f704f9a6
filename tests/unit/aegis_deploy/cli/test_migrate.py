"""`aegis migrate`: what is said of a rehearsal, done or not to be had, and of a contract."""

from __future__ import annotations

import io
import json
from types import SimpleNamespace

import pytest

from aegis_deploy.cli.commands import migrate
from aegis_deploy.cli.main import main
from aegis_deploy.common.console import Output
from aegis_deploy.common.errors import AegisError, ExitCode
from aegis_deploy.flows.contract import ContractReport, ContractRequest
from aegis_deploy.flows.rehearse import RehearseRequest
from aegis_deploy.model.database.schema import DatabaseSchema
from aegis_deploy.model.migration.rehearsal import Rehearsal
from aegis_deploy.report import rehearsal_summary

DIGEST = f"sha256:{'d' * 64}"
GONE = AegisError(
    what="the cluster of staging does not answer", why="connection refused", next="look at it"
)


@pytest.fixture(autouse=True)
def _unreachable(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise GONE

    monkeypatch.setattr(migrate, "open_flow", fail)


def _run(*words: str) -> tuple[int, str, str]:
    results, messages = io.StringIO(), io.StringIO()
    arguments = ("migrate", "rehearse", "--stack", "staging", *words)
    code = main(arguments, output=Output(results=results, messages=messages))
    return code, results.getvalue(), messages.getvalue()


def test_why_nothing_was_rehearsed_is_what_the_comment_gets() -> None:
    code, shown, said = _run("--markdown")
    assert code == ExitCode.REFUSED
    assert shown.startswith(
        "**staging** migrations were not rehearsed: the cluster of staging does not answer"
    )
    assert "connection refused\nlook at it" in shown
    assert "error: the cluster of staging does not answer" in said


def test_without_it_the_error_is_told_once() -> None:
    code, shown, said = _run()
    assert (code, shown) == (ExitCode.REFUSED, "")
    assert said.count("does not answer") == 1
    code, shown, _ = _run("--json")
    assert code == ExitCode.REFUSED
    assert json.loads(shown)["error"]["what"] == GONE.what


@pytest.mark.parametrize(("failed", "ends"), [("", ExitCode.OK), ("lock", ExitCode.GATE_FAILED)])
def test_what_was_rehearsed_is_told_and_fails_where_it_would(
    monkeypatch: pytest.MonkeyPatch, failed: str, ends: ExitCode
) -> None:
    before, after = (DatabaseSchema(revision=it, least_head=6) for it in (6, 7))
    found = Rehearsal(database=before, after=after, said={"failed": failed}, failed=failed)
    asked: list[RehearseRequest] = []

    def run(_flow: object, request: RehearseRequest) -> Rehearsal:
        asked.append(request)
        return found

    monkeypatch.setattr(
        migrate, "open_flow", lambda *_: SimpleNamespace(session=SimpleNamespace(name="staging"))
    )
    monkeypatch.setattr("aegis_deploy.flows.rehearse.rehearse", run)
    code, shown, _ = _run("--image-digest", DIGEST)
    assert code == ends
    assert shown.splitlines() == list(found.lines())
    code, shown, _ = _run("--markdown")
    assert code == ends
    assert shown == f"{rehearsal_summary.markdown('staging', found)}\n"
    code, shown, _ = _run("--json")
    assert code == ends
    assert json.loads(shown)["rehearsal"] == found.said
    assert [it.image_digest for it in asked] == [DIGEST, None, None]


def test_a_digest_that_is_none_is_refused_before_anything_is_opened() -> None:
    code, shown, said = _run("--image-digest", "latest")
    assert (code, shown) == (ExitCode.USAGE, "")
    assert "'latest' is not sha256: and 64 hexadecimal digits" in said


@pytest.mark.parametrize(
    ("report", "shown"),
    [
        (
            ContractReport(changed=True, database=DatabaseSchema(revision=7, least_head=6)),
            "contracted: the database is ",
        ),
        (ContractReport(changed=True), "contracted\n"),
        (ContractReport(), ""),
    ],
)
def test_a_contract_says_what_the_database_is_now(
    monkeypatch: pytest.MonkeyPatch, report: ContractReport, shown: str
) -> None:
    asked: list[ContractRequest] = []

    def run(_flow: object, request: ContractRequest) -> ContractReport:
        asked.append(request)
        return report

    monkeypatch.setattr(migrate, "open_flow", lambda *_: None)
    monkeypatch.setattr("aegis_deploy.flows.contract.contract", run)
    results = io.StringIO()
    words = ("migrate", "contract", "--stack", "staging", "--yes", "--due", "--wait-lock", "5m")
    code = main(words, output=Output(results=results, messages=io.StringIO()))
    assert (code, results.getvalue()[: len(shown) or 1]) == (ExitCode.OK, shown)
    assert asked == [ContractRequest(due=True, yes=True, wait_seconds=300)]
