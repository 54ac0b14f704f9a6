"""The bearer token in front of `/v1/`, when the deployment sets one."""

from __future__ import annotations

import hashlib
import hmac

from pydantic import SecretStr
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from app.problems import ProblemError, respond

_CHALLENGE = 'Bearer realm="aegis-api"'


class BearerAuth:
    """ASGI middleware of a route that needs `Authorization: Bearer <token>`.

    Without a token in the settings it lets every request pass.
    """

    def __init__(self, app: ASGIApp, token: SecretStr | None) -> None:
        self._app = app
        self._digest = None if token is None else _digest(token.get_secret_value())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes the request on or answers 401."""
        if self._digest is None or self._accepts(Headers(scope=scope), self._digest):
            await self._app(scope, receive, send)
            return
        given = "authorization" in Headers(scope=scope)
        problem = ProblemError(
            401,
            slug="token-required",
            title="A valid bearer token is required",
            detail="The token given is not valid." if given else "No token was given.",
            headers={
                "WWW-Authenticate": f'{_CHALLENGE}, error="invalid_token"' if given else _CHALLENGE
            },
        )
        await respond(problem, scope)(scope, receive, send)

    @staticmethod
    def _accepts(headers: Headers, digest: bytes) -> bool:
        given = headers.getlist("authorization")
        if len(given) != 1:
            return False
        scheme, _, token = given[0].partition(" ")
        # Digests are of one length, so the comparison tells nothing about the token's.
        return scheme.lower() == "bearer" and hmac.compare_digest(_digest(token.strip()), digest)


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()
