"""`aegis status`: how a stack is just now."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from aegis_deploy.cli.commands.options import HERE, Directory, Json, Stack, open_flow, output_of

if TYPE_CHECKING:
    from aegis_deploy.common.console import Output
    from aegis_deploy.flows.status.live_status import Status


def render(status: Status, out: Output) -> None:
    """Show a stack's state."""
    out.document(status.as_json())
    for line in status.lines():
        out.show(line)


def status(
    context: typer.Context,
    stack: Stack = None,
    directory: Directory = HERE,
    *,
    drift: Annotated[
        bool,
        typer.Option(help="Compare what is live with what was declared; takes some seconds."),
    ] = True,
    json: Json = False,  # noqa: ARG001 - its callback acts on it
) -> None:
    """Show what runs now: release, pods, last warnings, drift, who works on the stack."""
    from aegis_deploy.flows.status.stack_status import read_status

    flow = open_flow(context, stack, directory)
    render(read_status(flow, drift=drift), output_of(context))
