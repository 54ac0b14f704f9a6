"""A store that is far away: how much of it is read for what is shown."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from aegis_deploy.backend.buckets.directory import DirectoryBucket
from aegis_deploy.backend.buckets.object_store import ObjectEntry
from aegis_deploy.backend.diy_store import DiyStore
from aegis_deploy.history import stack_history
from aegis_deploy.history.inspection import inspect
from aegis_deploy.pulumi_cli.engine import Engine
from tests.unit.aegis_deploy.made_backend import MadeBackend

UPDATES, SHOWN = 5_000, 20


@dataclass
class Counted(DirectoryBucket):
    """A directory that counts what is read of it."""

    reads: list[str] = field(default_factory=list)
    names: list[str] = field(default_factory=list)

    def list(self, start: str) -> list[ObjectEntry]:
        found = super().list(start)
        if "/history/" not in start:
            return found
        record = found[0]
        stem = record.key.partition("-")[0]
        first = 1_790_000_000_000_000_000
        ends = ("checkpoint", "history")
        return [
            ObjectEntry(f"{stem}-{first + number}.{end}.json")
            for number in range(UPDATES)
            for end in ends
        ]

    def mend(self, start: str) -> None:  # noqa: ARG002
        return

    def read_many(self, keys: Iterable[str]) -> Mapping[str, bytes | OSError]:
        wanted = list(keys)
        self.reads.extend(wanted)
        content = next((self.root / ".pulumi/history/shop/staging").glob("*.history.json"))
        return dict.fromkeys(wanted, content.read_bytes())


def test_of_5000_updates_only_those_shown_are_read(tmp_path: Path) -> None:
    backend = MadeBackend(tmp_path)
    backend.update()
    bucket = Counted(tmp_path / "backend")
    store = DiyStore(bucket, "shop", "staging", Engine(tmp_path, {}), "staging")
    found = store.releases(SHOWN)
    assert [it.number for it in found] == list(range(UPDATES, UPDATES - SHOWN, -1))
    assert len(bucket.reads) == SHOWN


@pytest.mark.parametrize("number", [UPDATES, UPDATES - 3, UPDATES // 2, 1])
def test_of_5000_updates_one_is_shown_without_reading_the_others(
    tmp_path: Path, number: int
) -> None:
    backend = MadeBackend(tmp_path)
    backend.update()
    bucket = Counted(tmp_path / "backend")
    session = backend.session()
    session.store = DiyStore(bucket, "shop", "staging", Engine(tmp_path, {}), "staging")
    assert inspect(session, number).entry.release.number == number
    found, _ = stack_history.legible(session)
    assert next(it for it in found if it.current).number == UPDATES
    assert len(bucket.reads) < UPDATES // 10


def test_a_write_that_is_refused_for_its_own_sake_is_done(tmp_path: Path) -> None:
    """As a library does that repeats a request whose answer was lost."""

    @dataclass
    class Repeating(DirectoryBucket):
        """A directory that asks everything twice."""

        def swap(self, key: str, before: bytes | None, after: bytes | None) -> bool:
            super().swap(key, before, after)
            return super().swap(key, before, after)

    MadeBackend(tmp_path)
    bucket = Repeating(tmp_path / "backend")
    store = DiyStore(bucket, "shop", "staging", Engine(tmp_path, {}), "staging")
    assert store.swap_claim(None, "mine")
    assert store.swap_claim("mine", "mine, later")
    assert not store.swap_claim(None, "another's")
    assert not store.swap_claim("mine", "another's")
    assert store.swap_claim("mine, later", None)
    assert store.change_tags({"a": "x"})
    assert store.tags() == {"a": "x"}


def test_what_a_clock_behind_the_others_recorded_is_the_last(tmp_path: Path) -> None:
    backend = MadeBackend(tmp_path)
    last = backend.update(message="of a clock that is ahead")
    bucket = DirectoryBucket(tmp_path / "backend")
    store = DiyStore(bucket, "shop", "staging", Engine(tmp_path, {}), "staging")
    with store.recording() as keys:
        made = backend.update(message="ours")
        for kind in ("history", "checkpoint"):
            backend.file(made, kind).rename(backend.file(str(int(last) - 5), kind))
    newest, before = store.releases()
    assert (newest.message, before.message) == ("ours", "of a clock that is ahead")
    assert [newest.key] == keys == [str(int(last) + 1)]
    assert store.checkpoint(newest) is not None
    assert not backend.file(str(int(last) - 5)).exists()


@dataclass
class Contended(DirectoryBucket):
    """A directory in which somebody else is quicker, so many times."""

    backend: MadeBackend = field(kw_only=True)
    quicker: int = 0

    def swap(self, key: str, before: bytes | None, after: bytes | None) -> bool:
        if self.quicker:
            self.quicker -= 1
            tags = f'{{"version":1,"tags":{{"b":"y","theirs":"{self.quicker}"}}}}'
            self.backend.tags.write_text(tags)
        return super().swap(key, before, after)


def test_tags_are_changed_on_top_of_what_somebody_else_changes_at_the_same_time(
    tmp_path: Path,
) -> None:
    bucket = Contended(tmp_path / "backend", backend=MadeBackend(tmp_path))
    store = DiyStore(bucket, "shop", "staging", Engine(tmp_path, {}), "staging")
    assert store.change_tags({"a": "x", "b": "y"})
    assert store.change_tags({"a": None})
    assert store.tags() == {"b": "y"}
    bucket.quicker = 2
    assert store.change_tags({"b": None})
    assert store.tags() == {"theirs": "0"}
    bucket.quicker = 1_000
    assert not store.change_tags({"theirs": None})
    assert "theirs" in store.tags()


@pytest.mark.parametrize("taken", [False, True])
def test_what_was_kept_under_the_name_before_is_taken_along(tmp_path: Path, taken: bool) -> None:
    backend = MadeBackend(tmp_path)
    root = "urn:pulumi:old::shop::pulumi:pulumi:Stack::shop-old"
    backend.update(state={"resources": [{"urn": root, "type": "pulumi:pulumi:Stack"}]})
    stacks, kept = backend.tags.parent, backend.pulumi / "aegis" / "shop"
    (stacks / "old.pulumi-tags").write_text('{"version":1,"tags":{"a":"x"}}')
    (kept / "old.timelines").mkdir(parents=True)
    (kept / "old.timelines" / "1.json").write_text("{}")
    (kept / "old.claim").write_text("theirs")
    if taken:
        (stacks / "old.json").write_text("{}")
    store = backend.session().store
    assert store.tags() == {"a": "x"}
    assert not backend.tags.exists(), "looking moves nothing"
    store.change_tags({"b": "y"})
    assert store.tags() == {"a": "x", "b": "y"}
    assert (stacks / "old.pulumi-tags").exists() is taken
    assert store.claim() == (None if taken else "theirs")
    assert (kept / "staging.timelines" / "1.json").exists() is not taken


def test_a_stack_that_was_not_renamed_takes_nothing(tmp_path: Path) -> None:
    backend = MadeBackend(tmp_path)
    backend.update()
    (backend.tags.parent / "old.pulumi-tags").write_text('{"version":1,"tags":{"a":"x"}}')
    store = backend.session().store
    store.adopt()
    assert store.tags() == {}
