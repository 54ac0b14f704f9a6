"""The application: its routes and how its parts are put together."""

from __future__ import annotations

from collections.abc import Iterable

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp

from app.auth import BearerAuth
from app.lifecycle import Lifecycle, Phase
from app.metrics import Metrics
from app.observe import Observed
from app.problems import ProblemError, handle_problem, respond
from app.records import RecordSource, parse_page, source_for
from app.settings import Settings

_UNCACHED = {"Cache-Control": "no-store"}


def create_app(
    settings: Settings,
    lifecycle: Lifecycle,
    *,
    records: RecordSource | None = None,
    extra_routes: Iterable[BaseRoute] = (),
) -> ASGIApp:
    """Builds the application.

    Args:
        settings: The validated settings.
        lifecycle: What readiness is decided on; shared with the server.
        records: Where records come from; the data profile's source unless given.
        extra_routes: Routes beside the service's own.

    Returns:
        An ASGI application.
    """
    metrics = Metrics(settings, lifecycle)
    endpoints = _Endpoints(
        settings, lifecycle, metrics, records or source_for(settings.data_profile)
    )
    token = Middleware(BearerAuth, token=settings.api_token)
    app = Starlette(
        routes=[
            Route("/livez", endpoints.livez),
            Route("/readyz", endpoints.readyz),
            Route("/version", endpoints.version),
            Route("/metrics", endpoints.metrics),
            Route("/v1/records", endpoints.list_records, middleware=[token]),
            *extra_routes,
        ],
        exception_handlers={
            ProblemError: handle_problem,
            HTTPException: _handle_http_exception,
            Exception: _handle_failure,
        },
    )
    app.router.redirect_slashes = False
    return Observed(app, lifecycle, metrics)


class _Endpoints:
    """The service's endpoints over what they need."""

    def __init__(
        self, settings: Settings, lifecycle: Lifecycle, metrics: Metrics, records: RecordSource
    ) -> None:
        self._lifecycle = lifecycle
        self._metrics = metrics
        self._records = records
        self._version = {
            "version": settings.version,
            "gitSha": settings.git_sha,
            "environment": settings.environment,
            "dataProfile": settings.data_profile,
        }
        self._profile = settings.data_profile

    async def livez(self, _request: Request) -> Response:
        """Whether the process answers at all; draining is no reason to restart it."""
        return JSONResponse({"status": "alive"}, headers=_UNCACHED)

    async def readyz(self, _request: Request) -> Response:
        """Whether new requests should come here."""
        phase = self._lifecycle.phase
        if phase is not Phase.READY:
            raise ProblemError(
                503,
                slug="not-ready",
                title="Not ready for requests",
                detail=f"The service is {phase}.",
                headers=_UNCACHED,
            )
        return JSONResponse({"status": "ready"}, headers=_UNCACHED)

    async def version(self, _request: Request) -> Response:
        """What runs here."""
        return JSONResponse(self._version, headers=_UNCACHED)

    async def metrics(self, request: Request) -> Response:
        """What the service measured, for Prometheus."""
        body, content_type = self._metrics.render(request.headers.get("accept", ""))
        return Response(body, headers={"Content-Type": content_type, **_UNCACHED})

    async def list_records(self, request: Request) -> Response:
        """A page of records."""
        query = request.query_params
        wanted = parse_page(query.getlist("limit"), query.getlist("cursor"))
        page = await self._records.page(wanted)
        return JSONResponse(
            {
                "items": [record.as_json() for record in page.records],
                "nextCursor": page.next_cursor,
                "dataProfile": self._profile,
            },
            headers=_UNCACHED,
        )


async def _handle_http_exception(request: Request, exc: Exception) -> Response:
    assert isinstance(exc, HTTPException)  # noqa: S101 - registered for this type only
    headers = dict(exc.headers or {})
    if "Allow" in headers:
        headers["Allow"] = ", ".join(sorted(headers["Allow"].split(", ")))
    return respond(ProblemError(exc.status_code, headers=headers), request.scope)


async def _handle_failure(request: Request, _exc: Exception) -> Response:
    problem = ProblemError(500, detail="The service failed; its log has the request's id.")
    return respond(problem, request.scope)
