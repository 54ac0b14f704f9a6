"""A server of the service inside the test's own loop, and a client that sees single connections."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Self

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import BaseRoute, Route

from app.connection import Connection
from app.lifecycle import Lifecycle
from app.server import DrainingServer, DrainPlan, make_server
from app.service import create_app
from app.settings import Settings

# Drains that only what the test does can end, so that a slow machine fails no test.
OPEN = DrainPlan(quiet=20, window=30, answer=40)
SHORT = DrainPlan(quiet=20, window=0.2, answer=40)
DEADLINE = 5.0


async def slow(request: Request) -> Response:
    """Answers after as many seconds as the query says."""
    await asyncio.sleep(float(request.query_params["seconds"]))
    return PlainTextResponse("slow and whole")


SLOW = Route("/slow", slow)


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
    """A running server, the task it runs in, and the clients opened to it."""

    server: DrainingServer
    lifecycle: Lifecycle
    task: asyncio.Task[None]
    port: int
    clients: list[Client]

    async def connect(self) -> Client:
        """Opens a connection that is closed with the server."""
        client = await Client.connect(self.port)
        self.clients.append(client)
        return client

    async def connected(self) -> Connection:
        """The server's end of the newest connection, once it has one."""
        async with asyncio.timeout(DEADLINE):
            while not self.server.server_state.connections:
                await asyncio.sleep(0.005)
        (connection,) = self.server.server_state.connections
        assert isinstance(connection, Connection)
        return connection

    async def stopped(self) -> None:
        """Waits for the server's end."""
        async with asyncio.timeout(DEADLINE):
            await self.task


@asynccontextmanager
async def serving(
    *,
    plan: DrainPlan = OPEN,
    extra_routes: Iterable[BaseRoute] = (SLOW,),
    keep_alive: float = 60,
) -> AsyncIterator[Served]:
    """Serves the application until the block ends."""
    lifecycle, settings = Lifecycle(), Settings()
    app = create_app(settings, lifecycle, extra_routes=extra_routes)
    server = make_server(app, settings, lifecycle, plan)
    server.config.timeout_keep_alive = keep_alive  # type: ignore[assignment] # below a second
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    task = asyncio.create_task(server.serve(sockets=[listener]))
    served = Served(server=server, lifecycle=lifecycle, task=task, port=port, clients=[])
    async with asyncio.timeout(DEADLINE):
        while not server.started:
            await asyncio.sleep(0.005)
    try:
        yield served
    finally:
        for client in served.clients:
            await client.close()
        server.should_exit = True
        await served.stopped()
