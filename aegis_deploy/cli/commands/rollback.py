"""`aegis rollback`."""

from __future__ import annotations

from typing import Annotated

import typer

from aegis_deploy.cli.commands.options import (
    HERE,
    DetachGuard,
    Directory,
    Json,
    Stack,
    WaitLock,
    Yes,
    open_flow,
    output_of,
    seconds,
)


def rollback(
    context: typer.Context,
    *,
    stack: Stack = None,
    directory: Directory = HERE,
    json: Json = False,  # noqa: ARG001 - its callback has seen it
    to: Annotated[
        int | None,
        typer.Option(
            metavar="NUMBER",
            help="The release, as `aegis history` numbers it; without it, the last verified one "
            "before the present.",
            show_default=False,
        ),
    ] = None,
    preview: Annotated[
        bool, typer.Option("--preview", help="Show what it would do, and do nothing.")
    ] = False,
    yes: Yes = False,
    keep: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KEY",
            help="Keep the current value of a secret, as the preview names it; may be repeated.",
            show_default=False,
        ),
    ] = None,
    restore_providers: Annotated[
        bool,
        typer.Option(
            "--restore-providers",
            help="Have providers connect as they did then: their kubeconfig, tokens, endpoints. "
            "Without it they connect as they do now.",
        ),
    ] = False,
    allow_data_loss: Annotated[
        bool,
        typer.Option(
            "--allow-data-loss",
            help="Delete also what holds data, such as a volume claim, when the release does not "
            "have it; and go on although one of its own has to be replaced.",
        ),
    ] = False,
    wait_lock: WaitLock = "0",
    detach_guard: DetachGuard = False,
) -> None:
    """Restore a release exactly: images, settings, secrets, everything it declared.

    What was recorded is applied again as a new update, and judged by the gate. Nothing is built
    and no old code runs. What is rolled back is remembered and not deployed again by mistake.
    """
    wait = seconds(wait_lock)
    flow = open_flow(context, stack, directory, first=lambda session: session.prepare_key())
    from aegis_deploy.flows.rollback import RollbackRequest
    from aegis_deploy.flows.rollback import rollback as run
    from aegis_deploy.replay.choices import Choices

    request = RollbackRequest(
        to=to,
        preview=preview,
        yes=yes,
        choices=Choices(
            keep=keep or (),
            restore_providers=restore_providers,
            allow_data_loss=allow_data_loss,
        ),
        wait_seconds=wait,
        guard=detach_guard,
    )
    out = output_of(context)
    report = run(flow, request)
    out.document(report.as_json())
    if report.verdict is None:
        return
    for line in report.verdict.lines():
        out.show(line)
    number = "" if report.release is None else f" as release {report.release}"
    version = f" ({report.deployed.version})" if report.deployed.version else ""
    out.show(f"rolled back to release {report.target.number}{version}{number}, verified")
    out.say(
        "the stack's settings file still says what was rolled back; "
        "`aegis config restore` brings it in line"
    )
