"""A program whose deployers die: two Deployments under traffic, one of them behind a gate.

Everything it could leave behind is its own: namespace, backend, directory for temporary files.
"""

from __future__ import annotations

import json
import os
import secrets
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lab import settings
from tests.e2e import release_history, stack_file
from tests.e2e.live_cluster import live_cluster
from tests.e2e.running import below, name_of
from tests.e2e.server import GRACE_SECONDS, SERVER
from tests.e2e.stand import ROOT, Finished, execute
from tests.e2e.traffic import Seen, traffic
from tests.evidence.plugin import keep
from tests.pulumi_plugins import named, outlive_their_engine

STACK = "one"
SECONDS = 900
PROGRAM = Path(__file__).with_name("doomed")
WEB, PLAIN = "web", "plain"
PROVIDER = ("pulumi-resource-kubernetes", "lab.plugins.kubernetes")
HOST = ("pulumi-language-python", "lab.plugins.language")
OUTLIVED_SECONDS = 300
OUTLIVED_OFFICIAL_SECONDS = 600
"""How long whatever is left of a dead deployer may take to end."""
VICTIMS = ("aegis", "cli", "provider", "language", "aegis-and-cli", "everything")
SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)


@dataclass(frozen=True)
class Death:
    """What happened to a deployer.

    Attributes:
        code: The exit code of `aegis`.
        killed: How many processes got the signal.
        seconds: How long `aegis` lived on after it; everything under it is gone by then, too.
        output: What `aegis` printed.
    """

    code: int
    killed: int
    seconds: float
    output: str


