"""What is left on GitHub: one of each, however often the pipeline runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from aegis_deploy.cli.main import main
from aegis_deploy.common.errors import AegisError, ExitCode
from aegis_deploy.report.github import GitHub

MARK = "<!-- aegis preview -->"
BOT = {"login": "github-actions[bot]", "type": "Bot"}
STRANGER = {"user": {"login": "mallory", "type": "User"}, "author_association": "CONTRIBUTOR"}


class FakeGitHub:
    """Comments and issues of one repository; an unexpected request is an error of the test."""

    def __init__(self, status: int = 200) -> None:
        self.status = status
        self.comments: list[dict[str, Any]] = []
        self.issues: list[dict[str, Any]] = []
        self.writes: list[str] = []
        self.tokens: set[str] = set()

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.tokens.add(request.headers["authorization"])
        if self.status >= 400:
            return httpx.Response(self.status, json={"message": "Bad credentials"})
        path = request.url.path.removeprefix("/repos/acme/aegis/")
        content = json.loads(request.content) if request.content else {}
        if request.method != "GET":
            self.writes.append(f"{request.method} {path}")
        kept = self.comments if "comments" in path else self.issues
        if request.method == "GET":
            page = int(request.url.params["page"])
            shown = [it for it in kept if it.get("state", "open") == "open"]
            return httpx.Response(200, json=shown[(page - 1) * 100 : page * 100])
        if request.method == "POST":
            number = len(kept) + 1
            made = {"id": number, "number": number, "html_url": f"u/{number}", "user": BOT}
            kept.append({**made, **content})
            return httpx.Response(201, json=kept[-1])
        found = next(it for it in kept if str(it["id"]) == path.rpartition("/")[2])
        found.update(content)
        return httpx.Response(200, json=found)

    def open(self) -> GitHub:
        """The repository as the code under test sees it."""
        return GitHub("acme/aegis", "t0ken", "https://api.test", httpx.MockTransport(self))


class TestTheComment:
    """One a pull request."""

    def test_is_made_once_and_edited_afterwards(self) -> None:
        fake = FakeGitHub()
        left = [fake.open().comment(7, MARK, text).action for text in ("one", "two", "two")]
        assert left == ["created", "edited", "unchanged"]
        assert [it["body"] for it in fake.comments] == [f"{MARK}\ntwo"]

    def test_is_found_behind_a_hundred_others(self) -> None:
        fake = FakeGitHub()
        fake.comments = [{"id": i, "body": "x", "html_url": ""} for i in range(1, 151)]
        last = {"id": 151, "body": f"{MARK}\nold", "html_url": "u/151"}
        fake.comments.append({**last, "author_association": "MEMBER"})
        assert fake.open().comment(7, MARK, "new").action == "edited"

    def test_a_strangers_that_bears_the_mark_is_left_alone(self) -> None:
        fake = FakeGitHub()
        fake.comments = [{"id": 1, "body": f"{MARK}\nall is well", "html_url": "u/1", **STRANGER}]
        assert fake.open().comment(7, MARK, "new").action == "created"
        assert "all is well" in fake.comments[0]["body"]

    def test_the_mark_is_not_written_twice(self) -> None:
        fake = FakeGitHub()
        fake.open().comment(7, MARK, f"{MARK}\ntext")
        assert fake.comments[0]["body"].count(MARK) == 1


class TestAPartOfTheComment:
    """What another job found out is put beside what the preview said, and goes with the next."""

    def test_is_put_at_its_end_and_replaced_in_its_place(self) -> None:
        fake = FakeGitHub()
        fake.open().comment(7, MARK, "what changes")
        left = [
            fake.open().comment(7, MARK, text, part=part).action
            for text, part in (("slow\n", "rehearsal"), ("scan", "more"), ("quick", "rehearsal"))
        ]
        assert left == ["edited"] * 3
        (comment,) = fake.comments
        assert comment["body"] == (
            f"{MARK}\nwhat changes\n\n"
            "<!-- aegis part: rehearsal -->\nquick\n<!-- aegis part: rehearsal ends -->\n\n"
            "<!-- aegis part: more -->\nscan\n<!-- aegis part: more ends -->"
        )
        assert fake.open().comment(7, MARK, "quick", part="rehearsal").action == "unchanged"
        fake.open().comment(7, MARK, "another commit")
        assert comment["body"] == f"{MARK}\nanother commit", "it was of the commit before"

    def test_is_a_comment_of_its_own_where_there_is_none(self) -> None:
        fake = FakeGitHub()
        assert fake.open().comment(7, MARK, "quick", part="rehearsal").action == "created"
        (comment,) = fake.comments
        assert comment["body"].startswith(f"{MARK}\n")
        assert "\nquick\n" in comment["body"]

    def test_that_finds_no_room_says_where_it_is(self) -> None:
        fake = FakeGitHub()
        fake.open().comment(7, MARK, "x" * 64_000)
        fake.open().comment(7, MARK, "y" * 20_000, part="rehearsal")
        body = fake.comments[0]["body"]
        assert "The rehearsal is too long for this comment: the summary of its job has it." in body
        assert len(body) < 65_536
        assert "x" * 64_000 in body


class TestTheIssue:
    """One a subject, closed when it is gone."""

    def test_its_life(self) -> None:
        fake = FakeGitHub()
        github = fake.open()
        assert github.close(MARK, "gone").action == "unchanged"
        assert github.issue("Drift", MARK, "a").action == "created"
        assert github.issue("Drift", MARK, "a").action == "unchanged"
        assert github.issue("Drift", MARK, "b").action == "edited"
        assert github.close(MARK, "gone").action == "closed"
        assert fake.issues[0]["state"] == "closed"
        assert github.issue("Drift", MARK, "c").action == "created"

    def test_a_strangers_that_bears_the_mark_is_left_alone(self) -> None:
        fake = FakeGitHub()
        fake.issues = [{"id": 1, "number": 1, "body": MARK, "html_url": "", **STRANGER}]
        assert fake.open().close(MARK, "gone").action == "unchanged"

    def test_a_pull_request_that_quotes_the_mark_is_none(self) -> None:
        fake = FakeGitHub()
        fake.issues = [
            {"id": 1, "number": 1, "body": MARK, "pull_request": {}, "html_url": "", "user": BOT}
        ]
        assert fake.open().issue("Drift", MARK, "a").action == "created"


@pytest.mark.parametrize(
    ("status", "words"), [(401, "expired"), (403, "fork"), (404, "owner/name"), (500, "again")]
)
def test_a_refusal_says_what_to_do_and_never_the_token(status: int, words: str) -> None:
    with pytest.raises(AegisError) as caught:
        FakeGitHub(status).open().comment(7, MARK, "x")
    assert words in caught.value.next
    assert "t0ken" not in str(caught.value)


class Renamed:
    """A repository that has another name by now, and says so as GitHub does."""

    def __init__(self, place: str) -> None:
        self.place, self.asked = place, list[tuple[str, str, bytes]]()

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.asked.append((request.method, str(request.url), request.read()))
        if "/repos/" in request.url.path:
            where = self.place + request.url.path.removeprefix("/repos/acme/aegis")
            if request.url.query:
                where += f"?{request.url.query.decode()}"
            return httpx.Response(301, json={"message": "Moved"}, headers={"location": where})
        if request.method == "GET":
            return httpx.Response(200, json=[])
        return httpx.Response(201, json={"html_url": "https://it"})

    def github(self) -> GitHub:
        return GitHub("acme/aegis", "t0ken", "https://api.test", httpx.MockTransport(self))


def test_a_renamed_repository_is_asked_where_it_is_now_in_the_same_way() -> None:
    renamed = Renamed("https://api.test/repositories/1")
    assert renamed.github().issue("t", MARK, "b").url == "https://it"
    method, place, body = renamed.asked[-1]
    assert (method, place) == ("POST", "https://api.test/repositories/1/issues")
    assert b'"title"' in body


@pytest.mark.parametrize("place", ["https://elsewhere.test/1", "http://api.test/repositories/1"])
def test_a_token_goes_nowhere_else(place: str) -> None:
    renamed = Renamed(place)
    with pytest.raises(AegisError) as refused:
        renamed.github().issue("t", MARK, "b")
    assert len(renamed.asked) == 1
    assert "301: Moved" in refused.value.why


def test_no_answer_is_said() -> None:
    def fail(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("no route", request=request)

    github = GitHub("acme/aegis", "t0ken", "https://api.test", httpx.MockTransport(fail))
    with pytest.raises(AegisError, match="does not answer"):
        github.comment(7, MARK, "x")


def test_without_a_jobs_variables_it_says_which_are_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("GITHUB_TOKEN", "GITHUB_REPOSITORY"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "a.md").write_text("x")
    arguments = ["--pull-request", "7", "--file", str(tmp_path / "a.md")]
    assert main(["github", "comment", *arguments]) == ExitCode.REFUSED
    assert "GITHUB_REPOSITORY and GITHUB_TOKEN are not set" in capsys.readouterr().err


def test_an_issue_needs_a_text_or_a_reason(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["github", "issue", "--subject", "drift"]) == ExitCode.USAGE
    assert "--close" in capsys.readouterr().err
