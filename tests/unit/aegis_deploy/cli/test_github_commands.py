"""`aegis github`: what the commands ask of GitHub, and what they say they left there."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest

from aegis_deploy.cli.main import main
from aegis_deploy.common.console import Output
from aegis_deploy.common.errors import ExitCode
from aegis_deploy.report.github import GitHub, Left

ASKED = list[tuple[object, ...]]


class Repository:
    """Notes what it is asked."""

    def __init__(self) -> None:
        self.asked: ASKED = []

    def comment(self, number: int, mark: str, text: str, *, part: str) -> Left:
        self.asked.append(("comment", number, mark, text, part))
        return Left("edited", "https://example.com/7#1")

    def issue(self, title: str, mark: str, text: str) -> Left:
        self.asked.append(("issue", title, mark, text))
        return Left("created", "https://example.com/8")

    def close(self, mark: str, why: str) -> Left:
        self.asked.append(("close", mark, why))
        return Left("unchanged")


@pytest.fixture
def repository(monkeypatch: pytest.MonkeyPatch) -> Repository:
    it = Repository()
    monkeypatch.setattr(GitHub, "of_job", lambda _environment: it)
    return it


@pytest.fixture
def text(tmp_path: Path) -> Path:
    file = tmp_path / "text.md"
    file.write_text("what is told\n")
    return file


def _run(*words: str) -> tuple[int, str, str]:
    results, messages = io.StringIO(), io.StringIO()
    code = main(("github", *words), output=Output(results=results, messages=messages))
    return code, results.getvalue(), messages.getvalue()


def test_a_comment_is_found_again_by_a_mark_that_no_text_can_end(
    repository: Repository, text: Path
) -> None:
    words = ("--pull-request", "7", "--file", str(text), "--mark", "a --> b", "--part", "staging")
    code, shown, _ = _run("comment", *words)
    assert (code, shown) == (ExitCode.OK, "comment edited: https://example.com/7#1\n")
    assert repository.asked == [("comment", 7, "<!-- a  b -->", "what is told\n", "staging")]


def test_an_issue_is_opened_with_a_text_and_closed_with_a_reason(
    repository: Repository, text: Path
) -> None:
    code, shown, _ = _run("issue", "--subject", "drift-staging", "--file", str(text), "--json")
    assert code == ExitCode.OK
    assert json.loads(shown) == {"action": "created", "url": "https://example.com/8"}
    code, shown, _ = _run("issue", "--subject", "drift-staging", "--close", "no drift")
    assert (code, shown) == (ExitCode.OK, "issue unchanged\n")
    mark = "<!-- aegis: drift-staging -->"
    assert repository.asked == [
        ("issue", "drift-staging", mark, "what is told\n"),
        ("close", mark, "no drift"),
    ]


@pytest.mark.parametrize("both", [True, False])
def test_one_of_a_text_and_a_reason_is_needed(
    repository: Repository, text: Path, both: bool
) -> None:
    words = ("--file", str(text), "--close", "why") if both else ()
    code, _, said = _run("issue", "--subject", "drift-staging", *words)
    assert code == ExitCode.USAGE
    assert "either a text or a reason" in said
    assert repository.asked == []
