"""`aegis report`, `aegis history --html`: what they say, and that nobody speaks through them."""

from __future__ import annotations

import io
import json
import subprocess
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
from markdown_it import MarkdownIt

from aegis_deploy.cli.commands import history_page, report
from aegis_deploy.common.console import Output
from aegis_deploy.common.errors import AegisError
from aegis_deploy.common.sanitize import plain
from aegis_deploy.history.listing import collect
from aegis_deploy.history.stack_history import releases
from aegis_deploy.report import gathering, release_report
from aegis_deploy.report.html import release_page
from aegis_deploy.report.recorder import name_of
from aegis_deploy.report.release_report import BAD, GOOD, UNSURE
from tests.unit.aegis_deploy.made_backend import MadeBackend, deployment
from tests.unit.aegis_deploy.made_timeline import HOSTILE, made_timeline, put

ROLLBACK = "aegis: automated rollback to release 1: it crashed"


@pytest.fixture
def backend(tmp_path: Path) -> MadeBackend:
    return MadeBackend(tmp_path)


@pytest.fixture
def told(backend: MadeBackend) -> MadeBackend:
    """A release, one that failed with hostile texts in everything, and what took its place."""
    backend.update(state=deployment("1.0.0"))
    hostile = {f"shop:a{place}": text for place, text in enumerate(HOSTILE)}
    backend.update(
        "failed",
        message=HOSTILE[0] + HOSTILE[1],
        state=deployment(HOSTILE[3][:60]),
        config={**hostile, HOSTILE[1]: "x", "shop:token": {"secure": "v1:zzz"}},
        environment={"git.head": HOSTILE[2], "git.committer": HOSTILE[4]},
    )
    backend.update(message=ROLLBACK, state=deployment("1.0.0"))
    session = backend.session()
    failed = next(it for it in releases(session) if it.number == 2)
    put(session, replace(made_timeline(failed.started), seconds=70.0))
    return backend


