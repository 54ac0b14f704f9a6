"""`python -m lab node ...`: the lab's further nodes, added, stopped, cut off and taken away."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from typing import Annotated

import typer

from lab import lifecycle, nodes, settings
from lab.daemon import Supervisor
from lab.errors import EXIT_USAGE, LabError
from lab.node import Node
from lab.settings import LabSettings

app = typer.Typer(no_args_is_help=True, help="The lab's nodes beside the first one.")
Name = Annotated[str, typer.Argument(help="Such as aegis-lab-2, or 2 alone.")]
_TAINT = re.compile(r"[A-Za-z0-9][\w./-]{0,252}:(NoSchedule|PreferNoSchedule|NoExecute)")


@app.command("list")
def listed() -> None:
    """Say which nodes the lab has, in which zone each is, and how it is."""
    lab = settings.load(os.environ, settings.CHECKOUT)
    supervisor = Supervisor(lab)
    nodes.require_up(supervisor)
    for state in nodes.look(lab, supervisor):
        node = state.node
        words = {"True": "ready", "False": "not ready", "Unknown": "not heard of"}
        said = [words.get(state.ready, "not in the cluster")]
        if not state.runs:
            said.append("stopped")
        elif state.cut:
            said.append("link cut")
        if not state.schedulable:
            said.append("takes no new pods")
        typer.echo(f"{node.name:<14}{node.zone:<8}{node.address!s:<16}{', '.join(said)}")


@app.command()
def join(
    name: Annotated[str | None, typer.Argument(help="Its name; the next one unless given.")] = None,
    taint: Annotated[str, typer.Option(help="key:effect; what keeps pods off it.")] = "",
) -> None:
    """Add a node and wait until it is ready."""
    if taint and _TAINT.fullmatch(taint) is None:
        raise LabError(
            what=f"--taint {taint} cannot be used",
            why="a taint is key:effect, with NoSchedule, PreferNoSchedule or NoExecute",
            next="python -m lab node join --taint example.com/mine:NoSchedule",
            code=EXIT_USAGE,
        )
    lab = settings.load(os.environ, settings.CHECKOUT)
    with lifecycle.exclusive(lab):
        node = nodes.join(lab, Supervisor(lab), name, taint)
    typer.echo(f"{node.name} is ready, in zone {node.zone}, at {node.address}.")


@app.command()
def start(name: Name) -> None:
    """Start a node that was stopped or killed, mend its link, and wait until it is ready."""
    _with(name, lambda lab, supervisor, node: nodes.bring_up(lab, supervisor, [node]))
    typer.echo("It is ready.")


@app.command()
def stop(name: Name) -> None:
    """Shut a node down, as a machine is; its pods are told to end."""
    _with(name, lambda _, supervisor, node: nodes.stop(supervisor, node))
    typer.echo(f"It is off. python -m lab node start {name}")


@app.command()
def kill(name: Name) -> None:
    """Take the power from a node: nothing of it runs or answers from one moment to the next."""
    _with(name, lambda _, supervisor, node: nodes.kill(supervisor, node))
    typer.echo(f"It is off. python -m lab node start {name}")


@app.command()
def cut(name: Name) -> None:
    """Take down a node's link: its pods run on and nobody reaches them."""
    _with(name, lambda _, supervisor, node: nodes.cut(supervisor, node))
    typer.echo(f"Its link is cut. python -m lab node mend {name}")


@app.command()
def mend(name: Name) -> None:
    """Take up the link of a node that was cut off."""
    _with(name, lambda _, supervisor, node: nodes.mend(supervisor, node))
    typer.echo("Its link is up.")


@app.command()
def leave(name: Name) -> None:
    """Drain a node and take it away; one that is not ready is taken away at once."""
    _with(name, nodes.leave)
    typer.echo("It is gone.")


def _with(name: str, do: Callable[[LabSettings, Supervisor, Node], object]) -> None:
    lab = settings.load(os.environ, settings.CHECKOUT)
    with lifecycle.exclusive(lab):
        supervisor = Supervisor(lab)
        nodes.require_up(supervisor)
        do(lab, supervisor, nodes.named(lab, name))
