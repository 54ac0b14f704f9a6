"""A Python language host that has the SDK loaded before the engine asks for a program.

Run as a file, by the interpreter of the program, and not imported: a program that it runs must find
nothing loaded but what other people's packages are. It imports these once, then forks each run of
the program off, which so begins with them. What such a run does is what the official host has it
do: it becomes ``pulumi-language-python-exec`` with the same arguments, environment and directory.

    python -u language_host.py SOCKET

It begins in the program's directory. SOCKET is the number of an open socket over which
`program_host` asks for programs to be served, a line of JSON each, and is told the port, or that
one of before is served no more and has ended; when it closes, this process ends.

Three processes, because gRPC cannot be used in a process that forks: one serves the engine; one,
forked off before gRPC is used, loads the packages and does nothing but fork; and the program.
"""
# ruff: noqa: ANN401, N802, ARG002 - the protocol names the methods; its types are loaded late

from __future__ import annotations

import contextlib
import ctypes
import gc
import importlib
import json
import os
import re
import runpy
import signal
import socket
import struct
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, TypeVar

_Response = TypeVar("_Response")
_IMPORTED = re.compile(r"^(?:from|import)\s+(\w+(?:\.\w+)*)", re.MULTILINE)
_LENGTH = struct.Struct("!I")
_AT_ONCE = 8
_MAX_MESSAGE = 400 << 20  # The engine's own limit.
_OPTIONS = (
    ("grpc.max_receive_message_length", _MAX_MESSAGE),
    ("grpc.max_send_message_length", _MAX_MESSAGE),
    # What gRPC knows of an address is shared between channels otherwise: an engine that got the
    # port of a dead one would not be heard.
    ("grpc.use_local_subchannel_pool", 1),
)
_LOG_SECONDS = 5.0
_GRACE_SECONDS = 1.0
"""So long a program that is told to stop may take, as the official host has it."""
_EXPLAINED = 32
"""The exit code of a program whose error the engine has shown."""
_DIED_WITH_PARENT = 1  # PR_SET_PDEATHSIG


def main(words: Sequence[str]) -> None:
    """Serve what is asked for until nobody can ask any more."""
    # The directory of this file is not the program's to import from.
    sys.path.pop(0)
    control = socket.socket(fileno=int(words[0]))
    gc.disable()  # What is imported is no garbage: a tenth of the time would go into looking.
    import pulumi  # noqa: F401

    here, there = socket.socketpair()
    if os.fork() == 0:
        here.close()
        control.close()
        _fork_programs(there)
        return
    there.close()
    gc.enable()
    _Serving(control, _Forker(here)).run()


def _fork_programs(asked: socket.socket) -> None:
    """Load what the program imports, then fork it off each time that it is asked for.

    Until nobody asks any more. Returns only in a program, once it has ended.
    """
    _end_with_parent()
    for name in imported(Path.cwd()):
        with contextlib.suppress(Exception):  # The program says what it cannot import.
            importlib.import_module(name)
    # A program looks through none of it: at its end it would copy nearly all of this memory, which
    # takes a fifth of a second (https://docs.python.org/3/library/gc.html#gc.freeze).
    gc.freeze()
    while (asking := _receive(asked)) is not None:
        request, files = asking
        threads = threading.active_count()
        program = os.fork()
        if program == 0:
            asked.close()
            _become(request, files, anew=threads > 1)
            return
        for it in files:
            os.close(it)
        _send(asked, {"program": program})
        _, status = os.waitpid(program, 0)
        _send(asked, {"code": os.waitstatus_to_exitcode(status)})
    os._exit(0)


def imported(directory: Path) -> Sequence[str]:
    """Return which of Pulumi's packages the modules of a program import at their beginning.

    They are found without running anything: one that is missed is loaded by the program itself.
    """
    found: dict[str, None] = {}
    packages: set[str] = set()
    modules = sorted(directory.glob("*.py"))
    for path in modules:  # It grows by those of each package that is imported.
        with contextlib.suppress(OSError, UnicodeError):
            for name in _IMPORTED.findall(path.read_text()):
                package = name.partition(".")[0]
                if package.startswith("pulumi"):
                    found[name] = None
                if package not in packages:
                    packages.add(package)
                    modules += sorted((directory / package).glob("*.py"))
    return list(found)


