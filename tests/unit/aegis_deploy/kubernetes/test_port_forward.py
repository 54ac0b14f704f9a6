"""A pod's port on the loopback, over a websocket whose messages begin with their channel."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, cast

import pytest

from aegis_deploy.kubernetes.client import ApiError
from aegis_deploy.kubernetes.port_forward import forwarded

PORT = (5432).to_bytes(2, "little")
_SECONDS = 30


class Websocket:
    """One that answers with what it was sent, in capitals; each message has its length before it.

    Attributes:
        closed: Whether it was.
        misused: Whether it was closed while a thread was at it.
    """

    def __init__(self, *, refuses: str = "") -> None:
        self.sock, self._other = socket.socketpair()
        self.closed = self.misused = False
        self._inside = 0
        self._refuses = refuses
        self._server = threading.Thread(target=self._serve)
        self._server.start()

    def send_binary(self, data: bytes) -> None:
        assert data[0] == 0
        with self._at():
            _send(self.sock, data)

    def recv(self) -> bytes:
        with self._at():
            return _receive(self.sock)

    def shutdown(self) -> None:
        self.misused = self.misused or self._inside > 0
        self.closed = True
        self.sock.close()
        self._server.join(_SECONDS)
        self._other.close()

    close = shutdown

    @contextmanager
    def _at(self) -> Iterator[None]:
        self._inside += 1
        try:
            yield
        finally:
            self._inside -= 1

    def _serve(self) -> None:
        with suppress(OSError):
            for channel in (0, 1):
                _send(self._other, bytes((channel,)) + PORT)
            if self._refuses:
                _send(self._other, b"\x01" + self._refuses.encode())
            while message := _receive(self._other):
                _send(self._other, b"\x00" + message[1:].upper())


def _send(to: socket.socket, message: bytes) -> None:
    to.sendall(bytes((len(message),)) + message)


def _receive(of: socket.socket) -> bytes:
    length = of.recv(1)
    return of.recv(length[0], socket.MSG_WAITALL) if length else b""


class Api:
    """A cluster whose pods listen, or where nobody may ask them."""

    def __init__(self, code: int = 0, refuses: str = "") -> None:
        self.made: list[Websocket] = []
        self._code, self._refuses = code, refuses

    def websocket(self, path: str, query: dict[str, str], protocol: str) -> Any:
        assert path == "/api/v1/namespaces/n/pods/db-0/portforward"
        assert (query, protocol) == ({"ports": "5432"}, "v4.channel.k8s.io")
        if self._code:
            raise ApiError(self._code, "no")
        # The first one only asks whether it may.
        self.made.append(Websocket(refuses=self._refuses if self.made else ""))
        return self.made[-1]


def test_each_connection_is_relayed_both_ways_and_ends_with_the_block() -> None:
    api = Api()
    with forwarded(cast("Any", api), "n", "db-0", 5432) as port:
        for word in (b"one", b"two"):
            with socket.create_connection(("127.0.0.1", port), timeout=_SECONDS) as connection:
                connection.sendall(word)
                assert connection.recv(3) == word.upper()
        left = socket.create_connection(("127.0.0.1", port), timeout=_SECONDS)
        left.sendall(b"x")
        assert left.recv(1) == b"X"
    assert left.recv(1) == b""
    left.close()
    assert len(api.made) == 4
    assert all(it.closed for it in api.made)
    # TLS would go on writing to the number of a socket, which may be a file's by then.
    assert not any(it.misused for it in api.made)
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(("127.0.0.1", port), timeout=_SECONDS)


def test_a_pod_that_does_not_listen_ends_the_connection() -> None:
    api = Api(refuses="connection refused")
    with (
        forwarded(cast("Any", api), "n", "db-0", 5432) as port,
        socket.create_connection(("127.0.0.1", port), timeout=_SECONDS) as connection,
    ):
        assert connection.recv(1) == b""


def test_who_may_not_is_told_before_anybody_connects() -> None:
    with (
        pytest.raises(ApiError) as error,
        forwarded(cast("Any", Api(code=403)), "n", "db-0", 5432),
    ):
        pass
    assert error.value.code == 403
