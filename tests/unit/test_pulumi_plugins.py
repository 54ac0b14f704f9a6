"""A run of the tests says which plugins it is on, and refuses stand-ins when told to."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from lab import plugin_cache, settings
from lab.errors import EXIT_REFUSED, EXIT_USAGE
from lab.plugin_cache import STAND_IN_MARK
from lab.releases import PROVIDERS
from lab.settings import LabSettings
from tests.e2e.doomed_stand import HOST, PROVIDER, Doomed
from tests.pulumi_plugins import OPTION, choose, named, pytest_report_header

ROOT = Path(__file__).resolve().parents[2]
DOCKER = PROVIDERS["docker"]
PROGRAMS = ("pulumi-language-python", "pulumi-resource-kubernetes", "pulumi-resource-docker")


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """A machine with no lab, whose PATH has one directory for plugins."""
    return {
        "HOME": str(tmp_path),
        "AEGIS_LAB_DIR": str(tmp_path / "lab"),
        # Nobody listens there: no lab is up.
        "AEGIS_LAB_NETWORK": "127.2.0.0/15",
        "PATH": os.pathsep.join([str(tmp_path / "path"), "/usr/bin", "/bin"]),
    }


def place(environment: dict[str, str], names: Sequence[str], text: str = "") -> Path:
    directory = Path(environment["HOME"], "path")
    directory.mkdir(exist_ok=True)
    for name in names:
        (directory / name).write_text(f"#!/bin/sh\n{text}\n")
        (directory / name).chmod(0o755)
    return directory


def run(environment: dict[str, str], *words: str) -> subprocess.CompletedProcess[str]:
    """Collect one small file as a person would."""
    argv = [sys.executable, "-m", "pytest", "--collect-only", "-p", "no:cacheprovider", *words]
    return subprocess.run(
        [*argv, "tests/unit/components/test_timings.py"],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


class TestRun:
    """pytest itself, in a process of its own."""

    def test_on_official_plugins_says_so_with_each_path(self, environment: dict[str, str]) -> None:
        directory = place(environment, PROGRAMS)
        done = run(environment, "--plugins=official")
        assert done.returncode == 0, done.stdout + done.stderr
        head, _, _ = done.stdout.partition("collected")
        assert "Pulumi's plugins: all official\n" in head
        lines = [line for line in head.splitlines() if line.startswith("  ")]
        assert [line.split()[-2:] for line in lines] == [
            ["official", str(directory / name)] for name in PROGRAMS
        ]

    def test_on_those_that_are_there_says_first_for_which_it_has_stand_ins(
        self, environment: dict[str, str]
    ) -> None:
        place(environment, PROGRAMS[:1])
        place(environment, PROGRAMS[1:2], STAND_IN_MARK)
        done = run(environment, "--plugins=official")
        assert done.returncode == 0, done.stdout + done.stderr
        head, _, _ = done.stdout.partition("collected")
        first = "official, but stand-ins for: kubernetes provider, docker provider"
        assert f"Pulumi's plugins: {first}\n" in head

    def test_is_refused_before_anything_when_there_are_only_stand_ins(
        self, environment: dict[str, str]
    ) -> None:
        place(environment, PROGRAMS, STAND_IN_MARK)
        done = run(environment, "--plugins=official")
        assert done.returncode == EXIT_REFUSED
        assert "collected" not in done.stdout
        assert "official plugins were asked for, and none is there\n" in done.stderr
        assert "state: nothing was changed\n" in done.stderr


class TestMake:
    """What each target that tests does with `plugins=official`, said by `make -n`."""

    @staticmethod
    def would_run(*words: str) -> list[str]:
        environment = {it: os.environ[it] for it in ("PATH", "HOME") if it in os.environ}
        argv = ["make", "--dry-run", "--no-print-directory", *words, "plugins=official"]
        done = subprocess.run(
            argv, cwd=ROOT, env=environment, capture_output=True, text=True, check=True
        )
        return done.stdout.replace("\\\n", "").splitlines()

    @pytest.mark.parametrize(
        "target", ["test", "everything", "deaths", "faults", "e2e name=gate", "affected e2e=1"]
    )
    def test_says_it_first_downloads_nothing_and_tells_pytest(self, target: str) -> None:
        lines = self.would_run(*target.split())
        asked = "--plugins='official'"
        said, up = (
            next(i for i, line in enumerate(lines) if f"-m lab {it}" in line)
            for it in ("plugins", "up")
        )
        assert said < up
        assert lines[said].endswith(asked)
        assert asked not in lines[up]
        assert any("-m pytest" in line and asked in line for line in lines[up:])

    def test_downloads_for_whoever_brings_the_lab_up_by_hand(self) -> None:
        assert self.would_run("up")[-1].endswith("-m lab up --plugins='official'")

    def test_hands_on_how_many_nodes_are_asked_for(self) -> None:
        [up] = [line for line in self.would_run("up", "nodes=3") if "-m lab up" in line]
        assert up.endswith("-m lab up --nodes='3' --plugins='official'")
        assert "--nodes" not in " ".join(self.would_run("up", "nodes="))


class Config:
    """As much of pytest's configuration as is looked at."""

    def __init__(self, choice: str) -> None:
        self.stash = pytest.Stash()
        self._options = {OPTION: choice}

    def getoption(self, name: str) -> str:
        return self._options[name]


