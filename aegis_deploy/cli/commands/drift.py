"""`aegis drift`: what was changed in the cluster behind Pulumi's back, and putting it back."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

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

if TYPE_CHECKING:
    from aegis_deploy.common.console import Output
    from aegis_deploy.flows.drift.drift_report import DriftReport


def render(drift: DriftReport, out: Output, *, markdown: bool) -> None:
    """Show what drifted."""
    out.document(drift.as_json())
    for line in [drift.markdown()] if markdown else drift.lines():
        out.show(line)


def drift(
    context: typer.Context,
    *,
    stack: Stack = None,
    directory: Directory = HERE,
    json: Json = False,  # noqa: ARG001 - its callback acts on it
    fix: Annotated[
        bool, typer.Option("--fix", help="Put everything back as the last release declared it.")
    ] = False,
    yes: Yes = False,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print Markdown.")] = False,
    wait_lock: WaitLock = "0",
) -> None:
    """Show what was changed in the cluster behind Pulumi's back: which field, by whom, when.

    What control loops own, such as an autoscaler's replicas, is no drift.
    """
    from aegis_deploy.flows.drift.drift_fix import put_back
    from aegis_deploy.flows.drift.drift_report import find_drift, require_all

    flow = open_flow(context, stack, directory)
    out = output_of(context)
    found = find_drift(flow)
    if not found.found or not fix:
        render(found, out, markdown=markdown)
        if found.found:
            raise typer.Exit(ExitCode.DIFFERENT)
        require_all(found)
        return
    for line in found.lines():
        out.show(line)
    require_all(found)
    if not yes and not out.confirm(f"Put {flow.session.name} back as it was declared?"):
        raise AegisError(what="not confirmed", state="nothing was changed")
    put_back(flow, seconds(wait_lock))
    left = find_drift(flow)
    out.document(replace(found, fixed=not left.found).as_json())
    if left.found:
        raise AegisError(
            what=f"{flow.session.name} is not wholly back as it was declared",
            why="\n".join(left.lines()),
            state="the last release is restored; what is named is still different",
            next="somebody or something keeps changing it: "
            f"aegis drift --stack {flow.session.name}",
            code=ExitCode.DIFFERENT,
        )
    out.show("all of it is back as it was declared")
