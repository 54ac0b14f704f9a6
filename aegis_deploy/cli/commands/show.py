"""`aegis show`: one release, with its settings and what it consists of. Secrets are masked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from aegis_deploy.cli.commands.options import HERE, Directory, Json, Stack, output_of

if TYPE_CHECKING:
    from aegis_deploy.common.console import Output
    from aegis_deploy.history.inspection import Shown


def render(shown: Shown, out: Output) -> None:
    """Show a release."""
    out.document(shown.as_json())
    release, deployed = shown.entry.release, shown.entry.deployed
    lasted = ""
    if release.ended:
        # A clock that was set back meanwhile leaves an end before the beginning.
        lasted = f", {max(0, round((release.ended - release.started).total_seconds()))} s"
    changes = ", ".join(f"{count} {op}" for op, count in sorted(release.changes.items()))
    facts = (
        ("release", f"{release.number} of {shown.stack}: {release.operation}, {release.result}"),
        ("notes", shown.entry.notes),
        ("message", release.message),
        ("started", f"{release.started:%Y-%m-%d %H:%M:%S} UTC{lasted}"),
        ("who", release.who),
        ("commit", release.git_commit),
        ("version", deployed.version),
        ("image", deployed.image_digest),
        ("schema", shown.entry.schema),
        ("data set", deployed.dataset),
        ("changes", changes),
    )
    for name, fact in facts:
        if fact:
            out.show(f"{name:<9} {fact}")
    if shown.settings:
        out.show("settings")
        for key, value in shown.settings.items():
            out.show(f"  {key} = {value}")
    if shown.resources:
        out.show("resources")
        rows = [(f"  {item.type}", item.name, item.id) for item in shown.resources]
        out.table(("  type", "name", "id"), rows)
    if shown.damage:
        out.warn(shown.damage)


def show(
    context: typer.Context,
    number: Annotated[int, typer.Argument(help="The release's number, as in the history.")],
    stack: Stack = None,
    directory: Directory = HERE,
    *,
    json: Json = False,  # noqa: ARG001 - its callback acts on it
) -> None:
    """Show one release: settings, images, resources. Secrets are masked."""
    from aegis_deploy.history.inspection import inspect
    from aegis_deploy.stack.session import Session

    render(inspect(Session.open(stack, directory), number), output_of(context))
