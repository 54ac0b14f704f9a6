"""A small project of ConfigMaps, with a backend and a provider of its own, opened by `aegis`."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pulumi
import pytest
import yaml

from aegis_deploy.cli.main import main
from aegis_deploy.history import stack_history, verification_store
from aegis_deploy.pulumi_cli.cli_errors import Finished
from aegis_deploy.pulumi_cli.engine import Engine
from aegis_deploy.stack.session import Session
from tests.integration.accepting_provider import VERSIONS
from tests.integration.attached_providers import attached, writing_down
from tests.integration.isolation import environment_in, place_kubeconfig, place_provider
from tests.integration.prepared import copy
from tests.integration.waiting import no_process_left, wait_until

CONFIG_MAP = "kubernetes:core/v1:ConfigMap"
PROVIDER = "tests.integration.accepting_provider"


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

    def enter(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Have this process work in its environment, too."""
        for name, value in self.environment.items():
            monkeypatch.setenv(name, value)

    def aegis(self, *arguments: str, stack: str = "one") -> int:
        """Run the command on a stack, in this process, which has to be in the environment."""
        where = ("--stack", stack, "--directory", str(self.root / "project"))
        return main([*arguments, *where])

    def tell(self, what: str, text: str = "") -> None:
        """Tell the provider what shall fail or hang, or which objects are gone."""
        (self.root / what).write_text(text)

    def done(self) -> str:
        """What the provider has begun, a line a step."""
        journal = self.root / "journal"
        return journal.read_text() if journal.exists() else ""

    def wait_for(self, step: str) -> None:
        """Wait until the provider has begun a step."""
        wait_until(lambda: step in self.done(), f"{step} did not begin")

    def run(self, *arguments: str) -> Finished:
        """Run the CLI."""
        return Engine(self.root / "project", self.environment).run(arguments)

    def pulumi(self, *arguments: str) -> None:
        """Run the CLI, which must succeed."""
        done = self.run(*arguments)
        assert done.code == 0, done.stderr

    def set(self, name: str, value: str) -> None:
        """Write one of the stack's settings into its file, in plain text, as the CLI does."""
        path = self.root / "project" / "Pulumi.one.yaml"
        settings = yaml.safe_load(path.read_text())
        settings.setdefault("config", {})[name] = value
        path.write_text(yaml.safe_dump(settings))

    def init(self) -> None:
        """Make the stack, and give it settings."""
        self.pulumi("stack", "init", "one")
        settings = ("--plaintext", "replicas=2", "--secret", "token=hunter2")
        self.pulumi("config", "set-all", "--stack", "one", *settings)

    def die_while_creating(self) -> Session:
        """Verify a release, then kill the CLI while the next one creates ``b``."""
        session = self.open()
        session.update(program=objects("a"), message="first")
        verification_store.mark_verified(session, stack_history.releases(session)[0])
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


def make(root: Path, programs: Path) -> None:
    """Make the project and its stack ``one``, for tests to copy."""
    made = _laid(root, programs)
    (root / "backend").mkdir()
    made.init()
    Engine(root / "project", made.environment).version()


@contextmanager
def copied_stand(prepared: Path, root: Path, programs: Path) -> Iterator[Stand]:
    """A stand whose stack is a copy.

    Args:
        prepared: What it is copied from.
        root: A directory for all of it.
        programs: Where the CLI is.
    """
    copy(prepared, root)
    place_provider(root, PROVIDER)
    with _ending(Stand(root, environment_in(root, programs))) as stand:
        yield stand


@contextmanager
def made_stand(
    root: Path,
    programs: Path,
    backend: str,
    environment: Mapping[str, str],
    *,
    starts: bool = False,
) -> Iterator[Stand]:
    """Make the project, and its stack ``one`` on a server.

    Args:
        root: A directory for the project.
        programs: Where the CLI is.
        backend: The backend's address.
        environment: What that backend needs in the environment.
        starts: Whether the engine starts its provider, instead of attaching to this process's.
    """
    made = _laid(root, programs)
    made.environment.update(environment, PULUMI_BACKEND_URL=backend)
    made.init()
    with _ending(made, starts=starts) as stand:
        yield stand


def _laid(root: Path, programs: Path) -> Stand:
    (root / "project").mkdir()
    (root / "project" / "Pulumi.yaml").write_text("name: shop\nruntime: python\n")
    place_provider(root, PROVIDER)
    place_kubeconfig(root)
    return Stand(root, environment_in(root, programs))


@contextmanager
def _ending(stand: Stand, *, starts: bool = False) -> Iterator[Stand]:
    with no_process_left(stand.root), attached(writing_down(stand.root, "kubernetes")) as at:
        if not starts:
            stand.environment.update(at)
        try:
            yield stand
        finally:
            (stand.root / "hang").unlink(missing_ok=True)


def objects(*names: str, data: str = "", hidden: bool = False) -> Callable[[], None]:
    """A program that declares ConfigMaps, whose data are a secret or not."""

    def program() -> None:
        content = pulumi.Output.secret({"x": data}) if hidden else {"x": data}
        for name in names:
            pulumi.CustomResource(
                CONFIG_MAP,
                name,
                {"metadata": {"name": name, "namespace": "shop"}, "data": content},
                pulumi.ResourceOptions(version=VERSIONS["kubernetes"]),
            )
        pulumi.export("version", f"1.0.{len(names)}")
        pulumi.export("secret", pulumi.Output.secret("hunter3"))

    return program


def maps(session: Session) -> list[dict[str, str]]:
    """The ConfigMaps in the stack's state."""
    resources = session.export()["deployment"]["resources"]
    return [it for it in resources if it["type"] == CONFIG_MAP]
