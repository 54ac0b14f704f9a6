"""A place for small files of ours beside a stack's claim, in whatever store the state is in.

What is kept there is worth having and never needed: it may be deleted at any time.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from aegis_deploy.common import atomic_file

if TYPE_CHECKING:
    from aegis_deploy.backend.object_store import Bucket


class ArtifactStore(Protocol):
    """Files by name; every error in using it is an OSError or an AegisError."""

    @property
    def shared(self) -> bool:
        """Whether every machine that uses the stack sees it."""

    def names(self) -> list[str]:
        """The names of what is there, in order."""

    def read(self, name: str) -> bytes:
        """The content of a file.

        Raises:
            FileNotFoundError: There is none.
        """

    def write(self, name: str, content: bytes) -> None:
        """Write a file whole, or not at all, in place of the one of that name."""

    def remove(self, name: str) -> None:
        """Remove a file; one that is not there is no error."""


@dataclass(frozen=True)
class DirectoryArtifacts:
    """A directory, made when the first file is written.

    Attributes:
        root: The directory.
        shared: Whether every machine that uses the stack sees it.
    """

    root: Path
    shared: bool = True

    def names(self) -> list[str]:  # noqa: D102 - the protocol says it
        try:
            # A draft begins with a dot.
            return sorted(it.name for it in os.scandir(self.root) if it.name[0] != ".")
        except FileNotFoundError:
            return []

    def read(self, name: str) -> bytes:  # noqa: D102
        return (self.root / name).read_bytes()

    def write(self, name: str, content: bytes) -> None:  # noqa: D102
        self.root.mkdir(parents=True, exist_ok=True)
        atomic_file.write(self.root / name, content)

    def remove(self, name: str) -> None:  # noqa: D102
        (self.root / name).unlink(missing_ok=True)


def own_shelf(environment: Mapping[str, str], kind: str, *names: str) -> DirectoryArtifacts:
    """Return a shelf of this machine's alone, for a store in which nothing of ours can be kept.

    Args:
        environment: The environment, which says where a person's state is.
        kind: What it is for.
        names: What tells it from others.
    """
    home = environment.get("HOME") or str(Path.home())
    state = environment.get("XDG_STATE_HOME") or f"{home}/.local/state"
    name = sha256("\0".join(names).encode()).hexdigest()[:16]
    return DirectoryArtifacts(Path(state) / "aegis" / kind / name, shared=False)


@dataclass(frozen=True)
class BucketArtifacts:
    """Objects of a bucket.

    Attributes:
        bucket: The bucket.
        prefix: What their keys begin with, up to a slash.
    """

    bucket: Bucket
    prefix: str

    @property
    def shared(self) -> bool:  # noqa: D102 - the protocol says it
        return True

    def names(self) -> list[str]:  # noqa: D102
        return sorted(entry.name for entry in self.bucket.list(f"{self.prefix}/"))

    def read(self, name: str) -> bytes:  # noqa: D102
        return self.bucket.read(f"{self.prefix}/{name}")

    def write(self, name: str, content: bytes) -> None:  # noqa: D102
        key = f"{self.prefix}/{name}"
        try:
            before: bytes | None = self.bucket.read(key)
        except FileNotFoundError:
            before = None
        self.bucket.swap(key, before, content)

    def remove(self, name: str) -> None:  # noqa: D102
        self.bucket.delete(f"{self.prefix}/{name}")
