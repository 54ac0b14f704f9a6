"""The store that the CLI keeps by itself, in a directory, a bucket or a table: read directly.

That is what makes 5,000 updates quick: names give the numbers, and only what is shown is read.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import Any

import yaml

from aegis_deploy.backend.artifacts import ArtifactStore
from aegis_deploy.backend.buckets.object_store import Bucket, ObjectEntry, swap
from aegis_deploy.backend.cli_store import renamed
from aegis_deploy.backend.history_files import (
    FAULTS,
    HEAD,
    are_legible,
    fault_of,
    has_zstd,
    key_of,
    make_release,
    numbered,
    outputs_in,
    retagged,
    state_of,
    unpack,
    unreadable,
)
from aegis_deploy.backend.own_record import recorded_last
from aegis_deploy.backend.protocol import Lock, Recorded
from aegis_deploy.backend.state_faults import Faults
from aegis_deploy.common.errors import AegisError
from aegis_deploy.model.predecessor import KEPT, Name, named_in
from aegis_deploy.model.release import Release
from aegis_deploy.pulumi_cli.engine import Engine

_META = ".pulumi/meta.yaml"
_ENDINGS = ("", ".gz", ".zst")
_STATE = re.compile(r"\.json(\.gz|\.zst)?$")
_TIMELINES = ".timelines"
_ILLEGIBLE = "\ufffd"
"""What stands in a text for bytes that are none."""
_TRIES = 5
"""So often tags are changed that somebody else changes at the same moment."""


@dataclass
class DiyStore:
    """A store without a service.

    Attributes:
        bucket: Where it is.
        project: The project's name.
        stack: The stack's name.
        engine: The CLI, for what is not read directly.
        reference: The stack's name on its command line.
    """

    bucket: Bucket
    project: str
    stack: str
    engine: Engine = field(repr=False)
    reference: str

    def require(self) -> None:  # noqa: D102 - the protocol says it
        self.bucket.require()
        for start in (f"{self._stacks}/{self.stack}.", self._locks):
            self.bucket.mend(start)
        if self._state_key() is not None:
            return
        copy, updates = self._copy(), len(self._names())
        # `pulumi stack rm` removes the history as well, and leaves copies.
        if copy is not None and updates:
            raise self._faults.gone(f"{self._stacks}/{self.stack}.json", copy, updates)
        listed = self.bucket.list(f"{self._stacks}/")
        stacks = sorted({it.name.partition(".json")[0] for it in listed if _is_state(it)})
        raise AegisError(
            what=f"there is no stack {self.stack} of {self.project} in this backend",
            why="it has " + (", ".join(stacks) if stacks else f"no stack of {self.project}"),
            next=f"pulumi stack init {self.stack}",
        )

    def require_room(self) -> None:  # noqa: D102
        self.bucket.require_room(self._state_key() or self._stacks)

    def count(self) -> int | None:  # noqa: D102
        names = self._names()
        return len(names) if are_legible(names) else None

    def releases(  # noqa: D102
        self, limit: int | None = None, *, newest: int | None = None
    ) -> list[Release]:
        names = self._names()
        found = numbered(names, limit, newest)
        if newest is None and not are_legible(name for _, name in found):
            return renamed(self.engine, self.reference, limit, names)
        contents = self.bucket.read_many(f"{self._history}/{name}" for _, name in found)
        return [self._release(number, name, contents) for number, name in found]

    def state(self) -> dict[str, Any] | None:  # noqa: D102
        key = self._state_key()
        if key is None or (key.endswith(".zst") and not has_zstd()):
            return None
        try:
            return state_of(unpack(self.bucket.read(key)))
        except FAULTS as error:
            raise self._faults.damaged(key, error, self._copy()) from error

    def checkpoint(self, release: Release) -> dict[str, Any] | None:  # noqa: D102
        found = self.recorded(release)
        if found is None or (found.ending.endswith(".zst") and not has_zstd()):
            return None
        try:
            return dict(unpack(found.content)["checkpoint"]["latest"] or {})
        except FAULTS as error:
            key = self._checkpoint_key(release.key, found.ending)
            raise self._faults.damaged(key, error) from error

    def outputs(self, release: Release) -> dict[str, Any] | None:  # noqa: D102
        try:
            return outputs_in(self.bucket.read(self._checkpoint_key(release.key, ".json"), HEAD))
        except (OSError, ValueError):
            return None

    def recorded(self, release: Release) -> Recorded | None:  # noqa: D102
        for ending in (f".json{compressed}" for compressed in _ENDINGS):
            key = self._checkpoint_key(release.key, ending)
            try:
                content = self._read_if_any(key)
            except OSError as error:
                raise self._faults.damaged(key, error) from error
            if content is not None:
                return Recorded(self.bucket.place(key), ending, content)
        return None

    def tags(self) -> Mapping[str, str]:  # noqa: D102
        key = self._tags
        try:
            content = self._read_if_any(key)
            if content is None and (before := self._before()) is not None:
                key = self._tags_of(before)
                content = self._read_if_any(key)
            tags = {} if content is None else unpack(content)["tags"] or {}
            return {str(name): str(value) for name, value in tags.items()}
        except FAULTS as error:
            raise self._damaged_tags(key, error) from error

    def change_tags(self, change: Mapping[str, str | None]) -> bool:  # noqa: D102
        try:
            self.adopt()
            return any(self._change_tags(change) for _ in range(_TRIES))
        except OSError as error:
            raise self._faults.unwritten(self._tags, error) from error

    def _change_tags(self, change: Mapping[str, str | None]) -> bool:
        before = self._read_if_any(self._tags)
        try:
            after = retagged(before, change)
        except FAULTS as error:
            raise self._damaged_tags(self._tags, error) from error
        # Whoever else changes them at this moment is not overwritten.
        return swap(self.bucket, self._tags, before, after)

    def keep_tags(self) -> None:  # noqa: D102
        # The marks of verified releases stand nowhere else, and the CLI makes no backup of them.
        # Without a copy nothing is wrong yet: a full disk, say, must not undo what is done.
        with suppress(AegisError, OSError):
            tags = self._read_if_any(self._tags)
            if tags is not None:
                self.bucket.swap(self._kept_tags, self._read_if_any(self._kept_tags), tags)

    def adopt(self) -> None:  # noqa: D102
        before = None if self._read_if_any(self._tags) is not None else self._before()
        if before is None:
            return
        tags = self._read_if_any(self._tags_of(before))
        if self._is_taken(before):
            # Marks name releases by keys that no other stack has.
            if tags is not None:
                swap(self.bucket, self._tags, None, tags)
            return
        kept, own = self._beside(before), self._beside(self._name)
        moved = [(f"{kept}{end}", f"{own}{end}") for end in KEPT if end != _TIMELINES]
        shelf = ArtifactStore(self.bucket, kept + _TIMELINES)
        moved += [(f"{kept}{_TIMELINES}/{it}", f"{own}{_TIMELINES}/{it}") for it in shelf.names()]
        # The tags last: whoever dies before that is followed by one who goes on.
        for old, new in (*moved, (self._tags_of(before), self._tags)):
            content = self._read_if_any(old)
            if content is not None and swap(self.bucket, new, None, content):
                self.bucket.delete(old)

    def recording(self) -> AbstractContextManager[list[str]]:  # noqa: D102
        return recorded_last(self._names, self.stamp)

    def stamp(self, key: str, stamp: str) -> None:  # noqa: D102
        start = f"{self._history}/{self.stack}-"
        old = sorted(it.key for it in self.bucket.list(f"{start}{key}."))
        # The checkpoint first: a release without one can be seen, one of nothing cannot.
        for each in old:
            new = f"{start}{stamp}.{each.removeprefix(f'{start}{key}.')}"
            if not swap(self.bucket, new, None, self.bucket.read(each)):
                raise AegisError(
                    what=f"{self.bucket.place(each)} could not be named anew",
                    why=f"another one is there already: {self.bucket.place(new)}",
                )
        # Whoever dies in the middle leaves it whole in one of the two places, or in both.
        for each in reversed(old):
            self.bucket.delete(each)

    @property
    def _locks(self) -> str:
        scope = f"organization/{self.project}/" if self._scoped else ""
        return f".pulumi/locks/{scope}{self.stack}/"

    def locks(self) -> list[Lock]:  # noqa: D102
        start = self._locks
        keys = [it.key for it in self.bucket.list(start) if it.key.endswith(".json")]
        if not keys:
            return []
        own, read = self.bucket.is_own(start), self.bucket.read_many(keys)
        found = (self._lock(key, read[key], own=own) for key in keys)
        return [lock for lock in found if lock is not None]

    def release_lock(self, lock: Lock) -> None:  # noqa: D102
        self.bucket.delete(lock.key)

    def unfinished(self) -> bool:  # noqa: D102
        return False

    @property
    def beat_seconds(self) -> float:  # noqa: D102
        return self.bucket.beat_seconds

    @property
    def timelines(self) -> ArtifactStore:  # noqa: D102
        return ArtifactStore(self.bucket, self._beside(self._name) + _TIMELINES)

    def claim(self) -> str | None:  # noqa: D102
        content = self._read_if_any(self._claim)
        return None if content is None else content.decode(errors="replace")

    def swap_claim(self, before: str | None, after: str | None) -> bool:  # noqa: D102
        old = None if before is None else before.encode()
        new = None if after is None else after.encode()
        if before is not None and _ILLEGIBLE in before:
            # Its text is not what is there.
            content = self._read_if_any(self._claim)
            old = content if content and content.decode(errors="replace") == before else old
        return swap(self.bucket, self._claim, old, new)

    @cached_property
    def _faults(self) -> Faults:
        return Faults(self.bucket)

    @cached_property
    def _scoped(self) -> bool:
        """Whether the layout has a place for each project; the oldest one has not."""
        try:
            return int((yaml.safe_load(self.bucket.read(_META)) or {}).get("version", 0)) > 0
        except FileNotFoundError:
            return False
        except (yaml.YAMLError, *FAULTS) as error:
            raise self._faults.damaged_layout(_META, error) from error

    def _scope(self, name: Name) -> str:
        return f"/{name.project}" if self._scoped else ""

    @cached_property
    def _name(self) -> Name:
        return Name(self.project, self.stack)

    @cached_property
    def _stacks(self) -> str:
        return f".pulumi/stacks{self._scope(self._name)}"

    @cached_property
    def _history(self) -> str:
        return f".pulumi/history{self._scope(self._name)}/{self.stack}"

    @property
    def _tags(self) -> str:
        return self._tags_of(self._name)

    def _tags_of(self, name: Name) -> str:
        return f".pulumi/stacks{self._scope(name)}/{name.stack}.pulumi-tags"

    @property
    def _claim(self) -> str:
        return self._beside(self._name) + ".claim"

    @property
    def _kept_tags(self) -> str:
        return self._beside(self._name) + ".tags"

    def _beside(self, name: Name) -> str:
        """What the keys of all that `aegis` keeps of a stack begin with."""
        return f".pulumi/aegis{self._scope(name)}/{name.stack}"

    def _checkpoint_key(self, key: str, ending: str) -> str:
        return f"{self._history}/{self.stack}-{key}.checkpoint{ending}"

    def _read_if_any(self, key: str) -> bytes | None:
        try:
            return self.bucket.read(key)
        except FileNotFoundError:
            return None

    def _damaged_tags(self, key: str, error: Exception) -> AegisError:
        copy = self._kept_tags
        there = any(it.key == copy for it in self.bucket.list(copy))
        return self._faults.damaged_tags(key, error, copy if there else None)

    def _states_of(self, name: Name, more: str = "") -> list[ObjectEntry]:
        """The state of a stack, oldest first.

        A change of compression may leave the file of before: the CLI takes the newest, too.
        """
        start = f".pulumi/stacks{self._scope(name)}/{name.stack}.json"
        keys = {f"{start}{ending}{more}" for ending in _ENDINGS}
        listed = (it for it in self.bucket.list(start) if it.key in keys)
        return sorted(listed, key=lambda entry: entry.modified)

    def _state_key(self) -> str | None:
        return next((it.key for it in reversed(self._states_of(self._name))), None)

    def _is_taken(self, name: Name) -> bool:
        """Whether another stack has the name now."""
        return bool(self._states_of(name))

    def _copy(self) -> str | None:
        """The newest copy of the state that can be read."""
        start = f".pulumi/backups{self._scope(self._name)}/{self.stack}/{self.stack}."
        copies = [it for it in self.bucket.list(start) if _is_state(it)]
        copies += self._states_of(self._name, ".bak")
        copies.sort(key=lambda entry: entry.modified, reverse=True)
        return next((it.key for it in copies if self._is_whole(it.key)), None)

    def _is_whole(self, key: str) -> bool:
        try:
            return bool(unpack(self.bucket.read(key))["checkpoint"])
        except FAULTS:
            return False

    def _before(self) -> Name | None:
        """What the stack was called before it was renamed; None when it was not."""
        for name in reversed(self._names()):
            for ending in (f".json{compressed}" for compressed in _ENDINGS):
                with suppress(*FAULTS):
                    content = unpack(self.bucket.read(self._checkpoint_key(key_of(name), ending)))
                    found = named_in(state_of(content)["deployment"])
                    return None if found == self._name else found
        return None

    def _names(self) -> list[str]:
        """The names of the history files, oldest first; the order gives the numbers."""
        pattern = re.compile(re.escape(self.stack) + r"-(\d+)\.history\.json(?:\.gz|\.zst)?")
        try:
            listed = self.bucket.list(f"{self._history}/")
        except OSError as error:
            raise self._faults.damaged(self._history, error) from error
        matched = (pattern.fullmatch(entry.name) for entry in listed)
        keyed = sorted((int(match[1]), match[0]) for match in matched if match is not None)
        return [name for _, name in keyed]

    def _release(self, number: int, name: str, contents: Mapping[str, bytes | OSError]) -> Release:
        key, place = key_of(name), f"{self._history}/{name}"
        try:
            return make_release(number, key, unpack(_content(contents[place])))
        except FAULTS as error:
            return unreadable(number, key, self.bucket.place(place), error)

    def _lock(self, key: str, content: bytes | OSError, *, own: bool) -> Lock | None:
        place = self.bucket.place(key)
        try:
            raw = json.loads(_content(content))
            return Lock(
                place=place,
                key=key,
                own=own,
                who=f"{raw['username']}@{raw['hostname']}",
                host=raw["hostname"],
                pid=int(raw["pid"]),
                since=datetime.fromisoformat(raw["timestamp"]),
            )
        except FileNotFoundError:
            return None  # Its holder ended between the listing and the reading.
        except FAULTS as error:
            return Lock(place=place, key=key, own=own, fault=fault_of(error))


def _content(read: bytes | OSError) -> bytes:
    if isinstance(read, OSError):
        raise read
    return read


def _is_state(entry: ObjectEntry) -> bool:
    return _STATE.search(entry.name) is not None
