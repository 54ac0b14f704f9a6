"""A plugin starts quickly, answers clearly, and ends when it is told to."""

from __future__ import annotations

import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import pytest

from lab.plugins import protocol
from lab.plugins.protocol import Engine, RpcError, answers, engine_address, light_pulumi

with light_pulumi():
    from pulumi.runtime.proto import engine_pb2, engine_pb2_grpc

_ROOT = Path(__file__).parents[4]
_PLUGIN = """
from lab.plugins.protocol import serve
serve(lambda server: None, on_stop=lambda: print("stopped"))
"""

_SIGNALLED = """
import signal, threading, time
from lab.plugins.protocol import serve

def signalled():
    time.sleep(0.5)  # The main thread waits by then.
    signal.pthread_kill(threading.get_ident(), signal.SIGINT)

serve(lambda server: None, on_stop=lambda: print("stopped"), background=signalled)
"""


def _start(program: str = _PLUGIN) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", program],
        cwd=_ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


class TestServing:
    """The life of a plugin process."""

    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
    def test_it_prints_its_port_and_ends_on_a_signal(self, number: signal.Signals) -> None:
        with _start() as plugin:
            assert plugin.stdout is not None
            assert int(plugin.stdout.readline()) > 0
            plugin.send_signal(number)
            assert plugin.wait(60) == 0
            assert plugin.stdout.read() == "stopped\n"

    def test_it_ends_whichever_thread_the_kernel_gives_the_signal_to(self) -> None:
        plugin = _start(_SIGNALLED)
        try:
            assert plugin.wait(60) == 0
        finally:
            plugin.kill()
            printed, _ = plugin.communicate()
        assert printed.splitlines()[1:] == ["stopped"]

    def test_it_ends_when_the_engine_is_gone(self) -> None:
        with _start() as plugin:
            assert plugin.stdin is not None
            assert plugin.stdout is not None
            plugin.stdout.readline()
            plugin.stdin.close()
            assert plugin.wait(60) == 0

    def test_it_does_not_import_the_sdk(self) -> None:
        code = (
            "import sys, lab.plugins.kubernetes.server, lab.plugins.properties\n"
            "heavy = {'pulumi', 'pulumi.runtime', 'kubernetes', 'yaml'} & sys.modules.keys()\n"
            "assert not heavy, heavy\n"
            "import pulumi\n"
            "assert pulumi.Output\n"
        )
        subprocess.run([sys.executable, "-c", code], cwd=_ROOT, check=True, timeout=120)


@pytest.mark.parametrize(
    ("argv", "address"),
    [
        (["plugin", "127.0.0.1:4000"], "127.0.0.1:4000"),
        (["plugin", "-v=9", "127.0.0.1:4000"], "127.0.0.1:4000"),
        (["plugin"], ""),
        (["plugin", "--help"], ""),
    ],
)
def test_the_engine_is_the_last_argument(argv: list[str], address: str) -> None:
    assert engine_address(argv) == address


class _RefusalError(Exception):
    pass


class _Context:
    """What ``answers`` needs of a gRPC context."""

    def __init__(self) -> None:
        self.code: grpc.StatusCode | None = None
        self.message = ""
        self.metadata: Any = ()

    def set_trailing_metadata(self, metadata: Any) -> None:
        self.metadata = metadata

    def abort(self, code: grpc.StatusCode, message: str) -> None:
        self.code, self.message = code, message
        raise _RefusalError


class _Servicer:
    @answers
    def Refuse(self, request: str, context: Any) -> str:  # noqa: N802, ARG002
        raise RpcError(grpc.StatusCode.NOT_FOUND, request)

    @answers
    def Break(self, request: str, context: Any) -> str:  # noqa: N802, ARG002
        raise KeyError(request)


def test_an_error_keeps_its_code() -> None:
    context = _Context()
    with pytest.raises(_RefusalError):
        _Servicer().Refuse("no such thing", context)
    assert (context.code, context.message) == (grpc.StatusCode.NOT_FOUND, "no such thing")


def test_an_unexpected_error_is_internal_and_names_its_place() -> None:
    context = _Context()
    with pytest.raises(_RefusalError):
        _Servicer().Break("key", context)
    assert context.code is grpc.StatusCode.INTERNAL
    assert "Break: KeyError: 'key'" in context.message


def test_details_travel_in_the_status() -> None:
    error = RpcError(grpc.StatusCode.UNKNOWN, "half done", engine_pb2.LogRequest(message="why"))
    context: Any = _Context()
    with pytest.raises(_RefusalError):
        protocol._refuse(context, error)
    ((key, raw),) = context.metadata
    assert key == "grpc-status-details-bin"
    assert b"half done" in raw
    assert b"pulumirpc.LogRequest" in raw


class _Log(engine_pb2_grpc.EngineServicer):
    def __init__(self) -> None:
        self.requests: list[Any] = []

    def Log(self, request: Any, context: Any) -> Any:  # noqa: N802, ARG002
        from google.protobuf.empty_pb2 import Empty  # type: ignore[import-untyped,unused-ignore]

        self.requests.append(request)
        return Empty()


def test_the_stand_in_says_so_once_per_run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    log = _Log()
    server = grpc.server(ThreadPoolExecutor(2))
    engine_pb2_grpc.add_EngineServicer_to_server(log, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        for _ in range(3):
            engine = Engine(f"127.0.0.1:{port}")
            engine.say_stand_in("kubernetes provider", "the official one")
        engine.status("passing", "urn:a", warning=True)
    finally:
        server.stop(None)
    assert [request.message for request in log.requests] == [
        (
            "the kubernetes provider is the lab's stand-in for the official one, "
            "which is not installed here"
        ),
        "passing",
    ]
    assert log.requests[1].ephemeral


def test_without_an_engine_messages_are_dropped() -> None:
    Engine("").info("nobody listens")
