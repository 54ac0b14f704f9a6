"""Plugins written in Python, such as policy packs: the engine has the language host run them."""

from __future__ import annotations

import os
import queue
import subprocess
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any, Final

from lab.plugins.children import Child, Children
from lab.plugins.language.interpreter import Interpreter, LanguageError, interpreter
from lab.plugins.protocol import light_pulumi

with light_pulumi():
    from pulumi.runtime.proto import language_pb2

_CHUNK: Final = 64 * 1024
_DEFAULT_VIRTUALENV: Final = "venv"
"""What the official host takes when the plugin names none; it never takes the ambient Python."""


def command(
    directory: str, options: Mapping[str, Any], arguments: Sequence[str]
) -> tuple[list[str], Interpreter]:
    """Return what runs a plugin's ``__main__.py``, and the Python it runs in.

    Args:
        directory: Where the plugin is, with its PulumiPolicy.yaml or PulumiPlugin.yaml.
        options: ``runtime.options`` of that file.
        arguments: What the engine tells the plugin.

    Raises:
        LanguageError: It cannot be run; the message says why and what to type.
    """
    name = str(options.get("virtualenv") or _DEFAULT_VIRTUALENV)
    path = Path(directory, name)
    if not (path / "bin" / "python").is_file():
        state = "has no bin/python" if path.exists() else "does not exist"
        raise LanguageError(
            f"the plugin's virtual environment {path} {state}. Create it with `pulumi install` "
            f"in {directory}, or with `make policy` for the policy pack of Aegis"
        )
    if not Path(directory, "__main__.py").is_file():
        raise LanguageError(
            f"{directory} has no __main__.py, and the lab's stand-in runs nothing else; the "
            "official language host also runs packages"
        )
    python = interpreter(directory, {**options, "virtualenv": name})
    # Unbuffered: the policy SDK prints its port and does not flush it.
    return [python.python, "-u", directory, *arguments], python


def run(
    children: Children,
    arguments: Sequence[str],
    *,
    environment: Mapping[str, str],
    directory: str,
    started: Any,  # noqa: ANN401 - called with the process as soon as there is one
) -> Iterator[language_pb2.RunPluginResponse]:
    """Run a plugin to its end.

    Args:
        children: Starts the process.
        arguments: The executable and its arguments.
        environment: All of its environment.
        directory: Its working directory.
        started: Told of the process.

    Yields:
        What it prints, as it comes, and its exit code.
    """
    child = children.start(
        arguments,
        environment=environment,
        directory=directory,
        output=subprocess.PIPE,
        errors=subprocess.PIPE,
    )
    started(child)
    try:
        yield from _output(child)
        code = child.wait()
    finally:
        child.stop()
        children.forget(child)
    yield language_pb2.RunPluginResponse(exitcode=code)


def _output(child: Child) -> Iterator[language_pb2.RunPluginResponse]:
    """Pass both streams on, neither waiting for the other."""
    chunks: queue.Queue[language_pb2.RunPluginResponse | None] = queue.Queue()

    def read(stream: IO[bytes], *, is_error: bool) -> None:
        with stream:
            while text := os.read(stream.fileno(), _CHUNK):
                chunks.put(_error(text) if is_error else _line(text))
        chunks.put(None)

    streams = (child.process.stdout, child.process.stderr)
    for stream in streams:
        kind = {"is_error": stream is child.process.stderr}
        threading.Thread(target=read, args=(stream,), kwargs=kind, daemon=True).start()
    for _ in streams:
        while (chunk := chunks.get()) is not None:
            yield chunk


def _line(text: bytes) -> language_pb2.RunPluginResponse:
    return language_pb2.RunPluginResponse(stdout=text)


def _error(text: bytes) -> language_pb2.RunPluginResponse:
    return language_pb2.RunPluginResponse(stderr=text)
