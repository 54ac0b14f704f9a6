"""The command `aegis`: which commands there are, and how each of them ends.

Nothing here or in :mod:`cli.commands` imports what is slow to import before a command runs.
"""

from __future__ import annotations

import atexit
import errno
import gc
import os
import sys
import traceback
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import NamedTuple

import typer
from typer.main import get_command

from aegis_deploy.cli.advice import named, stack_of
from aegis_deploy.cli.commands.options import Running, exit_codes
from aegis_deploy.common.console import Output
from aegis_deploy.common.errors import AegisError, ExitCode
from aegis_deploy.common.signals import Interrupted, Signals

NAME = "aegis"
_DEBUG = "AEGIS_DEBUG"

# The interpreter looks through everything once more when it ends: a tenth of a second for nothing.
atexit.register(gc.freeze)

_PLAIN_HELP = None
"""Typer's markup mode: plain help starts in half the time and reads the same in a pipe."""

_COMPLETING = f"_{NAME.upper()}_COMPLETE"
"""The variable in which a shell asks for a completion."""
_ONLY_LISTS: tuple[list[str], ...] = ([], ["--help"], ["-h"])
"""The command lines that list the commands and run none."""
_HELP = {"help_option_names": ["--help", "-h"]}


class _Bound(NamedTuple):
    """A command: its words, where its function is, and how it may end."""

    words: str
    module: str
    codes: tuple[ExitCode, ...]
    hidden: bool = False

    @property
    def function(self) -> Callable[..., None]:
        """Its function, imported when it is asked for."""
        name = self.words.rpartition(" ")[2]
        found: Callable[..., None] = getattr(
            import_module(f"aegis_deploy.cli.commands.{self.module}"), name
        )
        return found


_BACK = (
    ExitCode.OK,
    ExitCode.NOT_ROLLED_BACK,
    ExitCode.REFUSED,
    ExitCode.INTERRUPTED,
)
"""Going back is what was asked for: done, it is 0, also where something stays that holds data."""
_RELEASE = (*_BACK, ExitCode.ROLLED_BACK)
"""Going forward was asked for, and a rollback is not that."""
_LOOK = (ExitCode.OK, ExitCode.REFUSED)

COMMANDS: tuple[_Bound, ...] = (
    _Bound("deploy", "deploy", _RELEASE),
    _Bound("preview", "preview", _LOOK),
    _Bound("rollback", "rollback", _BACK),
    _Bound("promote", "promote", _RELEASE),
    _Bound("history", "history", _LOOK),
    _Bound("show", "show", _LOOK),
    _Bound("report", "report", _LOOK),
    _Bound("diff", "diff", _LOOK),
    _Bound("recover", "recover", _BACK),
    _Bound("status", "status", _LOOK),
    _Bound("drift", "drift", (*_BACK, ExitCode.DIFFERENT)),
    _Bound(
        "migrate contract",
        "migrate",
        (*_LOOK, ExitCode.NOT_ROLLED_BACK, ExitCode.INTERRUPTED),
    ),
    _Bound("migrate rehearse", "migrate", (*_LOOK, ExitCode.GATE_FAILED, ExitCode.INTERRUPTED)),
    _Bound("gate check", "gate", (*_LOOK, ExitCode.GATE_FAILED)),
    _Bound("data plan", "data_sample", _LOOK),
    _Bound("data sample", "data_sample", (*_LOOK, ExitCode.INTERRUPTED)),
    _Bound("data verify", "data_sample", _LOOK),
    _Bound("data load", "data_load", (*_LOOK, ExitCode.INTERRUPTED)),
    _Bound("data check", "data_check", (*_LOOK, ExitCode.DIFFERENT)),
    _Bound("data refresh", "data_refresh", _RELEASE),
    _Bound("data mock", "data_mock", (*_LOOK, ExitCode.INTERRUPTED)),
    _Bound("github comment", "github", _LOOK),
    _Bound("github issue", "github", _LOOK),
    _Bound("config restore", "config", _LOOK),
    _Bound("guard", "guard", _BACK, hidden=True),
)
"""The commands, in the order of the help."""

_GROUPS = {
    "config": "The stack's settings file and what runs.",
    "gate": "The conditions a release has to meet.",
    "data": "Masked samples of a database, and made-up rows.",
    "migrate": "The database of what runs.",
    "github": "What a pipeline leaves on GitHub.",
}


def build(*, only_list: bool = False) -> typer.Typer:
    """Bind all commands.

    Args:
        only_list: Whether they are only to be listed: Typer evaluates every annotation of what it
            binds, which takes as long as everything else.
    """
    app = typer.Typer(
        name=NAME,
        help="Deploy behind a gate, roll back exactly, recover after a death. "
        "For any Pulumi program on Kubernetes.",
        epilog=exit_codes(*ExitCode),
        no_args_is_help=True,
        rich_markup_mode=_PLAIN_HELP,
        pretty_exceptions_enable=False,
        context_settings=_HELP,
    )
    groups: dict[str, typer.Typer] = {}
    for bound in COMMANDS:
        group, _, name = bound.words.rpartition(" ")
        if group and group not in groups:
            groups[group] = typer.Typer(
                name=group,
                help=_GROUPS[group],
                no_args_is_help=True,
                rich_markup_mode=_PLAIN_HELP,
            )
            app.add_typer(groups[group])
        function = _named(bound.function) if only_list else bound.function
        bind = groups[group] if group else app
        bind.command(name, epilog=exit_codes(*bound.codes), hidden=bound.hidden)(function)

    # With one command left, Typer would drop its name.
    @app.callback()
    def _commands() -> None:
        pass

    return app


