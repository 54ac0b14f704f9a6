"""Text that can neither move nor hide."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aegis_deploy.common.sanitize import one_line, plain


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        ("\x1b[31mred\x1b[0m and \x1b[1;4mbold", "red and bold"),
        ("\x1b]8;;http://evil\x07link\x1b]8;;\x07", "link"),
        ("\x1b]0;title\x1b\\text", "text"),
        ("\x1b]never ended", ""),
        ("\x9b2Jgone", "gone"),
        ("\u202egnp.exe", "\\u{202e}gnp.exe"),
        ("zero\u200bwidth\u2060\ufeff", "zero\\u{200b}width\\u{2060}\\u{feff}"),
        ("a\x00b\x07c\rd", "a\\u{0}b\\u{7}c\\u{d}d"),
        ("line\r\nline\u2028line", "line\nline\\u{2028}line"),
        ("é 한글 \t ok", "é 한글 \t ok"),
    ],
)
def test_what_acts_is_taken_out_or_shown(raw: str, shown: str) -> None:
    assert plain(raw) == shown


@given(st.text())
def test_nothing_that_acts_is_left(raw: str) -> None:
    left = set(plain(raw)) - {"\n", "\t"}
    assert not {it for it in left if unicodedata.category(it) in {"Cc", "Cf", "Cs", "Zl", "Zp"}}


@given(st.text(max_size=500))
def test_one_line_is_one_and_short(raw: str) -> None:
    line = one_line(raw, 40)
    assert len(line) <= 40
    assert "\n" not in line


def test_a_text_of_megabytes_is_cut() -> None:
    assert one_line("x" * 5_000_000) == "x" * 199 + "…"
