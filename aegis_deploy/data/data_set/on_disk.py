"""A data set in a directory: written beside its place, and put there when it is whole."""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, NamedTuple

from aegis_deploy.common import atomic_file
from aegis_deploy.common.errors import AegisError
from aegis_deploy.data.data_set.storage import Draft, Storage, another

_MARK = "INCOMPLETE"
_MARKED = "A run of `aegis data sample` writes here, or was stopped. What is here is no data set.\n"


class _Version(NamedTuple):
    """What tells a file from one that was written in its place, or over it."""

    device: int
    inode: int
    size: int
    written: int
    changed: int


@dataclass(frozen=True)
class Directory:
    """A directory.

    Attributes:
        path: It.
        compared: The SHA-256 of each file that was compared with its checksum.
    """

    path: Path
    compared: dict[str, str] = field(default_factory=dict, init=False, repr=False, compare=False)
    _first: dict[str, _Version] = field(default_factory=dict, init=False, repr=False, compare=False)

    @property
    def shown(self) -> str:  # noqa: D102 - see Storage, as for all that follows
        return str(self.path)

    def below(self) -> list[Storage]:  # noqa: D102
        found = [Directory(it) for it in self.path.iterdir() if it.is_dir()]
        return [it for it in found if not it.is_unfinished()]

    def require_free(self) -> None:  # noqa: D102
        path = self.path
        free = not path.exists() or (path.is_dir() and not any(path.iterdir()))
        if not free and not self.is_unfinished():
            raise AegisError(
                what=f"{path} is not empty",
                why="a data set is never written over",
                next="name a directory that is not there yet",
            )
        if not path.absolute().parent.is_dir():
            raise AegisError(
                what=f"{path} cannot be made",
                why=f"there is no directory {path.absolute().parent}",
                next=f"mkdir -p {path.absolute().parent}",
            )

    @contextmanager
    def being_written(self) -> Iterator[Draft]:  # noqa: D102
        directory = Path(os.path.abspath(self.path))  # noqa: PTH100 - a link stays one
        self.require_free()
        draft = directory.with_name(directory.name + ".incomplete")
        if self.is_unfinished():
            # A run that was killed at its very end left it in its place.
            with _owned(directory):
                _discard(directory)
        with _owned(draft):
            try:
                _empty(draft)
                yield Draft(lambda name: _created(draft / name))
                for it in filter(Path.is_dir, draft.iterdir()):
                    atomic_file.keep_name(it)
                atomic_file.keep_name(draft)
                draft.rename(directory)
                atomic_file.keep_name(directory.parent)
                # Once the mark is gone it is a data set.
                (directory / _MARK).unlink()
                atomic_file.keep_name(directory)
            except BaseException:
                # Nothing but masked rows is there, and what is there is no data set.
                for it in (draft, directory):
                    with suppress(OSError):
                        if (it / _MARK).exists():
                            _discard(it)
                raise

    def is_unfinished(self) -> bool:  # noqa: D102
        return (self.path / _MARK).exists()

    @contextmanager
    def open(self, name: str) -> Iterator[IO[bytes]]:  # noqa: D102
        with self._within(name).open("rb") as file:
            self._same(name, os.fstat(file.fileno()))
            yield file
            self._same(name, os.fstat(file.fileno()))

    def size(self, name: str) -> int:  # noqa: D102
        return self._same(name, self._within(name).stat()).size

    def _same(self, name: str, said: os.stat_result) -> _Version:
        found = _Version(said.st_dev, said.st_ino, said.st_size, said.st_mtime_ns, said.st_ctime_ns)
        if self._first.setdefault(name, found) != found:
            raise another(str(self.path / name), "file")
        return found

    def _within(self, name: str) -> Path:
        path = self.path / name
        if not path.resolve().is_relative_to(self.path.resolve()):
            raise PermissionError(errno.EACCES, "lies outside the data set", str(path))
        return path


@contextmanager
def _created(path: Path) -> Iterator[IO[bytes]]:
    path.parent.mkdir(mode=0o700, exist_ok=True)
    with path.open("xb") as file:
        yield file
        file.flush()
        os.fsync(file.fileno())


def _empty(draft: Path) -> None:
    """Take away all but the mark: whoever is killed here leaves what the next one takes over."""
    for it in draft.iterdir():
        if it.name != _MARK:
            shutil.rmtree(it) if it.is_dir() else it.unlink()


def _discard(draft: Path) -> None:
    """Take away a directory, its mark last."""
    _empty(draft)
    (draft / _MARK).unlink(missing_ok=True)
    draft.rmdir()


@contextmanager
def _owned(draft: Path) -> Iterator[None]:
    """Make the directory that is written to, or take over what a dead run left; have its lock."""
    with suppress(FileExistsError):
        draft.mkdir(mode=0o700)
        (draft / _MARK).write_text(_MARKED)
    if not draft.is_dir() or _is_anothers(draft):
        raise AegisError(
            what=f"{draft} is in the way",
            why="it is there, and no run of `aegis data sample` left it",
            next="move it away, or name another directory",
        )
    handle = os.open(draft, os.O_RDONLY)
    try:
        _lock(handle, draft)
        (draft / _MARK).write_text(_MARKED)
        yield
    finally:
        os.close(handle)


def _lock(handle: int, draft: Path) -> None:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if not _is_anothers(draft):
            return
    except BlockingIOError:
        pass
    # It has the lock, or has just ended well with it.
    raise AegisError(
        what=f"{draft} is being written",
        why="another run of `aegis data sample` has its lock",
        next="wait until it is done, or name another directory",
    )


def _is_anothers(draft: Path) -> bool:
    return not (draft / _MARK).exists() and any(draft.iterdir())
