"""app.probe: asked as often as anybody likes, done now and then, and told as it is."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

import pytest

from app.probe import SPACING_SECONDS, DataProbe
from app.problems import ProblemError
from app.records import MockRecords, Page, PageRequest

pytestmark = pytest.mark.anyio


@dataclass
class Data(MockRecords):
    """Data whose next outcomes a test sets, and which waits while a test says so."""

    fails: Exception | None = None
    open: asyncio.Event = field(default_factory=asyncio.Event)
    reads: int = 0
    writes: int = 0

    def __post_init__(self) -> None:
        super().__init__(1000)

    async def page(self, wanted: PageRequest) -> Page:
        self.reads += 1
        await self.open.wait()
        if self.fails is not None:
            raise self.fails
        return await super().page(wanted)

    async def rehearse(self) -> None:
        self.writes += 1


@dataclass
class Clock:
    """A clock that goes when a test says so."""

    now: float = 0.0

    def __call__(self) -> float:
        return self.now


async def test_all_who_ask_meanwhile_are_told_what_one_try_came_to() -> None:
    data, clock = Data(), Clock()
    probe = DataProbe(data, clock=clock)
    asked = [asyncio.create_task(probe.read()) for _ in range(50)]
    await asyncio.sleep(0)
    data.open.set()
    await asyncio.gather(*asked)
    assert data.reads == 1
    clock.now = SPACING_SECONDS
    await probe.read()
    assert (data.reads, data.writes) == (2, 0)
    await probe.write()
    await probe.write()
    assert (data.reads, data.writes) == (2, 1)


@pytest.mark.parametrize("failure", [ProblemError(503, slug="database-away"), ValueError("odd")])
async def test_a_failure_is_told_to_each_and_no_longer_than_it_lasts(failure: Exception) -> None:
    data, clock = Data(fails=failure), Clock()
    data.open.set()
    probe = DataProbe(data, clock=clock)
    for _ in range(2):
        with pytest.raises(type(failure)) as raised:
            await probe.read()
        assert raised.value is failure
    assert data.reads == 1
    data.fails, clock.now = None, SPACING_SECONDS
    await probe.read()


async def test_one_who_leaves_leaves_the_try_to_the_next() -> None:
    data = Data()
    probe = DataProbe(data, clock=Clock())
    first = asyncio.create_task(probe.read())
    await asyncio.sleep(0)
    second = asyncio.create_task(probe.read())
    await asyncio.sleep(0)
    first.cancel()
    data.open.set()
    await second
    assert data.reads == 2