class Page(HTMLParser):
    """Everything in a page that could act."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: list[tuple[str, str, str]] = []
        self.texts: list[str] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def harmless(page: str) -> Page:
    """Assert that a page loads and runs nothing; return it taken apart."""
    found = Page(page)
    forbidden = {"script", "img", "iframe", "object", "embed", "form", "base", "input", "audio"}
    assert not found.tags & forbidden
    for tag, name, value in found.attributes:
        assert not name.startswith("on"), (tag, name)
        assert name not in {"src", "srcset", "action", "formaction", "xlink:href"}, (tag, name)
        if name == "href":
            assert value in {"data:,", "https://dora.dev/guides/dora-metrics-four-keys/"}
        if name == "style":
            assert set(value) <= set("margin-left:width%.;0123456789 "), value
    [policy] = [v for _, n, v in found.attributes if n == "content" and "default-src" in v]
    assert policy.startswith("default-src 'none'")
    style = page.split("<style>")[1].split("</style>", maxsplit=1)[0]
    assert "url(" not in style
    assert "@import" not in style
    assert plain(page) == page, "nothing in it controls a terminal or turns the direction"
    return found


class TestPage:
    """The page about a release."""

    def test_of_a_failed_release_says_everything_and_lets_nobody_speak(
        self, told: MadeBackend
    ) -> None:
        found = harmless(release_page(gathering.collect(told.session(), 2)))
        text = " ".join(" ".join(found.texts).split())
        for said in (
            "failed, rolled back to release 1 by release 3",
            "24 of 120 probes failed",
            "120 probes, 24 failed",
            "alert(1)",
            "gate passed, of the rollback: good again",
            "rollback began",
            "update Deployment web",
            "[secret]",
            "What changed since release 1",
        ):
            assert said in text, said
        assert "v1:zzz" not in text
        assert "v1:abc" not in text
        assert {"svg", "path", "rect"} <= found.tags

    def test_without_a_number_tells_of_the_release_that_an_automated_rollback_replaced(
        self, told: MadeBackend
    ) -> None:
        assert gathering.collect(told.session()).number == 2

    def test_of_the_rollback_has_the_verdict_on_it(self, told: MadeBackend) -> None:
        found = gathering.collect(told.session(), 3)
        assert [it.reason for it in found.judgements] == ["good again"]
        harmless(release_page(found))

    def test_without_a_timeline_says_what_is_not_known(self, backend: MadeBackend) -> None:
        backend.update(message="Ship it")
        found = gathering.collect(backend.session())
        page = harmless(release_page(found))
        text = " ".join(page.texts)
        assert "Ship it" in text
        assert "no timeline was recorded" in text
        assert "svg" not in page.tags

    def test_of_one_that_differs_in_nothing_does_not_say_that_there_was_none_before(
        self, backend: MadeBackend
    ) -> None:
        backend.update(state=deployment())
        backend.update(state=deployment())
        page = release_page(gathering.collect(backend.session(), 2))
        assert "Nothing that is recorded differs." in page
        assert "There is no release before it" not in page

    def test_says_which_revisions_of_the_database_each_works_with(
        self, backend: MadeBackend
    ) -> None:
        backend.update(state=deployment(schema=(3, 2)))
        backend.update(state=deployment(schema=(5, 2)))
        found = gathering.collect(backend.session(), 2)
        assert ("schema", "2..5") in found.facts
        assert "2..3 → 2..5" in release_page(found)
        assert "2..3 → 2..5" in release_report.markdown(found)

    def test_says_which_data_set_it_works_on(self, backend: MadeBackend) -> None:
        backend.update(state=deployment(dataset="ab" * 32))
        found = gathering.collect(backend.session(), 1)
        assert "ab" * 32 in release_page(found)
        assert "ab" * 32 in release_report.markdown(found)

    def test_with_a_damaged_timeline_says_so(self, backend: MadeBackend) -> None:
        backend.update()
        session = backend.session()
        began = releases(session)[0].started.timestamp()
        session.store.timelines.write(name_of(began), b'{"format": 1')
        [said] = gathering.collect(session).unknown
        assert "its timeline cannot be read" in said

    def test_of_a_deployer_that_died_says_so(self, told: MadeBackend) -> None:
        session = told.session()
        [name] = session.store.timelines.names()
        timeline = made_timeline(releases(session)[1].started)
        session.store.timelines.remove(name)
        put(session, replace(timeline, finished=False))
        assert "whoever deployed it died" in " ".join(gathering.collect(session, 2).unknown)

    def test_with_a_damaged_checkpoint_says_the_rest(self, backend: MadeBackend) -> None:
        backend.update()
        assert not gathering.is_empty(backend.session())
        key = backend.update(message="Ship it", config={"shop:replicas": "3"})
        backend.file(key, "checkpoint").write_text("{")
        found = gathering.collect(backend.session())
        assert "what was deployed" in found.unknown[0]
        assert found.compared is not None
        assert "shop:replicas" in [it.what for it in found.compared.settings]
        harmless(release_page(found))

    def test_of_a_stack_without_a_release_is_refused(self, backend: MadeBackend) -> None:
        assert gathering.is_empty(backend.session())
        with pytest.raises(AegisError, match="no release to report on"):
            gathering.collect(backend.session())


class TestStatus:
    """How it stands with a release, in words."""

    def test_of_each_kind(self, backend: MadeBackend) -> None:
        key = backend.update()
        backend.update("failed")
        backend.update(message=ROLLBACK)
        backend.update()
        from aegis_deploy.history.verification_store import verified_after

        backend.tag(aegis__verified_0=str(verified_after({}, key)["aegis:verified.0"]))
        session = backend.session()
        assert [gathering.collect(session, number).status for number in (1, 2, 3, 4)] == [
            (GOOD, "verified"),
            (BAD, "failed, rolled back to release 1 by release 3"),
            (UNSURE, "rollback to release 1, succeeded, not verified"),
            (UNSURE, "succeeded, not verified"),
        ]


class TestMarkdown:
    """The same for a job's summary."""

    def test_renders_to_no_markup_of_anybodys(self, told: MadeBackend) -> None:
        found = release_report.markdown(gathering.collect(told.session(), 2))
        rendered = Page(MarkdownIt("gfm-like", {"linkify": False}).render(found))
        ours = {"details", "summary", "code", "table", "thead", "tbody", "tr", "th", "td", "p"}
        ours |= {"h3", "ul", "li", "strong", "em", "pre"}
        assert rendered.tags <= ours
        assert {name for _, name, _ in rendered.attributes} <= {"class"}
        assert "failed, rolled back to release 1 by release 3" in " ".join(rendered.texts)
        assert plain(found) == found
        assert "v1:zzz" not in found

    def test_stays_below_what_a_summary_may_have(self, told: MadeBackend) -> None:
        found = release_report.markdown(gathering.collect(told.session(), 2), limit=3000)
        assert len(found) <= 3000
        assert "left out" in found


