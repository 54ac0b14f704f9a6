"""The one form in which the lab says that something is wrong."""

from __future__ import annotations

from lab.errors import EXIT_FAILED, EXIT_REFUSED, LabError, refused


class TestText:
    """What a person reads."""

    def test_has_the_four_parts_in_their_order(self) -> None:
        error = LabError(what="it broke", why="a cause", state="half of it runs", next="make up")
        assert str(error) == (
            "error: it broke\n  why:   a cause\n  state: half of it runs\n  next:  make up"
        )

    def test_leaves_out_what_is_not_known(self) -> None:
        assert "next" not in str(LabError(what="it broke", why="a cause"))

    def test_indents_the_further_lines_below_the_first(self) -> None:
        text = str(LabError(what="it broke", why="one\ntwo\n\nthree"))
        assert "  why:   one\n         two\n         \n         three\n" in text

    def test_says_that_nothing_was_changed_unless_told_otherwise(self) -> None:
        assert LabError(what="w", why="y").state == "nothing was changed"


class TestCodes:
    """What a script reads."""

    def test_tell_a_refusal_from_a_failure(self) -> None:
        assert refused("w", "y", "f").code == EXIT_REFUSED
        assert LabError(what="w", why="y").code == EXIT_FAILED
        assert EXIT_REFUSED != EXIT_FAILED


class TestAsAnException:
    """It behaves as exceptions do."""

    def test_two_alike_are_two(self) -> None:
        first, second = LabError(what="w", why="y"), LabError(what="w", why="y")
        assert first != second
        assert len({first, second}) == 2
