"""One connection: when closing it loses nothing, and what a client may not do with it."""

from __future__ import annotations

import asyncio
import socket

import pytest

from app import connection as connection_module
from tests.unit.app.serving import DEADLINE, serving

pytestmark = pytest.mark.anyio

REQUEST = b"GET /livez HTTP/1.1\r\nHost: test\r\n\r\n"


class TestIdle:
    """A connection is idle only when no request can be known to be on its way."""

    async def test_a_young_one_without_a_request_is_not(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async with serving() as served:
            await served.connect()
            connection = await served.connected()
            assert not connection.idle
            monkeypatch.setattr(connection_module, "_YOUNG_SECONDS", 0.0)
            assert connection.idle

    async def test_one_that_was_answered_is(self) -> None:
        async with serving() as served:
            await (await served.connect()).get("/livez")
            assert (await served.connected()).idle

    async def test_one_that_is_being_answered_is_not(self) -> None:
        async with serving() as served:
            client = await served.holding()
            connection = await served.connected()
            assert connection.busy
            served.held.release()
            await client.answer()
            assert not connection.busy

    async def test_one_whose_next_request_waits_in_the_kernel_is_not(self) -> None:
        async with serving() as served:
            with socket.create_connection(("127.0.0.1", served.port), timeout=DEADLINE) as raw:
                connection = await served.connected()
                raw.sendall(REQUEST)
                # The loop has not run since: the server cannot have read it.
                assert not connection.busy
                assert connection.has_unread_data()
                assert not connection.idle
                connection.timeout_keep_alive_handler()
                answer = await asyncio.to_thread(raw.recv, 4096)
                assert answer.startswith(b"HTTP/1.1 200 OK\r\n")

    async def test_one_that_is_closing_has_nothing_to_read(self) -> None:
        async with serving() as served:
            await served.connect()
            connection = await served.connected()
            connection.transport.close()
            assert not connection.has_unread_data()


class TestKeepAlive:
    """Connections that nobody uses are closed after the time set, and not sooner."""

    async def test_one_that_stopped_asking(self) -> None:
        async with serving() as served:
            client = await served.connect()
            connection = await served.connected()
            await client.get("/livez")
            clock = connection.timeout_keep_alive_task
            connection.timeout_keep_alive = 0.06  # type: ignore[assignment] # below a second
            await client.get("/livez")
            assert clock is not None
            assert clock.cancelled()
            assert await client.closed()

    async def test_one_that_never_asked(self) -> None:
        async with serving(keep_alive=0.06) as served:
            assert await (await served.connect()).closed()


class TestRefused:
    """What is not a request we accept gets a problem document and the end of the connection."""

    async def test_what_is_not_http(self) -> None:
        async with serving() as served:
            client = await served.connect()
            client.writer.write(b"\x16\x03\x01 this is no HTTP\r\n\r\n")
            answer = await client.answer()
            assert (answer.status, answer.closes) == (400, True)
            assert answer.headers["content-type"] == "application/problem+json"
            assert answer.json()["status"] == 400
            assert await client.closed()

    @pytest.mark.parametrize("part", ["target", "header", "headers"])
    async def test_a_head_that_is_too_large(self, part: str) -> None:
        large = "x" * 40_000
        head = {
            "target": f"GET /{large} HTTP/1.1\r\n",
            "header": f"GET / HTTP/1.1\r\nX-Large: {large}\r\n",
            "headers": "GET / HTTP/1.1\r\n" + "X-Many: xxxxxxxxxx\r\n" * 3000,
        }[part]
        async with serving() as served:
            client = await served.connect()
            client.writer.write(head.encode() + b"Host: test\r\n\r\n")
            answer = await client.answer()
            assert (answer.status, answer.closes) == (431, True)

    async def test_a_head_that_never_ends(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(connection_module, "HEAD_SECONDS", 0.1)
        async with serving() as served:
            client = await served.connect()
            client.writer.write(b"GET / HTTP/1.1\r\nHost:")
            answer = await client.answer()
            assert (answer.status, answer.closes) == (408, True)
            assert await client.closed()
