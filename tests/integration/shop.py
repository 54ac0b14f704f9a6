"""A small project of ConfigMaps, with a backend and a provider of its own, opened by `aegis`."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pulumi

from ops import history, ledger
from ops.engine import Engine
from ops.failures import Finished
from ops.stack import Session
from tests.integration.accepting_provider import VERSIONS
from tests.integration.isolation import environment_in, place_provider

CONFIG_MAP = "kubernetes:core/v1:ConfigMap"
SECONDS = 30


@dataclass
class Stand:
    """A project with a stack and a provider that does what it is told.

    Attributes:
        root: Where all of it is.
        environment: The environment it is opened in.
    """

    root: Path
    environment: dict[str, str]

    def open(self, **environment: str) -> Session:
        """Open the stack."""
        return Session.open("one", self.root / "project", {**self.environment, **environment})

    def tell(self, what: str, text: str = "") -> None:
        """Tell the provider what shall fail or hang, or which objects are gone."""
        (self.root / what).write_text(text)

    def wait_for(self, step: str) -> None:
        """Wait until the provider has begun a step."""
        deadline = time.monotonic() + SECONDS
        journal = self.root / "journal"
        while not journal.exists() or step not in journal.read_text():
            assert time.monotonic() < deadline, f"{step} never began"
            time.sleep(0.02)

    def run(self, *arguments: str) -> Finished:
        """Run the CLI."""
        return Engine(self.root / "project", self.environment).run(arguments)

    def pulumi(self, *arguments: str) -> None:
        """Run the CLI, which must succeed."""
        done = self.run(*arguments)
        assert done.code == 0, done.stderr

    def die_while_creating(self) -> Session:
        """Verify a release, then kill the CLI while the next one creates ``b``."""
        session = self.open()
        session.update(program=objects("a"), message="first")
        ledger.mark_verified(session, history.releases(session)[0])
        self.tell("hang", "create ConfigMap")

        def kill() -> None:
            self.wait_for("create ConfigMap b")
            session.engine.kill()

        killer = threading.Thread(target=kill)
        killer.start()
        outcome = session.update(program=objects("a", "b"), message="second")
        killer.join()
        assert outcome.killed
        (self.root / "hang").unlink()
        return session


@contextmanager
def made_stand(
    tmp_path: Path,
    programs: Path,
    backend: str = "",
    environment: Mapping[str, str] | None = None,
) -> Iterator[Stand]:
    """Make the project and its stack ``one``; take both away.

    Args:
        tmp_path: A directory for all of it.
        programs: Where the CLI is.
        backend: The backend's address; a directory of its own when empty.
        environment: What that backend needs in the environment.
    """
    for name in ("project", "backend"):
        (tmp_path / name).mkdir()
    (tmp_path / "project" / "Pulumi.yaml").write_text("name: shop\nruntime: python\n")
    place_provider(tmp_path, "tests.integration.accepting_provider")
    own = {"PULUMI_BACKEND_URL": backend} if backend else {}
    made = Stand(tmp_path, {**environment_in(tmp_path, programs), **own, **(environment or {})})
    made.pulumi("stack", "init", "one")
    made.pulumi("config", "set", "--stack", "one", "replicas", "2")
    made.pulumi("config", "set", "--stack", "one", "--secret", "token", "hunter2")
    try:
        yield made
    finally:
        (tmp_path / "hang").unlink(missing_ok=True)
        made.run("cancel", "--yes", "--stack", "one")  # A service has nothing to cancel, mostly.
        made.pulumi("stack", "rm", "--force", "--yes", "--stack", "one")


def objects(*names: str, data: str = "") -> Callable[[], None]:
    """A program that declares ConfigMaps."""

    def program() -> None:
        for name in names:
            pulumi.CustomResource(
                CONFIG_MAP,
                name,
                {"metadata": {"name": name, "namespace": "shop"}, "data": {"x": data}},
                pulumi.ResourceOptions(version=VERSIONS["kubernetes"]),
            )
        pulumi.export("version", f"1.0.{len(names)}")
        pulumi.export("secret", pulumi.Output.secret("hunter3"))

    return program


def maps(session: Session) -> list[dict[str, str]]:
    """The ConfigMaps in the stack's state."""
    resources = session.export()["deployment"]["resources"]
    return [it for it in resources if it["type"] == CONFIG_MAP]
