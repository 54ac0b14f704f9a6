"""`aegis preview`: what a change would do to the stacks, for the people who review it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from aegis_deploy.cli.commands.options import HERE, Directory, Json, PolicyPack, output_of
from aegis_deploy.common.errors import AegisError, ExitCode

if TYPE_CHECKING:
    from aegis_deploy.common.console import Output
    from aegis_deploy.model.events import Changes
    from aegis_deploy.model.routes.route_findings import RouteFindings
    from aegis_deploy.report.preview_summary import StackPreview
    from aegis_deploy.stack.session import Session


def look(
    stacks: Sequence[str | None], directory: Path, policy_packs: Sequence[Path] = ()
) -> list[StackPreview]:
    """Preview stacks, side by side; one that cannot be previewed says why.

    Args:
        stacks: Their names; None stands for the selected one.
        directory: The program's directory.
        policy_packs: Directories of policy packs to ask as well.
    """
    packs = [str(path.resolve()) for path in policy_packs]
    # Never more at once than the machine can run: a preview is all computation.
    with ThreadPoolExecutor(max(2, os.cpu_count() or 1)) as pool:
        return list(pool.map(lambda stack: _one(stack, directory, packs), stacks))


def _one(stack: str | None, directory: Path, packs: Sequence[str]) -> StackPreview:
    from aegis_deploy.history import schema_store
    from aegis_deploy.model.migration.schema_plan import ahead, dataset_of
    from aegis_deploy.operations import pending_revisions
    from aegis_deploy.report.preview_summary import StackPreview
    from aegis_deploy.stack.session import Session

    name = stack or ""
    try:
        session = Session.open(stack, directory)
        name = session.name
        with closing(session):
            changes = session.preview(policy_packs=packs)
        # Nobody is asked: a preview needs no cluster. A stack that was never made has no tags.
        database = None
        with suppress(AegisError):
            database = schema_store.read(session).of(dataset_of(changes.steps))
        foreseen = pending_revisions.look(
            session.directory, changes.steps, ahead(changes.steps, database)
        )
        return StackPreview(
            stack=name,
            changes=changes,
            database=database,
            foreseen=foreseen,
            routes=_routes(session, changes),
        )
    except AegisError as error:
        return StackPreview(stack=name or "the selected stack", error=error)


def _routes(session: Session, changes: Changes) -> RouteFindings:
    """Look at what leads in from outside, as a deploy does; a cluster may not answer here."""
    from aegis_deploy.drift.clusters import Clusters
    from aegis_deploy.operations import route_check
    from aegis_deploy.operations.cluster_settings import ClusterSettings

    clusters = Clusters(session, ClusterSettings(session).way)
    return route_check.look_at_update(session, clusters, changes.steps)


def render(previews: Sequence[StackPreview], out: Output, *, markdown: bool) -> None:
    """Show what the change would do."""
    from aegis_deploy.report import preview_summary

    out.document({"stacks": [it.as_json() for it in previews]})
    if markdown:
        out.show(preview_summary.markdown(previews))
        return
    for it in previews:
        for line in preview_summary.lines(it):
            out.show(line)


def preview(
    context: typer.Context,
    *,
    stack: Annotated[
        list[str] | None,
        typer.Option(
            "--stack",
            "-s",
            help="A stack; may be repeated. Without it, the one that was selected.",
            show_default=False,
        ),
    ] = None,
    directory: Directory = HERE,
    json: Json = False,  # noqa: ARG001 - its callback acts on it
    markdown: Annotated[
        bool, typer.Option("--markdown", help="Print Markdown, for a pull request.")
    ] = False,
    policy_pack: PolicyPack = None,
) -> None:
    """Show what a change would do: resources, images, replicas, what it costs, broken policies.

    Several stacks are previewed side by side. What replaces or deletes is named with what it means
    for the service and its data.
    """
    found = look(stack or [None], directory, policy_pack or ())
    render(found, output_of(context), markdown=markdown)
    if not all(it.good for it in found):
        raise typer.Exit(ExitCode.REFUSED)
