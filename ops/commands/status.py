"""`aegis status`: how a stack is just now."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from ops.commands.options import HERE, Directory, Json, Stack, open_actions, output_of

if TYPE_CHECKING:
    from ops.actions import Actions
    from ops.output import Output
    from ops.status import Live, Status


def inspect(actions: Actions) -> Status:
    """Look at a stack; a cluster that does not answer is part of what is found."""
    from ops import locks
    from ops.cluster import ApiError
    from ops.errors import AegisError
    from ops.status import Status, look

    release = next((it for it in actions.releases() if it.current), None)
    live: tuple[Live, ...] = ()
    unreachable = ""
    try:
        live = look(actions.connected(), actions.workloads())
    except ApiError as error:
        unreachable = str(error)
    except AegisError as error:
        unreachable = f"{error.what}: {error.why}"
    return Status(
        stack=actions.stack,
        release=release,
        deployed=None if release is None else actions.deployed(release),
        live=live,
        unreachable=unreachable,
        holders=tuple(locks.holders(actions.session)),
    )


def render(status: Status, out: Output) -> None:
    """Show a stack's state."""
    out.document(status.as_json())
    for line in status.lines():
        out.show(line)


def status(
    context: typer.Context,
    stack: Stack = None,
    directory: Directory = HERE,
    *,
    json: Json = False,  # noqa: ARG001 - its callback acts on it
) -> None:
    """Show what runs now: the release, its pods, the last warnings, who works on the stack."""
    render(inspect(open_actions(context, stack, directory)), output_of(context))
