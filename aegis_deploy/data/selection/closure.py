"""Which rows a sample consists of: those taken of their own accord, and all that belongs to them.

What is taken of its own accord is a condition that PostgreSQL evaluates (:mod:`.row_choice`), so it
is nowhere listed. What is pulled in beside it is listed here by its place, the `ctid`: within one
snapshot a visible row stays where it is (only VACUUM FULL and CLUSTER move it, and the lock of a
reader keeps both off). A place tells nothing of a row, so it may lie on a disk of ours, where a key
may not; and a role that can only read, on a standby too, needs no temporary table for it. It is
kept in an SQLite database without a name, which spills to a file that has none either, so memory
stays flat.
"""

from __future__ import annotations

import sqlite3
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from aegis_deploy.common.errors import AegisError
from aegis_deploy.data.catalog import Catalog, Reference, Table, TableName
from aegis_deploy.data.connection import worded
from aegis_deploy.data.selection.row_choice import (
    NO_ROW,
    Choice,
    Limit,
    RowSql,
    Wanted,
    identity,
    leads,
    parents_first,
    share,
)

if TYPE_CHECKING:
    from aegis_deploy.data.selection.snapshot import Snapshot

_EXACT = 10_000
"""Up to so many rows a target is met to the row, by sorting the ranks; beyond, chance is off by a
hundredth at most in two cases of three."""
_CACHE_KIB = 16_384
BATCH = 5_000
"""How many rows are asked for by their place at once."""
TOLERANCE = 0.2
"""How far from its target a table may be without a word."""


class Places:
    """Rows by their place, each once; what is new is given out in batches."""

    def __init__(self) -> None:
        self._alone = threading.Lock()
        self._database = sqlite3.connect("", check_same_thread=False)
        self._database.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
        self._database.execute("PRAGMA journal_mode = OFF")
        self._database.execute("PRAGMA synchronous = OFF")
        self._database.execute("CREATE TABLE come (relation INT, place INT)")
        for name in ("taken", "fresh"):
            self._database.execute(
                f"CREATE TABLE {name} (relation INT, place INT, "
                "PRIMARY KEY (relation, place)) WITHOUT ROWID"
            )

    def add(self, rows: Iterator[tuple[int, int]]) -> dict[int, int]:
        """Add rows.

        Args:
            rows: The oid of the relation and the place of each.

        Returns:
            Of each relation, how many were new.
        """
        ask = self._database.execute
        ask("DELETE FROM come")
        self._database.executemany("INSERT INTO come VALUES (?, ?)", rows)
        new = "FROM come WHERE NOT EXISTS (SELECT 1 FROM taken t WHERE t.relation = come.relation "
        new += "AND t.place = come.place)"
        counts = ask(f"SELECT relation, count(DISTINCT place) {new} GROUP BY relation").fetchall()
        ask(f"INSERT OR IGNORE INTO fresh SELECT relation, place {new}")
        ask("INSERT OR IGNORE INTO taken SELECT relation, place FROM come")
        return dict(counts)

    def fresh(self, relation: int) -> Iterator[list[int]]:
        """Give out a relation's rows that are new, and forget that they are.

        Args:
            relation: Its oid.
        """
        # What is added meanwhile may lie before what was given out.
        while batch := self._batch("fresh", relation, -1):
            self._database.execute(
                "DELETE FROM fresh WHERE relation = ? AND place BETWEEN ? AND ?",
                (relation, batch[0], batch[-1]),
            )
            yield batch

    def taken(self, relation: int) -> Iterator[list[int]]:
        """Give out a relation's rows, in the order they lie in; from several threads at once.

        Args:
            relation: Its oid.
        """
        last = -1
        while batch := self._batch("taken", relation, last):
            yield batch
            last = batch[-1]

    def close(self) -> None:
        """Forget all of it."""
        self._database.close()

    def _batch(self, name: str, relation: int, after: int) -> list[int]:
        query = f"SELECT place FROM {name} WHERE relation = ? AND place > ? ORDER BY place LIMIT ?"  # noqa: S608
        with self._alone:
            rows = self._database.execute(query, (relation, after, BATCH)).fetchall()
        return [it for (it,) in rows]


@dataclass(frozen=True)
class Taken:
    """What is taken of a table.

    Attributes:
        table: Its name.
        rows: How many rows it has.
        target: How many were to be taken.
        own: How many are taken of their own accord, or with the leading parent.
        lead: The reference along which they are chosen; None: by themselves.
        pulled: By each other reference, how many more.
    """

    table: TableName
    rows: int
    target: int
    own: int
    lead: Reference | None = None
    pulled: Mapping[str, int] = field(default_factory=dict)

    @property
    def total(self) -> int:
        """How many rows are taken in all."""
        return self.own + sum(self.pulled.values())

    @property
    def off(self) -> bool:
        """Whether that is further from the target than is tolerated, where there is one."""
        return abs(self.total - self.target) > self.target * TOLERANCE and self.target > 0

    def as_json(self) -> dict[str, object]:
        """Return it for machines."""
        return {
            "table": str(self.table),
            "rows": self.rows,
            "target": self.target,
            "own": self.own,
            "with": str(self.lead.to) if self.lead else None,
            "pulled": dict(self.pulled),
            "total": self.total,
            "off_target": self.off,
        }


