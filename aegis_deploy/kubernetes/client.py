"""The cluster: the only module of the package that uses the Kubernetes client.

Owns the connection (kubeconfig with its plugins, or a pod's own account) and the few requests that
watching a rollout needs, as plain JSON. The client's import alone takes half a second, so it is
made on first use.
"""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from aegis_deploy.common import temp_dir
from aegis_deploy.common.errors import AegisError

Object = dict[str, Any]
"""An object of the cluster, as JSON."""

CONNECT_SECONDS = 4.0
READ_SECONDS = 15.0
_WATCH_SECONDS = 300
_FIRST_ERROR, _FAULT = 400, 500
_FILES = frozenset({"certificate-authority", "client-certificate", "client-key", "tokenFile"})
"""Where a kubeconfig names files, relative to itself."""
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

    def __init__(self, api: Any) -> None:  # noqa: ANN401
        self._api = api
        self._pool = api.rest_client.pool_manager

    @property
    def address(self) -> str:
        """The API server's address, for messages."""
        return str(self._api.configuration.host)

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
        from kubernetes.stream import ws_client

        headers = {**self.headers(), "sec-websocket-protocol": protocol}
        address = ws_client.get_websocket_url(self.address + path, list(query.items()))
        try:
            return ws_client.create_websocket(self._api.configuration, address, headers)
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
        headers: dict[str, str] = {"Accept": "application/json"}
        self._api.update_params_for_auth(headers, [], ["BearerToken"], "", "GET", None)
        return headers

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
            return self._pool.request(
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
        from kubernetes import client, config
    except ImportError as error:
        raise AegisError(
            what="the cluster cannot be reached: the Kubernetes client is not installed",
            why=str(error),
            next="pulumi install",
        ) from error

    settings = client.Configuration()
    settings.retries = False
    settings.connection_pool_maxsize = 64
    try:
        found = _kubeconfig(kubeconfig, required=bool(kubeconfig or context or cluster))
        if found is None:
            config.load_incluster_config(client_configuration=settings)
        else:
            if cluster:
                _redirect(found, context, cluster)
            config.load_kube_config_from_dict(
                found,
                context=context,
                client_configuration=settings,
                temp_file_path=str(temp_dir.directory()),
            )
    except Exception as error:
        raise AegisError(
            what="the cluster cannot be reached: there is no usable kubeconfig",
            why=_unusable(error),
            next="kubectl config get-contexts",
        ) from error
    return Cluster(client.ApiClient(settings))


def destination(
    context: str | None = None, kubeconfig: str | None = None, cluster: str | None = None
) -> str:
    """Say where a connection leads and as whom, the same for all that lead there so.

    It holds credentials: it is to be compared, not shown. Nothing is sent.

    Args:
        context: As `connect` takes it.
        kubeconfig: Likewise.
        cluster: Likewise.

    Raises:
        ValueError: There is no usable kubeconfig.
    """
    try:
        found = _kubeconfig(kubeconfig, required=bool(kubeconfig or context or cluster))
        if found is None:
            return "the account of the pod this runs in"
        document = _inside(found)
        chosen = _entry(document, "contexts", context or document.get("current-context"))
        place = _entry(document, "clusters", cluster or chosen.get("cluster"))
        user = _entry(document, "users", chosen["user"]) if chosen.get("user") else {}
    except Exception as error:
        raise ValueError(_unusable(error)) from error
    place["server"] = str(place.get("server") or "").rstrip("/")
    return json.dumps([place, user], sort_keys=True, default=str)


def _kubeconfig(given: str | None, *, required: bool) -> Any:  # noqa: ANN401 - the client's own
    """Read a kubeconfig, or all those that count as one; None where there is none.

    Raises:
        ValueError: There is none, and it is required.
    """
    from kubernetes.config import kube_config

    if given and not _is_path(given):
        import yaml

        return yaml.safe_load(given)
    # Several may be named in the variable, of which some may not be there.
    places = given or kube_config.KUBE_CONFIG_DEFAULT_LOCATION
    found = kube_config.KubeConfigMerger(places).config
    if found is None and required:
        raise ValueError(f"{places} is not there")
    return found


def _inside(node: Any) -> Any:  # noqa: ANN401
    return getattr(node, "value", node)


def _item(document: Mapping[str, Any], section: str, name: object) -> Any:  # noqa: ANN401
    items = document.get(section) or ()
    found = next((it for it in items if _inside(it).get("name") == name), None)
    if found is None:
        raise ValueError(f"the kubeconfig has no {section[:-1]} {name}")
    return found


def _entry(document: Mapping[str, Any], section: str, name: object) -> Object:
    """What a section has under a name; files that it names, by their whole paths."""
    found = _item(document, section, name)
    entry = dict(_inside(found).get(section[:-1]) or {})
    place = getattr(found, "path", None)
    for key in _FILES & entry.keys() if place else ():
        entry[key] = str(Path(str(place)).parent / str(entry[key]))
    return entry


def _redirect(found: Any, context: str | None, cluster: str) -> None:  # noqa: ANN401
    """Have a context lead to another of the kubeconfig's clusters, in memory."""
    document = _inside(found)
    _item(document, "clusters", cluster)
    chosen = _inside(_item(document, "contexts", context or document.get("current-context")))
    chosen["context"] = {**(chosen.get("context") or {}), "cluster": cluster}


def _unusable(error: Exception) -> str:
    """Say why a kubeconfig cannot be used, without a word of what is in it."""
    mark = getattr(error, "problem_mark", None)
    if mark is None:
        return str(error)
    return f"line {mark.line + 1} of it is no YAML: {getattr(error, 'problem', None)}"


def _is_path(kubeconfig: str) -> bool:
    """Whether a kubeconfig is given by where it is, rather than itself."""
    # A whole one on one line is no name of a file, being too long for one.
    return "\n" not in kubeconfig and not kubeconfig.lstrip().startswith("{")


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
