"""What a migration would do, as far as that can be said before. Pure.

A migration's own plan is a contract's (docs/schema.md); of an update only its preview is known.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from aegis_deploy.model.database.schema import (
    CodeSchema,
    DatabaseSchema,
    frozen,
    latest,
    of_answer,
    together,
)
from aegis_deploy.model.fingerprint import is_shown, remains
from aegis_deploy.model.migration.schema_locks import Lock, of_sql

if TYPE_CHECKING:
    from aegis_deploy.model.events import Step


CONTRACT = "contract"


@dataclass(frozen=True, kw_only=True)
class PendingRevision:
    """A revision that would be applied.

    Attributes:
        number: Its number.
        kind: ``expand`` or ``contract``; empty where that is not said.
        about: What it does, in a line.
        sql: Its statements, a line each, as far as they can be told.
        irreversible: Whether no earlier code works after it.
        waived: The rules of a linter that its author waived.
        lint: What a linter has against it, each a rule's name and why.
    """

    number: int
    kind: str = ""
    about: str = ""
    sql: tuple[str, ...] = ()
    irreversible: bool = False
    waived: tuple[str, ...] = ()
    lint: tuple[str, ...] = ()

    @property
    def called(self) -> str:
        """What a person calls it."""
        words = [it for it in (self.kind, "irreversible" if self.irreversible else "") if it]
        kind = f" ({', '.join(words)})" if words else ""
        return f"revision {self.number}{kind}{f': {self.about}' if self.about else ''}"

    def lines(self) -> list[str]:
        """Say it to a person."""
        return [
            f"  {self.called}",
            *(f"      {it}" for it in self.sql),
            *(f"      locks: {it}" for it in self.locks),
        ]

    @property
    def locks(self) -> tuple[Lock, ...]:
        """The locks that its statements take on tables that are there, as far as they tell."""
        return of_sql(self.sql)

    def as_json(self) -> dict[str, Any]:
        """Return it for machines."""
        return {
            "revision": self.number,
            "kind": self.kind,
            "about": self.about,
            "sql": list(self.sql),
            "irreversible": self.irreversible,
            "locks": [{"table": it.table, "mode": it.mode} for it in self.locks],
        }


@dataclass(frozen=True, kw_only=True)
class SchemaPlan:
    """What a migration would do.

    Attributes:
        database: What the database is; None where nobody says.
        after: What it would be.
        revisions: What would be applied; empty where that is not told.
        told: Whether the migration itself said all this, or it is the most that it could do.
    """

    database: DatabaseSchema | None
    after: DatabaseSchema
    revisions: tuple[PendingRevision, ...] = ()
    told: bool = True

    @property
    def pending(self) -> bool:
        """Whether there is anything to do."""
        return self.database != latest((self.database, self.after))

    def lines(self) -> list[str]:
        """Say it to a person."""
        found = [line for it in self.revisions for line in it.lines()]
        if not self.told:
            found = ["  what it removes is not said: its pod template has no plan (docs/schema.md)"]
        return found


@dataclass(frozen=True, kw_only=True)
class Foreseen:
    """What a checkout says of the revisions that an update has before it.

    Attributes:
        revisions: They, with what a linter has against them.
        unlinted: Why no linter was asked; empty when one was.
        unknown: Why the checkout does not say which they are; empty when it does.
    """

    revisions: tuple[PendingRevision, ...] = ()
    unlinted: str = ""
    unknown: str = ""

    @property
    def fault(self) -> str:
        """Say what is not known, in a line; empty when all is."""
        if self.unknown:
            return f"which revisions those are is not known: {self.unknown}"
        return f"not linted: {self.unlinted}" if self.unlinted else ""

    def lines(self) -> list[str]:
        """Say it to a person."""
        found = [self.fault] if self.fault else []
        for it in self.revisions:
            found += [it.called, *(f"    squawk: {line}" for line in it.lint)]
        return found

    def as_json(self) -> dict[str, Any]:
        """Return it for machines."""
        listed = [{**it.as_json(), "lint": list(it.lint)} for it in self.revisions]
        return {"revisions": listed, "unknown": self.fault or None}


@dataclass(frozen=True, kw_only=True)
class Ahead:
    """How far an update migrates a database, at most: it stops before a contract.

    Attributes:
        revision: What the database is at; None where nobody says.
        head: The last revision that what is deployed knows.
        irreversible: The last of them that cannot be gone back past; 0 of none.
    """

    revision: int | None
    head: int
    irreversible: int = 0

    def __str__(self) -> str:
        """Say it to a person."""
        at = f"revision {self.head}" if self.revision is None else f"{self.revision} -> {self.head}"
        return f"migrates {at}; from the first contract on all waits for aegis migrate contract"

    @property
    def freezes(self) -> str:
        """Say what cannot be gone back past once this has run; empty of nothing."""
        if not self.irreversible:
            return ""
        return (
            f"revision {self.irreversible} is irreversible: once it is applied, no release of code "
            "before it can be gone back to, by itself or by hand"
        )

    def as_json(self) -> dict[str, int | None]:
        """Return it for machines."""
        return {
            "revision": self.revision,
            "head": self.head,
            "irreversible": self.irreversible or None,
        }


def of_steps(steps: Iterable[Step]) -> tuple[CodeSchema | None, bool]:
    """Return what an update's release says of the schema, and whether the update migrates.

    Args:
        steps: Its preview's.
    """
    shown = [it for it in steps if is_shown(it) and remains(it)]
    return together(it.schema for it in shown), any(it.migrates for it in shown)


def dataset_of(steps: Iterable[Step]) -> str:
    """Return the data set that an update's release works on; empty of none.

    Args:
        steps: Its preview's.
    """
    return next((it.dataset for it in steps if it.dataset and is_shown(it) and remains(it)), "")


def ahead(steps: Iterable[Step], database: DatabaseSchema | None) -> Ahead | None:
    """Say how far an update migrates; None when it does not.

    Args:
        steps: Its preview's.
        database: What the database is; None where nobody says.
    """
    code, migrates = of_steps(steps)
    revision = None if database is None else database.revision
    if code is None or not migrates:
        return None
    if (revision or 0) >= code.head:
        return None
    irreversible = code.irreversible if code.irreversible > (revision or 0) else 0
    return Ahead(revision=revision, head=code.head, irreversible=irreversible)


def revisions_command(steps: Iterable[Step]) -> tuple[str, ...]:
    """Return what lists the revisions of an update's migration; empty where nothing says it.

    Args:
        steps: Its preview's.
    """
    shown = (it for it in steps if is_shown(it) and remains(it) and it.migrates)
    return next((it.revisions_command for it in shown if it.revisions_command), ())


def of_list(text: str) -> tuple[PendingRevision, ...] | None:
    """Read the last line of a text that lists revisions; None when there is none."""
    for found in documents(text):
        listed = found.get("revisions")
        if isinstance(listed, list):
            read = (_revision(it) for it in listed)
            return tuple(it for it in read if it is not None)
    return None


def documents(text: str) -> Iterator[Mapping[str, Any]]:
    """Return the lines of a text that are JSON objects, the last first."""
    for line in reversed(text.splitlines()):
        try:
            found = json.loads(line)
        except ValueError:
            continue
        if isinstance(found, Mapping):
            yield found


def of_log(log: str) -> SchemaPlan | None:
    """Read the last line of a log that is a plan; None when there is none."""
    plans = map(_plan, documents(log))
    return next((it for it in plans if it is not None), None)


def _plan(said: Mapping[str, Any]) -> SchemaPlan | None:
    if not all(isinstance(said.get(name), Mapping) for name in ("database", "after")):
        return None
    database, after = (of_answer(json.dumps(said[name])) for name in ("database", "after"))
    if database is None or after is None:
        return None
    listed = said.get("revisions")
    read = [_revision(it) for it in listed] if isinstance(listed, list) else []
    revisions = tuple(it for it in read if it is not None)
    irreversible = max((it.number for it in revisions if it.irreversible), default=0)
    return SchemaPlan(
        database=database, after=frozen(after, irreversible) or after, revisions=revisions
    )


def _revision(said: object) -> PendingRevision | None:
    if not isinstance(said, Mapping) or not isinstance(said.get("revision"), int):
        return None
    sql, waived = said.get("sql"), said.get("waived")
    return PendingRevision(
        number=said["revision"],
        kind=str(said.get("kind") or ""),
        about=str(said.get("about") or ""),
        sql=tuple(map(str, sql)) if isinstance(sql, list) else (),
        irreversible=said.get("irreversible") is True,
        waived=tuple(map(str, waived)) if isinstance(waived, list) else (),
    )
