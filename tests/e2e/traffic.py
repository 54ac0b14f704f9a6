"""Requests that do not stop while something changes: bounded in rate, number and time.

Three kinds of clients at once, each a stream of its own:

- `new`: vegeta, a new connection for each request;
- `kept`: vegeta on connections it keeps, as most clients do. Go's client quietly repeats a GET
  whose kept connection was closed before an answer began, so it would hide such a loss;
- `strict`: a client of ours on kept connections that repeats nothing;
- `slow`, on demand: vegeta, requests that take longer than the pod that got them has to live.

Rates are fixed beforehand, so a service that stalls is not asked less. Addresses outside the lab's
network are refused.
"""

from __future__ import annotations

import base64
import csv
import ipaddress
import json
import os
import signal
import subprocess
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from urllib.parse import urlsplit

import httpx

from lab import settings
from lab.progress import Step
from lab.toolchain import VEGETA, Toolchain

PER_SECOND = 50
"""Several files send at a time, and who sends and who answers are on the same two processors."""
SLOW_PER_SECOND = 4
SLOW_SECONDS = 1.5
MOST_PER_SECOND = 2_000
MOST_SECONDS = 1800
_TIMEOUT = 10
_STRICT_CLIENTS = 2
_ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of one request.

    Attributes:
        at: When it was sent, in seconds since the epoch.
        stream: Which kind of client sent it.
        status: The answer's status; 0 when there was none.
        seconds: How long it took.
        version: The value of the watched field; empty when the answer has none.
        error: Why there was no answer.
    """

    at: float
    stream: str
    status: int
    seconds: float
    version: str = ""
    error: str = ""


@dataclass
class Seen:
    """What the requests saw; complete when the traffic has ended."""

    requests: list[Answer] = field(default_factory=list)

    @property
    def answers(self) -> Counter[int]:
        """How often each status came back."""
        return Counter(it.status for it in self.requests if it.status)

    @property
    def failures(self) -> list[str]:
        """The requests that were not answered, a line each."""
        lost = (it for it in self.requests if not it.status)
        return [f"{it.at:.3f} {it.stream}: {it.error}" for it in lost]

    @property
    def versions(self) -> list[str]:
        """Which values of the watched field came back, in order of first sight."""
        return list(dict.fromkeys(it.version for it in self.requests if it.version))

    @property
    def total(self) -> int:
        """How many requests were sent."""
        return len(self.requests)


@contextmanager
def traffic(
    url: str, *, watched: str = "gitSha", slow: bool = False, per_second: int = PER_SECOND
) -> Iterator[Seen]:
    """Send requests to a service while the block runs.

    Args:
        url: The service's URL, inside the lab.
        watched: The field of `/version`'s answer whose values are collected.
        slow: Whether to ask for slow answers, too; the service needs `/slow?seconds=`.
        per_second: The rate of all short requests together.

    Yields:
        What was seen; filled when the block has ended.
    """
    require_inside(url)
    assert per_second <= MOST_PER_SECOND
    seen = Seen()
    strict = min(per_second / 4, 20)
    rate = round((per_second - strict) / 2)
    streams = [("new", f"{url}/version", rate, False), ("kept", f"{url}/version", rate, True)]
    if slow:
        streams.append(("slow", f"{url}/slow?seconds={SLOW_SECONDS}", SLOW_PER_SECOND, False))
    found: list[Answer] = []
    try:
        with ExitStack() as stack:
            for name, target, often, keep in streams:
                stack.enter_context(_vegeta(name, target, often, keep, watched, found))
            stack.enter_context(_strict(f"{url}/version", strict, watched, found))
            yield seen
    finally:
        seen.requests[:] = sorted(found, key=lambda it: it.at)


def percentile(requests: Sequence[Answer], share: float) -> float:
    """Return what a share of the answered requests did not take longer than, in milliseconds."""
    took = sorted(it.seconds for it in requests if it.status)
    return 1000 * took[min(len(took) - 1, int(share * len(took)))] if took else 0.0


@cache
def vegeta() -> str:
    """Return the load generator's path; it is built from its pinned module the first time."""
    lab = settings.load(os.environ, _ROOT)
    return str(Toolchain(lab).build(VEGETA, Step("build vegeta")))


