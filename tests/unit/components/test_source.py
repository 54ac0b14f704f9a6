"""components.source: the commit and the version of the checkout."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from components.source import Source, SourceError, read_commit, read_source, read_version

COMMIT = "0123456789abcdef0123456789abcdef01234567"


def git(checkout: Path, *arguments: str) -> str:
    who = ("-c", "user.name=test", "-c", "user.email=test@example.com")
    done = subprocess.run(
        ["git", *who, *arguments], cwd=checkout, check=True, capture_output=True, text=True
    )
    return done.stdout.strip()


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout with one commit."""
    (tmp_path / "app").mkdir()
    (tmp_path / "app" / "main.py").write_text("print()\n")
    (tmp_path / "README.md").write_text("read me\n")
    (tmp_path / "pyproject.toml").write_text('[project]\nversion = "1.2.3"\n')
    git(tmp_path, "init", "-q")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-q", "-m", "first")
    return tmp_path


class TestCommit:
    """The commit an image is built from."""

    def test_is_the_checkouts(self, checkout: Path) -> None:
        assert read_commit(checkout, {}) == git(checkout, "rev-parse", "HEAD")

    @pytest.mark.parametrize("path", ["app/main.py", "app/new.py", "Dockerfile"])
    def test_is_dirty_when_what_the_image_is_made_of_differs(
        self, checkout: Path, path: str
    ) -> None:
        (checkout / path).write_text("changed\n")
        assert read_commit(checkout, {}) == git(checkout, "rev-parse", "HEAD") + "-dirty"

    def test_is_clean_when_something_else_differs(self, checkout: Path) -> None:
        (checkout / "README.md").write_text("changed\n")
        assert not read_commit(checkout, {}).endswith("-dirty")

    @pytest.mark.parametrize("variable", ["AEGIS_GIT_SHA", "GITHUB_SHA"])
    def test_the_environment_may_name_it(self, tmp_path: Path, variable: str) -> None:
        assert read_commit(tmp_path, {variable: COMMIT}) == COMMIT

    def test_our_own_variable_goes_before_the_pipelines(self, tmp_path: Path) -> None:
        environ = {"GITHUB_SHA": "f" * 40, "AEGIS_GIT_SHA": COMMIT}
        assert read_commit(tmp_path, environ) == COMMIT

    def test_a_name_that_is_no_commit_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(SourceError, match="AEGIS_GIT_SHA: allowed: a git commit"):
            read_commit(tmp_path, {"AEGIS_GIT_SHA": "main; rm"})

    def test_without_git_says_how_to_name_it(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("PATH", str(tmp_path))
        with pytest.raises(SourceError, match="git did not run") as caught:
            read_commit(tmp_path, {})
        assert "AEGIS_GIT_SHA" in caught.value.fix

    def test_outside_a_checkout_quotes_git(self, tmp_path: Path) -> None:
        with pytest.raises(SourceError, match="not a git repository"):
            read_commit(tmp_path, {})

    def test_before_the_first_commit_says_so(self, tmp_path: Path) -> None:
        git(tmp_path, "init", "-q")
        with pytest.raises(SourceError, match="no commit yet"):
            read_commit(tmp_path, {})


class TestVersion:
    """The version a release has."""

    def test_is_the_projects(self, checkout: Path) -> None:
        found = read_source(checkout, {"AEGIS_GIT_SHA": COMMIT})
        assert found == Source(version="1.2.3", commit=COMMIT)

    @pytest.mark.parametrize(
        "text",
        ["", "[project]\n", "[project]\nversion = 1\n", '[project]\nversion = "a b"\n', "not toml"],
    )
    def test_one_that_cannot_be_shown_is_refused(self, tmp_path: Path, text: str) -> None:
        (tmp_path / "pyproject.toml").write_text(text)
        with pytest.raises(SourceError, match="version"):
            read_version(tmp_path / "pyproject.toml")

    def test_a_missing_file_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(SourceError, match=r"pyproject\.toml gives no"):
            read_version(tmp_path / "pyproject.toml")
