"""Programs of this process, served to the CLI by Pulumi's SDK. Imported only for one of them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import grpc
from pulumi.automation._server import LanguageServer
from pulumi.runtime import _grpc_settings
from pulumi.runtime.proto import language_pb2_grpc

_AT_ONCE = 4
_END_SECONDS = 5.0
_OWN_CONNECTIONS = ("grpc.use_local_subchannel_pool", 1)
"""Has every connection of the SDK be its own.

The kernel gives an engine a port that an earlier engine of this process may have had. gRPC shares
what it knows of an address between channels, and would refuse the new engine for as long as it
backs off from the dead one (up to two minutes).
"""

if _OWN_CONNECTIONS not in _grpc_settings._GRPC_CHANNEL_OPTIONS:
    _grpc_settings._GRPC_CHANNEL_OPTIONS.append(_OWN_CONNECTIONS)


@contextmanager
def serving(program: Callable[[], Any]) -> Iterator[int]:
    """Serve a program while the block runs; yields the port on the loopback.

    Args:
        program: What registers resources.
    """
    loops: list[asyncio.AbstractEventLoop] = []

    def noting() -> Any:  # noqa: ANN401 - whatever the program returns
        loops.append(asyncio.get_running_loop())
        return program()

    server = grpc.server(ThreadPoolExecutor(_AT_ONCE), options=_grpc_settings._GRPC_CHANNEL_OPTIONS)
    language_pb2_grpc.add_LanguageRuntimeServicer_to_server(LanguageServer(noting), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield port
    finally:
        server.stop(0)
        _close(loops)


def _close(loops: Iterable[asyncio.AbstractEventLoop]) -> None:
    """Close the loops of runs that were cut short: the SDK leaves those."""
    deadline = time.monotonic() + _END_SECONDS
    for loop in loops:
        while loop.is_running() and time.monotonic() < deadline:
            time.sleep(0.01)
        if not loop.is_running():
            loop.close()