@dataclass(frozen=True)
class Doomed:
    """The program, its stack, and whoever deploys it.

    Attributes:
        directory: The program's directory.
        environment: The environment of every command.
        namespace: Where its objects are.
    """

    directory: Path
    environment: dict[str, str]
    namespace: str

    @property
    def scratch(self) -> Path:
        """Where temporary files go."""
        return Path(self.environment["TMPDIR"])

    def run(self, *argv: str, expect: int | None = 0) -> Finished:
        """Run a command to its end."""
        done = execute(*argv, cwd=self.directory, env=self.environment, seconds=SECONDS)
        assert expect is None or done.code == expect, f"{argv}: {done.code}\n{done.output}"
        return done

    def aegis(self, *words: str, expect: int | None = 0) -> Finished:
        """Run `aegis` on the stack."""
        return self.run("aegis", *words, "--stack", STACK, expect=expect)

    def choose(self, version: str) -> None:
        """Choose the version that is deployed next."""
        self.configure(version=version)

    def configure(self, **values: str) -> None:
        """Set settings; an empty one is taken away."""
        chosen = {key: value or None for key, value in values.items()}
        stack_file.change(self.directory, STACK, chosen)

    def current(self) -> dict[str, Any]:
        """What the history says is deployed."""
        return release_history.current(self, STACK)

    def live(self, kind: str) -> dict[str, dict[str, Any]]:
        """The namespace's objects of a kind, by name."""
        items = live_cluster(self.environment).objects(kind, self.namespace)
        return {item["metadata"]["name"]: item for item in items}

    def die(self, words: Sequence[str], victim: str, number: signal.Signals, after: float) -> Death:
        """Run `aegis`, and send a part of it a signal after some seconds."""
        with (self.directory / "said").open("w+") as said:
            process = subprocess.Popen(
                ["aegis", *words, "--stack", STACK],
                cwd=self.directory,
                env=self.environment,
                stdout=said,
                stderr=said,
            )
            with suppress(subprocess.TimeoutExpired):
                process.wait(timeout=after)
            doomed = self._doomed(process.pid, victim) if process.poll() is None else []
            started = time.monotonic()
            for pid in doomed:
                with suppress(ProcessLookupError):
                    os.kill(pid, number)
            try:
                code = process.wait(timeout=SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                raise
            self.wait_alone()
            seconds = time.monotonic() - started
            said.seek(0)
            return Death(code, len(doomed), seconds, said.read())

    def processes(self) -> dict[int, str]:
        """What runs in this stand's environment, by process id."""
        mark = f"TMPDIR={self.scratch}".encode()
        found = {}
        for path in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                if mark in (path / "environ").read_bytes().split(b"\0"):
                    words = (path / "cmdline").read_bytes().replace(b"\0", b" ").decode()
                    if words:
                        found[int(path.name)] = words
        return found

    def wait_alone(self) -> None:
        """Wait until whoever was told to stop has; what hangs stays to be seen."""
        official = outlive_their_engine(settings.load(os.environ, ROOT))
        seconds = OUTLIVED_OFFICIAL_SECONDS if official else OUTLIVED_SECONDS
        self.wait_for(lambda: not self.processes(), "no process left over", self.processes, seconds)

    def wait_for(self, ready: Any, what: str, shown: Any = None, seconds: float = 300) -> None:
        """Wait until something is so."""
        deadline = time.monotonic() + seconds
        while not ready():
            said = shown() if shown is not None and time.monotonic() >= deadline else ""
            assert time.monotonic() < deadline, f"not within {seconds} s: {what} {said}"
            time.sleep(0.1)

    @contextmanager
    def busy(self) -> Iterator[list[Seen]]:
        """Send both services requests while the block runs."""
        services = self.live("service")
        with ExitStack() as stack:
            yield [
                stack.enter_context(
                    traffic(
                        f"http://{services[name]['spec']['clusterIP']}",
                        watched="version",
                    )
                )
                for name in (WEB, PLAIN)
            ]

    def left_over(self) -> list[str]:
        """What should not be there, in words; empty when all is in order."""
        current = self.current()
        found = [] if current["verified"] else [f"release {current['number']} is not verified"]
        version = current["version"]
        deployments = self.live("deployment")
        wanted: set[str] = set()
        for name in (WEB, PLAIN):
            spec, status = deployments[name]["spec"], deployments[name]["status"]
            says = spec["template"]["metadata"]["labels"]["app.kubernetes.io/version"]
            if says != version:
                found.append(f"{name} is {says}, not {version}")
            if {status.get("updatedReplicas"), status.get("availableReplicas")} != {2}:
                found.append(f"{name} is not complete: {status}")
            references = spec["template"]["spec"]["containers"][0]["envFrom"]
            wanted |= {"configmap/" + it["configMapRef"]["name"] for it in references[:1]}
            wanted |= {"secret/" + it["secretRef"]["name"] for it in references[1:]}
        there = {f"{kind}/{name}" for kind in ("configmap", "secret") for name in self.live(kind)}
        for name in sorted(there ^ wanted - {"configmap/kube-root-ca.crt"}):
            if name != "configmap/kube-root-ca.crt":
                found.append(f"{'missing' if name in wanted else 'left over'}: {name}")
        for name, it in self.live("replicaset").items():
            says = it["spec"]["template"]["metadata"]["labels"]["app.kubernetes.io/version"]
            if says != version and it["spec"]["replicas"]:
                found.append(f"replicaset {name} of {says} has {it['spec']['replicas']} replicas")
        exported = self.run("pulumi", "stack", "export", "--stack", STACK).standard_output
        if json.loads(exported)["deployment"].get("pending_operations"):
            found.append("pending operations")
        backend = self.directory.parent / "backend" / ".pulumi"
        found += [f"lock {path.name}" for path in backend.glob("locks/**/*.json")]
        found += [f"claim {path.name}" for path in backend.glob("aegis/**/*.claim")]
        found += [f"process {it}" for it in self.processes().values()]
        found += [
            f"temporary {path.name}"
            for path in self.scratch.iterdir()
            # The stand-ins' own: the mark of having said so, and what the next one takes away.
            if not path.name.startswith(("aegis-stand-in-", "lab-kubernetes-"))
        ]
        return found

    def _doomed(self, pid: int, victim: str) -> list[int]:
        under = below(pid)
        clis = [it for it in under if name_of(it) == "pulumi"]
        plugins = [it for cli in clis for it in below(cli)]
        providers = [it for it in plugins if named(_words(it), *PROVIDER)]
        hosts = [it for it in plugins if named(_words(it), *HOST)]
        return {
            "aegis": [pid],
            "cli": clis,
            "provider": providers,
            "language": hosts,
            "aegis-and-cli": [pid, *clis],
            "everything": [pid, *under],
        }[victim]


@contextmanager
def doomed(directory: Path, name: str = "deaths") -> Iterator[Doomed]:
    """Set the program up, and take down at the end whatever it made.

    Args:
        directory: An empty directory.
        name: What its namespace's name begins with.
    """
    program = directory / "program"
    for part in ("program", "backend", "tmp"):
        (directory / part).mkdir()
    for part in ("Pulumi.yaml", "__main__.py"):
        (program / part).write_text((PROGRAM / part).read_text())
    (program / "server.txt").write_text(SERVER)
    (program / ".venv").symlink_to(ROOT / ".venv")
    environment = {
        **{k: v for k, v in os.environ.items() if k != "PULUMI_CONFIG_PASSPHRASE_FILE"},
        "PULUMI_BACKEND_URL": f"file://{directory / 'backend'}",
        "PULUMI_CONFIG_PASSPHRASE": "the tests' own",
        "TMPDIR": str(directory / "tmp"),
    }
    it = Doomed(program, environment, f"{name}-{secrets.token_hex(3)}")
    it.run("pulumi", "stack", "init", STACK)
    settings = {
        "namespace": it.namespace,
        "grace": str(GRACE_SECONDS),
        "gate.bakeSeconds": "1",
        "gate.probeRate": "10",
        # Death is the subject here, not how soon a busy machine starts a pod.
        "gate.unreadySeconds": "60",
        "gate.p99Ms": "10000",
    }
    stack_file.change(program, STACK, settings)
    try:
        yield it
    except Exception:
        keep(it)
        raise
    finally:
        it.run("kubectl", "delete", "namespace", it.namespace, "--ignore-not-found", expect=None)


def _words(pid: int) -> list[str]:
    try:
        text = (Path("/proc") / str(pid) / "cmdline").read_bytes().decode(errors="replace")
    except OSError:
        return []
    return text.split("\0")
