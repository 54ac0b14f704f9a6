"""Where a data set lies, whatever it is: what can be asked of a directory and of a bucket alike."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import IO, TYPE_CHECKING, Protocol, cast

from aegis_deploy.common.errors import AegisError

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

UNTOUCHED = "no database was changed, and no data set was written"
_BUFFER = 1 << 18


class Draft:
    """A data set that is being written.

    Attributes:
        sums: The SHA-256 of each file that was written whole, by its name.
    """

    def __init__(self, create: Callable[[str], AbstractContextManager[IO[bytes]]]) -> None:
        """Begin with no file.

        Args:
            create: Makes a file of a name, which is whole after its block.
        """
        self.sums: dict[str, str] = {}
        self._create = create

    @contextmanager
    def create(self, name: str) -> Iterator[IO[bytes]]:
        """Write a file; whoever keeps it has it after the block.

        Args:
            name: Its name, from the data set on.
        """
        with self._create(name) as out:
            summed = _Summed(out)
            # Rows come one by one.
            with io.BufferedWriter(summed, _BUFFER) as buffered:
                yield cast("IO[bytes]", buffered)
        self.sums[name] = summed.digest.hexdigest()


class Storage(Protocol):
    """A place for one data set. Reading never creates anything.

    From the first time that a file is opened or measured on, it has to stay the same one.
    """

    @property
    def compared(self) -> dict[str, str]:
        """The SHA-256 of each file that was compared with its checksum: it need not be again."""

    @property
    def shown(self) -> str:
        """It, for people."""

    def below(self) -> list[Storage]:
        """What lies one step below it and is not unfinished; not all of that need be data sets.

        Raises:
            OSError: There is nothing.
            AegisError: It cannot be reached.
        """

    def require_free(self) -> None:
        """Refuse it when something is there that is not a stopped run's.

        Raises:
            AegisError: Something is, or nothing can be made there.
        """

    def being_written(self) -> AbstractContextManager[Draft]:
        """Have a data set written: it is one when the block has ended, and none before.

        Raises:
            AegisError: Something is there, or somebody else writes it.
        """

    def is_unfinished(self) -> bool:
        """Whether a run writes there, or was killed while it did.

        Raises:
            AegisError: It cannot be reached.
        """

    def open(self, name: str) -> AbstractContextManager[IO[bytes]]:
        """Open a file.

        Args:
            name: Its name, from the data set on.

        Raises:
            OSError: There is none, or it cannot be read.
            AegisError: It cannot be reached, or is another one by now.
        """

    def size(self, name: str) -> int:
        """Return how large a file is, in bytes.

        Args:
            name: Its name, from the data set on.

        Raises:
            OSError: There is none.
            AegisError: It cannot be reached.
        """


def another(place: str, kind: str) -> AegisError:
    """Say that a file is not the one that it was.

    Args:
        place: Where it is.
        kind: What it is called there: a file, an object.
    """
    return AegisError(
        what=f"{place} is another {kind} by now",
        why="it was written anew while it was read",
        state=UNTOUCHED,
        next="see who writes there, then run it again",
    )


class _Summed(io.RawIOBase):
    """Passes on what is written, and sums it up."""

    def __init__(self, out: IO[bytes]) -> None:
        self.digest = hashlib.sha256()
        self._out = out

    def writable(self) -> bool:
        return True

    def write(self, data: ReadableBuffer) -> int:
        self.digest.update(data)
        return self._out.write(data)
