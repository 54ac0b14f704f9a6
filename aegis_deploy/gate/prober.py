"""Requests to a service at a bounded rate, half of them on new connections.

They take one of two ways. The API server's proxy works wherever kubectl does, without a forwarded
port, but shares the API server's connections and adds its time. The Service's own address is what
its clients use, and is taken when it is routable from here *and* both ways give the same answer:
an address in a private range that is routable may well be another network's. Where several clusters
are probed it is never taken: in the network of one, the address of another's Service is its own.
"""

from __future__ import annotations

import json
import math
import re
import threading
import time
import uuid
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Protocol, Self

from aegis_deploy.kubernetes.client import ApiError, Cluster, Object, routable
from aegis_deploy.model.probe_metrics import Answer, ProbeMetrics, Tally

_GOOD = range(200, 400)
_REFUSED = (401, 403)
OnAnswer = Callable[[float, Answer], None]
"""Told when a probe was due, on the monotonic clock, and what came of it."""
MOST_AT_ONCE = 64
"""So many probes are on their way at most."""
_LEAST_TIMEOUT, _MOST_TIMEOUT = 2.0, 30.0
_LONGEST_ERROR = 80
_UNTRUSTED = re.compile(r"certificate verify failed: ([^(]*[^( ])")
_MOST_SUMS = 4
"""So many ways to sum up are kept current."""
_HEARD_SECONDS = 15.0
"""After this time no sign of life covers what went before it."""
_MARK = "Aegis-Probe"
"""The header that tells whoever answers a write that it is a probe, to be cleaned up."""
Excuse = Callable[..., str]
"""Says of an answer's status and body, and whether it came by a proxy, why it does not count."""


class Route(Protocol):
    """A way to a service or a pod."""

    name: str
    proxied: bool
    """Whether it leads through the API server, whose silence says nothing of a pod."""

    def send(self, path: str, *, fresh: bool, seconds: float) -> tuple[int, bytes]:
        """Send what it asks, anew when ``fresh``; OSError or ApiError when it fails."""


class Direct:
    """Straight to an address."""

    proxied = False

    def __init__(self, base: str) -> None:
        import urllib3

        self.name = f"directly to {base}"
        self._base = base
        self._pool = urllib3.PoolManager(maxsize=MOST_AT_ONCE, retries=False)
        self._error = urllib3.exceptions.HTTPError

    def send(
        self, path: str, *, fresh: bool, seconds: float, method: str = "GET"
    ) -> tuple[int, bytes]:
        """Send a request without a body, on a new connection when ``fresh``."""
        import urllib3

        headers = {**marks(method), **({"Connection": "close"} if fresh else {})}
        pool = urllib3.PoolManager(retries=False) if fresh else self._pool
        try:
            answer = pool.request(
                method, self._base + path, headers=headers, timeout=seconds, redirect=False
            )
        except self._error as error:
            raise OSError(in_short(error)) from error
        finally:
            if fresh:
                pool.clear()
        return answer.status, answer.data


class Proxied:
    """Through the API server's proxy; it keeps its own connections to the pods."""

    proxied = True

    def __init__(self, cluster: Cluster, path: str) -> None:
        self.name = "through the API server"
        self._cluster = cluster
        self._path = path

    def send(
        self,
        path: str,
        *,
        fresh: bool,  # noqa: ARG002
        seconds: float,
        method: str = "GET",
    ) -> tuple[int, bytes]:
        """Send a request without a body."""
        return self._cluster.answer(
            self._path + path, headers=marks(method), seconds=seconds, method=method
        )


class Way(Protocol):
    """A way on which more than one thing can be asked."""

    @property
    def name(self) -> str:
        """What a person calls it."""

    @property
    def proxied(self) -> bool:
        """Whether it leads through the API server."""

    def send(
        self, path: str, *, fresh: bool, seconds: float, method: str = "GET"
    ) -> tuple[int, bytes]:
        """Send a request without a body, anew when ``fresh``."""


class Asking:
    """A way on which one path is asked for, whatever is asked for on others.

    Attributes:
        path: It.
    """

    def __init__(self, way: Way, path: str, method: str = "GET") -> None:
        self.name, self.proxied, self.path = way.name, way.proxied, path
        self._way, self._method = way, method

    def send(self, path: str, *, fresh: bool, seconds: float) -> tuple[int, bytes]:  # noqa: ARG002
        """Send the request, on a new connection when ``fresh``."""
        return self._way.send(self.path, fresh=fresh, seconds=seconds, method=self._method)

    def beside(self, path: str, method: str) -> Asking:
        """Return the same way on which something else is asked for."""
        return Asking(self._way, path, method)


