"""Pulumi's Automation API, with every run of the CLI going through the project's one engine.

Imported by `stack` alone, when the first preview or update is wanted.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from pulumi.automation import (
    CommandResult,
    LocalWorkspace,
    PulumiCommand,
    Stack,
)
from pulumi.runtime import _grpc_settings
from semver import VersionInfo

from aegis_deploy.common import temp_dir
from aegis_deploy.model.events import EventCollector
from aegis_deploy.pulumi_cli.cli_errors import Finished
from aegis_deploy.pulumi_cli.engine import Engine

_LAST_EVENTS_SECONDS = 5
_TAKE_OVER = {"PULUMI_K8S_ENABLE_PATCH_FORCE": "true"}
"""Has the Kubernetes provider take over fields that somebody set by hand since.

A replay restores what was recorded: a conflict with last night's ``kubectl scale`` must not stop
it. The provider's documentation of ``enablePatchForce`` names the variable; a stack that sets the
option itself decides itself.
"""

_OWN_CONNECTIONS = ("grpc.use_local_subchannel_pool", 1)
"""Has every connection of the SDK be its own.

The kernel gives an engine a port that an earlier engine of this process may have had. gRPC shares
what it knows of an address between channels, and would refuse the new engine for as long as it
backs off from the dead one (up to two minutes).
"""

if _OWN_CONNECTIONS not in _grpc_settings._GRPC_CHANNEL_OPTIONS:
    _grpc_settings._GRPC_CHANNEL_OPTIONS.append(_OWN_CONNECTIONS)

# A CLI that is killed cuts its events off, which its exit says already, and better.
warnings.filterwarnings("ignore", "Error in event stream", UserWarning)


class _EndedError(Exception):
    """Carries how the CLI ended past the Automation API, which would only keep it as text."""

    def __init__(self, done: Finished) -> None:
        super().__init__(f"the CLI ended with {done.code}")
        self.done = done


class _Command(PulumiCommand):
    """The CLI as the Automation API wants it, run by the engine."""

    def __init__(self, engine: Engine, version: str) -> None:
        # Not the base's constructor: it would run `pulumi version` once more.
        self.command = "pulumi"
        self.version = VersionInfo.parse(version)
        self._engine = engine
        self.variables: Mapping[str, str] = {}

    def run(
        self,
        args: list[str],
        cwd: str,
        additional_env: Mapping[str, str],
        on_output: Callable[[str], Any] | None = None,  # noqa: ARG002
        on_error: Callable[[str], Any] | None = None,  # noqa: ARG002
    ) -> CommandResult:
        done = self._engine.run(
            args,
            interruptible=True,
            directory=Path(cwd),
            environment={**additional_env, **self.variables, "PULUMI_AUTOMATION_API": "true"},
        )
        # One operation is one run: what the Automation API would ask after it is not wanted.
        raise _EndedError(done)


class _Workspace(LocalWorkspace):
    """A workspace that leaves the person's selected stack alone."""

    def select_stack(self, stack_name: str) -> None:
        """Select nothing: every command names its stack."""


class Runner:
    """Runs the engine's operations on one stack.

    Args:
        engine: The CLI.
        stack: The stack's name, qualified where it has to be.
        directory: The project's directory; its settings hold for inline programs too.
        version: The CLI's version.
    """

    def __init__(self, engine: Engine, stack: str, directory: Path, version: str) -> None:
        self._command = _Command(engine, version)
        workspace = _Workspace(work_dir=str(directory), pulumi_command=self._command)
        self._stack = Stack.select(stack, workspace)

    def run(
        self,
        command: str,
        recorder: EventCollector,
        environment: Mapping[str, str] | None = None,
        **options: Any,  # noqa: ANN401
    ) -> Finished:
        """Run up, preview, preview_refresh, refresh or destroy; return how the CLI ended."""
        given = {name: value for name, value in options.items() if value is not None}
        loops: list[asyncio.AbstractEventLoop] = []
        taken = _TAKE_OVER if "program" in given else {}
        self._command.variables = {**(environment or {}), **taken}
        if "program" in given:
            given["program"] = _noting(given["program"], loops)
        # The Automation API's own files, too, are to be found should this process be killed.
        before, tempfile.tempdir = tempfile.tempdir, str(temp_dir.directory())
        try:
            getattr(self._stack, command)(on_event=recorder, **given)
        except _EndedError as ended:
            if ended.done.code >= 0 and recorder.began.is_set():
                # The last events may still be on their way from a process that has ended.
                recorder.ended.wait(_LAST_EVENTS_SECONDS)
            return ended.done
        finally:
            tempfile.tempdir = before
            _close(loops)
        raise AssertionError(f"{command} ran without the CLI")


def _noting(
    program: Callable[[], Any], loops: list[asyncio.AbstractEventLoop]
) -> Callable[[], Any]:
    """The program, noting which event loop it is run in."""

    def run() -> Any:  # noqa: ANN401 - whatever the program returns
        loops.append(asyncio.get_running_loop())
        return program()

    return run


def _close(loops: list[asyncio.AbstractEventLoop]) -> None:
    """Close the loops of programs that were cut short: the SDK leaves those open."""
    deadline = time.monotonic() + _LAST_EVENTS_SECONDS
    for loop in loops:
        while loop.is_running() and time.monotonic() < deadline:
            time.sleep(0.01)
        if not loop.is_running():
            loop.close()
