"""The engine's operations: runs of the CLI that tell what happens while it happens.

They are run as Pulumi's Automation API runs them, but without it: its import takes a third of a
second, and it has something to do only where the program is one of this process's
(:mod:`stack.inline_program`). That is loaded while the CLI starts. The project's own program is run
by a host of ours where that can be (:mod:`stack.program_host`), else by the CLI's.
"""

from __future__ import annotations

import json
import os
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from functools import cached_property, partial
from typing import Any

from aegis_deploy.model.events import EventCollector
from aegis_deploy.pulumi_cli.cli_errors import Finished
from aegis_deploy.pulumi_cli.engine import Engine, nameless
from aegis_deploy.pulumi_cli.project import Project
from aegis_deploy.stack.program_host import ProgramHost, host_of

_COMMANDS = {
    "up": ("up", "--yes", "--skip-preview"),
    "preview": ("preview",),
    "preview_refresh": ("refresh", "--preview-only"),
    "refresh": ("refresh", "--yes", "--skip-preview"),
}
_RUN_PROGRAM = ("up", "preview")
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
        project: The project; its settings hold for inline programs too.
    """

    def __init__(self, engine: Engine, stack: str, project: Project) -> None:
        self._engine, self._stack, self._project = engine, stack, project

    @cached_property
    def _host(self) -> ProgramHost | None:
        return host_of(self._project, self._engine.program, self._engine.environment)

    def prepare(self) -> None:
        """Get ready to run the project's program, which takes a second, beside what comes first."""
        _ = self._host

    def stop(self) -> None:
        """Be ready no more."""
        host = vars(self).get("_host")
        if host is not None:
            host.stop()

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
        own = program is None
        variables = {**(environment or {}), **({} if own else _TAKE_OVER), **_AUTOMATION}
        with ExitStack() as around:
            if program is not None:
                words += ["--client", around.enter_context(_served(_inline(program)))]
            elif command in _RUN_PROGRAM and self._host is not None:
                all_variables = {**self._engine.environment, **variables}
                serving = partial(self._host.serve, all_variables)
                words += ["--client", around.enter_context(_served(serving))]
            events = around.enter_context(_told(recorder))
            return self._engine.run(
                [
                    *words,
                    *("--exec-kind", "auto.local" if own else "auto.inline"),
                    *("--event-log", f"/dev/fd/{events}"),
                ],
                interruptible=True,
                directory=self._project.directory,
                environment=variables,
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


def _inline(program: Callable[[], Any]) -> Callable[[], AbstractContextManager[int]]:
    """Return what serves a program of this process's, once the SDK is loaded."""

    def serve() -> AbstractContextManager[int]:
        from aegis_deploy.stack import inline_program

        return inline_program.serving(program)

    return serve


@contextmanager
def _served(serve: Callable[[], AbstractContextManager[int]]) -> Iterator[str]:
    """Serve a program to the CLI while the block runs; yields the address to ask for it.

    The CLI is told the address when it is started, and asks once, at about the time at which the
    SDK is imported. So who asks is taken at once, and handed on when there is somebody to answer.

    Args:
        serve: Has it served on a port of the loopback; it may take a while.
    """
    with (
        socket.create_server(("127.0.0.1", 0)) as asked,
        ExitStack() as around,
        ThreadPoolExecutor(1) as beside,
    ):
        coming = beside.submit(lambda: around.enter_context(serve()))
        taking = threading.Thread(target=_take, args=(asked, coming), name="program")
        taking.start()
        try:
            yield f"127.0.0.1:{asked.getsockname()[1]}"
        finally:
            with suppress(OSError):  # Nobody need have asked.
                asked.shutdown(socket.SHUT_RDWR)
            taking.join()
            coming.result()


def _take(asked: socket.socket, coming: Future[int]) -> None:
    """Take connections until there are no more to come, and hand them on."""
    with suppress(OSError):  # So it ends.
        while True:
            one, _ = asked.accept()
            if coming.exception() is not None:  # Who waits for it is told.
                one.close()
                return
            other = socket.create_connection(("127.0.0.1", coming.result()))
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
