"""A stack in two clusters: what runs in each is judged there, and told of, and put back."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from aegis_deploy.common.errors import ExitCode
from tests.e2e.own_clusters import SECONDS, OwnCluster, own_clusters
from tests.e2e.stand import Finished, execute
from tests.evidence.plugin import keep
from tests.series import every

PROGRAM = """
import pulumi
import pulumi_kubernetes as kubernetes

config = pulumi.Config()
labels = {"app": "web"}
for name in ("east", "west"):
    # A secret in one, and a file of the project's in the other.
    given = config.require_secret("east") if name == "east" else "west.kubeconfig"
    by = kubernetes.Provider(name, kubeconfig=given, enable_server_side_apply=True)
    by = pulumi.ResourceOptions(provider=by)
    space = kubernetes.core.v1.Namespace(f"shop-{name}", metadata={"name": "shop"}, opts=by)
    kubernetes.apps.v1.Deployment(
        f"web-{name}",
        # Of one name in both. The gate awaits it, so that its provider need not.
        metadata={
            "name": "web",
            "namespace": "shop",
            "annotations": {"pulumi.com/skipAwait": "true"},
        },
        spec={
            "replicas": config.require_int("replicas"),
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {"containers": [{"name": "web", "image": "web:1"}]},
            },
        },
        opts=pulumi.ResourceOptions.merge(by, pulumi.ResourceOptions(depends_on=[space])),
    )
"""
STACK = ("--stack", "far")


@dataclass(frozen=True)
class Regions:
    """The program and its stack.

    Attributes:
        directory: The program's directory.
        environment: The environment of every command; its kubeconfig is that of `east`.
        clusters: The clusters, by name.
    """

    directory: Path
    environment: dict[str, str]
    clusters: dict[str, OwnCluster]

    def run(self, *words: str, expect: int = 0) -> Finished:
        """Run a command."""
        done = execute(*words, cwd=self.directory, env=self.environment)
        assert done.code == expect, f"{' '.join(words)}: {done.code}\n{done.output}"
        return done

    def document(self, *words: str, expect: int = 0) -> dict[str, Any]:
        """Run `aegis`; return its document."""
        done = self.run("aegis", *words, "--json", *STACK, expect=expect)
        found: dict[str, Any] = json.loads(done.standard_output)
        return found

    def replicas(self) -> dict[str, int]:
        """How many pods each is to have."""
        return {
            name: it.deployment("shop", "web")["spec"]["replicas"]
            for name, it in self.clusters.items()
        }


@pytest.fixture
def regions(tmp_path: Path) -> Iterator[Regions]:
    """The stack, of which nothing was deployed yet."""
    for name in ("clusters", "project", "backend"):
        (tmp_path / name).mkdir()
    project = tmp_path / "project"
    (project / "Pulumi.yaml").write_text(
        "name: regions\nruntime: {name: python, options: {virtualenv: .venv}}\n"
    )
    (project / "__main__.py").write_text(PROGRAM)
    (project / ".venv").symlink_to(Path(__file__).resolve().parents[2] / ".venv")
    with own_clusters(tmp_path / "clusters", ("east", "west")) as clusters:
        (tmp_path / "kubeconfig").write_text(clusters["east"].kubeconfig)
        (project / "west.kubeconfig").write_text(clusters["west"].kubeconfig)
        environment = {
            **{k: v for k, v in os.environ.items() if k != "PULUMI_CONFIG_PASSPHRASE_FILE"},
            "KUBECONFIG": str(tmp_path / "kubeconfig"),
            "PULUMI_BACKEND_URL": f"file://{tmp_path / 'backend'}",
            "PULUMI_CONFIG_PASSPHRASE": "the tests' own",
        }
        it = Regions(project, environment, clusters)
        it.run("pulumi", "stack", "init", "far")
        # Not through the process's arguments: it holds a token.
        subprocess.run(
            ["pulumi", "config", "set", "--secret", "east", *STACK],
            cwd=project,
            env=environment,
            input=clusters["east"].kubeconfig,
            text=True,
            check=True,
            capture_output=True,
            timeout=SECONDS,
        )
        for key, value in (("replicas", "2"), ("gate.bakeSeconds", "0")):
            it.run("pulumi", "config", "set", "--path", key, value, *STACK)
        try:
            yield it
        except Exception:
            keep(it)
            raise


@every
def test_what_runs_in_each_is_judged_told_and_put_back(regions: Regions) -> None:
    east, west = regions.clusters["east"], regions.clusters["west"]
    # Sick where no setting of the stack's leads to.
    west.healthy = False
    found = regions.document("deploy", "--yes", "--no-rollback", expect=ExitCode.NOT_ROLLED_BACK)
    assert "(provider west)" in found["error"]["why"]
    assert regions.document("status", "--no-drift")["healthy"] is False

    west.healthy = True
    regions.document("deploy", "--yes")
    found = regions.document("status")
    assert found["release"]["verified"]
    said = {it["provider"]: (it["name"], it["complete"]) for it in found["workloads"]}
    assert said == {"east": ("web", True), "west": ("web", True)}
    assert found["drift"]["drifted"] is False

    # It is the next release's turn; sick is the cluster whose kubeconfig is a secret.
    east.healthy = False
    regions.run("pulumi", "config", "set", "replicas", "3", *STACK)
    regions.document("deploy", "--yes", "--no-rollback", expect=ExitCode.NOT_ROLLED_BACK)
    assert regions.replicas() == {"east": 3, "west": 3}
    east.healthy = True
    regions.run("aegis", "rollback", "--yes", *STACK)
    assert regions.replicas() == {"east": 2, "west": 2}

    # Somebody's hand, in one of them.
    change = {"metadata": {"labels": {"who": "me"}}, "spec": {"paused": True}}
    west.edit("shop", "web", change)
    found = regions.document("drift", expect=ExitCode.DIFFERENT)
    assert [it["provider"] for it in found["objects"]] == ["west"]
    before = east.deployment("shop", "web")["metadata"]["generation"]
    regions.run("aegis", "drift", "--fix", "--yes", *STACK)
    assert regions.document("drift")["drift"] is False
    assert "labels" not in west.deployment("shop", "web")["metadata"]
    assert east.deployment("shop", "web")["metadata"]["generation"] == before

    # One of them goes away.
    west.end()
    found = regions.document("status")
    assert "provider west" in found["unreachable"]
    assert [(it["provider"], it["complete"]) for it in found["workloads"]] == [("east", True)]
    east.edit("shop", "web", {"metadata": {"labels": {"who": "me"}}})
    found = regions.document("drift", expect=ExitCode.DIFFERENT)
    assert [it["provider"] for it in found["objects"]] == ["east"]
    assert "provider west" in found["unreached"][0]
    found = regions.document("gate", "check", expect=ExitCode.GATE_FAILED)
    assert "(provider west)" in found["error"]["why"]
