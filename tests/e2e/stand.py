"""A stack under test: the checkout's program, a state backend of the tests' own, plain `pulumi`."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.e2e import stack_file
from tests.e2e.live_cluster import LiveCluster, live_cluster
from tests.evidence.plugin import keep

ROOT = Path(__file__).resolve().parents[2]
SECONDS = 900
"""How long a command may take: far longer than it needs on a machine that does much else."""
PROJECT = "aegis"
CPU_REQUEST = "20m"
"""What a pod of a test asks the scheduler for. The node has two processors, and the pods of a dozen
Deployments, new and old ones, have to find room on it; with none at all a pod would get next to
nothing beside those that ask."""
_CPU_REQUEST = "cpuRequest: 100m"
_PATIENT = r"\1\2\n\1p99Ms: 60000\n\1unreadySeconds: 300"


@dataclass(frozen=True)
class Finished:
    """A command that ended.

    Attributes:
        code: Its exit code.
        output: What it wrote, both streams, in order.
        standard_output: What it wrote to standard output alone, for JSON.
    """

    code: int
    output: str
    standard_output: str


def execute(*argv: str, cwd: Path, env: dict[str, str], seconds: float = SECONDS) -> Finished:
    """Run a command to its end; a failing one is no error here."""
    done = subprocess.run(
        argv, cwd=cwd, env=env, capture_output=True, text=True, timeout=seconds, check=False
    )
    return Finished(done.returncode, done.stdout + done.stderr, done.stdout)


@dataclass(frozen=True)
class Stand:
    """The program in a directory of its own, so that no test touches the checkout.

    Attributes:
        directory: The copy of the program.
        environment: The environment of every command; the lab's, with the tests' backend.
        project: The project's name, which its namespaces and its settings begin with.
        stacks: The stacks that were made.
    """

    directory: Path
    environment: dict[str, str]
    project: str = PROJECT
    stacks: list[str] = field(default_factory=list)

    def namespace(self, stack: str) -> str:
        """Return the namespace of a stack."""
        return f"{self.project}-{stack}"

    def pulumi(self, *words: str, expect: int | None = 0, **variables: str) -> Finished:
        """Run plain `pulumi`.

        Args:
            words: Its arguments.
            expect: The exit code it must have; None allows any.
            variables: Environment variables to add.
        """
        argv = ["pulumi", "--non-interactive", *words]
        done = execute(*argv, cwd=self.directory, env={**self.environment, **variables})
        assert expect is None or done.code == expect, (
            f"{' '.join(argv)}: {done.code}\n{done.output}"
        )
        return done

    def up(self, stack: str, *words: str, expect: int | None = 0, **variables: str) -> Finished:
        """Run `pulumi up` on a stack, making the stack first if there is none."""
        if stack not in self.stacks:
            self.pulumi("stack", "init", stack)
            self.stacks.append(stack)
        flags = ("--stack", stack, "--yes", "--skip-preview")
        return self.pulumi("up", *flags, *words, expect=expect, **variables)

    def outputs(self, stack: str) -> dict[str, Any]:
        """Return a stack's outputs."""
        shown = self.pulumi("stack", "output", "--json", "--stack", stack)
        outputs: dict[str, Any] = json.loads(shown.standard_output)
        return outputs

    def exported(self, stack: str) -> list[dict[str, Any]]:
        """Return the resources of a stack's state."""
        shown = self.pulumi("stack", "export", "--stack", stack)
        deployment = json.loads(shown.standard_output)["deployment"]
        # The state of a destroyed stack has no such key.
        resources: list[dict[str, Any]] = deployment.get("resources", [])
        return resources

    def configure(self, stack: str, key: str, value: str | None) -> None:
        """Change a setting of a stack; None takes it away."""
        stack_file.change(self.directory, stack, {key: value})

    @property
    def cluster(self) -> LiveCluster:
        """The lab's cluster, for what is only looked at."""
        return live_cluster(self.environment)

    def kubectl(self, *words: str, expect: int | None = 0) -> Finished:
        """Run kubectl against the lab."""
        done = execute("kubectl", *words, cwd=self.directory, env=self.environment)
        assert expect is None or done.code == expect, f"kubectl {' '.join(words)}\n{done.output}"
        return done

    def live(self, kind: str, name: str, namespace: str | None = None) -> dict[str, Any]:
        """Return an object as the cluster has it."""
        return self.cluster.get(kind, name, namespace)

    def is_there(self, kind: str, name: str, namespace: str | None = None) -> bool:
        """Return whether the cluster has an object."""
        return self.cluster.find(kind, name, namespace) is not None

    def names(self, kind: str, namespace: str) -> set[str]:
        """Return the names of a namespace's objects of one kind."""
        return {it["metadata"]["name"] for it in self.cluster.objects(kind, namespace)}

    def address(self, namespace: str) -> str:
        """Return the URL at which a stack's service answers from this machine."""
        return f"http://{self.live('service', 'aegis-api', namespace)['spec']['clusterIP']}"


