"""The service as a process: started as the image starts it, stopped as a cluster stops it."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.launching import without_files
from tests.unit.app.serving import DEADLINE, Client

pytestmark = pytest.mark.anyio

ROOT = Path(__file__).parents[3]
SLOW_SERVICE = [str(Path(__file__).with_name("slow_service.py"))]
SERVICE = ["-m", "app"]
TOKEN = "s3cret-token"


@dataclass(kw_only=True)
class Process:
    """A running service and every line it has logged."""

    child: asyncio.subprocess.Process
    lines: list[dict[str, object]] = field(default_factory=list)

    async def read_log(self) -> None:
        """Reads the log to its end: a full pipe would stop the service."""
        assert self.child.stdout is not None
        async for line in self.child.stdout:
            self.lines.append(json.loads(line))

    async def listening(self) -> int:
        """Waits for the line that names the port."""
        async with asyncio.timeout(DEADLINE):
            while True:
                for line in self.lines:
                    if line["message"] == "listening":
                        return int(str(line["port"]))
                await asyncio.sleep(0.01)

    async def exit_code(self) -> int:
        """Waits for the end."""
        async with asyncio.timeout(DEADLINE):
            return await self.child.wait()


async def start(arguments: list[str], **environment: str) -> asyncio.subprocess.Process:
    """Starts python with nothing in its environment but what is given; it writes no file."""
    return await asyncio.create_subprocess_exec(
        *without_files([sys.executable, *arguments]),
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], "PYTHONDONTWRITEBYTECODE": "1", **environment},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


@asynccontextmanager
async def service(
    arguments: list[str], *, drain_seconds: float = 2
) -> AsyncIterator[tuple[Process, int]]:
    """Runs the service until the block ends; also gives its port."""
    child = await start(
        arguments,
        AEGIS_ENVIRONMENT="development",
        AEGIS_DATA_PROFILE="mock",
        AEGIS_HOST="127.0.0.1",
        AEGIS_PORT="0",
        AEGIS_DRAIN_SECONDS=str(drain_seconds),
        AEGIS_API_TOKEN=TOKEN,
    )
    process = Process(child=child)
    reading = asyncio.create_task(process.read_log())
    try:
        yield process, await process.listening()
    finally:
        if child.returncode is None:
            child.kill()
        await child.wait()
        await reading


async def ask_again_and_again(port: int, times: int) -> list[str]:
    """Asks as a client of the cluster does: on one connection while it may, then on a new one.

    The cluster's proxies learn of the end late, so new connections come for a while.

    Args:
        port: Whom.
        times: How often it has to be told to leave until it does.

    Returns:
        What went wrong.
    """
    told, client = 0, None
    failures: list[str] = []
    while told < times and len(failures) < times:
        try:
            client = client or await Client.connect(port)
            answer = await client.get("/version")
        except (OSError, asyncio.IncompleteReadError) as error:
            failures.append(repr(error))
            client = None
            continue
        if answer.status != 200:
            failures.append(str(answer.status))
        if answer.closes:
            told += 1
            await client.close()
            client = None
        await asyncio.sleep(0.002)
    if client:
        await client.close()
    return failures


class TestStopping:
    """Stopped under load: nothing fails, exit code 0, within the time set."""

    async def test_under_load_no_request_fails(self) -> None:
        async with service(SLOW_SERVICE) as (process, port):
            load = [asyncio.create_task(ask_again_and_again(port, 10)) for _ in range(8)]
            idle, held = await Client.connect(port), await Client.connect(port)
            held.send("/held")
            async with asyncio.timeout(DEADLINE):
                while (await idle.get("/begun")).body != b"1":
                    await asyncio.sleep(0.005)
            process.child.terminate()
            assert [failure for it in load for failure in await it] == []
            assert (await idle.get("/release")).closes
            answer = await held.answer()
            assert (answer.status, answer.body, answer.closes) == (200, b"held and whole", True)
            await idle.close()
            await held.close()
            assert await process.exit_code() == 0
        assert process.lines[-2]["message"] == "drained"
        assert process.lines[-2]["abandoned"] == 0
        assert TOKEN not in json.dumps(process.lines)
        assert process.child.stderr is not None
        assert await process.child.stderr.read() == b""


class TestStarting:
    """`python -m app`, as the image starts it."""

    async def test_it_serves_what_its_settings_say_until_interrupted(self) -> None:
        async with service(SERVICE, drain_seconds=1) as (process, port):
            client = await Client.connect(port)
            assert (await client.get("/readyz")).status == 200
            assert (await client.get("/v1/records")).status == 401
            await client.close()
            process.child.send_signal(signal.SIGINT)
            assert await process.exit_code() == 0

    async def test_bad_settings_are_told_in_plain_words_with_exit_code_2(self) -> None:
        child = await start(SERVICE, AEGIS_ENVIRONMENT="prod", AEGIS_PORT="x", AEGIS_API_TOKEN="")
        stdout, stderr = await child.communicate()
        assert child.returncode == 2
        assert stdout == b""
        lines = stderr.decode().splitlines()
        assert lines[0] == "error: aegis-api cannot start: 4 settings are wrong"
        assert [line.split()[0].partition("=")[0] for line in lines[1:-1]] == [
            "AEGIS_ENVIRONMENT",
            "AEGIS_DATA_PROFILE",
            "AEGIS_PORT",
            "AEGIS_API_TOKEN",
        ]
