"""A rollback that does not come up healthy, because the world has changed since.

The first release needs a key that somebody else provides; the second one does not. The key goes,
and then somebody rolls back.
"""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.stand import Finished, execute

PROGRAM = '''
import pulumi
import pulumi_kubernetes as kubernetes

config = pulumi.Config()
run = """
import os, signal, sys, time
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
print("started with the key", os.environ.get("KEY"), flush=True)
if os.environ["NEEDS_KEY"] == "yes" and "KEY" not in os.environ:
    time.sleep(4)
    sys.exit("the key has expired")
while True:
    time.sleep(1)
"""
key = {"configMapKeyRef": {"name": "theirs", "key": "key", "optional": True}}
kubernetes.apps.v1.Deployment(
    "web",
    metadata={"name": "web", "namespace": config.require("namespace")},
    spec={
        "selector": {"matchLabels": {"app": "web"}},
        "strategy": {"rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}},
        "template": {
            "metadata": {"labels": {"app": "web"}},
            "spec": {
                "terminationGracePeriodSeconds": 3,
                "containers": [
                    {
                        "name": "web",
                        "image": config.require("image"),
                        "command": ["python3", "-c", run],
                        "env": [
                            {"name": "NEEDS_KEY", "value": config.require("needsKey")},
                            {"name": "KEY", "valueFrom": key},
                        ],
                    }
                ],
            },
        },
    },
)
'''
STACK = ("--stack", "far")


class Stack:
    """The program, its stack and its namespace."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.namespace = f"verdict-{secrets.token_hex(3)}"
        self.environment = {
            **{k: v for k, v in os.environ.items() if k != "PULUMI_CONFIG_PASSPHRASE_FILE"},
            "PULUMI_BACKEND_URL": f"file://{directory / 'backend'}",
            "PULUMI_CONFIG_PASSPHRASE": "the tests' own",
        }

    def run(self, *words: str, expect: int = 0) -> Finished:
        """Run a command to its end, which must have this exit code."""
        done = execute(*words, cwd=self.directory, env=self.environment)
        assert done.code == expect, f"{' '.join(words)}: {done.code}\n{done.output}"
        return done

    def configure(self, key: str, value: str) -> None:
        """Change a setting."""
        self.run("pulumi", "config", "set", "--path", f"shop:{key}", value, *STACK)


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Stack]:
    """A stack that nothing was deployed from, in a namespace with the key."""
    (tmp_path / "Pulumi.yaml").write_text(
        "name: shop\nruntime:\n  name: python\n  options:\n    virtualenv: .venv\n"
    )
    (tmp_path / "__main__.py").write_text(PROGRAM)
    (tmp_path / ".venv").symlink_to(Path(__file__).resolve().parents[2] / ".venv")
    (tmp_path / "backend").mkdir()
    it = Stack(tmp_path)
    it.run("kubectl", "create", "namespace", it.namespace)
    try:
        in_namespace = ("kubectl", "--namespace", it.namespace)
        it.run(*in_namespace, "create", "configmap", "theirs", "--from-literal=key=1")
        it.run("pulumi", "stack", "init", "far")
        it.configure("namespace", it.namespace)
        it.configure("image", os.environ["AEGIS_RUNTIME_IMAGE"])
        yield it
    finally:
        it.run("kubectl", "delete", "namespace", it.namespace, "--wait=false")


def test_a_rollback_that_does_not_come_up_healthy_is_told_loudest_of_all(shop: Stack) -> None:
    # The rollback is judged by the gate of the release it restores.
    for needs, bake in (("yes", "15"), ("no", "0")):
        shop.configure("gate.bakeSeconds", bake)
        shop.configure("needsKey", needs)
        shop.run("aegis", "deploy", "--yes", *STACK)
    shop.run("kubectl", "--namespace", shop.namespace, "delete", "configmap", "theirs")
    done = shop.run("aegis", "rollback", "--yes", "--json", *STACK, expect=1)
    error = json.loads(done.standard_output)["error"]
    assert error["what"] == "THE ROLLBACK of far to release 1 DID NOT COME UP HEALTHY"
    assert "ended with exit code 1" in error["why"]
    assert "the key has expired" in error["why"], "the last log lines say why"
    assert error["state"].startswith("the stack is NOT at a verified release")
    assert "a person is needed now" in error["next"]
    releases = json.loads(shop.run("aegis", "history", "--json", *STACK).standard_output)
    newest = releases["releases"][0]
    assert (newest["restores"], newest["verified"]) == (1, False)
