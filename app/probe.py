"""Whether the service works with its data, for whoever deploys it: `/probe`.

It needs no token, since a gate has none and is to need none. So it shows no data and does little:
however many ask, each pod tries it a few times a second, and all who ask meanwhile get what that
try came to. Nobody is turned away, so that nobody else can make a release look bad.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

from app.records import PageRequest, RecordSource

SPACING_SECONDS = 0.2
"""How old an outcome may be that is told again."""


class DataProbe:
    """Tries out the ways that clients' requests take to the data."""

    def __init__(
        self, records: RecordSource, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Prepare it.

        Args:
            records: The data.
            clock: What time it is.
        """
        self._records = records
        self._read = _Shared(self._page, clock)
        self._write = _Shared(records.rehearse, clock)

    async def read(self) -> None:
        """Reads a record as a client would.

        Raises:
            ProblemError: What a client would be told.
        """
        await self._read.outcome()

    async def write(self) -> None:
        """Writes a record as a client would, and keeps nothing of it.

        Raises:
            ProblemError: What a client would be told.
        """
        await self._write.outcome()

    async def _page(self) -> None:
        page = await self._records.page(PageRequest(limit=1))
        for record in page.records:
            record.as_json()


class _Shared:
    """Work that is done now and then; whoever asks in between gets what it came to."""

    def __init__(self, work: Callable[[], Awaitable[None]], clock: Callable[[], float]) -> None:
        self._work, self._clock = work, clock
        self._turn = asyncio.Lock()
        self._ended: float | None = None
        self._failure: Exception | None = None

    async def outcome(self) -> None:
        """Returns when it went well, and raises what it raised otherwise."""
        async with self._turn:
            if self._ended is None or self._clock() - self._ended >= SPACING_SECONDS:
                try:
                    await self._work()
                except Exception as error:
                    self._failure = error
                else:
                    self._failure = None
                self._ended = self._clock()
            failure = self._failure
        if failure is not None:
            raise failure.with_traceback(None)
