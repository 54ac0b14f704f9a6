"""A provider that outlives its engine is ended, and no other."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from aegis_deploy.pulumi_cli.left_providers import ended


@pytest.fixture
def engine() -> Iterator[socket.socket]:
    """What listens as an engine does."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening


@contextmanager
def _provider(directory: Path, name: str, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    """A process with a provider's name, in a directory, until it is ended."""
    program = directory / name
    # The kernel calls a process as its file is called, which `exec` in it would change.
    program.write_text(f"#!{sys.executable} -S\nimport time\nprint(flush=True)\ntime.sleep(600)\n")
    program.chmod(0o755)
    process = subprocess.Popen([str(program), *arguments], cwd=directory, stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        process.stdout.readline()
        yield process
    finally:
        process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


def _address(listening: socket.socket) -> str:
    return f"127.0.0.1:{listening.getsockname()[1]}"


def test_one_whose_engine_is_gone_is_ended(tmp_path: Path, engine: socket.socket) -> None:
    address = _address(engine)
    with _provider(tmp_path, "pulumi-resource-kubernetes", address) as left:
        assert ended(tmp_path) == (), "while its engine listens it is at work"
        assert left.poll() is None
        engine.close()
        (said,) = ended(tmp_path)
        assert left.wait(60) < 0
    assert said == (
        f"ended, for it was at work after its CLI's death: pulumi-resource (process {left.pid})"
    )


def test_others_are_left_alone(tmp_path: Path, engine: socket.socket) -> None:
    address = _address(engine)
    engine.close()
    elsewhere, here = tmp_path / "elsewhere", tmp_path / "here"
    for directory in (elsewhere, here):
        directory.mkdir()
    with ExitStack() as started:
        others = [
            started.enter_context(_provider(elsewhere, "pulumi-resource-kubernetes", address)),
            started.enter_context(_provider(here, "pulumi-language-go", address)),
            started.enter_context(_provider(here, "pulumi-resource-docker", "--help")),
        ]
        assert ended(here) == ()
        assert [it.poll() for it in others] == [None] * 3
