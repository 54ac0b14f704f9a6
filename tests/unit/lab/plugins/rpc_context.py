"""A gRPC call's context, for calling a servicer's methods directly."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import grpc


class AbortedError(Exception):
    """What ``context.abort`` raises."""


class RecordingContext:
    """The part of a ServicerContext that the plugins use."""

    def __init__(self) -> None:
        self.callbacks: list[Callable[[], None]] = []
        self.code: grpc.StatusCode | None = None

    def abort(self, code: grpc.StatusCode, message: str) -> None:
        """Record the code and raise the message."""
        self.code = code
        raise AbortedError(message)

    def add_callback(self, callback: Callable[[], None]) -> bool:
        """Keep what would run when the caller hangs up."""
        self.callbacks.append(callback)
        return True


def context() -> Any:
    """Return a fresh context, typed as loosely as the protocol's own."""
    return RecordingContext()
