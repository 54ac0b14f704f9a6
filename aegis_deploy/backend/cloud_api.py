"""The API of Pulumi Cloud, and of whatever speaks it: what the CLI asks of a stack, asked directly.

Only requests that the CLI makes itself, with the token it has, from the places it takes it from.
For what the CLI does not print: who works on a stack, and the ciphertexts of past settings; and for
what takes it half a second a question: tags and checkpoints.
"""

from __future__ import annotations

import json
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, urlsplit
from urllib.request import getproxies, proxy_bypass

import urllib3
from urllib3.exceptions import (
    DecodeError,
    HTTPError,
    InsecureRequestWarning,
    MaxRetryError,
)
from urllib3.util import Retry, make_headers

from aegis_deploy.common.errors import AegisError
from aegis_deploy.pulumi_cli.project import pulumi_home

_ACCEPT = "application/vnd.pulumi+8"
_SECONDS = 30.0
_AT_ONCE = 8
_LONGEST_WAIT_SECONDS = 30.0
_REDIRECTED = 300
_GARBLED = (ValueError, DecodeError)
"""What reading an answer raises that is none of the service's, but a proxy's page, or cut short."""
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


class _Patience(Retry):
    """How often, and after how long, a question is asked again."""

    def get_retry_after(self, response: urllib3.BaseHTTPResponse) -> float | None:
        """How long the service asks to wait; a command does not wait for hours."""
        wait = super().get_retry_after(response)
        return None if wait is None else min(wait, _LONGEST_WAIT_SECONDS)


PATIENCE = _Patience(
    total=3,
    backoff_factor=1.0,
    # What asks for a change may have been done, even where no answer came.
    allowed_methods={"GET"},
    status_forcelist={_BUSY, *range(_BROKEN, 600)},
    raise_on_status=False,
)
"""As the CLI asks again when the service is not there for a moment."""


@dataclass(frozen=True)
class Service:
    """A stack, as the service has it.

    Attributes:
        url: The service's address.
        token: What it knows the caller by.
        stack: ``organization/project/stack``.
        insecure: Whether any certificate is good enough.
    """

    url: str
    token: str = field(repr=False)
    stack: str
    insecure: bool = False

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
        # On a connection of its own: whether one that was kept is still good shows only when it is
        # used, and then nobody knows whether the tags were written.
        body = json.dumps(dict(tags)).encode()
        try:
            with _connections(self.url, insecure=self.insecure) as fresh:
                answer = self._sent(fresh, "PATCH", "/tags", PATIENCE, body)
            json.loads(answer.data or b"null")
        except _GARBLED as error:
            raise _unreachable(error, self) from error

    def _get(self, path: str) -> dict[str, Any]:
        patience: Retry = PATIENCE
        while True:
            try:
                answer = self._sent(self._kept, "GET", path, patience)
                patience = answer.retries or patience
                return dict(json.loads(answer.data or b"null") or {})
            except _GARBLED as error:
                # A proxy's page in place of an answer. To urllib3 it is as good as any.
                try:
                    patience = patience.increment(
                        "GET", path, error=urllib3.exceptions.ProtocolError(str(error))
                    )
                except MaxRetryError:
                    raise _unreachable(error, self) from error
                patience.sleep()

    @cached_property
    def _kept(self) -> urllib3.PoolManager:
        return _connections(self.url, insecure=self.insecure)

    def _sent(
        self,
        connections: urllib3.PoolManager,
        method: str,
        path: str,
        patience: Retry,
        body: bytes | None = None,
    ) -> urllib3.BaseHTTPResponse:
        try:
            answer = connections.request(
                method,
                f"{self.url.rstrip('/')}/api/stacks/{quote(self.stack)}{path}",
                body=body,
                headers={
                    "Accept": _ACCEPT,
                    "Accept-Encoding": "gzip",
                    "Authorization": f"token {self.token}",
                    "Content-Type": "application/json",
                },
                # A token goes to the address it is for, and nowhere else.
                redirect=False,
                retries=patience,
                timeout=_SECONDS,
            )
        except _GARBLED:
            raise
        except (HTTPError, OSError) as error:
            raise _unreachable(error, self) from error
        if answer.status >= _REDIRECTED:
            raise _refused(answer.status, _message(answer.data), self)
        return answer


def _connections(url: str, *, insecure: bool) -> urllib3.PoolManager:
    """What leads to a service: by the proxy that the environment names, as the CLI goes."""
    context = ssl.create_default_context()
    if insecure:
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        urllib3.disable_warnings(InsecureRequestWarning)  # Whoever logged in so knows it.
    parts = urlsplit(url)
    proxy = None if proxy_bypass(parts.netloc) else getproxies().get(parts.scheme)
    if not proxy:
        return urllib3.PoolManager(maxsize=_AT_ONCE, ssl_context=context)
    who = urlsplit(proxy if "://" in proxy else f"http://{proxy}")
    known = None
    if who.username:
        known = make_headers(
            proxy_basic_auth=f"{unquote(who.username)}:{unquote(who.password or '')}"
        )
    return urllib3.ProxyManager(
        who.geturl(), maxsize=_AT_ONCE, proxy_headers=known, ssl_context=context
    )


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
    return AegisError(
        what="the backend cannot be reached",
        why=f"{service.url}: {_innermost(error)}",
        next="see that it is up and that PULUMI_BACKEND_URL names it; nothing is lost",
    )


def _innermost(error: Exception) -> Exception:
    """What happened, without what the library has wrapped around it."""
    for wrapped in (getattr(error, "reason", None), *reversed(error.args), error.__cause__):
        if isinstance(wrapped, Exception):
            return _innermost(wrapped)
    return error
