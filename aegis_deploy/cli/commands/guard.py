"""The hidden command that `--detach-guard` starts: see :mod:`locking.watchdog`."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from aegis_deploy.cli.commands.options import HERE, Directory, Json, Stack, open_flow, output_of

if TYPE_CHECKING:
    from aegis_deploy.common.console import Output
    from aegis_deploy.flows.context import FlowContext
    from aegis_deploy.flows.recovery import Recovered

_WAIT_SECONDS = 600.0


def go_on(
    recover: Callable[[], Recovered],
    out: Output,
    *,
    pauses: Sequence[float],
    sleep: Callable[[float], None] = time.sleep,
) -> Recovered:
    """Put a stack in order, trying again as long as that is refused, or cannot be gone on with.

    Raises:
        AegisError: It is refused still, or was done and did not come up healthy.
    """
    from aegis_deploy.common.errors import AegisError, ExitCode

    for pause in pauses:
        try:
            return recover()
        except AegisError as error:
            if error.code is not ExitCode.REFUSED and not error.again:
                raise
            out.say(f"{error}\n{_now()} once more in {pause:.0f} s")
        sleep(pause)
    return recover()


def guard(
    context: typer.Context,
    *,
    stack: Stack = None,
    directory: Directory = HERE,
    json: Json = False,  # noqa: ARG001 - its callback has seen it
    log: Annotated[Path | None, typer.Option(help="Its own log, which goes when all is well.")] = (
        None
    ),
) -> None:
    """Watch the process at the other end of standard input, and go on when it dies.

    Started by `aegis deploy --detach-guard`; of no use to a person.
    """
    import socket

    from aegis_deploy.cli.commands.recover import render
    from aegis_deploy.common.errors import AegisError, ExitCode
    from aegis_deploy.flows.recovery import put_in_order
    from aegis_deploy.locking.watchdog import BY, PAUSES, Ending, end, ready, watch

    out, parent = output_of(context), os.getppid()
    try:
        channel = socket.socket(fileno=os.dup(0))
    except OSError as error:
        raise AegisError(
            what="a guard is started by the process it watches",
            why="standard input is no socket",
            next="aegis deploy --detach-guard",
            code=ExitCode.USAGE,
        ) from error
    with channel:
        ready(channel)
        ending = watch(channel)
        if ending in {Ending.DONE, Ending.UNBEGUN}:
            if log is not None:
                log.unlink(missing_ok=True)
            return
        out.say(f"{_now()} process {parent} at work on {stack}: {ending.value}")
        if ending is Ending.SILENT and end(parent):
            out.say(f"{_now()} ended process {parent}, so that two do not work on the stack")

    opened: list[FlowContext] = []

    def recover() -> Recovered:
        # The same ones for every try: they know the claim that the try before has left.
        flow = opened[0] if opened else open_flow(context, stack, directory)
        opened[:] = [flow]
        return put_in_order(flow, by=BY, wait_seconds=_WAIT_SECONDS)

    render(go_on(recover, out, pauses=PAUSES), out)
    out.say(f"{_now()} done; `aegis history` has it")


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
