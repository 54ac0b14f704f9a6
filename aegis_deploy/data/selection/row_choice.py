"""Which rows are taken of their own accord, as SQL that says the same on every server. Pure.

A row's rank is SHA-256 over a seed and its primary key's text (or that of a unique key without
NULLs, or of the whole row): `sha256` is in every PostgreSQL from 11 on and the same everywhere,
which `hashtextextended` does not promise (it has changed with major versions and with byte order).
The seed follows from the key and the table's name, so the same key gives the same rows, and
nobody can tell them without it. A row whose rank is below the table's limit is taken.

Were every table sampled for itself, a tenth of the orders would bring nearly half of the customers
with them. So a table has a leading reference, and rows whose leading parent is taken have a limit
of their own, which is used up first: a tenth of the customers with a tenth of the orders, theirs.
"""

from __future__ import annotations

import hmac
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from aegis_deploy.data.catalog import Catalog, Reference, Table, TableName

Limit = bytes | None
"""What a row's rank has to be below; None: every row is taken, empty: none is."""
NO_ROW = b""

_WIDTH = 8
"""The bytes of a limit that is a share of all ranks."""


@dataclass(frozen=True)
class Target:
    """How much of a table is to be taken.

    Attributes:
        percent: Of its rows; None: it is given otherwise.
        rows: So many; None: it is given otherwise. With neither, all are.
    """

    percent: float | None = None
    rows: int | None = None

    def of(self, rows: int) -> int:
        """Return how many rows that is; at least one of a table that has any.

        Args:
            rows: How many the table has.
        """
        if self.rows is not None:
            return min(self.rows, rows)
        if self.percent is None:
            return rows
        return min(rows, math.ceil(rows * self.percent / 100))


ALL = Target()
NONE = Target(rows=0)
"""Only what others need."""


@dataclass(frozen=True)
class Wanted:
    """What is to be taken of a database.

    Attributes:
        default: Of a table that nothing else is said of.
        tables: Of the others.
        follow: The references whose rows come with those that they refer to.
    """

    default: Target
    tables: Mapping[TableName, Target] = field(default_factory=dict)
    follow: tuple[Reference, ...] = ()

    def target(self, table: TableName) -> Target:
        """Return a table's target.

        Args:
            table: Its name. One that follows another has none of its own unless it was given one.
        """
        if table in self.tables:
            return self.tables[table]
        return NONE if any(it.table == table for it in self.follow) else self.default


@dataclass(frozen=True)
class Choice:
    """By what a table's rows are taken of their own accord.

    Attributes:
        lead: Its leading reference; None: it has none.
        follows: Whether rows come with the leading parent because the rules say so: then one
            without a parent does not.
        with_lead: The limit of rows whose leading parent is taken, or that refer to none.
        other: The limit of the others.
    """

    lead: Reference | None = None
    follows: bool = False
    with_lead: Limit = NO_ROW
    other: Limit = NO_ROW

    @property
    def pulls_lead(self) -> bool:
        """Whether a row may be taken whose leading parent is not."""
        return self.other != NO_ROW


