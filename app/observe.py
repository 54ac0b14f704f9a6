"""The layer around the whole application that every request passes once.

It gives the request an id, counts and logs it, tells the client to leave while the process drains,
and answers for a request that failed or ran out of time.
"""

from __future__ import annotations

import asyncio
import logging
import re
import time
import uuid

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.lifecycle import Lifecycle
from app.metrics import NO_ROUTE, Metrics
from app.problems import respond, stopping

# Asked by the cluster, not by clients: quiet in the log, and no reason to stay when draining.
PROBES = frozenset({"/livez", "/readyz", "/metrics"})

_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}", re.ASCII)
_MAX_PATH = 256
_SERVER_ERROR = 500
_logger = logging.getLogger("aegis.request")


class Observed:
    """ASGI application around another one.

    Args:
        app: What answers the requests.
        lifecycle: Told of work; asked whether the process drains.
        metrics: Where requests are counted.
        version: What problem documents say which release it was; None where nobody knows.
    """

    def __init__(
        self, app: ASGIApp, lifecycle: Lifecycle, metrics: Metrics, *, version: str | None = None
    ) -> None:
        self._app = app
        self._lifecycle = lifecycle
        self._metrics = metrics
        self._version = version

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handles one request; lifespan messages pass through."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        exchange = _Exchange(scope, send, self._lifecycle)
        scope["state"]["version"] = self._version
        self._note_work(scope)
        with self._metrics.in_flight.track_inprogress():
            try:
                await self._answer(exchange, receive)
            finally:
                self._note_work(scope)
                self._record(exchange)

    async def _answer(self, exchange: _Exchange, receive: Receive) -> None:
        try:
            await self._app(exchange.scope, receive, exchange.send)
        except asyncio.CancelledError:
            # Only the end of the drain cancels a request (`server.DrainingServer`).
            if exchange.status is not None:
                raise
            await respond(stopping(), exchange.scope)(exchange.scope, receive, exchange.send)
        except Exception:
            # Starlette has answered 500 unless the response had begun; then only closing is left.
            _logger.exception("request failed", extra={"request_id": exchange.request_id})
            if not exchange.complete:
                raise

    def _note_work(self, scope: Scope) -> None:
        if scope["path"] not in PROBES:
            self._lifecycle.worked()

    def _record(self, exchange: _Exchange) -> None:
        scope, seconds = exchange.scope, time.perf_counter() - exchange.began
        status = exchange.status or _SERVER_ERROR
        route = getattr(scope.get("route"), "path", NO_ROUTE)
        self._metrics.observe(scope["method"], route, status, seconds)
        level = logging.INFO
        if status >= _SERVER_ERROR and not (route == "/readyz" and self._lifecycle.draining):
            level = logging.WARNING
        elif scope["path"] in PROBES:
            level = logging.DEBUG
        # The query string and the headers stay out of the log: they may hold secrets.
        client = scope.get("client")
        _logger.log(
            level,
            "request",
            extra={
                "method": scope["method"],
                "path": scope["path"][:_MAX_PATH],
                "route": route,
                "status": status,
                "duration_ms": round(seconds * 1000, 2),
                "bytes": exchange.sent,
                "complete": exchange.complete,
                "client": client[0] if client else None,
                "request_id": exchange.request_id,
                "phase": self._lifecycle.phase,
            },
        )


class _Exchange:
    """One request and what has been sent for it."""

    def __init__(self, scope: Scope, send: Send, lifecycle: Lifecycle) -> None:
        given = Headers(scope=scope).get("x-request-id", "")
        self.request_id = given if _REQUEST_ID.fullmatch(given) else uuid.uuid4().hex
        scope.setdefault("state", {})["request_id"] = self.request_id
        self.scope = scope
        self.began = time.perf_counter()
        self.status: int | None = None
        self.sent = 0
        self.complete = False
        self._send = send
        self._lifecycle = lifecycle

    async def send(self, message: Message) -> None:
        """Sends on, with the headers every response has."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = MutableHeaders(raw=list(message.get("headers", [])))
            headers["X-Request-ID"] = self.request_id
            # Asked here and not when the request came: the drain may have begun meanwhile.
            if self._lifecycle.draining:
                headers["Connection"] = "close"
            message = {**message, "headers": headers.raw}
        elif message["type"] == "http.response.body":
            self.sent += len(message.get("body", b""))
            self.complete = not message.get("more_body", False)
        await self._send(message)
