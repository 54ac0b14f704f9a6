"""A program that is told to end says nothing and waits for nobody."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading

import pytest

from components.interruption import SAID_WHAT_IS_WRONG, end_when_told
from tests.rendering import ROOT

WAITING = """
import asyncio, time
from components.interruption import end_when_told
end_when_told()

async def main():
    print("waits", flush=True)
    await asyncio.gather(asyncio.to_thread(time.sleep, 600), asyncio.sleep(600))

asyncio.run(main())
"""


@pytest.mark.parametrize("times", [1, 2])
def test_it_ends_at_once_with_the_code_of_who_was_told(times: int) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", WAITING],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "waits\n"
        for _ in range(times):
            process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=60)
    assert (process.returncode, said) == (SAID_WHAT_IS_WRONG, "")


def test_in_another_thread_signals_are_left_alone() -> None:
    before = signal.getsignal(signal.SIGINT)
    thread = threading.Thread(target=end_when_told)
    thread.start()
    thread.join()
    assert signal.getsignal(signal.SIGINT) is before