@contextmanager
def stand(directory: Path, project: str = PROJECT) -> Iterator[Stand]:
    """Set up the program in a directory and take down at the end what was deployed from it.

    Args:
        directory: An empty directory.
        project: The project's name; another one than the committed one has namespaces of its own,
            so that several stands may be there at a time.
    """
    _copy_program(directory)
    _ask_for_less(directory)
    _rename(directory, project)
    for settings in directory.glob("Pulumi.*.yaml"):
        rows = settings.read_text().splitlines(keepends=True)
        kept = "".join(r for r in rows if not r.startswith("encryptionsalt:"))
        # The gate as it is committed, but in a hurry; how quickly this machine answers and starts
        # pods, whatever else it does, is nothing of the release's.
        hurry = re.sub(r"bakeSeconds: [1-9]\d*", "bakeSeconds: 3", kept)
        settings.write_text(re.sub(r"^( *)(bakeSeconds: \d+)$", _PATIENT, hurry, flags=re.M))
    (directory / ".venv").symlink_to(ROOT / ".venv")
    backend = Path(os.environ["AEGIS_LAB"]) / f"tests-of-{project}"
    killed = backend.exists()
    backend.mkdir(exist_ok=True)
    environment = {
        **{k: v for k, v in os.environ.items() if k != "PULUMI_CONFIG_PASSPHRASE_FILE"},
        "PULUMI_BACKEND_URL": f"file://{backend}",
        "PULUMI_CONFIG_PASSPHRASE": "the tests' own",
        "PULUMI_FALLBACK_TO_STATE_SECRETS_MANAGER": "true",
        "AEGIS_GIT_SHA": "0" * 39 + "1",
        "GOGC": "400",  # Less tidying up of memory in commands that live for a second.
    }
    it = Stand(directory, environment, project)
    if killed:
        _clear(it)
    try:
        for stack in ("staging", "production"):
            require_free(it, stack)
        yield it
    except Exception:
        keep(it)
        raise
    finally:
        _clear(it)
        shutil.rmtree(backend)


def _copy_program(directory: Path) -> None:
    """Copy what is committed, and what is to be, but for what no program needs."""
    listed = execute("git", "ls-files", "-co", "--exclude-standard", cwd=ROOT, env=dict(os.environ))
    for name in listed.standard_output.splitlines():
        source, target = ROOT / name, directory / name
        if name.startswith(("tests/", ".ci/", "docs/")) or not source.is_file():
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(source, target)
    for package in ("components", "aegis_deploy"):
        # Else every run of the program compiles it anew where Python may not write bytecode.
        for compiled in (ROOT / package).rglob("__pycache__"):
            shutil.copytree(compiled, directory / compiled.relative_to(ROOT), dirs_exist_ok=True)


def _ask_for_less(directory: Path) -> None:
    """Have pods ask the scheduler for less: the pods of several stands are on one small node."""
    settings = directory / "Pulumi.yaml"
    text = settings.read_text()
    assert _CPU_REQUEST in text
    settings.write_text(text.replace(_CPU_REQUEST, f"cpuRequest: {CPU_REQUEST}"))


def _rename(directory: Path, project: str) -> None:
    """Give the project another name, as a team does that makes it its own."""
    if project == PROJECT:
        return
    keys = directory / "components" / "setting_keys.py"
    for path in (keys, *directory.glob("Pulumi*.yaml")):
        before = text = path.read_text()
        text = text.replace(f'PROJECT = "{PROJECT}"', f'PROJECT = "{project}"')
        text = text.replace(f"name: {PROJECT}\n", f"name: {project}\n")
        text = text.replace(f"{PROJECT}:", f"{project}:")
        assert text != before, f"{path.name} does not name the project"
        path.write_text(text)


def _clear(it: Stand) -> None:
    """Destroy every stack of the tests' backend, also those of a run that was killed."""
    listed = it.pulumi("stack", "ls", "--json")
    for row in json.loads(listed.standard_output):
        stack = row["name"]
        if _locked(it):
            it.pulumi("cancel", "--stack", stack, "--yes", expect=None)
        destroy = ("destroy", "--stack", stack, "--yes", "--skip-preview")
        if row.get("resourceCount") and it.pulumi(*destroy, expect=None).code != 0:
            # A run was killed in the middle, or something is protected that the tests made.
            it.pulumi("refresh", "--stack", stack, "--yes", "--clear-pending-creates", expect=None)
            it.pulumi("state", "unprotect", "--all", "--stack", stack, "--yes", expect=None)
            it.pulumi(*destroy)
        # What is kept when it is destroyed keeps its namespace.
        if it.is_there("namespace", it.namespace(stack)):
            it.kubectl("delete", "namespace", it.namespace(stack), "--ignore-not-found")
        # Not `destroy --remove`: that deletes Pulumi.<stack>.yaml, which the tests are to deploy.
        it.pulumi("stack", "rm", stack, "--yes", "--preserve-config")
        it.stacks[:] = [name for name in it.stacks if name != stack]


def _locked(it: Stand) -> bool:
    """Whether who held a stack of the tests' backend died with its lock."""
    backend = Path(it.environment["PULUMI_BACKEND_URL"].removeprefix("file://"))
    return any((backend / ".pulumi" / "locks").rglob("*.json"))


def require_free(it: Stand, stack: str) -> None:
    """Fail when the namespace that a test is to make is there already: it is a person's."""
    namespace = it.namespace(stack)
    assert not it.is_there("namespace", namespace), (
        f"the namespace {namespace} is in use on this lab; the tests deploy it themselves: "
        f"pulumi destroy --stack {stack}"
    )
