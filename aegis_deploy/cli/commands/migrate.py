"""`aegis migrate contract` and `aegis migrate rehearse`."""

from __future__ import annotations

import re
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
from aegis_deploy.common.errors import AegisError, ExitCode


def rehearse(
    context: typer.Context,
    *,
    stack: Stack = None,
    directory: Directory = HERE,
    json: Json = False,  # noqa: ARG001 - its callback has seen it
    image_digest: Annotated[
        str | None,
        typer.Option(
            "--image-digest",
            metavar="DIGEST",
            help="The image whose migration is tried, of the same repository; without it that of "
            "what runs, which has its contracts ahead of it alone.",
        ),
    ] = None,
    markdown: Annotated[
        bool, typer.Option("--markdown", help="Print Markdown, for a pull request.")
    ] = False,
) -> None:
    """Try the pending migrations on a copy of the database: how long they take, what they lock.

    The release's own migration makes the copy on the same server, as a Job in the stack's
    namespace, and drops it afterwards. The database itself is read and never changed.
    """
    from aegis_deploy.flows.rehearse import RehearseRequest
    from aegis_deploy.flows.rehearse import rehearse as run
    from aegis_deploy.report import rehearsal_summary

    if image_digest is not None and re.fullmatch(r"sha256:[0-9a-f]{64}", image_digest) is None:
        raise typer.BadParameter(f"{image_digest!r} is not sha256: and 64 hexadecimal digits")
    out = output_of(context)
    try:
        flow = open_flow(context, stack, directory)
        found = run(flow, RehearseRequest(image_digest=image_digest))
    except AegisError as error:
        if markdown:
            # Whoever puts it into a comment has nothing else to put there.
            out.show(rehearsal_summary.refused(stack or "the stack", error))
        raise
    out.document({"rehearsal": dict(found.said)})
    if markdown:
        out.show(rehearsal_summary.markdown(flow.session.name, found))
    else:
        for line in found.lines():
            out.show(line)
    if found.bad:
        raise typer.Exit(ExitCode.GATE_FAILED)


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
