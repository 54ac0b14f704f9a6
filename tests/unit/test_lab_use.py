"""Who uses the lab: many at a time, or one alone."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import lab_use
from tests.lab_use import LabUse
from tests.order import ROOT

HOLD = """
import sys
from pathlib import Path
from tests.lab_use import LabUse
use = LabUse(Path(sys.argv[1]))
use.begin(alone=sys.argv[2] == "alone", waits=lambda: None)
print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def lock(tmp_path: Path) -> Path:
    return tmp_path / "lab.tests.lock"


@pytest.fixture
def other() -> Iterator[list[subprocess.Popen[str]]]:
    """Other processes that use the lab; they end when their standard input does."""
    begun: list[subprocess.Popen[str]] = []
    yield begun
    for it in begun:
        it.kill()
        it.communicate()


def hold(lock: Path, how: str) -> subprocess.Popen[str]:
    """Have another process use the lab."""
    argv = [sys.executable, "-c", HOLD, str(lock), how]
    pipe = subprocess.PIPE
    process = subprocess.Popen(argv, cwd=ROOT, stdin=pipe, stdout=pipe, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_many_use_it_at_a_time(lock: Path, other: list[subprocess.Popen[str]]) -> None:
    other.append(hold(lock, "shared"))
    waited: list[str] = []
    use = LabUse(lock)
    use.begin(alone=False, waits=lambda: waited.append("yes"))
    use.end()
    assert waited == []


@pytest.mark.parametrize(("theirs", "ours"), [("shared", True), ("alone", False)])
def test_who_needs_it_alone_waits_and_is_waited_for(
    lock: Path, other: list[subprocess.Popen[str]], theirs: str, ours: bool
) -> None:
    other.append(hold(lock, theirs))
    waits, has = threading.Event(), threading.Event()
    use = LabUse(lock)

    def begin() -> None:
        use.begin(alone=ours, waits=waits.set)
        has.set()

    thread = threading.Thread(target=begin)
    thread.start()
    assert waits.wait(60)
    assert not has.is_set()
    # A holder that dies holds nothing.
    other[0].kill()
    assert has.wait(60)
    thread.join()
    use.end()


def test_a_second_beginning_is_none_and_an_end_lets_others_in(
    lock: Path, other: list[subprocess.Popen[str]]
) -> None:
    use = LabUse(lock)
    for _ in range(2):
        use.begin(alone=True, waits=lambda: pytest.fail("it is its own"))
    use.end()
    use.end()
    other.append(hold(lock, "alone"))


def test_others_that_do_not_end_are_an_error(
    lock: Path, other: list[subprocess.Popen[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    other.append(hold(lock, "alone"))
    monkeypatch.setattr(lab_use, "LIMIT_SECONDS", 0)
    with pytest.raises(TimeoutError, match="others used the lab"):
        LabUse(lock).begin(alone=False, waits=lambda: None)
