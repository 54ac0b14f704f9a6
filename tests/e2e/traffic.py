"""Requests that do not stop while something changes: bounded in rate, number and time.

Three kinds of clients at once, each a stream of its own:

- `new`: vegeta, a new connection for each request;
- `kept`: vegeta on connections it keeps, as most clients do. Go's client quietly repeats a GET
  whose kept connection was closed before an answer began, so it would hide such a loss;
- `strict`: a client of ours on kept connections that repeats nothing;
- `slow`, on demand: vegeta, requests that take longer than the pod that got them has to live;
- `http2`, through an entrance with TLS: vegeta, all on few connections of HTTP/2. The others speak
  HTTP/1.1 there as well.

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
import ssl
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
from tests.e2e import plain_http
from tests.series import ALL

PER_SECOND = 50 if ALL else 20
"""Several files send at a time, and who sends and who answers are on the same two processors. That
there are requests all the time counts, on connections of each kind; `make everything` has more."""
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


@dataclass(frozen=True)
class Entrance:
    """A way in from outside the cluster: what is asked for there goes to a service by its host.

    Attributes:
        host: The host name.
        address: Where it is, inside the lab.
        authority: The file with the certificate of who signed its own; None where it has none.
    """

    host: str
    address: str
    authority: Path | None = None

    @property
    def port(self) -> int:
        """The port it listens on."""
        return 80 if self.authority is None else 443

    @property
    def url(self) -> str:
        """How it is called from outside."""
        return f"{'http' if self.authority is None else 'https'}://{self.host}"

    def flags(self) -> list[str]:
        """Return the flags by which vegeta finds it and knows it."""
        there = f"{self.host}:{self.port}:{self.address}:{self.port}"
        known = [] if self.authority is None else ["-root-certs", str(self.authority)]
        return ["-connect-to", there, *known]

    def client(self) -> httpx.Client:
        """Return a client that finds it, knows it, and asks for its host by name."""
        verify = self.authority is None or ssl.create_default_context(cafile=str(self.authority))
        client = httpx.Client(verify=verify, trust_env=False, timeout=_TIMEOUT)

        def find(request: httpx.Request) -> None:
            request.headers["Host"] = self.host
            request.extensions["sni_hostname"] = self.host
            request.url = request.url.copy_with(host=self.address)

        client.event_hooks["request"] = [find]
        return client


@dataclass(frozen=True)
class _Stream:
    """What one of vegeta's clients does.

    Attributes:
        name: What its requests are called.
        target: The URL.
        rate: Requests a second.
        flags: What it is told beside.
    """

    name: str
    target: str
    rate: int
    flags: tuple[str, ...]


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
    url: str | Entrance,
    *,
    watched: str = "gitSha",
    slow: bool = False,
    per_second: int = PER_SECOND,
) -> Iterator[Seen]:
    """Send requests to a service while the block runs.

    Args:
        url: The service's URL, inside the lab; or the way in to it.
        watched: The field of `/version`'s answer whose values are collected.
        slow: Whether to ask for slow answers, too; the service needs `/slow?seconds=`.
        per_second: The rate of all short requests together.

    Yields:
        What was seen; filled when the block has ended.
    """
    entrance = url if isinstance(url, Entrance) else None
    root = url.url if isinstance(url, Entrance) else url
    require_inside(root if entrance is None else f"//{entrance.address}")
    assert per_second <= MOST_PER_SECOND
    seen = Seen()
    strict = min(per_second / 4, 20)
    found: list[Answer] = []
    try:
        with ExitStack() as stack:
            for stream in _streams(root, entrance, per_second - strict, slow=slow):
                stack.enter_context(_vegeta(stream, watched, found))
            stack.enter_context(_strict(f"{root}/version", entrance, strict, watched, found))
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


def _streams(
    root: str, entrance: Entrance | None, per_second: float, *, slow: bool
) -> Iterator[_Stream]:
    """Return what is sent beside the strict clients' requests."""
    flags = () if entrance is None else tuple(entrance.flags())
    encrypted = entrance is not None and entrance.authority is not None
    old = ("-http2=false", *flags)
    kinds = {"new": ("-keepalive=false", *old), "kept": ("-keepalive=true", *old)}
    if encrypted:
        kinds["http2"] = ("-keepalive=true", "-http2=true", *flags)
    for name, told in kinds.items():
        yield _Stream(name, f"{root}/version", round(per_second / len(kinds)), told)
    if slow:
        target = f"{root}/slow?seconds={SLOW_SECONDS}"
        yield _Stream("slow", target, SLOW_PER_SECOND, kinds["new"])


@contextmanager
def _vegeta(stream: _Stream, watched: str, found: list[Answer]) -> Iterator[None]:
    with tempfile.TemporaryDirectory() as directory:
        results = Path(directory) / "results.bin"
        argv = [
            *(vegeta(), "attack", "-rate", f"{stream.rate}/1s", "-duration", f"{MOST_SECONDS}s"),
            *("-timeout", f"{_TIMEOUT}s", "-redirects", "-1", "-max-workers", "200"),
            *(*stream.flags, "-max-body", "1024", "-output", str(results)),
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
        process.stdin.write(f"GET {stream.target}\n".encode())
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
            found += _read(stream.name, results, watched)


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
def _strict(
    url: str, entrance: Entrance | None, rate: float, watched: str, found: list[Answer]
) -> Iterator[None]:
    stop = threading.Event()

    def connected() -> httpx.Client:
        if entrance is not None:
            return entrance.client()
        return plain_http.client(seconds=_TIMEOUT)

    def work() -> None:
        with connected() as client:
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