class TestCommand:
    """Where it goes."""

    def run(self, backend: MadeBackend, *, as_json: bool = False, **given: object) -> Output:
        self.results, self.messages = io.StringIO(), io.StringIO()
        out = Output(results=self.results, messages=self.messages)
        out.json = as_json
        report.render(gathering.collect(backend.session(), 2), out, **given)  # type: ignore[arg-type]
        return out

    def test_a_page_has_a_name_of_its_own(
        self, told: MadeBackend, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        self.run(told)
        assert self.results.getvalue() == "written: report-staging-2.html\n"
        assert (tmp_path / "report-staging-2.html").read_text().startswith("<!doctype html>")

    def test_a_pipeline_gets_markdown_and_the_page_at_once(
        self, told: MadeBackend, tmp_path: Path
    ) -> None:
        page = tmp_path / "new" / "release.html"
        self.run(told, markdown=True, output=page)
        assert self.results.getvalue().startswith("### ❌ staging: release 2")
        assert "written" not in self.results.getvalue()
        assert page.exists()

    def test_markdown_alone_writes_no_file(
        self, told: MadeBackend, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path / "project")
        before = sorted((tmp_path / "project").iterdir())
        self.run(told, markdown=True)
        self.run(told, as_json=True)
        assert sorted((tmp_path / "project").iterdir()) == before

    def test_a_dash_is_standard_output(self, told: MadeBackend) -> None:
        self.run(told, output=Path("-"))
        assert self.results.getvalue().startswith("<!doctype html>")

    def test_json_is_one_document(self, told: MadeBackend) -> None:
        self.run(told, as_json=True)
        document = json.loads(self.results.getvalue())
        assert document["status"] == {
            "level": BAD,
            "text": "failed, rolled back to release 1 by release 3",
        }
        assert document["timeline"]["judgements"][0]["passed"] is False
        assert document["rollback"] == 3


class TestHistoryPage:
    """Releases over time."""

    def write(self, backend: MadeBackend, *, as_json: bool = False) -> str:
        results = io.StringIO()
        out = Output(results=results, messages=io.StringIO())
        out.json = as_json
        session = backend.session()
        page = backend.root / "page.html"
        history_page.render_page(session, collect(session, limit=None), out, page)
        return results.getvalue() if as_json else page.read_text()

    def test_has_the_four_with_what_they_count(self, told: MadeBackend) -> None:
        found = harmless(self.write(told))
        text = " ".join(" ".join(found.texts).split())
        for name in (
            "deployment frequency",
            "lead time for changes",
            "change failure rate",
            "time to restore",
        ):
            assert name in text
        assert "1 of 2 deployments" in text
        assert "median" in text
        assert "svg" in found.tags

    def test_of_no_release_is_a_page_too(self, backend: MadeBackend) -> None:
        text = " ".join(harmless(self.write(backend)).texts)
        assert "Nothing was deployed yet" in text

    def test_is_json_for_machines(self, told: MadeBackend) -> None:
        document = json.loads(self.write(told, as_json=True))
        assert len(document["dora"]) == 4
        assert len(document["releases"]) == 3

    def test_asks_git_for_the_commits_times(self, backend: MadeBackend) -> None:
        def git(*words: str) -> str:
            done = subprocess.run(
                ["git", "-c", "user.name=a", "-c", "user.email=a@example.com", *words],
                cwd=backend.project,
                capture_output=True,
                text=True,
                check=True,
            )
            return done.stdout.strip()

        git("init", "--quiet")
        git("commit", "--quiet", "--allow-empty", "--message", "x", "--date", "@1790000000 +0000")
        head = git("rev-parse", "HEAD")
        backend.update(environment={"git.head": head})
        backend.update(environment={"git.head": "--output=/tmp/x"})
        from aegis_deploy.common.git import commit_times

        found = commit_times(backend.project, {head, "--output=/tmp/x", "0" * 40})
        assert set(found) == {head}
        assert commit_times(backend.root / "nowhere", {head}) == {}
