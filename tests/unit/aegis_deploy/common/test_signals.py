"""Signals end a command in whichever thread they arrive."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable

import pytest

from aegis_deploy.common.signals import Interrupted, Signals


def _soon(act: Callable[[], None]) -> threading.Thread:
    def run() -> None:
        time.sleep(0.3)  # The main thread waits by then.
        act()

    thread = threading.Thread(target=run)
    thread.start()
    return thread


def test_the_main_thread_is_woken_for_a_signal_that_another_thread_got() -> None:
    never = threading.Event()
    began = time.monotonic()
    thread = _soon(lambda: signal.pthread_kill(threading.get_ident(), signal.SIGTERM))
    with pytest.raises(Interrupted), Signals().installed():
        never.wait(120)
    thread.join()
    assert time.monotonic() - began < 60


def test_one_signal_stops_what_runs_and_a_second_one_the_command() -> None:
    signals, stopped = Signals(), threading.Event()
    with signals.installed(), signals.stopping(stopped.set):
        thread = _soon(lambda: os.kill(os.getpid(), signal.SIGINT))
        assert stopped.wait(60)
        time.sleep(0.3)
        thread.join()
        assert signals.received == signal.SIGINT
        with pytest.raises(Interrupted):
            os.kill(os.getpid(), signal.SIGINT)


def test_everything_is_as_before_afterwards() -> None:
    def handlers() -> list[object]:
        return [signal.getsignal(it) for it in (signal.SIGINT, signal.SIGTERM, signal.SIGURG)]

    before = handlers()
    with Signals().installed():
        assert handlers() != before
    assert handlers() == before
    assert signal.set_wakeup_fd(-1) == -1
    assert "wake" not in {thread.name for thread in threading.enumerate()}
