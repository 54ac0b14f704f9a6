"""What is written where: progress apart from results, one document for programs."""

from __future__ import annotations

import io
import json
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from aegis_deploy.common import console
from aegis_deploy.common.console import Output
from aegis_deploy.common.errors import AegisError, ExitCode
from lab.command import wait_until
from tests.rendering import ROOT


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class _Streams:
    def __init__(self, *, answers: str = "", terminal: bool = False) -> None:
        self.results, self.now = io.StringIO(), 0.0
        self.messages = _Terminal() if terminal else io.StringIO()
        self.out = Output(
            results=self.results,
            messages=self.messages,
            answers=_Terminal(answers) if answers else io.StringIO(),
            clock=lambda: self.now,
        )


def test_results_and_messages_go_different_ways() -> None:
    it = _Streams()
    it.out.say("working")
    it.out.warn("look\nhere")
    it.out.show("done")
    assert it.results.getvalue() == "done\n"
    assert it.messages.getvalue() == "working\nwarning: look\n  here\n"


def test_json_leaves_one_document_whatever_happens() -> None:
    it = _Streams()
    it.out.json = True
    it.out.show("for people")
    it.out.table(["a"], [["b"]])
    it.out.document({"release": 1})
    assert it.out.fail(AegisError(what="later")) == ExitCode.REFUSED
    assert json.loads(it.results.getvalue()) == {"release": 1}
    assert "later" in it.messages.getvalue()


def test_without_json_there_is_no_document() -> None:
    it = _Streams()
    it.out.document({"release": 1})
    assert it.results.getvalue() == ""


def test_a_table_is_aligned_and_has_no_trailing_spaces() -> None:
    it = _Streams()
    it.out.table(["#", "what"], [["1", "a"], ["10", "long one"]])
    assert it.results.getvalue() == "#   what\n1   a\n10  long one\n"


@pytest.mark.parametrize(
    ("done", "total", "filled"),
    [(0, 9, 0), (1, 40, 0), (5, 10, 10), (39, 40, 19), (40, 40, 20), (41, 40, 20), (0, 0, 20)],
)
def test_a_bar_is_full_when_all_is_done(done: int, total: int, filled: int) -> None:
    assert console.bar(done, total) == f"[{'#' * filled}{'.' * (20 - filled)}]"


def test_a_status_in_a_pipe_is_written_now_and_then_and_only_when_it_is_new() -> None:
    it = _Streams()
    with it.out.progress("rolling out"):
        for second in range(12):
            it.now = float(second)
            it.out.status(f"{second // 6} ready")
    assert it.messages.getvalue().splitlines() == ["rolling out", "  0 ready", "  1 ready"]


def test_a_status_on_a_terminal_is_one_line_that_changes() -> None:
    it = _Streams(terminal=True)
    with it.out.progress("rolling [out]"):
        it.out.status("1 of [red]")
        it.out.say("a line that stays")
    lines = it.messages.getvalue().splitlines()
    (stays,) = (line for line in lines if "a line that stays" in line)
    plain = re.sub(r"\x1b\[[?0-9;]*[a-zA-Z]", "\n", stays)
    assert "a line that stays" in plain.splitlines(), "alone, not behind the line that changes"
    assert "1 of [red]" in it.messages.getvalue()
    assert it.out.live


