"""What reports of real releases show in a real browser: light and dark, wide and on a phone."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.e2e.browser import Browser, View

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


def require_release(chromium: Browser, page: Path, timeline: Mapping[str, Any], kind: str) -> None:
    """Require that the page of a release shows how it went.

    Args:
        chromium: The browser.
        page: The page.
        timeline: What the report's document says of the same release.
        kind: What came of it, one of `SAID`.
    """
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


def require_history(chromium: Browser, page: Path) -> None:
    """Require that the page of the history shows the four figures of its deploys."""
    for view in _looked_at(chromium, page):
        for words in ("deployment frequency", "change failure rate", "time to restore"):
            assert words in view.values["text"]
        assert view.values["plots"] == 1
