"""A directory as the place of a store, as the CLI keeps one.

What a bucket has conditions for, a directory does under its lock: whoever else changes an object by
`aegis` waits meanwhile, and whoever reads one never finds half of it.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from aegis_deploy.backend.buckets.object_store import ObjectEntry
from aegis_deploy.common import atomic_file, directory_lock, filesystem
from aegis_deploy.common.errors import AegisError

_NOTE = ".attrs"
"""The CLI's library keeps a note beside each file, with a checksum among other things, and writes
it anew when there is none (https://pkg.go.dev/gocloud.dev/blob/fileblob)."""
_COPIES_OF_STATE = 6
"""The state, what it is written to first, what it was, its backup, and the history's checkpoint,
which may all be on the disk at once; and one to spare."""
_BESIDE_STATE = 128 * 1024
"""Bytes for the update's record, its lock, tags, a claim."""


@dataclass
class DirectoryBucket:
    """A directory.

    Attributes:
        root: The directory that has ``.pulumi``.
    """

    root: Path
    beat_seconds: float = 5.0
    shell: str | None = ""

    def require(self) -> None:  # noqa: D102 - the protocol says it
        if not self.root.is_dir():
            raise AegisError(
                what="the backend cannot be reached",
                why=f"there is no directory {self.root}",
                next="see that PULUMI_BACKEND_URL names the backend, and that its disk is there",
            )

    def mend(self, start: str) -> None:  # noqa: D102
        # The CLI's library empties a note before it writes it. Killed in between, it leaves one at
        # which every later run of the CLI fails with "EOF"; one that is not there it does without.
        directory, _, name = start.rpartition("/")
        with suppress(OSError), os.scandir(self.root / directory) as entries:
            for it in entries:
                if it.name.startswith(name) and it.name.endswith(_NOTE) and not it.stat().st_size:
                    Path(it.path).unlink()

    def require_room(self, key: str) -> None:  # noqa: D102
        path = self.root / key
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

    def list(self, start: str) -> list[ObjectEntry]:  # noqa: D102
        # What is no file is listed, too: in the place of one it is damage, which reading it says.
        directory, _, name = start.rpartition("/")
        try:
            with os.scandir(self.root / directory) as entries:
                named = [it for it in entries if it.name.startswith(name)]
                found = [
                    # A look at each of 10,000 is a request each on a disk of another machine.
                    ObjectEntry(f"{directory}/{it.name}", _written(it) if name else 0.0)
                    for it in named
                    if not it.name.endswith(_NOTE)
                ]
        except FileNotFoundError:
            return []
        return sorted(found, key=lambda entry: entry.key)

    def read(self, key: str, size: int | None = None) -> bytes:  # noqa: D102
        # Not a Path: of 5,000 files it makes half of the time.
        with open(os.path.join(self.root, key), "rb") as file:  # noqa: PTH118, PTH123
            return file.read(-1 if size is None else size)

    def read_many(self, keys: Iterable[str]) -> Mapping[str, bytes | OSError]:  # noqa: D102
        found: dict[str, bytes | OSError] = {}
        for key in keys:
            try:
                found[key] = self.read(key)
            except OSError as error:
                found[key] = error
        return found

    def swap(self, key: str, before: bytes | None, after: bytes | None) -> bool:  # noqa: D102
        path, locked = self.root / key, self._locked(key)
        for directory in {path.parent, locked}:
            directory.mkdir(parents=True, exist_ok=True)
        with directory_lock.alone(locked):
            if (path.read_bytes() if path.exists() else None) != before:
                return False
            if after is None:
                path.unlink(missing_ok=True)
            else:
                atomic_file.write(path, after)
            path.with_name(path.name + _NOTE).unlink(missing_ok=True)
        return True

    def delete(self, key: str) -> None:  # noqa: D102
        for name in (key, key + _NOTE):
            (self.root / name).unlink(missing_ok=True)

    def is_own(self, start: str) -> bool:  # noqa: D102
        return filesystem.is_own(self.root / start)

    def place(self, key: str) -> str:  # noqa: D102
        return str(self.root / key)

    def _locked(self, key: str) -> Path:
        """The directory to lock: the object's; for tags that of the claim, as it always was."""
        return self.root / key.rpartition("/")[0].replace(".pulumi/stacks", ".pulumi/aegis", 1)


def _written(entry: os.DirEntry[str]) -> float:
    try:
        return entry.stat().st_mtime_ns
    except FileNotFoundError:
        return 0.0  # A draft, which has become what it is a draft of.
