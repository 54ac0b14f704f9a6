"""Whether containerd and the Docker daemon answer, which their sockets do not say."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from socketserver import UnixStreamServer
from tempfile import TemporaryDirectory

import grpc
import pytest

from lab import containers, registry
from lab.settings import LabSettings

Answers = Callable[[LabSettings], bool]

# httpcore leaves a socket that cannot connect to be collected.
unclosed = pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")


@pytest.fixture
def sockets(lab: LabSettings) -> Iterator[LabSettings]:
    # A socket's path has room for 107 bytes, which a test's own directory may need alone.
    with TemporaryDirectory() as short:
        it = replace(lab, state=Path(short))
        for path in (containers.socket(it), it.docker_socket):
            path.parent.mkdir(parents=True, exist_ok=True)
        yield it


@contextmanager
def runtime(path: Path, initialised: bool) -> Iterator[None]:
    """A container runtime that listens, and answers once it is initialised."""

    def version(_: bytes, context: grpc.ServicerContext) -> bytes:
        if not initialised:
            context.abort(grpc.StatusCode.UNKNOWN, "server is not initialized yet")
        return b""

    method = grpc.unary_unary_rpc_method_handler(version)
    service = grpc.method_handlers_generic_handler("runtime.v1.RuntimeService", {"Version": method})
    server = grpc.server(ThreadPoolExecutor(1))
    server.add_generic_rpc_handlers((service,))
    server.add_insecure_port(f"unix:{path}")
    server.start()
    try:
        yield
    finally:
        server.stop(None).wait()


@contextmanager
def docker_daemon(path: Path, status: int) -> Iterator[None]:
    """A Docker daemon that answers everything with one status."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status if self.path == "/_ping" else 404)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with UnixStreamServer(str(path), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield
        finally:
            server.shutdown()
            thread.join()


def left_behind(path: Path) -> None:
    """Leave a socket as a daemon does that was killed."""
    with socket.socket(socket.AF_UNIX) as one:
        one.bind(str(path))


def test_a_runtime_answers_once_it_is_initialised(sockets: LabSettings) -> None:
    path = containers.socket(sockets)
    with runtime(path, initialised=False):
        assert not containers.answers(sockets)
    path.unlink(missing_ok=True)
    with runtime(path, initialised=True):
        assert containers.answers(sockets)


def test_a_docker_daemon_answers_when_it_can(sockets: LabSettings) -> None:
    with docker_daemon(sockets.docker_socket, 503):
        assert not registry.docker_answers(sockets)
    sockets.docker_socket.unlink()
    with docker_daemon(sockets.docker_socket, 200):
        assert registry.docker_answers(sockets)


@unclosed
@pytest.mark.parametrize("answers", [containers.answers, registry.docker_answers])
def test_what_is_not_there_does_not_answer(sockets: LabSettings, answers: Answers) -> None:
    assert not answers(sockets)


@unclosed
@pytest.mark.parametrize("answers", [containers.answers, registry.docker_answers])
def test_a_socket_that_was_left_behind_does_not_answer(
    sockets: LabSettings, answers: Answers
) -> None:
    left_behind(containers.socket(sockets))
    left_behind(sockets.docker_socket)
    assert not answers(sockets)
