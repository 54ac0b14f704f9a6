"""Where the process stands between start and exit; the one thing readiness is decided on."""

from __future__ import annotations

import time
from collections.abc import Callable
from enum import StrEnum


class Phase(StrEnum):
    """What the process is doing."""

    STARTING = "starting"
    READY = "ready"
    DRAINING = "draining"


class Lifecycle:
    """The phase of the process and when it last did work for a client.

    `drain` is called from a signal handler, so it only assigns; nothing here locks or logs.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._phase = Phase.STARTING
        self._drain_started: float | None = None
        self._last_work = clock()
        self._listening = False
        self._awaited: dict[str, str] = {}

    @property
    def phase(self) -> Phase:
        """The current phase."""
        return self._phase

    @property
    def draining(self) -> bool:
        """Whether the process has been told to stop."""
        return self._phase is Phase.DRAINING

    @property
    def drained_for(self) -> float:
        """Seconds since the process was told to stop; 0 when it was not."""
        return 0.0 if self._drain_started is None else self._clock() - self._drain_started

    @property
    def quiet_for(self) -> float:
        """Seconds since the last work, or since the drain began if that was later."""
        return self._clock() - max(self._last_work, self._drain_started or 0.0)

    @property
    def awaits(self) -> str | None:
        """What keeps it from being ready, in a few words; None when it is just starting."""
        return next(iter(self._awaited.values()), None)

    def await_first(self, what: str, why: str) -> None:
        """Does not become ready before something has arrived.

        Args:
            what: It.
            why: How it stands with it, for a person.
        """
        self._awaited[what] = why

    def arrived(self, what: str) -> None:
        """Waits for it no more."""
        self._awaited.pop(what, None)
        self._become_ready()

    def started(self) -> None:
        """Becomes ready, unless it waits for something or was told to stop while starting."""
        self._listening = True
        self._become_ready()

    def _become_ready(self) -> None:
        if self._phase is Phase.STARTING and self._listening and not self._awaited:
            self._phase = Phase.READY

    def drain(self) -> None:
        """Stops being ready, for good. A second call changes nothing."""
        if self._drain_started is None:
            self._drain_started = self._clock()
            self._phase = Phase.DRAINING

    def worked(self) -> None:
        """Notes work for a client; probes and scrapes do not count."""
        self._last_work = self._clock()