def service_route(cluster: Cluster, service: Object, path: str, *, direct: bool = True) -> Way:
    """Choose the way to a Service, as the module says.

    Args:
        cluster: The cluster it is in.
        service: The Service.
        path: What will be asked for.
        direct: Whether its own address may be taken.
    """
    metadata, spec = service["metadata"], service["spec"]
    port = _http_port(spec["ports"])
    proxied = Proxied(
        cluster,
        f"/api/v1/namespaces/{metadata['namespace']}/services"
        f"/http:{metadata['name']}:{port['port']}/proxy",
    )
    address = spec.get("clusterIP")
    if not direct or not address or address == "None":
        return proxied
    host = f"[{address}]" if ":" in address else address
    return _same(Direct(f"http://{host}:{port['port']}"), proxied, address, port["port"], path)


def pod_route(
    cluster: Cluster, pod: Mapping[str, Any], port: int, path: str, *, direct: bool = True
) -> Way:
    """Choose the way to one pod, as `service_route` does for a Service."""
    metadata = pod["metadata"]
    proxied = Proxied(
        cluster,
        f"/api/v1/namespaces/{metadata['namespace']}/pods/http:{metadata['name']}:{port}/proxy",
    )
    address = (pod.get("status") or {}).get("podIP")
    if not direct or not address:
        return proxied
    host = f"[{address}]" if ":" in address else address
    return _same(Direct(f"http://{host}:{port}"), proxied, address, port, path)


def pod_port(service: Object, pod: Mapping[str, Any]) -> int | None:
    """Return the port of a pod that a Service's requests go to."""
    port = _http_port(service["spec"]["ports"])
    target = port.get("targetPort", port["port"])
    if isinstance(target, int):
        return target
    for container in pod["spec"]["containers"]:
        for candidate in container.get("ports") or ():
            if candidate.get("name") == target:
                return int(candidate["containerPort"])
    return None


def readiness_path(service: Object, workload: Mapping[str, Any] | None) -> str:
    """Return what a readiness probe asks for at the port a Service leads to; empty for none."""
    if workload is None:
        return ""
    template = workload["spec"]["template"]
    target = pod_port(service, template)
    for container in template["spec"]["containers"]:
        asked = (container.get("readinessProbe") or {}).get("httpGet") or {}
        names = {it.get("name"): it["containerPort"] for it in container.get("ports") or ()}
        port = names.get(asked.get("port"), asked.get("port"))
        if asked and target == port and asked.get("scheme", "HTTP") == "HTTP":
            return str(asked.get("path") or "/")
    return ""


def speaks_http(service: Object, workload: Mapping[str, Any] | None) -> bool:
    """Return whether anything says that a Service answers HTTP: a database's does not.

    Args:
        service: The Service.
        workload: Whose pods it leads to, with their readiness probes.
    """
    ports = service["spec"]["ports"]
    return any(map(_is_http, ports)) or bool(readiness_path(service, workload))


def services_of(services: Sequence[Object], labels: Mapping[str, str]) -> list[Object]:
    """Return the Services that select pods with some labels."""
    found = []
    for service in services:
        selector = (service.get("spec") or {}).get("selector") or {}
        if selector and all(labels.get(key) == value for key, value in selector.items()):
            found.append(service)
    return found


def ask(
    route: Route,
    path: str,
    *,
    fresh: bool,
    seconds: float,
    due: float | None = None,
    excuse: Excuse | None = None,
) -> Answer:
    """Send one probe and say what came of it.

    Args:
        route: The way.
        path: What to ask for.
        fresh: Whether on a new connection.
        seconds: How long to wait.
        due: When it was to be sent; the wait since then counts.
        excuse: Says which answers do not count, and why.
    """
    started = time.monotonic() if due is None else due
    try:
        status, body = route.send(path, fresh=fresh, seconds=seconds)
    except Exception as error:
        # An answer that cannot be read is none, and a probe that came to nothing counts as lost.
        took = (time.monotonic() - started) * 1000
        return Answer(ok=False, what=in_short(error), milliseconds=took)
    took = (time.monotonic() - started) * 1000
    return Answer(
        ok=status in _GOOD,
        what=str(status),
        milliseconds=took,
        version=_version(body),
        excuse="" if excuse is None else excuse(status, body, proxied=route.proxied),
    )


