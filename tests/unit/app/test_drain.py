"""The drain: no request that reaches the process is lost, and it ends in time."""

from __future__ import annotations

import asyncio
import signal
import socket
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.lifecycle import Lifecycle
from app.server import DrainPlan, listen, make_server
from app.service import create_app
from app.settings import Settings
from tests.unit.app.serving import DEADLINE, PLAN, Served, serving, until

pytestmark = pytest.mark.anyio


def stop(served: Served) -> None:
    """Does what a signal does."""
    served.server.handle_exit(signal.SIGTERM, None)


async def stop_seen(served: Served) -> None:
    """Does what a signal does, and waits until the server has seen it."""
    stop(served)
    await served.looked()


def receiving(served: Served) -> bool:
    """Whether a request has begun to arrive."""
    return any(it.busy for it in served.server._connections)


class TestPlan:
    """The steps fit into the time given, in order."""

    @given(st.floats(1, 3600))
    def test_every_step_has_time_and_the_exit_too(self, seconds: float) -> None:
        plan = DrainPlan.within(seconds)
        assert 0 < plan.quiet < plan.window < plan.answer < seconds
        assert seconds - plan.answer >= 0.19

    def test_of_twenty_seconds_fourteen_are_the_window(self) -> None:
        assert DrainPlan.within(20) == DrainPlan(quiet=2, window=14, answer=19)


class TestWindow:
    """While it lasts everything that arrives is served, and told to leave."""

    async def test_before_it_connections_stay_open(self) -> None:
        async with serving() as served:
            client = await served.connect()
            for _ in range(3):
                assert not (await client.get("/v1/records")).closes

    async def test_an_idle_connections_next_request_is_served_and_its_last(self) -> None:
        async with serving() as served:
            client = await served.connect()
            await client.get("/v1/records")
            await stop_seen(served)
            answer = await client.get("/v1/records")
            assert (answer.status, answer.closes) == (200, True)
            assert await client.closed()

    async def test_new_connections_are_served(self) -> None:
        async with serving() as served:
            await stop_seen(served)
            answer = await (await served.connect()).get("/v1/records")
            assert (answer.status, answer.closes) == (200, True)

    async def test_readiness_is_lost_at_once_and_liveness_never(self) -> None:
        async with serving() as served:
            first, second = await served.connect(), await served.connect()
            assert (await first.get("/readyz")).status == 200
            stop(served)
            assert (await first.get("/readyz")).status == 503
            assert (await second.get("/livez")).status == 200

    async def test_a_request_that_runs_is_finished_and_its_connection_closed(self) -> None:
        async with serving() as served:
            client = await served.holding()
            await stop_seen(served)
            served.held.release()
            answer = await client.answer()
            assert (answer.status, answer.body, answer.closes) == (200, b"held and whole", True)

    async def test_it_ends_early_when_nobody_is_there(self) -> None:
        async with serving() as served:
            await (await served.connect()).close()
            await until(lambda: not served.server.server_state.connections)
            stop(served)
            served.clock.now += PLAN.quiet - 0.5
            await served.looked()
            await served.looked()
            assert not served.task.done()
            served.clock.now += 0.5
            await served.stopped()

    async def test_work_keeps_it_from_ending_early_and_probes_do_not(self) -> None:
        async with serving() as served:
            stop(served)
            served.clock.now += PLAN.quiet - 0.5
            assert (await (await served.connect()).get("/v1/records")).status == 200
            served.clock.now += PLAN.quiet - 0.5
            assert (await (await served.connect()).get("/livez")).status == 200
            await until(lambda: not served.server.server_state.connections)
            await served.looked()
            await served.looked()
            assert not served.task.done()
            served.clock.now += 0.5
            await served.stopped()

    async def test_a_second_signal_ends_it_and_still_answers(self) -> None:
        async with serving() as served:
            idle, busy = await served.connect(), await served.holding()
            await idle.get("/livez")
            stop(served)
            stop(served)
            assert await idle.closed()
            served.held.release()
            assert (await busy.answer()).status == 200
            await served.stopped()
            assert served.server.abandoned == 0


