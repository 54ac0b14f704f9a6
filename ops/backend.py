"""The store of a stack: its history, state, tags and locks, read and never reinterpreted.

A file store is read directly, which is what makes 5,000 updates quick. Every other one is asked
through the CLI. One file that cannot be read never hides the others.
"""

from __future__ import annotations

import gzip
import json
import os
import re
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit

import yaml

from ops.engine import Engine, explain
from ops.errors import AegisError
from ops.release import ConfigValue, Release

UNREADABLE = "unreadable"
"""The result of a release whose history file cannot be read; its message says which and why."""
_ALL = 1_000_000_000
_TIME = "%Y-%m-%dT%H:%M:%S.%fZ"
_DIY = ("file", "s3", "gs", "azblob", "postgres", "mem")
_RESTORES = re.compile(r"^aegis: (?:automated )?rollback to release (\d+)\b")


@dataclass(frozen=True)
class Lock:
    """Somebody's claim on a stack.

    Attributes:
        place: Where it is written, as far as that is known.
        who: User and host, ``ann@ci-7``.
        host: The host.
        pid: The process on it; None when the lock does not say.
        since: When it was taken; None when the lock does not say.
        fault: Why its file cannot be read; empty when it can.
    """

    place: str
    who: str = ""
    host: str = ""
    pid: int | None = None
    since: datetime | None = None
    fault: str = ""


class Store(Protocol):
    """Where a stack's state and history are."""

    def require(self) -> None:
        """Make sure that the store answers and has the stack.

        Raises:
            AegisError: It does not.
        """

    def releases(self, limit: int | None = None) -> list[Release]:
        """The history, newest first, without the marks of the ledger."""

    def state(self) -> dict[str, Any] | None:
        """The state as ``pulumi stack export`` has it; None to have the CLI export it."""

    def checkpoint(self, release: Release) -> dict[str, Any] | None:
        """The deployment a release left, secrets encrypted; None where the store has none."""

    def checkpoint_file(self, release: Release) -> Path | None:
        """The file with it, as it is, possibly compressed; None where it is not a file."""

    def tags(self) -> Mapping[str, str]:
        """The stack's tags."""

    def locks(self) -> list[Lock]:
        """Who claims the stack; an empty list when nobody does or the store does not say."""

    def release_lock(self, lock: Lock) -> None:
        """Take one claim away."""


def open_store(url: str, project: str, stack: str, engine: Engine, reference: str) -> Store:
    """Open the store at a backend's address."""
    scheme = urlsplit(url).scheme
    if scheme == "file":
        return FileStore(_path(url, engine), project, stack, engine, reference)
    return CliStore(url, engine, reference, versioned=scheme not in _DIY)