@contextmanager
def _vegeta(  # noqa: PLR0917 - one stream's whole description
    stream: str, target: str, rate: int, keep: bool, watched: str, found: list[Answer]
) -> Iterator[None]:
    with tempfile.TemporaryDirectory() as directory:
        results = Path(directory) / "results.bin"
        argv = [
            *(vegeta(), "attack", "-rate", f"{rate}/1s", "-duration", f"{MOST_SECONDS}s"),
            *("-timeout", f"{_TIMEOUT}s", "-redirects", "-1", "-max-workers", "200"),
            *(f"-keepalive={str(keep).lower()}", "-max-body", "1024", "-output", str(results)),
        ]
        process = subprocess.Popen(
            argv,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            # No proxy, whatever the shell that runs the tests has.
            env={"PATH": os.environ["PATH"]},
        )
        assert process.stdin is not None
        process.stdin.write(f"GET {target}\n".encode())
        process.stdin.close()
        process.stdin = None
        try:
            yield
        finally:
            early = process.poll() is not None
            # It sends no more, and waits for the answers to what it has sent.
            process.send_signal(signal.SIGINT)
            _, said = process.communicate(timeout=_TIMEOUT + 20)
            assert not early, f"vegeta ended before its time: {said.decode()}"
            assert process.returncode == 0, said.decode()
            found += _read(stream, results, watched)


def _read(stream: str, results: Path, watched: str) -> Iterator[Answer]:
    encoded = results.with_suffix(".csv")
    argv = [vegeta(), "encode", "-to", "csv", "-output", str(encoded), str(results)]
    subprocess.run(argv, check=True, timeout=120)
    with encoded.open(newline="") as rows:
        for at, status, latency, _, _, error, body, *_ in csv.reader(rows):
            yield Answer(
                at=int(at) / 1e9,
                stream=stream,
                status=int(status),
                seconds=int(latency) / 1e9,
                version=_version(base64.b64decode(body), watched),
                # A status is an answer; vegeta calls those above 399 an error as well.
                error="" if int(status) else error,
            )


@contextmanager
def _strict(url: str, rate: float, watched: str, found: list[Answer]) -> Iterator[None]:
    stop = threading.Event()

    def work() -> None:
        with httpx.Client(timeout=_TIMEOUT, trust_env=False) as client:
            due, end = time.monotonic(), time.monotonic() + MOST_SECONDS
            while not stop.wait(max(0.0, due - time.monotonic())) and due < end:
                at, began = time.time(), time.monotonic()
                status, version, error = 0, "", ""
                try:
                    answer = client.get(url)
                    status, version = answer.status_code, _version(answer.content, watched)
                except httpx.HTTPError as failed:
                    error = repr(failed)
                took = time.monotonic() - began
                found.append(Answer(at, "strict", status, took, version, error))
                due = max(due + _STRICT_CLIENTS / rate, time.monotonic())

    workers = [threading.Thread(target=work) for _ in range(_STRICT_CLIENTS)]
    for worker in workers:
        worker.start()
    try:
        yield
    finally:
        stop.set()
        for worker in workers:
            worker.join(timeout=_TIMEOUT + 5)


def _version(body: bytes, watched: str) -> str:
    try:
        said = json.loads(body)
    except ValueError:
        return ""
    return str(said.get(watched, "")) if isinstance(said, dict) else ""


def require_inside(url: str) -> None:
    """Refuse an address that is not the lab's."""
    network = settings.load(os.environ, _ROOT).addresses.network
    address = ipaddress.ip_address(urlsplit(url).hostname or "")
    assert address in network, f"{address} is not the lab's; no load goes there"
