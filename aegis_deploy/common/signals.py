"""SIGINT and SIGTERM: stop what runs cleanly, and do not start anything else.

GitHub's runners send SIGINT, SIGTERM 7.5 s later and a kill 2.5 s after that, so an update that
runs is told to stop at the first signal and nothing is begun after it.

Python answers a signal in its main thread, but the kernel may give it to another one, and then the
main thread learns of it only when what it waits for is over. So it is woken.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM)
_WAKE = signal.SIGURG
"""Nobody sends it, and who has no handler for it ignores it."""
_END_SECONDS = 1.0


class Interrupted(BaseException):
    """A signal asked the command to stop."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number


class Signals:
    """What signals do: raise :class:`Interrupted`, or stop the update that runs.

    Attributes:
        received: The first signal there was, or None.
    """

    def __init__(self) -> None:
        self.received: int | None = None
        self._stop: Callable[[], None] | None = None

    @property
    def interrupted(self) -> bool:
        """Whether one asked to stop."""
        return self.received is not None

    @contextmanager
    def installed(self) -> Iterator[None]:
        """Answer signals while the block runs; outside the main thread, leave them alone."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.signal(number, self._handle) for number in SIGNALS}
        try:
            with _waking():
                yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    @contextmanager
    def stopping(self, stop: Callable[[], None]) -> Iterator[None]:
        """While the block runs, a signal calls `stop` and lets the block end by itself."""
        self._stop = stop
        try:
            yield
        finally:
            self._stop = None

    def _handle(self, number: int, _frame: FrameType | None) -> None:
        again = self.received is not None
        self.received = self.received or number
        if self._stop is None or again:
            raise Interrupted(number)
        # Not here: the handler runs in the middle of whatever the main thread does.
        threading.Thread(target=self._stop, name="stop", daemon=True).start()


@contextmanager
def _waking() -> Iterator[None]:
    """While the block runs, every signal wakes this thread, the main one."""
    told, tell = os.pipe()
    os.set_blocking(tell, False)
    main = threading.get_ident()

    def wake() -> None:
        while number := os.read(told, 1):
            if number[0] in SIGNALS:
                signal.pthread_kill(main, _WAKE)
        os.close(told)

    handler = signal.signal(_WAKE, lambda *_: None)
    descriptor = signal.set_wakeup_fd(tell, warn_on_full_buffer=False)
    thread = threading.Thread(target=wake, name="wake", daemon=True)
    thread.start()
    try:
        yield
    finally:
        signal.set_wakeup_fd(descriptor)
        os.close(tell)
        thread.join(_END_SECONDS)
        signal.signal(_WAKE, handler)
