"""What is said of an error that comes up after an update was cut short."""

from __future__ import annotations

from ops.errors import AegisError, ExitCode
from ops.turn import _cut_short


def test_an_error_that_knows_of_no_change_is_told_that_there_was_one() -> None:
    error = AegisError(what="the backend cannot be reached", next="see that it is up")
    _cut_short(error)
    assert "cut short" in error.state
    assert "aegis recover" in error.next
    assert error.code is ExitCode.NOT_ROLLED_BACK


def test_an_error_that_knows_better_is_left_alone() -> None:
    error = AegisError(what="not healthy", state="between two releases", next="aegis status")
    _cut_short(error)
    assert (error.state, error.next) == ("between two releases", "aegis status")