@pytest.fixture
def brought_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LabSettings:
    """A lab that runs stand-ins, on a machine that has official plugins in a home since."""
    home = tmp_path / ".pulumi" / "plugins"
    for name, version in PROVIDERS.items():
        program = home / f"resource-{name}-v{version}" / f"pulumi-resource-{name}"
        program.parent.mkdir(parents=True)
        program.touch()
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("PATH", str(place({"HOME": str(tmp_path)}, PROGRAMS[:1])))
    monkeypatch.delenv("PULUMI_HOME", raising=False)
    return settings.load({"HOME": str(tmp_path)}, ROOT)


class TestChoice:
    """What is asked for is held against what a lab that is up really runs."""

    def test_of_a_lab_that_is_not_up_is_held_against_what_it_would_run(
        self, brought_up: LabSettings
    ) -> None:
        config: Any = Config("official")
        choose(config, brought_up, is_up=False)
        assert pytest_report_header(config)[0] == "Pulumi's plugins: all official"

    def test_of_official_plugins_is_refused_on_a_lab_that_runs_stand_ins_of_them(
        self, brought_up: LabSettings
    ) -> None:
        config: Any = Config("official")
        plugin_cache.install(brought_up)
        choose(config, brought_up, is_up=True)
        docker = brought_up.pulumi_home.joinpath("plugins", f"resource-docker-v{DOCKER}")
        docker.joinpath(PROGRAMS[2]).unlink()
        docker.joinpath(PROGRAMS[2]).write_text(f"#!/bin/sh\n{STAND_IN_MARK}\n")
        with pytest.raises(pytest.exit.Exception, match="officially: docker provider") as caught:
            choose(config, brought_up, is_up=True)
        assert caught.value.returncode == EXIT_REFUSED
        assert "next:  make test plugins=official" in str(caught.value)

    def test_of_nothing_runs_on_what_the_lab_runs(self, brought_up: LabSettings) -> None:
        config: Any = Config("found")
        choose(config, brought_up, is_up=True)
        assert pytest_report_header(config)[0] == "Pulumi's plugins: the lab's stand-ins"

    def test_of_something_unknown_is_refused(self, brought_up: LabSettings) -> None:
        config: Any = Config("offical")
        with pytest.raises(pytest.exit.Exception, match="plugins=offical cannot be used") as caught:
            choose(config, brought_up, is_up=True)
        assert caught.value.returncode == EXIT_USAGE


@pytest.mark.parametrize(
    ("line", "provider", "host"),
    [
        ("/srv/plugins/resource-kubernetes-v4.32.0/pulumi-resource-kubernetes 127.0.0.1:4", 1, 0),
        ("/srv/.venv/bin/python -m lab.plugins.kubernetes 127.0.0.1:4", 1, 0),
        ("/usr/local/bin/pulumi-language-python -root /srv 127.0.0.1:4", 0, 1),
        ("/srv/.venv/bin/python -m lab.plugins.language 127.0.0.1:4", 0, 1),
        ("/srv/.venv/bin/python -u /usr/bin/pulumi-language-python-exec --monitor 1", 0, 0),
        ("/srv/plugins/resource-docker-v5.2.0/pulumi-resource-docker 127.0.0.1:4", 0, 0),
        ("/srv/.venv/bin/python -m lab.plugins.docker 127.0.0.1:4", 0, 0),
        ("", 0, 0),
    ],
)
def test_a_plugin_is_known_by_its_command_line(line: str, provider: int, host: int) -> None:
    assert named(line.split(), *PROVIDER) == bool(provider)
    assert named(line.split(), *HOST) == bool(host)


@contextmanager
def deployer(directory: Path, *plugins: str) -> Iterator[int]:
    """Start what looks like `aegis` with `pulumi` and plugins under it."""
    cli = directory / "pulumi"
    cli.write_text("\n".join(["#!/bin/sh", *(f"{it} &" for it in plugins), "echo up", "wait"]))
    cli.chmod(0o755)
    aegis = directory / "aegis"
    aegis.write_text(f'#!/bin/sh\n"{cli}" &\nwait\n')
    aegis.chmod(0o755)
    with subprocess.Popen([aegis], stdout=subprocess.PIPE, start_new_session=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"up\n"
        try:
            yield process.pid
        finally:
            subprocess.run(["kill", "--", f"-{process.pid}"], check=True)


def victims(pid: int, victim: str, tmp_path: Path, number: int = 1) -> list[int]:
    """Return a victim's ids once there are so many: a child runs its parent's program first."""
    deadline = time.monotonic() + 60
    found: list[int] = []
    while len(found) != number and time.monotonic() < deadline:
        found = Doomed(tmp_path, {}, "n")._doomed(pid, victim)
    return found


def test_the_victims_are_found_among_official_plugins_and_among_stand_ins(tmp_path: Path) -> None:
    for name in (PROVIDER[0], HOST[0]):
        # Official plugins are binaries: their command line begins with their own path.
        (tmp_path / name).write_bytes(Path("/bin/sleep").read_bytes())
        (tmp_path / name).chmod(0o755)
    sleep = f"'{sys.executable}' -c 'import time; time.sleep(60)'"
    official = [f"'{tmp_path / name}' 60" for name in (PROVIDER[0], HOST[0])]
    for plugins in (official, [f"{sleep} {PROVIDER[1]}", f"{sleep} {HOST[1]}"]):
        with deployer(tmp_path, *plugins) as pid:
            [cli] = victims(pid, "cli", tmp_path)
            [provider] = victims(pid, "provider", tmp_path)
            [host] = victims(pid, "language", tmp_path)
            assert len({pid, cli, provider, host}) == 4
            assert set(victims(pid, "everything", tmp_path, 4)) == {pid, cli, provider, host}
