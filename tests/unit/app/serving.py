"""A server of the service inside the test's own loop, and a client that sees single connections.

The drain's clock goes only when a test moves it, and a held request is answered when a test says
so: what is due comes however slow the machine is, and nothing comes before.
"""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Self

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from app.connection import Connection
from app.lifecycle import Lifecycle
from app.server import DrainingServer, DrainPlan, make_server
from app.service import create_app
from app.settings import Settings

PLAN = DrainPlan(quiet=2, window=14, answer=19)
DEADLINE = 60.0
"""How long a test waits for what must come."""


class Held:
    """Requests for `/held`, which are answered when somebody asks for `/release`.

    Attributes:
        begun: How many have arrived.
    """

    def __init__(self) -> None:
        self.begun = 0
        self._released = asyncio.Event()
        self.routes = [
            Route("/held", self._hold),
            Route("/begun", self._count),
            Route("/release", self._let_go),
        ]

    def release(self) -> None:
        """Has them answered."""
        self._released.set()

    async def _hold(self, _: Request) -> Response:
        self.begun += 1
        await self._released.wait()
        return PlainTextResponse("held and whole")

    async def _count(self, _: Request) -> Response:
        return PlainTextResponse(str(self.begun))

    async def _let_go(self, _: Request) -> Response:
        self.release()
        return PlainTextResponse("released")


@dataclass
class Clock:
    """The drain's clock, which a test moves.

    Attributes:
        now: Its seconds.
    """

    now: float = 1000.0

    def __call__(self) -> float:
        """Tell the time."""
        return self.now


@dataclass(frozen=True, kw_only=True)
class Answer:
    """A response as it came over the wire."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def closes(self) -> bool:
        """Whether it tells the client to leave."""
        return self.headers.get("connection") == "close"

    def json(self) -> Any:
        """The body read as JSON."""
        return json.loads(self.body)


class Client:
    """One connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    @classmethod
    async def connect(cls, port: int) -> Self:
        """Opens a connection to a port of this machine."""
        return cls(*await asyncio.open_connection("127.0.0.1", port))

    def send(self, path: str, *, method: str = "GET") -> None:
        """Sends a request."""
        self.writer.write(f"{method} {path} HTTP/1.1\r\nHost: test\r\n\r\n".encode())

    async def answer(self) -> Answer:
        """Reads one response; EOF before its end is an error."""
        async with asyncio.timeout(DEADLINE):
            head = (await self.reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
            headers = {}
            for line in head[1:-2]:
                name, _, value = line.partition(": ")
                headers[name.lower()] = value
            body = await self.reader.readexactly(int(headers["content-length"]))
        return Answer(status=int(head[0].split()[1]), headers=headers, body=body)

    async def get(self, path: str) -> Answer:
        """Sends a request and reads its response."""
        self.send(path)
        return await self.answer()

    async def closed(self) -> bool:
        """Waits for the server to close; True when nothing was sent before that."""
        async with asyncio.timeout(DEADLINE):
            return await self.reader.read() == b""

    async def close(self) -> None:
        """Closes this end."""
        self.writer.close()
        await self.writer.wait_closed()


@dataclass(frozen=True, kw_only=True)
class Served:
    """A running server.

    Attributes:
        server: It.
        lifecycle: Its lifecycle.
        clock: The lifecycle's clock.
        held: Its requests that wait for the test.
        task: What it runs in.
        port: Where it listens.
        clients: Those that were opened to it.
        looks: The moments at which it looked whether its window is over.
    """

    server: DrainingServer
    lifecycle: Lifecycle
    clock: Clock
    held: Held
    task: asyncio.Task[None]
    port: int
    clients: list[Client] = field(default_factory=list)
    looks: list[float]

    async def connect(self) -> Client:
        """Opens a connection that is closed with the server."""
        client = await Client.connect(self.port)
        self.clients.append(client)
        return client

    async def connected(self) -> Connection:
        """The server's end of the newest connection, once it has one."""
        await until(lambda: bool(self.server.server_state.connections))
        (connection,) = self.server.server_state.connections
        assert isinstance(connection, Connection)
        return connection

    async def holding(self) -> Client:
        """Opens a connection whose request the server has, and holds."""
        client, before = await self.connect(), self.held.begun
        client.send("/held")
        await until(lambda: self.held.begun > before)
        return client

    async def looked(self) -> None:
        """Waits until the server has looked again whether its window is over."""
        before = len(self.looks)
        await until(lambda: len(self.looks) > before)

    async def refuses(self) -> None:
        """Waits until the server accepts no more."""
        async with asyncio.timeout(DEADLINE):
            while True:
                try:
                    await (await Client.connect(self.port)).close()
                except ConnectionRefusedError:
                    return
                await asyncio.sleep(0.005)

    async def stopped(self) -> None:
        """Waits for the server's end."""
        # A task that is cancelled for being late would take the tests' own one with it.
        done, _ = await asyncio.wait([self.task], timeout=DEADLINE)
        assert done, "the server does not end"
        await self.task


async def until(condition: Callable[[], bool]) -> None:
    """Waits for a state."""
    async with asyncio.timeout(DEADLINE):
        while not condition():
            await asyncio.sleep(0.005)


def _looks_of(server: DrainingServer) -> list[float]:
    """Returns a list to which each of a server's looks at its window will be added."""
    looks: list[float] = []
    look = server.on_tick

    async def on_tick(counter: int) -> bool:
        found = await look(counter)
        looks.append(asyncio.get_running_loop().time())
        return found

    server.on_tick = on_tick  # type: ignore[method-assign]
    return looks


@asynccontextmanager
async def serving(*, keep_alive: float = 60) -> AsyncIterator[Served]:
    """Serves the application until the block ends."""
    clock, held, settings = Clock(), Held(), Settings()
    lifecycle = Lifecycle(clock)
    app = create_app(settings, lifecycle, extra_routes=held.routes)
    server = make_server(app, settings, lifecycle, PLAN)
    server.config.timeout_keep_alive = keep_alive  # type: ignore[assignment] # below a second
    looks = _looks_of(server)
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    task = asyncio.create_task(server.serve(sockets=[listener]))
    served = Served(
        server=server,
        lifecycle=lifecycle,
        clock=clock,
        held=held,
        task=task,
        port=port,
        looks=looks,
    )
    await until(lambda: server.started)
    try:
        yield served
    finally:
        held.release()
        for client in served.clients:
            await client.close()
        server.should_exit = True
        clock.now += PLAN.answer
        await served.stopped()
