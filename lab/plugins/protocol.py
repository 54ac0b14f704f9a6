"""What every stand-in plugin shares: start quickly, serve gRPC, talk back to the engine.

Owns the light import of Pulumi's protocol messages, the handshake on stdout, errors as gRPC
statuses and the engine's log. Property values are in ``lab.plugins.properties``.

A plugin's main is::

    engine = Engine(engine_address(sys.argv))
    serve(lambda server: add_XServicer_to_server(Mine(engine), server), on_stop=...)
"""

from __future__ import annotations

import contextlib
import functools
import os
import signal
import stat
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NoReturn, TypeVar

import grpc

from lab.plugins.light import bare

if TYPE_CHECKING:
    from google.protobuf.message import Message  # type: ignore[import-untyped,unused-ignore]

_PULUMI_PACKAGES: Final = ("pulumi", "pulumi.runtime", "pulumi.runtime.proto")
_MAX_MESSAGE_BYTES: Final = 400 * 1024 * 1024  # the engine's own limit
_OPTIONS: Final = (
    ("grpc.max_receive_message_length", _MAX_MESSAGE_BYTES),
    ("grpc.max_send_message_length", _MAX_MESSAGE_BYTES),
)
_LOG_SECONDS: Final = 5.0


@contextlib.contextmanager
def light_pulumi() -> Iterator[None]:
    """Let ``from pulumi.runtime.proto import x_pb2`` run without importing the whole SDK.

    The SDK's ``__init__`` modules take several tenths of a second, which every ``pulumi preview``
    would pay once for each plugin.
    """
    if "pulumi" in sys.modules:
        yield
        return
    with bare(_PULUMI_PACKAGES, "pulumi is not installed beside this plugin"):
        yield


with light_pulumi():
    from pulumi.runtime.proto import engine_pb2, engine_pb2_grpc


class RpcError(Exception):
    """An error for the engine: a gRPC status code, a message for people, perhaps details.

    Attributes:
        code: The gRPC status code, always set on purpose.
        details: Messages that travel with the status, such as ErrorResourceInitFailed.
    """

    def __init__(self, code: grpc.StatusCode, message: str, *details: Message) -> None:
        super().__init__(message)
        self.code = code
        self.details = details


_Servicer = TypeVar("_Servicer")
_Request = TypeVar("_Request")
_Response = TypeVar("_Response")


def answers(
    method: Callable[[_Servicer, _Request, grpc.ServicerContext], _Response],
) -> Callable[[_Servicer, _Request, grpc.ServicerContext], _Response]:
    """Decorate a servicer's method so that every exception becomes a clear gRPC status.

    ``RpcError`` keeps its code and details; anything else is INTERNAL with its type and message.
    """

    @functools.wraps(method)
    def guarded(self: _Servicer, request: _Request, context: grpc.ServicerContext) -> _Response:
        try:
            return method(self, request, context)
        except RpcError as error:
            refusal = error
        except Exception as error:  # the boundary: nothing may hang the engine
            refusal = RpcError(
                grpc.StatusCode.INTERNAL,
                f"the lab's stand-in plugin failed in {method.__name__}: "
                f"{type(error).__name__}: {error}",
            )
            refusal.__cause__ = error
        return _refuse(context, refusal)

    return guarded


def _refuse(context: grpc.ServicerContext, error: RpcError) -> NoReturn:
    if error.details:
        with light_pulumi():
            from pulumi.runtime.proto import status_pb2
        status = status_pb2.Status(code=error.code.value[0], message=str(error))
        for detail in error.details:
            status.details.add().Pack(detail)
        context.set_trailing_metadata(
            (("grpc-status-details-bin", status.SerializeToString()),),
        )
    context.abort(error.code, str(error))
    raise AssertionError("abort always raises")


def engine_address(argv: Sequence[str]) -> str:
    """Return the engine's address, the last argument it starts a plugin with ("" without one)."""
    return argv[-1] if len(argv) > 1 and ":" in argv[-1] else ""


