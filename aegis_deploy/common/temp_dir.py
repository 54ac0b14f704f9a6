"""Files for a while: in a directory of this process's own, which the next one takes away.

A process that is killed cannot tidy up, and what it wrote for others to read may hold a cluster's
key. So all of it lies in one directory that names its process; whoever comes next sees that the
process is gone. What is unreadable elsewhere stays so: it is made for its owner alone.
"""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from aegis_deploy.common.process import Machine

_PARTS = frozenset({6, 7})
"""How many parts a name has; earlier versions' ended in the process."""
_made: dict[int, Path] = {}


def directory() -> Path:
    """This process's directory, made when it is first wanted and removed when the process ends."""
    pid = os.getpid()
    made = _made.get(pid)
    if made is None or not made.is_dir():
        sweep()
        # Nobody else can have made it before: its name ends in what cannot be told beforehand.
        made = Path(tempfile.mkdtemp(prefix=_name(Machine.here(), pid) + "-"))
        _made[pid] = made
        atexit.register(_remove, made, pid)
    return made


@contextmanager
def temporary() -> Iterator[Path]:
    """A directory in this process's, gone after the block."""
    with tempfile.TemporaryDirectory(dir=directory()) as name:
        yield Path(name)


def sweep() -> None:
    """Take away the directories of processes that are gone."""
    here = Machine.here()
    for path in Path(tempfile.gettempdir()).glob(f"aegis-{os.getuid()}-*-*-*-*"):
        if _is_left_over(path, here):
            shutil.rmtree(path, ignore_errors=True)


def _is_left_over(path: Path, here: Machine) -> bool:
    parts = path.name.split("-")
    try:
        if len(parts) not in _PARTS or path.lstat().st_uid != os.getuid():
            return False
        pid, ticks = int(parts[4]), int(parts[5])
    except (OSError, ValueError):
        return False
    boot, space = _where(here)
    if parts[2] != boot:
        return bool(boot)
    if parts[3] != space:
        # A process of another container, which cannot be seen from here.
        return False
    process = here.find(pid)
    return process is None or (process.ticks or 0) != ticks


def _name(here: Machine, pid: int) -> str:
    process = here.find(pid)
    ticks = 0 if process is None else process.ticks or 0
    return "-".join(("aegis", str(os.getuid()), *_where(here), str(pid), str(ticks)))


def _where(here: Machine) -> tuple[str, str]:
    """What names the boot, and the space that process ids are counted in."""
    return here.kernel[:8], here.space


def _remove(path: Path, pid: int) -> None:
    if os.getpid() == pid:
        shutil.rmtree(path, ignore_errors=True)
