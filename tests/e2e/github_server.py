"""A GitHub of comments and issues on loopback, for jobs that are run without GitHub."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit


@dataclass
class GitHubServer:
    """What the jobs left.

    Attributes:
        address: The API's address.
        comments: The comments, as they are now.
        issues: The issues, likewise.
    """

    address: str = ""
    comments: list[dict[str, Any]] = field(default_factory=list)
    issues: list[dict[str, Any]] = field(default_factory=list)


@contextmanager
def serve() -> Iterator[GitHubServer]:
    """Serve until the block ends."""
    kept = GitHubServer()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            rows = self._rows()
            self._answer([it for it in rows if it.get("state", "open") == "open"])

        def do_POST(self) -> None:
            rows = self._rows()
            number = len(rows) + 1
            rows.append(
                {
                    "id": number,
                    "number": number,
                    "html_url": f"{self.path}/{number}",
                    "user": {"login": "github-actions[bot]", "type": "Bot"},
                    **self._body(),
                }
            )
            self._answer(rows[-1], 201)

        def do_PATCH(self) -> None:
            wanted = urlsplit(self.path).path.rpartition("/")[2]
            found = next(it for it in self._rows() if str(it["id"]) == wanted)
            found.update(self._body())
            self._answer(found)

        def _rows(self) -> list[dict[str, Any]]:
            parts = urlsplit(self.path).path.split("/")
            if parts[-1] == "comments" and kept.issues and parts[-2] == str(kept.issues[-1]["id"]):
                # A word on an issue that is being closed; nobody reads it here.
                return []
            return kept.comments if "comments" in parts else kept.issues

        def _body(self) -> dict[str, Any]:
            length = int(self.headers.get("Content-Length", "0"))
            found: dict[str, Any] = json.loads(self.rfile.read(length))
            return found

        def _answer(self, content: Any, status: int = 200) -> None:
            raw = json.dumps(content).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(raw)))
            self.end_headers()
            self.wfile.write(raw)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    kept.address = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield kept
    finally:
        server.shutdown()
        server.server_close()
