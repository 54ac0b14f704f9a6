"""`aegis config restore`."""

from __future__ import annotations

from typing import Annotated

import typer

from aegis_deploy.cli.commands.options import HERE, Directory, Json, Stack, output_of


def restore(
    context: typer.Context,
    *,
    stack: Stack = None,
    directory: Directory = HERE,
    json: Json = False,  # noqa: ARG001 - its callback has seen it
    preview: Annotated[
        bool, typer.Option("--preview", help="Show what would change in the file.")
    ] = False,
) -> None:
    """Bring the stack's settings file in line with what runs.

    After a rollback the file still says what was rolled back. Only what differs is rewritten;
    comments stay, and secrets stay encrypted. Nothing is deployed.
    """
    from aegis_deploy.history import stack_history
    from aegis_deploy.stack import config_restore
    from aegis_deploy.stack.session import Session

    out = output_of(context)
    session = Session.open(stack, directory)
    done = config_restore.restore(session, stack_history.reading(session), preview=preview)
    out.document(done.as_json())
    for change in done.changes:
        out.show(f"  {change}")
    runs = f"release {done.release.number}, which runs"
    if not done.changes:
        out.show(f"{done.path} already says the same as {runs}")
    elif preview:
        out.show(f"{done.path} would be brought in line with {runs}")
    else:
        out.show(f"{done.path} says the same as {runs}")
