"""Somebody else's program of one file on the lab, with a backend and a namespace of its own."""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from tests.e2e import stack_file
from tests.e2e.live_cluster import live_cluster
from tests.e2e.stand import ROOT, Finished, execute

PROJECT = "shop"
STACK = ("--stack", "far")
PATIENT = {"gate.unreadySeconds": "300", "gate.p99Ms": "60000"}
"""How soon a busy machine answers and starts a pod is nothing of a release's."""


@dataclass(frozen=True)
class SmallProgram:
    """The program, its stack and its namespace.

    Attributes:
        directory: The program's directory.
        environment: The environment of every command.
        namespace: Where its objects are; whose it is to make, each test says.
    """

    directory: Path
    environment: dict[str, str]
    namespace: str

    @classmethod
    def written(cls, directory: Path, program: str, settings: Mapping[str, str]) -> Self:
        """Write a program and make its stack, of which nothing is deployed yet.

        Args:
            directory: Where to; it is there and empty.
            program: Its `__main__.py`.
            settings: Its settings, besides `namespace` and `image`, which has Python.
        """
        (directory / "Pulumi.yaml").write_text(
            f"name: {PROJECT}\nruntime: {{name: python, options: {{virtualenv: .venv}}}}\n"
        )
        (directory / "__main__.py").write_text(program)
        (directory / ".venv").symlink_to(ROOT / ".venv")
        (directory / "backend").mkdir()
        environment = {
            **{k: v for k, v in os.environ.items() if k != "PULUMI_CONFIG_PASSPHRASE_FILE"},
            "PULUMI_BACKEND_URL": f"file://{directory / 'backend'}",
            "PULUMI_CONFIG_PASSPHRASE": "the tests' own",
        }
        it = cls(directory, environment, f"{PROJECT}-{secrets.token_hex(3)}")
        it.run("pulumi", "stack", "init", "far")
        image = os.environ["AEGIS_RUNTIME_IMAGE"]
        it.configure({"namespace": it.namespace, "image": image, **settings})
        return it

    def run(self, *words: str, expect: int | None = 0) -> Finished:
        """Run a command to its end, which must have this exit code; None allows any."""
        done = execute(*words, cwd=self.directory, env=self.environment)
        assert expect is None or done.code == expect, f"{words}: {done.code}\n{done.output}"
        return done

    def configure(self, settings: Mapping[str, str]) -> None:
        """Change settings; one that is empty is taken away."""
        stack_file.change(
            self.directory, "far", {key: value or None for key, value in settings.items()}
        )

    def aegis(self, *words: str, expect: int | None = 0) -> Finished:
        """Run `aegis` on the stack."""
        return self.run("aegis", *words, *STACK, expect=expect)

    def told(self, *words: str, expect: int | None = 0) -> Any:
        """Run `aegis` on the stack; return its document."""
        return json.loads(self.aegis(*words, "--json", expect=expect).standard_output)

    def kubectl(self, *words: str) -> Finished:
        """Run `kubectl` in the namespace."""
        return self.run("kubectl", "--namespace", self.namespace, *words)

    def live(self, kind: str, name: str = "") -> Any:
        """Read a live object of the namespace, or all of a kind."""
        cluster = live_cluster(self.environment)
        if name:
            return cluster.get(kind, name, self.namespace)
        return cluster.objects(kind, self.namespace)

    def leave(self, *objects: str) -> None:
        """Delete the namespace, and what is named.

        Args:
            objects: What is in no namespace, as KIND/NAME.
        """
        gone = ("--ignore-not-found", "--wait=false")
        for it in (*objects, f"namespace/{self.namespace}"):
            self.run("kubectl", "delete", it, *gone, expect=None)