def _path(url: str, engine: Engine) -> Path:
    text = url.removeprefix("file://").partition("?")[0]
    if text.startswith("~"):
        home = engine.environment.get("HOME") or str(Path.home())
        return Path(home) / text[1:].lstrip("/")
    return engine.directory / text


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
        if any(name.endswith(".zst") for _, name in found) and not _has_zstd():
            return CliStore("file://", self.engine, self.reference).renamed(limit, names)
        return [self._release(number, name) for number, name in found]

    def state(self) -> dict[str, Any] | None:  # noqa: D102
        path = self._state_file()
        if path is None or (path.suffix == ".zst" and not _has_zstd()):
            return None
        try:
            content = _read_json(path)
            latest = content["checkpoint"]["latest"]
            return {"version": content["version"], "deployment": latest or {}}
        except (OSError, ValueError, KeyError, TypeError, EOFError, zlib.error) as error:
            raise _damaged(path, error, self._backups()) from error

    def checkpoint(self, release: Release) -> dict[str, Any] | None:  # noqa: D102
        path = self.checkpoint_file(release)
        if path is None:
            return None
        if path.suffix == ".zst" and not _has_zstd():
            return None
        try:
            return dict(_read_json(path)["checkpoint"]["latest"] or {})
        except (OSError, ValueError, KeyError, TypeError, EOFError, zlib.error) as error:
            raise _damaged(path, error) from error

    def checkpoint_file(self, release: Release) -> Path | None:  # noqa: D102
        for ending in ("", ".gz", ".zst"):
            path = self._history / f"{self.stack}-{release.key}.checkpoint.json{ending}"
            if path.exists():
                return path
        return None

    def tags(self) -> Mapping[str, str]:  # noqa: D102
        path = self._stacks / f"{self.stack}.pulumi-tags"
        try:
            tags = _read_json(path)["tags"] or {}
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, KeyError, TypeError) as error:
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

    @property
    def _stacks(self) -> Path:
        return self.root.joinpath(".pulumi", "stacks", *self._scope)

    @property
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
        key = _key(name)
        path = os.path.join(self._history, name)  # noqa: PTH118 - 5,000 of them: twice as quick
        try:
            return _release(number, key, _read_json(path))
        except (OSError, ValueError, KeyError, TypeError, EOFError, zlib.error) as error:
            return Release(
                number=number,
                key=key,
                kind="unknown",
                result=UNREADABLE,
                started=datetime.fromtimestamp(int(key) / 1e9, UTC),
                message=f"{path}: {_fault(error)}",
            )


@dataclass
class CliStore:
    """Any store, asked through the CLI.

    Attributes:
        url: Its address.
        engine: The CLI.
        reference: The stack's name on its command line.
        versioned: Whether it numbers updates itself and keeps their checkpoints, as a service does.
    """

    url: str
    engine: Engine = field(repr=False)
    reference: str
    versioned: bool = False

    def require(self) -> None:  # noqa: D102
        # Listing tags asks the backend for the stack, and changes nothing.
        done = self.engine.run(["stack", "--show-name", "--stack", self.reference])
        if done.code:
            raise explain(done, f"the stack {self.reference} could not be opened")

    def releases(self, limit: int | None = None) -> list[Release]:  # noqa: D102
        # Only a service says an update's number; elsewhere it is the place in the whole history.
        size = limit if limit is not None and self.versioned else _ALL
        raw = self._history(size)
        total = len(raw)
        made = [
            _release(number, str(number), item)
            for place, item in enumerate(raw)
            for number in [int(item.get("version") or 0) or total - place]
        ]
        return made if limit is None else made[:limit]

    def renamed(self, limit: int | None, names: Sequence[str]) -> list[Release]:
        """The history of a file store, with the keys its file names give."""
        raw = self._history(len(names) if limit is None else limit)
        newest = list(enumerate(names, start=1))[::-1]
        return [
            _release(number, _key(name), item)
            for (number, name), item in zip(newest, raw, strict=False)
        ]

    def state(self) -> dict[str, Any] | None:  # noqa: D102
        return None

    def checkpoint(self, release: Release) -> dict[str, Any] | None:  # noqa: D102
        arguments = ["stack", "export", "--stack", self.reference]
        if self.versioned:
            arguments += ["--version", str(release.number)]
        elif not release.current:
            return None
        return dict(self.engine.expect_json(*arguments)["deployment"])

    def checkpoint_file(self, release: Release) -> Path | None:  # noqa: D102, ARG002
        return None

    def tags(self) -> Mapping[str, str]:  # noqa: D102
        raw = self.engine.expect_json("stack", "tag", "ls", "--json", "--stack", self.reference)
        return {str(name): str(value) for name, value in raw.items()}

    def locks(self) -> list[Lock]:  # noqa: D102
        return []

    def release_lock(self, lock: Lock) -> None:  # noqa: D102, ARG002
        self.engine.expect("cancel", "--yes", "--stack", self.reference)

    def _history(self, size: int) -> list[dict[str, Any]]:
        arguments = ["stack", "history", "--json", "--stack", self.reference]
        return list(self.engine.expect_json(*arguments, "--page-size", str(size)) or [])


