"""The line of revisions as a migration needs it: what is pending, and where it stops. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

Kind = Literal["expand", "contract"]


class HistoryError(Exception):
    """The revisions are no line that can be walked."""


@dataclass(frozen=True, kw_only=True)
class Revision:
    """One step of the schema.

    Attributes:
        number: Its place, from 1.
        kind: Whether the release before works after it (`expand`), or what it used goes
            (`contract`).
        about: What it does, in one line.
        least_head: For a contract, the least head of code that works after it; of an irreversible
            revision its own number.
        irreversible: Whether no code before it works once code of it has run: data rewritten, or
            written in a way that only this code reads. What runs serves on beside an expand.
        waived: The rules of the lint that it waives.
    """

    number: int
    kind: Kind
    about: str
    least_head: int = 0
    irreversible: bool = False
    waived: tuple[str, ...] = ()

    def __str__(self) -> str:
        """What a person calls it."""
        kind = f"{self.kind}, irreversible" if self.irreversible else self.kind
        return f"revision {self.number} ({kind}): {self.about}"


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a run does.

    Attributes:
        runs: The revisions it applies, in order.
        waits: Those it leaves, from the first contract on: a contract runs only when it is asked
            for.
    """

    runs: tuple[Revision, ...] = ()
    waits: tuple[Revision, ...] = ()


def line(revisions: Iterable[Revision]) -> tuple[Revision, ...]:
    """Return revisions in order.

    Raises:
        HistoryError: One lacks, is there twice, is of no kind, or a contract names no code.
    """
    found = tuple(sorted(revisions, key=lambda it: it.number))
    for place, it in enumerate(found, start=1):
        if it.number != place:
            raise HistoryError(f"revision {place} lacks or is there twice: next is {it.number}")
        if it.kind not in ("expand", "contract"):
            raise HistoryError(f"revision {place} says neither expand nor contract: {it.kind!r}")
        if it.irreversible and it.least_head != place:
            raise HistoryError(
                f"revision {place} is irreversible, which says already what code works after it: "
                "its own"
            )
        if (it.kind == "contract" or it.irreversible) != bool(it.least_head):
            raise HistoryError(
                f"revision {place}: a contract names the least code that works after it, "
                "an expand none"
            )
        if it.least_head > place:
            raise HistoryError(
                f"revision {place} asks for code of revision {it.least_head}, which is later"
            )
    return found


def plan(revisions: tuple[Revision, ...], at: int, *, contracts: bool = False) -> Plan:
    """Say what of a line is to run.

    Args:
        revisions: The line.
        at: The database's revision.
        contracts: Whether contracts run, too.
    """
    pending = revisions[at:]
    stop = next(
        (n for n, it in enumerate(pending) if it.kind == "contract" and not contracts), len(pending)
    )
    return Plan(runs=pending[:stop], waits=pending[stop:])
