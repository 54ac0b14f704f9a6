"""Two containers on one machine: one boot, one host name, process numbers of their own each."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from aegis_deploy.common.process import Machine
from aegis_deploy.locking.lock_holders import Life, holders
from tests.integration.process_spaces import IN_A_SPACE, can_be_made
from tests.integration.waiting import SECONDS, wait_until
from tests.unit.aegis_deploy.made_backend import MadeBackend

DEPLOYER = "tests.integration.deployer_in_a_space"
pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(not can_be_made(), reason="needs root and util-linux"),
]


@pytest.fixture
def backend(tmp_path: Path) -> MadeBackend:
    return MadeBackend(tmp_path)


def command(backend: MadeBackend, what: str) -> list[str]:
    state = backend.root / "backend"
    return [*IN_A_SPACE, sys.executable, "-m", DEPLOYER, what, str(backend.project), str(state)]


@contextmanager
def running(words: Sequence[str]) -> Iterator[subprocess.Popen[str]]:
    """Run something in a space of its own; what is in it ends with the block."""
    with subprocess.Popen(
        words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            yield process
        finally:
            process.kill()
            # Once it is gone its child was killed, too, and cannot end well at its input's end.
            process.wait()
            with suppress(BrokenPipeError):
                process.stdin.close()  # type: ignore[union-attr]


def judged(backend: MadeBackend) -> dict[str, Any]:
    """What a deployer in another space says of the stack."""
    done = subprocess.run(
        command(backend, "judge"), check=True, capture_output=True, text=True, timeout=SECONDS
    )
    return dict(json.loads(done.stdout))


def test_a_living_deployer_is_not_followed_and_a_dead_one_is(backend: MadeBackend) -> None:
    with running(command(backend, "hold")) as first:
        assert first.stdout is not None
        assert first.stdout.readline() == "held\n"
        claim = backend.session().store.claim()
        assert judged(backend) == {"lives": [Life.HELD.value], "begun": False}
        held = backend.session().store.claim()
        assert held is not None
        assert claim is not None
        assert json.loads(held)[0] == json.loads(claim)[0]
    assert judged(backend) == {"lives": [Life.ORPHANED.value], "begun": True}


def test_a_living_cli_is_not_called_dead_by_whoever_cannot_see_it(backend: MadeBackend) -> None:
    program = backend.root / "pulumi"
    shutil.copy(shutil.which("sleep") or "", program)
    stamp = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.123456789+00:00")
    # In a space of its own it is the first process, whose number many have.
    lock: dict[str, Any] = {
        "username": "ann",
        "hostname": socket.gethostname(),
        "timestamp": stamp,
        "pid": 1,
    }
    with running([*IN_A_SPACE, str(program), str(SECONDS)]) as cli:
        wait_until(lambda: _runs(cli.pid, program.name), "it did not begin")
        backend.lock(**lock)
        assert judged(backend) == {"lives": [Life.UNKNOWN.value], "begun": False}
        if Machine.here().sees_all:
            assert [it.life for it in holders(backend.session())] == [Life.HELD]
    assert judged(backend)["lives"] == [Life.UNKNOWN.value], "nobody there can tell"


def _runs(parent: int, name: str) -> bool:
    """Whether a child of a process runs a program of that name."""
    children = Path(f"/proc/{parent}/task/{parent}/children")
    if not children.exists():
        return os.path.exists(f"/proc/{parent}")  # noqa: PTH110
    pids = children.read_text().split()
    return any(Path(f"/proc/{it}/comm").read_text().strip() == name for it in pids)
