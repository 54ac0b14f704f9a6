"""Tests are compiled ahead once in a checkout, not in each run."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests import bytecode


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout with a test that would fail, and one that cannot be collected."""
    for share, text in (("unit", "def test_it():\n    assert False\n"), ("e2e", "1 / 0\n")):
        directory = tmp_path / "tests" / share
        directory.mkdir(parents=True)
        (directory / "test_it.py").write_text(text)
    (tmp_path / "tests" / "integration").mkdir()
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    monkeypatch.setattr(bytecode, "_TESTS", tmp_path / "tests")
    monkeypatch.setenv("PYTEST_ADDOPTS", f"--junitxml={tmp_path / 'report.xml'}")
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    return tmp_path


def test_what_is_collected_is_kept_and_nothing_else_is_left(checkout: Path) -> None:
    bytecode.main()
    tag = sys.implementation.cache_tag
    kept = {it.relative_to(checkout).as_posix() for it in checkout.rglob(f"*.{tag}-pytest-*.pyc")}
    version = pytest.__version__
    assert kept == {
        f"tests/{share}/__pycache__/test_it.{tag}-pytest-{version}.pyc" for share in ("unit", "e2e")
    }
    assert not (checkout / "report.xml").exists()


@pytest.mark.usefixtures("checkout")
def test_a_checkout_that_has_it_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    bytecode.main()

    def begun(*_: object, **__: object) -> None:
        raise AssertionError("something was started")

    monkeypatch.setattr(subprocess, "Popen", begun)
    bytecode.main()
