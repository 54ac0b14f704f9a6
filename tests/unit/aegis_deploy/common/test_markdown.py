"""Markdown that hostile names cannot break out of."""

from __future__ import annotations

import html

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aegis_deploy.common import markdown as md
from tests.unit.aegis_deploy.hostile import HOSTILE, MENTION


@pytest.mark.parametrize("raw", HOSTILE)
@pytest.mark.parametrize("make", [md.text, md.code])
def test_hostile_text_stays_text(raw: str, make: object) -> None:
    shown = make(raw)  # type: ignore[operator]
    inner = shown.removeprefix("<code>").removesuffix("</code>")
    assert "<" not in inner
    assert "\n" not in inner
    assert "\x1b" not in inner
    assert "\u202e" not in inner
    assert "@" not in inner
    assert "|" not in inner.replace("\\|", "")
    assert "www." not in inner
    assert "://" not in inner


@pytest.mark.parametrize("raw", HOSTILE)
def test_nobody_is_called_and_no_other_issue_is_named(raw: str) -> None:
    # In code GitHub looks for neither.
    assert not MENTION.search(html.unescape(md.text(raw)))
    assert not MENTION.search(html.unescape(md.folded(raw, "").partition("</summary>")[0]))


@given(st.text(max_size=300))
def test_a_block_is_closed_by_its_own_fence_only(raw: str) -> None:
    shown = md.block(raw)
    fence = shown[: len(shown) - len(shown.lstrip("`"))]
    body = shown.split("\n")[1:-1]
    assert shown.split("\n")[-1] == fence
    assert not any(line.startswith(fence) for line in body)


def test_what_does_not_fit_is_left_out_whole_and_said() -> None:
    shown = md.fitted(["first", "x" * 500, "last"], 200)
    assert shown.startswith("first")
    assert "xxx" not in shown
    assert "last" not in shown
    assert "left out" in shown
    assert len(shown) <= 200


def test_everything_that_fits_is_kept() -> None:
    assert md.fitted(["a", "b"], 1000) == "a\n\nb\n"


def test_lines_that_do_not_fit_are_counted() -> None:
    lines = ["a" * 9] * 10
    assert md.first(lines, str, 100, "{} more") == lines
    assert md.first(lines, str, 45, "{} more") == [*lines[:4], "6 more"]
    rows = [("1", "2")] * 9
    assert md.short_table(("x", "y"), rows, tuple, 30).splitlines()[-1] == "| _6 more_ | |"


def test_what_is_left_out_is_not_worded() -> None:
    asked: list[int] = []

    def word(thing: int) -> str:
        asked.append(thing)
        return "a" * 9

    assert md.first(range(1000), word, 45, "{} more")[-1] == "996 more"
    assert asked == [0, 1, 2, 3, 4]

    parts = iter(["first", "x" * 500, "never asked for"])
    assert md.fitted(parts, 200).startswith("first")
    assert list(parts) == ["never asked for"]
