"""`aegis gate check`: the gate, run against what runs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from aegis_deploy.cli.commands.options import HERE, Directory, Json, Stack, open_flow, output_of
from aegis_deploy.common.errors import AegisError, ExitCode

if TYPE_CHECKING:
    from aegis_deploy.common.console import Output
    from aegis_deploy.model.gate_settings import GateSettings
    from aegis_deploy.model.verdict import Verdict


def changed(settings: GateSettings, changes: Sequence[str]) -> GateSettings:
    """Return a gate's settings with some of them changed.

    Args:
        settings: As the stack has them.
        changes: ``name=value`` each, the names as the configuration has them.

    Raises:
        AegisError: One of them is no setting, or not a value of one.
    """
    from dataclasses import replace

    from aegis_deploy.model.gate_settings import FIELDS, gate_settings

    given: dict[str, Any] = {}
    for change in changes:
        name, equals, value = change.partition("=")
        if not equals:
            raise AegisError(
                what=f"{change!r} is no change of a setting",
                why="a change is name=value, such as p99Ms=300",
                next="aegis gate check --help",
                code=ExitCode.USAGE,
            )
        given[name] = value
    try:
        read = gate_settings(given)
    except ValueError as error:
        raise AegisError(
            what="the gate cannot be changed so",
            why=str(error),
            next=f"the settings are: {', '.join(FIELDS)}",
            code=ExitCode.USAGE,
        ) from error
    attributes = [FIELDS[name].attribute for name in given]
    return replace(settings, **{name: getattr(read, name) for name in attributes})


def render(stack: str, verdict: Verdict, out: Output) -> None:
    """Show a verdict.

    Raises:
        AegisError: It did not pass.
    """
    data = {"stack": stack, "gate": verdict.as_json()}
    if not verdict.passed:
        raise AegisError(
            what=f"{stack} does not pass its gate",
            why="\n".join([verdict.reason, *verdict.evidence, *verdict.seen()]),
            state=f"{verdict.serving}; nothing was changed",
            next=f"aegis status --stack {stack}",
            code=ExitCode.GATE_FAILED,
            details=data,
        )
    out.document(data)
    for line in verdict.lines():
        out.show(line)


def check(
    context: typer.Context,
    stack: Stack = None,
    directory: Directory = HERE,
    changes: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="NAME=VALUE",
            help="Try another value of a setting of the gate, such as p99Ms=300; may be repeated.",
        ),
    ] = None,
    *,
    json: Json = False,  # noqa: ARG001 - its callback acts on it
) -> None:
    """Run the gate against what runs, to see or to tune it. Nothing is changed."""
    from aegis_deploy.flows import workloads

    flow = open_flow(context, stack, directory)
    recorded = flow.gate_runner.gate(flow.program_update.settings())
    settings = changed(recorded, changes or ())
    verdict = flow.gate_runner.judge(workloads.of_state(flow), settings, dry=True)
    render(flow.session.name, verdict, output_of(context))
