"""The cluster, talked to as plain JSON: the few requests that watching a rollout needs."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any
from urllib.parse import urlencode

from aegis_deploy.common.errors import AegisError
from aegis_deploy.kubernetes import connection
from aegis_deploy.kubernetes import kubeconfig as kubeconfigs

Object = dict[str, Any]
"""An object of the cluster, as JSON."""

CONNECT_SECONDS = 4.0
READ_SECONDS = 15.0
_WATCH_SECONDS = 300
_FIRST_ERROR, _FAULT = 400, 500
UNAUTHORIZED, FORBIDDEN, NOT_FOUND, CONFLICT, GONE = 401, 403, 404, 409, 410


class ApiError(Exception):
    """The API server refused a request, or could not be reached.

    Attributes:
        code: The HTTP status; 0 when there was no answer.
    """

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code

    @property
    def silence(self) -> bool:
        """Whether it says nothing of what was asked for, only of the server itself."""
        return self.code == 0 or self.code >= _FAULT


class Cluster:
    """A cluster that is talked to as JSON; safe to use from several threads."""

    def __init__(self, way: connection.Connection) -> None:
        self._connection = way

    @property
    def address(self) -> str:
        """The API server's address, for messages."""
        return self._connection.host

    def get(self, path: str, query: Mapping[str, str] | None = None) -> Object:
        """Read an object or a list.

        Raises:
            ApiError: It is not there, may not be read, or the server does not answer.
        """
        return _object(self.text(path, query), f"{self.address}{path}")

    def text(self, path: str, query: Mapping[str, str] | None = None) -> str:
        """Read an answer as text.

        Raises:
            ApiError: It is not there, may not be read, or the server does not answer.
        """
        status, body = self.answer(path, query)
        if status >= _FIRST_ERROR:
            raise ApiError(status, _message(status, body))
        return body.decode(errors="replace")

    def answer(
        self,
        path: str,
        query: Mapping[str, str] | None = None,
        *,
        headers: Mapping[str, str] | None = None,
        seconds: float = READ_SECONDS,
        method: str = "GET",
    ) -> tuple[int, bytes]:
        """Send a request without a body; return its answer's status and body, whatever they are.

        Raises:
            ApiError: The server does not answer.
        """
        response = self._send(path, query, headers=headers, seconds=seconds, method=method)
        return int(response.status), bytes(response.data)

    def create(self, path: str, thing: Mapping[str, Any]) -> Object:
        """Make an object; return it as the server has it.

        Args:
            path: Where its kind is listed.
            thing: The object.

        Raises:
            ApiError: It may not be made, or the server does not answer.
        """
        return self._change(path, "application/json", thing, method="POST")

    def patch(self, path: str, operations: Sequence[Mapping[str, Any]]) -> Object:
        """Change an object by a JSON patch (RFC 6902).

        Raises:
            ApiError: It may not be changed, has changed meanwhile, or the server does not answer.
        """
        return self._change(path, "application/json-patch+json", list(operations))

    def merge(self, path: str, change: Mapping[str, Any], *, manager: str) -> Object:
        """Change an object by a JSON merge patch (RFC 7386), in which None removes.

        Args:
            path: The object's.
            change: What is changed of it.
            manager: Who is said to have changed it.

        Raises:
            ApiError: It may not be changed, or the server does not answer.
        """
        return self._change(path, "application/merge-patch+json", change, {"fieldManager": manager})

    def delete(self, path: str, *, uid: str) -> None:
        """Delete an object, with the time that it has to end, and only while it is the very one.

        Args:
            path: The object's.
            uid: Its uid.

        Raises:
            ApiError: It is not there (404) or another (409), may not be deleted, or the server
                does not answer.
        """
        options = {
            "apiVersion": "v1",
            "kind": "DeleteOptions",
            "preconditions": {"uid": uid},
        }
        response = self._send(
            path,
            None,
            headers={"Content-Type": "application/json"},
            seconds=READ_SECONDS,
            body=json.dumps(options).encode(),
            method="DELETE",
        )
        if response.status >= _FIRST_ERROR:
            raise ApiError(response.status, _message(response.status, bytes(response.data)))

    def _change(
        self,
        path: str,
        kind: str,
        change: object,
        query: Mapping[str, str] | None = None,
        method: str = "PATCH",
    ) -> Object:
        response = self._send(
            path,
            query,
            headers={"Content-Type": kind},
            seconds=READ_SECONDS,
            body=json.dumps(change).encode(),
            method=method,
        )
        if response.status >= _FIRST_ERROR:
            raise ApiError(response.status, _message(response.status, bytes(response.data)))
        return _object(response.data, f"{self.address}{path}")

    def watch(
        self, path: str, query: Mapping[str, str], version: str, stop: threading.Event
    ) -> Iterator[tuple[str, Object]]:
        """Yield an object's changes (ADDED, MODIFIED, DELETED) until the server ends the watch.

        Raises:
            ApiError: The watch cannot be made, or its starting point is too old (410).
        """
        asked = {
            **query,
            "watch": "true",
            "resourceVersion": version,
            "timeoutSeconds": str(_WATCH_SECONDS),
        }
        response = self._send(path, asked, headers=None, seconds=_WATCH_SECONDS + 30, stream=True)
        if response.status >= _FIRST_ERROR:
            body = response.read()
            response.release_conn()
            raise ApiError(response.status, _message(response.status, body))
        threading.Thread(target=_hang_up, args=(response, stop), daemon=True).start()
        try:
            for line in _lines(response):
                event = _object(line, f"{self.address}{path}")
                change, thing = event.get("type"), event.get("object")
                if not isinstance(thing, dict):
                    raise ApiError(0, f"the watch tells of a change of nothing: {line[:80]!r}")
                if change == "ERROR":
                    raise ApiError(int(thing.get("code", 0)), str(thing.get("message", "")))
                yield str(change), thing
        except (OSError, ValueError, self._errors()) as error:
            if not stop.is_set():
                raise ApiError(0, f"the watch was cut off: {error}") from error
        finally:
            response.close()

    def websocket(self, path: str, query: Mapping[str, str], protocol: str) -> Any:  # noqa: ANN401
        """Open a connection that both sides write to.

        Args:
            path: The subresource's.
            query: What it is asked.
            protocol: The subprotocol.

        Raises:
            ApiError: It may not be opened, or the server does not answer.
        """
        headers = {**self.headers(), "sec-websocket-protocol": protocol}
        try:
            return self._connection.websocket(path, query, headers)
        # Its library's own errors, and those of the socket and of TLS.
        except Exception as error:
            code = int(getattr(error, "status_code", 0) or 0)
            said = bytes(getattr(error, "resp_body", None) or b"")
            why = _message(code, said) if code else f"{self.address} does not answer: {error}"
            raise ApiError(code, why) from error

    def logs(self, namespace: str, pod: str, container: str, *, previous: bool, lines: int) -> str:
        """Return a container's last log lines; empty when there are none to be had."""
        query = {"container": container, "tailLines": str(lines), "previous": str(previous).lower()}
        try:
            return self.text(f"/api/v1/namespaces/{namespace}/pods/{pod}/log", query)
        except ApiError:
            return ""

    def events(self, namespace: str, name: str | None = None) -> list[Object]:
        """Return a namespace's events, of one object when it is named, the last one last."""
        query = {} if name is None else {"fieldSelector": f"involvedObject.name={name}"}
        found = self.get(f"/api/v1/namespaces/{namespace}/events", query).get("items", [])
        return sorted(found, key=_when)

    def headers(self) -> dict[str, str]:
        """Return what authenticates a request, a fresh token included."""
        return {"Accept": "application/json", **self._connection.authorization()}

    def _send(
        self,
        path: str,
        query: Mapping[str, str] | None,
        *,
        headers: Mapping[str, str] | None,
        seconds: float,
        stream: bool = False,
        body: bytes | None = None,
        method: str = "GET",
    ) -> Any:  # noqa: ANN401
        import urllib3

        asked = f"?{urlencode(query)}" if query else ""
        try:
            return self._connection.pool.request(
                method,
                self.address + path + asked,
                body=body,
                headers={**self.headers(), **(headers or {})},
                timeout=urllib3.Timeout(connect=CONNECT_SECONDS, read=seconds),
                retries=False,
                preload_content=not stream,
            )
        except urllib3.exceptions.HTTPError as error:
            raise ApiError(0, f"{self.address} does not answer: {error}") from error

    @staticmethod
    def _errors() -> type[Exception]:
        import urllib3

        errors: type[Exception] = urllib3.exceptions.HTTPError
        return errors


