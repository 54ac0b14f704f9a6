"""The lab's commands, as the Makefile calls them: `python -m lab up|down|env|status|node`."""

from __future__ import annotations

import errno
import os
import shlex
import sys
from dataclasses import replace
from typing import Annotated, Any

import typer
from typer.main import get_command

from lab import (
    choices,
    contour,
    contour_manifests,
    database,
    images,
    ingress,
    lifecycle,
    node_commands,
    outage,
    packages,
    pki,
    plugin_cache,
    settings,
    stacks,
)
from lab.choices import Plugins
from lab.command import FREE_SPACE
from lab.daemon import Supervisor
from lab.errors import EXIT_FAILED, EXIT_INTERRUPTED, EXIT_OK, EXIT_USAGE, LabError
from lab.official import Choices
from lab.progress import Step
from lab.toolchain import BY_NAME, Toolchain

app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False)
app.add_typer(node_commands.app, name="node")
NAME = "python -m lab"
MACHINE_FAULTS = {errno.EACCES, errno.EDQUOT, errno.ENOSPC, errno.EPERM, errno.EROFS}
"""Error numbers that are no fault of the lab's code and deserve no traceback."""
PluginChoice = Annotated[
    str | None,
    typer.Option(
        "--plugins",
        help="`official`: refused when none can be had; `found`: those on this machine, else "
        "stand-ins; `standin`: stand-ins alone.",
    ),
]
ToolChoice = Annotated[
    str | None,
    typer.Option(
        "--tools",
        help="`official`: refused when they cannot be downloaded; `build`: built here.",
    ),
]


@app.callback()
def lab() -> None:
    """A real Kubernetes of one node or more, registry and Docker daemon, on this machine."""


@app.command()
def up(
    plugins: PluginChoice = None,
    tools: ToolChoice = None,
    deploy: Annotated[bool, typer.Option(help="Deploy the development stack.")] = True,
    nodes: Annotated[
        str | None,
        typer.Option(help="How many nodes; as many as there are unless given, at first one."),
    ] = None,
    way_in: Annotated[
        str | None,
        typer.Option(
            "--ingress",
            help="`contour`: an ingress controller and a Gateway; `none`: takes them away. As it "
            "is unless given, at first none.",
        ),
    ] = None,
) -> None:
    """Bring the lab up and deploy the development stack; quick when it is up already.

    Official releases that are missing are downloaded where the network allows it.
    """
    asked = Choices(choices.plugins(plugins), choices.tools(tools))
    lab_settings = settings.load(os.environ, settings.CHECKOUT)
    wanted = settings.node_count(nodes, "nodes=")
    if wanted is not None:
        lab_settings = replace(lab_settings, nodes=wanted)
    controller = choices.ingress(way_in, "ingress")
    if controller is not None:
        lab_settings = replace(lab_settings, ingress=controller)
    with lifecycle.exclusive(lab_settings):
        running = lifecycle.up(lab_settings, asked, deploy=deploy)
    if not deploy:
        typer.echo(f"\nThe lab is up ({running.seconds:.0f} s); nothing was deployed.")
        return
    typer.echo(
        f"\nThe lab is up ({running.seconds:.0f} s). aegis-api {running.outputs['version']} "
        f"(development) answers at {running.service}\n\n"
        f"  curl {running.service}/version      ask it\n"
        '  eval "$(make -s env)"               then plain pulumi, kubectl and docker use the lab\n'
        "  pulumi preview --stack development  what a change would do\n"
        "  make test                           all tests\n"
        "  make down                           stop all of it (purge=1: forget its state too)"
    )


@app.command()
def down(
    purge: Annotated[bool, typer.Option(help="Remove the lab's state and history too.")] = False,
) -> None:
    """Stop the lab; nothing of it stays on the machine but its state and its cache."""
    lab_settings = settings.load(os.environ, settings.CHECKOUT)
    with lifecycle.exclusive(lab_settings):
        lifecycle.down(lab_settings, purge=purge)
    left = f"builds and images stay in {lab_settings.cache}"
    kept = "its state is gone" if purge else f"its state stays in {lab_settings.state}"
    typer.echo(f"The lab is down; {kept}; {left}.")


@app.command("plugins")
def which_plugins(plugins: PluginChoice = None) -> None:
    """Say which plugins the lab takes on this machine; download and change nothing.

    When official plugins are asked for, it is refused where none is.
    """
    asked = choices.plugins(plugins)
    lab_settings = settings.load(os.environ, settings.CHECKOUT)
    if asked is Plugins.STAND_IN:
        plugin_cache.require_none_on_path(lab_settings)
    found = plugin_cache.find(lab_settings, stand_ins=asked is Plugins.STAND_IN)
    if asked is Plugins.OFFICIAL:
        plugin_cache.require_official(found)
    typer.echo("\n".join(plugin_cache.said(found)))


@app.command()
def restart(
    daemons: Annotated[list[str], typer.Argument(help="Such as apiserver, etcd, kubelet.")],
) -> None:
    """End some of the lab's daemons and start them again; wait until the node is ready."""
    lab_settings = settings.load(os.environ, settings.CHECKOUT)
    names = outage.known(daemons)
    with lifecycle.exclusive(lab_settings):
        outage.restart(lab_settings, *names)
    typer.echo(f"Started anew: {', '.join(names)}.")