@dataclass(frozen=True)
class Dangling:
    """A reference that no constraint holds, by which rows refer to what is not there, or none do.

    Attributes:
        reference: The reference, as the rules declare it.
        rows: How many rows refer by it.
        lost: How many of them to nothing.
    """

    reference: Reference
    rows: int
    lost: int

    def __str__(self) -> str:
        """Say it, without a value."""
        way = self.reference
        told = f"{way.table}.{','.join(way.columns)} -> {way.to}.{','.join(way.to_columns)}"
        if way.only_where is not None and not self.rows:
            return f"{told}: no row has {' = '.join(way.only_where)}"
        return f"{told}: {self.lost:,} of {self.rows:,} rows refer to nothing"


@dataclass(frozen=True)
class Selection:
    """The rows of a sample.

    Attributes:
        sql: The statements for what is taken of its own accord.
        taken: Of each table what is taken, parents first.
        places: The rows beside.
        relations: The oid of each relation that rows lie in.
        dangling: What the rules declare and not every row bears out.
    """

    sql: RowSql
    taken: tuple[Taken, ...]
    places: Places
    relations: Mapping[TableName, int]
    dangling: tuple[Dangling, ...] = ()


def select(
    snapshot: Snapshot,
    catalog: Catalog,
    wanted: Wanted,
    key: bytes,
    said: Callable[[str], None] = lambda _: None,
) -> Selection:
    """Find the rows of a sample.

    Args:
        snapshot: What is read.
        catalog: Its tables.
        wanted: What is to be taken.
        key: What the rows' ranks follow from.
        said: Told what is being looked for.

    Raises:
        AegisError: The rules declare a reference that no row bears out, or the server refused or
            was lost.
    """
    sql = RowSql(catalog, key)
    said("looking at declared references")
    dangling = _dangling(snapshot, sql)
    said("counting rows")
    names = sorted(catalog.tables)
    rows = dict(zip(names, snapshot.numbers([sql.rows(it) for it in names]), strict=True))
    own = _choose(snapshot, sql, wanted, rows, said)
    unknown = [it for it in names if it not in own]
    found = snapshot.numbers([sql.rows_chosen(it) for it in unknown])
    own |= dict(zip(unknown, found, strict=True))
    relations = snapshot.oids([it for table in catalog.tables.values() for it in table.relations])
    pulling = _Pulling(snapshot, sql, wanted, relations)
    pulling.run(said)
    edges = {it: [ref.to for ref in catalog.references_of(it)] for it in names}
    taken = tuple(
        Taken(
            table=it,
            rows=rows[it],
            target=own[it] if _comes_along(wanted, it) else wanted.target(it).of(rows[it]),
            own=own[it],
            lead=sql.choices[it].lead,
            pulled=dict(pulling.pulled[it]),
        )
        for it in parents_first(names, edges)
    )
    return Selection(sql, taken, pulling.places, relations, dangling)


def _dangling(snapshot: Snapshot, sql: RowSql) -> tuple[Dangling, ...]:
    """Hold what the rules declare against the rows, for no constraint does.

    Raises:
        AegisError: No row bears out one of them: it is another one that is meant.
    """
    declared = [it for it in sql.catalog.references if it.declared]
    rows = snapshot.numbers([sql.referring(it) for it in declared])
    lost = snapshot.numbers([sql.referring(it, to_nothing=True) for it in declared])
    looked = [Dangling(*it) for it in zip(declared, rows, lost, strict=True)]
    # That nothing is of a kind may be a slip of the pen in the rules.
    found = [it for it in looked if it.lost or (it.reference.only_where and not it.rows)]
    wrong = [str(it) for it in found if it.lost and it.lost == it.rows]
    if wrong:
        raise AegisError(
            what="the rules declare references that no row bears out",
            why="\n".join(wrong),
            next="correct them under references: in the rules, or leave them out",
        )
    return tuple(found)


def _comes_along(wanted: Wanted, table: TableName) -> bool:
    """Whether a table has no target but what it follows."""
    return table not in wanted.tables and any(it.table == table for it in wanted.follow)


