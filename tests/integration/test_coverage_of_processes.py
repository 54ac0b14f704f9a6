"""Real processes are measured: the program that the engine runs, and `aegis`."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.coverage_of_subprocesses import gather, hooked
from tests.coverage_start import SUFFIX, VARIABLE
from tests.integration.conftest import Project
from tests.integration.waiting import SECONDS
from tests.rendering import ROOT


@pytest.fixture
def place(project: Project, tmp_path: Path) -> Iterator[Path]:
    """Where the processes of this test leave what they saw."""
    directory = tmp_path / "seen"
    directory.mkdir()
    project.environment[VARIABLE] = str(directory)
    with hooked():
        yield directory


def lines(place: Path, name: str) -> set[int]:
    """Return the lines of a file of the checkout that ran."""
    return {abs(line) for arc in gather(place).get(str(ROOT / name), ()) for line in arc}


def line_of(name: str, text: str) -> int:
    """Return where a text is in a file of the checkout."""
    found = [n for n, it in enumerate((ROOT / name).read_text().splitlines(), 1) if text in it]
    assert len(found) == 1, f"{text!r} is in {name} {len(found)} times"
    return found[0]


def aegis(project: Project, *words: str) -> str:
    """Run `aegis` as a person does."""
    done = subprocess.run(
        [str(Path(sys.prefix, "bin", "aegis")), *words, "--stack", project.stack],
        cwd=project.directory,
        env=project.environment,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_program_and_the_command_count_and_the_stand_ins_do_not(
    project: Project, place: Path
) -> None:
    done = project.up()
    assert done.code == 0, done.text
    assert line_of("__main__.py", "service = ApiService(") in lines(place, "__main__.py")
    assert len(lines(place, "components/api_service.py")) > 20
    assert lines(place, "aegis_deploy/cli/commands/history.py") == set()

    assert "succeeded" in aegis(project, "history")
    assert len(lines(place, "aegis_deploy/cli/commands/history.py")) > 20
    # One update, one command; neither language host nor providers left anything.
    assert len(list(place.glob(f"*{SUFFIX}"))) == len(list(place.iterdir())) == 2
    for name in gather(place):
        assert Path(name).is_relative_to(ROOT)
        last = len(Path(name).read_text().splitlines())
        relative = str(Path(name).relative_to(ROOT))
        assert max(lines(place, relative)) <= last


def test_a_program_that_aegis_has_run_counts(project: Project, place: Path) -> None:
    aegis(project, "preview")
    assert line_of("__main__.py", "service = ApiService(") in lines(place, "__main__.py")
    assert len(lines(place, "components/api_service.py")) > 20
    assert len(lines(place, "aegis_deploy/cli/commands/preview.py")) > 10


def test_a_program_that_is_not_the_checkouts_does_not_count(project: Project, place: Path) -> None:
    entry = project.directory / "__main__.py"
    entry.write_text(f"{entry.read_text()}\n# Of this test.\n")
    assert project.pulumi("preview", "--stack", project.stack).code == 0
    assert gather(place) == {}