def share(part: int, whole: int) -> Limit:
    """Return the limit below which a part of all ranks lies.

    Args:
        part: How many rows are wanted.
        whole: Of how many.
    """
    if part >= whole:
        return None
    return (part * (1 << 8 * _WIDTH) // whole).to_bytes(_WIDTH, "big")


def leads(
    catalog: Catalog, wanted: Wanted, rows: Mapping[TableName, int]
) -> dict[TableName, Reference]:
    """Return each table's leading reference; together they form no cycle.

    What the rules have a table follow comes first. Else it is the one to the largest table of
    those that are sampled, for that one would be overshot by most rows.

    Args:
        catalog: The tables.
        wanted: What is to be taken.
        rows: How many rows each has.
    """
    found: dict[TableName, Reference] = {}

    def reaches(table: TableName, other: TableName) -> bool:
        while table != other and table in found:
            table = found[table].to
        return table == other

    def consider(table: TableName, candidates: Iterable[Reference]) -> None:
        for reference in candidates:
            if table not in found and not reaches(reference.to, table):
                found[table] = reference

    for table in sorted(catalog.tables):
        consider(table, (it for it in wanted.follow if it.table == table and _single(catalog, it)))
    for table in sorted(catalog.tables):
        sampled = [
            it
            for it in catalog.references_of(table)
            if not it.declared
            and _single(catalog, it)
            and 0 < wanted.target(it.to).of(rows[it.to]) < rows[it.to]
        ]
        if 0 < wanted.target(table).of(rows[table]) < rows[table]:
            consider(table, sorted(sampled, key=lambda it: (-rows[it.to], it.name)))
    return found


def parents_first(
    tables: Iterable[TableName], edges: Mapping[TableName, Sequence[TableName]]
) -> list[TableName]:
    """Order tables so that each comes after those it refers to, as far as there is no cycle.

    Args:
        tables: The tables.
        edges: To which tables each refers.
    """
    waiting = {it: set(edges.get(it, ())) - {it} for it in tables}
    ordered: list[TableName] = []
    while waiting:
        pending = {it: to & waiting.keys() for it, to in waiting.items()}
        for table in sorted(it for it, to in pending.items() if not to) or [_in_circle(pending)]:
            ordered.append(table)
            del waiting[table]
    return ordered


def _in_circle(edges: Mapping[TableName, set[TableName]]) -> TableName:
    """Return a table that refers to itself by way of others; each refers to one at least."""
    table, seen = min(edges), set[TableName]()
    while table not in seen:
        seen.add(table)
        table = min(edges[table])
    return table


def quoted(name: str) -> str:
    """Return a name as SQL has it.

    Args:
        name: The name.
    """
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """Return a text as SQL has it, with `standard_conforming_strings`.

    Args:
        text: The text.
    """
    return "'" + text.replace("'", "''") + "'"


def relation(name: TableName) -> str:
    """Return a relation's name as SQL has it.

    Args:
        name: The name.
    """
    return f"{quoted(name.schema)}.{quoted(name.name)}"


class RowSql:
    """The SQL about rows that are taken.

    Attributes:
        catalog: The tables.
        choices: How each table's rows are chosen; grows while limits are found.
    """

    def __init__(self, catalog: Catalog, key: bytes) -> None:
        self.catalog = catalog
        self.choices: dict[TableName, Choice] = {}
        self._key = key

    def source(self, table: TableName) -> str:
        """Return a table as FROM names it: its own rows, or all partitions'.

        Args:
            table: The table.
        """
        partitioned = self.catalog.tables[table].partitioned
        return relation(table) if partitioned else f"ONLY {relation(table)}"

    def rank(self, table: TableName, alias: str) -> str:
        """Return a row's rank.

        Args:
            table: The table.
            alias: What it is called in the statement.
        """
        columns = identity(self.catalog.tables[table])
        text = ", ".join(f"{alias}.{quoted(it)}" for it in columns)
        row = f"ROW({text})::text" if columns else f"{alias}::text"
        seed = hmac.new(self._key, f"aegis data rows {table}".encode(), "sha256").hexdigest()
        return f"sha256('\\x{seed}'::bytea || convert_to({row}, 'UTF8'))"

    def match(self, reference: Reference, child: str, parent: str) -> str:
        """Return that a row refers to another.

        Args:
            reference: By which reference.
            child: What the referring table is called in the statement.
            parent: What the other is.
        """
        own, other = self.catalog.tables[reference.table], self.catalog.tables[reference.to]
        pairs = zip(reference.columns, reference.to_columns, strict=True)
        terms = []
        for place, (name, to) in enumerate(pairs):
            mine, theirs = own.column(name), other.column(to)
            left, right = f"{parent}.{quoted(to)}", f"{child}.{quoted(name)}"
            if reference.operators:
                # As PostgreSQL itself checks it: by the key's collation (`ri_triggers.c`).
                if theirs.collation != mine.collation and theirs.collation and mine.collation:
                    right += f" COLLATE {theirs.collation}"
                terms.append(f"{left} OPERATOR({reference.operators[place]}) {right}")
            elif mine.base == theirs.base:
                terms.append(f"{left} = {right}")
            else:
                terms.append(f"{left}::text = {right}::text")
        if reference.only_where:
            column, value = reference.only_where
            terms.append(f"{child}.{quoted(column)}::text = {literal(value)}")
        return " AND ".join(terms)

    def chosen(self, table: TableName, alias: str) -> tuple[str, str]:
        """Return the joins and the condition of a row that is taken of its own accord.

        Args:
            table: The table.
            alias: What it is called in the statement.
        """
        choice = self.choices[table]
        if choice.lead is None or choice.with_lead == choice.other:
            return "", self._below(table, alias, choice.other)
        joins, led = self.led(choice, alias)
        if choice.with_lead is None and choice.other == NO_ROW:
            return joins, led
        inner = self._below(table, alias, choice.with_lead)
        outer = self._below(table, alias, choice.other)
        return joins, f"CASE WHEN {led} THEN {inner} ELSE {outer} END"

    def led(self, choice: Choice, alias: str) -> tuple[str, str]:
        """Return the joins and the condition of a row whose leading parent is taken.

        Args:
            choice: The table's choice, as far as it is made.
            alias: What the table is called in the statement.
        """
        reference = choice.lead
        assert reference is not None  # noqa: S101 - who calls has looked
        parent = f"{alias}l"
        inner = f"{parent}i"
        more, taken = self.chosen(reference.to, inner)
        match = self.match(reference, alias, parent)
        # Only those that are taken are joined: a parent's rank is worked out once.
        joins = (
            f" LEFT JOIN (SELECT {_listed(inner, reference.to_columns)} "  # noqa: S608
            f"FROM {self.source(reference.to)} AS {inner}{more} WHERE {taken}) AS {parent} "
            f"ON {match}"
        )
        there = f"{parent}.{quoted(reference.to_columns[0])} IS NOT NULL"
        if choice.follows:
            return joins, there
        none = (f"{alias}.{quoted(it)} IS NULL" for it in reference.columns)
        return joins, f"({' OR '.join((there, *none))})"

    def _below(self, table: TableName, alias: str, limit: Limit) -> str:
        if limit is None:
            return "true"
        if limit == NO_ROW:
            return "false"
        return f"{self.rank(table, alias)} < '\\x{limit.hex()}'::bytea"

    # What is asked with them.

    def rows(self, table: TableName) -> str:
        """Return the query for how many rows a table has."""
        return f"SELECT count(*) FROM {self.source(table)} AS t"  # noqa: S608

    def referring(self, reference: Reference, *, to_nothing: bool = False) -> str:
        """Return the query for how many rows refer to a row, or to one that is not there.

        Args:
            reference: By which reference.
            to_nothing: Whether only those are wanted whose row is not there.
        """
        terms = [f"c.{quoted(it)} IS NOT NULL" for it in reference.columns]
        if reference.only_where:
            column, value = reference.only_where
            terms.append(f"c.{quoted(column)}::text = {literal(value)}")
        if to_nothing:
            match, to = self.match(reference, "c", "p"), self.source(reference.to)
            terms.append(f"NOT EXISTS (SELECT FROM {to} AS p WHERE {match})")
        return (
            f"SELECT count(*) FROM {self.source(reference.table)} AS c WHERE {' AND '.join(terms)}"  # noqa: S608
        )

    def rows_led(self, table: TableName, choice: Choice) -> str:
        """Return the query for how many rows' leading parent is taken."""
        joins, led = self.led(choice, "t")
        return f"SELECT count(*) FROM {self.source(table)} AS t{joins} WHERE {led}"  # noqa: S608

    def rank_at(self, table: TableName, place: int, choice: Choice, *, led: bool) -> str:
        """Return the query for the rank that has so many below it.

        Args:
            table: The table.
            place: So many.
            choice: The table's choice, as far as it is made.
            led: Of the rows whose leading parent is taken, or of the others.
        """
        joins, where = "", "true"
        if choice.lead is not None:
            joins, where = self.led(choice, "t")
            where = where if led else f"NOT {where}"
        rank = self.rank(table, "t")
        return (
            f"SELECT {rank} FROM {self.source(table)} AS t{joins} WHERE {where} "  # noqa: S608
            f"ORDER BY 1 OFFSET {place} LIMIT 1"
        )

    def rows_chosen(self, table: TableName) -> str:
        """Return the query for how many rows are taken of their own accord."""
        joins, chosen = self.chosen(table, "t")
        return f"SELECT count(*) FROM {self.source(table)} AS t{joins} WHERE {chosen}"  # noqa: S608

    def copy_chosen(self, table: TableName, columns: Sequence[str]) -> str:
        """Return the statement that gives out the rows that are taken of their own accord."""
        joins, chosen = self.chosen(table, "t")
        return (
            f"COPY (SELECT {_listed('t', columns)} FROM {self.source(table)} AS t{joins} "  # noqa: S608
            f"WHERE {chosen}) TO STDOUT"
        )

    def copy_all(self, table: TableName, columns: Sequence[str]) -> str:
        """Return the statement that gives out all rows."""
        return f"COPY (SELECT {_listed('t', columns)} FROM {self.source(table)} AS t) TO STDOUT"  # noqa: S608

    def copy_at(self, name: TableName, columns: Sequence[str], places: Sequence[int]) -> str:
        """Return the statement that gives out rows by their place in a relation."""
        return (
            f"COPY (SELECT {_listed('t', columns)} FROM ONLY {relation(name)} AS t "  # noqa: S608
            f"WHERE {_at('t', places)}) TO STDOUT"
        )

    def needed(self, reference: Reference, *, of: tuple[TableName, Sequence[int]] | None) -> str:
        """Return the statement for the rows that are referred to and not taken of their own accord.

        Args:
            reference: By which reference.
            of: The relation and the places of the rows that refer; None: those that are taken of
                their own accord.
        """
        return self._pull(reference, "c", "p", of)

    def following(self, reference: Reference, *, of: tuple[TableName, Sequence[int]] | None) -> str:
        """Return the statement for the rows that refer and are not taken of their own accord.

        Args:
            reference: By which reference.
            of: The relation and the places of the rows that are referred to; None: those that are
                taken of their own accord.
        """
        return self._pull(reference, "p", "c", of)

    def _pull(
        self,
        reference: Reference,
        near: str,
        far: str,
        of: tuple[TableName, Sequence[int]] | None,
    ) -> str:
        tables = {"c": reference.table, "p": reference.to}
        if of is None:
            joins, where = self.chosen(tables[near], near)
            source = self.source(tables[near])
        else:
            joins, where = "", _at(near, of[1])
            source = f"ONLY {relation(of[0])}"
        more, taken = self.chosen(tables[far], far)
        match = self.match(reference, "c", "p")
        return (
            f"COPY (SELECT DISTINCT {far}.tableoid, {far}.ctid FROM {source} AS {near}{joins} "  # noqa: S608
            f"JOIN {self.source(tables[far])} AS {far} ON {match}{more} "
            f"WHERE {where} AND NOT {taken}) TO STDOUT"
        )


def identity(table: Table) -> tuple[str, ...]:
    """Return the columns by which a table's rows are told apart; empty: by all of them.

    Args:
        table: The table.
    """
    for key in table.keys:
        if key.primary or not any(table.column(it).nullable for it in key.columns):
            return key.columns
    return ()


def _single(catalog: Catalog, reference: Reference) -> bool:
    """Whether a row refers to one row at most by it, of another table."""
    keys = {frozenset(it.columns) for it in catalog.tables[reference.to].keys}
    return reference.to != reference.table and frozenset(reference.to_columns) in keys


def _listed(alias: str, columns: Sequence[str]) -> str:
    return ", ".join(f"{alias}.{quoted(it)}" for it in columns)


def _at(alias: str, places: Sequence[int]) -> str:
    listed = ",".join(f'"({it >> 16},{it & 0xFFFF})"' for it in places)
    return f"{alias}.ctid = ANY('{{{listed}}}'::tid[])"
