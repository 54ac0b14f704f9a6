"""What `marked_engine` sees of engines: `test_two_deployers` rests on it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.integration.deployers import engines
from tests.integration.marked_engine import changes, is_running
from tests.rendering import ROOT

pytestmark = pytest.mark.integration


@dataclass(frozen=True)
class Engine:
    """An engine that runs, and a child of it that outlives it."""

    process: subprocess.Popen[str]
    child: int

    def die(self) -> None:
        """Have it killed."""
        self.process.kill()
        self.process.wait()


@pytest.fixture
def cli(tmp_path: Path) -> Path:
    """A CLI that starts a child, tells its number and lives on."""
    program = tmp_path / "pulumi"
    program.write_text("#!/bin/sh\nsleep 600 >&- 2>&- &\necho $!\nread -r _\n")
    program.chmod(0o755)
    return program


@contextmanager
def running(cli: Path, who: str, *words: str) -> Iterator[Engine]:
    command = [sys.executable, "-m", "tests.integration.marked_engine", str(cli), str(cli.parent)]
    with subprocess.Popen(
        [*command, "--color=never", *words],
        cwd=ROOT,
        env={**os.environ, "AEGIS_TEST_DEPLOYER": who},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        engine = Engine(process, int(process.stdout.readline()))
        try:
            yield engine
        finally:
            engine.die()
            with suppress(ProcessLookupError):
                os.kill(engine.child, signal.SIGKILL)


def test_two_at_once_are_noted_and_one_after_the_dead_is_not(cli: Path) -> None:
    marks = cli.parent
    with running(cli, "ann", "up", "--message", "hers") as first:
        assert is_running(marks)
        with running(cli, "bob", "refresh", "--message", "his") as second:
            (noted,) = engines(marks, "together")
            assert noted["who"] == "bob"
            assert '"hers"' in noted["beside"]
            first.die()
            second.die()
            os.kill(first.child, 0)  # What they left behind is no engine.
            assert not is_running(marks)
            with running(cli, "ann", "stack", "import"):
                assert is_running(marks)
    assert len(engines(marks, "together")) == 1
    assert [it["message"] for it in engines(marks)] == ["hers", "his", ""]


def test_what_only_looks_has_no_mark(cli: Path) -> None:
    with running(cli, "ann", "preview"), running(cli, "bob", "refresh", "--preview-only"):
        assert not is_running(cli.parent)
    assert engines(cli.parent) == []


@pytest.mark.parametrize(
    ("words", "changing"),
    [
        ("--non-interactive up --yes", True),
        ("destroy --stack one", True),
        ("stack import --stack one", True),
        ("state repair --yes", True),
        ("stack export", False),
        ("stack tag set up 1", False),
        ("config set up 1", False),
    ],
)
def test_knows_the_commands_that_change_a_state(words: str, changing: bool) -> None:
    assert changes(words.split()) is changing
