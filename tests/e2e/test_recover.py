"""The deployer dies at a seeded moment; `aegis recover` brings everything back in order.

A small program of its own, in a namespace of its own: a Deployment and its settings, both new with
every release. ``AEGIS_DEATHS`` says how many deaths there shall be, ``AEGIS_SEED`` which.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.stand import ROOT, Finished, execute

NAMESPACE = "history-recover"
DEATHS = int(os.environ.get("AEGIS_DEATHS", "6"))
SEED = int(os.environ.get("AEGIS_SEED", "4"))
VICTIMS = ("aegis", "cli", "provider", "aegis-and-cli")
PROGRAM = f"""\
import os
import pulumi
import pulumi_kubernetes as k8s
from pulumi import ResourceOptions

version = pulumi.Config().require("version")
labels = {{"app": "web"}}
space = k8s.core.v1.Namespace("space", metadata={{"name": "{NAMESPACE}"}})
inside = ResourceOptions(parent=space, depends_on=[space])
settings = k8s.core.v1.ConfigMap(
    f"web-{{version}}",
    metadata={{"name": f"web-{{version}}", "namespace": "{NAMESPACE}"}},
    data={{"VERSION": version}},
    opts=inside,
)
container = {{
    "name": "web",
    "image": os.environ["AEGIS_RUNTIME_IMAGE"],
    "command": ["python3", "-m", "http.server", "8000"],
    "env_from": [{{"config_map_ref": {{"name": settings.metadata["name"]}}}}],
    "readiness_probe": {{"tcp_socket": {{"port": 8000}}, "period_seconds": 1}},
}}
k8s.apps.v1.Deployment(
    "web",
    metadata={{"name": "web", "namespace": "{NAMESPACE}"}},
    spec={{
        "replicas": 2,
        "selector": {{"match_labels": labels}},
        "strategy": {{"rolling_update": {{"max_unavailable": 0, "max_surge": 1}}}},
        "template": {{
            "metadata": {{"labels": labels}},
            "spec": {{"containers": [container], "termination_grace_period_seconds": 1}},
        }},
    }},
    opts=inside,
)
pulumi.export("version", version)
"""


@dataclass
class Deployer:
    """The program, its stack, and whoever deploys it.

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

    def version(self, version: str) -> None:
        """Choose the version that is deployed next."""
        self.run("pulumi", "config", "set", "--stack", "one", "version", version)

    def history(self) -> list[dict[str, Any]]:
        """The releases, newest first."""
        shown = self.run("aegis", "history", "--stack", "one", "--json")
        found: list[dict[str, Any]] = json.loads(shown.standard_output)["releases"]
        return found

    def die(self, victim: str, seconds: float) -> None:
        """Deploy, and kill a part of it after some seconds."""
        process = subprocess.Popen(
            ["aegis", "deploy", "--yes", "--stack", "one"],
            cwd=self.directory,
            env=self.environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        time.sleep(seconds)
        children = _below(process.pid)
        clis = [pid for pid in children if _name(pid) == "pulumi"]
        plugins = [pid for cli in clis for pid in _below(cli)]
        providers = [pid for pid in plugins if "kubernetes" in _command(pid)]
        doomed = {
            "aegis": [process.pid],
            "cli": clis,
            "provider": providers[:1],
            "aegis-and-cli": [process.pid, *clis],
        }[victim]
        for pid in doomed:
            _kill(pid)
        process.wait(timeout=120)
        _wait_gone([*clis, *plugins])


@pytest.fixture
def deployer(tmp_path: Path) -> Iterator[Deployer]:
    directory = tmp_path / "program"
    directory.mkdir()
    (tmp_path / "backend").mkdir()
    (directory / "Pulumi.yaml").write_text(
        "name: shop\nruntime: {name: python, options: {virtualenv: .venv}}\n"
    )
    (directory / "__main__.py").write_text(PROGRAM)
    (directory / ".venv").symlink_to(ROOT / ".venv")
    environment = {
        **{k: v for k, v in os.environ.items() if k != "PULUMI_CONFIG_PASSPHRASE_FILE"},
        "PULUMI_BACKEND_URL": f"file://{tmp_path / 'backend'}",
        "PULUMI_CONFIG_PASSPHRASE": "the tests' own",
    }
    made = Deployer(directory, environment)
    made.run("pulumi", "stack", "init", "one")
    gate = ("--path", "shop:gate.bakeSeconds", "0")
    made.run("pulumi", "config", "set", "--stack", "one", *gate)
    try:
        yield made
    finally:
        made.run("pulumi", "cancel", "--yes", "--stack", "one", expect=None)
        flags = ("--stack", "one", "--yes", "--refresh", "--skip-preview")
        made.run("pulumi", "destroy", *flags, expect=None)
        gone = ("delete", "namespace", NAMESPACE, "--ignore-not-found")
        made.run("kubectl", *gone)


def test_every_death_is_recovered_from(deployer: Deployer) -> None:
    actions = []
    deployer.version("v0")
    deployer.run("aegis", "deploy", "--yes", "--stack", "one")
    chance = random.Random(SEED)  # noqa: S311 - to be repeated, not to be secret
    for death in range(1, DEATHS + 1):
        victim, seconds = chance.choice(VICTIMS), chance.uniform(0.3, 7.0)
        deployer.version(f"v{death}")
        deployer.die(victim, seconds)
        what = f"death {death}: {victim} after {seconds:.2f} s"
        recovered = deployer.run("aegis", "recover", "--stack", "one", "--json", expect=None)
        assert recovered.code == 0, f"{what}\n{recovered.output}"
        actions.append(json.loads(recovered.standard_output)["action"])
        print(f"{what}: {actions[-1]}")  # noqa: T201 - `pytest -s` shows what happened when
        _assert_in_order(deployer, f"{what}\n{recovered.output}")
    assert DEATHS < 6 or "restore" in actions, actions


def _assert_in_order(deployer: Deployer, what: str) -> None:
    """The newest release is verified, and what lives is it and nothing else."""
    current = next(it for it in deployer.history() if it["current"])
    assert current["verified"], what
    where = ("--namespace", NAMESPACE, "get")
    live = deployer.run("kubectl", *where, "deployment", "web", "--output", "json")
    deployment = json.loads(live.standard_output)
    pod = deployment["spec"]["template"]["spec"]["containers"][0]
    expected = f"web-{current['version']}"
    assert pod["envFrom"][0]["configMapRef"]["name"] == expected, what
    status = deployment["status"]
    assert (status["updatedReplicas"], status["availableReplicas"]) == (2, 2), what
    listed = deployer.run("kubectl", *where, "configmap", "--output", "name")
    names = {line.partition("/")[2] for line in listed.standard_output.split()}
    assert names - {"kube-root-ca.crt"} == {expected}, what
    exported = json.loads(
        deployer.run("pulumi", "stack", "export", "--stack", "one").standard_output
    )
    assert not exported["deployment"].get("pending_operations"), what
    preview = deployer.run("aegis", "recover", "--preview", "--stack", "one", "--json")
    assert json.loads(preview.standard_output)["action"] == "nothing", what


def _below(pid: int) -> list[int]:
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[1]) == pid and fields[0] != "Z":
            found.append(int(path.parent.name))
    return [*found, *(deeper for child in found for deeper in _below(child))]


def _name(pid: int) -> str:
    try:
        return (Path("/proc") / str(pid) / "comm").read_text().strip()
    except OSError:
        return ""


def _command(pid: int) -> str:
    try:
        return (Path("/proc") / str(pid) / "cmdline").read_bytes().replace(b"\0", b" ").decode()
    except OSError:
        return ""


def _kill(pid: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def _wait_gone(pids: list[int]) -> None:
    """Wait for processes to end by themselves: a CLI that was told to stop, orphaned plugins."""
    deadline = time.monotonic() + 60
    while any(_name(pid) for pid in pids) and time.monotonic() < deadline:
        time.sleep(0.1)
