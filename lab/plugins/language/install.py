"""``pulumi install``: the virtual environment and the program's requirements."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from lab.plugins.children import Children
from lab.plugins.language.interpreter import Interpreter, ambient_python, virtualenv_path

_CHUNK: Final = 64 * 1024


class InstallFailed(Exception):  # noqa: N818
    """A step of the installation failed; its output has been streamed."""


def install(
    children: Children,
    *,
    root: str,
    program_directory: str,
    options: Mapping[str, Any],
) -> Iterator[bytes]:
    """Create the virtual environment when it is missing and install requirements.txt into it.

    Hashes in requirements.txt make pip refuse every package that is not listed with one.

    Args:
        children: Starts the steps.
        root: The project's directory.
        program_directory: Where the program and its requirements.txt are.
        options: ``runtime.options`` of Pulumi.yaml.

    Yields:
        What the steps print, as it comes.

    Raises:
        InstallFailed: A step ended with an error.
    """
    virtualenv = virtualenv_path(root, options)
    if virtualenv is None:
        python = Interpreter(ambient_python())
    else:
        python = Interpreter(str(virtualenv / "bin" / "python"), virtualenv)
        if not Path(python.python).is_file():
            yield f"Creating the virtual environment {virtualenv}\n".encode()
            yield from _step(
                children, Interpreter(ambient_python()), root, ["-m", "venv", str(virtualenv)]
            )
    requirements = Path(program_directory, "requirements.txt")
    if not requirements.is_file():
        yield f"No requirements.txt in {program_directory}: nothing to install\n".encode()
        return
    yield f"Installing {requirements}\n".encode()
    yield from _step(
        children,
        python,
        root,
        ["-m", "pip", "install", "--disable-pip-version-check", "-r", str(requirements)],
    )
    yield b"Finished installing dependencies\n"


def _step(
    children: Children, python: Interpreter, directory: str, arguments: Sequence[str]
) -> Iterator[bytes]:
    child = children.start(
        [python.python, *arguments],
        environment=python.environment(os.environ),
        directory=directory,
        output=subprocess.PIPE,
    )
    stream = child.process.stdout
    assert stream is not None  # noqa: S101 - a pipe was asked for
    try:
        while chunk := os.read(stream.fileno(), _CHUNK):
            yield chunk
        code = child.wait()
    finally:
        child.stop()
        stream.close()
        children.forget(child)
    if code:
        raise InstallFailed(
            f"`{python.python} {' '.join(arguments)}` failed with exit code {code}; "
            "its output above says why"
        )
