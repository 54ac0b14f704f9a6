"""What the workers of a parallel run are at, in a line every half minute: who waits for what.

`-v` names a test when it has ended; an end-to-end test may take minutes, and one that needs the lab
for itself waits for all the others first. A worker notes what it does in a file of its own, and the
process that prints reads these.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import time
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import pytest

EVERY_SECONDS = 30
"""How long nothing of this is printed after a line."""
LONG_SECONDS = 5
"""A test that has run for less is not named: it will have ended by the time this is read."""
_PLACE = "AEGIS_TESTS_PROGRESS"


@dataclass(frozen=True)
class Doing:
    """What a worker is at.

    Attributes:
        worker: Its name, such as ``gw0``.
        test: The test's name, without its path and parameters.
        since: When it began with it, in seconds since the epoch.
        group: The group whose use of the lab it holds; empty when it does not use the lab.
        waits: Whether it waits for the lab.
    """

    worker: str
    test: str
    since: float
    group: str = ""
    waits: bool = False

    def words(self, now: float, users: Iterable[str]) -> str:
        """Say it.

        Args:
            now: The time, in seconds since the epoch.
            users: The groups that use the lab.
        """
        seconds = f"{now - self.since:.0f} s"
        if not self.waits:
            return f"{self.worker} {self.test} ({seconds})"
        others = ", ".join(users) or "another run on this machine"
        return f"{self.worker} waits for the lab ({seconds}), which is used by {others}"


def line(begun: float, now: float, done: int, total: int, workers: Iterable[Doing]) -> str:
    """Return the line that says how far a run is.

    Args:
        begun: When it began, in seconds since the epoch.
        now: The time.
        done: How many tests have ended.
        total: How many there are.
        workers: What each worker is at.
    """
    workers = sorted(workers, key=lambda it: it.worker)
    users = [it.group for it in workers if it.group and not it.waits]
    minutes, seconds = divmod(int(now - begun), 60)
    parts = [it.words(now, users) for it in workers if it.waits or now - it.since >= LONG_SECONDS]
    return " · ".join([f"[{minutes}:{seconds:02}] {done} of {total} tests have ended", *parts])


class Worker:
    """Notes what this worker is at.

    Args:
        place: Where the notes are.
        name: The worker's name.
    """

    def __init__(self, place: Path, name: str) -> None:
        self._path = place / name
        self._now = Doing(name, "", time.time())

    def begins(self, test: str) -> None:
        """A test begins."""
        self._note(Doing(self._now.worker, test, time.time(), self._now.group))

    def uses(self, group: str, waits: bool) -> None:
        """A group begins to use the lab, or to wait for it; none does when it is empty."""
        now = self._now
        if (now.group, now.waits) == (group, waits):
            return
        self._note(Doing(now.worker, now.test, time.time(), group, waits))

    def _note(self, doing: Doing) -> None:
        self._now = doing
        partial = self._path.with_suffix(".partial")
        try:
            partial.write_text(json.dumps(asdict(doing)))
            partial.replace(self._path)
        except FileNotFoundError:
            # The run is over.
            return

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logstart(self, nodeid: str) -> None:
        """Note the test."""
        self.begins(nodeid.rpartition("::")[2].partition("@")[0].partition("[")[0])


class Printer:
    """Prints how far the run is.

    Args:
        place: Where the workers' notes are.
    """

    def __init__(self, place: Path) -> None:
        self._place = place
        self._begun = self._last = time.time()
        self._ended: set[str] = set()
        self._total = 0
        self._reporter: pytest.TerminalReporter | None = None

    def pytest_sessionstart(self, session: pytest.Session) -> None:
        """Remember who prints."""
        self._reporter = session.config.pluginmanager.get_plugin("terminalreporter")

    def pytest_xdist_node_collection_finished(self, ids: list[str]) -> None:
        """Remember how many tests there are: each worker finds all of them."""
        self._total = len(ids)

    @pytest.hookimpl(trylast=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Print the line when it is due."""
        if report.when == "teardown":
            self._ended.add(report.nodeid)
        now = time.time()
        if now - self._last < EVERY_SECONDS or self._reporter is None:
            return
        self._last = now
        said = line(self._begun, now, len(self._ended), self._total, self._doings())
        self._reporter.ensure_newline()
        self._reporter.write_line(said)

    def pytest_unconfigure(self) -> None:
        """Take the notes away."""
        shutil.rmtree(self._place, ignore_errors=True)

    def _doings(self) -> list[Doing]:
        found = []
        for path in self._place.glob("gw*"):
            if path.suffix:
                continue
            try:
                found.append(Doing(**json.loads(path.read_text())))
            except (OSError, ValueError, TypeError):
                continue
        return found


def place_of_run(environment: Mapping[str, str]) -> Path | None:
    """Return where the notes of a parallel run are; None outside of one."""
    named = environment.get(_PLACE)
    return Path(named) if named else None


def begin_run() -> Path:
    """Make the place of the notes, which workers that are started afterwards know of."""
    made = Path(tempfile.mkdtemp(prefix="aegis-tests-"))
    os.environ[_PLACE] = str(made)
    return made