def _release(number: int, key: str, raw: Mapping[str, Any]) -> Release:
    """Make a release of a history file's content or of an item of the CLI's listing."""
    environment = raw.get("environment") or {}
    message = raw.get("message") or ""
    restores = _RESTORES.match(message)
    return Release(
        number=number,
        key=key,
        kind=raw["kind"],
        result=raw.get("result") or "in-progress",
        started=_time(raw["startTime"]),
        ended=_time(raw["endTime"]) if raw.get("endTime") else None,
        message=message,
        who=_who(environment),
        git_commit=environment.get("git.head"),
        config={name: _setting(value) for name, value in (raw.get("config") or {}).items()},
        environment=environment,
        changes=raw.get("resourceChanges") or {},
        restores=int(restores[1]) if restores else None,
    )


def _setting(raw: Any) -> ConfigValue:  # noqa: ANN401 - any JSON value
    if isinstance(raw, str):
        return ConfigValue(raw)
    if isinstance(raw, dict) and isinstance(raw.get("secret"), bool):
        # The CLI's listing, where a file has the value itself.
        return ConfigValue(raw.get("objectValue", raw.get("value")), secret=raw["secret"])
    return ConfigValue.recorded(raw)


def _who(environment: Mapping[str, str]) -> str:
    """Who ran an update: what a pipeline or `aegis` says, or else who made the commit."""
    system, build = environment.get("ci.system"), environment.get("ci.build.id", "")
    if system:
        return build if system == "aegis" else f"{system} {build}".strip()
    return environment.get("git.committer") or environment.get("git.author") or ""


def _time(raw: Any) -> datetime:  # noqa: ANN401 - seconds in a file, text from the CLI
    if isinstance(raw, (int, float)):
        return datetime.fromtimestamp(raw, UTC)
    return datetime.strptime(raw, _TIME).replace(tzinfo=UTC)


def _key(name: str) -> str:
    return name.partition(".history.")[0].rpartition("-")[2]


def _read_json(path: Path | str) -> Any:  # noqa: ANN401 - any JSON value
    with open(path, "rb") as file:  # noqa: PTH123 - 5,000 of them: a third quicker
        content = file.read()
    if content[:2] == b"\x1f\x8b":
        content = gzip.decompress(content)
    elif content[:4] == b"\x28\xb5\x2f\xfd":
        content = _unpack_zstd(content)
    return json.loads(content)


def _has_zstd() -> bool:
    try:
        _unpack_zstd(b"\x28\xb5\x2f\xfd\x00\x00\x01\x00\x00")
    except ValueError:
        return False
    return True


def _unpack_zstd(content: bytes) -> bytes:
    try:
        zstandard: Any = import_module("zstandard")
    except ImportError as error:
        raise ValueError(
            "it is compressed with zstd, and there is no `zstandard` to read it"
        ) from error
    try:
        return bytes(zstandard.ZstdDecompressor().decompressobj().decompress(content))
    except zstandard.ZstdError as error:
        raise ValueError(str(error)) from error


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
    except (OSError, ValueError, KeyError, TypeError) as error:
        return Lock(place=str(path), fault=_fault(error))


def _fault(error: Exception) -> str:
    """Why a file cannot be read, in a person's words."""
    if isinstance(error, json.JSONDecodeError):
        if not error.doc.strip():
            return "it is empty"
        return f"it is not JSON: {error.msg} at character {error.pos} of {len(error.doc)}"
    if isinstance(error, EOFError):
        return "its compressed data end too early"
    if isinstance(error, KeyError):
        return f"it lacks {error}"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error) or type(error).__name__


def _damaged(path: Path, error: Exception, backups: Sequence[Path] = ()) -> AegisError:
    newest = f"; the newest backup is {backups[-1]}" if backups else ""
    return AegisError(
        what=f"{path} cannot be read",
        why=_fault(error) + newest,
        next=f"put the backup in its place: cp {backups[-1]} {path}" if backups else "",
    )
