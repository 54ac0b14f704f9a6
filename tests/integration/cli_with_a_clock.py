"""The CLI built once more, so that what it writes down can be of another time than it is.

A static program asks the kernel's clock by itself, which no library can come between and no
namespace shifts, so that the few places are patched where it takes the time for a lock, a state's
copy and the history. All else of it, timeouts among that, goes by the real clock.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from dataclasses import replace
from pathlib import Path

from lab.progress import Step
from lab.settings import load
from lab.toolchain import PULUMI, Toolchain, alone
from tests.rendering import ROOT

VARIABLE = "AEGIS_TEST_CLOCK"
"""How far its clock is off, as Go writes a duration: ``-300s``."""
_MODULE = "github.com/pulumi/pulumi/pkg/v3"
_PATCHED = {
    "backend/diy": {"backend.go": 2, "lock.go": 1, "state.go": 3},
    "backend/diy/postgres": {"bucket.go": 1},
}
"""By package and file, how often the time is taken there."""
_NOW = re.compile(r"\btime\.Now\(\)")
_CLOCK = f"""package {{}}

import (
	"os"
	"time"
)

var clockIsOff, _ = time.ParseDuration(os.Getenv("{VARIABLE}"))

func shifted(moment time.Time) time.Time {{{{ return moment.Add(clockIsOff) }}}}
"""


def place() -> Path:
    """Where it is, once it is built: named by what it is built from."""
    toolchain = Toolchain(load(os.environ, ROOT))
    own = hashlib.sha256(f"{_PATCHED}{_CLOCK}".encode()).hexdigest()[:12]
    named = f"pulumi-with-a-clock-{toolchain.key(PULUMI)}-{own}"
    return load(os.environ, ROOT).cache / "tools" / named / PULUMI.name


def build() -> Path:
    """Build it, unless it is built, which takes minutes."""
    target = place()
    target.parent.mkdir(parents=True, exist_ok=True)
    with alone(target.parent):
        if not target.exists():
            _build(target)
    return target


def _build(target: Path) -> None:
    toolchain = Toolchain(load(os.environ, ROOT))
    source = target.parent / "source"
    shutil.rmtree(source, ignore_errors=True)  # Of one that failed.
    shutil.copytree(toolchain.source(PULUMI), source)
    shutil.copytree(toolchain.module(PULUMI, _MODULE), source / "pkg")
    for path in (source, *source.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)  # The module cache is read-only.
    with (source / "go.mod").open("a") as file:
        file.write(f"\nreplace {_MODULE} => ./pkg\n")
    for package, files in _PATCHED.items():
        for name, times in files.items():
            path = source / "pkg" / package / name
            text, found = _NOW.subn("shifted(time.Now())", path.read_text())
            assert found == times, f"{package}/{name} takes the time {found} times, not {times}"
            path.write_text(text)
        clock = source / "pkg" / package / "shifted_clock.go"
        clock.write_text(_CLOCK.format(Path(package).name))
    patched = replace(PULUMI, module=str(source))
    built = toolchain.build(patched, Step("the CLI with a clock of its own"))
    built.rename(target)
    shutil.rmtree(built.parent)
    shutil.rmtree(source)
