"""Whether an image is there: yes, no, or nobody can say; never a guess."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from aegis_deploy.registry.image_registry import Reference, look_up, look_up_all, parse

DIGEST = "sha256:" + "a" * 64


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        (f"r.example.com/a/b@{DIGEST}", Reference("r.example.com", "a/b", DIGEST)),
        (f"r:5000/a:1.2@{DIGEST}", Reference("r:5000", "a", DIGEST)),
        ("r:5000/a:1.2", Reference("r:5000", "a", "1.2")),
        ("localhost/a", Reference("localhost", "a", "latest")),
        ("nginx:1.2", None),
        ("team/app:1", None),
    ],
)
def test_a_reference_is_taken_apart(image: str, expected: Reference | None) -> None:
    assert parse(image) == expected


class _Registry:
    """Answers as it was told to; a scheme it was not told about is not served."""

    def __init__(self, **answers: int) -> None:
        self.answers = answers
        self.asked: list[str] = []

    def __call__(self, url: str, headers: Mapping[str, str]) -> int:
        self.asked.append(url)
        assert "manifest" in headers["Accept"]
        scheme = url.partition(":")[0]
        if scheme not in self.answers:
            raise ConnectionError("refused")
        return self.answers[scheme]


@pytest.mark.parametrize(
    ("answers", "there", "why"),
    [
        ({"https": 200}, True, ""),
        ({"https": 404}, False, ""),
        ({"http": 200}, True, ""),
        ({"http": 404}, False, ""),
        ({"https": 401}, None, "answers 401"),
        ({"https": 500, "http": 404}, None, "answers 500"),
        ({}, None, "does not answer"),
    ],
)
def test_only_a_registrys_own_word_counts(
    answers: dict[str, int], there: bool | None, why: str
) -> None:
    found = look_up(f"r:5000/a@{DIGEST}", _Registry(**answers))
    assert found.there is there
    assert why in found.why
    assert found.reached is bool(answers)


def test_an_image_without_a_registry_in_its_name_is_unknown() -> None:
    assert look_up("nginx", _Registry()).there is None


def test_an_image_is_asked_for_once() -> None:
    registry = _Registry(https=200)
    assert len(look_up_all(["r:5000/a", "r:5000/a"], registry)) == 1
    assert registry.asked == ["https://r:5000/v2/a/manifests/latest"]


class _Served(BaseHTTPRequestHandler):
    """A registry without TLS that has one image, and moves another's manifest elsewhere."""

    def do_HEAD(self) -> None:
        moved = self.path.startswith("/v2/moved/")
        self.send_response(301 if moved else 200 if "/there/" in self.path else 404)
        if moved:
            self.send_header("Location", self.path.replace("/moved/", "/there/"))
        self.end_headers()

    do_GET = do_HEAD  # noqa: N815 - what follows a redirect may ask so

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def registry() -> Iterator[HTTPServer]:
    """A server on this machine."""
    with HTTPServer(("127.0.0.1", 0), _Served) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(("name", "there"), [("there", True), ("moved", True), ("gone", False)])
def test_a_registry_without_tls_is_asked_as_well(
    registry: HTTPServer, name: str, there: bool
) -> None:
    [found] = look_up_all([f"127.0.0.1:{registry.server_port}/{name}@{DIGEST}"])
    assert found.there is there, found.why


def test_a_registry_that_is_not_there_says_nothing(registry: HTTPServer) -> None:
    registry.shutdown()
    registry.server_close()
    [found] = look_up_all([f"127.0.0.1:{registry.server_port}/there@{DIGEST}"])
    assert found.there is None
    assert "https: " in found.why
    assert "http: " in found.why