def identity(route: Route, path: str) -> Mapping[str, Any] | str:
    """Return what a service says of itself, or why it does not in a few words."""
    try:
        status, body = route.send(path, fresh=True, seconds=_LEAST_TIMEOUT)
        said = json.loads(body)
    except (OSError, ApiError) as error:
        return in_short(error)
    except ValueError:
        return "the answer is not JSON"
    if status not in _GOOD or not isinstance(said, dict):
        return f"the answer is {status}" if status not in _GOOD else "the answer is no object"
    return said


class Prober:
    """Sends probes in the background from its start to its end; a context manager."""

    def __init__(
        self,
        routes: Callable[[], Sequence[Route]],
        path: str,
        *,
        rate: float,
        p99_ms: float,
        on_answer: OnAnswer | None = None,
        was_heard: Callable[[float, float], bool] = lambda _, __: True,
        excuse: Excuse | None = None,
        patience: float = _LEAST_TIMEOUT,
    ) -> None:
        """Prepare it.

        Args:
            routes: Gives the ways to take in turn, anew for every probe; none means to wait.
            path: What to ask for.
            rate: Probes a second.
            p99_ms: What counts as slow; also sets how long an answer is waited for.
            on_answer: Told what came of each, from the probes' threads.
            was_heard: Whether the API server was there during a time; what was sent through it
                in another counts neither way.
            excuse: Says which answers do not count, and why.
            patience: For how many seconds at least an answer is waited for.
        """
        self._on_answer = on_answer
        self._routes, self._path, self._rate, self._p99_ms = routes, path, rate, p99_ms
        self._was_heard, self._excuse = was_heard, excuse
        self._seconds = min(_MOST_TIMEOUT, max(patience, 3 * p99_ms / 1000))
        self._answers: list[tuple[float, bool, Answer]] = []
        self._sums: dict[tuple[float, frozenset[str]], _Sum] = {}
        self._failures: list[tuple[float, bool, Answer]] = []
        self._nameless = False
        self._fault: BaseException | None = None
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.finish()

    def finish(self) -> None:
        """Send no more and wait for the answers that are due."""
        self._stop.set()
        self._thread.join(timeout=self._seconds + 1)

    def figures(self, since: float = 0.0, naming: Collection[str] = ()) -> ProbeMetrics:
        """Sum up the answers so far.

        Args:
            since: Of the probes sent from this moment of the monotonic clock on.
            naming: Of those before, the ones that were answered in the name of these versions.
        """
        key = (since, frozenset(naming))
        with self._lock:
            # Every look is at what came since the one before: there are many, and many answers.
            found = self._sums.pop(key, None) or _Sum(Tally(self._p99_ms))
            self._sums[key] = found
            if len(self._sums) > _MOST_SUMS:
                del self._sums[next(iter(self._sums))]
            new = self._answers[found.read :]
            found.read += len(new)
            found.open = [
                it for it in (*found.open, *new) if not self._settled(*it, key, found.tally)
            ]
            return found.tally.figures()

    def keep(self, due: float, *, proxied: bool, answer: Answer) -> None:
        """Take note of what came of a probe."""
        with self._lock:
            self._answers.append((due, proxied, answer))
            if answer.ok:
                self._nameless |= answer.version is None
            elif not answer.excuse:
                self._failures.append((due, proxied, answer))

    @property
    def nameless(self) -> bool:
        """Whether good answers do not say whose they are; what failures say counts for none then.

        To count the failures that name a release, and not its good answers, would be to judge it by
        what was bad.
        """
        return self._nameless

    def unnamed_failures(self, before: float) -> int:
        """Count the probes sent before a moment whose failure can be held against no release."""
        return self._failed(before, lambda it: self._nameless or it.version is None)

    def lost(self, before: float) -> int:
        """Count the probes sent before a moment that got no answer at all."""
        return self._failed(before, lambda it: it.lost)

    def _failed(self, before: float, holds: Callable[[Answer], bool]) -> int:
        with self._lock:
            return sum(
                due < before and holds(answer) and self._counts(due, proxied, answer)
                for due, proxied, answer in self._failures
            )

    def _counts(self, due: float, proxied: bool, answer: Answer) -> bool:
        return not proxied or self._was_heard(due, due + answer.milliseconds / 1000)

    def _settled(
        self,
        due: float,
        proxied: bool,
        answer: Answer,
        key: tuple[float, frozenset[str]],
        tally: Tally,
    ) -> bool:
        """Count an answer unless it is not to be, or cannot be told yet; say whether it can be."""
        since, naming = key
        if due < since and answer.version not in naming:
            return True
        if self._counts(due, proxied, answer):
            tally.add(answer)
            return True
        # The next sign of life of the API server may cover its time yet.
        return time.monotonic() > due + answer.milliseconds / 1000 + _HEARD_SECONDS

    @property
    def fault(self) -> BaseException | None:
        """What ended the sending of probes before its time; None when nothing did."""
        return self._fault

    def _run(self) -> None:
        try:
            self._send()
        except BaseException as error:
            # Whoever waits for answers learns that there will be none.
            self._fault = error

    def _send(self) -> None:
        started, sent = time.monotonic(), 0
        workers = min(MOST_AT_ONCE, max(2, math.ceil(self._rate * self._seconds)))
        pool = ThreadPoolExecutor(workers, thread_name_prefix="probe")
        try:
            while not self._stop.wait(max(0.0, started + sent / self._rate - time.monotonic())):
                routes = self._routes()
                if routes:
                    route, due = routes[sent // 2 % len(routes)], time.monotonic()
                    pool.submit(self._one, route, due, fresh=bool(sent % 2))
                sent += 1
        finally:
            pool.shutdown(wait=True)

    def _one(self, route: Route, due: float, *, fresh: bool) -> None:
        answer = ask(
            route, self._path, fresh=fresh, seconds=self._seconds, due=due, excuse=self._excuse
        )
        self.keep(due, proxied=route.proxied, answer=answer)
        if self._on_answer is not None:
            self._on_answer(due, answer)


@dataclass
class _Sum:
    """Answers that are summed up.

    Attributes:
        tally: Those that count.
        read: How many of all were looked at.
        open: Those of which it cannot be told yet.
    """

    tally: Tally
    read: int = 0
    open: list[tuple[float, bool, Answer]] = field(default_factory=list)


def marks(method: str) -> dict[str, str]:
    """Return what tells whoever answers a write that it is a probe, and from any other one."""
    if method == "GET":
        return {}
    return {_MARK: "write", "Idempotency-Key": f"aegis-probe-{uuid.uuid4().hex}"}


def _same(direct: Direct, proxied: Proxied, host: str, port: int, path: str) -> Way:
    """Return the direct way when it is there and leads where the proxy leads."""
    if not routable(host, port):
        return proxied
    try:
        status, _ = direct.send(path, fresh=True, seconds=_LEAST_TIMEOUT)
    except OSError:
        return proxied
    try:
        other, _ = proxied.send(path, fresh=True, seconds=_LEAST_TIMEOUT)
    except ApiError:
        return proxied
    # Without the right to use the proxy there is nothing to compare, and no other way.
    return direct if other in (status, *_REFUSED) else proxied


def _http_port(ports: Sequence[Object]) -> Object:
    return next(filter(_is_http, ports), ports[0])


def _is_http(port: Object) -> bool:
    return (
        port.get("name") in ("http", "web")
        or port.get("port") in (80, 8080, 8000)
        or str(port.get("appProtocol") or "").lower() == "http"
    )


def _version(body: bytes) -> str | None:
    try:
        found: Any = json.loads(body)
    except ValueError:
        return None
    version = found.get("version") if isinstance(found, dict) else None
    return version if isinstance(version, str) else None


def in_short(error: Exception) -> str:
    """Say what went wrong with a request, in a few words."""
    text = str(error) or type(error).__name__
    untrusted = _UNTRUSTED.search(text)
    if untrusted is not None:
        return f"certificate not accepted: {untrusted.group(1)}"[:_LONGEST_ERROR]
    for known in ("timed out", "refused", "reset", "unreachable", "closed connection"):
        if known in text:
            return f"connection {known}" if known != "timed out" else known
    return text[:_LONGEST_ERROR]
