"""The command line: what it says, how it ends, what starting it costs."""

from __future__ import annotations

import io
import json
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
from typer.main import get_command

from aegis_deploy.cli import main as cli
from aegis_deploy.cli.commands import options
from aegis_deploy.cli.main import COMMANDS, main
from aegis_deploy.common.console import Output
from aegis_deploy.common.errors import AegisError, ExitCode
from aegis_deploy.common.signals import Interrupted, Signals

SLOW = ("pulumi", "kubernetes", "httpx", "pydantic", "rich", "yaml", "urllib3")
"""What no help needs."""


def _run(*arguments: str) -> tuple[int, str, str]:
    results, messages = io.StringIO(), io.StringIO()
    code = main(arguments, output=Output(results=results, messages=messages))
    return code, results.getvalue(), messages.getvalue()


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> Callable[[BaseException], None]:
    """Make `aegis deploy` fail in a way of the test's choice."""

    def install(error: BaseException) -> None:
        def fail(*_: object, force: bool, first: Callable[[Any], None]) -> None:
            assert not force
            begun = Mock(spec_set=["prepare_program"])
            first(begun)
            begun.prepare_program.assert_called_once_with()
            raise error

        monkeypatch.setattr("aegis_deploy.cli.commands.deploy.open_flow", fail)

    return install


@pytest.mark.parametrize("arguments", [["--help"], ["history", "--help"], ["gate", "check", "-h"]])
def test_help_imports_nothing_slow(arguments: list[str]) -> None:
    code = (
        f"import sys; from aegis_deploy.cli.main import main; main({arguments!r});"
        f"print([name for name in {SLOW!r} if name in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120
    )
    assert done.stderr.strip() == "[]"
    words = [word for word in arguments if not word.startswith("-")]
    assert " ".join(["Usage: aegis", *words, "[OPTIONS]"]) in done.stdout


@pytest.mark.parametrize(
    "arguments",
    [
        ["rollback", "--to", "3", "--keep", "one", "--keep", "two", "--yes", "--stack", "staging"],
        ["deploy", "--message", "night", "--wait-lock", "5m", "--policy-pack", ".", "-C", "."],
    ],
)
def test_options_are_read_without_what_would_double_a_start(arguments: list[str]) -> None:
    """Typer reads them by pydantic from 0.29 on, which took as long as all else of a start."""
    code = (
        "import sys\n"
        "from aegis_deploy.cli.commands import options\n"
        "def stop(*_, **__): raise SystemExit('options read')\n"
        "options.open_flow = stop\n"
        "from aegis_deploy.cli.main import main\n"
        f"try: main({arguments!r})\n"
        "except SystemExit as end: print(end)\n"
        "print('pydantic' in sys.modules)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120
    )
    assert done.stdout.splitlines() == ["options read", "False"], done.stderr


def test_the_list_of_commands_reads_the_same_without_their_options(
    capsys: pytest.CaptureFixture[str],
) -> None:
    get_command(cli.build()).main(["--help"], prog_name=cli.NAME, standalone_mode=False)
    whole = capsys.readouterr().out
    assert main(["--help"]) == ExitCode.OK
    assert capsys.readouterr().out == whole
    assert "  rollback  Restore a release exactly" in whole


def test_options_of_a_command_are_completed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("_AEGIS_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", "aegis deploy --image-d")
    monkeypatch.setenv("COMP_CWORD", "2")
    with suppress(SystemExit):
        main([])
    assert capsys.readouterr().out.split() == ["--image-digest"]


@pytest.mark.parametrize("bound", COMMANDS, ids=lambda bound: str(bound.words))
def test_every_command_has_the_common_options_and_its_exit_codes(
    bound: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*bound.words.split(), "--help"]) == ExitCode.OK
    text = capsys.readouterr().out
    # A promotion is between two stacks: both are its arguments.
    about: tuple[str, ...] = ("--stack", "--directory")
    if bound.words == "promote":
        about = ("{source}", "{target}")
    if bound.words.startswith("github "):
        about = ("GITHUB_TOKEN",)
    if bound.words.startswith("data "):
        about = ()
    for option in (*about, "--json"):
        assert option in text
    assert "Exit codes:" in text
    for code in {*bound.codes, ExitCode.USAGE}:
        assert f"{code.value:>3}  " in text


def test_only_who_was_to_bring_a_release_ends_as_rolled_back() -> None:
    # Who asked for going back got it, whatever stays beside it: that is a warning.
    ends = {bound.words for bound in COMMANDS if ExitCode.ROLLED_BACK in bound.codes}
    assert ends == {"deploy", "promote", "data refresh"}


