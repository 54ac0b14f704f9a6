"""What the language host answers the engine, and how it asks for a program to be run."""

from __future__ import annotations

import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import grpc
import pytest
from google.protobuf import empty_pb2  # type: ignore[import-untyped,unused-ignore]
from pulumi.runtime.proto import engine_pb2, engine_pb2_grpc, language_pb2, language_pb2_grpc

from aegis_deploy.stack import language_host
from aegis_deploy.stack.language_host import _Forker, _host, _receive, _send, _Shown, outcome

ASKED = {
    "executor": "/bin/pulumi-language-python-exec",
    "plugins": [{"name": "kubernetes", "version": "4.32.0", "server": ""}],
    "environment": {"PATH": "/bin"},
}


class TestMessages:
    """Between the process that serves and the one that forks, with open files."""

    def test_come_whole_with_their_files(self) -> None:
        here, there = socket.socketpair()
        read, write = os.pipe()
        message = {"text": "x" * 500_000, "odd": "\udcff"}
        sending = threading.Thread(target=_send, args=(here, message, [write]))
        with here, there:
            sending.start()
            found = _receive(there)
            sending.join()
        assert found is not None
        assert found[0] == message
        os.write(found[1][0], b"y")
        assert os.read(read, 1) == b"y"
        for it in (read, write, *found[1]):
            os.close(it)

    @pytest.mark.parametrize("sent", [b"", b"\0\0", b"\0\0\0\5ab"])
    def test_that_were_broken_off_are_none(self, sent: bytes) -> None:
        here, there = socket.socketpair()
        with there:
            with here:
                here.sendall(sent)
            assert _receive(there) is None


class TestTheEnd:
    """A program's end in the engine's terms, as the official host has it."""

    @pytest.mark.parametrize(
        ("code", "stopped", "error", "bail"),
        [
            (0, False, "", False),
            (32, False, "", True),
            (1, True, "the program was stopped before its end", False),
            (-signal.SIGKILL, False, "the program was ended by signal SIGKILL", False),
            (3, False, "Program exited with non-zero exit code: 3", False),
        ],
    )
    def test_is_told(self, code: int, stopped: bool, error: str, bail: bool) -> None:
        found = outcome(language_pb2.RunResponse, code, stopped=stopped)
        assert (found.error, found.bail) == (error, bail)


class _Forks:
    """Plays the process that forks: says how the program ended, when it may end."""

    def __init__(self, code: int | None) -> None:
        self.here, self._there = socket.socketpair()
        self.asked: list[Mapping[str, Any]] = []
        self.may_end = threading.Event()
        self.may_end.set()
        self._code = code
        self._thread = threading.Thread(target=self._answer)
        self._thread.start()

    def _answer(self) -> None:
        while (found := _receive(self._there)) is not None:
            request, files = found
            self.asked.append(request)
            os.write(files[0], b"one\ntwo")
            for it in files:
                os.close(it)
            if self._code is None:
                break
            # One that is no process any more.
            _send(self._there, {"program": 2**22 + 1})
            self.may_end.wait(60)
            _send(self._there, {"code": self._code})
        self._there.close()

    def close(self) -> None:
        self.here.close()
        self._thread.join()


class _Engine(engine_pb2_grpc.EngineServicer):
    """Keeps what it is to show."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def Log(self, request: engine_pb2.LogRequest, context: object) -> empty_pb2.Empty:  # noqa: ARG002, N802
        self.said.append(request.message)
        return empty_pb2.Empty()


@contextmanager
def served(register: Callable[[grpc.Server], None]) -> Iterator[str]:
    server = grpc.server(ThreadPoolExecutor(4))
    register(server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        server.stop(None).wait()


@contextmanager
def host(
    forks: _Forks, engine: _Engine
) -> Iterator[tuple[language_pb2_grpc.LanguageRuntimeStub, language_pb2.RunRequest]]:
    """The host, asked by gRPC, and what the engine asks it."""
    servicer = _host(_Forker(forks.here), ASKED)
    with (
        served(lambda it: engine_pb2_grpc.add_EngineServicer_to_server(engine, it)) as address,
        served(
            lambda it: language_pb2_grpc.add_LanguageRuntimeServicer_to_server(servicer, it)
        ) as own,
        grpc.insecure_channel(own) as channel,
    ):
        request = language_pb2.RunRequest(
            project="shop",
            stack="one",
            pwd="/shop",
            monitor_address="127.0.0.1:1",
            args=[address],
            dryRun=True,
            parallel=4,
            config={"shop:a": "b"},
            configSecretKeys=["shop:a"],
            info=language_pb2.ProgramInfo(root_directory="/shop", entry_point="."),
        )
        yield language_pb2_grpc.LanguageRuntimeStub(channel), request
    forks.close()


def words(command: Sequence[str], flag: str) -> str:
    return command[list(command).index(flag) + 1]


class TestTheEngine:
    """What it asks, and what becomes of it."""

    def test_is_told_which_plugins_the_packages_need(self) -> None:
        with host(_Forks(0), _Engine()) as (stub, _):
            assert stub.GetPluginInfo(empty_pb2.Empty(), timeout=60).version == ""
            (found,) = stub.GetRequiredPackages(
                language_pb2.GetRequiredPackagesRequest(), timeout=60
            ).packages
        assert (found.name, found.kind, found.version) == ("kubernetes", "resource", "4.32.0")

    def test_has_a_program_run_and_shows_what_it_prints(self) -> None:
        forks, engine = _Forks(0), _Engine()
        with host(forks, engine) as (stub, request):
            assert stub.Run(request, timeout=60).error == ""
        assert engine.said == ["one\n", "two"]
        (asked,) = forks.asked
        command = asked["command"]
        assert (command[0], command[-1]) == (ASKED["executor"], ".")
        assert (words(command, "--engine"), words(command, "--dry_run")) == (
            request.args[0],
            "true",
        )
        assert asked["directory"] == "/shop"
        assert asked["environment"] == {
            "PATH": "/bin",
            "PULUMI_CONFIG": '{"shop:a": "b"}',
            "PULUMI_CONFIG_SECRET_KEYS": '["shop:a"]',
        }

    def test_is_told_that_it_is_gone(self) -> None:
        with host(_Forks(None), _Engine()) as (stub, request):
            found = stub.Run(request, timeout=60)
        assert found.error == "the process that runs the program is gone"

    def test_can_have_it_stopped(self, monkeypatch: pytest.MonkeyPatch) -> None:
        forks, told = _Forks(1), list[signal.Signals]()

        def tell(_: object, number: signal.Signals) -> None:
            told.append(number)
            forks.may_end.set()

        monkeypatch.setattr(language_host._Program, "_signal", tell)
        forks.may_end.clear()
        with host(forks, _Engine()) as (stub, request):
            running = stub.Run.future(request, timeout=60)
            while not told:
                stub.Cancel(empty_pb2.Empty(), timeout=60)
            assert running.result().error == "the program was stopped before its end"
        assert told[0] == signal.SIGINT


def test_an_output_that_stays_open_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(language_host, "_GRACE_SECONDS", 0.01)
    said: list[str] = []
    shown = _Shown(said.append)
    kept = os.dup(shown.file)
    shown.begin()
    os.write(kept, b"a\n")
    shown.end()
    os.close(kept)
    shown._thread.join(60)
    assert said == ["a\n"]
