"""A history that is read as far as somebody looks: the same as one read whole, and less of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aegis_deploy.history.annotate import marked
from aegis_deploy.history.lazy_releases import Reading
from aegis_deploy.history.rollback_target import choose
from aegis_deploy.history.verification_store import Verifications
from aegis_deploy.model.release import Release

NOON = datetime(2026, 1, 2, 12, tzinfo=UTC)
MANY = 5000


def release(number: int, what: str = "update") -> Release:
    """A release ten seconds after the one before it; ``same`` is an update that changed nothing."""
    began = NOON + timedelta(seconds=10 * number)
    return Release(
        number=number,
        key=str(number),
        kind="refresh" if what == "refresh" else "update",
        result="failed" if what == "failed" else "succeeded",
        started=began,
        ended=began + timedelta(seconds=6),
        changes={"same": 1} if what == "same" else {"update": 1},
    )


class Store:
    """A history that counts what is read of it."""

    def __init__(self, whats: Sequence[str]) -> None:
        self.all = [release(number, what) for number, what in enumerate(whats, start=1)][::-1]
        self.read: set[int] = set()

    def releases(self, newest: int, limit: int) -> list[Release]:
        """What `Store.releases` of a backend does."""
        found = [it for it in self.all if it.number <= newest][:limit]
        self.read.update(it.number for it in found)
        return found

    def reading(self, book: Verifications) -> Reading:
        """The history, to be read as far as somebody looks."""
        return Reading(len(self.all), self.releases, lambda found: marked(found, book))


def book(*verified: int, moments: Sequence[int] = ()) -> Verifications:
    """A ledger with releases verified by key, and by a moment in the middle of some."""
    passed = tuple(NOON + timedelta(seconds=10 * number + 6) for number in moments)
    return Verifications(tuple(map(str, verified)), {}, passed)


KINDS = st.sampled_from(["update", "update", "same", "same", "same", "failed", "refresh"])


@given(
    whats=st.lists(KINDS, max_size=300),
    verified=st.sets(st.integers(1, 300)),
    moments=st.sets(st.integers(1, 300)),
    places=st.lists(st.integers(0, 299), max_size=5),
)
def test_every_release_is_as_in_a_history_read_whole(
    whats: list[str], verified: set[int], moments: set[int], places: list[int]
) -> None:
    store = Store(whats)
    ledger = book(*verified, moments=sorted(moments))
    whole = marked(store.all, ledger)
    for place in places:
        if place < len(whole):
            assert store.reading(ledger)[place] == whole[place]
    assert list(store.reading(ledger)) == whole


@pytest.mark.parametrize(
    ("look", "expected"),
    [
        (choose, MANY - 3),
        (lambda found: choose(found, MANY - 1000), MANY - 1000),
        (lambda found: choose(found, 1), 1),
        (lambda found: next(it for it in found if it.current), MANY),
        (lambda found: found[-1], 1),
    ],
    ids=["the last verified", "one of the middle", "the first", "the current", "the oldest"],
)
def test_only_what_is_needed_is_read_of_thousands(
    look: Callable[[Sequence[Release]], Release], expected: int
) -> None:
    store = Store(["update"] * MANY)
    assert look(store.reading(book(1, MANY - 3, moments=[MANY - 1000]))).number == expected
    assert len(store.read) < 200


def test_a_long_row_of_updates_that_changed_nothing_is_read_to_the_one_they_repeat() -> None:
    store = Store(["update", *["same"] * 500, "failed"])
    found = store.reading(book(1))
    assert choose(found).number == 501
    assert found[1].verified


def test_a_history_that_is_pruned_meanwhile_ends_where_nothing_is_left() -> None:
    store = Store(["update"] * 300)
    found = store.reading(book())
    assert found[0].number == 300
    del store.all[100:]
    assert [it.number for it in found] == list(range(300, 200, -1))
