"""What a person sees of a long command, on a terminal and in a log."""

from __future__ import annotations

import io
import re
import time

import pytest
from rich.console import Console

from lab import progress
from lab.progress import Steps


def plain() -> Console:
    return Console(file=io.StringIO(), force_terminal=False, width=60, highlight=False)


def text(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


class TestInALog:
    """One line a step, never cut, never coloured."""

    def test_every_step_is_numbered_and_timed(self) -> None:
        console = plain()
        steps = Steps(2, console)
        with steps.step("first") as step:
            step.update(note="done well")
        with steps.step("second"):
            pass
        lines = text(console).splitlines()
        assert re.fullmatch(r"\[1/2\] first  done well  \d+\.\d s", lines[0])
        assert re.fullmatch(r"\[2/2\] second  \d+\.\d s", lines[1])
        assert steps.elapsed > 0

    def test_a_line_longer_than_the_console_stays_one_line(self) -> None:
        console = plain()
        with Steps(1, console).step("x" * 100) as step:
            step.update(note="y" * 50)
        assert len(text(console).splitlines()) == 1

    def test_brackets_are_not_taken_for_markup(self) -> None:
        console = plain()
        with Steps(1, console).step("[bold]build[/]") as step:
            step.update(note="[red]")
        assert "[bold]build[/]  [red]" in text(console)

    def test_short_steps_say_nothing_in_between(self) -> None:
        console = plain()
        with Steps(1, console).step("quick") as step:
            step.update(done=1, total=2)
            assert text(console) == ""

    def test_long_steps_say_how_far_they_are(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(progress, "PLAIN_INTERVAL", 0.05)
        console = plain()
        with Steps(1, console).step("build") as step:
            step.update(done=1, total=4, note="compiling")
            deadline = time.monotonic() + 60
            while not text(console) and time.monotonic() < deadline:
                time.sleep(0.01)
        assert re.match(r"\[1/1\] build  25 %  compiling  \d+ s so far\n", text(console))

    def test_a_step_whose_program_prints_says_at_once_what_it_is(self) -> None:
        console = plain()
        with Steps(1, console).step("deploy", prints=True):
            assert text(console) == "[1/1] deploy\n"

    def test_a_failed_step_is_not_reported_as_done(self) -> None:
        console = plain()
        with pytest.raises(RuntimeError), Steps(1, console).step("build"):
            raise RuntimeError
        assert text(console) == ""


class TestOnATerminal:
    """A live line with a bar, and at the end the same line as in a log."""

    def test_shows_a_bar_and_leaves_one_line(self) -> None:
        console = Console(
            file=io.StringIO(), force_terminal=True, width=120, record=True, highlight=False
        )
        with Steps(3, console).step("build kube") as step:
            step.update(done=5, total=10, note="compiling")
        shown = text(console)
        assert "━" in shown
        assert "compiling" in shown
        assert re.search(r"\[1/3\] build kube  compiling  \d+\.\d s\n$", shown)

    def test_a_failing_step_gives_the_cursor_back(self) -> None:
        console = Console(file=io.StringIO(), force_terminal=True, width=80)
        with pytest.raises(RuntimeError), Steps(1, console).step("build"):
            raise RuntimeError
        assert text(console).rstrip("\n").endswith(("\x1b[?25h", "\x1b[2K"))


class TestStep:
    """A step remembers what it is not told anew."""

    def test_keeps_what_an_update_leaves_out(self) -> None:
        with Steps(1, plain()).step("x") as step:
            step.update(done=1, total=9, note="a")
            step.update(done=2)
            assert (step.done, step.total, step.note) == (2, 9, "a")
            step.update(done=0)
            assert step.done == 0
