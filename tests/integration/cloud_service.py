# ruff: noqa: ARG001 - every request is served in the same way
"""A stand-in for Pulumi Cloud: the part of its HTTP API that the real CLI uses to run updates.

For tests only. It listens on the loopback, keeps everything in memory, encrypts secrets for real,
and lets the CLI, the engine and `aegis` run against ``PULUMI_BACKEND_URL=http://127.0.0.1:PORT``.
The service itself was never reached from here. What it is made after:

- paths, methods and bodies: the CLI's own client, ``pkg/backend/httpstate`` and
  ``sdk/go/common/apitype`` of Pulumi 3.259.0; so are the rules of leases (renewed after half their
  time, five minutes at most, a 403 ends the renewing) and of tags (names of 40 characters, values
  of 256, all replaced by every change *and by every start of an update*);
- two updates at once: the second start is answered 409 "Another update is currently in progress."
  (pulumi/pulumi#2073); cancelling what has ended is answered 409 (pulumi/pulumi#5364);
- the history's pages: ``page`` and ``pageSize``, all of it without (the REST API's documentation).

Not known, and chosen here: that a preview takes no lock; that an update whose lease has run out has
failed; that no state may be imported while an update runs; which status a lost lease gets; that
``page_limit`` caps a page. What is not served is answered 404 and noted in `Cloud.unknown`.
"""

from __future__ import annotations

import base64
import gzip
import json
import re
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.integration.cloud_stacks import LEASE_SECONDS, Refused, Stack, Update

TOKEN = "pul-of-a-test"
CAPABILITIES = [
    {"capability": "batch-encrypt"},
    {
        "capability": "delta-checkpoint-uploads-v2",
        "version": 2,
        # The service's own is larger; with this one the tests' small states are sent as deltas.
        "configuration": {"checkpointCutoffSizeBytes": 1024},
    },
    {"capability": "deployment-schema-version", "version": 1, "configuration": {"version": 3}},
]
_STACK = r"/api/stacks/(?P<org>[^/]+)/(?P<project>[^/]+)/(?P<stack>[^/]+)"
_UPDATE = _STACK + r"/update/(?P<update>[^/]+)"
Answer = Mapping[str, Any] | None


@dataclass(frozen=True)
class Asked:
    """A request.

    Attributes:
        method: Its method.
        path: Its path.
        query: Its query, the last value of each name.
        raw: Its body, unpacked.
        token: The token in its header.
        who: Whose token it is; empty for an update's.
    """

    method: str
    path: str
    query: Mapping[str, str]
    raw: bytes = field(repr=False)
    token: str = field(repr=False)
    who: str

    @property
    def body(self) -> dict[str, Any]:
        """Its body."""
        return dict(json.loads(self.raw)) if self.raw else {}


@dataclass
class Cloud:
    """The service: what it has, what it was asked, and what shall go wrong.

    Attributes:
        users: Who has which token.
        orgs: The organizations that everybody is a member of, beside an own one.
        stacks: The stacks.
        asked: Every request, ``GET /api/user``.
        unknown: Those that it does not serve.
        fault: Given each request; what it returns or raises is the answer instead. ``drop`` cuts
            the connection.
        page_limit: The most updates on a page.
        journals: Whether updates that can keep a journal.
        lease_seconds: How long a lease lasts.
    """

    users: dict[str, str] = field(default_factory=lambda: {TOKEN: "ann"}, repr=False)
    orgs: tuple[str, ...] = ("acme",)
    stacks: dict[str, Stack] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)
    fault: Callable[[Asked], None] | None = None
    page_limit: int = 100
    journals: bool = True
    lease_seconds: float = LEASE_SECONDS
    url: str = ""
    lock: threading.RLock = field(default_factory=threading.RLock, repr=False)

    def answer(self, asked: Asked) -> Answer:
        """Answer a request.

        Raises:
            Refused: With another status than 200.
        """
        with self.lock:
            self.asked.append(f"{asked.method} {asked.path}")
        if self.fault is not None:
            self.fault(asked)
        with self.lock:
            for method, pattern, serve in _ROUTES:
                match = re.fullmatch(pattern, asked.path)
                if match is not None and method == asked.method:
                    if not asked.who and not pattern.startswith(_UPDATE):
                        raise Refused(401, "Unauthorized: No credentials provided or are invalid.")
                    return serve(self, asked, **match.groupdict())
            self.unknown.append(f"{asked.method} {asked.path}")
        raise Refused(404, f"Not Found: {asked.method} {asked.path}")

    def stack(self, org: str, project: str, stack: str) -> Stack:
        """A stack that is there."""
        found = self.stacks.get(f"{org}/{project}/{stack}")
        if found is None:
            raise Refused(404, f"Not Found: Stack '{org}/{project}/{stack}' not found")
        return found


class Drop(Exception):  # noqa: N818 - what the test asks for
    """Cut the connection without an answer."""


Serve = Callable[..., Answer]
_ROUTES: list[tuple[str, str, Serve]] = []


