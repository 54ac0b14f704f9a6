"""Which release a rollback goes back to."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from aegis_deploy.common.errors import AegisError, ExitCode
from aegis_deploy.history.rollback_target import UNFIT, choose
from aegis_deploy.model.release import ConfigValue, Release

SAME = {"changes": {"same": 3}}
TARGET = {"environment": {"pulumi.flag.target": "set"}}
KEPT = {"a:token": ConfigValue.recorded({"secure": "kept"})}


KINDS = ("refresh", "destroy", "import", "resource-import")


def history(*rows: str | tuple[str, dict[str, Any]]) -> list[Release]:
    """A history, oldest row first: words such as ``verified failed refused destroy current``."""
    releases = []
    for number, row in enumerate(rows, start=1):
        text, more = row if isinstance(row, tuple) else (row, {})
        words = text.split()
        kinds = [word for word in words if word in KINDS]
        releases.append(
            Release(
                number=number,
                key=str(number),
                kind=kinds[0] if kinds else "update",
                result="failed" if "failed" in words else "succeeded",
                started=datetime(2026, 1, 1, tzinfo=UTC),
                verified="verified" in words,
                current="current" in words,
                refused="refused" in words,
                **more,
            )
        )
    return releases[::-1]


@pytest.mark.parametrize(
    ("rows", "number"),
    [
        (("verified", "verified current"), 1),
        (("verified", "failed current"), 1),
        (("verified", "", "failed current"), 1),
        (("verified", "verified", "failed", "failed current"), 2),
        (("verified", "verified refused", "failed current"), 1),
        (("verified", "verified", "verified current", "refresh"), 2),
        (("verified", "destroy verified", "verified current"), 1),
        # A rollback counts as what it restored: once more goes further back.
        (("verified", "verified", "verified", ("current", {"restores": 2})), 1),
        (("verified", "verified", "verified", ("verified current", {"restores": 3})), 2),
        # What ran just before was a rollback: nobody was running 2 any more.
        (("verified", "verified", ("", {"restores": 1}), "verified current"), 1),
        (
            ("verified", "verified", "refused", ("verified", {"restores": 1}), "failed current"),
            1,
        ),
        (
            (
                "verified",
                "verified",
                ("verified", {"restores": 1}),
                "failed",
                ("verified", {"restores": 3}),
                "failed current",
            ),
            1,
        ),
        # It ran with other settings than the release it restored, or that one is refused.
        (
            (
                "verified",
                "verified",
                ("verified", {"restores": 1, "config": KEPT}),
                "failed current",
            ),
            3,
        ),
        (("", "verified", ("verified", {"restores": 1}), "failed current"), 1),
        (("verified refused", "verified", ("", {"restores": 1}), "failed current"), 2),
        # A rollback that failed restored nothing.
        (("verified", "verified", ("failed current", {"restores": 1})), 2),
        # An update that changed nothing is the release before it once more.
        (("verified", "verified", ("verified current", {"changes": {"same": 3}})), 1),
        (("verified", ("failed current", {"changes": {"same": 3}})), 1),
        (
            (
                "verified",
                "verified",
                ("", {"restores": 2}),
                ("verified current", {"changes": {"same": 3, "update": 0}}),
            ),
            1,
        ),
        # What is no whole release is passed over, whatever older marks say of it.
        (("verified", ("verified", TARGET), "failed current"), 1),
        (("verified", ("verified current", TARGET)), 1),
        (("verified", "resource-import verified", "failed current"), 1),
        (("verified", "destroy", ("destroy", TARGET), "failed current"), 1),
        (("verified", ("failed", TARGET), "failed current"), 1),
        # An update that changed nothing after it is a release of its own.
        (("verified", ("", TARGET), ("verified", SAME), "failed current"), 3),
        (("verified", ("", TARGET), ("verified current", SAME)), 1),
        # What somebody restored of a part by its number is a whole release since.
        (("verified", ("", TARGET), ("verified", {"restores": 2}), "failed current"), 3),
        # A rollback leaves images alone, and is whole all the same.
        (("verified", "verified", ("", {"restores": 1, **TARGET}), "failed current"), 1),
        # One rollback of another.
        (
            (
                "verified",
                "verified",
                "verified",
                ("", {"restores": 2}),
                ("current", {"restores": 4}),
            ),
            1,
        ),
    ],
)
def test_the_last_verified_release_before_the_deployed_one_is_chosen(
    rows: tuple[Any, ...], number: int
) -> None:
    assert choose(history(*rows)).number == number


def test_after_a_death_the_last_recorded_release_is_the_one_to_restore() -> None:
    assert choose(history("verified", "verified current"), interrupted=True).number == 2


def test_after_a_death_the_rollback_that_ran_is_the_one_to_restore() -> None:
    rows = history("verified", "verified", ("verified current", {"restores": 1}))
    assert choose(rows, interrupted=True).number == 1


def test_a_rollback_whose_release_is_no_longer_in_the_history_is_restored_itself() -> None:
    rows = history("verified", "verified", ("verified", {"restores": 1}), "failed current")
    assert choose(rows[:2]).number == 3


def test_a_number_that_succeeded_is_taken_verified_or_not() -> None:
    assert choose(history("verified", "", "failed current"), 2).number == 2


@pytest.mark.parametrize(
    ("rows", "to", "why"),
    [
        (("verified", "failed current"), 9, "the history has 1 to 2"),
        ((), 1, "none yet"),
        (("verified", "failed current"), 2, "it failed"),
        (("verified", "refresh current"), 2, "deployed nothing"),
        (("verified", "destroy current"), 2, "deployed nothing"),
        (("", ("verified current", TARGET)), None, "never verified: 1"),
        (("failed", ("current", TARGET)), None, "2 targeted update succeeded"),
        ((), None, "no history"),
        (("verified current",), None, "1 update succeeded"),
        (("verified refused", "failed current"), None, "(refused)"),
        (("", "", "verified current"), None, "never verified: 2, 1"),
    ],
)
def test_a_refusal_says_why(rows: tuple[Any, ...], to: int | None, why: str) -> None:
    with pytest.raises(AegisError) as refused:
        choose(history(*rows), to)
    assert why in refused.value.why
    assert refused.value.code is ExitCode.REFUSED
    assert refused.value.next


@pytest.mark.parametrize("row", ["resource-import", ("", TARGET), ("destroy", TARGET)])
def test_what_left_a_part_is_taken_where_somebody_names_it(row: Any) -> None:
    assert choose(history("verified", row, "failed current"), 2).number == 2


def test_where_only_unverified_releases_are_left_it_says_how_to_insist() -> None:
    with pytest.raises(AegisError) as refused:
        choose(history("", "failed", "", "verified current"))
    assert refused.value.what == "no earlier release was verified by a gate"
    assert refused.value.next.endswith("aegis rollback --to 3")


def test_releases_that_name_each_other_end() -> None:
    circle = history(("", {"restores": 2}), ("current", {"restores": 1}))
    with pytest.raises(AegisError):
        choose(circle)


class TestADatabase:
    """What does not fit the database as it is now is no way back, however good it was."""

    @staticmethod
    def unfit(*numbers: int) -> Callable[[Release], str]:
        return lambda it: "a contract removed what it uses" if it.number in numbers else ""

    def test_what_does_not_fit_is_passed_over(self) -> None:
        releases = history("verified", "verified", "verified", "failed current")
        assert choose(releases, misfit=self.unfit(3)).number == 2
        assert choose(releases, misfit=self.unfit(2, 3)).number == 1

    def test_when_nothing_fits_it_is_told_of_each_and_nothing_is_chosen(self) -> None:
        with pytest.raises(AegisError) as none:
            choose(history("verified", "verified", "failed current"), misfit=self.unfit(1, 2))
        assert none.value.what == UNFIT
        assert none.value.why.splitlines() == [
            "release 2: a contract removed what it uses",
            "release 1: a contract removed what it uses",
        ]
        assert none.value.code is ExitCode.REFUSED

    def test_one_that_is_asked_for_is_refused_with_the_nearest_that_fits(self) -> None:
        releases = history("verified", "verified", "verified", "verified", "failed current")
        with pytest.raises(AegisError) as refused:
            choose(releases, 2, misfit=self.unfit(1, 2, 3))
        assert refused.value.what == "release 2 does not fit the database as it is now"
        assert refused.value.why == "a contract removed what it uses"
        assert refused.value.next == "the nearest that does: aegis rollback --to 4"
        assert refused.value.code is ExitCode.REFUSED
        with pytest.raises(AegisError, match="does not fit") as refused:
            choose(releases, 2, misfit=self.unfit(1, 2, 3, 4))
        assert "go forward" in refused.value.next

    def test_one_that_fits_is_restored_as_ever(self) -> None:
        assert choose(history("verified", "verified current"), 1, misfit=self.unfit(2)).number == 1
