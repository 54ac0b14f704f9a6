"""Puts rows that are made up into a database: into empty tables, all of them or none."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from time import monotonic
from typing import TYPE_CHECKING, Any

from aegis_deploy.common.errors import AegisError
from aegis_deploy.data.connection import worded
from aegis_deploy.data.mock import MadeTable

if TYPE_CHECKING:
    import psycopg

    from aegis_deploy.data.catalog import TableName

_FAILED = "the made-up rows cannot be put in"
_ROLLED_BACK = "the transaction was rolled back: no row is there"
_LOCK_SECONDS = 10
_SHOWN = 0.5
Say = Callable[[str], None]

# A partition may have foreign keys and triggers of its own.
_WITH_PARTITIONS = """
SELECT o.oid FROM unnest(%s::oid[]) AS o(oid)
UNION SELECT p.relid::oid FROM unnest(%s::oid[]) AS o(oid)
  CROSS JOIN LATERAL pg_catalog.pg_partition_tree(o.oid) p
"""
# The constraints that are checked once, at the end: rows come in any order, also around circles.
_REFERENCES = """
SELECT pg_catalog.format('ALTER TABLE %%s DROP CONSTRAINT %%I', k.conrelid::regclass, k.conname),
  pg_catalog.format('ALTER TABLE %%s ADD CONSTRAINT %%I %%s', k.conrelid::regclass, k.conname,
    pg_catalog.pg_get_constraintdef(k.oid)),
  pg_catalog.format('COMMENT ON CONSTRAINT %%I ON %%s IS %%L', k.conname, k.conrelid::regclass,
    pg_catalog.obj_description(k.oid, 'pg_constraint'))
FROM pg_catalog.pg_constraint k
WHERE k.contype = 'f' AND k.conparentid = 0 AND k.conrelid = ANY(%s)
ORDER BY k.conrelid, k.conname
"""
# A row that is made up is no event: it sends no mail and writes no journal.
_TRIGGERS = """
SELECT pg_catalog.format('ALTER TABLE %%s DISABLE TRIGGER %%I', t.tgrelid::regclass, t.tgname),
  pg_catalog.format('ALTER TABLE %%s ENABLE %%s TRIGGER %%I', t.tgrelid::regclass,
    CASE t.tgenabled WHEN 'R' THEN 'REPLICA' WHEN 'A' THEN 'ALWAYS' ELSE '' END, t.tgname)
FROM pg_catalog.pg_trigger t
WHERE NOT t.tgisinternal AND t.tgparentid = 0 AND t.tgenabled <> 'D' AND t.tgrelid = ANY(%s)
ORDER BY t.tgrelid, t.tgname
"""
# Sequences that a column's default, or its identity, counts by.
_SEQUENCES = """
SELECT DISTINCT a.attrelid::regclass::text, a.attname, s.oid::regclass::text
FROM pg_catalog.pg_attribute a
LEFT JOIN pg_catalog.pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
JOIN pg_catalog.pg_depend p ON (p.classid = 'pg_catalog.pg_attrdef'::regclass AND p.objid = d.oid
    AND p.refclassid = 'pg_catalog.pg_class'::regclass)
  OR (p.refclassid = 'pg_catalog.pg_class'::regclass AND p.refobjid = a.attrelid
    AND p.refobjsubid = a.attnum AND p.classid = 'pg_catalog.pg_class'::regclass
    AND p.deptype = 'i')
