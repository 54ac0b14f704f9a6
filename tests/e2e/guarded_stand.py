"""A small service of its own on the lab, whose deployers die, stand still and meet each other."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from tests.e2e import plain_http, release_history, stack_file
from tests.e2e.live_cluster import live_cluster
from tests.e2e.running import Running, begin
from tests.e2e.server import GRACE_SECONDS, SERVER
from tests.e2e.stand import CPU_REQUEST, ROOT, Finished, execute
from tests.evidence.plugin import keep

NAMESPACE = "guard-tests"
STACK = "one"
SECONDS = 600
PROGRAM = f"""\
import os
import pulumi
import pulumi_kubernetes as k8s
from pulumi import ResourceOptions

config = pulumi.Config()
version = config.require("version")
labels = {{"app": "web"}}
space = k8s.core.v1.Namespace("space", metadata={{"name": "{NAMESPACE}"}})
inside = ResourceOptions(parent=space, depends_on=[space])
environment = {{"SAYS": version, **(config.get_object("environment") or {{}})}}
container = {{
    "name": "web",
    "image": os.environ["AEGIS_RUNTIME_IMAGE"],
    "command": ["python3", "-u", "-c", open("server.txt").read()],
    "env": [{{"name": key, "value": value}} for key, value in environment.items()],
    "ports": [{{"name": "http", "container_port": 8000}}],
    "readiness_probe": {{
        "http_get": {{"path": "/readyz", "port": "http"}},
        "period_seconds": 1,
        "failure_threshold": 100,
        "timeout_seconds": 10,
    }},
    "resources": {{"requests": {{"cpu": "{CPU_REQUEST}"}}}},
    "lifecycle": {{"pre_stop": {{"sleep": {{"seconds": 2}}}}}},
}}
k8s.core.v1.Service(
    "web",
    metadata={{
        "name": "web",
        "namespace": "{NAMESPACE}",
        "annotations": {{"pulumi.com/skipAwait": "true"}},
    }},
    spec={{"selector": labels, "ports": [{{"name": "http", "port": 80, "target_port": "http"}}]}},
    opts=inside,
)
k8s.apps.v1.Deployment(
    "web",
    metadata={{"name": "web", "namespace": "{NAMESPACE}"}},
    spec={{
        "replicas": 2,
        "min_ready_seconds": 1,
        "selector": {{"match_labels": labels}},
        "strategy": {{"rolling_update": {{"max_unavailable": 0, "max_surge": 1}}}},
        "template": {{
            "metadata": {{"labels": {{**labels, "app.kubernetes.io/version": version}}}},
            "spec": {{
                "containers": [container],
                "termination_grace_period_seconds": {GRACE_SECONDS},
            }},
        }},
    }},
    opts=inside,
)
pulumi.export("version", version)
"""


@dataclass
class Service:
    """The program, its stack and whoever deploys it.

    Attributes:
        directory: The program's directory.
        environment: The environment of every command.
    """

    directory: Path
    environment: dict[str, str]

    def run(self, *argv: str, expect: int | None = 0) -> Finished:
        """Run a command to its end."""
        done = execute(*argv, cwd=self.directory, env=self.environment)
        assert expect is None or done.code == expect, f"{argv}: {done.code}\n{done.output}"
        return done

    def choose(self, version: str, **environment: str) -> None:
        """Choose the version that is deployed next, and its pods' environment."""
        pods = {f"environment.{name}": value for name, value in environment.items()}
        settings = {"version": version, "environment": None, **pods}
        stack_file.change(self.directory, STACK, settings)

    def begin(self, *argv: str) -> Running:
        """Begin a command in a process group of its own."""
        return begin(argv, self.directory, self.environment, SECONDS)

    def current(self) -> dict[str, Any]:
        """What the history says is deployed."""
        return release_history.current(self, STACK)

    def live(self) -> dict[str, Any]:
        """The Deployment in the cluster."""
        return live_cluster(self.environment).get("deployment", "web", NAMESPACE)

    def serves(self) -> str:
        """The version that the Deployment asks for."""
        template = self.live()["spec"]["template"]["metadata"]["labels"]
        return str(template["app.kubernetes.io/version"])

    def pods(self, version: str) -> int:
        """How many pods of a version there are."""
        label = f"app.kubernetes.io/version={version}"
        return len(live_cluster(self.environment).objects("pods", NAMESPACE, label))

    @property
    def url(self) -> str:
        """Where the service answers from this machine."""
        web = live_cluster(self.environment).get("service", "web", NAMESPACE)
        return f"http://{web['spec']['clusterIP']}"

    @property
    def guards(self) -> list[Path]:
        """The logs of guards."""
        return sorted(Path(self.environment["PULUMI_HOME"]).glob("aegis/guard-shop-one-*.log"))


def until(ready: Callable[[], bool], what: str, told: Callable[[], str] = str) -> None:
    """Wait until something is so."""
    deadline = time.monotonic() + SECONDS
    while not ready():
        assert time.monotonic() < deadline, f"not within {SECONDS} s: {what}\n{told()}"
        time.sleep(0.1)


@contextmanager
def service(directory: Path) -> Iterator[Service]:
    """Deploy version v1, verified; take everything down at the end."""
    program, backend = directory / "program", directory / "backend"
    program.mkdir()
    backend.mkdir()
    (program / "Pulumi.yaml").write_text(
        "name: shop\nruntime: {name: python, options: {virtualenv: .venv}}\n"
    )
    (program / "__main__.py").write_text(PROGRAM)
    (program / "server.txt").write_text(SERVER)
    (program / ".venv").symlink_to(ROOT / ".venv")
    environment = {
        **{k: v for k, v in os.environ.items() if k != "PULUMI_CONFIG_PASSPHRASE_FILE"},
        "PULUMI_BACKEND_URL": f"file://{backend}",
        "PULUMI_CONFIG_PASSPHRASE": "the tests' own",
    }
    made = Service(program, environment)
    made.run("kubectl", "delete", "namespace", NAMESPACE, "--ignore-not-found")
    before = set(made.guards)
    made.run("pulumi", "stack", "init", STACK)
    gate = {"gate.bakeSeconds": "1", "gate.unreadySeconds": "300", "gate.p99Ms": "60000"}
    stack_file.change(program, STACK, gate)
    try:
        made.choose("v1")
        made.run("aegis", "deploy", "--yes", "--stack", STACK)
        until(lambda: _answers(made.url), "the Service answers")
        yield made
    except Exception:
        keep(made)
        raise
    finally:
        made.run("kubectl", "delete", "namespace", NAMESPACE, "--ignore-not-found", "--wait=false")
        for log in set(made.guards) - before:
            log.unlink()


def _answers(url: str) -> bool:
    try:
        return plain_http.get(f"{url}/version", seconds=2).status_code == 200
    except httpx.HTTPError:
        return False
