"""A real engine with a file backend of its own, for each test, and no cluster."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from aegis_deploy.pulumi_cli.engine import Engine
from lab import plugin_cache
from lab.plugin_cache import EXECUTOR, LANGUAGE, official_language
from lab.settings import load
from lab.toolchain import PULUMI, Toolchain
from tests.integration import servers, shop
from tests.integration.accepting_provider import VERSIONS
from tests.integration.attached_providers import attached, writing_down
from tests.integration.databases import PostgresServer, postgres_server
from tests.integration.isolation import environment_in, place_provider, write_program
from tests.integration.prepared import copy, once
from tests.integration.servers import Server
from tests.integration.waiting import SECONDS, no_process_left
from tests.rendering import ROOT, TOKEN

PROGRAM = ("Pulumi.yaml", "__main__.py", "components", "aegis_deploy", "pyproject.toml")
GATE = re.compile(r"^  aegis:gate:\n(    .*\n)+", re.MULTILINE)
HALF_WRITTEN = shutil.ignore_patterns("*.pyc.*")


@dataclass(frozen=True)
class Finished:
    """A run of the CLI that has ended.

    Attributes:
        code: Its exit code.
        text: Everything it printed.
    """

    code: int
    text: str


@dataclass
class Project:
    """A copy of the program in a directory of its own, with one stack.

    Attributes:
        directory: Where the copy is.
        stack: The stack's name.
        environment: The environment the CLI runs in.
    """

    directory: Path
    stack: str
    environment: dict[str, str] = field(repr=False)

    def pulumi(self, *arguments: str) -> Finished:
        """Run the CLI on the stack; it never asks and never colours."""
        done = subprocess.run(
            ["pulumi", "--non-interactive", "--color=never", *arguments],
            cwd=self.directory,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )
        return Finished(done.returncode, done.stdout + done.stderr)

    def expect(self, *arguments: str) -> Finished:
        """Run the CLI and fail the test when it fails."""
        done = self.pulumi(*arguments)
        assert done.code == 0, done.text
        return done

    def up(self) -> Finished:
        """Update the stack, without the preview."""
        return self.pulumi("up", "--yes", "--skip-preview", "--stack", self.stack)

    def set(self, name: str, value: str, *options: str) -> None:
        """Set one of the stack's settings."""
        self.expect("config", "set", *options, "--stack", self.stack, name, "--", value)

    def state(self) -> list[dict[str, Any]]:
        """The resources in the state, but for the stack itself and the providers."""
        exported = json.loads(self.expect("stack", "export", "--stack", self.stack).text)
        return [
            item
            for item in exported["deployment"].get("resources", [])
            if not item["type"].startswith("pulumi:")
        ]

    @property
    def journal(self) -> Path:
        """What the providers did, a line a step."""
        return self.directory.with_name("journal")

    def steps(self) -> list[str]:
        """What the providers did since this was asked last: ``create Deployment aegis-api``."""
        if not self.journal.exists():
            return []
        steps = self.journal.read_text().splitlines()
        self.journal.unlink()
        return steps

    def fail(self, step: str | None) -> None:
        """Let a step fail from now on, such as ``update Deployment``; None lets none."""
        self.journal.with_name("fail").write_text(step or "")


def _find_cli() -> Path | None:
    found = shutil.which("pulumi")
    if found:
        return Path(found)
    own = plugin_cache.cli(load(os.environ, ROOT))
    return own if own.exists() else None


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    """A PostgreSQL that runs as long as a file's tests."""
    with postgres_server() as running:
        yield running


@pytest.fixture(scope="module")
def s3() -> Iterator[Server]:
    """A server of S3, of a file's own."""
    with servers.s3() as it:
        yield it


@pytest.fixture(scope="session")
def cli() -> Path:
    """The CLI."""
    found = _find_cli()
    if found is None:
        pytest.skip("no pulumi CLI on PATH, and `make up` has built none")
    return found


@pytest.fixture(scope="session")
def programs(tmp_path_factory: pytest.TempPathFactory, cli: Path) -> Path:
    """A directory with the CLI and a Python language host, official or the lab's."""
    directory = tmp_path_factory.mktemp("bin")
    (directory / "pulumi").symlink_to(cli)
    host = official_language(cli, os.environ["PATH"])
    if host is not None:
        (directory / LANGUAGE).symlink_to(host)
        return directory
    # The lab's stand-in: this checkout's, whichever one the lab was brought up from.
    executor = Toolchain(load(os.environ, ROOT)).path(PULUMI).with_name(EXECUTOR)
    if not executor.exists():
        pytest.skip(f"no {LANGUAGE} on PATH, and the lab's stand-in has no {executor.name}")
    write_program(directory / LANGUAGE, "lab.plugins.language", AEGIS_LANGUAGE_EXEC=str(executor))
    (directory / EXECUTOR).symlink_to(executor)
    return directory


