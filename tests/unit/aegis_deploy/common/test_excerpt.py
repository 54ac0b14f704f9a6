"""A value of a megabyte is shown where it differs."""

from __future__ import annotations

from aegis_deploy.common.excerpt import LONGEST, excerpts


def test_what_is_short_is_shown_whole() -> None:
    assert excerpts("a" * LONGEST, "b") == ("a" * LONGEST, "b")
    assert excerpts("", "a" * LONGEST)[1] == "a" * LONGEST


def test_the_place_where_they_differ_is_shown() -> None:
    before = "x" * 500_000 + "old" + "y" * 500_000
    after = "x" * 500_000 + "new" + "y" * 500_000
    old, new = excerpts(before, after)
    assert "xold" in old
    assert "xnew" in new
    assert old.startswith("(from character 499,961) …")
    assert new.endswith("… (1,000,003 characters)")
    assert max(len(old), len(new)) < 2 * LONGEST


def test_one_that_goes_on_where_the_other_ends_differs_there() -> None:
    old, new = excerpts("x" * 1000, "x" * 1000 + "tail")
    assert new.endswith("tail (1,004 characters)")
    assert old.endswith("x (1,000 characters)")


def test_what_is_only_on_one_side_is_shown_from_its_beginning() -> None:
    assert excerpts("", "abc" * 1000)[1] == f"{'abc' * 1000:.{LONGEST}}… (3,000 characters)"
    assert excerpts("", "abc" * 1000)[0] == ""
