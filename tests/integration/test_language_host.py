"""The stand-in language host under the real engine, with a state backend in a directory."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.integration.prepared import copy, once
from tests.integration.waiting import SECONDS, no_process_left, processes, wait_until

pytestmark = pytest.mark.integration

CHECKOUT = Path(__file__).resolve().parents[2]


def _executor(cli: Path) -> str | None:
    """Find the SDK's executor: named, on PATH, beside the CLI, or in Go's module cache."""
    name = "pulumi-language-python-exec"
    named = os.environ.get("AEGIS_LANGUAGE_EXEC") or shutil.which(name)
    beside = cli.resolve().with_name(name)
    if named is None and beside.is_file():
        named = str(beside)
    if named or shutil.which("go") is None:
        return named
    cache = subprocess.run(["go", "env", "GOMODCACHE"], capture_output=True, text=True, check=True)
    sdk = Path(cache.stdout.strip(), "github.com/pulumi/pulumi/sdk/v3@v3.259.0")
    executor = sdk / "python" / "cmd" / "pulumi-language-python-exec"
    return str(executor) if executor.is_file() else None


@dataclass(frozen=True)
class Project:
    """A Pulumi project of one file, run by the stand-in."""

    directory: Path
    environment: dict[str, str]

    def write(self, program: str) -> None:
        """Replace the program."""
        (self.directory / "__main__.py").write_text(textwrap.dedent(program))

    def pulumi(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run the CLI; stdout and stderr come as one text."""
        return subprocess.run(
            ["pulumi", *arguments, "--non-interactive"],
            cwd=self.directory,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=SECONDS,
            check=False,
        )

    def processes(self) -> dict[int, str]:
        """The processes that belong to this project."""
        return processes(self.directory)


@pytest.fixture
def project(
    cli: Path, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Project]:
    """A stack ``dev`` with its own home, backend and language host."""
    executor = _executor(cli)
    if executor is None:
        pytest.skip("there is no pulumi-language-python-exec, which `make up` brings")

    def make(root: Path) -> None:
        (root / "backend").mkdir()
        made = _laid(root, cli, executor)
        (made.directory / "Pulumi.yaml").write_text("name: tiny\nruntime: python\n")
        done = made.pulumi("stack", "init", "dev")
        assert done.returncode == 0, done.stdout

    copy(once(tmp_path_factory, "tiny", make), tmp_path)
    with no_process_left(tmp_path):
        yield _laid(tmp_path, cli, executor)


def _laid(root: Path, cli: Path, executor: str) -> Project:
    """Lay programs and an empty Pulumi program into a directory."""
    for name in ("bin", "project", "home"):
        (root / name).mkdir(exist_ok=True)
    programs = root / "bin"
    (programs / "pulumi").symlink_to(cli)
    host = programs / "pulumi-language-python"
    host.write_text(
        f'#!/bin/sh\nPYTHONPATH={CHECKOUT} exec {sys.executable} -P -m lab.plugins.language "$@"\n'
    )
    host.chmod(0o755)
    laid = Project(
        root / "project",
        {
            "PATH": os.pathsep.join([str(programs), os.environ["PATH"]]),
            "HOME": str(root / "home"),
            "PULUMI_HOME": str(root / "home"),
            "PULUMI_BACKEND_URL": f"file://{root}/backend",
            "PULUMI_STACK": "dev",
            "PULUMI_CONFIG_PASSPHRASE": "test",
            "PULUMI_SKIP_UPDATE_CHECK": "true",
            "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION": "true",
            "PULUMI_PYTHON_CMD": sys.executable,
            "AEGIS_LANGUAGE_EXEC": executor,
        },
    )
    laid.write("")
    return laid


def test_up_runs_the_program_and_the_second_says_unchanged(project: Project) -> None:
    project.write(
        """
        import pulumi

        print("said by the program")
        pulumi.export("answer", pulumi.Config().get("question") or "none")
        """
    )
    first = project.pulumi("up", "--yes", "--skip-preview", "--config", "question=asked")
    assert first.returncode == 0, first.stdout
    assert "said by the program" in first.stdout
    assert 'answer: "asked"' in first.stdout
    second = project.pulumi("up", "--yes")
    assert second.returncode == 0, second.stdout
    assert "1 unchanged" in second.stdout
    # Preview and update start a host each, and say it once.
    assert second.stdout.partition("Diagnostics:")[2].count("the lab's stand-in") == 1


@pytest.mark.parametrize(
    ("program", "said"),
    [
        ("1 / 0", "ZeroDivisionError: division by zero"),
        ("raise SystemExit(3)", "Program exited with non-zero exit code: 3"),
        ("import pulumi; raise pulumi.RunError('told plainly')", "error: told plainly"),
        ("def", "SyntaxError: invalid syntax"),
    ],
)
def test_a_program_that_fails_fails_the_update(project: Project, program: str, said: str) -> None:
    project.write(program)
    result = project.pulumi("preview")
    assert result.returncode != 0
    assert said in result.stdout


def test_a_missing_virtual_environment_says_what_to_type(project: Project) -> None:
    (project.directory / "Pulumi.yaml").write_text(
        "name: tiny\nruntime:\n  name: python\n  options:\n    virtualenv: .venv\n"
    )
    result = project.pulumi("preview")
    assert result.returncode != 0
    assert "Create it with `pulumi install`" in result.stdout
    assert "Traceback" not in result.stdout


def test_about_and_plugin_ls_work(project: Project) -> None:
    about = project.pulumi("about")
    assert about.returncode == 0, about.stdout
    assert "executable=" in about.stdout
    assert "Failed" not in about.stdout
    assert project.pulumi("plugin", "ls").returncode == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_nothing_stays_behind_when_the_engine_ends(
    project: Project, number: signal.Signals
) -> None:
    project.write(
        """
        import pathlib, subprocess
        pathlib.Path("started").touch()
        subprocess.run(["sleep", "300"], cwd=".")
        """
    )
    engine = subprocess.Popen(
        ["pulumi", "preview", "--non-interactive"],
        cwd=project.directory,
        env=project.environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    wait_until((project.directory / "started").exists, "the program did not start")
    assert len(project.processes()) > 1
    engine.send_signal(number)
    assert engine.wait(timeout=SECONDS) != 0
    wait_until(lambda: not project.processes(), "processes did not end")


def test_an_update_whose_language_host_is_killed_ends_with_an_error(project: Project) -> None:
    project.write(
        """
        import pathlib, time
        import pulumi

        pulumi.ComponentResource("tests:index:Thing", "thing")
        pathlib.Path("started").touch()
        time.sleep(300)
        """
    )
    engine = subprocess.Popen(
        ["pulumi", "up", "--yes", "--skip-preview", "--non-interactive"],
        cwd=project.directory,
        env=project.environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    wait_until((project.directory / "started").exists, "the program did not start")
    programs = _children(engine.pid)
    hosts = [pid for pid in programs if b"lab.plugins.language" in _command(pid)]
    for pid in hosts:
        os.kill(pid, signal.SIGKILL)
    assert hosts
    assert engine.wait(timeout=SECONDS) not in (0, -signal.SIGKILL)
    wait_until(lambda: not project.processes(), "processes did not end")
    project.write("")
    assert project.pulumi("up", "--yes", "--skip-preview").returncode == 0


def _children(pid: int) -> list[int]:
    tasks = Path(f"/proc/{pid}/task").glob("*/children")
    return [int(child) for task in tasks for child in task.read_text().split()]


def _command(pid: int) -> bytes:
    return Path(f"/proc/{pid}/cmdline").read_bytes()