def connect(
    context: str | None = None, kubeconfig: str | None = None, cluster: str | None = None
) -> Cluster:
    """Connect to a cluster; nothing is sent yet.

    Args:
        context: The kubeconfig's context; None means its current one.
        kubeconfig: A kubeconfig or its path; None means ``KUBECONFIG``, the home directory's, or
            the account of the pod this runs in.
        cluster: The name of the kubeconfig's cluster; None means the one that the context names.

    Raises:
        AegisError: There is no usable kubeconfig, or no client.
    """
    try:
        return Cluster(connection.connected(context, kubeconfig, cluster))
    except ImportError as error:
        raise AegisError(
            what="the cluster cannot be reached: the Kubernetes client is not installed",
            why=str(error),
            next="pulumi install",
        ) from error
    except Exception as error:
        raise AegisError(
            what="the cluster cannot be reached: there is no usable kubeconfig",
            why=kubeconfigs.unusable(error),
            next="kubectl config get-contexts",
        ) from error


def require_answer(cluster: Cluster, stack: str) -> None:
    """Make sure that a stack's cluster answers and knows who asks.

    Raises:
        AegisError: It does not.
    """
    try:
        cluster.get("/version")
    except ApiError as error:
        if error.code == UNAUTHORIZED:
            raise AegisError(
                what=f"the cluster of {stack} does not know who you are",
                why=f"{cluster.address}: {error}",
                next="see that the credentials in KUBECONFIG have not expired: kubectl auth whoami",
            ) from error
        if error.code == 0:
            raise AegisError(
                what=f"the cluster of {stack} cannot be reached",
                why=str(error),
                next="kubectl get --raw /readyz says whether the API server answers",
            ) from error
        # One that it knows and shows nothing to may still deploy.


