"""Two deployers of one stack, each on a machine of its own: processes, clock, home, checkout.

What they share is the backend and the cluster, and the marks of `marked_engine`, from which a test
knows what happened in which order.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from tests.integration import cli_with_a_clock, marked_engine
from tests.integration.accepting_provider import VERSIONS
from tests.integration.cluster_over_http import ClusterOverHttp
from tests.integration.isolation import environment_in, write_program
from tests.integration.process_spaces import IN_A_SPACE
from tests.integration.shop import CONFIG_MAP, Stand, made_stand
from tests.integration.waiting import SECONDS
from tests.rendering import ROOT

CLOCKS = {"ann": 150.0, "bob": -150.0}
"""How far the clocks of the machines are off, in seconds."""
BAD = "bad"
"""What the name of a release begins with that the cluster refuses a part of."""
_SETTLED = ("a", "b")
_STEP_SECONDS = 0.1
_LOOK_SECONDS = 0.002
_PROGRAM = f"""
import os
import pulumi

release = pulumi.Config().require("release")


def done(_):
    if not pulumi.runtime.is_dry_run():
        with open(os.environ["AEGIS_TEST_COMPLETED"], "a") as file:
            file.write(release + "\\n")


made = [
    pulumi.CustomResource(
        "{CONFIG_MAP}",
        name,
        {{
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {{"name": name, "namespace": "shop"}},
            "data": {{"x": release}},
        }},
        pulumi.ResourceOptions(version="{VERSIONS["kubernetes"]}"),
    )
    for name in (*{_SETTLED}, "of-" + release)
]
pulumi.Output.all(*[it.id for it in made]).apply(done)
"""


def content(release: str) -> dict[str, str]:
    """What the cluster has once a release is deployed."""
    return dict.fromkeys((*_SETTLED, f"of-{release}"), release)


class Cluster(ClusterOverHttp):
    """A cluster that takes its time, and refuses a part of what is bad."""

    def answer(self, method: str, target: str, body: Any) -> tuple[int, Any]:
        """Answer a request, a change after a while."""
        if method not in {"GET", "HEAD"} and "dryRun" not in target:
            time.sleep(_STEP_SECONDS)
            if method == "POST" and body["metadata"]["name"].startswith(f"of-{BAD}"):
                said = {"kind": "Status", "code": 422, "reason": "Invalid"}
                return 422, {**said, "message": "it is of a bad release"}
        return super().answer(method, target, body)


@dataclass(frozen=True)
class Ended:
    """What became of a command.

    Attributes:
        code: Its exit code; negative when it was killed.
        text: What it said.
        document: The JSON document on its standard output, if there is one.
    """

    code: int
    text: str
    document: Any = None


@dataclass(frozen=True)
class Doom:
    """When a deployer's machine is switched off.

    Attributes:
        moment: What is waited for: ``started``, ``engine``, which is that the CLI changes the
            stack, or ``recorded``, which is that it has ended.
        after: How many seconds after that.
    """

    moment: str
    after: float

    def __str__(self) -> str:
        """Say it."""
        return f"killed {self.after:.2f} s after {self.moment}"


@dataclass
class Deployer:
    """Somebody who deploys, from a machine of one's own.

    Attributes:
        name: What the machine's engines are marked with.
        root: What is on the machine.
        environment: What its commands run in.
        marks: Where engines leave their marks.
    """

    name: str
    root: Path
    environment: dict[str, str]
    marks: Path
    _running: subprocess.Popen[bytes] | None = field(default=None, repr=False)
    _before: int = 0

    def begin(self, *words: str, release: str = "") -> None:
        """Begin a command of `aegis` in a process namespace of its own.

        Args:
            words: The command's.
            release: What the program is to deploy.
        """
        if release:
            self._choose(release)
        self._before = self._engines()
        command = [*IN_A_SPACE, sys.executable, "-m", "tests.integration.deployer_with_a_clock"]
        command += [str(CLOCKS[self.name]), *words, "--json", "--stack", "one"]
        with self._place("out").open("wb") as out, self._place("err").open("wb") as err:
            self._running = subprocess.Popen(
                command,
                cwd=self.root / "project",
                env={**self.environment, "PYTHONPATH": str(ROOT)},
                stdout=out,
                stderr=err,
            )

    def meet(self, doom: Doom) -> bool:
        """Switch the machine off at a moment; False when the command had ended before."""
        assert self._running is not None
        while self._running.poll() is None and not self._is_at(doom.moment):
            time.sleep(_LOOK_SECONDS)
        with suppress(subprocess.TimeoutExpired):
            self._running.wait(doom.after)
        return self._switch_off()

    def end(self) -> Ended:
        """Wait for the command's end."""
        assert self._running is not None
        try:
            code = self._running.wait(4 * SECONDS)
        except subprocess.TimeoutExpired:
            self._switch_off()
            raise
        out, err = self._place("out").read_text(), self._place("err").read_text()
        with suppress(ValueError):
            return Ended(code, out + err, json.loads(out))
        return Ended(code, out + err)

    def run(self, *words: str, release: str = "") -> Ended:
        """Run a command to its end."""
        self.begin(*words, release=release)
        return self.end()

    def _switch_off(self) -> bool:
        """End all that runs on the machine at once; False when nothing did."""
        assert self._running is not None
        if self._running.poll() is not None:
            return False
        pid = self._running.pid
        # The kernel ends a namespace with its first process, and the latter once all are gone.
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        for victim in map(int, children) if children else (pid,):
            with suppress(ProcessLookupError):
                os.kill(victim, signal.SIGKILL)
        self._running.wait()
        return True

    def _is_at(self, moment: str) -> bool:
        begun = moment == "started" or self._engines() > self._before
        return begun and not (moment == "recorded" and marked_engine.is_running(self.marks))

    def _engines(self) -> int:
        """How many engines it has started."""
        return sum(it["who"] == self.name for it in engines(self.marks))

    def _choose(self, release: str) -> None:
        path = self.root / "project" / "Pulumi.one.yaml"
        settings = yaml.safe_load(path.read_text())
        settings["config"]["shop:release"] = release
        path.write_text(yaml.safe_dump(settings))

    def _place(self, what: str) -> Path:
        return self.root / what


