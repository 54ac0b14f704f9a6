"""Restoring a release whose image was built from a tree that is another one by now."""

from __future__ import annotations

import os
import secrets
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pulumi
import pytest

from aegis_deploy.pulumi_cli.engine import Engine
from aegis_deploy.replay import planning
from aegis_deploy.replay.program import registering
from aegis_deploy.stack import checkpoint
from aegis_deploy.stack.session import Session
from tests.e2e.live_cluster import live_cluster

_LABELS = {"app": "built"}


@dataclass(frozen=True)
class Built:
    """A program that builds its image, in a namespace of its own.

    Attributes:
        session: Its stack.
        namespace: Where its Deployment is.
        tree: What the image is built from.
    """

    session: Session
    namespace: str
    tree: Path

    def program(self, tag: str) -> Callable[[], None]:
        """The program, which tags its image like this."""

        def run() -> None:
            import pulumi_docker as docker
            import pulumi_kubernetes as kubernetes

            namespace = kubernetes.core.v1.Namespace("home", metadata={"name": self.namespace})
            image = docker.Image(
                "web",
                image_name=f"{os.environ['AEGIS_REGISTRY']}/{self.namespace}:{tag}",
                build=docker.DockerBuildArgs(
                    context=str(self.tree),
                    platform="linux/amd64",
                    builder_version=docker.BuilderVersion.BUILDER_V1,
                ),
            )
            pod = {
                "terminationGracePeriodSeconds": 1,
                "containers": [{"name": "web", "image": image.repo_digest}],
            }
            kubernetes.apps.v1.Deployment(
                "web",
                metadata={"name": "web", "namespace": namespace.metadata["name"]},
                spec={
                    "selector": {"matchLabels": _LABELS},
                    "template": {"metadata": {"labels": _LABELS}, "spec": pod},
                },
            )
            pulumi.export("image", image.repo_digest)

        return run

    def up(self, tag: str) -> None:
        """Deploy it."""
        outcome = self.session.update(program=self.program(tag), message=tag)
        assert outcome.succeeded, outcome.failures

    def running(self) -> str:
        """The image that the Deployment runs."""
        web = live_cluster(self.session.environment).get("deployment", "web", self.namespace)
        pod: dict[str, Any] = web["spec"]["template"]["spec"]
        return str(pod["containers"][0]["image"])

    def image(self) -> dict[str, Any]:
        """The image in the state."""
        resources = self.session.export(show_secrets=True)["deployment"]["resources"]
        found: dict[str, Any] = next(it for it in resources if it["type"].startswith("docker:"))
        return found


@pytest.fixture
def built(tmp_path: Path) -> Iterator[Built]:
    """The program, its stack and its namespace."""
    directory, tree = tmp_path / "project", tmp_path / "tree"
    for made in (directory, tree, tmp_path / "backend"):
        made.mkdir()
    (directory / "Pulumi.yaml").write_text("name: built\nruntime: python\n")
    base = os.environ["AEGIS_RUNTIME_IMAGE"]
    run = 'ENTRYPOINT ["python3", "-m", "http.server", "8000"]'
    (tree / "Dockerfile").write_text(f"FROM {base}\nCOPY word /word\n{run}\n")
    (tree / "word").write_text("first")
    environment = {
        **{k: v for k, v in os.environ.items() if k != "PULUMI_CONFIG_PASSPHRASE_FILE"},
        "PULUMI_BACKEND_URL": f"file://{tmp_path / 'backend'}",
        "PULUMI_CONFIG_PASSPHRASE": "the tests' own",
    }
    Engine(directory, environment).expect("stack", "init", "far")
    namespace = f"replay-{secrets.token_hex(3)}"
    try:
        yield Built(Session.open("far", directory, environment), namespace, tree)
    finally:
        _kubectl("delete", "namespace", namespace, "--ignore-not-found")


def test_the_image_of_the_release_runs_again_and_nothing_is_built(built: Built) -> None:
    built.up("one")
    first = built.running()
    (built.tree / "word").write_text("second")
    built.up("two")
    second, state = built.running(), built.image()
    assert first != second
    (built.tree / "word").write_text("third")
    release = built.session.store.releases()[-1]
    planned = planning.plan(*checkpoint.both(built.session, release))
    assert planned.exclude == (state["urn"],)
    changes = built.session.preview(
        program=registering(planned), exclude=planned.preview_exclude, refresh=True
    )
    assert changes.summary.get("update") == 1
    built.session.import_state(planned.prepare(built.session.export()))
    outcome = built.session.update(
        program=registering(planned), message="back", refresh=True, exclude=planned.exclude
    )
    assert outcome.succeeded, outcome.failures
    assert built.running() == first
    assert {step.type for step in outcome.steps} == {"kubernetes:apps/v1:Deployment"}
    assert built.image()["outputs"] != state["outputs"]
    # The state has the release's image again: its program, in its tree, builds nothing.
    (built.tree / "word").write_text("first")
    assert set(built.session.preview(program=built.program("one")).summary) == {"same"}
    (built.tree / "word").write_text("third")
    # The program goes on from there.
    built.up("three")
    assert built.running() not in (first, second)


def _kubectl(*words: str) -> str:
    done = subprocess.run(
        ["kubectl", *words], capture_output=True, text=True, timeout=120, check=True
    )
    return done.stdout
