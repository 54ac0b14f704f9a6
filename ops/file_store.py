"""The CLI's file store, read directly: 5,000 updates in well under a second."""

from __future__ import annotations

import fcntl
import json
import os
import re
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

from ops.backend import Lock
from ops.cli_store import CliStore
from ops.engine import Engine
from ops.errors import AegisError
from ops.records import FAULTS, UNREADABLE, fault_of, has_zstd, key_of, make_release, read_json
from ops.release import Release

_STACK = "pulumi:pulumi:Stack"
_HEAD = 16_384
_FIRST_RESOURCE = re.compile(r'"resources"\s*:\s*\[\s*\{')


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
            stacks = sorted({path.name.partition(".json")[0] for path in self._stack_files()})
            raise AegisError(
                what=f"there is no stack {self.stack} of {self.project} in this backend",
                why="it has " + (", ".join(stacks) if stacks else f"no stack of {self.project}"),
                next=f"pulumi stack init {self.stack}",
            )

    def releases(self, limit: int | None = None) -> list[Release]:  # noqa: D102
        names = self._names()
        found = list(enumerate(names, start=1))
        found.reverse()
        if limit is not None:
            found = found[:limit]
        if any(name.endswith(".zst") for _, name in found) and not has_zstd():
            return CliStore("file://", self.engine, self.reference).renamed(limit, names)
        return [self._release(number, name) for number, name in found]

    def state(self) -> dict[str, Any] | None:  # noqa: D102
        path = self._state_file()
        if path is None or (path.suffix == ".zst" and not has_zstd()):
            return None
        try:
            content = read_json(path)
            latest = content["checkpoint"]["latest"]
            return {"version": content["version"], "deployment": latest or {}}
        except FAULTS as error:
            raise _damaged(path, error, self._backups()) from error

    def checkpoint(self, release: Release) -> dict[str, Any] | None:  # noqa: D102
        path = self.checkpoint_file(release)
        if path is None:
            return None
        if path.suffix == ".zst" and not has_zstd():
            return None
        try:
            return dict(read_json(path)["checkpoint"]["latest"] or {})
        except FAULTS as error:
            raise _damaged(path, error) from error

    def outputs(self, release: Release) -> dict[str, Any] | None:  # noqa: D102
        path = os.path.join(self._history, f"{self.stack}-{release.key}.checkpoint.json")  # noqa: PTH118
        try:
            with open(path, "rb") as file:  # noqa: PTH123
                text = file.read(_HEAD).decode(errors="ignore")
            # The stack is the first resource; the others, nearly all of the file, are not read.
            start = _FIRST_RESOURCE.search(text)
            found = json.JSONDecoder().raw_decode(text, start.end() - 1)[0] if start else {}
        except (OSError, ValueError):
            return None
        return dict(found.get("outputs") or {}) if found.get("type") == _STACK else None

    def checkpoint_file(self, release: Release) -> Path | None:  # noqa: D102
        for ending in ("", ".gz", ".zst"):
            path = self._history / f"{self.stack}-{release.key}.checkpoint.json{ending}"
            if path.exists():
                return path
        return None

    def tags(self) -> Mapping[str, str]:  # noqa: D102
        path = self._stacks / f"{self.stack}.pulumi-tags"
        try:
            tags = read_json(path)["tags"] or {}
        except FileNotFoundError:
            return {}
        except FAULTS as error:
            raise _damaged(path, error) from error
        return {str(name): str(value) for name, value in tags.items()}

    def locks(self) -> list[Lock]:  # noqa: D102
        directory = self.root / ".pulumi" / "locks" / self._qualified
        found = sorted(directory.glob("*.json")) if directory.is_dir() else []
        return [lock for path in found if (lock := _read_lock(path)) is not None]

    def release_lock(self, lock: Lock) -> None:  # noqa: D102
        Path(lock.place).unlink(missing_ok=True)
        Path(lock.place + ".attrs").unlink(missing_ok=True)

    @property
    def beat_seconds(self) -> float:  # noqa: D102
        return 5.0

    def claim(self) -> str | None:  # noqa: D102
        try:
            return self._claim.read_text()
        except FileNotFoundError:
            return None

    def swap_claim(self, before: str | None, after: str | None) -> bool:  # noqa: D102
        with self._alone():
            if self.claim() != before:
                return False
            if after is None:
                self._claim.unlink(missing_ok=True)
            else:
                draft = self._claim.with_suffix(f".{os.getpid()}.{threading.get_ident()}")
                try:
                    draft.write_text(after)
                    draft.replace(self._claim)
                finally:
                    draft.unlink(missing_ok=True)
        return True

    @property
    def _claim(self) -> Path:
        return self.root.joinpath(".pulumi", "aegis", *self._scope, f"{self.stack}.claim")

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Keep others from the claim between a look at it and a change."""
        directory = self._claim.parent
        directory.mkdir(parents=True, exist_ok=True)
        # The directory itself is locked: a file for it would stay behind for ever.
        handle = os.open(directory, os.O_RDONLY)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield
        finally:
            os.close(handle)

    @cached_property
    def _scoped(self) -> bool:
        """Whether the layout has a directory for each project; the oldest one has not."""
        meta = self.root / ".pulumi" / "meta.yaml"
        try:
            version = (yaml.safe_load(meta.read_text()) or {}).get("version", 0)
        except FileNotFoundError:
            return False
        except (OSError, yaml.YAMLError, AttributeError) as error:
            raise _damaged(meta, error) from error
        return int(version) > 0

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

    def _backups(self) -> list[Path]:
        directory = self.root.joinpath(".pulumi", "backups", *self._scope, self.stack)
        paths = directory.glob(f"{self.stack}.*.json*") if directory.is_dir() else ()
        return sorted(path for path in paths if not path.name.endswith(".attrs"))

    def _names(self) -> list[str]:
        """The names of the history files, oldest first; the order gives the numbers."""
        pattern = re.compile(re.escape(self.stack) + r"-(\d+)\.history\.json(?:\.gz|\.zst)?")
        try:
            with os.scandir(self._history) as entries:
                matched = [pattern.fullmatch(entry.name) for entry in entries]
        except FileNotFoundError:
            return []
        except OSError as error:
            raise _damaged(self._history, error) from error
        keyed = sorted((int(match[1]), match[0]) for match in matched if match is not None)
        return [name for _, name in keyed]

    def _release(self, number: int, name: str) -> Release:
        key = key_of(name)
        path = os.path.join(self._history, name)  # noqa: PTH118 - 5,000 of them: twice as quick
        try:
            return make_release(number, key, read_json(path))
        except FAULTS as error:
            return Release(
                number=number,
                key=key,
                kind="unknown",
                result=UNREADABLE,
                started=datetime.fromtimestamp(int(key) / 1e9, UTC),
                message=f"{path}: {fault_of(error)}",
            )


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


def _damaged(path: Path, error: Exception, backups: Sequence[Path] = ()) -> AegisError:
    newest = f"; the newest backup is {backups[-1]}" if backups else ""
    return AegisError(
        what=f"{path} cannot be read",
        why=fault_of(error) + newest,
        next=f"put the backup in its place: cp {backups[-1]} {path}" if backups else "",
    )
