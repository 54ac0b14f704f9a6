"""`python -m app` inside the test's process: exit codes and what is said on the way."""

from __future__ import annotations

import io
import json
import signal
import socket
import sys
from collections.abc import Iterator
from types import SimpleNamespace

import pytest

from app import server
from app.__main__ import main

TOKEN = "s3cret-token"


@pytest.fixture(autouse=True)
def restored_signals() -> Iterator[None]:
    """Puts the signal handlers back."""
    numbers = (signal.SIGTERM, signal.SIGINT)
    before = {number: signal.getsignal(number) for number in numbers}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def run_with(monkeypatch: pytest.MonkeyPatch, *, abandoned: int) -> tuple[int, str]:
    """Runs `main` over a server that stops at once.

    Returns:
        The exit code and the log.
    """

    def run(*arguments: object) -> SimpleNamespace:
        listener = arguments[-1]
        assert isinstance(listener, socket.socket)
        listener.close()
        return SimpleNamespace(abandoned=abandoned)

    stdout = io.StringIO()
    monkeypatch.setattr(sys, "stdout", stdout)
    monkeypatch.setattr(server, "run", run)
    monkeypatch.setenv("AEGIS_HOST", "127.0.0.1")
    monkeypatch.setenv("AEGIS_PORT", "0")
    return main(), stdout.getvalue()


class TestExitCode:
    """What the process's end tells."""

    def test_0_when_every_request_was_answered(self, monkeypatch: pytest.MonkeyPatch) -> None:
        assert run_with(monkeypatch, abandoned=0)[0] == 0

    def test_1_when_one_was_not(self, monkeypatch: pytest.MonkeyPatch) -> None:
        assert run_with(monkeypatch, abandoned=1)[0] == 1

    def test_1_when_the_address_is_in_use(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            monkeypatch.setenv("AEGIS_HOST", "127.0.0.1")
            monkeypatch.setenv("AEGIS_PORT", str(port))
            assert main() == 1
        said = capsys.readouterr()
        assert said.out == ""
        assert f"error: aegis-api cannot listen on 127.0.0.1 port {port}\n  why: " in said.err
        assert "next: " in said.err

    def test_2_when_a_setting_is_wrong(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.setenv("AEGIS_PORT", "x")
        assert main() == 2
        said = capsys.readouterr()
        assert said.out == ""
        assert "AEGIS_PORT='x'" in said.err

    @pytest.mark.usefixtures("capsys")
    def test_0_when_told_to_stop_before_it_serves(self, monkeypatch: pytest.MonkeyPatch) -> None:
        run_with(monkeypatch, abandoned=0)
        for number in (signal.SIGTERM, signal.SIGINT):
            with pytest.raises(SystemExit) as stopped:
                signal.raise_signal(number)
            assert stopped.value.code == 0


class TestStartLog:
    """The first lines of the log."""

    def test_they_hold_every_setting_but_no_secret(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("AEGIS_API_TOKEN", TOKEN)
        log = run_with(monkeypatch, abandoned=0)[1]
        line = json.loads(log.splitlines()[-1])
        assert (line["message"], line["data_profile"]) == ("starting", "mock")
        assert line["api_token_required"] is True
        assert TOKEN not in log

    def test_they_warn_of_a_misspelt_name_without_its_value(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("AEGIS_TOKEN", TOKEN)
        log = run_with(monkeypatch, abandoned=0)[1]
        line = json.loads(log.splitlines()[0])
        assert (line["level"], line["setting"]) == ("warning", "AEGIS_TOKEN")
        assert line["did_you_mean"] == "AEGIS_API_TOKEN"
        assert TOKEN not in log
