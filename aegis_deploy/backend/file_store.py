"""The CLI's file store, read directly: 5,000 updates in well under a second."""

from __future__ import annotations

import glob
import json
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

from aegis_deploy.backend.artifacts import DirectoryArtifacts
from aegis_deploy.backend.cli_store import renamed
from aegis_deploy.backend.file_faults import damaged, damaged_tags, gone, unwritten
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
    read_json,
    retagged,
    state_of,
    unreadable,
)
from aegis_deploy.backend.own_record import recorded_last
from aegis_deploy.backend.protocol import Lock, Recorded
from aegis_deploy.common import atomic_file, directory_lock, filesystem
from aegis_deploy.common.errors import AegisError
from aegis_deploy.model.predecessor import KEPT, Name, named_in
from aegis_deploy.model.release import Release
from aegis_deploy.pulumi_cli.engine import Engine

_COPIES_OF_STATE = 6
"""The state, what it is written to first, what it was, its backup, and the history's checkpoint,
which may all be on the disk at once; and one to spare."""
_BESIDE_STATE = 128 * 1024
"""Bytes for the update's record, its lock, tags, a claim."""


@dataclass
class FileStore:
    """The CLI's file store.

    Attributes:
        root: The directory that has ``.pulumi``.
        project: The project's name.
        stack: The stack's name.
        engine: The CLI, for what is not read directly.
        reference: The stack's name on its command line.
    """

    root: Path
    project: str
    stack: str
    engine: Engine = field(repr=False)
    reference: str

    def require(self) -> None:  # noqa: D102 - the protocol says it
        if not self.root.is_dir():
            raise AegisError(
                what="the backend cannot be reached",
                why=f"there is no directory {self.root}",
                next="see that PULUMI_BACKEND_URL names the backend, and that its disk is there",
            )
        if self._state_file() is None:
            copy, updates = self._copy(), len(self._names())
            # `pulumi stack rm` removes the history as well, and leaves copies.
            if copy is not None and updates:
                raise gone(self._stacks / f"{self.stack}.json", copy, updates)
            stacks = sorted({path.name.partition(".json")[0] for path in self._stack_files()})
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
        if newest is None and not are_legible([name for _, name in found]):
            return renamed(self.engine, self.reference, limit, names)
        return [self._release(number, name) for number, name in found]

    def state(self) -> dict[str, Any] | None:  # noqa: D102
        path = self._state_file()
        if path is None or (path.suffix == ".zst" and not has_zstd()):
            return None
        try:
            return state_of(read_json(path))
        except FAULTS as error:
            raise damaged(path, error, self._copy()) from error

    def checkpoint(self, release: Release) -> dict[str, Any] | None:  # noqa: D102
        path = self._checkpoint_file(release)
        if path is None:
            return None
        if path.suffix == ".zst" and not has_zstd():
            return None
        try:
            return dict(read_json(path)["checkpoint"]["latest"] or {})
        except FAULTS as error:
            raise damaged(path, error) from error

    def outputs(self, release: Release) -> dict[str, Any] | None:  # noqa: D102
        path = os.path.join(self._history, f"{self.stack}-{release.key}.checkpoint.json")  # noqa: PTH118
        try:
            with open(path, "rb") as file:  # noqa: PTH123
                return outputs_in(file.read(HEAD))
        except (OSError, ValueError):
            return None

    def recorded(self, release: Release) -> Recorded | None:  # noqa: D102
        path = self._checkpoint_file(release)
        if path is None:
            return None
        try:
            ending = path.name.removeprefix(f"{self.stack}-{release.key}.checkpoint")
            return Recorded(str(path), ending, path.read_bytes())
        except OSError as error:
            raise damaged(path, error) from error

    def _checkpoint_file(self, release: Release) -> Path | None:
        return self._checkpoint_of(release.key)

    def _checkpoint_of(self, key: str) -> Path | None:
        for ending in ("", ".gz", ".zst"):
            path = self._history / f"{self.stack}-{key}.checkpoint.json{ending}"
            if path.exists():
                return path
        return None

    def tags(self) -> Mapping[str, str]:  # noqa: D102
        path = self._tags
        before = None if path.exists() else self._before()
        if before is not None:
            path = self._tags_of(before)
        try:
            tags = read_json(path)["tags"] or {}
        except FileNotFoundError:
            return {}
        except FAULTS as error:
            raise self._damaged_tags(error) from error
        return {str(name): str(value) for name, value in tags.items()}

    def adopt(self) -> None:  # noqa: D102
        before = None if self._tags.exists() else self._before()
        if before is None:
            return
        tags = self._tags_of(before)
        with self._alone():
            if self._is_taken(before):
                # Marks name releases by keys that no other stack has.
                if tags.exists():
                    atomic_file.write(self._tags, tags.read_bytes())
                return
            kept = self._claim_of(before)
            moved = [(kept.with_suffix(it), self._claim.with_suffix(it)) for it in KEPT]
            for old, new in (*moved, (tags, self._tags)):
                if old.exists() and not new.exists():
                    old.rename(new)

    def _is_taken(self, name: Name) -> bool:
        """Whether another stack has the name now."""
        state = self._tags_of(name).with_suffix(".json")
        return any(Path(f"{state}{end}").exists() for end in ("", ".gz", ".zst"))

    def _before(self) -> Name | None:
        """What the stack was called before it was renamed; None when it was not."""
        for name in reversed(self._names()):
            path = self._checkpoint_of(key_of(name))
            if path is None or not are_legible([path.name]):
                continue
            with suppress(*FAULTS):
                found = named_in(state_of(read_json(path))["deployment"])
                return None if found == Name(self.project, self.stack) else found
        return None

    def change_tags(self, change: Mapping[str, str | None]) -> bool:  # noqa: D102
        try:
            self.adopt()
            with self._alone():
                self._write_tags(change)
        except OSError as error:
            raise unwritten(self._tags, error) from error
        return True

    def _write_tags(self, change: Mapping[str, str | None]) -> None:
        path = self._tags
        try:
            after = retagged(path.read_bytes() if path.exists() else None, change)
        except FAULTS as error:
            raise self._damaged_tags(error) from error
        atomic_file.write(path, after)
        # The CLI's note beside it names a checksum, of what it was.
        path.with_name(f"{path.name}.attrs").unlink(missing_ok=True)

    def require_room(self) -> None:  # noqa: D102
        path = self._state_file() or self._stacks
        disk = os.statvfs(path)
        free = disk.f_bavail * disk.f_frsize
        needed = _COPIES_OF_STATE * path.stat().st_size + _BESIDE_STATE
        if free < needed:
            raise AegisError(
                what="the disk that holds the state is full",
                why=f"{self.root} has room for {free // 1024} KiB; an update needs "
                f"{needed // 1024} KiB for the state, its copies and its record",
                next="make room, then: aegis recover, and the same again",
            )

    def keep_tags(self) -> None:  # noqa: D102
        # The marks of verified releases stand nowhere else, and the CLI makes no backup of them.
        # Without a copy nothing is wrong yet: a full disk must not undo what is done.
        with suppress(OSError):
            self._kept_tags.parent.mkdir(parents=True, exist_ok=True)
            atomic_file.write(self._kept_tags, self._tags.read_bytes())

    def recording(self) -> AbstractContextManager[list[str]]:  # noqa: D102
        return recorded_last(self._names, self.stamp)

    def stamp(self, key: str, stamp: str) -> None:  # noqa: D102
        start = f"{self.stack}-{key}."
        # The checkpoint first: a release without one can be seen, one of nothing cannot.
        for path in sorted(self._history.glob(f"{glob.escape(start)}*")):
            path.rename(path.with_name(f"{self.stack}-{stamp}.{path.name.removeprefix(start)}"))

    def locks(self) -> list[Lock]:  # noqa: D102
        directory = self.root / ".pulumi" / "locks" / self._qualified
        found = sorted(directory.glob("*.json")) if directory.is_dir() else []
        own = bool(found) and filesystem.is_own(directory)
        read = (_read_lock(path) for path in found)
        return [replace(lock, own=own) for lock in read if lock is not None]

    def release_lock(self, lock: Lock) -> None:  # noqa: D102
        Path(lock.place).unlink(missing_ok=True)
        Path(lock.place + ".attrs").unlink(missing_ok=True)

    def unfinished(self) -> bool:  # noqa: D102
        return False

    @property
    def beat_seconds(self) -> float:  # noqa: D102
        return 5.0

    def claim(self) -> str | None:  # noqa: D102
        try:
            return self._claim.read_text(errors="replace")
        except FileNotFoundError:
            return None

    def swap_claim(self, before: str | None, after: str | None) -> bool:  # noqa: D102
        with self._alone():
            if self.claim() != before:
                return False
            if after is None:
                self._claim.unlink(missing_ok=True)
            else:
                atomic_file.write(self._claim, after.encode())
        return True

    @property
    def timelines(self) -> DirectoryArtifacts:  # noqa: D102
        return DirectoryArtifacts(self._claim.with_suffix(".timelines"))

    @property
    def _tags(self) -> Path:
        return self._tags_of(Name(self.project, self.stack))

    def _tags_of(self, name: Name) -> Path:
        scope = (name.project,) if self._scoped else ()
        return self.root.joinpath(".pulumi", "stacks", *scope, f"{name.stack}.pulumi-tags")

    def _damaged_tags(self, error: Exception) -> AegisError:
        copy = self._kept_tags
        return damaged_tags(self._tags, error, copy if copy.exists() else None)

    @property
    def _kept_tags(self) -> Path:
        return self._claim.with_suffix(".tags")

    @property
    def _claim(self) -> Path:
        return self._claim_of(Name(self.project, self.stack))

    def _claim_of(self, name: Name) -> Path:
        scope = (name.project,) if self._scoped else ()
        return self.root.joinpath(".pulumi", "aegis", *scope, f"{name.stack}.claim")

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Keep others from the claim between a look at it and a change."""
        directory = self._claim.parent
        directory.mkdir(parents=True, exist_ok=True)
        with directory_lock.alone(directory):
            yield

    @cached_property
    def _scoped(self) -> bool:
        """Whether the layout has a directory for each project; the oldest one has not."""
        meta = self.root / ".pulumi" / "meta.yaml"
        try:
            return int((yaml.safe_load(meta.read_text()) or {}).get("version", 0)) > 0
        except FileNotFoundError:
            return False
        except (yaml.YAMLError, *FAULTS) as error:
            fault = damaged(meta, error)
            fault.next = f"write it anew: echo 'version: 1' > {meta}"
            raise fault from error

    @property
    def _scope(self) -> tuple[str, ...]:
        return (self.project,) if self._scoped else ()

    @property
    def _qualified(self) -> Path:
        return Path(*(("organization", *self._scope) if self._scoped else ()), self.stack)

    @cached_property
    def _stacks(self) -> Path:
        return self.root.joinpath(".pulumi", "stacks", *self._scope)

    @cached_property
    def _history(self) -> Path:
        return self.root.joinpath(".pulumi", "history", *self._scope, self.stack)

    def _stack_files(self) -> Iterator[Path]:
        if self._stacks.is_dir():
            for path in self._stacks.iterdir():
                if re.search(r"\.json(\.gz|\.zst)?$", path.name):
                    yield path

    def _state_file(self) -> Path | None:
        candidates = [self._stacks / f"{self.stack}.json{end}" for end in ("", ".gz", ".zst")]
        present = [path for path in candidates if path.exists()]
        # A change of compression may leave the file of before: the CLI takes the newest, too.
        return max(present, key=lambda path: path.stat().st_mtime_ns, default=None)

    def _copy(self) -> Path | None:
        """The newest copy of the state that can be read."""
        directory = self.root.joinpath(".pulumi", "backups", *self._scope, self.stack)
        paths = [*directory.glob(f"{self.stack}.*.json*")] if directory.is_dir() else []
        paths.append(self._stacks / f"{self.stack}.json.bak")
        there = [path for path in paths if path.suffix != ".attrs" and path.exists()]
        there.sort(key=lambda path: path.stat().st_mtime_ns, reverse=True)
        return next(filter(_is_state, there), None)

    def _names(self) -> list[str]:
        """The names of the history files, oldest first; the order gives the numbers."""
        pattern = re.compile(re.escape(self.stack) + r"-(\d+)\.history\.json(?:\.gz|\.zst)?")
        try:
            with os.scandir(self._history) as entries:
                matched = [pattern.fullmatch(entry.name) for entry in entries]
        except FileNotFoundError:
            return []
        except OSError as error:
            raise damaged(self._history, error) from error
        keyed = sorted((int(match[1]), match[0]) for match in matched if match is not None)
        return [name for _, name in keyed]

    def _release(self, number: int, name: str) -> Release:
        key = key_of(name)
        path = os.path.join(self._history, name)  # noqa: PTH118 - 5,000 of them: twice as quick
        try:
            return make_release(number, key, read_json(path))
        except FAULTS as error:
            return unreadable(number, key, path, error)


def _read_lock(path: Path) -> Lock | None:
    try:
        raw = json.loads(path.read_bytes())
        stamp = re.sub(r"(\.\d{6})\d+", r"\1", raw["timestamp"])
        return Lock(
            place=str(path),
            who=f"{raw['username']}@{raw['hostname']}",
            host=raw["hostname"],
            pid=int(raw["pid"]),
            since=datetime.fromisoformat(stamp),
        )
    except FileNotFoundError:
        return None  # Its holder ended between the listing and the reading.
    except FAULTS as error:
        return Lock(place=str(path), fault=fault_of(error))


def _is_state(path: Path) -> bool:
    try:
        return bool(read_json(path)["checkpoint"])
    except FAULTS:
        return False
