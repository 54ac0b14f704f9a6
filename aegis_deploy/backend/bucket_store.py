"""The store the CLI keeps by itself in a bucket or a table: read directly.

That is what makes 5,000 updates quick: names give the numbers, and only what is shown is read.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import Any

import yaml

from aegis_deploy.backend.artifacts import BucketArtifacts
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
from aegis_deploy.backend.object_store import Bucket, ObjectEntry, swap
from aegis_deploy.backend.own_record import recorded_last
from aegis_deploy.backend.protocol import Lock, Recorded
from aegis_deploy.common.errors import AegisError
from aegis_deploy.model.predecessor import KEPT, Name, named_in
from aegis_deploy.model.release import Release
from aegis_deploy.pulumi_cli.engine import Engine

_ENDINGS = ("", ".gz", ".zst")
_STATE = re.compile(r"\.json(\.gz|\.zst)?$")


@dataclass
class BucketStore:
    """A store without a service that is not a directory.

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
        if self._state_entry() is None:
            listed = self.bucket.list(f"{self._stacks}/")
            stacks = sorted({it.name.partition(".json")[0] for it in listed if _is_state(it)})
            raise AegisError(
                what=f"there is no stack {self.stack} of {self.project} in this backend",
                why="it has " + (", ".join(stacks) if stacks else f"no stack of {self.project}"),
                next=f"pulumi stack init {self.stack}",
            )

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
        entry = self._state_entry()
        if entry is None or (entry.key.endswith(".zst") and not has_zstd()):
            return None
        try:
            return state_of(unpack(self.bucket.read(entry.key)))
        except FAULTS as error:
            raise self._damaged(entry.key, error, self._backups()) from error

    def checkpoint(self, release: Release) -> dict[str, Any] | None:  # noqa: D102
        found = self.recorded(release)
        if found is None or (found.ending.endswith(".zst") and not has_zstd()):
            return None
        try:
            return dict(unpack(found.content)["checkpoint"]["latest"] or {})
        except FAULTS as error:
            raise self._damaged(self._checkpoint_key(release, found.ending), error) from error

    def outputs(self, release: Release) -> dict[str, Any] | None:  # noqa: D102
        try:
            return outputs_in(self.bucket.read(self._checkpoint_key(release, ".json"), HEAD))
        except (OSError, ValueError):
            return None

    def recorded(self, release: Release) -> Recorded | None:  # noqa: D102
        for ending in (f".json{compressed}" for compressed in _ENDINGS):
            key = self._checkpoint_key(release, ending)
            try:
                return Recorded(self.bucket.place(key), ending, self.bucket.read(key))
            except FileNotFoundError:
                continue
            except OSError as error:
                raise self._damaged(key, error) from error
        return None

    def tags(self) -> Mapping[str, str]:  # noqa: D102
        key = self._tags
        if self._read_if_any(key) is None:
            before = self._before()
            key = key if before is None else self._tags_of(before)
        try:
            tags = unpack(self.bucket.read(key))["tags"] or {}
        except FileNotFoundError:
            return {}
        except FAULTS as error:
            raise self._damaged(key, error) from error
        return {str(name): str(value) for name, value in tags.items()}

    def change_tags(self, change: Mapping[str, str | None]) -> bool:  # noqa: D102
        self.adopt()
        before = self._read_if_any(self._tags)
        try:
            after = retagged(before, change)
        except FAULTS as error:
            raise self._damaged(self._tags, error) from error
        # Whoever else changes them at this moment is not overwritten; the CLI then tries.
        return swap(self.bucket, self._tags, before, after)

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
        kept = self._claim_of(before).removesuffix(".claim")
        own = self._claim.removesuffix(".claim")
        moved = [(f"{kept}{end}", f"{own}{end}") for end in KEPT if end != ".timelines"]
        listed = self.bucket.list(f"{kept}.timelines/")
        moved += [(it.key, f"{own}.timelines/{it.name}") for it in listed]
        for old, new in (*moved, (self._tags_of(before), self._tags)):
            content = self._read_if_any(old)
            if content is not None and swap(self.bucket, new, None, content):
                self.bucket.delete(old)

    def _is_taken(self, name: Name) -> bool:
        """Whether another stack has the name now."""
        state = self._tags_of(name).removesuffix(".pulumi-tags") + ".json"
        listed = {entry.key for entry in self.bucket.list(state)}
        return bool(listed & {f"{state}{end}" for end in _ENDINGS})

    def _before(self) -> Name | None:
        """What the stack was called before it was renamed; None when it was not."""
        for name in reversed(self._names()):
            for ending in _ENDINGS:
                key = f"{self._history}/{self.stack}-{key_of(name)}.checkpoint.json{ending}"
                with suppress(*FAULTS):
                    found = named_in(state_of(unpack(self.bucket.read(key)))["deployment"])
                    return None if found == Name(self.project, self.stack) else found
        return None

    @property
    def _tags(self) -> str:
        return self._tags_of(Name(self.project, self.stack))

    def _tags_of(self, name: Name) -> str:
        scope = f"/{name.project}" if self._scoped else ""
        return f".pulumi/stacks{scope}/{name.stack}.pulumi-tags"

    def require_room(self) -> None:  # noqa: D102
        return

    def keep_tags(self) -> None:  # noqa: D102
        # The marks of verified releases stand nowhere else, and the CLI makes no backup of them.
        # Without a copy nothing is wrong yet: it must not undo what is done.
        with suppress(AegisError, OSError):
            tags = self._read_if_any(self._tags)
            kept = self._claim.removesuffix(".claim") + ".tags"
            if tags is not None:
                self.bucket.swap(kept, self._read_if_any(kept), tags)

    def _read_if_any(self, key: str) -> bytes | None:
        try:
            return self.bucket.read(key)
        except FileNotFoundError:
            return None

    def recording(self) -> AbstractContextManager[list[str]]:  # noqa: D102
        return recorded_last(self._names, self.stamp)

    def stamp(self, key: str, stamp: str) -> None:  # noqa: D102
        start = f"{self._history}/{self.stack}-"
        old = sorted(it.key for it in self.bucket.list(f"{start}{key}."))
        # The checkpoint first: a release without one can be seen, one of nothing cannot.
        for each in old:
            new = f"{start}{stamp}.{each.removeprefix(f'{start}{key}.')}"
            content = self.bucket.read(each)
            if not swap(self.bucket, new, None, content) and self._read_if_any(new) != content:
                return
        # Whoever dies in the middle leaves it whole in one of the two places.
        for each in reversed(old):
            self.bucket.delete(each)

    def locks(self) -> list[Lock]:  # noqa: D102
        scope = f"organization/{self.project}/" if self._scoped else ""
        keys = [
            entry.key
            for entry in self.bucket.list(f".pulumi/locks/{scope}{self.stack}/")
            if entry.key.endswith(".json")
        ]
        read = self.bucket.read_many(keys) if keys else {}
        found = (self._lock(key, read[key]) for key in keys)
        return [lock for lock in found if lock is not None]

    def release_lock(self, lock: Lock) -> None:  # noqa: D102
        self.bucket.delete(lock.key)

    def unfinished(self) -> bool:  # noqa: D102
        return False

    @property
    def beat_seconds(self) -> float:  # noqa: D102
        return self.bucket.beat_seconds

    def claim(self) -> str | None:  # noqa: D102
        try:
            return self.bucket.read(self._claim).decode(errors="replace")
        except FileNotFoundError:
            return None

    def swap_claim(self, before: str | None, after: str | None) -> bool:  # noqa: D102
        old = None if before is None else before.encode()
        new = None if after is None else after.encode()
        return swap(self.bucket, self._claim, old, new)

    @property
    def timelines(self) -> BucketArtifacts:  # noqa: D102
        return BucketArtifacts(self.bucket, self._claim.removesuffix(".claim") + ".timelines")

    @cached_property
    def _scoped(self) -> bool:
        """Whether the layout has a place for each project; the oldest one has not."""
        meta = ".pulumi/meta.yaml"
        try:
            return int((yaml.safe_load(self.bucket.read(meta)) or {}).get("version", 0)) > 0
        except FileNotFoundError:
            return False
        except (yaml.YAMLError, *FAULTS) as error:
            raise self._damaged(meta, error) from error

    @property
    def _scope(self) -> str:
        return f"/{self.project}" if self._scoped else ""

    @property
    def _claim(self) -> str:
        return self._claim_of(Name(self.project, self.stack))

    def _claim_of(self, name: Name) -> str:
        scope = f"/{name.project}" if self._scoped else ""
        return f".pulumi/aegis{scope}/{name.stack}.claim"

    @cached_property
    def _stacks(self) -> str:
        return f".pulumi/stacks{self._scope}"

    @cached_property
    def _history(self) -> str:
        return f".pulumi/history{self._scope}/{self.stack}"

    def _checkpoint_key(self, release: Release, ending: str) -> str:
        return f"{self._history}/{self.stack}-{release.key}.checkpoint{ending}"

    def _state_entry(self) -> ObjectEntry | None:
        listed = self.bucket.list(f"{self._stacks}/{self.stack}.json")
        names = {f"{self.stack}.json{ending}" for ending in _ENDINGS}
        present = [entry for entry in listed if entry.name in names]
        # A change of compression may leave the file of before: the CLI takes the newest, too.
        return max(present, key=lambda entry: entry.modified, default=None)

    def _backups(self) -> list[str]:
        listed = self.bucket.list(f".pulumi/backups{self._scope}/{self.stack}/{self.stack}.")
        return [entry.key for entry in listed if _is_state(entry)]

    def _names(self) -> list[str]:
        """The names of the history files, oldest first; the order gives the numbers."""
        pattern = re.compile(re.escape(self.stack) + r"-(\d+)\.history\.json(?:\.gz|\.zst)?")
        try:
            listed = self.bucket.list(f"{self._history}/")
        except OSError as error:
            raise self._damaged(self._history, error) from error
        matched = (pattern.fullmatch(entry.name) for entry in listed)
        keyed = sorted((int(match[1]), match[0]) for match in matched if match is not None)
        return [name for _, name in keyed]

    def _release(self, number: int, name: str, contents: Mapping[str, bytes | OSError]) -> Release:
        key, place = key_of(name), f"{self._history}/{name}"
        try:
            content = contents[place]
            if isinstance(content, OSError):
                raise content
            return make_release(number, key, unpack(content))
        except FAULTS as error:
            return unreadable(number, key, self.bucket.place(place), error)

    def _lock(self, key: str, content: bytes | OSError) -> Lock | None:
        place = self.bucket.place(key)
        try:
            if isinstance(content, OSError):
                raise content
            raw = json.loads(content)
            stamp = re.sub(r"(\.\d{6})\d+", r"\1", raw["timestamp"])
            return Lock(
                place=place,
                key=key,
                who=f"{raw['username']}@{raw['hostname']}",
                host=raw["hostname"],
                pid=int(raw["pid"]),
                since=datetime.fromisoformat(stamp),
            )
        except FileNotFoundError:
            return None  # Its holder ended between the listing and the reading.
        except FAULTS as error:
            return Lock(place=place, key=key, fault=fault_of(error))

    def _damaged(self, key: str, error: Exception, backups: Sequence[str] = ()) -> AegisError:
        place, following = self.bucket.place(key), ""
        newest = self.bucket.place(backups[-1]) if backups else ""
        if newest:
            copied = self.bucket.copy_command.format(newest, place)
            following = f"put the backup in its place{copied and ': '}{copied}"
        return AegisError(
            what=f"{place} cannot be read",
            why=fault_of(error) + (f"; the newest backup is {newest}" if newest else ""),
            next=following,
        )


def _is_state(entry: ObjectEntry) -> bool:
    return _STATE.search(entry.name) is not None
