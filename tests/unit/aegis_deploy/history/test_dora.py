"""DORA's four, from histories of every kind."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aegis_deploy.history import dora
from aegis_deploy.model.release import AUTOMATED, Release
from aegis_deploy.report import releases_plot

START = datetime(2026, 1, 5, 12, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
NOW = START + timedelta(days=10)


def history(*kinds: str) -> list[Release]:
    """Releases an hour apart, each of which took a minute, newest first.

    Args:
        kinds: good, failed, automated, hand (rollbacks), same, nothing (failed before it changed
            anything), refresh, destroy, resource-import, targeted, refused (good, then rolled back;
            the rollback is not in the list).
    """
    made = []
    for place, kind in enumerate(kinds):
        more: dict[str, Any] = {"changes": {"update": 1, "same": 9}}
        if kind == "failed":
            more["result"] = "failed"
        elif kind == "nothing":
            more |= {"result": "failed", "changes": {"same": 3}}
        elif kind == "same":
            more["changes"] = {"same": 10}
        elif kind in {"refresh", "destroy", "resource-import"}:
            more["kind"] = kind
        elif kind == "targeted":
            more["environment"] = {"pulumi.flag.target": "set"}
        elif kind == "refused":
            more["refused"] = True
        elif kind in ("automated", "hand"):
            words = AUTOMATED if kind == "automated" else "aegis: rollback"
            more |= {"restores": 1, "message": f"{words} to release 1"}
        started = START + place * timedelta(hours=1)
        given: dict[str, Any] = {
            "number": place + 1,
            "key": str(place),
            "kind": "update",
            "result": "succeeded",
            "started": started,
            "ended": started + MINUTE,
            "git_commit": f"{place:040x}",
        }
        made.append(Release(**{**given, **more}))
    return made[::-1]


def figures(*kinds: str, committed: dict[str, datetime] | None = None) -> dict[str, Any]:
    found = dora.measure(history(*kinds), committed or {}, NOW)
    return {it.name: it.figure for it in found}


@pytest.mark.parametrize(
    ("kinds", "count", "failed"),
    [
        (("good",), 1, 0),
        (("good", "same", "refresh", "good"), 2, 0),
        (("good", "failed", "automated"), 2, 1),
        (("good", "good", "hand"), 2, 1),
        (("good", "refused"), 2, 1),
        (("good", "nothing", "good"), 2, 0),
        (("failed", "failed", "good"), 3, 2),
    ],
)
def test_what_counts_as_a_deployment_and_as_a_failed_one(
    kinds: tuple[str, ...], count: int, failed: int
) -> None:
    found = dora.deployments(history(*kinds))
    assert (len(found), sum(it.failed for it in found)) == (count, failed)
    assert figures(*kinds)[dora.FAILURES] == round(failed / count, 4)


def test_frequency_is_over_the_time_until_now() -> None:
    assert figures("good", "good", "good", "good", "good")[dora.FREQUENCY] == 0.5
    assert dora.measure(history("good"), {}, NOW)[0].value == "0.7 a week"
    assert dora.measure(history("good", "good"), {}, START)[0].value == "2.0 a day"


def test_lead_time_is_the_median_from_commit_to_the_end_of_a_good_deployment() -> None:
    committed = {
        f"{0:040x}": START - 9 * MINUTE,
        f"{1:040x}": START - timedelta(days=30),  # It failed.
        f"{3:040x}": START + timedelta(hours=3) - 19 * MINUTE,
    }
    found = figures("good", "failed", "automated", "good", committed=committed)
    assert found[dora.LEAD] == 15 * 60


def test_a_commit_of_the_future_is_a_wrong_clock() -> None:
    assert figures("good", committed={f"{0:040x}": NOW})[dora.LEAD] is None


@pytest.mark.parametrize(
    ("kinds", "seconds"),
    [
        (("good", "failed", "automated"), 3660),
        (("good", "failed", "good"), 3660),
        (("good", "failed", "failed", "good"), 2 * 3600 + 60),
        (("good", "good", "automated"), 3660),
        (("good", "good", "hand"), None),
        (("good", "failed"), None),
        (("good", "failed", "refresh", "good"), 2 * 3600 + 60),
        # None of these mends what failed.
        (("good", "failed", "destroy", "resource-import", "targeted", "good"), 4 * 3600 + 60),
        (("good",), None),
    ],
)
def test_time_to_restore_is_from_the_first_failure_to_the_next_good_update(
    kinds: tuple[str, ...], seconds: float | None
) -> None:
    assert figures(*kinds)[dora.RESTORE] == seconds


def test_what_is_not_counted_is_said() -> None:
    basis = dora.measure(history("good", "good", "hand", "failed"), {}, NOW)[3].basis
    assert "1 rolled back by hand later, not counted" in basis
    assert "not mended yet" in basis


def test_a_release_that_was_put_back_as_it_was_has_not_failed() -> None:
    assert figures("good", "hand", "hand")[dora.FAILURES] == 0


def test_of_no_history_nothing_is_claimed() -> None:
    assert {it.figure for it in dora.measure([], {}, NOW)} == {None}
    assert {it.value for it in dora.measure([], {}, NOW)} == {"-"}


def test_every_measure_has_its_definition_and_its_source() -> None:
    for it in dora.measure(history("good"), {}, NOW):
        told = it.as_json()
        assert told["definition"] == dora.DEFINITIONS[it.name]
        assert str(told["source"]).startswith("https://dora.dev/")


@given(
    st.lists(
        st.sampled_from(
            ["good", "failed", "automated", "hand", "same", "nothing", "refresh", "refused"]
        ),
        max_size=30,
    )
)
def test_any_history_gives_figures_that_can_be(kinds: list[str]) -> None:
    found = figures(*kinds)
    assert found[dora.FAILURES] is None or 0 <= found[dora.FAILURES] <= 1
    assert found[dora.RESTORE] is None or found[dora.RESTORE] > 0
    releases = history(*kinds)
    counted = dora.deployments(releases)
    _, made = releases_plot.periods(counted, [], NOW)
    assert sum(it.counts.total() for it in made) == len(counted)


@pytest.mark.parametrize("days", [0, 1, 30, 400, 5000])
def test_periods_are_as_short_as_can_be_seen(days: int) -> None:
    found = dora.deployments(history("good", "failed"))
    length, made = releases_plot.periods(found, [], START + timedelta(days=days))
    assert 1 <= len(made) <= 62
    drawn = releases_plot.draw(length, made, 400)
    assert drawn.count('class="release failed"') == 1
