"""Which of a history's records is of the update that this process ran."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ops.records import restamped
from ops.stack import Session
from tests.unit.ops.made_backend import MadeBackend


@pytest.fixture
def backend(tmp_path: Path) -> MadeBackend:
    made = MadeBackend(tmp_path)
    made.update(message="before")
    return made


def ran(backend: MadeBackend, does: Callable[[], object], **options: Any) -> str | None:
    """The key of the record of an update during which something happened."""
    session: Session = backend.session()
    with session.store.recording() as made:
        does()
    return session._own(made, "up", options.get("message"))


def test_is_the_one_that_was_not_there_before(backend: MadeBackend) -> None:
    assert ran(backend, lambda: backend.update(message="ours"), message="ours") == backend.keys[-1]


def test_is_none_when_nothing_was_recorded(backend: MadeBackend) -> None:
    assert ran(backend, lambda: None, message="ours") is None


@pytest.mark.parametrize("ours", [0, 1])
def test_is_told_from_anothers_by_its_kind_and_message(backend: MadeBackend, ours: int) -> None:
    def both() -> None:
        for place in range(2):
            backend.update(message="ours" if place == ours else "theirs")
        backend.update(kind="refresh", message="ours")

    assert ran(backend, both, message="ours") == backend.keys[1 + ours]


def test_is_none_when_only_others_are_there(backend: MadeBackend) -> None:
    def theirs() -> None:
        backend.update(message="theirs")
        backend.update(message="theirs too")

    assert ran(backend, theirs, message="ours") is None


def test_new_records_count_as_later_than_all_before_them_in_their_own_order() -> None:
    before = ["s-10.history.json", "s-50.history.json"]
    after = [*before, "s-20.history.json", "s-30.history.json", "s-90.history.json"]
    assert restamped(before, sorted(after)) == [("20", "51"), ("30", "52"), ("90", "90")]
    assert restamped([], ["s-7.history.json"]) == [("7", "7")]
