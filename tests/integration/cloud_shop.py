"""A stack at the stand-in of Pulumi Cloud, and what `aegis` says of it."""

from __future__ import annotations

import copy
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from aegis_deploy.backend.cloud_store import ServiceStore
from aegis_deploy.cli.main import main
from aegis_deploy.pulumi_cli.engine import Engine
from tests.integration.cloud_service import TOKEN, Cloud, serving
from tests.integration.cloud_stacks import Stack
from tests.integration.shop import Stand, copied_stand, made_stand, maps
from tests.integration.test_state_faults import PROGRAM

STACK = "ann/shop/one"
BARE = "acme/shop/bare"


@dataclass
class Shop:
    """A stack at the service, and what `aegis` says of it.

    Attributes:
        cloud: The service.
        stand: The project.
        capture: Reads what was printed.
        said: What the last command printed.
    """

    cloud: Cloud
    stand: Stand
    capture: pytest.CaptureFixture[str]
    said: str = field(default="", init=False)

    def aegis(self, words: str, stack: str = "one") -> int:
        """Run a command on the stack; no secret may be in what it prints."""
        self.capture.readouterr()
        project = str(self.stand.root / "project")
        code = main([*words.split(), "--stack", stack, "--directory", project])
        out, err = self.capture.readouterr()
        self.said = out + err
        for hidden in (TOKEN, "hunter2", "hunter3"):
            assert hidden not in self.said
        return code

    def deploys(self, version: str) -> int:
        """Deploy a version."""
        self.stand.pulumi("config", "set", "version", version, "--stack", "one")
        return self.aegis("deploy --yes")

    def live(self) -> list[str]:
        """What the state says is deployed."""
        return [it["id"] for it in maps(self.stand.open())]

    @property
    def stack(self) -> Stack:
        """The stack, as the service has it."""
        return self.cloud.stacks[STACK]


@contextmanager
def running_service() -> Iterator[Cloud]:
    """The service; that it was asked for something it does not serve fails the test."""
    with serving(Cloud()) as cloud:
        yield cloud
        assert cloud.unknown == [], "the CLI asked for what the stand-in does not serve"


@dataclass(frozen=True)
class Prepared:
    """A project with its stack at a service, for tests to copy.

    Attributes:
        root: The project's files.
        programs: Where the CLI is.
        stack: The stack, as the service has it.
    """

    root: Path
    programs: Path
    stack: Stack


def prepare(root: Path, programs: Path) -> Prepared:
    """Make a project and its stack ``one`` at a service."""
    with (
        serving(Cloud()) as cloud,
        made_stand(root, programs, cloud.url, {"PULUMI_ACCESS_TOKEN": TOKEN}) as made,
    ):
        Engine(root / "project", made.environment).version()
    return Prepared(root, programs, cloud.stacks[STACK])


@contextmanager
def copied_shop(
    service: Cloud,
    prepared: Prepared,
    root: Path,
    monkeypatch: pytest.MonkeyPatch,
    capture: pytest.CaptureFixture[str],
) -> Iterator[Shop]:
    """A project and its stack ``one`` at the service, which are copies."""
    _hurry(monkeypatch)
    service.stacks[STACK] = copy.deepcopy(prepared.stack)
    environment = {"PULUMI_BACKEND_URL": service.url, "PULUMI_ACCESS_TOKEN": TOKEN}
    with copied_stand(prepared.root, root, prepared.programs) as stand:
        stand.environment.update(environment)
        stand.enter(monkeypatch)
        try:
            yield Shop(service, stand, capture)
        finally:
            service.fault, service.users[TOKEN] = None, "ann"
            service.stacks.clear()


@contextmanager
def made_store(service: Cloud, directory: Path) -> Iterator[ServiceStore]:
    """Make a stack that no CLI is needed for."""
    service.stacks[BARE] = Stack(BARE, {"pulumi:project": "shop"})
    try:
        yield ServiceStore(Engine(directory, {}), BARE, service.url, TOKEN)
    finally:
        service.fault, service.page_limit = None, 100
        del service.stacks[BARE]


def _hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody else writes tags here, whom a writer would have to wait for."""
    for name in ("_CLAIM_SECONDS", "_MARK_SECONDS"):
        monkeypatch.setattr(f"aegis_deploy.backend.cloud_store.{name}", 0.0)


def with_program(stand: Stand) -> None:
    """Give the project a program of its own, so that `aegis deploy` can run it."""
    project = stand.root / "project"
    (project / "__main__.py").write_text(PROGRAM)
    (project / ".venv").symlink_to(sys.prefix)
    (project / "Pulumi.yaml").write_text(
        "name: shop\nruntime: {name: python, options: {virtualenv: .venv}}\n"
    )
