"""The API server, through the official Python client: requests, watches, errors.

Owns the connection: made on first use, which an unchanged preview need not pay for, found
unreachable within seconds, and then not tried again.
"""

from __future__ import annotations

import json
import shutil
import socket
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lab.plugins.kubernetes.kubeconfig import Kubeconfig, KubeconfigError, load_kubeconfig
from lab.plugins.kubernetes.objects import Object
from lab.plugins.kubernetes.settings import Settings

if TYPE_CHECKING:
    from lab.plugins.kubernetes.connection import Connection

APPLY_PATCH = "application/apply-patch+yaml"
MERGE_PATCH = "application/merge-patch+json"
JSON_PATCH = "application/json-patch+json"
_JSON = "application/json"
_CONNECT_SECONDS = 4.0
_WATCH_SECONDS = 300
_CONNECTIONS = 512
_FIRST_ERROR = 400
_ADVICE = ". Check"  # told with the first failure only

_NOT_FOUND, _CONFLICT, _FORBIDDEN, _GONE, _INVALID = 404, 409, 403, 410, 422


class UnreachableError(Exception):
    """The cluster cannot be talked to; the message says which server, why and what to check."""


class ApiError(Exception):
    """The API server refused a request.

    Attributes:
        code: The HTTP status.
        reason: The machine-readable reason, such as ``AlreadyExists``.
        details: The Status object's details.
    """

    def __init__(self, code: int, reason: str, message: str, details: Object) -> None:
        super().__init__(message)
        self.code, self.reason, self.details = code, reason, details

    @property
    def not_found(self) -> bool:
        """The object, or something its path names, does not exist."""
        return self.code == _NOT_FOUND

    @property
    def namespace_missing(self) -> bool:
        """The namespace the object should go into does not exist."""
        return self.not_found and self.details.get("kind") == "namespaces"

    @property
    def already_exists(self) -> bool:
        """An object of that name exists."""
        return self.reason == "AlreadyExists"

    @property
    def conflict(self) -> bool:
        """Another field manager owns a field, or the object changed meanwhile."""
        return self.code == _CONFLICT and not self.already_exists

    @property
    def forbidden(self) -> bool:
        """The credentials do not allow it."""
        return self.code == _FORBIDDEN

    @property
    def expired(self) -> bool:
        """A watch's starting point is too old."""
        return self.code == _GONE

    @property
    def invalid(self) -> bool:
        """The object does not validate."""
        return self.code == _INVALID


@dataclass(frozen=True)
class _Call:
    """One request; ``seconds`` of 0 waits as long as the settings say."""

    method: str
    path: str
    query: dict[str, str]
    body: object = None
    content_type: str = _JSON
    seconds: float = 0


