"""What the buckets of the cloud makers have in common; each adds its library's own words.

A library repeats a request by itself, and says by exceptions of its own what stands in the way.
Three of these mean something here: there is no such object, somebody else was quicker, it failed.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Any

from aegis_deploy.backend.buckets.object_store import Address, ObjectEntry, unreachable
from aegis_deploy.common.errors import AegisError

AT_ONCE = 24
"""How many objects are read at the same time from a store that is far away."""


class Refusal(Enum):
    """What an exception of a library means."""

    ABSENT = auto()
    """There is no such object."""
    CHANGED = auto()
    """The object is not, or no longer, what the condition says."""
    FAILED = auto()
    """It did not answer, or did not let us in."""


_AS_OF_A_FILE = {Refusal.ABSENT: FileNotFoundError, Refusal.CHANGED: FileExistsError}


@dataclass
class CloudBucket(ABC):
    """A bucket of a cloud's maker.

    Attributes:
        url: Its address, as `pulumi login` takes it.
        environment: The environment the CLI runs with.
    """

    url: str
    environment: Mapping[str, str] = field(repr=False)
    beat_seconds: float = 10.0
    shell: str | None = None

    def __post_init__(self) -> None:
        self._at = Address.of(self.url)
        self._scheme = self.url.partition("://")[0]

    @abstractmethod
    def _listed(self, start: str, *, first: bool = False) -> Iterable[ObjectEntry]:
        """The objects whose whole keys begin so and have no slash after that; or one of any."""

    @abstractmethod
    def _content(self, key: str, size: int | None) -> bytes:
        """An object's content, or its first bytes."""

    @abstractmethod
    def _versioned(self, key: str) -> tuple[bytes, Any]:
        """An object's content, and what names exactly this version of it."""

    @abstractmethod
    def _put(self, key: str, content: bytes, version: Any) -> None:  # noqa: ANN401
        """Write an object over this version of it; None means that there is none."""

    @abstractmethod
    def _remove(self, key: str, version: Any) -> None:  # noqa: ANN401
        """Delete this version of an object; None means any."""

    @abstractmethod
    def _meaning(self, error: Exception) -> Refusal | None:
        """What an exception means; None for one that is none of the library's."""

    def require(self) -> None:
        """See :class:`~object_store.Bucket`, as for all that follows."""
        with self._told():
            next(iter(self._listed(self._at.prefix, first=True)), None)

    def mend(self, start: str) -> None:  # noqa: D102, ARG002
        return

    def require_room(self, key: str) -> None:  # noqa: D102, ARG002
        return

    def list(self, start: str) -> list[ObjectEntry]:  # noqa: D102
        with self._told():
            return [
                ObjectEntry(it.key.removeprefix(self._at.prefix), it.modified)
                for it in self._listed(self._at.prefix + start)
            ]

    def read(self, key: str, size: int | None = None) -> bytes:  # noqa: D102
        with self._told(Refusal.ABSENT):
            return self._content(self._at.prefix + key, size)

    def read_many(self, keys: Iterable[str]) -> Mapping[str, bytes | OSError]:  # noqa: D102
        return read_each(self.read, keys)

    def swap(self, key: str, before: bytes | None, after: bytes | None) -> bool:  # noqa: D102
        whole, version = self._at.prefix + key, None
        try:
            with self._told(Refusal.ABSENT, Refusal.CHANGED):
                if before is not None:
                    content, version = self._versioned(whole)
                    if content != before:
                        return False
                if after is None:
                    self._remove(whole, version)
                else:
                    self._put(whole, after, version)
        except (FileNotFoundError, FileExistsError):
            return False
        return True

    def delete(self, key: str) -> None:  # noqa: D102
        with suppress(FileNotFoundError), self._told(Refusal.ABSENT):
            self._remove(self._at.prefix + key, None)

    def is_own(self, start: str) -> bool:  # noqa: D102, ARG002
        return False

    def place(self, key: str) -> str:  # noqa: D102
        return f"{self._scheme}://{self._at.host}/{self._at.prefix}{key}"

    @contextmanager
    def _told(self, *expected: Refusal) -> Iterator[None]:
        """Have what a library raises told in our words, or as an OSError where it is expected."""
        try:
            yield
        except Exception as error:
            meaning = self._meaning(error)
            if meaning is None:
                raise
            if meaning in expected:
                raise _AS_OF_A_FILE[meaning](str(error)) from error
            raise self._unreachable(error) from error

    def _unreachable(self, error: Exception) -> AegisError:
        """What a person is told when it does not answer, or does not let us in."""
        return unreachable(self.url, error)


def read_each(read: Callable[[str], bytes], keys: Iterable[str]) -> Mapping[str, bytes | OSError]:
    """Read many objects, several at a time."""
    wanted = list(keys)

    def one(key: str) -> bytes | OSError:
        try:
            return read(key)
        except OSError as error:
            return error

    with ThreadPoolExecutor(min(AT_ONCE, max(1, len(wanted)))) as pool:
        return dict(zip(wanted, pool.map(one, wanted), strict=True))
