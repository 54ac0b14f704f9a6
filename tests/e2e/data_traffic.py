"""Writes and reads of records that do not stop, bounded in rate and time; what became of each.

:func:`writing` does both, :func:`reading` reads what there is.
"""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import httpx

from tests.e2e import plain_http
from tests.e2e.traffic import MOST_SECONDS, require_inside
from tests.series import ALL

WRITERS = 2
PER_SECOND = 5 if ALL else 2
"""Of each writer, a create and a read of what it created; `make everything` has more."""
AWAY = "urn:aegis:problem:database-away"
_TIMEOUT = 30
_CREATED = 201


@dataclass
class Written:
    """What was acknowledged and what failed.

    Attributes:
        acknowledged: The records that a create was answered with, by the keys they were sent with.
        failures: Requests that were answered otherwise than they should be, or not at all.
        refused: How many were refused because the database was away.
    """

    acknowledged: dict[str, str] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)
    refused: int = 0


@contextmanager
def writing(url: str) -> Iterator[Written]:
    """Create and read records while the block runs.

    Args:
        url: The service's URL, inside the lab.

    Yields:
        What became of it; complete when the block has ended.
    """
    found = Written()
    with _clients(url, lambda stop, end: _write(url, found, stop, end)):
        yield found


@dataclass
class Read:
    """What lists of the records were answered.

    Attributes:
        answered: How many were.
        lists: The ids of each list that came, in order of first sight.
        failures: Requests that were answered otherwise than with a list, or not at all.
    """

    answered: int = 0
    lists: list[frozenset[str]] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)


@contextmanager
def reading(url: str) -> Iterator[Read]:
    """List the records while the block runs.

    Args:
        url: The service's URL, inside the lab.

    Yields:
        What became of it; complete when the block has ended.
    """
    found = Read()
    with _clients(url, lambda stop, end: _list(url, found, stop, end)):
        yield found


@contextmanager
def _clients(url: str, work: Callable[[threading.Event, float], None]) -> Iterator[None]:
    require_inside(url)
    stop, end = threading.Event(), time.monotonic() + MOST_SECONDS
    threads = [
        threading.Thread(target=work, args=(stop, end), name=f"client {n}") for n in range(WRITERS)
    ]
    for it in threads:
        it.start()
    try:
        yield
    finally:
        stop.set()
        for it in threads:
            it.join(timeout=4 * _TIMEOUT)
        assert not any(it.is_alive() for it in threads)


def _list(url: str, found: Read, stop: threading.Event, end: float) -> None:
    with plain_http.client(url, _TIMEOUT) as client:
        while not stop.wait(1 / PER_SECOND) and time.monotonic() < end:
            try:
                answer = client.get("/v1/records")
            except httpx.HTTPError as error:
                found.failures.append(f"{time.time():.3f} {error!r}")
                continue
            if not answer.is_success:
                found.failures.append(f"{answer.status_code} {answer.text[:200]}")
                continue
            found.answered += 1
            ids = frozenset(str(it["id"]) for it in answer.json()["items"])
            if ids not in found.lists:
                found.lists.append(ids)


def _write(url: str, found: Written, stop: threading.Event, end: float) -> None:
    with plain_http.client(url, _TIMEOUT) as client:
        while not stop.wait(1 / PER_SECOND) and time.monotonic() < end:
            key = f"load-{secrets.token_hex(8)}"
            asked = client.build_request(
                "POST", "/v1/records", json={"name": key}, headers={"Idempotency-Key": key}
            )
            answer = _sent(client, asked, found)
            if answer is None:
                continue
            if answer.status_code != _CREATED:
                found.failures.append(f"create {key}: {answer.status_code} {answer.text[:200]}")
                continue
            made = answer.json()["id"]
            found.acknowledged[key] = made
            read = _sent(client, client.build_request("GET", f"/v1/records/{made}"), found)
            if read is not None and (not read.is_success or read.json()["name"] != key):
                found.failures.append(f"read {made}: {read.status_code} {read.text[:200]}")


def _sent(client: httpx.Client, asked: httpx.Request, found: Written) -> httpx.Response | None:
    """Send one; None when it was refused for its database's sake, or lost, which is noted."""
    try:
        answer = client.send(asked)
    except httpx.HTTPError as error:
        found.failures.append(f"{time.time():.3f} {asked.method} {asked.url.path}: {error!r}")
        return None
    if answer.status_code == httpx.codes.SERVICE_UNAVAILABLE and AWAY in answer.text:
        assert answer.headers["Retry-After"]
        found.refused += 1
        return None
    return answer
