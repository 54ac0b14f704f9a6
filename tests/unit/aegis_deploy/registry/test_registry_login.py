"""Registries that want to know who asks, on this machine, over HTTP."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from aegis_deploy.registry.image_registry import look_up_all
from aegis_deploy.registry.registry_login import HUB, Login, api_host, authorization, login

DIGEST = "sha256:" + "a" * 64
ANN = "Basic " + base64.b64encode(b"ann:s3cret").decode()


class Registry(ThreadingHTTPServer):
    """A registry, and the place that gives its tokens.

    Attributes:
        kind: How it asks who asks: ``basic``, ``bearer``, or ``open`` for tokens for anybody.
        seen: Every authorization it was sent.
    """

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.kind = "bearer"
        self.seen: list[str] = []


class _Handler(BaseHTTPRequestHandler):
    server: Registry

    def do_HEAD(self) -> None:
        given = self._given()
        wanted = ANN if self.server.kind == "basic" else "Bearer t0ken"
        if given == wanted:
            return self._answer(200 if "/there/" in self.path else 404)
        here = f"http://127.0.0.1:{self.server.server_port}"
        scope = self.path.split("/")[2]
        challenge = (
            'Basic realm="it"'
            if self.server.kind == "basic"
            else f'Bearer realm="{here}/token",service="it",scope="repository:{scope}:pull"'
        )
        return self._answer(401, {"WWW-Authenticate": challenge})

    def do_GET(self) -> None:
        given, asked = self._given(), parse_qs(urlsplit(self.path).query)
        assert asked["service"] == ["it"]
        assert asked["scope"][0].endswith(":pull")
        if self.server.kind == "open" and given not in ("", ANN):
            return self._answer(401)
        if self.server.kind != "open" and given != ANN:
            return self._answer(401)
        return self._answer(200, body={"token": "t0ken"})

    def do_POST(self) -> None:
        form = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
        good = form["refresh_token"] == ["refr3sh"] and form["grant_type"] == ["refresh_token"]
        return self._answer(200 if good else 401, body={"access_token": "t0ken"})

    def _given(self) -> str:
        given = self.headers.get("Authorization", "")
        self.server.seen.append(given)
        return given

    def _answer(self, status: int, headers: dict[str, str] | None = None, body: Any = None) -> None:
        text = b"" if body is None else json.dumps(body).encode()
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def registry() -> Iterator[Registry]:
    with Registry() as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def docker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The Docker CLI's configuration; helpers are in the same directory."""
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    return tmp_path


def knows(docker: Path, registry: Registry, how: str) -> None:
    host = f"127.0.0.1:{registry.server_port}"
    entry: dict[str, Any] = {}
    if how == "auth":
        entry = {"auths": {host: {"auth": ANN.removeprefix("Basic ")}}}
    elif how == "url":
        entry = {"auths": {f"http://{host}/v2/": {"auth": ANN.removeprefix("Basic ")}}}
    elif how == "token":
        entry = {"auths": {host: {"identitytoken": "refr3sh"}}}
    elif how in ("helper", "store"):
        entry = {"credHelpers": {host: "it"}} if how == "helper" else {"credsStore": "it"}
        said = json.dumps({"Username": "ann", "Secret": "s3cret"})
        program = docker / "docker-credential-it"
        program.write_text(f"#!/bin/sh\nread host\n[ \"$host\" = {host} ] && echo '{said}'\n")
        program.chmod(0o755)
    elif how == "wrong":
        entry = {"auths": {host: {"auth": base64.b64encode(b"ann:old").decode()}}}
    (docker / "config.json").write_text(json.dumps(entry))


def found(registry: Registry, name: str = "there") -> tuple[bool | None, str]:
    [it] = look_up_all([f"127.0.0.1:{registry.server_port}/{name}/app@{DIGEST}"])
    return it.there, it.why


@pytest.mark.parametrize("how", ["auth", "url", "helper", "store"])
@pytest.mark.parametrize("kind", ["bearer", "basic"])
def test_who_has_credentials_is_let_in(
    registry: Registry, docker: Path, how: str, kind: str
) -> None:
    registry.kind = kind
    knows(docker, registry, how)
    assert found(registry) == (True, "")
    assert found(registry, "gone") == (False, "")


def test_who_has_a_token_that_stands_for_a_login_is_let_in(
    registry: Registry, docker: Path
) -> None:
    knows(docker, registry, "token")
    assert found(registry) == (True, "")


@pytest.mark.parametrize("how", ["none", "wrong"])
def test_what_everybody_may_read_is_read_by_anybody(
    registry: Registry, docker: Path, how: str
) -> None:
    registry.kind = "open"
    knows(docker, registry, how)
    assert found(registry) == (True, "")


@pytest.mark.parametrize("how", ["none", "wrong"])
@pytest.mark.parametrize("kind", ["bearer", "basic"])
def test_who_is_not_let_in_cannot_say(
    registry: Registry, docker: Path, how: str, kind: str
) -> None:
    registry.kind = kind
    knows(docker, registry, how)
    there, why = found(registry)
    assert there is None
    assert "docker login" in why
    assert "old" not in why


@pytest.mark.parametrize("text", ["", "{", "[]", '{"auths": 7}', '{"auths": {"r": {"auth": "!"}}}'])
def test_a_configuration_that_cannot_be_read_has_none(docker: Path, text: str) -> None:
    (docker / "config.json").write_text(text)
    assert login("r") is None


def test_docker_s_own_registry_is_kept_by_another_name(docker: Path) -> None:
    kept = {f"https://index.{HUB}/v1/": {"auth": base64.b64encode(b"ann:x").decode()}}
    (docker / "config.json").write_text(json.dumps({"auths": kept}))
    assert login(api_host(HUB)) == login(HUB) == Login("ann", "x")
    assert login("r.example.com") is None


def test_a_password_is_sent_over_tls_alone_and_to_no_place_without() -> None:
    sent: list[tuple[str, dict[str, str]]] = []

    def ask(url: str, headers: Any, form: bytes | None) -> bytes:
        assert form is None
        sent.append((url, dict(headers)))
        return b'{"token": "t"}'

    ann, bearer = Login("ann", "s3cret"), 'Bearer realm="{}",service="s"'
    assert authorization("http://r/v2/a", "Basic realm=x", ask, ann) is None
    assert authorization("http://r/v2/a", bearer.format("https://r/token"), ask, ann) == "Bearer t"
    assert authorization("https://r/v2/a", bearer.format("http://r/token"), ask, ann) == "Bearer t"
    assert [headers for _, headers in sent] == [{}, {}]
    assert authorization("https://r/v2/a", bearer.format("https://r/t"), ask, ann) == "Bearer t"
    assert sent[-1] == ("https://r/t?service=s", {"Authorization": ANN})
    assert "s3cret" not in repr(ann)


@pytest.mark.parametrize(
    "challenge",
    ["", "Negotiate", "Bearer", 'Bearer realm="file:///etc/passwd"', 'Bearer realm="x"'],
)
def test_what_nobody_can_answer_is_not_answered(challenge: str) -> None:
    def ask(url: str, *_: object) -> bytes:
        raise AssertionError(url)

    assert authorization("https://r", challenge, ask, None) is None
