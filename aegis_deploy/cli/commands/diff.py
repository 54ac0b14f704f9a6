"""`aegis diff`: what differs between two releases. Secrets are masked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from aegis_deploy.cli.commands.options import HERE, Directory, Json, Stack, output_of
from aegis_deploy.common.excerpt import excerpts

if TYPE_CHECKING:
    from aegis_deploy.common.console import Output
    from aegis_deploy.history.compare import Compared
    from aegis_deploy.history.diff import Difference

_SIGNS = {"added": "+", "removed": "-", "changed": "~"}


def render(compared: Compared, out: Output) -> None:
    """Show what differs."""
    out.document(compared.as_json())
    between = f"releases {compared.before} and {compared.after} of {compared.stack}"
    if not compared:
        out.show(f"{between} do not differ")
    if compared.settings:
        out.show("settings")
        for setting in compared.settings:
            out.show(_line(setting, "  "))
    if compared.images:
        out.show("images")
        for image in compared.images:
            out.show(f"  {_SIGNS[image.change]} {image.what}")
    for schema in compared.schema:
        out.show(_line(schema, ""))
    if compared.resources:
        out.show("resources")
        for resource in compared.resources:
            out.show(f"  {_SIGNS[resource.change]} {resource.type} {resource.name}")
            for item in resource.properties:
                out.show(_line(item, "      "))
    if compared.partial:
        out.warn(compared.partial)


def _line(item: Difference, indent: str) -> str:
    before, after = excerpts(item.before, item.after)
    values = {
        "added": after,
        "removed": before,
        "changed": f"{before} -> {after}",
    }
    return f"{indent}{_SIGNS[item.change]} {item.what}: {values[item.change]}"


def diff(
    context: typer.Context,
    before: Annotated[int, typer.Argument(metavar="A", help="One release's number.")],
    after: Annotated[int, typer.Argument(metavar="B", help="The other's.")],
    stack: Stack = None,
    directory: Directory = HERE,
    *,
    json: Json = False,  # noqa: ARG001 - its callback acts on it
) -> None:
    """Say what differs between two releases: settings, images, resources. Secrets are masked."""
    from aegis_deploy.history.compare import compare
    from aegis_deploy.stack.session import Session

    render(compare(Session.open(stack, directory), before, after), output_of(context))
