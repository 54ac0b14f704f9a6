"""`aegis data refresh`: another data set for a stack, and what runs with it."""

from __future__ import annotations

from typing import Annotated

import typer

from aegis_deploy.cli.commands.deploy import tell
from aegis_deploy.cli.commands.options import (
    HERE,
    Directory,
    Json,
    PolicyPack,
    Stack,
    WaitLock,
    Yes,
    open_flow,
    output_of,
    seconds,
)


def refresh(
    context: typer.Context,
    *,
    stack: Stack = None,
    directory: Directory = HERE,
    json: Json = False,  # noqa: ARG001 - its callback has seen it
    source: Annotated[
        str | None,
        typer.Option(
            "--from",
            metavar="PLACE",
            help="The data set: its directory, or s3://bucket/prefix. Without it the newest that "
            "is on the stack's server.",
            show_default=False,
        ),
    ] = None,
    newest: Annotated[
        bool,
        typer.Option(
            "--newest",
            help="Of the data sets that lie one step below --from take the one made last.",
        ),
    ] = False,
    load_only: Annotated[
        bool,
        typer.Option("--load-only", help="Load it, and leave what runs with the data set it has."),
    ] = False,
    keep: Annotated[
        int | None,
        typer.Option(
            "--keep",
            min=0,
            help="How many former data sets stay. Without it all that a release works on that can "
            "be gone back to.",
            show_default=False,
        ),
    ] = None,
    yes: Yes = False,
    force: Annotated[
        bool,
        typer.Option("--force", help="Deploy it also where it was rolled back before."),
    ] = False,
    policy_pack: PolicyPack = None,
    wait_lock: WaitLock = "0",
) -> None:
    """Give a stack another data set: load it beside the others, deploy what runs with it.

    A rolling update behind the gate changes over, and a rollback goes back to the data set before.
    Data sets that no release works on any more are dropped. Never for a stack with real data.
    """
    from aegis_deploy.data.data_set.directory import newest_below, storage_at
    from aegis_deploy.flows.refresh import RefreshRequest
    from aegis_deploy.flows.refresh import refresh as run
    from aegis_deploy.model.database.dataset import short

    if load_only and (source is None or keep is not None):
        raise typer.BadParameter("--load-only needs --from, and drops nothing: no --keep")
    if newest and source is None:
        raise typer.BadParameter("--newest needs --from, below which data sets lie")
    out = output_of(context)
    place = None
    if source is not None:
        place = newest_below(source) if newest else storage_at(source)
    if place is not None and newest:
        out.show(f"the newest data set is in {place.shown}")
    request = RefreshRequest(
        source=place,
        load_only=load_only,
        keep=keep,
        yes=yes,
        force=force,
        wait_seconds=seconds(wait_lock),
        policy_packs=tuple(str(path.resolve()) for path in policy_pack or ()),
    )
    report = run(open_flow(context, stack, directory, force=force), request)
    out.document(report.as_json())
    if report.deployed is not None:
        tell(report.deployed, out)
        out.show(f"it works on data set {short(report.name)}")
