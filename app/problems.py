"""Errors as RFC 9457 problem documents (`application/problem+json`)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from http import HTTPStatus

from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.types import Scope

MEDIA_TYPE = "application/problem+json"
_TYPE_PREFIX = "urn:aegis:problem:"


class ProblemError(Exception):
    """Raised by an endpoint to answer with a problem document.

    Attributes:
        status: The HTTP status to answer with.
        slug: Last part of the problem's `type`; None means "nothing beyond the status".
        title: Short summary, the same for every occurrence of this type.
        detail: What happened this time and what helps; must hold no secret.
        members: Extension members of the document.
        headers: Headers the status calls for.
    """

    def __init__(
        self,
        status: int,
        *,
        slug: str | None = None,
        title: str | None = None,
        detail: str | None = None,
        members: Mapping[str, object] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail or title or str(status))
        self.status = status
        self.slug = slug
        self.title = title or HTTPStatus(status).phrase
        self.detail = detail
        self.members = dict(members or {})
        self.headers = dict(headers or {})

    def document(
        self, request_id: str | None = None, version: str | None = None
    ) -> dict[str, object]:
        """The problem document's members.

        Args:
            request_id: The request this happened to, for finding its log line.
            version: The release it happened to: while two of them answer, whoever judges one must
                know whose failure it was.
        """
        document: dict[str, object] = {
            "type": f"{_TYPE_PREFIX}{self.slug}" if self.slug else "about:blank",
            "title": self.title,
            "status": self.status,
        }
        if self.detail:
            document["detail"] = self.detail
        if request_id:
            document["requestId"] = request_id
        if version:
            document["version"] = version
        return document | self.members


def stopping() -> ProblemError:
    """The answer to a request that the end of the drain found unanswered."""
    return ProblemError(
        503,
        slug="stopping",
        title="The service stopped before the answer was ready",
        detail="It is being replaced; ask again.",
        headers={"Retry-After": "1"},
    )


def respond(problem: ProblemError, scope: Scope) -> JSONResponse:
    """Turns a problem into the response to the request of this scope."""
    state = scope.get("state", {})
    return JSONResponse(
        problem.document(state.get("request_id"), state.get("version")),
        status_code=problem.status,
        headers=problem.headers,
        media_type=MEDIA_TYPE,
    )


def encode(problem: ProblemError) -> bytes:
    """The problem document as bytes, for answers given below ASGI."""
    return json.dumps(problem.document(), separators=(",", ":")).encode()


async def handle_problem(request: Request, exc: Exception) -> JSONResponse:
    """Starlette handler for `ProblemError`."""
    assert isinstance(exc, ProblemError)  # noqa: S101 - registered for this type only
    return respond(exc, request.scope)
