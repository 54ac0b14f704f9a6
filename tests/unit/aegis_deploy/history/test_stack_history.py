"""Which releases of a history count as verified or refused."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from aegis_deploy.history import stack_history
from aegis_deploy.history.annotate import marked, passed
from aegis_deploy.history.verification_store import Refusal, Verifications, passed_after
from aegis_deploy.model.release import Release
from tests.unit.aegis_deploy.made_backend import START, MadeBackend

NOON = datetime(2026, 1, 2, 12, tzinfo=UTC)
SAME = {"same": 9}


def release(number: int, began: float, ended: float | None, **more: Any) -> Release:
    """A succeeded update, its times in seconds after noon, whole as a history file has them."""
    given: dict[str, Any] = {"kind": "update", "result": "succeeded", **more}
    return Release(
        number=number,
        key=str(number),
        started=NOON + timedelta(seconds=began),
        ended=None if ended is None else NOON + timedelta(seconds=ended),
        **given,
    )


def test_a_state_that_was_imported_is_not_what_runs() -> None:
    found = [release(3, 60, 60, kind="import"), release(2, 40, 50), release(1, 20, 30)]
    assert [it.number for it in marked(found, Verifications((), {})) if it.current] == [2]


class TestAGateThatPassedInsideAnUpdate:
    """The moment is in the update that was running."""

    @pytest.mark.parametrize(
        ("at", "expected"),
        [
            (25.0, {"1"}),
            # A file's times are cut to whole seconds: it ended some time before 41.
            (40.9, {"1"}),
            (71.0, {"2"}),
            # Nobody's: 3 failed, and nothing ran at 200 or before noon.
            (110.0, set()),
            (200.0, set()),
            (-60.0, set()),
        ],
    )
    def test_verifies_that_update_alone(self, at: float, expected: set[str]) -> None:
        found = [
            release(3, 100, 120, result="failed"),
            release(2, 60, 90),
            release(1, 20, 40),
        ]
        assert passed(found, [NOON + timedelta(seconds=at)]) == expected

    def test_verifies_the_one_that_came_right_after_another_that_failed(self) -> None:
        found = [release(2, 41, 90), release(1, 20, 41, result="failed")]
        assert passed(found, [NOON + timedelta(seconds=42.5)]) == {"2"}

    def test_verifies_it_also_where_the_store_s_clock_is_a_little_behind(self) -> None:
        assert passed([release(1, 20, 40)], [NOON + timedelta(seconds=43)]) == {"1"}

    def test_is_found_behind_those_of_a_machine_whose_clock_is_ahead(self) -> None:
        ahead = [release(it, 300 + 10 * it, 305 + 10 * it) for it in range(9, 0, -1)]
        found = [release(10, 100, 110), *ahead]
        assert passed(found, [NOON + timedelta(seconds=108)]) == {"10"}

    def test_verifies_no_part_of_a_release(self) -> None:
        part = {"environment": {"pulumi.flag.target": "set"}}
        assert passed([release(1, 0, 10, **part)], [NOON + timedelta(seconds=5)]) == set()

    def test_verifies_nothing_that_is_no_update(self) -> None:
        found = [release(1, 20, 40, kind="refresh"), release(2, 20, None)]
        assert passed(found, [NOON + timedelta(seconds=30)]) == set()


class TestAnUpdateThatChangedNothing:
    """It is the release before it once more."""

    @staticmethod
    def _marks(found: list[Release], *verified: str, refused: str = "") -> dict[str, str]:
        refusals = {"f": Refusal("f", refused, "why", NOON)} if refused else {}
        return {
            it.key: f"{'v' if it.verified else ''}{'r' if it.refused else ''}"
            for it in marked(found, Verifications(verified, refusals))
        }

    def test_is_as_verified_as_that(self) -> None:
        found = [
            release(4, 60, 61, changes=SAME),
            release(3, 50, 51, kind="refresh", changes=SAME),
            release(2, 40, 41, changes=SAME),
            release(1, 20, 30, changes={"create": 9}),
        ]
        assert self._marks(found, "1") == {"1": "v", "2": "v", "3": "", "4": "v"}
        assert self._marks(found) == {"1": "", "2": "", "3": "", "4": ""}

    def test_does_not_verify_what_it_repeats(self) -> None:
        found = [release(2, 40, 41, changes=SAME), release(1, 20, 30, changes={"create": 9})]
        assert self._marks(found, "2") == {"1": "", "2": "v"}

    def test_shares_its_refusal_with_what_it_repeats(self) -> None:
        found = [
            release(3, 60, 61, changes=SAME),
            release(2, 40, 41, changes=SAME),
            release(1, 20, 30, changes={"create": 9}),
        ]
        assert self._marks(found, "1", refused="2") == {"1": "vr", "2": "vr", "3": "vr"}

    def test_that_failed_is_not(self) -> None:
        found = [
            release(2, 40, 41, changes=SAME, result="failed"),
            release(1, 20, 30, changes={"create": 9}),
        ]
        assert self._marks(found, "1")["2"] == ""

    def test_is_told_so_although_few_are_read(self, tmp_path: Path) -> None:
        backend = MadeBackend(tmp_path)
        backend.update()
        for _ in range(5):
            backend.update(resourceChanges=SAME)
        passing = datetime.fromtimestamp(START + 60 - 1, UTC)
        tags = {name: str(value) for name, value in passed_after({}, passing).items()}
        backend.tags.write_text('{"version": 1, "tags": ' + str(tags).replace("'", '"') + "}")
        found = stack_history.releases(backend.session(), limit=2)
        assert [(it.number, it.verified) for it in found] == [(6, True), (5, True)]
