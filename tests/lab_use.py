"""Who uses the lab: many tests at a time, or one group alone.

Tests that end the lab's daemons must not do so under others, whichever worker, run or checkout
these are in. A lock on a file beside the lab's state decides, held while a group runs: the kernel
frees it when its holder dies.
"""

from __future__ import annotations

import fcntl
import time
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from io import TextIOWrapper
from pathlib import Path

import pytest

from lab.settings import LabSettings
from tests import order

LIMIT_SECONDS = 3600
"""How long a group waits for the lab: longer than all others together take."""
_LOOK_SECONDS = 0.2


@dataclass
class LabUse:
    """One process's use of the lab.

    Attributes:
        lock: The file whose lock decides.
    """

    lock: Path
    _held: TextIOWrapper | None = field(default=None, init=False)

    def begin(self, *, alone: bool, waits: Callable[[], None]) -> None:
        """Use the lab from now on, unless this process does already.

        Args:
            alone: Whether nobody else may use it meanwhile.
            waits: Called once when others have to end first.

        Raises:
            TimeoutError: Others did not come to an end.
        """
        if self._held is not None:
            return
        self.lock.parent.mkdir(parents=True, exist_ok=True)
        file = self.lock.open("a+")
        how = fcntl.LOCK_EX if alone else fcntl.LOCK_SH
        deadline = time.monotonic() + LIMIT_SECONDS
        waiting = False
        while True:
            try:
                fcntl.flock(file, how | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if not waiting:
                    waiting = True
                    waits()
                if time.monotonic() > deadline:
                    file.close()
                    raise TimeoutError(
                        f"others used the lab for {LIMIT_SECONDS} s; {self.lock} is locked"
                    ) from None
                time.sleep(_LOOK_SECONDS)
        self._held = file

    def end(self) -> None:
        """Use the lab no longer."""
        if self._held is not None:
            self._held.close()
            self._held = None


def lock_file(lab: LabSettings) -> Path:
    """Return the file whose lock decides, one a lab."""
    return lab.state.with_name(f"{lab.state.name}.tests.lock")


class Plugin:
    """Has the groups of a run use the lab as they may.

    Args:
        use: This process's use of it.
        tell: Told the group that uses the lab, or waits for it; an empty one when none does.
    """

    def __init__(self, use: LabUse, tell: Callable[[str, bool], None]) -> None:
        self._use = use
        self._tell = tell

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(
        self, item: pytest.Item, nextitem: pytest.Item | None
    ) -> Generator[None, object, object]:
        """Hold the lab from a group's first test to the end of its last one, fixtures included."""
        name = order.group_of(item.path)
        if order.kind_of(item.path) == "e2e" and not item.get_closest_marker("skip"):
            self._use.begin(alone=order.is_alone(item.path), waits=lambda: self._tell(name, True))
            self._tell(name, False)
        try:
            return (yield)
        finally:
            if nextitem is None or order.group_of(nextitem.path) != name:
                self._use.end()
                self._tell("", False)
