"""What the service measures about itself, in Prometheus's text format.

Label values come from closed sets, so no client can grow the number of series: methods we know,
paths of routes we have, statuses we send.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    GCCollector,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    disable_created_metrics,
)
from prometheus_client.exposition import choose_encoder

from app.lifecycle import Lifecycle, Phase
from app.settings import Settings

_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_LABELS = ("method", "route", "status")
_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
NO_ROUTE = "none"

# One `_created` series for each series would double what is scraped and nobody reads them.
disable_created_metrics()  # type: ignore[no-untyped-call]


class Metrics:
    """The process's metrics, in a registry of their own."""

    def __init__(self, settings: Settings, lifecycle: Lifecycle) -> None:
        self._registry = CollectorRegistry(auto_describe=True)
        ProcessCollector(registry=self._registry)
        PlatformCollector(registry=self._registry)
        GCCollector(registry=self._registry)
        self._requests = Counter(
            "aegis_http_requests", "Requests answered.", _LABELS, registry=self._registry
        )
        self._seconds = Histogram(
            "aegis_http_request_duration_seconds",
            "From a request's first byte handled to its response's last.",
            _LABELS,
            buckets=_BUCKETS,
            registry=self._registry,
        )
        self.in_flight = Gauge(
            "aegis_http_requests_in_flight", "Requests being answered.", registry=self._registry
        )
        ready = Gauge(
            "aegis_ready", "1 while ready; 0 while starting or draining.", registry=self._registry
        )
        ready.set_function(lambda: float(lifecycle.phase is Phase.READY))
        Gauge(
            "aegis_build_info",
            "What runs here; always 1.",
            ("version", "git_sha", "environment", "data_profile"),
            registry=self._registry,
        ).labels(
            settings.version, settings.git_sha, settings.environment, settings.data_profile
        ).set(1)

    @property
    def registry(self) -> CollectorRegistry:
        """Where others put theirs."""
        return self._registry

    def observe(self, method: str, route: str, status: int, seconds: float) -> None:
        """Counts one answered request.

        Args:
            method: The request's method; one we do not know counts as `OTHER`.
            route: The matched route's path, or `NO_ROUTE`.
            status: The status that was sent.
            seconds: How long it took.
        """
        labels = (method if method in _METHODS else "OTHER", route, str(status))
        self._requests.labels(*labels).inc()
        self._seconds.labels(*labels).observe(seconds)

    def render(self, accept: str) -> tuple[bytes, str]:
        """Renders the metrics.

        Args:
            accept: The scraper's Accept header.

        Returns:
            The body and its content type.
        """
        encode, content_type = choose_encoder(accept)
        return encode(self._registry), content_type


class DatabaseMetrics:
    """What the service measures of its database."""

    def __init__(self, registry: CollectorRegistry) -> None:
        """Adds them to a registry."""
        self._registry = registry
        self._seconds = Histogram(
            "aegis_database_seconds",
            "How long a transaction took, the wait for a connection included.",
            ("operation",),
            buckets=_BUCKETS,
            registry=registry,
        )
        self._failures = Counter(
            "aegis_database_failures",
            "Transactions that failed for the database's sake.",
            ("operation", "why"),
            registry=registry,
        )
        self._up = Gauge(
            "aegis_database_up", "1 while the database could be used last time.", registry=registry
        )
        self._schema = Gauge(
            "aegis_database_schema",
            "What the database says of its schema: its revision, the least head of code.",
            ("of",),
            registry=registry,
        )

    def timed(self, operation: str) -> AbstractContextManager[object]:
        """Measures a block as one transaction."""
        return self._seconds.labels(operation).time()

    def failed(self, operation: str, why: str) -> None:
        """Counts a transaction that failed."""
        self._failures.labels(operation, why).inc()

    def reached(self, reached: bool) -> None:
        """Notes whether the database could be used."""
        self._up.set(float(reached))

    def schema(self, revision: int, least_head: int) -> None:
        """Notes what the database says of its schema."""
        self._schema.labels("revision").set(revision)
        self._schema.labels("least_head").set(least_head)

    def watch_pool(self, counts: Callable[[], tuple[int, int]]) -> None:
        """Shows a pool's connections.

        Args:
            counts: Returns how many are used and how many wait to be.
        """
        pool = Gauge(
            "aegis_database_connections",
            "Connections to the database.",
            ("state",),
            registry=self._registry,
        )
        pool.labels("used").set_function(lambda: float(counts()[0]))
        pool.labels("idle").set_function(lambda: float(counts()[1]))
