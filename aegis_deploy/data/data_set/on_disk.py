"""A data set in a directory: written beside its place, and put there when it is whole."""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from aegis_deploy.common import atomic_file
from aegis_deploy.common.errors import AegisError
from aegis_deploy.data.data_set.storage import Draft

_MARK = "INCOMPLETE"
_MARKED = "A run of `aegis data sample` writes here, or was stopped. What is here is no data set.\n"


@dataclass(frozen=True)
class Directory:
    """A directory.

    Attributes:
        path: It.
    """

    path: Path

    @property
    def shown(self) -> str:  # noqa: D102 - see Storage, as for all that follows
        return str(self.path)

    def require_free(self) -> None:  # noqa: D102
        path = self.path
        if path.exists() and (not path.is_dir() or any(path.iterdir())):
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
        handle = _own(draft)
        try:
            for it in draft.iterdir():
                if it.name != _MARK:
                    shutil.rmtree(it) if it.is_dir() else it.unlink()
            yield Draft(lambda name: _created(draft / name))
            (draft / _MARK).unlink()
            for it in filter(Path.is_dir, draft.iterdir()):
                atomic_file.keep_name(it)
            atomic_file.keep_name(draft)
            draft.rename(directory)
            atomic_file.keep_name(directory.parent)
        except BaseException:
            # Nothing but masked rows is there, and what is there is no data set.
            with suppress(OSError):
                shutil.rmtree(draft)
            raise
        finally:
            os.close(handle)

    def is_unfinished(self) -> bool:  # noqa: D102
        return (self.path / _MARK).exists()

    @contextmanager
    def open(self, name: str) -> Iterator[IO[bytes]]:  # noqa: D102
        with self._within(name).open("rb") as file:
            yield file

    def size(self, name: str) -> int:  # noqa: D102
        return self._within(name).stat().st_size

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


def _own(draft: Path) -> int:
    """Make the directory that is written to, or take over what a dead run left; its lock."""
    with suppress(FileExistsError):
        draft.mkdir(mode=0o700)
        (draft / _MARK).write_text(_MARKED)
    if not draft.is_dir() or (not (draft / _MARK).exists() and any(draft.iterdir())):
        raise AegisError(
            what=f"{draft} is in the way",
            why="it is there, and no run of `aegis data sample` left it",
            next="move it away, or name another directory",
        )
    handle = os.open(draft, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        (draft / _MARK).write_text(_MARKED)
    except BlockingIOError:
        os.close(handle)
        raise AegisError(
            what=f"{draft} is being written",
            why="another run of `aegis data sample` has its lock",
            next="wait until it is done, or name another directory",
        ) from None
    except BaseException:
        os.close(handle)
        raise
    return handle
