"""A directory that stands in for a bucket."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from aegis_deploy.backend.object_store import ObjectEntry
from aegis_deploy.common import directory_lock
from aegis_deploy.common.errors import AegisError


@dataclass
class DirectoryBucket:
    """A directory.

    Attributes:
        root: The directory that has ``.pulumi``.
    """

    root: Path
    beat_seconds: float = 5.0
    copy_command: str = "cp {} {}"

    def require(self) -> None:
        if not self.root.is_dir():
            raise AegisError(
                what="the backend cannot be reached",
                why=f"there is no directory {self.root}",
                next="see that PULUMI_BACKEND_URL names the backend, and that its disk is there",
            )

    def list(self, start: str) -> list[ObjectEntry]:
        directory, _, name = start.rpartition("/")
        try:
            with os.scandir(self.root / directory) as entries:
                found = [
                    ObjectEntry(f"{directory}/{entry.name}", entry.stat().st_mtime if name else 0.0)
                    for entry in entries
                    if entry.name.startswith(name)
                ]
        except FileNotFoundError:
            return []
        return sorted(found, key=lambda entry: entry.key)

    def read(self, key: str, size: int | None = None) -> bytes:
        # Not a Path: of 5,000 files it makes half of the time.
        with open(os.path.join(self.root, key), "rb") as file:  # noqa: PTH118, PTH123
            return file.read(-1 if size is None else size)

    def read_many(self, keys: Iterable[str]) -> Mapping[str, bytes | OSError]:
        found: dict[str, bytes | OSError] = {}
        for key in keys:
            try:
                found[key] = self.read(key)
            except OSError as error:
                found[key] = error
        return found

    def swap(self, key: str, before: bytes | None, after: bytes | None) -> bool:
        path = self.root / key
        path.parent.mkdir(parents=True, exist_ok=True)
        with directory_lock.alone(path.parent, shared=False):
            if (path.read_bytes() if path.exists() else None) != before:
                return False
            if after is None:
                path.unlink(missing_ok=True)
                return True
            draft = path.with_suffix(f".{os.getpid()}.{threading.get_ident()}")
            try:
                draft.write_bytes(after)
                draft.replace(path)
            finally:
                draft.unlink(missing_ok=True)
        return True

    def delete(self, key: str) -> None:
        for name in (key, f"{key}.attrs"):
            (self.root / name).unlink(missing_ok=True)

    def place(self, key: str) -> str:
        return str(self.root / key)
