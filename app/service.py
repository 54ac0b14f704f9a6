"""The application: its routes and how its parts are put together."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from typing import TYPE_CHECKING

from pydantic import SecretStr
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp

from app.auth import BearerAuth
from app.database import schema
from app.drafts import (
    Body,
    RecordChange,
    RecordDraft,
    parse_id,
    parse_key,
    parse_version,
    read_body,
)
from app.lifecycle import Lifecycle, Phase
from app.metrics import DatabaseMetrics, Metrics
from app.observe import Observed
from app.probe import DataProbe
from app.problems import ProblemError, handle_problem, respond
from app.records import Record, RecordSource, parse_page, source_for
from app.settings import UNKNOWN, Settings

if TYPE_CHECKING:
    from app.database.watch import DatabaseWatch

SERVICE = "aegis-api"
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
    watch = None
    if settings.database_url is not None:
        source, watch = _database(settings, settings.database_url, lifecycle, metrics)
        records = records or source
    endpoints = _Endpoints(
        settings,
        lifecycle,
        metrics,
        records or source_for(settings.data_profile, settings.mock_rows),
        watch,
    )
    token = Middleware(BearerAuth, token=settings.api_token)
    app = Starlette(
        routes=[
            Route("/livez", endpoints.livez),
            Route("/readyz", endpoints.readyz),
            Route("/version", endpoints.version),
            Route("/metrics", endpoints.metrics),
            Route("/probe", endpoints.probe, methods=["GET", "POST"]),
            Route("/v1/records", endpoints.records, methods=["GET", "POST"], middleware=[token]),
            Route(
                "/v1/records/{id}", endpoints.record, methods=["GET", "PATCH"], middleware=[token]
            ),
            *extra_routes,
        ],
        exception_handlers={
            ProblemError: handle_problem,
            HTTPException: _handle_http_exception,
            Exception: _handle_failure,
        },
        lifespan=None if watch is None else _watching(watch),
    )
    app.router.redirect_slashes = False
    version = None if settings.version == UNKNOWN else settings.version
    return Observed(app, lifecycle, metrics, version=version)


def _database(
    settings: Settings, address: SecretStr, lifecycle: Lifecycle, metrics: Metrics
) -> tuple[RecordSource, DatabaseWatch]:
    """A database's records, and what watches it."""
    # A service without a database need not load what it would take.
    from app.database.engine import Database
    from app.database.records import DatabaseRecords
    from app.database.watch import DatabaseWatch

    measured = DatabaseMetrics(metrics.registry)
    database = Database(
        address.get_secret_value(),
        measured,
        tls=settings.database_tls,
        authority=settings.database_ca,
        name=f"{SERVICE} {settings.version}",
    )
    watch = DatabaseWatch(
        database,
        schema.of_this_code(),
        lifecycle,
        measured,
        service=SERVICE,
        production=settings.environment == "production",
    )
    return DatabaseRecords(database), watch


def _watching(watch: DatabaseWatch) -> Callable[[Starlette], AbstractAsyncContextManager[None]]:
    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        task = asyncio.create_task(watch.run())
        try:
            yield
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
            watch.close()

    return lifespan


class _Endpoints:
    """The service's endpoints over what they need."""

    def __init__(
        self,
        settings: Settings,
        lifecycle: Lifecycle,
        metrics: Metrics,
        records: RecordSource,
        watch: DatabaseWatch | None,
    ) -> None:
        self._lifecycle = lifecycle
        self._metrics = metrics
        self._records = records
        self._probe = DataProbe(records)
        self._watch = watch
        self._version = {
            "version": settings.version,
            "gitSha": settings.git_sha,
            "environment": settings.environment,
            "dataProfile": settings.data_profile,
            "schema": schema.of_this_code().as_json(),
        }
        self._profile = settings.data_profile

    async def livez(self, _request: Request) -> Response:
        """Whether the process answers at all; draining is no reason to restart it."""
        return JSONResponse({"status": "alive"}, headers=_UNCACHED)

    async def readyz(self, _request: Request) -> Response:
        """Whether new requests should come here."""
        phase = self._lifecycle.phase
        if phase is not Phase.READY:
            awaited = self._lifecycle.awaits if phase is Phase.STARTING else None
            raise ProblemError(
                503,
                slug="not-ready",
                title="Not ready for requests",
                detail=f"The service is {phase}" + (f": {awaited}." if awaited else "."),
                headers=_UNCACHED,
            )
        return JSONResponse({"status": "ready"}, headers=_UNCACHED)

    async def version(self, _request: Request) -> Response:
        """What runs here, and with which database, as far as it was reached."""
        known = None if self._watch is None else self._watch.schema
        database = {} if known is None else {"database": known.as_json()}
        return JSONResponse({**self._version, **database}, headers=_UNCACHED)

    async def metrics(self, request: Request) -> Response:
        """What the service measured, for Prometheus."""
        body, content_type = self._metrics.render(request.headers.get("accept", ""))
        return Response(body, headers={"Content-Type": content_type, **_UNCACHED})

    async def probe(self, request: Request) -> Response:
        """Whether data can be read, or written; shows none of it and keeps nothing."""
        write = request.method == "POST"
        await (self._probe.write() if write else self._probe.read())
        said = {"version": self._version["version"], "data": "written" if write else "read"}
        return JSONResponse(said, headers=_UNCACHED)

    async def records(self, request: Request) -> Response:
        """A page of records, or one more record."""
        if request.method == "POST":
            return await self._create(request)
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

    async def record(self, request: Request) -> Response:
        """One record, read or changed."""
        given = request.path_params["id"]
        number = parse_id(given)
        if number is None:
            raise ProblemError(
                404, slug="no-record", title="No such record", detail="No record has such an id."
            )
        if request.method != "PATCH":
            return _shown(await self._records.get(number))
        version = parse_version(request.headers.getlist("if-match"))
        change = await self._body(RecordChange, request)
        return _shown(await self._records.change(number, change, version))

    async def _create(self, request: Request) -> Response:
        key = parse_key(request.headers.getlist("idempotency-key"))
        draft = await self._body(RecordDraft, request)
        created = await self._records.create(draft, key)
        headers = {"Location": f"/v1/records/{created.answer['id']}", **_UNCACHED}
        if created.replayed:
            headers["Idempotency-Replayed"] = "true"
        return JSONResponse(created.answer, status_code=201, headers=headers)

    async def _body(self, model: type[Body], request: Request) -> Body:
        return await read_body(model, request.headers.get("content-type", ""), request.stream())


def _shown(record: Record) -> Response:
    return JSONResponse(record.as_json(), headers={"ETag": f'"{record.version}"', **_UNCACHED})


async def _handle_http_exception(request: Request, exc: Exception) -> Response:
    assert isinstance(exc, HTTPException)  # noqa: S101 - registered for this type only
    headers = dict(exc.headers or {})
    if "Allow" in headers:
        headers["Allow"] = ", ".join(sorted(headers["Allow"].split(", ")))
    return respond(ProblemError(exc.status_code, headers=headers), request.scope)


async def _handle_failure(request: Request, _exc: Exception) -> Response:
    problem = ProblemError(500, detail="The service failed; its log has the request's id.")
    return respond(problem, request.scope)
