"""`aegis migrate contract`."""

from __future__ import annotations

from typing import Annotated

import typer

from aegis_deploy.cli.commands.options import (
    HERE,
    Directory,
    Json,
    Stack,
    WaitLock,
    Yes,
    open_flow,
    output_of,
    seconds,
)


def contract(
    context: typer.Context,
    *,
    stack: Stack = None,
    directory: Directory = HERE,
    json: Json = False,  # noqa: ARG001 - its callback has seen it
    preview: Annotated[
        bool, typer.Option("--preview", help="Show what it would do, and change nothing.")
    ] = False,
    due: Annotated[
        bool,
        typer.Option(
            "--due",
            help="Only where it is due by the setting contractAfter; for a schedule. Where it is "
            "not, nothing is done, and that is no failure.",
        ),
    ] = False,
    yes: Yes = False,
    wait_lock: WaitLock = "0",
) -> None:
    """Take from the database what the release that runs needs no more: its contract migrations.

    No deploy does that. It shows first what goes and which releases can no longer be gone back to;
    then the release's own migration does it, as a Job in the stack's namespace.
    """
    from aegis_deploy.flows.contract import ContractRequest
    from aegis_deploy.flows.contract import contract as run

    out = output_of(context)
    request = ContractRequest(preview=preview, due=due, yes=yes, wait_seconds=seconds(wait_lock))
    report = run(open_flow(context, stack, directory), request)
    out.document(report.as_json())
    if report.changed and report.database is not None:
        out.show(f"contracted: the database is {report.database}")
    elif report.changed:
        out.show("contracted")