def _choose(
    snapshot: Snapshot,
    sql: RowSql,
    wanted: Wanted,
    rows: Mapping[TableName, int],
    said: Callable[[str], None],
) -> dict[TableName, int]:
    """Find the limit of each table, after that of its leading one.

    Returns:
        How many rows are below it, where that needs no look.
    """
    known: dict[TableName, int] = {}
    leading = leads(sql.catalog, wanted, rows)
    edges = {table: [it.to] for table, it in leading.items()}
    followed = {(it.table, it.name) for it in wanted.follow}

    def limit(table: TableName, choice: Choice, wish: int, of: int, *, led: bool) -> Limit:
        if wish <= 0:
            return NO_ROW
        if wish >= of:
            return None
        if wish > _EXACT:
            return share(wish, of)
        ((rank,),) = snapshot.rows(sql.rank_at(table, wish, choice, led=led))
        return bytes(rank)

    for table in parents_first(sql.catalog.tables, edges):
        said(f"{table}: choosing rows")
        wish, of = wanted.target(table).of(rows[table]), rows[table]
        lead = leading.get(table)
        choice = Choice(lead=lead, follows=(table, lead.name if lead else "") in followed)
        if lead is None:
            one = limit(table, choice, wish, of, led=False)
            sql.choices[table] = replace(choice, with_lead=one, other=one)
            if _is_exact(sql.catalog.tables[table], wish, of):
                known[table] = wish
            continue
        (led,) = snapshot.numbers([sql.rows_led(table, choice)])
        own = led if choice.follows else min(wish, led)
        sql.choices[table] = replace(
            choice,
            with_lead=limit(table, choice, own, led, led=True) if own else NO_ROW,
            other=limit(table, choice, wish - own, of - led, led=False),
        )
        rest = max(wish - own, 0)
        if all(_is_exact(sql.catalog.tables[table], *it) for it in ((own, led), (rest, of - led))):
            known[table] = own + rest
    return known


def _is_exact(table: Table, wish: int, of: int) -> bool:
    """Whether so many rows are below a limit to the row: none, all, or told apart and sorted."""
    return wish in {0, of} or (wish <= _EXACT and bool(identity(table)))


class _Pulling:
    """Follows references from what is taken until nothing new is found."""

    def __init__(
        self,
        snapshot: Snapshot,
        sql: RowSql,
        wanted: Wanted,
        relations: Mapping[TableName, int],
    ) -> None:
        self.places = Places()
        self.pulled: dict[TableName, dict[str, int]] = defaultdict(lambda: defaultdict(int))
        self._snapshot, self._sql, self._wanted = snapshot, sql, wanted
        self._relations = relations
        self._tables = {
            relations[name]: table.name
            for table in sql.catalog.tables.values()
            for name in table.relations
        }

    def run(self, said: Callable[[str], None]) -> None:
        for reference in self._sql.catalog.references:
            choice = self._sql.choices[reference.table]
            if choice.lead != reference or choice.pulls_lead:
                self._up(reference, None, said)
        for reference in self._wanted.follow:
            if self._sql.choices[reference.table].lead != reference:
                self._down(reference, None, said)
        while any(self._on(it, said) for it in self._sql.catalog.tables):
            pass

    def _on(self, table: TableName, said: Callable[[str], None]) -> bool:
        """Go on from what is new of a table; returns whether there was anything."""
        found = False
        for name in self._sql.catalog.tables[table].relations:
            for batch in self.places.fresh(self._relations[name]):
                found = True
                for reference in self._sql.catalog.references_of(table):
                    self._up(reference, (name, batch), said)
                for reference in self._wanted.follow:
                    if reference.to == table:
                        self._down(reference, (name, batch), said)
        return found

    def _up(
        self,
        reference: Reference,
        of: tuple[TableName, Sequence[int]] | None,
        said: Callable[[str], None],
    ) -> None:
        if self._is_whole(reference.to) or (of is None and self._is_empty(reference.table)):
            return
        said(f"{reference.to}: what {reference.table} refers to")
        statement = self._sql.needed(reference, of=of)
        self._add(statement, reference, reference.to, few=of is not None)

    def _down(
        self,
        reference: Reference,
        of: tuple[TableName, Sequence[int]] | None,
        said: Callable[[str], None],
    ) -> None:
        if self._is_whole(reference.table) or (of is None and self._is_empty(reference.to)):
            return
        said(f"{reference.table}: what comes with {reference.to}")
        statement = self._sql.following(reference, of=of)
        self._add(statement, reference, reference.table, few=of is not None)

    def _add(self, statement: str, reference: Reference, table: TableName, *, few: bool) -> None:
        with worded("the rows that belong to the sample cannot be found", where=str(table)):
            new = sum(self.places.add(self._snapshot.copy_places(statement, few=few)).values())
        if new:
            arrow = f"{reference.table}.{','.join(reference.columns)}"
            self.pulled[table][arrow] += new

    def _is_whole(self, table: TableName) -> bool:
        choice = self._sql.choices[table]
        return choice.with_lead is None and choice.other is None

    def _is_empty(self, table: TableName) -> bool:
        choice = self._sql.choices[table]
        return choice.with_lead == choice.other == NO_ROW
