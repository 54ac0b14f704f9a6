"""`aegis promote`: the image that one stack verified, deployed to another."""

from __future__ import annotations

from typing import Annotated

import typer

from aegis_deploy.cli.commands.deploy import tell
from aegis_deploy.cli.commands.options import (
    HERE,
    Directory,
    Json,
    PolicyPack,
    WaitLock,
    Yes,
    open_flow,
    output_of,
    seconds,
)


def promote(
    context: typer.Context,
    source: Annotated[str, typer.Argument(help="The stack that verified the image.")],
    target: Annotated[str, typer.Argument(help="The stack that is to run it.")],
    *,
    directory: Directory = HERE,
    json: Json = False,  # noqa: ARG001 - its callback has seen it
    image_digest: Annotated[
        str | None,
        typer.Option(
            metavar="SHA256",
            help="This image, once SOURCE has verified it; without it, what SOURCE runs now.",
            show_default=False,
        ),
    ] = None,
    preview: Annotated[
        bool, typer.Option("--preview", help="Show what it would do, and do nothing.")
    ] = False,
    yes: Yes = False,
    message: Annotated[
        str, typer.Option("--message", "-m", help="What history says about it.")
    ] = "",
    unverified: Annotated[
        bool, typer.Option("--unverified", help="Promote also what no gate of SOURCE has passed.")
    ] = False,
    force: Annotated[
        bool,
        typer.Option("--force", help="Deploy also what was rolled back from the target before."),
    ] = False,
    policy_pack: PolicyPack = None,
    wait_lock: WaitLock = "0",
) -> None:
    """Deploy to one stack the image that another one verified, with the target's own settings.

    Shows what else differs between the two, builds nothing, and is judged by the target's gate: a
    release that fails is replaced by the target's last verified one.
    """
    from aegis_deploy.common.errors import AegisError, ExitCode

    if source == target:
        raise AegisError(
            what=f"{source} cannot be promoted to itself",
            next="aegis promote SOURCE TARGET, such as: aegis promote staging production",
            code=ExitCode.USAGE,
        )
    wait = seconds(wait_lock)
    flows = (
        open_flow(context, source, directory),
        open_flow(context, target, directory, first=lambda session: session.prepare_program()),
    )
    from aegis_deploy.flows.promote import PromoteRequest
    from aegis_deploy.flows.promote import promote as run

    request = PromoteRequest(
        image_digest=image_digest,
        preview=preview,
        yes=yes,
        unverified=unverified,
        force=force,
        message=message,
        wait_seconds=wait,
        policy_packs=tuple(str(path.resolve()) for path in policy_pack or ()),
    )
    report = run(*flows, request)
    out = output_of(context)
    if preview:
        out.document(report.as_json())
        return
    tell(report, out)