class Api:
    """Talks to the cluster the settings name. Safe to use from many threads."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._lock = threading.Lock()
        self._client: Connection | None = None
        self._failure: str | None = None
        self._credentials: str | None = None
        self._config: Kubeconfig | KubeconfigError
        try:
            self._config = load_kubeconfig(
                settings.kubeconfig,
                context=settings.context,
                cluster=settings.cluster,
                namespace=settings.namespace,
            )
        except KubeconfigError as error:
            self._config = error

    @property
    def default_namespace(self) -> str:
        """The namespace for objects that name none."""
        if isinstance(self._config, Kubeconfig):
            return self._config.namespace
        return self._settings.namespace or "default"

    def close(self) -> None:
        """Remove the credentials that the client keeps in files."""
        if self._credentials is not None:
            shutil.rmtree(self._credentials, ignore_errors=True)

    def unreachable(self) -> str | None:
        """Return why the cluster cannot be talked to, None when it can (connects if need be)."""
        try:
            self._connected()
        except UnreachableError as error:
            return str(error)
        return None

    def get(self, path: str, **query: str) -> Object:
        """Read one object or a list."""
        return self._request(_Call("GET", path, query))

    def create(self, path: str, body: Object, **query: str) -> Object:
        """POST a new object."""
        return self._request(_Call("POST", path, query, body))

    def replace(self, path: str, body: Object, **query: str) -> Object:
        """PUT an object in place of the one there."""
        return self._request(_Call("PUT", path, query, body))

    def patch(self, path: str, kind: str, body: object, **query: str) -> Object:
        """PATCH an object; ``kind`` is one of this module's patch content types."""
        return self._request(_Call("PATCH", path, query, body, kind))

    def delete(self, path: str, body: Object) -> Object:
        """DELETE an object with DeleteOptions as the body."""
        return self._request(_Call("DELETE", path, {}, body))

    def watch(self, path: str, **query: str) -> Watch:
        """Open a watch; iterate over it for events."""
        call = _Call(
            "GET",
            path,
            {"watch": "true", "timeoutSeconds": str(_WATCH_SECONDS), **query},
            seconds=_WATCH_SECONDS + 30,
        )
        response = self._send(self._connected(), call)
        if response.status >= _FIRST_ERROR:
            raise _error(response.status, response.data)
        return Watch(response)

    def _request(self, call: _Call) -> Object:
        response = self._send(self._connected(), call)
        raw = response.data
        if response.status >= _FIRST_ERROR:
            raise _error(response.status, raw)
        answer: Object = json.loads(raw)
        return answer

    def _send(self, client: Connection, call: _Call) -> Any:  # noqa: ANN401 - urllib3's response
        from urllib3.exceptions import HTTPError

        try:
            return client.send(
                call.method,
                call.path,
                query=call.query,
                headers={"Accept": _JSON}
                | ({} if call.body is None else {"Content-Type": call.content_type}),
                body=None if call.body is None else json.dumps(call.body).encode(),
                seconds=(_CONNECT_SECONDS, call.seconds or self._settings.request_seconds),
            )
        except (HTTPError, OSError) as error:
            raise UnreachableError(self._explain(error)) from error

    def _connected(self) -> Connection:
        with self._lock:
            if self._failure is not None:
                raise UnreachableError(self._failure.partition(_ADVICE)[0])
            if self._client is None:
                try:
                    client = self._connect()
                    self._send(client, _Call("GET", "/version", {}, seconds=10)).read()
                except UnreachableError as error:
                    self._failure = str(error)
                    raise
                self._client = client
            return self._client

    def _connect(self) -> Connection:
        from lab.plugins.kubernetes.connection import connect, connect_inside

        if isinstance(self._config, KubeconfigError):
            if self._settings.kubeconfig:
                raise UnreachableError(str(self._config))
            try:
                return connect_inside(_CONNECTIONS)
            except ValueError:
                raise UnreachableError(str(self._config)) from None
        self._credentials = tempfile.mkdtemp(prefix="lab-kubernetes-")
        try:
            return connect(self._config, self._credentials, _CONNECTIONS)
        except (ValueError, OSError) as error:
            raise UnreachableError(f"{self._config.origin} cannot be used: {error}") from None

    def _explain(self, error: Exception) -> str:
        if isinstance(self._config, KubeconfigError):
            return f"the API server of this cluster does not answer: {_cause(error)}"
        return (
            f"the Kubernetes API server at {self._config.server} does not answer: "
            f"{_cause(error)}{_ADVICE} that the cluster is running and that context "
            f"{self._config.context!r} of {self._config.origin} is the right one"
        )


class Watch:
    """One open watch. Iterating yields (type, object); ``close`` ends it from another thread."""

    def __init__(self, response: Any) -> None:  # noqa: ANN401 - urllib3's response
        self._response = response

    def __iter__(self) -> Iterator[tuple[str, Object]]:
        """Yield events until the server or ``close`` ends the stream."""
        from urllib3.exceptions import HTTPError

        rest = b""
        try:
            for chunk in self._response.stream(None, decode_content=False):
                *lines, rest = (rest + chunk).split(b"\n")
                for line in filter(None, lines):
                    event = json.loads(line)
                    if event["type"] == "ERROR":
                        status = event["object"]
                        raise _error(int(status.get("code") or 500), json.dumps(status).encode())
                    yield event["type"], event["object"]
        except (HTTPError, OSError, ValueError, AttributeError):
            return

    def close(self) -> None:
        """End the stream; a thread that reads it sees its end."""
        connection = getattr(self._response, "_connection", None)
        sock = getattr(connection, "sock", None)
        try:
            if sock is not None:
                sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass


def _error(code: int, raw: bytes | None) -> ApiError:
    try:
        status = json.loads(raw or b"{}")
    except ValueError:
        status = {}
    if not isinstance(status, dict):
        status = {}
    message = status.get("message") or (raw or b"").decode(errors="replace").strip()
    return ApiError(
        code,
        str(status.get("reason") or ""),
        str(message or f"HTTP status {code}"),
        status.get("details") or {},
    )


def _cause(error: Exception) -> str:
    """Reduce a chain of client exceptions to the words of its cause."""
    seen: BaseException = error
    while seen.__cause__ is not None or getattr(seen, "reason", None).__class__ is not str:
        inner = getattr(seen, "reason", None)
        following = inner if isinstance(inner, BaseException) else seen.__cause__
        if following is None or following is seen:
            break
        seen = following
    name = type(seen).__name__
    if "Timeout" in name or isinstance(seen, TimeoutError):
        return "no answer in time"
    if isinstance(seen, OSError) and seen.strerror:
        return seen.strerror.lower() if not isinstance(seen, socket.gaierror) else seen.strerror
    return " ".join(str(seen).split()) or name


def resource_version(listing: Object) -> str:
    """Return the version a list was read at, where a watch continues."""
    return str((listing.get("metadata") or {}).get("resourceVersion") or "")
