"""Reports of real releases, opened in a real browser: light and dark, wide and on a phone."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.e2e.browser import Browser, View, browser
from tests.e2e.releases import push_release
from tests.e2e.stand import Finished, Stand, execute

PROJECT = "reports"
STACK = ("--stack", "staging")
TOKEN = "a-token-of-the-tests-0123456789"
SHORT = {"minReadySeconds": 1, "preStopSeconds": 2, "drainSeconds": 5}
GATE = {"bakeSeconds": 2, "unreadySeconds": 300, "p99Ms": 60_000, "probeRate": 20}
WIDE, PHONE = 1280, 390
SAID = {
    "good": ["verified", "Gate passed", "probes"],
    "failed": ["rolled back to release", "Gate failed", "rollback began", "last log lines"],
    "by hand": ["rollback to release", "verified", "Gate passed"],
}
ASKED = {
    "plots": "[...document.querySelectorAll('svg')].filter(it => it.clientHeight > 100).length",
    "text": "document.body.innerText",
    "background": "getComputedStyle(document.body).backgroundColor",
    "colour": "getComputedStyle(document.body).color",
    "scripts": "document.scripts.length",
    "phases": "document.querySelectorAll('svg .phase').length",
    "pods": "document.querySelectorAll('svg .pods').length",
    "probes": "document.querySelectorAll('svg .probe').length",
    "verdicts": "document.querySelectorAll('svg circle.mark').length",
}


def _aegis(at: Stand, *words: str, expect: int = 0) -> Finished:
    done = execute("aegis", *words, *STACK, cwd=at.directory, env=at.environment)
    assert done.code == expect, f"aegis {' '.join(words)}: {done.code}\n{done.output}"
    assert "Traceback" not in done.output
    assert "could not be kept" not in done.output
    return done


def _releases(at: Stand) -> list[dict[str, Any]]:
    shown = _aegis(at, "history", "--all", "--json").standard_output
    found: list[dict[str, Any]] = json.loads(shown)["releases"]
    return found


def _change(at: Stand, **settings: object) -> None:
    path = at.directory / "Pulumi.staging.yaml"
    content = yaml.safe_load(path.read_text())
    content["config"].update({f"{PROJECT}:{key}": value for key, value in settings.items()})
    path.write_text(yaml.safe_dump(content))


def _make_one_of_each(at: Stand) -> None:
    at.pulumi("stack", "init", "staging")
    at.stacks.append("staging")
    _change(at, **SHORT, gate=GATE)
    at.pulumi("config", "set", "--secret", f"{PROJECT}:apiToken", TOKEN, *STACK)
    _aegis(at, "deploy", "--yes", "--message", "the first one")
    kept = (at.directory / "Pulumi.staging.yaml").read_text()
    digest = push_release(at.environment, at.outputs("staging")["imageDigest"], "2.0.0", "crash")
    _change(at, imageDigest=digest, version="2.0.0")
    _aegis(at, "deploy", "--yes", expect=4)
    (at.directory / "Pulumi.staging.yaml").write_text(kept)
    _change(at, logLevel="warning")
    _aegis(at, "deploy", "--yes")
    _aegis(at, "rollback", "--yes")
    _aegis(at, "config", "restore")
    at.configure("staging", "logLevel", "error")
    at.up("staging")


@pytest.fixture(scope="module")
def kinds(at: Stand) -> dict[str, int]:
    """The newest release of each kind, by its number."""
    _make_one_of_each(at)
    found: dict[str, int] = {}
    for it in _releases(at):
        message = str(it["message"])
        if "automated rollback" in message and "ended with exit code" in message:
            found.setdefault("failed", it["rolledBackFrom"])
        elif it["restores"] and "automated" not in message:
            found.setdefault("by hand", it["number"])
        elif it["verified"] and message == "the first one":
            found.setdefault("good", it["number"])
    assert set(found) == set(SAID)
    return found


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with browser(tmp_path_factory.mktemp("chromium")) as it:
        yield it


def _looked_at(chromium: Browser, page: Path) -> list[View]:
    """Look at a page in every way, and assert what holds for all of them."""
    views = []
    for width in (WIDE, PHONE):
        for dark in (False, True):
            view = chromium.look(page, width=width, dark=dark, ask=ASKED)
            where = f"{page.name} at {width}{', dark' if dark else ''}"
            assert view.requests == [page.as_uri()], f"{where} asks for more"
            assert view.complaints == [], where
            assert view.content_width <= width, f"{where} scrolls sideways"
            assert view.values["scripts"] == 0, where
            page.with_suffix(f".{width}.{'dark' if dark else 'light'}.png").write_bytes(
                view.picture
            )
            views.append(view)
    light, dark_ = ({it.values["background"] for it in views[place::2]} for place in (0, 1))
    assert len(light) == len(dark_) == 1
    assert light != dark_, "dark is not light"
    return views


def _report(at: Stand, number: int, directory: Path) -> tuple[Path, dict[str, Any]]:
    page = directory / f"{number}.html"
    done = _aegis(at, "report", str(number), "--output", str(page), "--json")
    shown = done.standard_output
    assert TOKEN not in shown + page.read_text()
    return page, json.loads(shown)


@pytest.mark.parametrize("kind", SAID)
def test_the_page_of_a_release_shows_how_it_went(
    at: Stand, chromium: Browser, kinds: dict[str, int], kind: str, tmp_path: Path
) -> None:
    page, told = _report(at, kinds[kind], tmp_path)
    timeline = told["timeline"]
    assert timeline["finished"] is True
    assert timeline["pods"]
    assert timeline["steps"]
    phases = [it["name"] for it in timeline["phases"]]
    for view in _looked_at(chromium, page):
        for words in SAID[kind]:
            assert words in view.values["text"]
        assert view.values["plots"] == 1
        # Both drawings, of which one is shown.
        assert view.values["phases"] == 2 * len(phases)
        assert view.values["verdicts"] >= 2 * len(timeline["judgements"])
        assert view.values["pods"] > 0
        assert view.values["probes"] > 0
    assert phases == {
        "good": ["preview", "update", "gate"],
        "by hand": ["rollback", "gate"],
    }.get(kind, phases)
    if kind == "failed":
        assert {"update", "rollback", "gate"} <= set(phases)
        versions = {group["name"] for sample in timeline["pods"] for group in sample["groups"]}
        assert len(versions) > 1, "the pods of both releases are there"
        verdict, *_, last = timeline["judgements"]
        assert (verdict["passed"], last["passed"]) == (False, True)
        assert (verdict["of"], last["of"]) == ("release", "rollback")


def test_a_plain_update_has_the_timeline_of_its_gate(
    at: Stand, kinds: dict[str, int], tmp_path: Path
) -> None:
    assert kinds
    plain = [
        it["number"]
        for it in _releases(at)
        if it["verified"] and not it["message"].startswith("aegis") and it["changes"].get("update")
    ]
    found = (_report(at, number, tmp_path)[1]["timeline"] for number in plain)
    timeline = next(it for it in found if it is not None and it["command"] == "pulumi up")
    assert timeline["judgements"][0]["passed"] is True
    assert timeline["probes"]


def test_the_page_of_the_history_shows_the_four(
    at: Stand, chromium: Browser, kinds: dict[str, int], tmp_path: Path
) -> None:
    assert kinds
    page = tmp_path / "history.html"
    _aegis(at, "history", "--html", "--output", str(page))
    for view in _looked_at(chromium, page):
        for words in ("deployment frequency", "change failure rate", "time to restore"):
            assert words in view.values["text"]
        assert view.values["plots"] == 1
