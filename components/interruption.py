"""What a program does when its host tells it to end: it ends, and says nothing.

A host interrupts the programs of an update that has failed. Python answers with a traceback of
wherever the program waits just then, which would surround the reason of the failure in what a
person reads, and waits for threads that are at work.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from contextlib import suppress

SAID_WHAT_IS_WRONG = 32
"""The exit code by which Pulumi's Python host knows that the user has been told."""


def end_when_told() -> None:
    """End at once at an interrupt from now on; outside the main thread, leave signals alone."""
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, lambda *_: _end())


def _end() -> None:
    with suppress(OSError, ValueError):
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(SAID_WHAT_IS_WRONG)
