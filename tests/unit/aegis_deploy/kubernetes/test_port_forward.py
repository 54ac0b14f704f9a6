"""A pod's port on the loopback, over a websocket whose messages begin with their channel."""

from __future__ import annotations

import queue
import socket
from typing import Any, cast

import pytest

from aegis_deploy.kubernetes.client import ApiError
from aegis_deploy.kubernetes.port_forward import forwarded

PORT = (5432).to_bytes(2, "little")
_SECONDS = 30


class Websocket:
    """One that answers with what it was sent, in capitals."""

    def __init__(self, *, refuses: str = "") -> None:
        self.sock, self._other = socket.socketpair()
        self.closed = False
        self._said: queue.Queue[bytes] = queue.Queue()
        for channel in (0, 1):
            self._said.put(bytes((channel,)) + PORT)
        if refuses:
            self._said.put(b"\x01" + refuses.encode())

    def send_binary(self, data: bytes) -> None:
        assert data[0] == 0
        self._said.put(b"\x00" + data[1:].upper())

    def recv(self) -> bytes:
        return self._said.get(timeout=_SECONDS)

    def shutdown(self) -> None:
        self.closed = True
        self.sock.close()
        self._other.close()
        self._said.put(b"")

    close = shutdown


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
