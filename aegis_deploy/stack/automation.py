"""The engine's operations: runs of the CLI that tell what happens while it happens.

They are run as Pulumi's Automation API runs them, but without it: its import takes a third of a
second, and it has something to do only where the program is one of this process's
(:mod:`stack.inline_program`). That is loaded while the CLI starts.
"""

from __future__ import annotations

import json
import os
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aegis_deploy.model.events import EventCollector
from aegis_deploy.pulumi_cli.cli_errors import Finished
from aegis_deploy.pulumi_cli.engine import Engine, nameless

if TYPE_CHECKING:
    from aegis_deploy.stack.inline_program import Served

_COMMANDS = {
    "up": ("up", "--yes", "--skip-preview"),
    "preview": ("preview",),
    "preview_refresh": ("refresh", "--preview-only"),
    "refresh": ("refresh", "--yes", "--skip-preview"),
}
_FLAGS = {
    "config_file": "--config-file",
    "exclude": "--exclude",
    "message": "--message",
    "policy_packs": "--policy-pack",
    "refresh": "--refresh",
    "target": "--target",
}
_AUTOMATION = {"PULUMI_AUTOMATION_API": "true", "PULUMI_DEBUG_COMMANDS": "true"}
"""Has the CLI know the flags that are the Automation API's."""
_TAKE_OVER = {"PULUMI_K8S_ENABLE_PATCH_FORCE": "true"}
"""Has the Kubernetes provider take over fields that somebody set by hand since.

A replay restores what was recorded: a conflict with last night's ``kubectl scale`` must not stop
it. The provider's documentation of ``enablePatchForce`` names the variable; a stack that sets the
option itself decides itself.
"""
_CHUNK = 1 << 16
_LOOK_SECONDS = 0.03
"""How often it is looked for further events."""


class Runner:
    """Runs the engine's operations on one stack.

    Args:
        engine: The CLI.
        stack: The stack's name, qualified where it has to be.
        directory: The project's directory; its settings hold for inline programs too.
    """

    def __init__(self, engine: Engine, stack: str, directory: Path) -> None:
        self._engine, self._stack, self._directory = engine, stack, directory

    def run(
        self,
        command: str,
        recorder: EventCollector,
        *,
        program: Callable[[], Any] | None = None,
        environment: Mapping[str, str] | None = None,
        **options: Any,  # noqa: ANN401 - texts, lists of texts, whether
    ) -> Finished:
        """Run one of them, and tell its events; return how the CLI ended.

        Args:
            command: up, preview, preview_refresh or refresh.
            recorder: Told the events, on another thread; all of them when this returns.
            program: What to register in place of running the project's program.
            environment: Variables over the whole environment.
            **options: Its flags, by the names that the Automation API gives them.
        """
        words = [*_COMMANDS[command], *_flags(options), "--stack", self._stack]
        variables = {**(environment or {}), **({} if program is None else _TAKE_OVER)}
        with ExitStack() as around:
            if program is not None:
                port = around.enter_context(_served(program))
                words += ["--client", f"127.0.0.1:{port}"]
            events = around.enter_context(_told(recorder))
            return self._engine.run(
                [
                    *words,
                    *("--exec-kind", "auto.local" if program is None else "auto.inline"),
                    *("--event-log", f"/dev/fd/{events}"),
                ],
                interruptible=True,
                directory=self._directory,
                environment={**variables, **_AUTOMATION},
                inherited=(events,),
            )


def _flags(options: Mapping[str, Any]) -> Iterator[str]:
    for name, value in options.items():
        for it in value if isinstance(value, list) else [value]:
            if it is True:
                yield _FLAGS[name]
            elif it:
                yield from (_FLAGS[name], str(it))


@contextmanager
def _told(recorder: EventCollector) -> Iterator[int]:
    """Tell the events that come into a file while the block runs; yields the file.

    It has no name and holds up nobody: should this process die, the CLI goes on to its clean end.
    """
    with nameless() as file, ThreadPoolExecutor(1) as beside:
        ended = threading.Event()
        telling = beside.submit(_tell, file.fileno(), ended, recorder)
        try:
            yield file.fileno()
        finally:
            ended.set()
            telling.result()


def _tell(file: int, ended: threading.Event, recorder: EventCollector) -> None:
    """Tell events until there are no more; what a CLI that was killed broke off is none."""
    told, rest = 0, b""
    while True:
        over = ended.is_set()
        # The CLI writes where it is, and this process reads where it is.
        while chunk := os.pread(file, _CHUNK, told):
            told += len(chunk)
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                with suppress(json.JSONDecodeError):
                    recorder(json.loads(line))
        if over:
            return
        ended.wait(_LOOK_SECONDS)


@contextmanager
def _served(program: Callable[[], Any]) -> Iterator[int]:
    """Serve a program to the CLI while the block runs; yields the port that it asks for it.

    The CLI is told the port when it is started, and asks once, at about the time at which the SDK
    is imported. So who asks is taken at once, and handed on when there is somebody to answer.
    """
    with socket.create_server(("127.0.0.1", 0)) as asked, ThreadPoolExecutor(1) as beside:

        def serve() -> Served:
            from aegis_deploy.stack import inline_program

            return inline_program.serve(program)

        coming = beside.submit(serve)
        taking = threading.Thread(target=_take, args=(asked, coming), name="program")
        taking.start()
        try:
            yield int(asked.getsockname()[1])
        finally:
            with suppress(OSError):  # Nobody need have asked.
                asked.shutdown(socket.SHUT_RDWR)
            taking.join()
            coming.result().stop()


def _take(asked: socket.socket, coming: Future[Served]) -> None:
    """Take connections until there are no more to come, and hand them on."""
    with suppress(OSError):  # So it ends.
        while True:
            one, _ = asked.accept()
            if coming.exception() is not None:  # Who waits for it is told.
                one.close()
                return
            other = socket.create_connection(("127.0.0.1", coming.result().port))
            for here, there in ((one, other), (other, one)):
                # Both send small messages that the other waits for.
                here.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                threading.Thread(target=_pass_on, args=(here, there), daemon=True).start()


def _pass_on(here: socket.socket, there: socket.socket) -> None:
    """Pass on what one side sends until it sends no more; then the other gets no more."""
    with suppress(OSError):
        while chunk := here.recv(_CHUNK):
            there.sendall(chunk)
    with suppress(OSError):
        there.shutdown(socket.SHUT_RDWR)
    here.close()
