"""Somebody else's program on the lab, with a backend and a namespace of its own."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aegis_deploy.model.events import Changes, Outcome
from aegis_deploy.replay import planning
from aegis_deploy.replay.choices import Choices
from aegis_deploy.replay.model import Replay
from aegis_deploy.replay.program import registering
from aegis_deploy.stack import checkpoint
from aegis_deploy.stack.session import Session
from tests.e2e import stack_file
from tests.e2e.live_cluster import live_cluster
from tests.evidence.plugin import keep
from tests.languages.programs import Language

PROGRAM = Path(__file__).with_name("foreign")
STACK = "far"
SECONDS = 600
KINDS = ("configmap", "secret", "deployment", "service", "job", "serviceaccount")
_NOT_DECLARED = ("resourceVersion", "uid", "creationTimestamp", "managedFields", "generation")
_BY_THE_CLUSTER = ("controller-uid", "deployment.kubernetes.io", "clusterIP", "job-name")


@dataclass(frozen=True)
class Foreign:
    """The program, its stack and its namespace.

    Attributes:
        directory: The program's directory.
        environment: The environment of every command.
        namespace: Where its objects are.
    """

    directory: Path
    environment: dict[str, str]
    namespace: str

    def run(self, *words: str, expect: int | None = 0) -> str:
        """Run a command to its end and return what it printed."""
        done = subprocess.run(
            words,
            cwd=self.directory,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )
        assert expect is None or done.returncode == expect, done.stdout + done.stderr
        return done.stdout + ("" if done.returncode == 0 else done.stderr)

    def choose(self, version: str, password: str) -> None:
        """Choose the program's version and its secret."""
        stack_file.change(self.directory, STACK, {"version": version})
        # Through a file's name, not through the process's arguments.
        subprocess.run(
            ["pulumi", "config", "set", "--secret", "password", "--stack", STACK],
            cwd=self.directory,
            env=self.environment,
            input=password,
            text=True,
            check=True,
            capture_output=True,
            timeout=SECONDS,
        )

    def up(self, version: str, password: str, *, expect: int | None = 0) -> str:
        """Deploy a version with plain `pulumi up`."""
        self.choose(version, password)
        return self.run(
            *("pulumi", "up", "--yes", "--skip-preview", "--non-interactive", "--color=never"),
            *("--stack", STACK),
            expect=expect,
        )

    def unchanged(self, version: str, password: str) -> None:
        """Require that a preview of a version finds nothing to do."""
        self.choose(version, password)
        self.run(
            *("pulumi", "preview", "--expect-no-changes", "--diff", "--non-interactive"),
            *("--color=never", "--stack", STACK),
        )

    def session(self) -> Session:
        """Open the stack as `aegis` does."""
        return Session.open(STACK, self.directory, self.environment)

    def plan(self, number: int, *, keep: tuple[str, ...] = ()) -> Replay:
        """Plan the restoring of a release."""
        session = self.session()
        release = next(item for item in session.store.releases() if item.number == number)
        return planning.plan(
            checkpoint.load(session, release), checkpoint.current(session), Choices(keep=keep)
        )

    def preview(self, planned: Replay) -> Changes:
        """Preview a replay."""
        return self.session().preview(
            program=registering(planned), exclude=planned.preview_exclude, refresh=True
        )

    def restore(self, planned: Replay, message: str) -> Outcome:
        """Carry a replay out."""
        session = self.session()
        if planned.prepares:
            session.import_state(planned.prepare(session.export()))
        return session.update(
            program=registering(planned), message=message, refresh=True, exclude=planned.exclude
        )

    def live(self) -> dict[str, Any]:
        """The live objects, as far as the program declares them, byte for byte."""
        cluster = live_cluster(self.environment)
        return {
            f"{item['kind']} {item['metadata']['name']}": _declared(item)
            for kind in (*KINDS, f"widgets.{self.namespace}.example.com")
            for item in cluster.objects(kind, self.namespace)
            if item["metadata"]["name"] not in ("kube-root-ca.crt", "default")
        }

    def pods(self) -> set[str]:
        """The service's pods that are not being deleted."""
        found = live_cluster(self.environment).objects("pods", self.namespace, "app=web")
        return {
            item["metadata"]["name"]
            for item in found
            if "deletionTimestamp" not in item["metadata"]
        }

    def wait_for(self, ready: Any, what: str) -> None:
        """Wait until something is so."""
        deadline = time.monotonic() + SECONDS
        while not ready():
            assert time.monotonic() < deadline, f"not within {SECONDS} s: {what}"
            time.sleep(0.1)


def _declared(item: Any) -> Any:
    """An object without what the cluster writes into it."""
    item = json.loads(json.dumps(item))
    item.pop("status", None)
    for name in _NOT_DECLARED:
        item["metadata"].pop(name, None)
    return _without_marks(item)


def _without_marks(value: Any) -> Any:
    if isinstance(value, dict):
        return {
            key: _without_marks(inner)
            for key, inner in value.items()
            if not any(mark in key for mark in _BY_THE_CLUSTER)
        }
    return [_without_marks(inner) for inner in value] if isinstance(value, list) else value


@contextmanager
def foreign(directory: Path, language: Language | None = None) -> Iterator[Foreign]:
    """Set the program up, and take down at the end whatever it made.

    Args:
        directory: Where.
        language: Which of the programs; without it the one in Python.
    """
    search = os.environ["PATH"]
    if language is None:
        for path in PROGRAM.iterdir():
            if path.is_file():
                shutil.copy(path, directory)
        (directory / ".venv").symlink_to(Path(__file__).resolve().parents[2] / ".venv")
    else:
        language.lay(directory)
        (directory / "hosts").mkdir()
        language.place_host(directory / "hosts")
        search = f"{directory / 'hosts'}:{search}"
    (directory / "backend").mkdir()
    environment = {
        **{k: v for k, v in os.environ.items() if k != "PULUMI_CONFIG_PASSPHRASE_FILE"},
        "PATH": search,
        "PULUMI_NODEJS_TRANSPILE_ONLY": "true",
        "PULUMI_BACKEND_URL": f"file://{directory / 'backend'}",
        "PULUMI_CONFIG_PASSPHRASE": "the tests' own",
    }
    it = Foreign(directory, environment, f"replay-{secrets.token_hex(3)}")
    it.run("pulumi", "stack", "init", STACK)
    settings = {"namespace": it.namespace, "image": os.environ["AEGIS_RUNTIME_IMAGE"]}
    stack_file.change(directory, STACK, settings)
    try:
        yield it
    except Exception:
        keep(it)
        raise
    finally:
        for words in (("namespace", it.namespace), ("crd", f"widgets.{it.namespace}.example.com")):
            it.run("kubectl", "delete", *words, "--ignore-not-found", expect=None)
