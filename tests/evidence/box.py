"""Where evidence is put: a folder a run, in it one a failed test; bounded in time and size."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

# Names of their own: a test that failed may have replaced those of the module.
from time import monotonic

from lab.settings import LabSettings
from tests.evidence.plain import last_part, redacted

KEPT_RUNS = 5
SECONDS = 30.0
COMMAND_SECONDS = 8.0
BYTES = 20 * 1024 * 1024
FILE_BYTES = 1024 * 1024
_RUN = re.compile(r"run-\d{8}-\d{6}-\d+")


class Refused(Exception):  # noqa: N818 - it says what happened, and nothing is broken
    """Time or room is used up, or a command did not answer."""


def run_folder(environment: Mapping[str, str], lab: LabSettings | None) -> Path:
    """Return the folder of this run, which is not made yet.

    Args:
        environment: Its AEGIS_EVIDENCE names the folder of all runs.
        lab: The machine's lab, if its settings can be read.
    """
    named = environment.get("AEGIS_EVIDENCE")
    if named:
        parent = Path(named).absolute()
    elif lab is not None and os.access(lab.state, os.W_OK):
        parent = lab.state / "evidence"
    else:
        parent = Path(tempfile.gettempdir()) / f"aegis-evidence-{os.getuid()}"
    return parent / f"run-{datetime.now(UTC):%Y%m%d-%H%M%S}-{os.getpid()}"


def make_run_folder(folder: Path) -> None:
    """Make a run's folder, and remove those of old runs; any of its workers may come first."""
    folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    if folder.parent.is_symlink() or folder.parent.stat().st_uid != os.getuid():
        raise Refused(f"{folder.parent} is somebody else's; AEGIS_EVIDENCE names another folder")
    folder.mkdir(mode=0o700, exist_ok=True)
    runs = sorted(path for path in folder.parent.iterdir() if _RUN.fullmatch(path.name))
    for old in [path for path in runs if path != folder][: -(KEPT_RUNS - 1)]:
        # Somebody may try one test again and again beside a long run.
        if not _lives(int(old.name.rpartition("-")[2])):
            shutil.rmtree(old, ignore_errors=True)


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


@dataclass
class Box:
    """The folder of one failure, while it is filled.

    Attributes:
        folder: The folder.
        environment: That of commands.
        secrets: What must not be in it.
        seconds: How long filling it may take.
        room: How many bytes still fit.
        notes: What could not be had, and why.
    """

    folder: Path
    environment: Mapping[str, str]
    secrets: frozenset[str] = frozenset()
    seconds: float = SECONDS
    room: int = BYTES
    notes: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._deadline = monotonic() + self.seconds
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    @property
    def left(self) -> float:
        """Seconds that are left."""
        return self._deadline - monotonic()

    def write(self, name: str, text: str) -> str:
        """Write a file, without secrets and no longer than allowed; return what it says.

        Raises:
            Refused: Time or room is used up.
        """
        if self.left <= 0:
            raise Refused(f"{name}: the {self.seconds:.0f} s are over")
        kept = last_part(redacted(text, self.secrets), FILE_BYTES)
        raw = kept.encode(errors="replace")
        if len(raw) > self.room:
            raise Refused(f"{name}: no room is left")
        path = self.folder / name
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.write_bytes(raw)
        self.room -= len(raw)
        return kept

    def copy(self, source: Path, name: str) -> str:
        """Write the end of a text file that is somewhere else; return what it says."""
        return self.write(name, end_of(source, FILE_BYTES))

    def command(self, *argv: str) -> str:
        """Run a program to its end and return what it wrote to standard output.

        Raises:
            Refused: It cannot be started, does not end in time or fails.
        """
        seconds = min(COMMAND_SECONDS, self.left)
        what = " ".join(argv)
        if seconds <= 0:
            raise Refused(f"{what}: the {self.seconds:.0f} s are over")
        with tempfile.TemporaryFile() as said, tempfile.TemporaryFile() as failed:
            code = _run(argv, self.environment, said.fileno(), failed.fileno(), seconds)
            said.seek(0)
            failed.seek(0)
            text = said.read(BYTES).decode(errors="replace")
            if code != 0:
                why = f"exited with {code}" if code is not None else f"not within {seconds:.0f} s"
                more = failed.read(2000).decode(errors="replace").strip()
                raise Refused(redacted(f"{what}: {why} {more}", self.secrets))
        return text


def end_of(path: Path, size: int) -> str:
    """Return the end of a text file."""
    with path.open("rb") as file:
        length = file.seek(0, os.SEEK_END)
        file.seek(max(0, length - size))
        return file.read(size).decode(errors="replace")


def _run(
    argv: Sequence[str], environment: Mapping[str, str], said: int, failed: int, seconds: float
) -> int | None:
    """Run a program and return its exit code, None when it was ended."""
    # The PATH that is searched is the lab's, not that of the test that failed.
    program = shutil.which(argv[0], path=environment.get("PATH"))
    if program is None:
        raise Refused(f"{argv[0]} is not on PATH")
    process = subprocess.Popen(
        [program, *argv[1:]],
        env=dict(environment),
        stdin=subprocess.DEVNULL,
        stdout=said,
        stderr=failed,
        cwd="/",
    )
    try:
        return process.wait(timeout=seconds)
    except subprocess.TimeoutExpired:
        return None
    finally:
        process.kill()
        process.wait()
