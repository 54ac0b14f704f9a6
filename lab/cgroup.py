"""The lab's control group: how its processes are found and ended, also after a crash.

Every process of the lab is put into it before it executes its program, and what it starts
inherits it, so that membership, and nothing else, says what belongs to the lab. Works on
version 1 (one hierarchy a controller) and version 2 (one for all).
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Sequence
from pathlib import Path

from lab.errors import LabError
from lab.settings import NAME

FILESYSTEM = Path("/sys/fs/cgroup")
UNIFIED_MARK = "cgroup.controllers"
POLL = 0.05
BUILDS = "builds"
"""The part in which Docker runs the containers of image builds."""
_WEIGHTS = {"cpu.shares": "8192", "cpu.weight": "800"}
"""Eight times a group's default, by the file's name on version 1 and on version 2.

The pods play machines of their own. As one group among many they would get next to nothing while
whoever deploys them keeps this machine busy, and a probe that gets no answer for a second takes a
pod out of its Service.
"""
_NODE_WEIGHTS = {"cpu.shares": "2048", "cpu.weight": "200"}
"""Twice a group's default, in which a further node has its daemons beside its pods."""


def is_unified(filesystem: Path = FILESYSTEM) -> bool:
    """Return whether the machine uses cgroup version 2 alone."""
    return (filesystem / UNIFIED_MARK).exists()


def hierarchies(filesystem: Path = FILESYSTEM) -> list[Path]:
    """Return the mounted hierarchies in which a group can be made, symbolic links left out."""
    if is_unified(filesystem):
        return [filesystem]
    found = sorted(p for p in filesystem.iterdir() if p.is_dir() and not p.is_symlink())
    return [p for p in found if (p / "cgroup.procs").exists()]


def _tracking(filesystem: Path) -> Path:
    """Return the hierarchy whose membership counts: on version 1 that of `pids`."""
    if is_unified(filesystem):
        return filesystem
    return filesystem / "pids"


def daemons_of(part: str) -> str:
    """Return what of the lab's group the daemons of a part of it are in.

    Args:
        part: A further node's group; empty for the lab's own daemons.
    """
    return f"{part}/daemons".removeprefix("/")


def daemons_file(filesystem: Path = FILESYSTEM, *, part: str = "") -> Path:
    """Return the file into which a process of the lab writes its id before it executes.

    Args:
        filesystem: Where cgroups are mounted.
        part: A further node's group; empty for the lab's own daemons.
    """
    return _tracking(filesystem) / NAME / daemons_of(part) / "cgroup.procs"


def create(filesystem: Path = FILESYSTEM, *, part: str = "") -> None:
    """Make the groups `aegis-lab` (the kubelet's root) and `aegis-lab/daemons`.

    Args:
        filesystem: Where cgroups are mounted.
        part: Make these below the lab's group, for a further node; the lab's is there.

    Raises:
        LabError: The control groups of this machine cannot be written.
    """
    try:
        for hierarchy in hierarchies(filesystem):
            group = hierarchy / NAME / part
            group.mkdir(exist_ok=True)
            if is_unified(filesystem):
                controllers = (filesystem / UNIFIED_MARK).read_text().split()
                for directory in dict.fromkeys((group.parent, group)):
                    (directory / "cgroup.subtree_control").write_text(
                        " ".join(f"+{name}" for name in controllers)
                    )
            if (group / "cpuset.cpus").exists() and not is_unified(filesystem):
                for name in ("cpuset.cpus", "cpuset.mems"):
                    if not (group / name).read_text().strip():
                        (group / name).write_text((group.parent / name).read_text())
            for name, weight in (_NODE_WEIGHTS if part else _WEIGHTS).items():
                if (group / name).exists():
                    (group / name).write_text(weight)
        daemons_file(filesystem, part=part).parent.mkdir(exist_ok=True)
    except OSError as error:
        raise LabError(
            what="could not make the lab's control group",
            why=f"{error.filename or filesystem}: {error.strerror}",
            next="run on a machine (or a privileged container) whose cgroups root may write",
        ) from error


def members(below: str = "", filesystem: Path = FILESYSTEM) -> set[int]:
    """Return the ids of the lab's processes.

    Args:
        below: Only those in this part, for example "kubepods".
        filesystem: Where cgroups are mounted.
    """
    found: set[int] = set()
    top = _tracking(filesystem) / NAME / below
    for directory, _, _ in os.walk(top):
        with contextlib.suppress(OSError):
            text = (Path(directory) / "cgroup.procs").read_text()
            found.update(int(line) for line in text.split())
    # A process outside our process namespace reads as 0, and a signal to 0 would hit ourselves.
    return found - {0, os.getpid()}


def end_all(
    *, below: str | Sequence[str] = "", grace: float, filesystem: Path = FILESYSTEM
) -> None:
    """End the lab's processes: SIGTERM, and SIGKILL for what is left after the grace period.

    Args:
        below: Only those in this part of the group, or in these.
        grace: Seconds between the two signals.
        filesystem: Where cgroups are mounted.

    Raises:
        LabError: A process outlives SIGKILL for 10 seconds.
    """
    parts = [below] if isinstance(below, str) else below

    def alive() -> set[int]:
        return set().union(*(members(part, filesystem) for part in parts))

    _signal(alive(), signal.SIGTERM)
    deadline = time.monotonic() + grace
    while alive() and time.monotonic() < deadline:
        time.sleep(POLL)
    deadline = time.monotonic() + 10
    while left := alive():
        _signal(left, signal.SIGKILL)
        if time.monotonic() > deadline:
            raise LabError(
                what="could not end the lab's processes",
                why=f"{sorted(left)} outlive SIGKILL (a process stuck in the kernel)",
                state="everything else of the lab is stopped",
                next="see what they wait for in /proc/<id>/stack, then `make down` again",
            )
        time.sleep(POLL)


def _signal(processes: set[int], number: signal.Signals) -> None:
    for process in processes:
        with contextlib.suppress(ProcessLookupError):
            os.kill(process, number)


def remove(filesystem: Path = FILESYSTEM, *, part: str = "") -> None:
    """Remove the lab's groups, or a part of them; they must be empty of processes."""
    for hierarchy in hierarchies(filesystem):
        for directory, _, _ in os.walk(hierarchy / NAME / part, topdown=False):
            with contextlib.suppress(OSError):
                Path(directory).rmdir()
