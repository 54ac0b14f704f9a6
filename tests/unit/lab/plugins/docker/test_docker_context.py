"""The build context's digest, which has to be the official provider's."""

from __future__ import annotations

import hashlib
import os
import stat
from pathlib import Path

import pytest

from lab.plugins.docker.context import (
    archive_members,
    digest,
    mode_string,
    relative_dockerfile,
    resolved,
)


@pytest.fixture
def context(tmp_path: Path) -> Path:
    """A context with two files, a directory and a link."""
    root = tmp_path / "context"
    (root / "a").mkdir(parents=True)
    for name, text in {"Dockerfile": "FROM x\n", "a.txt": "1", "a/b.txt": "2"}.items():
        (root / name).write_text(text)
        (root / name).chmod(0o644)
    return root


def of(root: Path) -> str:
    return digest(str(root), str(root / "Dockerfile"))


def test_the_digest_is_over_names_modes_and_hashes_in_lexical_order(context: Path) -> None:
    def part(name: str, mode: str, content: bytes) -> bytes:
        return name.encode() + mode.encode() + hashlib.sha256(content).digest() + b"\0"

    expected = hashlib.sha256(
        part("Dockerfile", "----------", b"FROM x\n")
        + part("Dockerfile", "-rw-r--r--", b"FROM x\n")
        + part("a/b.txt", "-rw-r--r--", b"2")  # "a" sorts before "a.txt"
        + part("a.txt", "-rw-r--r--", b"1")
    ).hexdigest()
    assert of(context) == expected


class TestWhatChangesTheDigest:
    """A rebuild is due."""

    def test_content(self, context: Path) -> None:
        before = of(context)
        (context / "a.txt").write_text("changed")
        assert of(context) != before

    def test_mode(self, context: Path) -> None:
        before = of(context)
        (context / "a.txt").chmod(0o755)
        assert of(context) != before

    def test_name(self, context: Path) -> None:
        before = of(context)
        (context / "a.txt").rename(context / "b.txt")
        assert of(context) != before

    def test_the_dockerfile_even_when_ignored(self, context: Path) -> None:
        (context / ".dockerignore").write_text("*\n")
        before = of(context)
        (context / "Dockerfile").write_text("FROM y\n")
        assert of(context) != before

    def test_where_a_link_leads(self, context: Path) -> None:
        (context / "link").symlink_to("a.txt")
        before = of(context)
        (context / "link").unlink()
        (context / "link").symlink_to("a/b.txt")
        assert of(context) != before


class TestWhatDoesNot:
    """The image would be the same."""

    def test_ignored_files_and_the_ignore_file_that_names_itself(self, context: Path) -> None:
        before = of(context)
        (context / ".dockerignore").write_text(".dockerignore\nignored\nempty\n")
        (context / "ignored").write_text("x")
        (context / "empty").mkdir()
        assert of(context) == before

    def test_times_and_empty_directories(self, context: Path) -> None:
        before = of(context)
        (context / "empty").mkdir()
        os.utime(context / "a.txt", (0, 0))
        assert of(context) == before

    def test_the_place_of_an_outside_dockerfile(self, context: Path, tmp_path: Path) -> None:
        for name in ("one", "two"):
            (tmp_path / name).write_text("FROM x\n")
        assert digest(str(context), str(tmp_path / "one")) == digest(
            str(context), str(tmp_path / "two")
        )

    def test_a_pipe_is_not_read(self, context: Path) -> None:
        os.mkfifo(context / "pipe")
        assert of(context)


def test_a_link_to_nowhere_is_an_error(context: Path) -> None:
    (context / "link").symlink_to("nowhere")
    with pytest.raises(OSError, match="nowhere"):
        of(context)


@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        (stat.S_IFREG | 0o644, "-rw-r--r--"),
        (stat.S_IFREG | 0o4755, "urwxr-xr-x"),
        (stat.S_IFREG | 0o6755, "ugrwxr-xr-x"),
        (stat.S_IFDIR | 0o1777, "dtrwxrwxrwx"),
        (stat.S_IFLNK | 0o777, "Lrwxrwxrwx"),
        (stat.S_IFIFO | 0o600, "prw-------"),
        (stat.S_IFCHR | 0o620, "Dcrw--w----"),
        (stat.S_IFBLK | 0o660, "Drw-rw----"),
    ],
)
def test_modes_are_written_as_go_writes_them(mode: int, expected: str) -> None:
    assert mode_string(mode) == expected


class TestLinks:
    """Links are followed the way Go does it."""

    def test_relative_paths_stay_relative(
        self, context: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(context)
        (context / "up").symlink_to("a")
        (context / "a" / "deep").symlink_to("../up/b.txt")
        assert resolved("./a/deep") == "a/b.txt"
        assert resolved("up/../a.txt") == "a.txt"

    def test_an_absolute_link_makes_the_path_absolute(self, context: Path) -> None:
        (context / "link").symlink_to(context / "a.txt")
        assert resolved(str(context / "link")) == os.path.realpath(context / "a.txt")

    def test_circles_end(self, context: Path) -> None:
        (context / "one").symlink_to("two")
        (context / "two").symlink_to("one")
        with pytest.raises(OSError, match="too many links"):
            resolved(str(context / "one"))


class TestArchive:
    """What is sent to the daemon."""

    def test_holds_what_the_daemon_needs_although_ignored(self, context: Path) -> None:
        (context / ".dockerignore").write_text("*\n!a/b.txt\n")
        members = archive_members(str(context), str(context / "Dockerfile"))
        assert members == [".dockerignore", "Dockerfile", "a", "a/b.txt"]

    def test_leaves_an_outside_dockerfile_to_the_caller(
        self, context: Path, tmp_path: Path
    ) -> None:
        (tmp_path / "Other").write_text("FROM x\n")
        assert relative_dockerfile(str(context), str(tmp_path / "Other")) == "../Other"
        assert archive_members(str(context), str(tmp_path / "Other")) == [
            "Dockerfile",
            "a",
            "a.txt",
            "a/b.txt",
        ]
