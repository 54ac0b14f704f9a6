"""`aegis recover`: put a stack in order after whoever worked on it died."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from aegis_deploy.cli.commands.options import HERE, Directory, Json, Stack, open_flow, output_of

if TYPE_CHECKING:
    from aegis_deploy.common.console import Output
    from aegis_deploy.flows.recovery import Recovered


def render(recovered: Recovered, out: Output) -> None:
    """Show what was done."""
    out.document(recovered.as_json())
    number = recovered.target
    words = {
        "nothing": f"{recovered.stack} is in order",
        "judge": f"{recovered.stack} is in order: its gate has spoken",
        "restore": f"{recovered.stack} is back at what release {number} deployed",
        "finish": f"{recovered.stack} is settled as it is; no release is verified: aegis deploy",
    }
    if recovered.done:
        out.show(words[recovered.action])
    else:
        out.show(f"would {recovered.action}; nothing was changed")


def recover(
    context: typer.Context,
    *,
    stack: Stack = None,
    directory: Directory = HERE,
    json: Json = False,  # noqa: ARG001 - its callback acts on it
    preview: Annotated[
        bool, typer.Option("--preview", help="Say what it would do, and do nothing.")
    ] = False,
    take_lock: Annotated[
        bool,
        typer.Option(
            "--take-lock",
            help="Take also a lock whose holder cannot be seen from here. Be sure that it is dead.",
        ),
    ] = False,
) -> None:
    """Put a stack in order after whoever worked on it died.

    Takes away orphaned locks, settles what was begun, and goes back to the verified release, or
    finishes what only lacked the gate's verdict. Does nothing where nothing was left half-done.
    """
    from aegis_deploy.flows.recovery import put_in_order

    out = output_of(context)
    flow = open_flow(context, stack, directory)
    render(put_in_order(flow, take=take_lock, preview=preview), out)
