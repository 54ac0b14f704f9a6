"""A place for small files of ours beside a stack's claim, in whatever store the state is in.

What is kept there is worth having and never needed: it may be deleted at any time.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

from aegis_deploy.backend.buckets.directory import DirectoryBucket

if TYPE_CHECKING:
    from aegis_deploy.backend.buckets.object_store import Bucket


@dataclass(frozen=True)
class ArtifactStore:
    """Files by name; every error in using it is an OSError or an AegisError.

    Attributes:
        bucket: Where they are.
        prefix: What their keys begin with, up to a slash.
        shared: Whether every machine that uses the stack sees them.
    """

    bucket: Bucket
    prefix: str
    shared: bool = True

    def names(self) -> list[str]:
        """The names of what is there, in order."""
        # In a directory a draft begins with a dot.
        listed = self.bucket.list(f"{self.prefix}/")
        return sorted(entry.name for entry in listed if not entry.name.startswith("."))

    def read(self, name: str) -> bytes:
        """The content of a file.

        Raises:
            FileNotFoundError: There is none.
        """
        return self.bucket.read(f"{self.prefix}/{name}")

    def write(self, name: str, content: bytes) -> None:
        """Write a file whole, or not at all, in place of the one of that name."""
        key = f"{self.prefix}/{name}"
        try:
            before: bytes | None = self.bucket.read(key)
        except FileNotFoundError:
            before = None
        self.bucket.swap(key, before, content)

    def remove(self, name: str) -> None:
        """Remove a file; one that is not there is no error."""
        self.bucket.delete(f"{self.prefix}/{name}")


def own_shelf(environment: Mapping[str, str], kind: str, *names: str) -> ArtifactStore:
    """Return a shelf of this machine's alone, for a store in which nothing of ours can be kept.

    Args:
        environment: The environment, which says where a person's state is.
        kind: What it is for.
        names: What tells it from others.
    """
    home = environment.get("HOME") or str(Path.home())
    state = environment.get("XDG_STATE_HOME") or f"{home}/.local/state"
    name = sha256("\0".join(names).encode()).hexdigest()[:16]
    return ArtifactStore(DirectoryBucket(Path(state)), f"aegis/{kind}/{name}", shared=False)
