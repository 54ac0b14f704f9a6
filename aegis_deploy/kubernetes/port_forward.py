"""A pod's port on this machine's loopback, as `kubectl port-forward` has it.

The client's own relay reads whatever is sent to it into memory, however slow the way is; here each
side waits for the other. The protocol is the API server's over a websocket: the first byte of a
message is its channel, of which each port has one for data and one for errors, and each begins with
the port's number
(https://github.com/kubernetes/kubernetes/blob/master/staging/src/k8s.io/kubelet/pkg/cri/streaming/portforward/websocket.go).
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from aegis_deploy.kubernetes.client import ApiError

if TYPE_CHECKING:
    from aegis_deploy.kubernetes.client import Cluster

_PROTOCOL = "v4.channel.k8s.io"
_DATA, _ERROR = 0, 1
_CHUNK = 1 << 16


@contextmanager
def forwarded(cluster: Cluster, namespace: str, pod: str, port: int) -> Iterator[int]:
    """Have a pod's port on the loopback while the block runs; yields its number here.

    Args:
        cluster: The cluster.
        namespace: The pod's namespace.
        pod: The pod.
        port: The port.

    Raises:
        ApiError: It may not be done, or the server does not answer.
    """
    path = f"/api/v1/namespaces/{namespace}/pods/{pod}/portforward"
    asked = {"ports": str(port)}
    # Whether it may be done at all is known before anybody connects.
    cluster.websocket(path, asked, _PROTOCOL).close()
    with socket.create_server(("127.0.0.1", 0)) as server, _Relays() as relays:

        def serve() -> None:
            with suppress(OSError):  # Closed at the end of the block.
                while True:
                    connection, _ = server.accept()
                    relays.begin(cluster, path, asked, connection)

        accepting = threading.Thread(target=serve, daemon=True)
        accepting.start()
        try:
            yield int(server.getsockname()[1])
        finally:
            with suppress(OSError):
                server.shutdown(socket.SHUT_RDWR)
            accepting.join()


class _Relays:
    """The connections that are relayed; all of them end with the block."""

    def __init__(self) -> None:
        self._begun: list[tuple[threading.Thread, socket.socket, Any]] = []

    def __enter__(self) -> _Relays:
        return self

    def __exit__(self, *_: object) -> None:
        for _relay_of, connection, websocket in self._begun:
            _wake(connection, websocket)
        for relay, *_ends in self._begun:
            relay.join()

    def begin(
        self, cluster: Cluster, path: str, asked: dict[str, str], connection: socket.socket
    ) -> None:
        try:
            websocket = cluster.websocket(path, asked, _PROTOCOL)
        except ApiError:
            connection.close()
            return
        relay = threading.Thread(target=_relay, args=(connection, websocket), daemon=True)
        self._begun.append((relay, connection, websocket))
        relay.start()


def _relay(connection: socket.socket, websocket: Any) -> None:  # noqa: ANN401
    """Relay both ways until either side ends.

    Nothing is closed while another thread may still use it: TLS reads from and writes to a number,
    even an alert about the end, and by then that number may be a file's.
    """
    up = threading.Thread(target=_up, args=(connection, websocket), daemon=True)
    up.start()
    _down(connection, websocket)
    up.join()
    connection.close()
    with suppress(Exception):
        websocket.shutdown()


def _up(connection: socket.socket, websocket: Any) -> None:  # noqa: ANN401
    # Whatever ends one side ends the other, where whoever connected is told.
    with suppress(Exception):
        while data := connection.recv(_CHUNK):
            websocket.send_binary(bytes((_DATA,)) + data)
    _wake(connection, websocket)


def _down(connection: socket.socket, websocket: Any) -> None:  # noqa: ANN401
    begun = set()
    with suppress(Exception):
        while message := websocket.recv():
            channel, data = message[0], message[1:]
            if channel not in begun:
                begun.add(channel)
            elif channel == _DATA:
                connection.sendall(data)
            elif channel == _ERROR:
                break
    _wake(connection, websocket)


def _wake(connection: socket.socket, websocket: Any) -> None:  # noqa: ANN401
    """End both sides for whoever waits for one of them."""
    for it in (connection, websocket.sock):
        if it is not None:
            with suppress(OSError):
                # Not TLS's own, by which what is still sent would go out in plain text.
                socket.socket.shutdown(it, socket.SHUT_RDWR)
