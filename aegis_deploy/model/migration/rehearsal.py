"""What came of trying a migration on a copy of the database, as docs/schema.md has it. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from aegis_deploy.model.database.schema import (
    PROBE_ARGS,
    CodeSchema,
    DatabaseSchema,
    misfit,
    of_answer,
    of_outputs,
)
from aegis_deploy.model.migration.schema_locks import MODES, Lock
from aegis_deploy.model.migration.schema_plan import documents

_SHOWN = 100


@dataclass(frozen=True, kw_only=True)
class RehearsedStatement:
    """A statement that was tried.

    Attributes:
        revision: The revision that sent it; None where that is not said.
        sql: Its first line.
        seconds: How long it took.
        locks: The strongest lock that it took on each table that was there before.
    """

    revision: int | None
    sql: str
    seconds: float
    locks: tuple[Lock, ...] = ()

    @property
    def strongest(self) -> Lock | None:
        """The lock for which most wait; None when it took none."""
        return max(self.locks, key=lambda it: MODES.index(it.mode), default=None)


@dataclass(frozen=True, kw_only=True)
class Probe:
    """What came of trying the code that runs on what a rehearsal left.

    Attributes:
        code: What that code says of itself; None where it says nothing.
        failed: Why it does not work with it; empty where it does.
        tried: Whether there was anything left to try it on.
    """

    code: CodeSchema | None = None
    failed: str = ""
    tried: bool = True


@dataclass(frozen=True, kw_only=True)
class Rehearsal:
    """A rehearsal.

    Attributes:
        database: What the database is.
        after: What its copy was at the end.
        said: All that the migration said, for machines.
        statements: What was tried.
        left: What was not copied, a line each.
        failed: Why it did not come to its end; empty when it did.
        probe: How what runs works with what it left; None when that was not tried.
    """

    database: DatabaseSchema
    after: DatabaseSchema
    said: Mapping[str, Any]
    statements: tuple[RehearsedStatement, ...] = ()
    left: tuple[str, ...] = ()
    failed: str = ""
    probe: Probe | None = None

    @property
    def bad(self) -> bool:
        """Whether it did not come to its end, or leaves what runs without what that needs."""
        return bool(self.failed) or self.breaks

    @property
    def breaks(self) -> bool:
        """Whether what runs does not work with what was left, though its numbers say so."""
        it = self.probe
        return it is not None and it.tried and bool(it.failed) and not self.ends

    @property
    def ends(self) -> str:
        """Why what runs is not to work with what was left; empty when it is."""
        return "" if self.probe is None else misfit(self.probe.code, self.after)

    @property
    def pending(self) -> bool:
        """Whether there was anything to rehearse."""
        return bool(self.statements) or self.after != self.database

    @property
    def of_what_runs(self) -> str:
        """Say in a line how what runs works with what was left; empty where that is no matter."""
        if self.failed or not self.pending:
            return ""
        if self.probe is None:
            return f"what runs was not tried on it: it does not say how ({PROBE_ARGS})"
        if self.ends:
            return f"what runs does not work with it, as its revisions say: {self.ends}"
        if not self.probe.tried:
            return f"what runs was not tried on it: {self.probe.failed}"
        if self.probe.failed:
            return f"WHAT RUNS DOES NOT WORK WITH IT: {self.probe.failed}"
        return "what runs reads and writes on it"

    @property
    def headline(self) -> str:
        """Say in a line what came of it."""
        if self.failed:
            return f"fails on a copy of the database, which was left at {self.after.revision}"
        if not self.pending:
            return f"nothing to rehearse: the database is at revision {self.database.revision}"
        took = sum(it.seconds for it in self.statements)
        return f"rehearsed {self.database.revision} -> {self.after.revision}: {took:.1f} s"

    def lines(self) -> list[str]:
        """Say it to a person."""
        found = [self.headline]
        for it in self.statements:
            lock = "" if it.strongest is None else f"; {it.strongest}"
            number = "" if it.revision is None else f"revision {it.revision}: "
            found.append(f"  {number}{it.sql[:_SHOWN]}: {it.seconds:.3f} s{lock}")
        found += [f"  not copied: {it}" for it in self.left]
        found += [f"  {it}" for it in [self.of_what_runs] if it]
        return [*found, f"  {self.failed}"] if self.failed else found


def of_log(log: str) -> Rehearsal | None:
    """Read the last line of a log that is a rehearsal; None when there is none."""
    for found in documents(log):
        said = found.get("rehearsal")
        if isinstance(said, Mapping):
            at, after = (of_answer(json.dumps(said.get(name))) for name in ("database", "after"))
            if at is not None and after is not None:
                return _rehearsal(at, after, {**said, "probe": _of_probe(log)})
    return None


def _of_probe(log: str) -> Mapping[str, Any] | None:
    for found in documents(log):
        said = found.get("probe")
        if isinstance(said, Mapping):
            return said
    return None


def _rehearsal(at: DatabaseSchema, after: DatabaseSchema, said: Mapping[str, Any]) -> Rehearsal:
    copied = said.get("copied")
    left = copied.get("left") if isinstance(copied, Mapping) else ()
    return Rehearsal(
        database=at,
        after=after,
        said=said,
        statements=tuple(_statement(it) for it in _listed(said.get("statements"))),
        left=tuple(str(it) for it in left or ()),
        failed=str(said.get("failed") or ""),
        probe=_probe(said["probe"]),
    )


def _probe(said: Mapping[str, Any] | None) -> Probe | None:
    if said is None:
        return None
    return Probe(
        code=of_outputs({"schema": said.get("code")}),
        failed=str(said.get("failed") or ""),
        tried=isinstance(said.get("database"), Mapping),
    )


def _statement(said: Mapping[str, Any]) -> RehearsedStatement:
    revision, seconds = said.get("revision"), said.get("seconds")
    locks = [
        Lock(mode=str(it.get("mode")), table=str(it.get("table")))
        for it in _listed(said.get("locks"))
        if it.get("mode") in MODES
    ]
    return RehearsedStatement(
        revision=revision if isinstance(revision, int) else None,
        sql=str(said.get("sql") or ""),
        seconds=float(seconds) if isinstance(seconds, (int, float)) else 0.0,
        locks=tuple(locks),
    )


def _listed(said: object) -> Sequence[Mapping[str, Any]]:
    return [it for it in said if isinstance(it, Mapping)] if isinstance(said, list) else []
