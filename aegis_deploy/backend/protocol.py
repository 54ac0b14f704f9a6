"""The store of a stack: its history, state, tags and locks, read and never reinterpreted.

Every store is read directly, wherever it is: files, a bucket, a table, a service's API. One file
that cannot be read never hides the others.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

from aegis_deploy.backend.artifacts import ArtifactStore
from aegis_deploy.model.release import Release


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
        key: What its store calls it.
        automated: Whether what holds it was begun by a program, as `aegis` begins its updates.
        own: Whether only a process of this very kernel can have written it.
    """

    place: str
    who: str = ""
    host: str = ""
    pid: int | None = None
    since: datetime | None = None
    fault: str = ""
    key: str = ""
    automated: bool = False
    own: bool = False


@dataclass(frozen=True)
class Recorded:
    """A checkpoint as it is kept.

    Attributes:
        place: Where, for a person.
        ending: How its name ends: ``.json``, ``.json.gz`` or ``.json.zst``.
        content: What is there, its secrets encrypted.
    """

    place: str
    ending: str
    content: bytes = field(repr=False)


class Store(Protocol):
    """Where a stack's state and history are."""

    def require(self) -> None:
        """Make sure that the store answers and has the stack.

        Raises:
            AegisError: It does not.
        """

    def count(self) -> int | None:
        """How many operations the history has; None where only reading all of it would tell."""

    def releases(self, limit: int | None = None, *, newest: int | None = None) -> list[Release]:
        """The history, newest first, without the marks of the ledger.

        Args:
            limit: How many; no other is read.
            newest: The number of the first one; None means the last there is.
        """

    def state(self) -> dict[str, Any] | None:
        """The state as ``pulumi stack export`` has it; None to have the CLI export it."""

    def checkpoint(self, release: Release) -> dict[str, Any] | None:
        """The deployment a release left, secrets encrypted; None where the store has none."""

    def outputs(self, release: Release) -> dict[str, Any] | None:
        """The program's outputs in a release's checkpoint; None when it takes reading all of it."""

    def recorded(self, release: Release) -> Recorded | None:
        """The same, as it is kept; None where the store keeps none."""

    def tags(self) -> Mapping[str, str]:
        """The stack's tags; those it had under another name as long as it has none under this."""

    def adopt(self) -> None:
        """Take along what `aegis` kept of the stack under the name that it had before."""

    def change_tags(self, change: Mapping[str, str | None]) -> bool:
        """Set tags, or remove them (None), in one step; False where only the CLI can."""

    def require_room(self) -> None:
        """See that there is room for what an update writes, as far as that can be seen.

        Raises:
            AegisError: There is not. A state that is written to a full disk is cut short.
        """

    def keep_tags(self) -> None:
        """Keep a copy of the tags, which have just been changed, where the store keeps none."""

    def recording(self) -> AbstractContextManager[list[str]]:
        """See what is recorded during the block, and that it counts as later than all before it.

        A store that is no service orders its history by the clocks of whoever wrote it, and they
        differ.

        Returns:
            The keys of what was recorded, the last one last, once the block has ended. None are
            there when nothing was, or nobody can tell.
        """

    def stamp(self, key: str, stamp: str) -> None:
        """Name a record by another key than its own; only where `recording` does so, too."""

    def locks(self) -> list[Lock]:
        """Who claims the stack; an empty list when nobody does or the store does not say."""

    def release_lock(self, lock: Lock) -> None:
        """Take one claim away."""

    def unfinished(self) -> bool:
        """Whether an update is left in progress after the CLI that ran it here has failed.

        A service holds its lease still, when it was not there to be told of the end.
        """

    @property
    def beat_seconds(self) -> float:
        """How often a claim should beat, given what writing one costs."""

    @property
    def timelines(self) -> ArtifactStore:
        """Where timelines of the stack's changes are kept."""

    def claim(self) -> str | None:
        """The claim of `aegis` on the stack, as written."""

    def swap_claim(self, before: str | None, after: str | None) -> bool:
        """Replace the claim, unless it is no longer what it was; False when it is not.

        Args:
            before: The claim as it was read; None means that there is none.
            after: The claim to write; None takes it away.
        """