def build_one(bound: _Bound) -> typer.Typer:
    """Bind one command alone: as a group's member it would take twice as long to start."""
    app = typer.Typer(
        add_completion=False, rich_markup_mode=_PLAIN_HELP, pretty_exceptions_enable=False
    )
    app.command(epilog=exit_codes(*bound.codes), context_settings=_HELP)(bound.function)
    return app


def chosen(arguments: Sequence[str]) -> tuple[_Bound, list[str]] | None:
    """Return the command whose words a command line begins with, and the rest of the line."""
    for bound in COMMANDS:
        words = bound.words.split()
        if list(arguments[: len(words)]) == words:
            return bound, list(arguments[len(words) :])
    return None


def _named(function: Callable[..., None]) -> Callable[[], None]:
    """A command with its help alone; it cannot be run."""

    def command() -> None:
        raise NotImplementedError(function.__name__)

    command.__doc__ = function.__doc__
    return command


def main(arguments: Sequence[str] | None = None, *, output: Output | None = None) -> int:
    """Run `aegis` and return its exit code.

    Args:
        arguments: The command line without the program's name; None takes the process's own.
        output: Where to write; None means the process's own streams.
    """
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    out = output or Output()
    signals = Signals()
    with signals.installed():
        try:
            code = _run(arguments, Running(out, signals))
        except AegisError as error:
            return _fail(error, out, arguments)
        except Interrupted as signal:
            return _fail(_interrupted(str(signal)), out, arguments)
        except BrokenPipeError:
            # Whoever read has seen enough; nothing more can be said there.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return ExitCode.OK
        except OSError as error:
            return _fail(_machine_fault(error), out, arguments)
        except Exception as error:
            return _fail_on(error, out, arguments)
    return int(code or ExitCode.OK)


def _run(arguments: Sequence[str], running: Running) -> int | None:
    completing = _COMPLETING in os.environ
    one = None if completing else chosen(arguments)
    if one is not None:
        bound, rest = one
        app, path = build_one(bound), f"{NAME} {bound.words}"
    else:
        only_list = not completing and list(arguments) in _ONLY_LISTS
        app, path, rest = build(only_list=only_list), NAME, list(arguments)
    code: int | None = get_command(app).main(
        rest, prog_name=path, standalone_mode=False, obj=running
    )
    return code


def _fail(error: AegisError, out: Output, arguments: Sequence[str]) -> int:
    """Print an error, whose advice is about the stack that was named."""
    error.next = named(error.next, stack_of(arguments))
    return out.fail(error)


def _interrupted(signal: str) -> AegisError:
    return AegisError(
        what=f"stopped by {signal}",
        state="nothing was being changed just then; what was done before stays",
        next="aegis status",
        code=ExitCode.INTERRUPTED,
    )


def _machine_fault(error: OSError) -> AegisError:
    """Word what the machine refused: a full disk, a file that is somebody else's."""
    full = error.errno in (errno.ENOSPC, errno.EDQUOT)
    trace = "".join(traceback.format_exception(error)) if os.environ.get(_DEBUG) else ""
    where = f"{error.filename}: " if error.filename else ""
    return AegisError(
        what="a disk is full" if full else "a file or a connection that is needed cannot be used",
        why=trace or f"{where}{error.strerror or error}",
        state="as it was left; what serves, serves on",
        next="make room where the state is and in the temporary directory, then: aegis recover"
        if full
        else "mend that, then: aegis recover",
        code=ExitCode.NOT_ROLLED_BACK,
    )


def _fail_on(error: Exception, out: Output, arguments: Sequence[str]) -> int:
    """Print an error that is no AegisError: a wrong command line, or a fault of ours."""
    if type(error).__name__ == "NoArgsIsHelpError":
        out.say(str(error))
        return ExitCode.USAGE
    if hasattr(error, "format_message") and hasattr(error, "exit_code"):
        out.json = out.json or "--json" in arguments
        context = getattr(error, "ctx", None)
        path = context.command_path if context is not None else NAME
        return out.fail(
            AegisError(
                what=error.format_message(),
                next=f"{path} --help",
                code=ExitCode.USAGE,
            )
        )
    trace = "".join(traceback.format_exception(error)) if os.environ.get(_DEBUG) else ""
    ours = AegisError(
        what="aegis itself failed; this is a fault of its own",
        why=trace or f"{type(error).__name__}: {error}",
        state="unknown",
        next=f"aegis recover; then report it, with what {_DEBUG}=1 prints",
        code=ExitCode.NOT_ROLLED_BACK,
    )
    return _fail(ours, out, arguments)


if __name__ == "__main__":
    sys.exit(main())