def _route(method: str, pattern: str) -> Callable[[Serve], Serve]:
    def add(serve: Serve) -> Serve:
        _ROUTES.append((method, pattern, serve))
        return serve

    return add


@_route("GET", "/api/capabilities")
def _capabilities(cloud: Cloud, asked: Asked) -> Answer:
    return {"capabilities": CAPABILITIES}


@_route("GET", "/api/user")
def _user(cloud: Cloud, asked: Asked) -> Answer:
    names = (asked.who, *cloud.orgs)
    return {
        "id": asked.who,
        "githubLogin": asked.who,
        "name": asked.who,
        "email": f"{asked.who}@example.com",
        "organizations": [{"name": name, "githubLogin": name} for name in names],
        "identities": [],
    }


@_route("GET", "/api/user/organizations/default")
def _default_org(cloud: Cloud, asked: Asked) -> Answer:
    return {"GitHubLogin": asked.who, "Messages": []}


@_route("GET", "/api/user/stacks")
def _stacks(cloud: Cloud, asked: Asked) -> Answer:
    found = [it.described() for it in cloud.stacks.values()]
    for name in ("project", "organization"):
        wanted, key = asked.query.get(name), "projectName" if name == "project" else "orgName"
        found = [it for it in found if wanted in (None, it[key])]
    return {"stacks": found}


@_route("HEAD", r"/api/stacks/(?P<org>[^/]+)/(?P<project>[^/]+)")
def _project(cloud: Cloud, asked: Asked, org: str, project: str) -> Answer:
    if not any(name.startswith(f"{org}/{project}/") for name in cloud.stacks):
        raise Refused(404, "Not Found")
    return None


@_route("POST", r"/api/stacks/(?P<org>[^/]+)/(?P<project>[^/]+)")
def _create(cloud: Cloud, asked: Asked, org: str, project: str) -> Answer:
    body = asked.body
    name = f"{org}/{project}/{body['stackName']}"
    if name in cloud.stacks:
        raise Refused(409, f"Conflict: Stack '{name}' already exists.")
    made = Stack(name, {}, lease_seconds=cloud.lease_seconds, journals=cloud.journals)
    made.retag(body.get("tags") or {})
    cloud.stacks[name] = made
    return {}


@_route("GET", _STACK)
def _get(cloud: Cloud, asked: Asked, **name: str) -> Answer:
    return cloud.stack(**name).described()


@_route("DELETE", _STACK)
def _delete(cloud: Cloud, asked: Asked, **name: str) -> Answer:
    stack = cloud.stack(**name)
    deployment = (stack.state or {}).get("deployment") or {}
    if deployment.get("resources") and asked.query.get("force") != "true":
        raise Refused(400, "Bad Request: Stack still contains resources.")
    del cloud.stacks[stack.name]
    return None


@_route("PATCH", _STACK + "/tags")
def _retag(cloud: Cloud, asked: Asked, **name: str) -> Answer:
    cloud.stack(**name).retag(asked.body)
    return None


@_route("GET", _STACK + r"/export(/(?P<version>\d+))?")
def _export(cloud: Cloud, asked: Asked, version: str | None, **name: str) -> Answer:
    return cloud.stack(**name).exported(None if version is None else int(version))


@_route("POST", _STACK + "/import")
def _import(cloud: Cloud, asked: Asked, **name: str) -> Answer:
    return {"updateId": cloud.stack(**name).imported(asked.body, asked.who).id}


@_route("POST", _STACK + "/(?P<what>(batch-)?(en|de)crypt)")
def _crypt(cloud: Cloud, asked: Asked, what: str, **name: str) -> Answer:
    stack, seals = cloud.stack(**name), what.endswith("encrypt")
    given, made = ("plaintext", "ciphertext") if seals else ("ciphertext", "plaintext")

    def turn(text: str) -> str:
        raw = base64.b64decode(text or "")
        return base64.b64encode(stack.encrypt(raw) if seals else stack.decrypt(raw)).decode()

    if not what.startswith("batch-"):
        return {made: turn(asked.body[given])}
    texts = asked.body[f"{given}s"] or []
    turned = [turn(text) for text in texts]
    return {f"{made}s": turned if seals else dict(zip(texts, turned, strict=True))}


@_route("POST", _STACK + "/decrypt/log-(batch-)?decryption")
def _log(cloud: Cloud, asked: Asked, **name: str) -> Answer:
    return None


@_route("GET", _STACK + "/updates")
def _updates(cloud: Cloud, asked: Asked, **name: str) -> Answer:
    stack = cloud.stack(**name)
    _ = stack.running  # One that lost its lease has failed by now.
    found = [it.info() for it in reversed(stack.updates)]
    if "pageSize" in asked.query:
        size = min(int(asked.query["pageSize"]), cloud.page_limit)
        start = (int(asked.query.get("page", "1")) - 1) * size
        found = found[start : start + size]
    return {"updates": found}