JOIN pg_catalog.pg_class s ON s.relkind = 'S' AND s.oid IN (p.refobjid, p.objid)
WHERE a.attrelid = ANY(%s) AND a.attnum > 0 AND NOT a.attisdropped
ORDER BY 1, 2
"""


@dataclass(frozen=True)
class Filled:
    """What was put in.

    Attributes:
        tables: The tables in order, with how many rows each got and how many were wanted.
        seconds: How long it took.
    """

    tables: tuple[tuple[TableName, int, int], ...]
    seconds: float

    @property
    def rows(self) -> int:
        """How many rows in all."""
        return sum(rows for _, rows, _ in self.tables)

    def as_json(self) -> dict[str, object]:
        """Return it for a program."""
        return {
            "rows": self.rows,
            "seconds": round(self.seconds, 1),
            "tables": [
                {"table": str(table), "rows": rows, "wanted": wanted}
                for table, rows, wanted in self.tables
            ],
        }


def fill(connection: psycopg.Connection[Any], made: Sequence[MadeTable], say: Say) -> Filled:
    """Put rows into a database's empty tables, in one transaction.

    Foreign keys are dropped before and made again after the rows, within it: PostgreSQL checks
    each of them over all rows then.

    Args:
        connection: A connection of the tables' owner that commits each statement.
        made: The rows.
        say: Told how far it is.

    Raises:
        AegisError: A table has rows already, or PostgreSQL refused something; nothing is there
            then.
    """
    began = monotonic()
    wanted = [it for it in made if it.rows]
    with worded(_FAILED, state=_ROLLED_BACK), connection.transaction():
        _ask(connection, f"SET LOCAL lock_timeout = '{_LOCK_SECONDS}s'")
        tables = {it.table.name: _oid(connection, it.table.name) for it in wanted}
        for it in wanted:
            _require_empty(connection, it.table.name)
        oids = [oid for (oid,) in _ask(connection, _WITH_PARTITIONS, *[[*tables.values()]] * 2)]
        references, triggers = (
            _ask(connection, _REFERENCES, oids),
            _ask(connection, _TRIGGERS, oids),
        )
        for drop, *_ in (*references, *triggers):
            _ask(connection, drop)
        done, total = 0, sum(it.rows for it in wanted)
        for it in wanted:
            done = _copy(connection, it, done, total, say)
        for _, add, comment in references:
            say(f"foreign keys: {add.split(' ADD CONSTRAINT ')[1].split(' ')[0]}")
            _ask(connection, add)
            if not comment.endswith(" IS NULL"):
                _ask(connection, comment)
        for _, enable in triggers:
            _ask(connection, enable)
        for table, column, sequence in _ask(connection, _SEQUENCES, oids):
            _set_sequence(connection, table, column, sequence)
        for it in wanted:
            _ask(connection, f"ANALYZE {_quoted(connection, it.table.name)}")
    told = tuple((it.table.name, it.rows, it.wanted) for it in made)
    return Filled(told, monotonic() - began)


def _ask(
    connection: psycopg.Connection[Any], statement: str, *arguments: object
) -> list[tuple[Any, ...]]:
    cursor = connection.execute(statement.encode(), arguments or None)
    return cursor.fetchall() if cursor.description else []


def _quoted(connection: psycopg.Connection[Any], name: TableName) -> str:
    from psycopg.sql import Identifier

    return Identifier(*name).as_string(connection)


def _oid(connection: psycopg.Connection[Any], name: TableName) -> int:
    ((oid,),) = _ask(connection, "SELECT %s::regclass::oid", _quoted(connection, name))
    return int(oid)


def _require_empty(connection: psycopg.Connection[Any], name: TableName) -> None:
    shown = _quoted(connection, name)
    _ask(connection, f"LOCK TABLE ONLY {shown} IN SHARE ROW EXCLUSIVE MODE")
    ((full,),) = _ask(connection, f"SELECT EXISTS (SELECT FROM {shown})")  # noqa: S608 - quoted
    if full:
        raise AegisError(
            what=f"{name} has rows already",
            why="made-up rows come into empty tables only, so that none is taken for a real one",
            next=f"take a new database, or leave the table out: mock.tables.{name}: {{rows: 0}}",
        )


def _copy(
    connection: psycopg.Connection[Any], made: MadeTable, done: int, total: int, say: Say
) -> int:
    from psycopg.sql import SQL, Identifier

    columns = SQL(", ").join(map(Identifier, made.columns))
    statement = SQL("COPY {} ({}) FROM STDIN").format(Identifier(*made.table.name), columns)
    shown = monotonic()
    with (
        worded(_FAILED, where=str(made.table.name), state=_ROLLED_BACK, then=_advice(made)),
        connection.cursor() as cursor,
        cursor.copy(statement) as copy,
    ):
        for block in made.blocks():
            copy.write(block)
            done += block.count("\n")
            if monotonic() - shown >= _SHOWN:
                shown = monotonic()
                say(f"{made.table.name}: {min(done, total):,} of {total:,} rows")
    return done


def _advice(made: MadeTable) -> str:
    if made.table.partitioned:
        return (
            f"give the columns by which {made.table.name} is partitioned values that a partition "
            f"takes, such as between: [first day, last day], under "
            f"mock.tables.{made.table.name}.columns in the rules, then run it again"
        )
    return (
        f"say what the column is to hold, under mock.tables.{made.table.name}.columns in the "
        "rules, then run it again"
    )


def _set_sequence(
    connection: psycopg.Connection[Any], table: str, column: str, sequence: str
) -> None:
    from psycopg.sql import Identifier

    name = Identifier(column).as_string(connection)
    _ask(
        connection,
        f"SELECT pg_catalog.setval(%s::regclass, max({name})) FROM {table} "  # noqa: S608 - quoted
        f"HAVING max({name}) IS NOT NULL",
        sequence,
    )
