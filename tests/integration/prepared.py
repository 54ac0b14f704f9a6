"""What tests begin with, made once a run and copied by each: a project, a backend with its stack.

To make a stack and to take it away again takes the CLI longer than most tests take it otherwise.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from lab.toolchain import alone

PARTS = ("project", "backend", ".cache", ".kube")
"""The project, its state, and of the home directory what the CLI's version was (to ask for it is a
start of the CLI) and a cluster's address."""


def once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], None]) -> Path:
    """Return a directory that is made once in a run; other workers of the run wait for it.

    Args:
        factory: Knows the run's directory.
        name: Names what is made.
        make: Makes it, in a directory that is there.
    """
    run = factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        run = run.parent  # A worker's directory is in the run's.
    target = run / f"prepared-{name}"
    lock = run / f"prepared-{name}.lock"
    lock.mkdir(exist_ok=True)
    with alone(lock):
        if not target.exists():
            partial = target.with_name(f"{target.name}.partial")
            shutil.rmtree(partial, ignore_errors=True)  # Of a worker that failed to make it.
            partial.mkdir()
            make(partial)
            partial.rename(target)
    return target


def copy(prepared: Path, root: Path) -> None:
    """Copy what was prepared into a test's directory, whose paths are its own afterwards."""
    for name in PARTS:
        if (prepared / name).exists():
            shutil.copytree(prepared / name, root / name, symlinks=True)
