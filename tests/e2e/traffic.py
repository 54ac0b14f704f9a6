"""Requests that do not stop while something changes: bounded in rate, number and time.

Goes only to an address inside the lab's own network.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import httpx

PER_SECOND = 100
MOST = 60_000


@dataclass
class Seen:
    """What the requests saw.

    Attributes:
        answers: How often each status came back.
        failures: What went wrong, one entry a failed request.
        versions: Which values of the watched field came back, in order of first sight.
    """

    answers: Counter[int] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)
    versions: list[str] = field(default_factory=list)

    @property
    def total(self) -> int:
        """How many requests were sent."""
        return self.answers.total() + len(self.failures)


@contextmanager
def traffic(url: str, *, watched: str = "gitSha") -> Iterator[Seen]:
    """Send requests to `/version` while the block runs, half of them on new connections.

    Args:
        url: The service's URL.
        watched: The field of the answer whose values are collected.

    Yields:
        What was seen so far; complete when the block has ended.
    """
    seen = Seen()
    stop = threading.Event()

    def work(*, keep: bool) -> None:
        with httpx.Client(timeout=10, trust_env=False) as client:
            while not stop.is_set() and seen.total < MOST:
                headers = {} if keep else {"Connection": "close"}
                try:
                    answer = client.get(f"{url}/version", headers=headers)
                except httpx.HTTPError as error:
                    seen.failures.append(f"{time.monotonic():.3f} {error!r}")
                    continue
                seen.answers[answer.status_code] += 1
                value = str(answer.json().get(watched)) if answer.status_code == 200 else ""
                if value and value not in seen.versions:
                    seen.versions.append(value)
                stop.wait(4 / PER_SECOND)

    workers = [threading.Thread(target=work, kwargs={"keep": i % 2 == 0}) for i in range(4)]
    for worker in workers:
        worker.start()
    try:
        yield seen
    finally:
        stop.set()
        for worker in workers:
            worker.join(timeout=15)
