"""What a guard makes of a worker's end, and what it does then."""

from __future__ import annotations

import io
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path

import pytest

from aegis_deploy.cli import main as cli
from aegis_deploy.cli.commands.guard import go_on
from aegis_deploy.common.console import Output
from aegis_deploy.common.errors import AegisError, ExitCode
from aegis_deploy.flows.recovery import Recovered
from aegis_deploy.locking.lease import claimed
from aegis_deploy.locking.watchdog import (
    Ending,
    _at_work,
    arguments,
    end,
    environment,
    guarding,
    watch,
)
from tests.unit.aegis_deploy.made_backend import MadeBackend

DONE = Recovered(stack="s", action="restore")


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, its = socket.socketpair()
    with ours, its:
        yield ours, its


@pytest.mark.parametrize(
    ("said", "ending"),
    [
        (b"b..d", Ending.DONE),
        (b"d", Ending.DONE),
        (b"b...", Ending.DIED),
        (b"b", Ending.DIED),
        (b"", Ending.UNBEGUN),
    ],
)
def test_the_end_of_a_worker_is_known_from_what_it_said_last(
    pair: tuple[socket.socket, socket.socket], said: bytes, ending: Ending
) -> None:
    worker, its = pair
    worker.sendall(said)
    worker.close()
    assert watch(its) is ending


def test_a_worker_that_stands_still_is_told_from_one_that_has_not_begun(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    worker, its = pair
    threading.Timer(0.1, worker.sendall, (b"b",)).start()
    assert watch(its, silent_seconds=3, look_seconds=0.02) is Ending.SILENT


def test_a_worker_that_beats_is_left_alone(pair: tuple[socket.socket, socket.socket]) -> None:
    worker, its = pair
    over = threading.Event()

    def beat() -> None:
        worker.sendall(b"b")
        for _ in range(20):
            worker.sendall(b".")
            over.wait(0.02)
        worker.sendall(b"d")

    beating = threading.Thread(target=beat)
    beating.start()
    assert watch(its, silent_seconds=6000, look_seconds=0.01) is Ending.DONE
    beating.join()


def test_only_a_parent_is_ended() -> None:
    assert not end(2**22 + 1, parent=lambda: 1)
    assert end(2**22 + 1, parent=lambda: 2**22 + 1)


def test_what_was_refused_is_tried_again_and_what_was_done_badly_is_not() -> None:
    waited: list[float] = []
    out = Output(results=io.StringIO(), messages=io.StringIO())
    unreachable = AegisError(what="the cluster cannot be reached")
    assert go_on(_says(unreachable, unreachable, DONE), out, pauses=(1, 2, 3), sleep=waited.append)
    assert waited == [1, 2]
    waited.clear()
    # What was done before it does not make it a reason to give up.
    midway = AegisError(what="no answer", code=ExitCode.NOT_ROLLED_BACK, again=True)
    assert go_on(_says(midway, DONE), out, pauses=(1,), sleep=waited.append) is DONE
    assert waited == [1]
    for last in (unreachable, AegisError(what="unhealthy", code=ExitCode.NOT_ROLLED_BACK)):
        waited.clear()
        with pytest.raises(AegisError) as raised:
            go_on(_says(unreachable, last), out, pauses=(1,), sleep=waited.append)
        assert raised.value is last
        assert waited == [1]


def test_a_pipeline_does_not_find_the_guard_and_no_secret_is_on_its_command_line(
    backend: MadeBackend,
) -> None:
    given = {"RUNNER_TRACKING_ID": "github_1", "PULUMI_CONFIG_PASSPHRASE": "hush", "PATH": "/bin"}
    assert environment(given) == {**given, "RUNNER_TRACKING_ID": ""}
    words = arguments(backend.session(), Path("guard.log"))
    assert words[0] == "guard"
    assert "hush" not in " ".join(words)


class TestGuarding:
    """The worker's side, with a real second process."""

    @pytest.fixture(autouse=True)
    def _ended(self) -> Iterator[None]:
        """Wait for the guards of a test: each finds that there is nothing to do for it."""
        yield
        while _at_work:
            _at_work.pop().wait(60)

    @pytest.mark.parametrize("error", [None, AegisError(what="no")], ids=["done", "refused"])
    def test_of_work_that_ended_leaves_nothing(
        self, backend: MadeBackend, error: AegisError | None
    ) -> None:
        session, out = backend.session(), Output(messages=io.StringIO())
        guards = []
        with (
            nullcontext() if error is None else pytest.raises(AegisError),
            claimed(session, intent="deploy") as claim,
            guarding(session, claim, out) as guard,
        ):
            guards.append(guard)
            guard.begins()
            assert guard.log.exists()
            if error is not None:
                raise error
        assert not guards[0].log.exists()
        assert session.store.claim() is None

    def test_of_work_that_a_signal_cut_short_gets_the_claim(self, backend: MadeBackend) -> None:
        session, out = backend.session(), Output(messages=io.StringIO())
        cut = AegisError(what="cut", code=ExitCode.INTERRUPTED)
        with (
            pytest.raises(AegisError) as raised,
            claimed(session, intent="deploy") as claim,
            guarding(session, claim, out) as guard,
        ):
            guard.begun = True
            guard.close()
            raise cut
        assert session.store.claim() is not None
        assert str(guard.log) in raised.value.next

    def test_a_guard_that_does_not_start_is_told_with_its_reason(
        self, backend: MadeBackend, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("aegis_deploy.locking.watchdog.arguments", lambda *_: ["--wrong"])
        session, out = backend.session(), Output(messages=io.StringIO())
        with (
            claimed(session, intent="deploy") as claim,
            guarding(session, claim, out) as guard,
            pytest.raises(AegisError) as raised,
        ):
            guard.begins()
        assert "No such option" in raised.value.why


def test_the_command_is_hidden_and_refuses_a_person(capsys: pytest.CaptureFixture[str]) -> None:
    cli.main(["--help"])
    assert "guard " not in capsys.readouterr().out
    done = subprocess.run(
        [sys.executable, "-m", "aegis_deploy.cli.main", "guard"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == ExitCode.USAGE
    assert "--detach-guard" in done.stderr


@pytest.fixture
def backend(tmp_path: Path) -> MadeBackend:
    return MadeBackend(tmp_path)


def _says(*answers: AegisError | Recovered) -> Callable[[], Recovered]:
    rest = iter(answers)

    def recover() -> Recovered:
        answer = next(rest)
        if isinstance(answer, AegisError):
            raise answer
        return answer

    return recover