@app.command()
def tool(name: Annotated[str, typer.Argument(help="Its name, such as actionlint.")]) -> None:
    """Build one tool from its pinned Go module, unless the cache has it, and print its path."""
    found = BY_NAME.get(name)
    if found is None:
        raise LabError(
            what=f"there is no tool {name}",
            why=f"known are {', '.join(sorted(BY_NAME))}",
            next="python -m lab tool actionlint",
            code=EXIT_USAGE,
        )
    lab_settings = settings.load(os.environ, settings.CHECKOUT)
    typer.echo(Toolchain(lab_settings).build(found, Step(f"build {name}")))


@app.command("postgres-image")
def postgres_image() -> None:
    """Make PostgreSQL's image unless it is there, push it to the lab, and print its reference."""
    typer.echo(images.push_postgres_image(settings.load(os.environ, settings.CHECKOUT)))


@app.command("data-image")
def data_image() -> None:
    """Make the image that takes samples, push it to the lab's registry, print it by its digest."""
    typer.echo(images.push_data_image(settings.load(os.environ, settings.CHECKOUT)))


@app.command("database")
def start_database(
    stop: Annotated[bool, typer.Option(help="End it instead; its data stay.")] = False,
) -> None:
    """Start a PostgreSQL outside the cluster, with TLS, and say where it is."""
    lab_settings = settings.load(os.environ, settings.CHECKOUT)
    if stop:
        database.stop(lab_settings)
        return
    server = database.start(lab_settings)
    typer.echo(
        f"postgresql://{database.SUPERUSER}@{server.host}:{database.PORT}/postgres\n"
        f"password of {database.SUPERUSER}: {database.password_file(lab_settings)}\n"
        f"authority: {server.authority}"
    )


@app.command()
def browser() -> None:
    """Install Chromium, with which the tests open reports; the lab needs none."""
    packages.browser()


@app.command()
def env() -> None:
    """Print the shell commands that make plain pulumi, kubectl and docker use the lab."""
    lab_settings = settings.load(os.environ, settings.CHECKOUT)
    exported = {**stacks.variables(lab_settings), "PATH": stacks.search_path(lab_settings)}
    lines = [f"export {name}={shlex.quote(value)}" for name, value in exported.items()]
    typer.echo("\n".join(["unset PULUMI_CONFIG_PASSPHRASE", *lines]))
    if not lifecycle.is_up(lab_settings):
        typer.echo("the lab is not up: make up", err=True)


@app.command("exec")
def execute(command: Annotated[list[str], typer.Argument(help="Program and arguments.")]) -> None:
    """Run a program with the lab's environment in this very process."""
    lab_settings = settings.load(os.environ, settings.CHECKOUT)
    environment = stacks.environment(lab_settings)
    try:
        os.execvpe(command[0], command, environment)  # noqa: S606 - no shell is what is wanted
    except OSError as error:
        raise LabError(what=f"could not run {command[0]}", why=str(error.strerror)) from error


@app.command()
def status() -> None:
    """Say whether the lab is up and which of its programs run; exit code 1 when it is not."""
    lab_settings = settings.load(os.environ, settings.CHECKOUT)
    supervisor = Supervisor(lab_settings)
    for name in supervisor.names():
        pid = supervisor.pid_of(name)
        typer.echo(
            f"{name:<36}{f'runs ({pid})' if pid else 'ended; ' + str(supervisor.log_of(name))}"
        )
    is_up = lifecycle.is_up(lab_settings)
    if ingress.is_there(lab_settings):
        pods = contour.ready(lab_settings) if is_up else 0
        typer.echo(f"{'ingress controller':<36}{_how_to_come_in(lab_settings, pods)}")
    typer.echo(f"The lab is {'up' if is_up else 'down'}.")
    raise typer.Exit(EXIT_OK if is_up else EXIT_FAILED)


def _how_to_come_in(lab_settings: settings.LabSettings, pods: int) -> str:
    if not pods:
        return f"{contour_manifests.NAME} is not ready"
    return (
        f"{contour_manifests.NAME} answers at {lab_settings.addresses.ingress}, for "
        f"*.{ingress.DOMAIN} with a certificate of {pki.authority_file(lab_settings)}"
    )


def main() -> None:
    """Run a command; errors a person can act on are printed here and nowhere else."""
    try:
        code = get_command(app).main(prog_name=NAME, standalone_mode=False)
    except LabError as error:
        code = _fail(error)
    except OSError as error:
        if error.errno not in MACHINE_FAULTS:
            raise
        code = _fail(_machine_fault(error))
    except Exception as error:
        # What Typer has to say of a command line.
        if not hasattr(error, "format_message"):
            raise
        # Of a command without words its help is all there is to say, and that is printed.
        code = _fail(_not_understood(error)) if error.format_message() else EXIT_USAGE
    if code == EXIT_INTERRUPTED:
        sys.stderr.write(
            "\ninterrupted: what was started still runs; `make up` goes on from there\n"
        )
    raise SystemExit(code or EXIT_OK)


def _fail(error: LabError) -> int:
    sys.stderr.write(f"\n{error}\n")
    return error.code


def _not_understood(error: Any) -> LabError:  # noqa: ANN401 - Typer has no public name for it
    command = error.ctx.command_path if getattr(error, "ctx", None) else NAME
    return LabError(what=error.format_message(), why="", next=f"{command} --help", code=EXIT_USAGE)


def _machine_fault(error: OSError) -> LabError:
    full = error.errno in (errno.ENOSPC, errno.EDQUOT)
    return LabError(
        what="the lab could not read or write a file it needs",
        why=f"{error.filename}: {error.strerror}" if error.filename else str(error.strerror),
        state="what was started before this still runs",
        next=FREE_SPACE if full else "mend that (another user's file?) and type the same again",
    )


if __name__ == "__main__":
    main()
