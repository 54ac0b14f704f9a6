"""The options that every command has, and the texts of the exit codes."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from aegis_deploy.common.console import Output
from aegis_deploy.common.errors import ExitCode
from aegis_deploy.common.signals import Signals

if TYPE_CHECKING:
    from aegis_deploy.flows.context import FlowContext
    from aegis_deploy.stack.session import Session

HERE = Path()

_VERDICT_IS_OURS = {"AEGIS_GATE": "deployer"}
"""What a program's own gate (:mod:`program.hooks`) is told, so that none runs twice."""

_INSISTING = {"AEGIS_FORCE": "true"}
"""What it is told besides when what was rolled back is to be deployed all the same."""

_MEANINGS = {
    ExitCode.OK: "what was asked for is done",
    ExitCode.NOT_ROLLED_BACK: "it failed, and the stack is not back at a verified release",
    ExitCode.USAGE: "the command line is wrong; nothing was done",
    ExitCode.REFUSED: "refused before any change; the message says why",
    ExitCode.ROLLED_BACK: "the release failed, and the last verified one is restored",
    ExitCode.GATE_FAILED: "the gate did not pass; nothing was changed",
    ExitCode.DIFFERENT: "something that was to be the same is not",
    ExitCode.INTERRUPTED: "stopped by a signal; `aegis recover` puts a stack in order",
}


def _use_json(context: typer.Context, value: bool) -> bool:
    if value and not context.resilient_parsing:
        output_of(context).json = True
    return value


def _stacks(incomplete: str) -> list[str]:
    # Only local files are looked at: a completion must not wait for a backend.
    names = (path.name.split(".")[1] for path in sorted(HERE.glob("Pulumi.*.y*ml")))
    return [name for name in names if name.startswith(incomplete)]


Stack = Annotated[
    str | None,
    typer.Option(
        "--stack",
        "-s",
        help="The stack; without it, the one that `pulumi stack select` chose.",
        show_default=False,
        autocompletion=_stacks,
    ),
]
Directory = Annotated[
    Path,
    typer.Option(
        "--directory",
        "-C",
        help="Where the Pulumi program is.",
        file_okay=False,
        exists=True,
    ),
]
Json = Annotated[
    bool,
    typer.Option(
        "--json",
        help="Print one JSON document on standard output, also for an error.",
        callback=_use_json,
        is_eager=True,
    ),
]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Go on without asking.")]
WaitLock = Annotated[
    str,
    typer.Option(
        "--wait-lock",
        metavar="TIME",
        help="How long to wait for another deployer, such as 30s or 5m; 0 refuses at once.",
    ),
]
PolicyPack = Annotated[
    list[Path] | None,
    typer.Option(
        "--policy-pack",
        help="The directory of a policy pack to ask as well; may be repeated.",
        show_default=False,
        exists=True,
        file_okay=False,
    ),
]
DetachGuard = Annotated[
    bool,
    typer.Option(
        "--detach-guard",
        help="Start a second process that goes back to the verified release should this one be "
        "killed or hang.",
    ),
]


@dataclass(frozen=True)
class Running:
    """What :func:`cli.main.main` gives every command.

    Attributes:
        out: Where the command writes.
        signals: What signals do meanwhile.
    """

    out: Output
    signals: Signals


def running(context: typer.Context) -> Running:
    """Return what the command was given."""
    found = context.find_root().obj
    assert isinstance(found, Running)  # noqa: S101 - aegis_deploy.cli.main.main puts it there
    return found


def output_of(context: typer.Context) -> Output:
    """Return where a command writes."""
    return running(context).out


def open_flow(
    context: typer.Context,
    stack: str | None,
    directory: Path,
    *,
    force: bool = False,
    first: Callable[[Session], None] | None = None,
) -> FlowContext:
    """Open a stack to change it; its program's own gate leaves the verdict to `aegis`.

    Args:
        context: The command's context.
        stack: The stack's name.
        directory: The program's directory.
        force: Whether the program is to deploy also what was rolled back before.
        first: Begins what takes a while, beside the loading of all that flows need.
    """
    from aegis_deploy.stack.session import Session

    given = running(context)
    variables = {**os.environ, **_VERDICT_IS_OURS, **(_INSISTING if force else {})}
    session = Session.open(stack, directory, variables)
    context.call_on_close(session.close)
    if first is not None:
        first(session)
    from aegis_deploy.flows.context import FlowContext

    return FlowContext.of(session, given.out, given.signals)


def exit_codes(*codes: ExitCode) -> str:
    """Word the exit codes of a command, for the end of its help."""
    rows = [f"  {code.value:>3}  {_MEANINGS[code]}" for code in sorted({*codes, ExitCode.USAGE})]
    # The mark keeps the help's formatter from joining the lines.
    return "\b\nExit codes:\n" + "\n".join(rows)


def seconds(text: str) -> float:
    """Read a time such as ``30s``, ``5m`` or ``0``.

    Raises:
        typer.BadParameter: It is not one.
    """
    units = {"s": 1, "m": 60, "h": 3600}
    number, unit = (text[:-1], units[text[-1]]) if text[-1:] in units else (text, 1)
    if not number.isascii() or not number.isdigit():
        raise typer.BadParameter(f"{text!r} is not a time such as 30s, 5m or 0")
    return float(int(number) * unit)