class Engine:
    """The engine's side of the conversation: its log.

    Without an address (a plugin started by hand) messages are dropped.
    """

    def __init__(self, address: str) -> None:
        self._stub: Any = None
        if address:
            channel = grpc.insecure_channel(address, options=_OPTIONS)
            self._stub = engine_pb2_grpc.EngineStub(channel)

    def debug(self, message: str, urn: str = "") -> None:
        """Log a message that people see only with verbose logs."""
        self._log(engine_pb2.DEBUG, message, urn)

    def info(self, message: str, urn: str = "") -> None:
        """Log a message that stays in the update's diagnostics."""
        self._log(engine_pb2.INFO, message, urn)

    def status(self, message: str, urn: str, *, warning: bool = False) -> None:
        """Show a passing message beside a resource, replaced by the next one."""
        severity = engine_pb2.WARNING if warning else engine_pb2.INFO
        self._log(severity, message, urn, ephemeral=True)

    def warning(self, message: str, urn: str = "") -> None:
        """Log a warning."""
        self._log(engine_pb2.WARNING, message, urn)

    def error(self, message: str, urn: str = "") -> None:
        """Log an error; the engine then treats the update as failed."""
        self._log(engine_pb2.ERROR, message, urn)

    def say_stand_in(self, plugin: str, official: str) -> None:
        """Say once per run of the engine that a stand-in is at work.

        Args:
            plugin: What the plugin is, such as "kubernetes provider".
            official: What it stands in for, such as "pulumi-resource-kubernetes 4.32.0".
        """
        self.say_in_run(
            plugin,
            f"the {plugin} is the lab's stand-in for {official}, which is not installed here",
        )

    def say_in_run(self, topic: str, message: str, *, warning: bool = False) -> None:
        """Log a message once per run of the engine.

        ``pulumi up`` starts its plugins twice (preview, then update), so the mark is kept per
        engine process, outside of this one.
        """
        if self._stub is not None and _first_in_run(topic):
            self._log(engine_pb2.WARNING if warning else engine_pb2.INFO, message, "")

    def _log(
        self,
        severity: engine_pb2.LogSeverity.ValueType,
        message: str,
        urn: str,
        *,
        ephemeral: bool = False,
    ) -> None:
        if self._stub is None:
            return
        request = engine_pb2.LogRequest(
            severity=severity, message=message, urn=urn, ephemeral=ephemeral
        )
        with contextlib.suppress(grpc.RpcError):
            self._stub.Log(request, timeout=_LOG_SECONDS)


def _first_in_run(topic: str) -> bool:
    """Take the mark of this engine process for a topic; False when it is taken already."""
    marks = Path(tempfile.gettempdir()) / f"aegis-stand-in-{os.getuid()}"
    name = f"{topic.replace(' ', '-')}.{os.getppid()}.{_started(os.getppid())}"
    try:
        marks.mkdir(mode=0o700, exist_ok=True)
        for old in marks.iterdir():
            parts = old.name.split(".")
            if len(parts) != 3 or _started(int(parts[1])) != parts[2]:  # noqa: PLR2004
                old.unlink(missing_ok=True)
        (marks / name).touch(exist_ok=False)
    except FileExistsError:
        return False
    except (OSError, ValueError):
        return True
    return True


def _started(pid: int) -> str:
    """Return when a process started, in clock ticks, or "" when it is gone."""
    try:
        line = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return ""
    return line.rpartition(")")[2].split()[19]


def serve(
    register: Callable[[grpc.Server], None],
    *,
    on_stop: Callable[[], None] | None = None,
    background: Callable[[], None] | None = None,
    workers: int = 256,
) -> NoReturn:
    """Serve a plugin until the engine stops it, then end the process.

    Prints the port as the first line of stdout. Ends at once on SIGINT or SIGTERM (the engine
    sends SIGINT and kills five seconds later) and when the engine itself is gone.

    Args:
        register: Adds the plugin's servicers to the server.
        on_stop: Called before the process ends, to wake calls that wait.
        background: Runs in a thread once the port is printed, for imports that take long.
        workers: Most calls that may run at the same time; an await holds one for minutes.
    """
    # The kernel may hand a signal to any thread; only a descriptor wakes the main one then.
    woken, wake = os.pipe()
    os.set_blocking(wake, False)
    signal.set_wakeup_fd(wake)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: None)
    server = grpc.server(ThreadPoolExecutor(max_workers=workers), options=_OPTIONS)
    register(server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    sys.stdout.write(f"{port}\n")
    sys.stdout.flush()
    _watch_engine(wake)
    if background is not None:
        threading.Thread(target=background, daemon=True).start()
    os.read(woken, 1)
    if on_stop is not None:
        on_stop()
    server.stop(grace=None)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)  # worker threads may still be in a call; nobody is left to answer


def _watch_engine(wake: int) -> None:
    """Write to a descriptor when stdin, a pipe the engine holds open, ends."""
    try:
        piped = stat.S_ISFIFO(os.fstat(0).st_mode)
    except OSError:
        return
    if not piped:
        return

    def read() -> None:
        with contextlib.suppress(OSError):
            while os.read(0, 4096):
                pass
        with contextlib.suppress(BlockingIOError):  # Full: it has been written to.
            os.write(wake, b"\0")

    threading.Thread(target=read, daemon=True).start()
