"""Checks the machine before anything is changed and says everything that is missing at once."""

from __future__ import annotations

import os
import platform
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from lab import cgroup
from lab.errors import LabError, refused
from lab.settings import LabSettings

MIB = 1024**2
GIB = 1024 * MIB
DISK_TO_BUILD = 8 * GIB
"""Free bytes needed when tools must be compiled: Go's caches take most of it."""
DISK_TO_RUN = 2 * GIB
MEMORY = 3 * GIB
NODE_MEMORY = 300 * MIB
"""What a further node takes, rounded up (docs/architecture.md has the measurement)."""


@dataclass(frozen=True)
class Machine:
    """What was found about this machine.

    Attributes:
        system: The kernel's name.
        root: Whether we are root.
        architecture: As `uname -m` prints it.
        free_disk: Free bytes where the lab keeps its things, the least of them.
        memory: Bytes of main memory.
        cgroups_writable: Whether control groups can be made.
    """

    system: str
    root: bool
    architecture: str
    free_disk: int
    memory: int
    cgroups_writable: bool


def inspect(settings: LabSettings) -> Machine:
    """Look at this machine; changes nothing."""
    linux = platform.system() == "Linux"
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") if linux else 0
    return Machine(
        system=platform.system(),
        root=os.geteuid() == 0,
        architecture=platform.machine(),
        free_disk=min(_free_disk(settings.state), _free_disk(settings.cache)),
        memory=memory,
        cgroups_writable=os.access(cgroup.FILESYSTEM, os.W_OK),
    )


def _free_disk(place: Path) -> int:
    while not place.exists():
        place = place.parent
    return shutil.disk_usage(place).free


def problems(machine: Machine, *, will_build: bool, nodes: int = 1) -> list[str]:
    """Return what keeps the lab from running on a machine, each in one sentence.

    Args:
        machine: What was found.
        will_build: Whether tools must be compiled first.
        nodes: How many nodes it is to have.
    """
    memory = MEMORY + (nodes - 1) * NODE_MEMORY
    each = f" for {nodes} nodes, {NODE_MEMORY // MIB} MiB for each beside the first"
    needed = DISK_TO_BUILD if will_build else DISK_TO_RUN
    checks: list[tuple[bool, Callable[[], str]]] = [
        (machine.system == "Linux", lambda: f"it needs Linux; this is {machine.system}"),
        (machine.root, lambda: "it needs root (namespaces, mounts): sudo -E make up"),
        (
            machine.architecture in ("x86_64", "aarch64"),
            lambda: f"it needs x86_64 or aarch64; this is {machine.architecture}",
        ),
        (
            machine.free_disk >= needed,
            lambda: (
                f"it needs {needed / GIB:.0f} GiB of free disk; "
                f"{machine.free_disk / GIB:.1f} GiB are free"
            ),
        ),
        (
            machine.memory >= memory,
            lambda: (
                f"it needs {memory / GIB:.2g} GiB of memory{each if nodes > 1 else ''}; "
                f"there are {machine.memory / GIB:.1f} GiB"
            ),
        ),
        (
            machine.cgroups_writable,
            lambda: f"it needs control groups that root may write at {cgroup.FILESYSTEM}",
        ),
    ]
    return [text() for fits, text in checks if not fits]


def require(settings: LabSettings, *, will_build: bool, nodes: int = 1) -> None:
    """Check the machine.

    Args:
        settings: The lab.
        will_build: Whether tools must be compiled first.
        nodes: How many nodes it is to have.

    Raises:
        LabError: Something is missing; the message lists all of it.
    """
    found = problems(inspect(settings), will_build=will_build, nodes=nodes)
    if found:
        raise refused(
            "the lab cannot run on this machine",
            "\n".join(found),
            "mend that and type `make up`; or use your own cluster with `pulumi up` (README)",
        )


def require_room_for_nodes(more: int, meminfo: Path = Path("/proc/meminfo")) -> None:
    """Check that the machine has as much memory left as some further nodes take.

    Args:
        more: How many are to come; with none nothing is checked.
        meminfo: Where the kernel says it.

    Raises:
        LabError: It has not; the message says how much each takes.
    """
    rows = dict(line.split(":", 1) for line in meminfo.read_text().splitlines())
    available = int(rows["MemAvailable"].split()[0]) * 1024
    if more > 0 and available < more * NODE_MEMORY:
        what = f"{more} further node{'' if more == 1 else 's'}"
        raise refused(
            f"there is too little memory for {what}",
            f"each takes {NODE_MEMORY // MIB} MiB, {more * NODE_MEMORY // MIB} MiB in all; "
            f"{available // MIB} MiB are available",
            "end something, or ask for fewer: make up nodes=<number>",
        )


def require_directories(*directories: Path) -> None:
    """Make directories and check that they can be written.

    Raises:
        LabError: One cannot.
    """
    for directory in directories:
        try:
            directory.mkdir(parents=True, exist_ok=True)
            probe = directory / ".writable"
            probe.write_text("")
            probe.unlink()
        except OSError as error:
            raise LabError(
                what=f"the lab cannot write to {directory}",
                why=str(error.strerror or error),
                next="free disk space or mend its permissions, then `make up`",
            ) from error
