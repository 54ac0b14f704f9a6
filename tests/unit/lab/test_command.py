"""The one place that starts programs, and the one wait."""

from __future__ import annotations

import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from lab import command
from lab.errors import LabError


def failing(argv: list[str], **options: object) -> LabError:
    with pytest.raises(LabError) as caught:
        command.run(argv, what="do the thing", **options)  # type: ignore[arg-type]
    return caught.value


class TestRun:
    """A program that does its work."""

    def test_returns_standard_output_alone(self) -> None:
        argv = ["sh", "-c", "cat; echo noise >&2"]
        assert command.run(argv, what="echo", stdin="hello") == "hello"

    def test_runs_where_and_with_what_it_is_told(self, tmp_path: Path) -> None:
        argv = ["sh", "-c", 'echo "$PWD $WORD"']
        env = {"WORD": "x", "PATH": "/usr/bin:/bin"}
        assert command.run(argv, what="look", cwd=tmp_path, env=env) == f"{tmp_path} x\n"

    def test_never_reads_words_as_shell_does(self) -> None:
        assert command.run(["echo", "$(id) ; *"], what="echo") == "$(id) ; *\n"

    def test_survives_output_that_is_no_text(self) -> None:
        assert "\ufffd" in command.run(["printf", r"\377"], what="print")


class TestFailure:
    """A program that does not: what was tried, why, what now."""

    def test_says_what_was_being_done_and_quotes_standard_error(self) -> None:
        error = failing(["sh", "-c", "echo fine; echo bad luck >&2; exit 7"])
        assert error.what == "could not do the thing"
        assert error.why == "sh exited with 7\nbad luck"

    def test_quotes_standard_output_when_nothing_else_was_said(self) -> None:
        assert failing(["sh", "-c", "echo only this; exit 1"]).why == "sh exited with 1\nonly this"

    def test_without_any_output_is_still_one_clear_line(self) -> None:
        assert failing(["false"]).why == "false exited with 1"

    def test_quotes_the_last_lines_only(self) -> None:
        why = failing(["sh", "-c", "seq 1 100 >&2; exit 1"]).why
        assert why.splitlines()[1:] == [str(n) for n in range(86, 101)]

    def test_of_a_missing_program_names_it(self) -> None:
        assert "no-such-program is not installed" in failing(["no-such-program"]).why

    def test_of_a_missing_directory_does_not_blame_the_program(self, tmp_path: Path) -> None:
        why = failing(["true"], cwd=tmp_path / "gone").why
        assert why == f"{tmp_path}/gone does not exist"

    def test_of_a_file_that_may_not_be_executed(self, tmp_path: Path) -> None:
        (tmp_path / "text").write_text("no program")
        assert "Permission denied" in failing([str(tmp_path / "text")]).why

    def test_by_time_out_keeps_what_was_said_until_then(self) -> None:
        # A shell, which has said it long before the time is up, on a busy machine too.
        why = failing(["sh", "-c", "echo stuck here >&2; exec sleep 60"], timeout=0.4).why
        assert "did not end within 0 s" in why
        assert why.endswith("stuck here")

    def test_hands_on_the_callers_advice(self) -> None:
        assert failing(["false"], next_step="try b").next == "try b"

    @pytest.mark.parametrize("text", ["No space left on device", "write: no space left on device"])
    def test_by_a_full_disk_advises_to_free_space(self, text: str) -> None:
        error = failing(["sh", "-c", f"echo '{text}' >&2; exit 1"], next_step="try b")
        assert error.next == command.FREE_SPACE


class TestWait:
    """The wait always ends."""

    def test_returns_at_once_when_it_is_ready(self, monkeypatch: pytest.MonkeyPatch) -> None:
        slept: list[float] = []
        clock = SimpleNamespace(monotonic=time.monotonic, sleep=slept.append)
        monkeypatch.setattr(command, "time", clock)
        command.wait_until(lambda: True, what="x", timeout=0)
        assert slept == []

    def test_looks_again_until_it_is_ready(self) -> None:
        answers = iter([False, False, True])
        command.wait_until(lambda: next(answers), what="x", timeout=60, interval=0)
        assert not list(answers)

    def test_gives_up_when_the_time_is_up_and_tells_the_detail(self) -> None:
        with pytest.raises(LabError) as caught:
            command.wait_until(
                lambda: False,
                what="the moon",
                timeout=0.02,
                detail=lambda: "cloudy",
                interval=0.01,
            )
        assert caught.value.what == "waited in vain for the moon"
        assert caught.value.why == "it did not within 0 s\ncloudy"

    def test_gives_up_at_once_when_it_cannot_come_true(self) -> None:
        with pytest.raises(LabError) as caught:
            command.wait_until(
                lambda: False, what="x", timeout=60, failed=lambda: "it ended by itself"
            )
        assert caught.value.why == "it ended by itself"

    def test_prefers_readiness_to_a_reason_to_give_up(self) -> None:
        command.wait_until(lambda: True, what="x", timeout=0, failed=lambda: "too late")
