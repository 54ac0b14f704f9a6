"""The project's own program, served to the CLI by a host that is ready before it is asked.

The CLI starts a language host in each of its runs, and that one a Python, which takes a second to
load Pulumi's SDK and a provider's package. Where the program is Python in a virtual environment,
the host is one of ours (`language_host`): it loads them once, while everything else is looked at,
for the preview and for the update. Any other program is left to the CLI.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import threading
import weakref
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from aegis_deploy.common.errors import AegisError
from aegis_deploy.pulumi_cli.project import Project
from aegis_deploy.pulumi_cli.sdk_packages import required_plugins
from aegis_deploy.stack import language_host

EXECUTOR = "pulumi-language-python-exec"
_HOST = "pulumi-language-python"
_KNOWN = {"toolchain", "virtualenv"}
_SDK = "lib/python*/site-packages/pulumi/runtime/__init__.py"


class ProgramHost:
    """A host of a project's program.

    Args:
        directory: The project's directory.
        virtualenv: What the program is run in.
        executor: What runs a program.
        environment: The whole environment of the CLI.
    """

    def __init__(
        self, directory: Path, virtualenv: Path, executor: str, environment: Mapping[str, str]
    ) -> None:
        self._virtualenv, self._executor = virtualenv, executor
        self._plugins = [
            {"name": it.name, "version": it.version, "server": it.server}
            for it in required_plugins(virtualenv)
        ]
        self._asking = threading.Lock()
        here, there = socket.socketpair()
        with there, ExitStack() as failing:
            failing.enter_context(here)
            self._process = subprocess.Popen(
                [
                    *(str(virtualenv / "bin" / "python"), "-u", language_host.__file__),
                    str(there.fileno()),
                ],
                cwd=directory,
                env=in_virtualenv(virtualenv, environment),
                stdin=subprocess.DEVNULL,
                # What a program prints the engine shows; nobody else has anything to say.
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                pass_fds=[there.fileno()],
                # So that a terminal's Ctrl-C is the engine's to tell.
                start_new_session=True,
            )
            failing.pop_all()
        self._control, self._answers = here, here.makefile("rb")
        self._end = weakref.finalize(self, _end, self._control, self._answers, self._process)

    @contextmanager
    def serve(self, environment: Mapping[str, str]) -> Iterator[int]:
        """Serve the program for a run of the CLI while the block runs; yields the port.

        Args:
            environment: The whole environment of that run.

        Raises:
            AegisError: The host is gone.
        """
        asked = {
            "executor": self._executor,
            "plugins": self._plugins,
            "environment": in_virtualenv(self._virtualenv, environment),
        }
        answer = b""
        with self._asking, suppress(OSError):
            self._tell(asked)
            answer = self._answers.readline()
        if not answer:
            raise AegisError(
                what="the program could not be run",
                why=f"its language host ended, with the exit code {self._process.wait()}",
                state="it was not begun",
                next="pulumi preview: the CLI's own host runs it, and says what it lacks",
            )
        try:
            yield int(answer)
        finally:
            with self._asking, suppress(OSError):
                self._tell({"over": int(answer)})
                self._answers.readline()

    def _tell(self, message: Mapping[str, Any]) -> None:
        self._control.sendall(json.dumps(message).encode() + b"\n")

    def stop(self) -> None:
        """End it."""
        self._end()


def _end(control: socket.socket, answers: IO[bytes], process: subprocess.Popen[bytes]) -> None:
    # It runs no program any more, and may take a while to hear of it: it may be loading.
    process.kill()
    answers.close()
    control.close()
    process.wait()


def host_of(project: Project, cli: str, environment: Mapping[str, str]) -> ProgramHost | None:
    """Start a host for a project's program; None: it is for the CLI to run.

    Args:
        project: The project.
        cli: Where the CLI is.
        environment: The whole environment of the CLI.
    """
    virtualenv = virtualenv_of(project)
    executor = executor_of(cli, environment)
    if virtualenv is None or executor is None or not hasattr(socket, "send_fds"):
        return None
    try:
        return ProgramHost(project.directory, virtualenv, executor, environment)
    except OSError:  # The CLI says what is wrong with that Python.
        return None


def virtualenv_of(project: Project) -> Path | None:
    """Return the virtual environment that a project's program is run in.

    None where a host of ours cannot do what the official one does: another language, another
    toolchain than pip, an option that is not known here, Pulumi's SDK missing (the official host
    says what to do about it), a package that is made from a provider with a parameter.
    """
    if not isinstance(project.runtime, Mapping) or project.runtime.get("name") != "python":
        return None
    options = project.runtime.get("options")
    if not isinstance(options, Mapping) or set(options) - _KNOWN or not options.get("virtualenv"):
        return None
    if options.get("toolchain", "pip") != "pip":
        return None
    place = Path(project.directory, str(options["virtualenv"]))
    if not (place / "bin" / "python").is_file() or not any(place.glob(_SDK)):
        return None
    return None if any(it.parameterized for it in required_plugins(place)) else place


def executor_of(cli: str, environment: Mapping[str, str]) -> str | None:
    """Return the SDK's program that runs a Pulumi program; None where it is not found.

    It is where the official language host looks for it: on PATH, or beside that host.
    """
    path = environment.get("PATH")
    beside = (
        Path(program).resolve().with_name(EXECUTOR)
        for program in (shutil.which(_HOST, path=path), cli)
        if program
    )
    on_path = shutil.which(EXECUTOR, path=path)
    places = [*([Path(on_path)] if on_path else []), *beside]
    return next((str(it.resolve()) for it in places if it.is_file()), None)


def in_virtualenv(virtualenv: Path, environment: Mapping[str, str]) -> dict[str, str]:
    """Return the environment that a language host gives a program in a virtual environment."""
    found = {name: value for name, value in environment.items() if name != "PYTHONHOME"}
    search = [str(virtualenv / "bin"), found.get("PATH", "")]
    found["PATH"] = os.pathsep.join(part for part in search if part)
    found["VIRTUAL_ENV"] = str(virtualenv)
    return found