@pytest.fixture(scope="session")
def made_shop(tmp_path_factory: pytest.TempPathFactory, programs: Path) -> Path:
    """What `shop.copied_stand` copies."""
    return once(tmp_path_factory, "shop", partial(shop.make, programs=programs))


@pytest.fixture
def stand(
    tmp_path: Path, programs: Path, made_shop: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[shop.Stand]:
    """A copied stand, and this process works in its environment."""
    with shop.copied_stand(made_shop, tmp_path, programs) as made:
        made.enter(monkeypatch)
        yield made


@pytest.fixture(scope="session")
def made_dead(tmp_path_factory: pytest.TempPathFactory, programs: Path, made_shop: Path) -> Path:
    """The same after a verified release, and the CLI's death while it created ``b`` of the next."""

    def make(root: Path) -> None:
        with shop.copied_stand(made_shop, root, programs) as stand:
            stand.die_while_creating()

    return once(tmp_path_factory, "dead", make)


@pytest.fixture(scope="session")
def made_project(tmp_path_factory: pytest.TempPathFactory, programs: Path) -> Callable[[str], Path]:
    """Gives the project with a stack of its own, as `project` copies it."""

    def make(root: Path, stack: str) -> None:
        _lay_program(root / "project")
        (root / "backend").mkdir()
        made = Project(root / "project", stack, _environment(root, programs))
        made.expect("stack", "init", stack)
        Engine(made.directory, made.environment).version()

    return lambda stack: once(tmp_path_factory, f"aegis-{stack}", partial(make, stack=stack))


@pytest.fixture(scope="session")
def made_deployed(
    tmp_path_factory: pytest.TempPathFactory, programs: Path, made_project: Callable[[str], Path]
) -> Path:
    """The project as `deployed` copies it."""

    def make(root: Path) -> None:
        with _copied(made_project("staging"), root, programs, "staging") as made:
            made.set("aegis:apiToken", TOKEN, "--secret")
            done = made.up()
            assert done.code == 0, done.text

    return once(tmp_path_factory, "aegis-deployed", make)


@pytest.fixture
def project(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    programs: Path,
    made_project: Callable[[str], Path],
) -> Iterator[Project]:
    """A project with a stack; staging, unless the test is parametrised with another."""
    stack = getattr(request, "param", "staging")
    with _copied(made_project(stack), tmp_path, programs, stack) as made:
        yield made


@pytest.fixture
def deployed(tmp_path: Path, programs: Path, made_deployed: Path) -> Iterator[Project]:
    """A project whose stack, staging, runs and has a secret."""
    with _copied(made_deployed, tmp_path, programs, "staging") as made:
        yield made


@contextmanager
def _copied(prepared: Path, root: Path, programs: Path, stack: str) -> Iterator[Project]:
    copy(prepared, root)
    for provider in VERSIONS:
        place_provider(root, "tests.integration.accepting_provider", provider)
    with no_process_left(root), attached(writing_down(root, *VERSIONS)) as at:
        yield Project(root / "project", stack, {**_environment(root, programs), **at})


def _lay_program(directory: Path) -> None:
    directory.mkdir()
    for name in PROGRAM:
        if (ROOT / name).is_dir():
            # Python may be writing bytecode there just now.
            shutil.copytree(ROOT / name, directory / name, ignore=HALF_WRITTEN)
        else:
            shutil.copy(ROOT / name, directory / name)
    for path in ROOT.glob("Pulumi.*.yaml"):
        # The lab keeps its stacks' salt there; these stacks get their own.
        lines = path.read_text().splitlines(keepends=True)
        kept = [line for line in lines if not line.startswith("encryptionsalt:")]
        # There are no pods here that a gate could watch.
        (directory / path.name).write_text(GATE.sub("", "".join(kept)))
    (directory / ".venv").symlink_to(sys.prefix)


def _environment(root: Path, programs: Path) -> dict[str, str]:
    return {
        **environment_in(root, programs),
        "AEGIS_REGISTRY": "registry.example.com",
        "AEGIS_GIT_SHA": "0123456789abcdef0123456789abcdef01234567",
        "KUBECONFIG": str(root / "there-is-no-cluster"),
    }
