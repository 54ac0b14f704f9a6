"""The deployer dies at a seeded moment; whoever comes next brings everything back in order.

``AEGIS_DEATHS`` says how many deaths of a deploy and of a rollback there shall be, ``AEGIS_SEED``
which. Each moment is printed, so that one that fails can be had again, on a machine of the same
speed. Without it there are few, with 0 none; `make deaths` has more.
"""

from __future__ import annotations

import json
import os
import random
import signal
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest

from tests.e2e.doomed_stand import SIGNALS, VICTIMS, Doomed, doomed
from tests.e2e.traffic import Seen
from tests.series import deaths

DEATHS = int(os.environ.get("AEGIS_DEATHS", "1"))
SEED = int(os.environ.get("AEGIS_SEED", "4"))


@pytest.fixture(scope="module")
def it(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Doomed]:
    with doomed(tmp_path_factory.mktemp("doomed")) as made:
        yield made


@dataclass
class Tally:
    """What there was to count."""

    kinds: Counter[str] = field(default_factory=Counter)
    requests: int = 0
    failed: list[str] = field(default_factory=list)
    recoveries: list[float] = field(default_factory=list)
    ends: list[float] = field(default_factory=list)

    def add(self, seen: list[Seen]) -> None:
        """Add what requests saw."""
        for one in seen:
            self.requests += one.total
            self.failed += one.failures
            self.failed += [f"status {it}" for it in one.answers if it != 200]

    def __str__(self) -> str:
        """Say all of it."""
        times = sorted(self.recoveries) or [0.0]
        return (
            f"{sum(self.kinds.values())} deaths; {self.requests} requests, "
            f"{len(self.failed)} failed; {dict(self.kinds)}; recovery median "
            f"{times[len(times) // 2]:.1f} s, longest {times[-1]:.1f} s; "
            f"longest end of a deployer {max(self.ends, default=0):.1f} s"
        )


@dataclass(frozen=True)
class Doom:
    """Who dies how and when.

    Attributes:
        victim: One of `VICTIMS`.
        number: The signal.
        after: The seconds after which it comes.
    """

    victim: str
    number: signal.Signals
    after: float

    def __str__(self) -> str:
        """Say it."""
        return f"{self.number.name} to {self.victim} after {self.after:.1f} s"


@deaths
@pytest.mark.skipif(DEATHS == 0, reason="AEGIS_DEATHS is 0")
@pytest.mark.parametrize("what", ["deploy", "rollback"])
def test_every_death_is_recovered_from_with_no_request_lost(it: Doomed, what: str) -> None:
    chance = random.Random(f"{SEED} {what}")  # noqa: S311 - to be repeated, not to be secret
    tally = Tally()
    it.choose("v0")
    it.aegis("deploy", "--yes")
    it.choose("v1")
    started = time.monotonic()
    it.aegis("deploy", "--yes")
    whole = time.monotonic() - started
    if what == "rollback":
        started = time.monotonic()
        it.aegis("rollback", "--yes")
        whole = time.monotonic() - started
        # The next deploy brings the other one back.
    print(f"seed {SEED}: {DEATHS} deaths within the {whole:.1f} s of a {what}")  # noqa: T201
    for death in range(1, DEATHS + 1):
        victim, number = chance.choice(VICTIMS), chance.choice(SIGNALS)
        # Spread over all of it, one in each part.
        after = whole * (death - 1 + chance.random()) / DEATHS
        with it.busy() as seen:
            _one(it, f"{what} {death}", Doom(victim, number, after), tally)
        tally.add(seen)
        assert tally.failed == []
    print(f"{what}: {tally}")  # noqa: T201
    assert tally.failed == []
    assert tally.requests > 100 * DEATHS


def _one(it: Doomed, title: str, doom: Doom, tally: Tally) -> None:
    what = title.partition(" ")[0]
    it.choose(title.replace(" ", "-"))
    if what == "rollback":
        # Something to go back from, verified, so that only the rollback's own aim leads on.
        it.aegis("deploy", "--yes")
    before = it.current()
    end = it.die([what, "--yes"], doom.victim, doom.number, doom.after)
    told = f"{title}: {doom}: exit {end.code}"
    assert end.code in (0, 1, 3, 4, 130, -doom.number), f"{told}\n{end.output}"
    started = time.monotonic()
    done = it.aegis("recover", "--json", expect=None)
    seconds = time.monotonic() - started
    kind = json.loads(done.standard_output).get("action", "?") if done.code == 0 else "failed"
    print(  # noqa: T201
        f"{told} in {end.seconds:.1f} s ({end.killed} processes); {kind} in {seconds:.1f} s"
    )
    assert done.code == 0, f"{told}\n{end.output}\n{done.output}"
    tally.kinds[kind] += 1
    tally.recoveries.append(seconds)
    tally.ends.append(end.seconds)
    now = it.current()
    if what == "rollback" and now["number"] != before["number"]:
        assert now["version"] != before["version"], f"{told}\n{done.output}"
    found = it.left_over()
    assert not found, f"{told}\n{found}\n{end.output}\n{done.output}"