def test_completion_is_on(capsys: pytest.CaptureFixture[str]) -> None:
    main(["--help"])
    assert "--install-completion" in capsys.readouterr().out


def test_stacks_are_completed_from_the_files_beside_the_program(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("Pulumi.yaml", "Pulumi.staging.yaml", "Pulumi.production.yaml"):
        (tmp_path / name).touch()
    monkeypatch.chdir(tmp_path)
    assert options._stacks("s") == ["staging"]
    assert options._stacks("") == ["production", "staging"]


@pytest.mark.parametrize(
    "arguments",
    [("nothing",), ("deploy", "--nothing"), ("deploy", "--wait-lock", "5x"), ("rollback", "--to")],
)
def test_a_wrong_command_line_is_one_error_and_its_own_code(arguments: tuple[str, ...]) -> None:
    code, results, messages = _run(*arguments)
    assert code == ExitCode.USAGE
    assert results == ""
    assert messages.startswith("error: ")
    assert "--help" in messages
    code, results, _ = _run(*arguments, "--json")
    assert json.loads(results)["error"]["code"] == code == ExitCode.USAGE


def test_a_failure_a_person_can_act_on_is_printed_once_with_its_code(
    failing: Callable[[BaseException], None],
) -> None:
    failing(
        AegisError(what="no", why="a\nb", next="c", code=ExitCode.ROLLED_BACK, details={"x": 1})
    )
    code, results, messages = _run("deploy")
    assert (code, results) == (ExitCode.ROLLED_BACK, "")
    assert messages == (
        "error: no\n  why:   a\n         b\n  state: nothing was changed\n  next:  c\n"
    )
    code, results, _ = _run("deploy", "--json")
    assert json.loads(results)["x"] == 1
    assert json.loads(results)["error"]["outcome"] == "rolled_back"


def test_a_fault_of_our_own_says_so_and_hides_its_trace_until_it_is_wanted(
    failing: Callable[[BaseException], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    failing(KeyError("x"))
    code, _, messages = _run("deploy")
    assert code == ExitCode.NOT_ROLLED_BACK
    assert "fault of its own" in messages
    assert "Traceback" not in messages
    monkeypatch.setenv("AEGIS_DEBUG", "1")
    assert "Traceback" in _run("deploy")[2]


def test_a_signal_has_a_code_of_its_own(failing: Callable[[BaseException], None]) -> None:
    failing(Interrupted(signal.SIGTERM))
    code, _, messages = _run("deploy")
    assert code == ExitCode.INTERRUPTED
    assert "stopped by SIGTERM" in messages


def test_a_signal_stops_the_update_that_runs_and_the_second_one_everything() -> None:
    signals, stopped = Signals(), threading.Event()
    before = signal.getsignal(signal.SIGTERM)
    with signals.installed():
        with signals.stopping(stopped.set):
            signal.raise_signal(signal.SIGTERM)
            assert stopped.wait(60)
            with pytest.raises(Interrupted):
                signal.raise_signal(signal.SIGTERM)
        assert signals.received == signal.SIGTERM
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_signal_while_nothing_is_changed_ends_the_command() -> None:
    signals = Signals()
    with signals.installed(), pytest.raises(Interrupted):
        signal.raise_signal(signal.SIGINT)


@pytest.mark.parametrize(
    ("text", "expected"), [("0", 0), ("7", 7), ("30s", 30), ("5m", 300), ("1h", 3600)]
)
def test_times_are_read(text: str, expected: int) -> None:
    assert options.seconds(text) == expected


@pytest.mark.parametrize("text", ["", "-1", "5x", "s", "1.5", "٣"])
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(Exception, match="is not a time"):
        options.seconds(text)


def test_no_command_is_help(capsys: pytest.CaptureFixture[str]) -> None:
    code = main([])
    shown = capsys.readouterr()
    assert code == ExitCode.USAGE
    assert "Usage: aegis" in shown.out + shown.err


def test_a_programs_gate_is_told_who_judges() -> None:
    from aegis_deploy.program.hooks import DEPLOYER, FORCE_VARIABLE, GATE_VARIABLE

    assert {GATE_VARIABLE: DEPLOYER} == options._VERDICT_IS_OURS
    assert {FORCE_VARIABLE: "true"} == options._INSISTING
    assert cli.NAME == "aegis"
