"""`aegis migrate`: what is said of a rehearsal that could not be, and of a contract."""

from __future__ import annotations

import io
import json

import pytest

from aegis_deploy.cli.commands import migrate
from aegis_deploy.cli.main import main
from aegis_deploy.common.console import Output
from aegis_deploy.common.errors import AegisError, ExitCode
from aegis_deploy.flows.contract import ContractReport, ContractRequest
from aegis_deploy.model.schema import DatabaseSchema

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
