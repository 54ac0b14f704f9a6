"""`aegis deploy`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from aegis_deploy.cli.commands.options import (
    HERE,
    DetachGuard,
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

if TYPE_CHECKING:
    from aegis_deploy.common.console import Output
    from aegis_deploy.flows.deploy import DeployReport


def deploy(
    context: typer.Context,
    *,
    stack: Stack = None,
    directory: Directory = HERE,
    json: Json = False,  # noqa: ARG001 - its callback has seen it
    image_digest: Annotated[
        str | None,
        typer.Option(
            metavar="DIGEST",
            help="Deploy this image, sha256:..., and build none: what promotes a release.",
        ),
    ] = None,
    message: Annotated[
        str, typer.Option("--message", "-m", help="What history says about it.")
    ] = "",
    yes: Yes = False,
    no_rollback: Annotated[
        bool, typer.Option("--no-rollback", help="Leave a failed release as it is.")
    ] = False,
    force: Annotated[
        bool,
        typer.Option(
            "--force",
            help="Deploy also what was rolled back before, or what the registry does not have "
            "or does not answer for.",
        ),
    ] = False,
    policy_pack: PolicyPack = None,
    wait_lock: WaitLock = "0",
    detach_guard: DetachGuard = False,
) -> None:
    """Deploy what the program declares, behind its gate.

    Previews it, asks, updates the stack while its rollout is watched, lets the gate judge it and
    marks it as verified. A release that fails is replaced by the last verified one.
    """
    wait = seconds(wait_lock)
    flow = open_flow(
        context, stack, directory, force=force, first=lambda session: session.prepare_program()
    )
    from aegis_deploy.flows.deploy import DeployRequest
    from aegis_deploy.flows.deploy import deploy as run

    request = DeployRequest(
        image_digest=image_digest,
        message=message,
        yes=yes,
        roll_back=not no_rollback,
        force=force,
        wait_seconds=wait,
        guard=detach_guard,
        policy_packs=tuple(str(path.resolve()) for path in policy_pack or ()),
    )
    tell(run(flow, request), output_of(context))


def tell(report: DeployReport, out: Output) -> None:
    """Show what a deploy came to."""
    out.document(report.as_json())
    release = report.release
    number = "" if release is None else f" is release {release.number}"
    version = f" ({report.deployed.version})" if report.deployed.version else ""
    if report.verdict is not None:
        for line in report.verdict.lines():
            out.show(line)
    done = "deployed" if report.changed else "nothing to change"
    verified = report.verdict is not None or (release is not None and release.verified)
    mark = ", verified" if verified else ", NOT verified"
    out.show(f"{done}: what runs{number}{version}{mark}")