class TestEnd:
    """At its end only what is idle is closed; what runs is answered."""

    async def test_idle_connections_are_closed_then_and_not_before(self) -> None:
        async with serving() as served:
            client = await served.connect()
            await client.get("/livez")
            stop(served)
            served.clock.now += PLAN.window - 0.5
            await served.looked()
            await served.looked()
            assert not client.reader.at_eof()
            served.clock.now += 0.5
            assert await client.closed()
            await served.stopped()

    async def test_no_new_connection_is_accepted_after_it(self) -> None:
        async with serving() as served:
            busy = await served.holding()
            stop(served)
            await (await served.connect()).close()
            served.clock.now += PLAN.window
            await served.refuses()
            served.held.release()
            assert (await busy.answer()).status == 200

    async def test_a_request_half_received_is_not_cut(self) -> None:
        async with serving() as served:
            client, idle = await served.connect(), await served.connect()
            await client.get("/livez")
            await idle.get("/livez")
            client.writer.write(b"GET /v1/records HTTP/1.1\r\nHo")
            await until(lambda: receiving(served))
            stop(served)
            served.clock.now += PLAN.window
            assert await idle.closed()
            client.writer.write(b"st: test\r\n\r\n")
            answer = await client.answer()
            assert (answer.status, answer.closes) == (200, True)

    async def test_connections_that_wait_to_be_accepted_are_served(self) -> None:
        async with serving() as served:
            stop(served)
            stop(served)
            raw = [socket.create_connection(("127.0.0.1", served.port)) for _ in range(20)]
            for sock in raw:
                sock.sendall(b"GET /livez HTTP/1.1\r\nHost: test\r\n\r\n")
            # The loop stands still, so the window's end is seen before the connections are.
            time.sleep(0.15)
            await served.stopped()
            for sock in raw:
                assert sock.recv(4096).startswith(b"HTTP/1.1 200 OK\r\n")
                sock.close()

    async def test_a_request_that_never_ends_is_answered_503_in_time(self) -> None:
        async with serving() as served:
            client, idle = await served.holding(), await served.connect()
            await idle.get("/livez")
            stop(served)
            served.clock.now += PLAN.answer - 0.5
            assert await idle.closed()
            assert not served.task.done()
            served.clock.now += 0.5
            answer = await client.answer()
            assert (answer.status, answer.closes) == (503, True)
            assert answer.json()["type"] == "urn:aegis:problem:stopping"
            await served.stopped()
            assert served.server.abandoned == 1

    async def test_a_request_that_waits_on_an_idle_connection_is_served(self) -> None:
        async with serving() as served:
            with socket.create_connection(("127.0.0.1", served.port), timeout=DEADLINE) as raw:
                raw.sendall(b"GET /livez HTTP/1.1\r\nHost: test\r\n\r\n")
                first = await asyncio.to_thread(raw.recv, 4096)
                assert first.startswith(b"HTTP/1.1 200 OK\r\n")
                stop(served)
                raw.sendall(b"GET /livez HTTP/1.1\r\nHost: test\r\n\r\n")
                # It looks at the connection before the loop can have read the request.
                await served.server.shutdown([])
                assert raw.recv(4096).startswith(b"HTTP/1.1 200 OK\r\n")

    async def test_a_request_never_received_whole_is_answered_503_in_time(self) -> None:
        async with serving() as served:
            client = await served.connect()
            client.writer.write(b"GET /livez HTTP/1.1\r\nHo")
            await until(lambda: receiving(served))
            stop(served)
            served.clock.now += PLAN.answer
            answer = await client.answer()
            assert (answer.status, answer.closes) == (503, True)
            assert answer.headers["retry-after"] == "1"
            await served.stopped()
            assert served.server.abandoned == 1

    async def test_work_whose_client_left_is_finished_and_not_called_abandoned(self) -> None:
        async with serving() as served:
            await (await served.holding()).close()
            await until(lambda: not served.server.server_state.connections)
            (task,) = served.server.server_state.tasks
            stop(served)
            served.clock.now += PLAN.window
            await served.refuses()
            assert not task.done()
            served.held.release()
            await served.stopped()
            assert not task.cancelled()
            assert task.done()
            assert served.server.abandoned == 0


class TestStart:
    """A signal that comes early is not lost."""

    async def test_told_to_stop_before_it_listens_it_stops_without_serving(self) -> None:
        lifecycle, settings = Lifecycle(), Settings(host="127.0.0.1", port=0)
        server = make_server(create_app(settings, lifecycle), settings, lifecycle)
        server.handle_exit(signal.SIGTERM, None)
        async with asyncio.timeout(DEADLINE):
            await server.serve(sockets=[listen(settings)])
        assert lifecycle.draining
        assert server.abandoned == 0
