"""A service as the store, asked through the CLI: 0.3 s a question, and its network."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any

from ops.backend import Lock, Recorded
from ops.engine import Engine, explain
from ops.records import key_of, make_release
from ops.release import Release

CLAIM = "aegis:claim"
_SETTLE_SECONDS = 2.0
_ID = 15
"""A claim begins with what names it: a bracket, a quote and twelve digits, a quote."""
_ALL = 1_000_000_000


@dataclass
class CliStore:
    """A service, asked through the CLI: it numbers updates and keeps their checkpoints.

    Attributes:
        engine: The CLI.
        reference: The stack's name on its command line.
    """

    engine: Engine = field(repr=False)
    reference: str

    def require(self) -> None:  # noqa: D102
        # Listing tags asks the backend for the stack, and changes nothing.
        done = self.engine.run(["stack", "--show-name", "--stack", self.reference])
        if done.code:
            raise explain(done, f"the stack {self.reference} could not be opened")

    def count(self) -> int | None:  # noqa: D102
        return None

    def releases(  # noqa: D102
        self, limit: int | None = None, *, newest: int | None = None
    ) -> list[Release]:
        raw = self._history(_ALL if limit is None or newest is not None else limit)
        total = len(raw)
        found = [
            make_release(number, str(number), item)
            for place, item in enumerate(raw)
            for number in [int(item.get("version") or 0) or total - place]
        ]
        return [it for it in found if newest is None or it.number <= newest][:limit]

    def renamed(self, limit: int | None, names: Sequence[str]) -> list[Release]:
        """The history of a file store, with the keys its file names give."""
        raw = self._history(len(names) if limit is None else limit)
        newest = list(enumerate(names, start=1))[::-1]
        return [
            make_release(number, key_of(name), item)
            for (number, name), item in zip(newest, raw, strict=False)
        ]

    def state(self) -> dict[str, Any] | None:  # noqa: D102
        return None

    def checkpoint(self, release: Release) -> dict[str, Any] | None:  # noqa: D102
        arguments = ["stack", "export", "--stack", self.reference]
        arguments += ["--version", str(release.number)]
        return dict(self.engine.expect_json(*arguments)["deployment"])

    def outputs(self, release: Release) -> dict[str, Any] | None:  # noqa: D102, ARG002
        return None

    def recorded(self, release: Release) -> Recorded | None:  # noqa: D102, ARG002
        return None

    def tags(self) -> Mapping[str, str]:  # noqa: D102
        raw = self.engine.expect_json("stack", "tag", "ls", "--json", "--stack", self.reference)
        return {str(name): str(value) for name, value in raw.items()}

    def change_tags(self, change: Mapping[str, str | None]) -> bool:  # noqa: D102, ARG002
        return False

    def require_room(self) -> None:  # noqa: D102
        return

    def keep_tags(self) -> None:  # noqa: D102
        return

    def ordered(self) -> AbstractContextManager[None]:  # noqa: D102
        return nullcontext()

    def locks(self) -> list[Lock]:  # noqa: D102
        return []

    def release_lock(self, lock: Lock) -> None:  # noqa: D102, ARG002
        self.engine.expect("cancel", "--yes", "--stack", self.reference)

    @property
    def beat_seconds(self) -> float:  # noqa: D102
        return 15.0  # Each is a run of the CLI.

    def claim(self) -> str | None:  # noqa: D102
        return self.tags().get(CLAIM)

    def swap_claim(self, before: str | None, after: str | None) -> bool:  # noqa: D102
        if self.claim() != before:
            return False
        with self.engine.tagging:
            if after is None:
                self.engine.expect("stack", "tag", "rm", CLAIM, "--stack", self.reference)
            else:
                self.engine.expect("stack", "tag", "set", CLAIM, after, "--stack", self.reference)
        if after is None or (before or "")[:_ID] == after[:_ID]:
            return True
        # Tags know no "only if absent": whoever wrote last has it, once both have looked again.
        time.sleep(_SETTLE_SECONDS)
        return self.claim() == after

    def _history(self, size: int) -> list[dict[str, Any]]:
        arguments = ["stack", "history", "--json", "--stack", self.reference]
        return list(self.engine.expect_json(*arguments, "--page-size", str(size)) or [])