def same_quantity(first: str, second: str) -> bool:
    """Return whether two texts are the same quantity, such as ``1`` and ``1000m``."""
    from kubernetes.utils.quantity import parse_quantity

    try:
        return bool(parse_quantity(first) == parse_quantity(second))
    except ValueError:
        return False


def smaller_quantity(first: str, second: str) -> bool:
    """Return whether one quantity is less than another; no where one is none."""
    from kubernetes.utils.quantity import parse_quantity

    try:
        return bool(parse_quantity(first) < parse_quantity(second))
    except ValueError:
        return False


def whole_quantity(text: str) -> int | None:
    """Return a quantity as a whole number, such as the bytes of ``1Gi``; None where it is none."""
    from kubernetes.utils.quantity import parse_quantity

    try:
        return int(parse_quantity(text))
    except ValueError:
        return None


def routable(host: str, port: int, seconds: float = 0.5) -> bool:
    """Return whether a connection to an address can be made from here."""
    try:
        socket.create_connection((host, port), timeout=seconds).close()
    except OSError:
        return False
    return True


def _hang_up(response: Any, stop: threading.Event) -> None:  # noqa: ANN401
    """End a watch that has nothing to say when it is to stop; one that has ended has no socket."""
    stop.wait()
    sock = getattr(getattr(response, "connection", None), "sock", None)
    if sock is not None:
        with suppress(OSError):
            sock.shutdown(socket.SHUT_RDWR)


def _object(text: str | bytes, place: str) -> Object:
    """Read an answer that is an object; what lies between may have answered in its own words."""
    try:
        found = json.loads(text)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise ApiError(0, f"{place} answers with what is no object: {text[:80]!r}")
    return found


def _lines(response: Any) -> Iterator[bytes]:  # noqa: ANN401
    rest = b""
    for chunk in response.stream(amt=None, decode_content=True):
        *whole, rest = (rest + chunk).split(b"\n")
        yield from (line for line in whole if line.strip())


def _message(status: int, body: bytes) -> str:
    try:
        return str(json.loads(body)["message"])
    except (ValueError, KeyError, TypeError):
        return f"HTTP {status}: {body[:200].decode(errors='replace')}"


def _when(event: Object) -> str:
    series = event.get("series") or {}
    return str(
        series.get("lastObservedTime")
        or event.get("lastTimestamp")
        or event.get("eventTime")
        or (event.get("metadata") or {}).get("creationTimestamp")
        or ""
    )