@_route("GET", _STACK + "/updates/latest")
def _latest(cloud: Cloud, asked: Asked, **name: str) -> Answer:
    updates = cloud.stack(**name).updates
    if not updates:
        raise Refused(404, "Not Found: the stack has never been updated")
    return {"info": updates[-1].info()}


@_route("POST", _STACK + "/(?P<kind>update|preview|refresh|destroy)")
def _begin(cloud: Cloud, asked: Asked, kind: str, **name: str) -> Answer:
    return {"updateID": cloud.stack(**name).create(kind, asked.body, asked.who).id}


@_route("POST", _UPDATE)
def _start(cloud: Cloud, asked: Asked, update: str, **name: str) -> Answer:
    if not asked.who:
        raise Refused(401, "Unauthorized: No credentials provided or are invalid.")
    return cloud.stack(**name).start(update, asked.body)


@_route("GET", _UPDATE)
def _status(cloud: Cloud, asked: Asked, update: str, **name: str) -> Answer:
    return {"status": cloud.stack(**name).find(update).result, "events": []}


@_route("POST", _UPDATE + "/cancel")
def _cancel(cloud: Cloud, asked: Asked, update: str, **name: str) -> Answer:
    if not asked.who:
        raise Refused(401, "Unauthorized: No credentials provided or are invalid.")
    cloud.stack(**name).cancel(update)
    return None


def _leased(cloud: Cloud, asked: Asked, update: str, name: Mapping[str, str]) -> Update:
    found = cloud.stack(**name).find(update)
    found.authorize(asked.token, cloud.stack(**name).clock())
    return found


@_route("POST", _UPDATE + "/renew_lease")
def _renew(cloud: Cloud, asked: Asked, update: str, **name: str) -> Answer:
    found, stack = _leased(cloud, asked, update, name), cloud.stack(**name)
    found.expires = stack.clock() + min(asked.body["duration"], stack.lease_seconds)
    return {"token": found.token, "tokenExpiration": int(found.expires)}


@_route("PATCH", _UPDATE + "/(?P<how>checkpoint|checkpointverbatim|checkpointdelta|journalentries)")
def _save(cloud: Cloud, asked: Asked, update: str, how: str, **name: str) -> Answer:
    found = _leased(cloud, asked, update, name)
    if how == "journalentries":
        if found.journal is None:
            raise Refused(400, "Bad Request: the update keeps no journal")
        found.journal.add(asked.body.get("entries") or [])
    elif how == "checkpointverbatim":
        found.save_verbatim(asked.raw)
    elif how == "checkpointdelta":
        found.save_delta(asked.body)
    else:
        found.save(asked.body)
    return None


@_route("POST", _UPDATE + "/events/batch")
def _events(cloud: Cloud, asked: Asked, update: str, **name: str) -> Answer:
    found = _leased(cloud, asked, update, name)
    for event in asked.body["events"]:
        if "summaryEvent" in event:
            found.changes = event["summaryEvent"].get("resourceChanges") or {}
    return None


@_route("POST", _UPDATE + "/complete")
def _complete(cloud: Cloud, asked: Asked, update: str, **name: str) -> Answer:
    found, status = _leased(cloud, asked, update, name), asked.body["status"]
    cloud.stack(**name).settle(found, "succeeded" if status == "succeeded" else "failed")
    return None


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    cloud: Cloud

    def _serve(self) -> None:
        raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.headers.get("Content-Encoding") == "gzip":
            raw = gzip.decompress(raw)
        kind, _, token = (self.headers.get("Authorization") or "").partition(" ")
        parts = urlsplit(self.path)
        query = {name: values[-1] for name, values in parse_qs(parts.query).items()}
        who = self.cloud.users.get(token, "") if kind == "token" else ""
        asked = Asked(self.command, parts.path, query, raw, token, who)
        try:
            self._say(200, self.cloud.answer(asked))
        except Refused as refused:
            self._say(refused.status, {"code": refused.status, "message": refused.message})
        except Drop:
            self.close_connection = True

    def _say(self, status: int, answer: Answer) -> None:
        text = b"" if answer is None else json.dumps(answer).encode()
        self.send_response(204 if status == 200 and not text else status)
        self.send_header("Content-Type", "application/json")
        if text or status != 200:
            self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(text)

    do_GET = do_HEAD = do_POST = do_PATCH = do_DELETE = do_PUT = _serve  # noqa: N815

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Say nothing: what was asked is in `Cloud.asked`."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: object) -> None:
        """Say nothing of a CLI that was killed, or that hangs up."""


@contextmanager
def serving(cloud: Cloud, port: int = 0) -> Iterator[Cloud]:
    """Serve on the loopback; `Cloud.url` says where."""
    handler = type("Handler", (_Handler,), {"cloud": cloud})
    with _Server(("127.0.0.1", port), handler) as server:
        cloud.url = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        try:
            yield cloud
        finally:
            server.shutdown()
            thread.join()