def engines(marks: Path, name: str = "engines") -> list[dict[str, Any]]:
    """The engines that changed the stack, in their order; or those that did so ``together``."""
    path = marks / name
    return [json.loads(it) for it in path.read_text().splitlines()] if path.exists() else []


@dataclass
class TwoDeployers:
    """Two deployers of one stack.

    Attributes:
        stand: The stack, as seen from a machine whose clock is right.
        cluster: Their cluster.
        deployers: By name.
        marks: What engines and programs leave.
    """

    stand: Stand
    cluster: Cluster
    deployers: Mapping[str, Deployer]
    marks: Path

    def completed(self) -> set[str]:
        """The releases whose program saw all of it deployed."""
        path = self.marks / "completed"
        return set(path.read_text().splitlines()) if path.exists() else set()


@contextmanager
def two_deployers(
    root: Path, programs: Path, cli: Path, backend: str, environment: Mapping[str, str]
) -> Iterator[TwoDeployers]:
    """Set the stack up, and the two machines.

    Args:
        root: A directory for all of it.
        programs: Where a CLI and the language host are.
        cli: The CLI that the deployers use.
        backend: The backend's address.
        environment: What that backend needs in the environment.
    """
    cluster = Cluster()
    try:
        with made_stand(root, programs, backend, environment, starts=True) as stand:
            cluster.place_kubeconfig(root / "kubeconfig")
            place = str(root / "kubeconfig")
            stand.pulumi("config", "set", "--stack", "one", "kubernetes:kubeconfig", place)
            project = root / "project"
            runtime = "runtime: {name: python, options: {virtualenv: .venv}}"
            (project / "Pulumi.yaml").write_text(f"name: shop\n{runtime}\n")
            (project / "__main__.py").write_text(_PROGRAM)
            (project / ".venv").symlink_to(sys.prefix)
            marks = root / "marks"
            marks.mkdir()
            made = {name: _machine(stand, name, programs, cli) for name in CLOCKS}
            yield TwoDeployers(stand, cluster, made, marks)
    finally:
        cluster.close()


def _machine(stand: Stand, name: str, programs: Path, cli: Path) -> Deployer:
    root, marks = stand.root / name, stand.root / "marks"
    plugin = root / "home" / "plugins" / f"resource-kubernetes-v{VERSIONS['kubernetes']}"
    for directory in (plugin, root / "bin", root / "tmp"):
        directory.mkdir(parents=True)
    shutil.copytree(stand.root / "project", root / "project", symlinks=True)
    write_program(plugin / "pulumi-resource-kubernetes", "lab.plugins.kubernetes")
    write_program(root / "bin" / "pulumi", "tests.integration.marked_engine", str(cli), str(marks))
    own = environment_in(root, programs)
    environment = {
        **stand.environment,
        **own,
        "PULUMI_BACKEND_URL": stand.environment["PULUMI_BACKEND_URL"],
        "PATH": f"{root / 'bin'}:{own['PATH']}",
        "TMPDIR": str(root / "tmp"),
        "KUBECONFIG": str(stand.root / "kubeconfig"),
        "AEGIS_TEST_DEPLOYER": name,
        "AEGIS_TEST_COMPLETED": str(marks / "completed"),
        cli_with_a_clock.VARIABLE: f"{CLOCKS[name]:g}s",
    }
    return Deployer(name, root, environment, marks)
