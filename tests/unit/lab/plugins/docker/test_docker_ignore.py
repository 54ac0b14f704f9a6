"""Which paths a .dockerignore leaves out: moby's rules, by a table."""

from __future__ import annotations

from pathlib import Path

import pytest
from docker.utils.build import Pattern
from hypothesis import given
from hypothesis import strategies as st

from lab.plugins.docker.ignore import BadPattern, Ignore, read_patterns


def ignored(patterns: list[str], path: str) -> bool:
    """Match a path and, first, every directory on the way to it."""
    ignore = Ignore(patterns)
    parts = path.split("/")
    matches: list[bool] | None = None
    verdict = False
    for depth in range(1, len(parts) + 1):
        verdict, matches = ignore.match("/".join(parts[:depth]), matches)
    return verdict


@pytest.mark.parametrize(
    ("patterns", "out", "kept"),
    [
        (["*.pyc"], ["a.pyc"], ["d/a.pyc", "a.py"]),
        (["**/*.pyc"], ["a.pyc", "d/e/a.pyc"], ["a.py"]),
        (["**/.git"], [".git", "d/.git", "d/.git/config"], ["git", "d/x.git"]),
        (["docs"], ["docs", "docs/a/b"], ["docs2", "x/docs"]),
        (["docs/**"], ["docs/a", "docs/a/b"], ["docs", "x/docs/a"]),
        (["**"], ["a", "a/b"], []),
        (["*"], ["a", "a/b"], []),
        (["*", "!app"], ["x", "x/app"], ["app", "app/a/b"]),
        (["*", "!app", "app/*", "!app/*.py"], ["app/a.txt", "app/d/x"], ["app", "app/a.py"]),
        (["*", "!app/**/*.py"], ["app/a.txt"], ["app/a.py", "app/d/e/a.py"]),
        (["*", "!projects/*/src"], ["projects/a/dist/x"], ["projects/a/src", "projects/a/src/x"]),
        (["!a", "a"], ["a"], []),
        (["a?c"], ["abc"], ["ac", "a/c", "abbc"]),
        (["[ab].txt"], ["a.txt"], ["c.txt"]),
        (["[^a].txt"], ["b.txt"], ["a.txt"]),
        (["[a-c]x"], ["bx"], ["dx"]),
        (["**foo"], ["xfoo", "a/xfoo"], ["foox"]),
        ([r"\*"], ["*"], ["a"]),
        (["a.c"], ["a.c"], ["abc"]),
        (["a+(b)"], ["a+(b)"], ["aab"]),
        (["."], [], ["a"]),
        (["../x"], [], ["x"]),
    ],
)
def test_patterns(patterns: list[str], out: list[str], kept: list[str]) -> None:
    assert [path for path in out if not ignored(patterns, path)] == []
    assert [path for path in kept if ignored(patterns, path)] == []


@pytest.mark.parametrize(
    ("directory", "patterns", "expected"),
    [
        ("a", ["*"], False),
        ("a", ["*", "!b"], False),
        ("a", ["*", "!a/b"], True),
        ("a", ["*", "!a/*.py"], True),
        ("a/d", ["*", "!a/**/*.py"], True),
        ("b", ["*", "!a/*.py"], False),
        ("b", ["*", "!**/x"], True),
        ("ab", ["*", "!a/b"], False),
    ],
)
def test_directories_worth_a_look(directory: str, patterns: list[str], expected: bool) -> None:
    assert Ignore(patterns).may_hold_exceptions(directory) is expected


@given(
    st.lists(st.sampled_from(["a", "b", "*", "?", "**", "a*", "*.py"]), min_size=1, max_size=3),
    st.lists(st.sampled_from(["a", "b", "ab", "x.py"]), min_size=1, max_size=3),
)
def test_one_pattern_alone_agrees_with_docker_py(pattern: list[str], path: list[str]) -> None:
    text, name = "/".join(pattern), "/".join(path)
    verdict, _ = Ignore([text]).match(name, None)
    assert verdict is bool(Pattern(text).match(name))


@pytest.mark.parametrize("pattern", ["!", "[", "a[b"])
def test_bad_patterns_are_named(pattern: str) -> None:
    with pytest.raises(BadPattern, match=r"pattern|take"):
        Ignore([pattern])


class TestReading:
    """The file itself."""

    def test_comments_blanks_slashes_and_marks(self, tmp_path: Path) -> None:
        (tmp_path / ".dockerignore").write_text(
            "\ufeff# comment\n\n  a/ \n/b\n./c//d\n! e/\n #not a comment\n", encoding="utf-8"
        )
        assert read_patterns(str(tmp_path / "Dockerfile"), str(tmp_path)) == [
            "a",
            "b",
            "c/d",
            "!e",
            "#not a comment",
        ]

    def test_the_file_beside_the_dockerfile_wins(self, tmp_path: Path) -> None:
        (tmp_path / ".dockerignore").write_text("a")
        (tmp_path / "Dockerfile.dockerignore").write_text("b")
        assert read_patterns(str(tmp_path / "Dockerfile"), str(tmp_path)) == ["b"]

    def test_no_file_means_no_patterns(self, tmp_path: Path) -> None:
        assert read_patterns(str(tmp_path / "Dockerfile"), str(tmp_path)) == []
