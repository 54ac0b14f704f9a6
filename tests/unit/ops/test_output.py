"""What is written where: progress apart from results, one document for programs."""

from __future__ import annotations

import io
import json
import re

import pytest

from ops.errors import AegisError, ExitCode
from ops.output import Output


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
