"""uvicorn's server with a drain that loses no request.

When told to stop, uvicorn closes the listening socket and every idle connection at once. Both cut
off clients that could not know: for a while new connections still arrive, and requests still arrive
on connections that clients keep alive (kubernetes #43576, #86280). Here the process goes on serving
for a window in which each response ends its connection; what is left at the window's end has not
been used for all that time. README of the sequence: `DrainPlan`.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
from dataclasses import dataclass
from types import FrameType
from typing import Self

import uvicorn
from starlette.types import ASGIApp

from app.connection import Connection, is_readable
from app.lifecycle import Lifecycle
from app.settings import Settings

BACKLOG = 2048
_TICK = 0.05
_ACCEPT_TURNS = 20
_FLUSH_SECONDS = 0.3
_logger = logging.getLogger("aegis.server")


@dataclass(frozen=True, kw_only=True)
class DrainPlan:
    """When each step of the drain comes, in seconds after the signal.

    Attributes:
        quiet: The window ends early after so long without connections and requests.
        window: Until then new connections are accepted and idle ones left open.
        answer: Until then running requests may finish; then they are answered 503.
    """

    quiet: float
    window: float
    answer: float

    @classmethod
    def within(cls, seconds: float) -> Self:
        """Divides the time the whole drain may take, the process's exit included."""
        answer = seconds - min(1.0, seconds * 0.2)
        window = answer - min(5.0, seconds * 0.25)
        return cls(quiet=min(2.0, window / 3), window=window, answer=answer)


class DrainingServer(uvicorn.Server):
    """A uvicorn server that drains on SIGTERM and SIGINT.

    A second signal ends the window at once; running requests are still answered.

    Attributes:
        abandoned: Requests that were begun but not answered by the end of the drain; their
            clients got 503, or the end of a response that had begun.
    """

    def __init__(self, config: uvicorn.Config, lifecycle: Lifecycle, plan: DrainPlan) -> None:
        super().__init__(config)
        self.abandoned = 0
        self._lifecycle = lifecycle
        self._plan = plan
        self._signals: list[signal.Signals] = []
        self._announced = False

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:  # noqa: ARG002
        """Begins the drain. Runs inside a signal handler: it must neither log nor wait."""
        self._signals.append(signal.Signals(sig))
        self._lifecycle.drain()
        if not self.started:
            self.should_exit = True

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listens, and only then is ready."""
        await super().startup(sockets)
        self._lifecycle.started()
        for sock in sockets or []:
            host, port = sock.getsockname()[:2]
            _logger.info("listening", extra={"host": host, "port": port})

    async def on_tick(self, counter: int) -> bool:
        """Whether the time of serving is over: looked at ten times a second."""
        stop = await super().on_tick(counter)
        if self._lifecycle.draining and not self._announced:
            self._announced = True
            _logger.info(
                "draining",
                extra={
                    "signal": self._signals[0].name,
                    "connections": len(self.server_state.connections),
                    "window_seconds": self._plan.window,
                },
            )
        return stop or self._window_is_over()

    def _window_is_over(self) -> bool:
        if not self._lifecycle.draining:
            return False
        if len(self._signals) > 1 or self._lifecycle.drained_for >= self._plan.window:
            return True
        return not self._in_use and self._lifecycle.quiet_for >= self._plan.quiet

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Ends the drain: accepts no more, closes what is idle, finishes what runs."""
        self._lifecycle.drain()
        await self._stop_accepting(sockets or [])
        closed_idle = 0
        while self._in_use and self._lifecycle.drained_for < self._plan.answer:
            for connection in self._connections:
                if connection.idle and not connection.transport.is_closing():
                    connection.transport.close()
                    closed_idle += 1
            await asyncio.sleep(_TICK)
        await self._abandon_the_rest()
        await self.lifespan.shutdown()
        _logger.log(
            logging.ERROR if self.abandoned else logging.INFO,
            "drained",
            extra={
                "seconds": round(self._lifecycle.drained_for, 2),
                "closed_idle": closed_idle,
                "abandoned": self.abandoned,
            },
        )

    @property
    def _in_use(self) -> bool:
        # A task without a connection is a request whose client left: its work is finished, too.
        return bool(self.server_state.connections or self.server_state.tasks)

    @property
    def _connections(self) -> list[Connection]:
        return [c for c in self.server_state.connections if isinstance(c, Connection)]

    async def _stop_accepting(self, sockets: list[socket.socket]) -> None:
        # Closing a listening socket resets the connections that wait in its queue: take them first.
        for _ in range(_ACCEPT_TURNS):
            if not any(is_readable(sock.fileno()) for sock in sockets):
                break
            await asyncio.sleep(0)
        for server in self.servers:
            server.close()
        for sock in sockets:
            sock.close()

    async def _abandon_the_rest(self) -> None:
        self.abandoned = sum(connection.busy for connection in self._connections)
        tasks = list(self.server_state.tasks)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=_FLUSH_SECONDS)
        for connection in self._connections:
            connection.end()
        loop = asyncio.get_running_loop()
        flushed = loop.time() + _FLUSH_SECONDS
        while self.server_state.connections and loop.time() < flushed:
            await asyncio.sleep(_TICK / 5)
        for connection in self._connections:
            connection.transport.abort()


def make_server(
    app: ASGIApp, settings: Settings, lifecycle: Lifecycle, plan: DrainPlan | None = None
) -> DrainingServer:
    """Builds the server of an application; its `serve` takes the listening socket."""
    config = uvicorn.Config(
        app,
        http=Connection,
        loop="uvloop",
        interface="asgi3",
        lifespan="on",
        ws="none",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        backlog=BACKLOG,
        timeout_keep_alive=settings.keep_alive_seconds,
    )
    return DrainingServer(config, lifecycle, plan or DrainPlan.within(settings.drain_seconds))


def listen(settings: Settings) -> socket.socket:
    """Opens the listening socket; raises OSError when the address cannot be had."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    return socket.create_server((settings.host, settings.port), family=family, backlog=BACKLOG)


def run(
    app: ASGIApp, settings: Settings, lifecycle: Lifecycle, listener: socket.socket
) -> DrainingServer:
    """Serves until a signal, then drains.

    Returns:
        The server, for what became of its last requests.
    """
    server = make_server(app, settings, lifecycle)
    server.run(sockets=[listener])
    return server