def _become(request: Mapping[str, Any], files: Sequence[int], *, anew: bool) -> None:
    """Become what the official host starts: its executor, in a process group of its own.

    Args:
        request: What to become.
        files: What its standard output and its standard error go to.
        anew: Whether to begin with nothing loaded: a package that has started threads as it was
            loaded would not work without them, and a fork has none.
    """
    _end_with_parent()
    gc.enable()
    os.setpgid(0, 0)
    # A shell starts what it puts in the background with interrupts ignored, and that is inherited.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGINT])
    for there, here in enumerate(files, 1):
        os.dup2(here, there)
        os.close(here)
    os.environ.clear()
    os.environ.update(request["environment"])
    os.chdir(request["directory"])
    executor, *arguments = request["command"]
    if anew:
        os.execv(sys.executable, [sys.executable, "-u", executor, *arguments])  # noqa: S606
    sys.argv = [executor, *arguments]
    sys.path.insert(0, executor.rpartition(os.sep)[0])
    runpy.run_path(executor, run_name="__main__")


def _end_with_parent() -> None:
    """Have the kernel end this process when the one that forked it ends.

    A program that outlives its language host keeps the engine waiting for it, for ever.
    """
    parent = os.getppid()
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_DIED_WITH_PARENT, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)


def _send(to: socket.socket, message: Mapping[str, Any], files: Sequence[int] = ()) -> None:
    content = json.dumps(message).encode()
    socket.send_fds(to, [_LENGTH.pack(len(content))], files)
    to.sendall(content)


def _receive(of: socket.socket) -> tuple[dict[str, Any], list[int]] | None:
    """Return the next message and the files that came with it; None when there are no more."""
    try:
        head, files, _, _ = socket.recv_fds(of, _LENGTH.size, 2)
        while len(head) < _LENGTH.size:
            if not (more := of.recv(_LENGTH.size - len(head))):
                return None
            head += more
        content = bytearray()
        while missing := _LENGTH.unpack(head)[0] - len(content):
            if not (more := of.recv(min(missing, 1 << 16))):
                return None
            content += more
    except OSError:
        return None
    return json.loads(content), files


@dataclass
class _Program:
    """A program that runs."""

    pid: int
    ended: threading.Event
    stopped: bool = False

    def stop(self) -> None:
        """End it with all that it started: tell it, and kill it a second later."""
        if self.ended.is_set():
            return
        self.stopped = True
        self._signal(signal.SIGINT)
        self.ended.wait(_GRACE_SECONDS)
        self._signal(signal.SIGKILL)

    def _signal(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, number)


class _Forker:
    """The process that forks programs off, one after the other.

    Args:
        asked: Where it is asked.
    """

    def __init__(self, asked: socket.socket) -> None:
        self._asked = asked
        self._one = threading.Lock()
        self._running: _Program | None = None

    def stop(self) -> None:
        """End the program that runs."""
        if self._running is not None:
            self._running.stop()

    def run(
        self,
        request: Mapping[str, Any],
        tell: Any,
        shown: Sequence[_Shown],
    ) -> tuple[int, bool]:
        """Run a program to its end.

        Returns:
            Its exit code, negative for a signal, and whether it was stopped.

        Raises:
            OSError: The forking process is gone.
        """
        with self._one:
            _send(self._asked, request, [it.file for it in shown])
            for it in shown:
                it.begin()
            ended = threading.Event()
            try:
                program = self._running = _Program(self._answer()["program"], ended)
                if not tell(program.stop):
                    program.stop()
                return self._answer()["code"], program.stopped
            finally:
                ended.set()
                for it in shown:
                    it.end()

    def _answer(self) -> dict[str, Any]:
        found = _receive(self._asked)
        if found is None:
            raise OSError("the process that runs the program is gone")
        return found[0]


class _Shown:
    """One of a program's outputs: what it prints, the engine shows.

    Args:
        log: What shows a line.
    """

    def __init__(self, log: Any) -> None:
        self._log = log
        read, self.file = os.pipe()
        self._read: IO[bytes] = os.fdopen(read, "rb")
        self._thread = threading.Thread(target=self._show, daemon=True)

    def begin(self) -> None:
        """Show what comes; the program has the file to write to."""
        os.close(self.file)
        self._thread.start()

    def end(self) -> None:
        """Wait for the last of it, but not for what the program has left running."""
        self._thread.join(_GRACE_SECONDS)

    def _show(self) -> None:
        with self._read:
            for line in self._read:
                self._log(line.decode(errors="replace"))


