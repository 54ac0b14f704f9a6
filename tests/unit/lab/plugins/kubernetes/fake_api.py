"""A small API server over HTTP: it keeps objects, pretends on dry runs, and counts requests."""

from __future__ import annotations

import copy
import http.server
import json
import threading
from typing import Any
from urllib.parse import parse_qs, urlsplit

_KINDS = {
    "/api/v1": [
        {"name": "configmaps", "kind": "ConfigMap", "namespaced": True},
        {"name": "secrets", "kind": "Secret", "namespaced": True},
        {"name": "namespaces", "kind": "Namespace", "namespaced": False},
        {"name": "pods", "kind": "Pod", "namespaced": True},
    ],
    "/apis/batch/v1": [{"name": "jobs", "kind": "Job", "namespaced": True}],
}


class FakeApi:
    """The server's state; ``url`` is where it listens.

    Attributes:
        objects: Path to object.
        requests: Method and path with query of every request that reads or writes objects.
        refusals: Path to the (code, reason, message) a write to it gets.
    """

    def __init__(self) -> None:
        self.objects: dict[str, dict[str, Any]] = {}
        self.requests: list[str] = []
        self.refusals: dict[str, tuple[int, str, str]] = {}
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True
        self.stopping = threading.Event()
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def close(self) -> None:
        """Stop listening."""
        self.stopping.set()
        self._server.shutdown()
        self._server.server_close()

    def kubeconfig(self) -> str:
        """Return a kubeconfig that leads here."""
        return json.dumps(
            {
                "current-context": "fake",
                "clusters": [{"name": "fake", "cluster": {"server": self.url}}],
                "contexts": [{"name": "fake", "context": {"cluster": "fake", "user": "u"}}],
                "users": [{"name": "u", "user": {"token": "t"}}],
            }
        )

    def answer(  # noqa: PLR0911 - one return for each kind of request
        self, method: str, target: str, body: Any
    ) -> tuple[int, Any]:
        """Return the status and the answer to a request."""
        url = urlsplit(target)
        query = parse_qs(url.query)
        if url.path == "/version":
            return 200, {"major": "1", "minor": "35"}
        if url.path in _KINDS:
            return 200, {"resources": _KINDS[url.path]}
        self.requests.append(f"{method} {target}")
        if url.path in self.refusals:
            return _status(*self.refusals[url.path])
        if method == "POST":
            path = f"{url.path}/{body['metadata']['name']}"
            if path in self.objects:
                return _status(409, "AlreadyExists", "already exists")
            return 201, self._store(path, body, dry_run="dryRun" in query)
        if method == "GET" and "fieldSelector" in query:
            name = query["fieldSelector"][0].partition("=")[2]
            found = self.objects.get(f"{url.path}/{name}")
            return 200, {
                "metadata": {"resourceVersion": "9"},
                "items": [found] if found else [],
            }
        if method == "GET" and "labelSelector" in query:
            return 200, {"metadata": {"resourceVersion": "9"}, "items": []}
        if url.path not in self.objects:
            return _status(404, "NotFound", "not found")
        if method == "PATCH" and isinstance(body, dict):
            return 200, self._store(url.path, body, dry_run="dryRun" in query)
        if method == "DELETE":
            return 200, {"kind": "Status", "deleted": self.objects.pop(url.path)}
        return 200, self.objects[url.path]

    def _store(self, path: str, body: dict[str, Any], *, dry_run: bool) -> dict[str, Any]:
        live = copy.deepcopy(body)
        live["metadata"] |= {"uid": "u", "resourceVersion": "7", "generation": 1}
        if not dry_run:
            self.objects[path] = live
        return live


def _status(code: int, reason: str, message: str) -> tuple[int, dict[str, Any]]:
    return code, {"kind": "Status", "code": code, "reason": reason, "message": message}


def _handler(api: FakeApi) -> type[http.server.BaseHTTPRequestHandler]:
    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _serve(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            body = json.loads(self.rfile.read(length)) if length else None
            if "watch=true" in self.path:
                self.send_response(200)
                self.end_headers()
                api.stopping.wait(60)
                self.close_connection = True
                return
            code, answer = api.answer(self.command, self.path, body)
            raw = json.dumps(answer).encode()
            self.send_response(code)
            self.send_header("Content-Length", str(len(raw)))
            self.end_headers()
            self.wfile.write(raw)

        do_GET = do_POST = do_PATCH = do_PUT = do_DELETE = _serve  # noqa: N815

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
            """Stay silent."""

    return Handler
