"""The API of Pulumi Cloud, and of whatever speaks it: what the CLI asks of a stack, asked directly.

Only requests that the CLI makes itself, with the token it has, from the places it takes it from.
For what the CLI does not print: who works on a stack, and the ciphertexts of past settings; and for
what takes it half a second a question: tags and checkpoints.
"""

from __future__ import annotations

import gzip
import http.client
import json
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import quote

from aegis_deploy.common.errors import AegisError
from aegis_deploy.pulumi_cli.project import pulumi_home

_ACCEPT = "application/vnd.pulumi+8"
_SECONDS = 30.0
_TRIES = 4
_BACKOFF_SECONDS = 0.5
_UNAUTHORIZED, _FORBIDDEN, _MISSING, _BUSY, _BROKEN = 401, 403, 404, 429, 500


def find_account(url: str, environment: Mapping[str, str]) -> tuple[str | None, bool]:
    """The token the CLI would use, None when it cannot be read; and whether it is not particular.

    Who logged in with ``--insecure`` has said that any certificate is good enough.

    Args:
        url: The service's address.
        environment: The CLI's environment.
    """
    home = environment.get("PULUMI_CREDENTIALS_PATH") or pulumi_home(environment)
    try:
        accounts = json.loads((Path(home) / "credentials.json").read_text())["accounts"]
        account = accounts[url.rstrip("/")]
        stored, insecure = account.get("accessToken"), bool(account.get("insecure"))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        stored, insecure = None, False
    return environment.get("PULUMI_ACCESS_TOKEN") or stored or None, insecure


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A token goes to the address it is for, and nowhere else."""

    def redirect_request(self, *_: Any) -> None:  # noqa: ANN401 - as the base class has it
        return None


@dataclass(frozen=True)
class Service:
    """A stack, as the service has it.

    Attributes:
        url: The service's address.
        token: What it knows the caller by.
        stack: ``organization/project/stack``.
        insecure: Whether any certificate is good enough.
        sleep: Waits.
    """

    url: str
    token: str = field(repr=False)
    stack: str
    insecure: bool = False
    sleep: Callable[[float], None] = field(default=time.sleep, repr=False)

    def described(self) -> dict[str, Any]:
        """What it says of the stack: tags, version, the operation that is in progress."""
        return self._get("")

    def updates(self, size: int | None = None) -> list[dict[str, Any]]:
        """Its operations but for previews, newest first.

        Args:
            size: How many; all of them when None.
        """
        paging = "" if size is None else f"?pageSize={size}&page=1"
        return list(self._get(f"/updates{paging}").get("updates") or [])

    def exported(self, version: int | None = None) -> dict[str, Any]:
        """The state, secrets encrypted: ``{"version": 3, "deployment": {...}}``.

        Args:
            version: As this operation left it; as it is now when None.
        """
        found = self._get("/export" if version is None else f"/export/{version}")
        return {**found, "deployment": found.get("deployment") or {}}

    def retag(self, tags: Mapping[str, str]) -> None:
        """Replace all of the stack's tags."""
        self._call("PATCH", "/tags", json.dumps(dict(tags)).encode())

    def _get(self, path: str) -> dict[str, Any]:
        """Ask, and ask again when the service is not there for a moment, as the CLI does."""
        wait = _BACKOFF_SECONDS
        for left in reversed(range(_TRIES)):
            try:
                return dict(self._call("GET", path) or {})
            except _PassingError as error:
                if not left:
                    raise error.told from error
            self.sleep(wait)
            wait *= 2
        raise AssertionError

    def _call(self, method: str, path: str, body: bytes | None = None) -> Any:  # noqa: ANN401
        try:
            return self._send(method, path, body)
        except _PassingError as error:
            if method == "GET":
                raise
            raise error.told from error

    def _send(self, method: str, path: str, body: bytes | None) -> Any:  # noqa: ANN401
        address = f"{self.url.rstrip('/')}/api/stacks/{quote(self.stack)}{path}"
        request = urllib.request.Request(address, data=body, method=method)  # noqa: S310
        for name, value in (
            ("Accept", _ACCEPT),
            ("Accept-Encoding", "gzip"),
            ("Authorization", f"token {self.token}"),
            ("Content-Type", "application/json"),
        ):
            request.add_header(name, value)
        try:
            with _opener(self.insecure).open(request, timeout=_SECONDS) as answer:
                raw = answer.read()
                if answer.headers.get("Content-Encoding") == "gzip":
                    raw = gzip.decompress(raw)
            return json.loads(raw) if raw else None
        except urllib.error.HTTPError as error:
            with error:
                told = _refused(error.code, _message(error.read()), self)
            if error.code >= _BROKEN or error.code == _BUSY:
                raise _PassingError(told) from None
            raise told from None
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise _PassingError(_unreachable(error, self)) from error


class _PassingError(Exception):
    """What may be over in a moment; `told` is what to say when it is not."""

    def __init__(self, told: AegisError) -> None:
        super().__init__(str(told))
        self.told = told


@cache
def _opener(insecure: bool) -> urllib.request.OpenerDirector:
    context = ssl.create_default_context()
    if insecure:
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return urllib.request.build_opener(_NoRedirect, urllib.request.HTTPSHandler(context=context))


def _message(raw: bytes) -> str:
    """What an answer says; a page of a proxy is cut short."""
    try:
        return str(json.loads(raw)["message"])
    except (ValueError, KeyError, TypeError):
        return " ".join(raw.decode(errors="replace").split())[:200]


def _refused(status: int, message: str, service: Service) -> AegisError:
    why = f"{service.url} answers {status}: {message}"
    if status == _UNAUTHORIZED:
        what, following = "the backend does not know who you are", "pulumi login"
    elif status == _FORBIDDEN:
        what = f"the backend does not let you at {service.stack}"
        following = "ask its owner for access, or log in as somebody who has it: pulumi login"
    elif status == _MISSING:
        what, following = "there is no such stack in this backend", "pulumi stack ls"
    elif status >= _BROKEN or status == _BUSY:
        what = "the backend does not work just now"
        following = "try again; nothing is lost. If a deploy was cut short: aegis recover"
    else:
        what, following = "the backend refuses what was asked of it", ""
    return AegisError(what=what, why=why, next=following)


def _unreachable(error: Exception, service: Service) -> AegisError:
    reason = getattr(error, "reason", None) or error
    return AegisError(
        what="the backend cannot be reached",
        why=f"{service.url}: {reason}",
        next="see that it is up and that PULUMI_BACKEND_URL names it; nothing is lost",
    )
