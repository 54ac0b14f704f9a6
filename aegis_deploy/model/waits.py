"""What an update has begun and not ended: what is waited for while nothing else is told."""

from __future__ import annotations

import threading

from aegis_deploy.model.events import Event
from aegis_deploy.model.fingerprint import called

_SHOWN = 3
_LONGEST = 120


class Waits:
    """The steps that an update has begun, and what was said of them last; for several threads."""

    def __init__(self) -> None:
        self._begun: dict[str, str] = {}
        self._said: dict[str, str] = {}
        self._lock = threading.Lock()

    def note(self, event: Event) -> None:
        """Hear an event of the update."""
        with self._lock:
            if event.kind == "begins" and event.step is not None:
                if event.step.custom and event.step.op != "same":
                    self._begun[event.urn] = called(event.step)
            elif event.kind in {"ends", "fails"}:
                self._begun.pop(event.urn, None)
                self._said.pop(event.urn, None)
            elif event.kind == "says" and event.urn in self._begun and event.message:
                self._said[event.urn] = event.message.splitlines()[0][:_LONGEST]

    def line(self) -> str:
        """What has begun and not ended; empty when there is nothing."""
        with self._lock:
            lines = [
                f"{what} ({self._said[urn]})" if urn in self._said else what
                for urn, what in self._begun.items()
            ]
        more = len(lines) - _SHOWN
        return ", ".join([*lines[:_SHOWN], *([f"and {more} more"] if more > 0 else [])])