class _Serving:
    """Serves the programs that are asked for.

    Args:
        control: Where they are asked for.
        forker: What runs them.
    """

    def __init__(self, control: socket.socket, forker: _Forker) -> None:
        self._control, self._forker = control, forker
        self._servers: dict[int, Any] = {}

    def run(self) -> None:
        """Serve until nobody can ask any more."""
        for line in self._control.makefile("rb"):
            asked = json.loads(line)
            if "over" in asked:
                self._servers.pop(asked["over"]).stop(0)
                self._forker.stop()
                self._control.sendall(b"over\n")
                continue
            server, port = self._serve(asked)
            self._servers[port] = server
            self._control.sendall(f"{port}\n".encode())
        self._forker.stop()
        os._exit(0)

    def _serve(self, asked: Mapping[str, Any]) -> tuple[Any, int]:
        import grpc
        from pulumi.runtime.proto import language_pb2_grpc

        server = grpc.server(ThreadPoolExecutor(_AT_ONCE), options=_OPTIONS)
        language_pb2_grpc.add_LanguageRuntimeServicer_to_server(_host(self._forker, asked), server)
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        return server, port


def _host(forker: _Forker, asked: Mapping[str, Any]) -> Any:
    import grpc
    from google.protobuf import empty_pb2  # type: ignore[import-untyped,unused-ignore]
    from pulumi.runtime.proto import (
        engine_pb2,
        engine_pb2_grpc,
        language_pb2,
        language_pb2_grpc,
        plugin_pb2,
    )

    class Host(language_pb2_grpc.LanguageRuntimeServicer):
        """Answers the engine for one run of the CLI."""

        def __init__(self) -> None:
            self._cancelled = False

        def GetPluginInfo(self, request: Any, context: Any) -> Any:
            return plugin_pb2.PluginInfo()

        def GetRequiredPackages(self, request: Any, context: Any) -> Any:
            return language_pb2.GetRequiredPackagesResponse(
                packages=[
                    plugin_pb2.PackageDependency(kind="resource", **it) for it in asked["plugins"]
                ]
            )

        def Cancel(self, request: Any, context: Any) -> Any:
            self._cancelled = True
            forker.stop()
            return empty_pb2.Empty()

        def Run(self, request: Any, context: Any) -> Any:
            engine = request.args[0] if request.args else ""
            channel = grpc.insecure_channel(engine, options=_OPTIONS)
            log = engine_pb2_grpc.EngineStub(channel).Log

            def shown(text: str) -> None:
                said = engine_pb2.LogRequest(severity=engine_pb2.INFO, message=text)
                # What the program has left running may print after its end.
                with contextlib.suppress(grpc.RpcError, ValueError):
                    log(said, timeout=_LOG_SECONDS)

            def tell(stop: Any) -> bool:
                return bool(context.add_callback(stop)) and not self._cancelled

            try:
                code, stopped = forker.run(
                    _run(request, engine, asked), tell, [_Shown(shown), _Shown(shown)]
                )
            except OSError as error:
                return language_pb2.RunResponse(error=str(error))
            finally:
                channel.close()
            return outcome(language_pb2.RunResponse, code, stopped=stopped)

    return Host()


def _run(request: Any, engine: str, asked: Mapping[str, Any]) -> dict[str, Any]:
    """Say what to become for a request of the engine's."""
    return {
        # The engine's address is all that it gives a host that it did not start.
        "command": [asked["executor"], *arguments(request, engine)],
        "directory": request.pwd,
        "environment": {
            **asked["environment"],
            "PULUMI_CONFIG": json.dumps(dict(request.config)),
            "PULUMI_CONFIG_SECRET_KEYS": json.dumps(list(request.configSecretKeys)),
        },
    }


def arguments(request: Any, engine: str) -> list[str]:
    """Return the executor's arguments for a request of the engine's, without the program's own.

    Args:
        request: A RunRequest.
        engine: The engine's address.
    """
    named = {
        "monitor": request.monitor_address,
        "engine": engine,
        "project": request.project,
        "root_directory": request.info.root_directory,
        "stack": request.stack,
        "pwd": request.pwd,
        "dry_run": "true" if request.dryRun else "false",
        "parallel": str(request.parallel),
        "organization": request.organization,
    }
    words = [part for key, value in named.items() if value for part in (f"--{key}", value)]
    return [*words, request.info.entry_point or "."]


def outcome(response: Callable[..., _Response], code: int, *, stopped: bool) -> _Response:
    """Turn a program's end into the engine's terms.

    Args:
        response: Makes a RunResponse.
        code: The program's exit code, negative for a signal.
        stopped: Whether the host ended it, because the engine asked for that.
    """
    if code == 0:
        return response()
    if code == _EXPLAINED:
        return response(bail=True)
    if stopped:
        return response(error="the program was stopped before its end")
    if code < 0:
        return response(error=f"the program was ended by signal {signal.Signals(-code).name}")
    return response(error=f"Program exited with non-zero exit code: {code}")


if __name__ == "__main__":
    main(sys.argv[1:])
