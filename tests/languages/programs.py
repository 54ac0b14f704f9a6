"""The tests' programs in Go and TypeScript: built from what is pinned, and set up to be run."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from lab.progress import Step
from lab.settings import load
from lab.toolchain import Tool, Toolchain, alone
from tests.integration.isolation import write_program
from tests.rendering import ROOT

SECONDS = 600
_HERE = Path(__file__).parent
_GO = Tool(name="foreign-go", module="../../tests/languages/go", package=".")
_NODE = ("node", "npm")


@dataclass(frozen=True)
class Language:
    """A language that programs are written in.

    Attributes:
        name: The directory of its program.
        host: What the engine calls its language host.
    """

    name: str
    host: str

    def __str__(self) -> str:
        return self.name

    def lay(self, directory: Path) -> None:
        """Put the program into a directory, ready to run; skip the test where that cannot be."""
        for path in (_HERE / self.name).iterdir():
            shutil.copy(path, directory)
        if self.host == "go":
            binary = Toolchain(load(os.environ, ROOT)).build(_GO, Step("the program in Go"))
            (directory / binary.name).symlink_to(binary)
        else:
            (directory / "node_modules").symlink_to(_node_modules())

    def place_host(self, directory: Path) -> None:
        """Put the tests' language host into a directory that the engine's PATH names."""
        write_program(directory / f"pulumi-language-{self.host}", "tests.languages.host", self.host)
        node = shutil.which("node")
        if self.host == "nodejs" and node is not None:
            (directory / "node").symlink_to(node)


GO = Language("go", "go")
TYPESCRIPT = Language("typescript", "nodejs")


def _node_modules() -> Path:
    """The packages that the lock names, installed once a lock; their hashes are compared."""
    missing = [name for name in _NODE if shutil.which(name) is None]
    if missing:
        pytest.skip(f"no {' and no '.join(missing)} on PATH: the program in TypeScript is left out")
    source = _HERE / TYPESCRIPT.name
    manifests = [source / name for name in ("package.json", "package-lock.json")]
    key = hashlib.sha256(b"".join(path.read_bytes() for path in manifests)).hexdigest()[:12]
    target = load(os.environ, ROOT).cache / "node" / key
    target.parent.mkdir(parents=True, exist_ok=True)
    with alone(target.parent):
        if not (target / "node_modules").is_dir():
            _install(manifests, target)
    return target / "node_modules"


def _install(manifests: list[Path], target: Path) -> None:
    partial = target.with_name(f"{target.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    for path in manifests:
        shutil.copy(path, partial)
    done = subprocess.run(
        ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"],
        cwd=partial,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    partial.replace(target)