@pytest.mark.parametrize("terminal", [True, False])
def test_a_long_silence_is_ended_by_what_is_waited_for(
    terminal: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(console, "_LOOK_SECONDS", 0.01)
    it = _Streams(terminal=terminal)
    with it.out.progress("updating shop", lambda: "update ConfigMap a"):
        it.out.status("0 of 2 new pods ready")
        it.now = 9.0
        time.sleep(0.1)
        assert "still" not in it.messages.getvalue()
        it.now = 10.5
        said = "still updating shop, for 10 s: update ConfigMap a; 0 of 2 new pods ready"
        wait_until(lambda: said in it.messages.getvalue(), what="a word", timeout=60)
        it.now = 39.0
        time.sleep(0.1)
        assert it.messages.getvalue().count("still") == 1, "seldom, once it was said"
        it.now = 41.0
        wait_until(
            lambda: "updating shop, for 41 s" in it.messages.getvalue(), what="more", timeout=60
        )


def test_who_hears_something_is_not_reminded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(console, "_LOOK_SECONDS", 0.01)
    it = _Streams()
    with it.out.progress("updating shop"):
        for now in (6.0, 12.0, 18.0):
            it.now = now
            it.out.say("  update ConfigMap a")
            time.sleep(0.05)
    assert "still" not in it.messages.getvalue()


@pytest.mark.parametrize(("answer", "expected"), [("y\n", True), ("YES\n", True), ("\n", False)])
def test_somebody_at_a_terminal_is_asked(answer: str, expected: bool) -> None:
    assert _Streams(answers=answer).out.confirm("Go on?") is expected


def test_nobody_to_ask_is_refused_with_what_to_add() -> None:
    with pytest.raises(AegisError) as caught:
        _Streams().out.confirm("Go on?")
    assert "--yes" in caught.value.next
    it = _Streams(answers="y\n")
    it.out.json = True
    with pytest.raises(AegisError):
        it.out.confirm("Go on?")


def test_what_needs_a_person_is_the_loudest() -> None:
    it = _Streams()
    quiet = AegisError(what="refused")
    loud = AegisError(what="failed", code=ExitCode.NOT_ROLLED_BACK)
    it.out.fail(quiet)
    assert "!!!" not in it.messages.getvalue()
    assert it.out.fail(loud) == 1
    assert "!!!" in it.messages.getvalue()


def test_an_error_on_a_terminal_is_not_read_as_markup() -> None:
    it = _Streams(terminal=True)
    it.out.fail(AegisError(what="[bold]x[/bold] [secret]"))
    assert "[bold]x[/bold] [secret]" in it.messages.getvalue()


class TestWhatComesFromOutside:
    """A log, an object's name, a commit's message may hold what moves a terminal."""

    ACTING = "\x1b]0;owned\x07\x1b[2J\x1b[1;1Hgate passed\u202e\r"

    @pytest.mark.parametrize("terminal", [False, True])
    def test_cannot_act_on_a_terminal(self, terminal: bool) -> None:
        it = _Streams(answers="y\n", terminal=terminal)
        it.out.show(self.ACTING)
        it.out.table(["a"], [[self.ACTING]])
        it.out.say(self.ACTING)
        it.out.warn(self.ACTING)
        it.out.status(self.ACTING)
        it.out.confirm(self.ACTING)
        it.out.fail(AegisError(what="x", why=self.ACTING))
        written = it.results.getvalue() + it.messages.getvalue()
        assert written.count("gate passed") >= 5
        for sign in ("\x1b]", "\x1b[2J", "\x1b[1;1H", "\x07", "\u202e", "\r"):
            assert sign not in written

    def test_may_be_empty(self) -> None:
        it = _Streams()
        it.out.warn("")
        assert it.messages.getvalue() == "warning: \n"


class _Gone(io.StringIO):
    """A stream whose other end is closed, or whose disk is full."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self._error = error

    def write(self, _: str) -> int:
        raise self._error


class TestNobodyReads:
    """Whoever reads may go at any time; what is being done goes on."""

    ENDS = (BrokenPipeError(32, "Broken pipe"), ValueError("I/O operation on closed file"))

    @pytest.mark.parametrize("error", ENDS)
    def test_results_end_and_messages_go_on(self, error: Exception) -> None:
        messages = io.StringIO()
        out = Output(results=_Gone(error), messages=messages)
        out.show("a")
        out.show("b")
        out.say("done")
        assert messages.getvalue().endswith("done\n")

    @pytest.mark.parametrize("error", ENDS)
    def test_messages_end_and_results_go_on(self, error: Exception) -> None:
        results = io.StringIO()
        out = Output(results=results, messages=_Gone(error))
        out.say("a")
        out.warn("b")
        assert out.fail(AegisError(what="x")) == ExitCode.REFUSED
        out.show("done")
        assert results.getvalue() == "done\n"

    def test_a_disk_that_is_full_is_told(self) -> None:
        messages = io.StringIO()
        out = Output(results=_Gone(OSError(28, "No space left on device")), messages=messages)
        out.show("a")
        assert "cannot be written: [Errno 28] No space left on device" in messages.getvalue()

    def test_a_pipe_that_was_closed_ends_no_command(self, tmp_path: Path) -> None:
        program = (
            "import sys\n"
            "from pathlib import Path\n"
            "from aegis_deploy.common.console import Output\n"
            "out = Output()\n"
            "for number in range(3):\n"
            "    out.show('x' * 100_000)\n"
            "Path(sys.argv[1]).write_text('done')\n"
        )
        done = tmp_path / "done"
        with subprocess.Popen(
            [sys.executable, "-c", program, str(done)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=ROOT,
        ) as process:
            assert process.stdout is not None
            process.stdout.close()
            assert process.stderr is not None
            assert process.stderr.read() == b""
        assert (process.returncode, done.read_text()) == (0, "done")
