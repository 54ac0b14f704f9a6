"""Which of a history's records is of the update that this process ran."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from aegis_deploy.backend.buckets.directory import DirectoryBucket
from aegis_deploy.backend.history_files import restamped
from aegis_deploy.backend.own_record import put_last
from aegis_deploy.backend.protocol import Store
from aegis_deploy.common.errors import AegisError
from aegis_deploy.stack.session import Session
from tests.unit.aegis_deploy.made_backend import START, MadeBackend, deployment


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


LEFT = deployment("2.0.0", manifest={"time": "as nobody else wrote it"})


@pytest.fixture
def store(backend: MadeBackend) -> Store:
    """The store of a stack whose last update was written before another one, by a late clock."""
    backend.update(message="late", state=LEFT)
    backend.update(message="earlier")
    backend.leave(LEFT)
    return backend.session().store


def began(update: int) -> str:
    """When the deployer of an update began, by its own clock."""
    return datetime.fromtimestamp(START + 60 * update - 10, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def listed(store: Store) -> list[str]:
    return [it.message for it in store.releases()]


def test_what_a_dead_one_recorded_last_counts_as_the_last(store: Store) -> None:
    assert listed(store) == ["earlier", "late", "before"]
    assert put_last(store, began(2))
    first, second, *_ = store.releases()
    assert (first.message, second.message) == ("late", "earlier")
    assert int(first.key) == int(second.key) + 1
    assert store.checkpoint(first) == LEFT
    assert not put_last(store, began(2)), "it is the last"


def test_nothing_is_moved_that_has_another_state_or_is_older(
    store: Store, backend: MadeBackend
) -> None:
    before = listed(store)
    assert not put_last(store, began(3)), "it was there before the dead one began"
    assert not put_last(store, "by no clock")
    backend.leave(deployment("3.0.0"))
    assert not put_last(store, began(2)), "it is of another update"
    assert listed(store) == before


class _Death(BaseException):
    """What no handler of ours sees, as none sees a kill."""


@pytest.mark.parametrize("steps", range(5))
def test_one_whose_mover_died_is_there_whole_and_then_once(
    store: Store, monkeypatch: pytest.MonkeyPatch, steps: int
) -> None:
    done = list[str]()

    def mortal(does: Callable[..., Any]) -> Callable[..., Any]:
        def step(bucket: DirectoryBucket, key: str, *more: Any) -> Any:
            if len(done) == steps:
                raise _Death
            done.append(key)
            return does(bucket, key, *more)

        return step

    with monkeypatch.context() as patch:
        for name in ("swap", "delete"):
            patch.setattr(DirectoryBucket, name, mortal(getattr(DirectoryBucket, name)))
        with pytest.raises(_Death) if steps < 4 else nullcontext():
            put_last(store, began(2))
    assert "late" in listed(store)
    for release in store.releases():
        assert store.checkpoint(release) is not None, "a record without its checkpoint"
    put_last(store, began(2))
    assert listed(store) == ["late", "earlier", "before"]
    assert store.checkpoint(store.releases()[0]) == LEFT


def test_one_is_never_moved_over_another(store: Store, backend: MadeBackend) -> None:
    late, other = backend.keys[-2:]
    before = backend.file(other).read_bytes()
    with pytest.raises(AegisError, match="could not be named anew"):
        store.stamp(late, other)
    assert backend.file(other).read_bytes() == before
    assert listed(store) == ["earlier", "late", "before"]
