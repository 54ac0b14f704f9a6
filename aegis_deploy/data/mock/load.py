"""Puts rows that are made up into a database: into empty tables, all of them or none."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from time import monotonic
from typing import TYPE_CHECKING, Any

from aegis_deploy.common.console import bar
from aegis_deploy.common.errors import AegisError
from aegis_deploy.data import sequences
from aegis_deploy.data.connection import refusal, worded
from aegis_deploy.data.data_set.directory import on_this_machine
from aegis_deploy.data.mock.rows import MadeTable
from aegis_deploy.data.resting import resting
from aegis_deploy.data.selection.row_choice import quoted, relation
from aegis_deploy.data.values.bounds import kind_of

if TYPE_CHECKING:
    from aegis_deploy.data.catalog import Table, TableName
    from aegis_deploy.data.connection import Connection

_PROBE = """
CREATE TEMPORARY TABLE probe
  (LIKE {} INCLUDING CONSTRAINTS INCLUDING GENERATED INCLUDING DEFAULTS) ON COMMIT DROP
"""
_OF_ROWS = frozenset({"0A", "22", "23"})
"""The SQLSTATE classes that say that a row cannot be taken."""
_FORMS = {
    "integer": "{between: [1, 100]}",
    "number": "{between: [1, 100]}",
    "day": "{between: [2024-01-01, 2024-12-31]}",
}
"""How a column is said to hold what it is to, by its kind."""
_FAILED = "the made-up rows cannot be put in"
_ROLLED_BACK = "the transaction was rolled back: no row is there"
_EITHER = "all of the rows, or none of them, are there"
"""What is known when it is cut short while it may have been committing."""
_LOCK_SECONDS = 10
_SHOWN = 0.5
Say = Callable[[str], None]

# A partition may have foreign keys and triggers of its own.
_WITH_PARTITIONS = """
SELECT o.oid FROM unnest(%s::oid[]) AS o(oid)
UNION SELECT p.relid::oid FROM unnest(%s::oid[]) AS o(oid)
  CROSS JOIN LATERAL pg_catalog.pg_partition_tree(o.oid) p
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


@on_this_machine(_FAILED, _EITHER)
def fill(connection: Connection, made: Sequence[MadeTable], say: Say) -> Filled:
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
    _require_checks_met(connection, wanted)
    with worded(_FAILED, state=_ROLLED_BACK), connection.transaction():
        _ask(connection, f"SET LOCAL lock_timeout = '{_LOCK_SECONDS}s'")
        tables = {it.table.name: _oid(connection, it.table.name) for it in wanted}
        for it in wanted:
            _require_empty(connection, it.table.name)
        oids = [oid for (oid,) in _ask(connection, _WITH_PARTITIONS, *[[*tables.values()]] * 2)]
        done, total = 0, sum(it.rows for it in wanted)
        with resting(
            connection,
            lambda statement, _: _ask(connection, statement),
            lambda name: say(f"foreign keys: {name}"),
            oids,
        ):
            for it in wanted:
                done = _copy(connection, it, done, total, say)
        _ask(connection, sequences.forward(oids))
        for it in wanted:
            _ask(connection, f"ANALYZE {relation(it.table.name)}")
    told = tuple((it.table.name, it.rows, it.wanted) for it in made)
    return Filled(told, monotonic() - began)


def _require_checks_met(connection: Connection, made: Sequence[MadeTable]) -> None:
    """Hold the first rows of each table to its checks, in a table that nobody else sees.

    Raises:
        AegisError: They do not meet one.
    """
    problems, lines = list[str](), list[str]()
    for it in (one for one in made if one.table.checks):
        refused = refusal(partial(_put_first_rows, connection, it))
        if refused is None:
            continue
        if refused.state[:2] not in _OF_ROWS:
            # Such as a role without TEMPORARY, or a server that is lost: the rows themselves tell.
            return
        check = next((one for one in it.table.checks if one.name == refused.constraint), None)
        if check is None:
            problems.append(f"{it.table.name}: {refused.said}")
            continue
        problems.append(f"{it.table.name}: {check.name}, {check.definition}, is not met")
        lines += example(it.table, check.columns)
    if problems:
        raise AegisError(
            what="rows for this schema cannot be made up like this",
            why="\n".join(problems),
            next="\n".join(["say what these are to hold, then run it again:", *lines])
            if lines
            else "say what these tables are to hold, under mock: in the rules, then run it again",
            details={"problems": problems},
        )


def _put_first_rows(connection: Connection, made: MadeTable) -> None:
    names = ", ".join(map(quoted, made.columns))
    with connection.transaction(force_rollback=True), connection.cursor() as cursor:
        cursor.execute(_PROBE.format(relation(made.table.name)).encode())
        with cursor.copy(f"COPY pg_temp.probe ({names}) FROM STDIN".encode()) as copy:
            copy.write(next(made.blocks()))


def example(table: Table, columns: Sequence[str]) -> list[str]:
    """Return lines of the rules that say what columns hold, for a person to fill in.

    Args:
        table: The table.
        columns: Its columns.
    """
    found = [f"  mock.tables.{table.name}.columns:"]
    for name in columns:
        form = _FORMS.get(kind_of(table.column(name)), "{choice: {one value: 1, another: 1}}")
        found.append(f"    {name}: {form}")
    return found


def _ask(connection: Connection, statement: str, *arguments: object) -> list[tuple[Any, ...]]:
    cursor = connection.execute(statement.encode(), arguments or None)
    return cursor.fetchall() if cursor.description else []


def _oid(connection: Connection, name: TableName) -> int:
    ((oid,),) = _ask(connection, "SELECT %s::regclass::oid", relation(name))
    return int(oid)


def _require_empty(connection: Connection, name: TableName) -> None:
    shown = relation(name)
    _ask(connection, f"LOCK TABLE ONLY {shown} IN SHARE ROW EXCLUSIVE MODE")
    ((full,),) = _ask(connection, f"SELECT EXISTS (SELECT FROM {shown})")  # noqa: S608 - quoted
    if full:
        raise AegisError(
            what=f"{name} has rows already",
            why="made-up rows come into empty tables only, so that none is taken for a real one",
            next=f"take a new database, or leave the table out: mock.tables.{name}: {{rows: 0}}",
        )


def _copy(connection: Connection, made: MadeTable, done: int, total: int, say: Say) -> int:
    columns = ", ".join(map(quoted, made.columns))
    statement = f"COPY {relation(made.table.name)} ({columns}) FROM STDIN"
    shown = monotonic()
    with (
        worded(_FAILED, where=str(made.table.name), state=_ROLLED_BACK, then=_advice(made)),
        connection.cursor() as cursor,
        cursor.copy(statement.encode()) as copy,
    ):
        for block in made.blocks():
            copy.write(block)
            done += block.count("\n")
            if monotonic() - shown >= _SHOWN:
                shown = monotonic()
                rows = f"{min(done, total):,} of {total:,} rows"
                say(f"{bar(done, total)} {made.table.name}: {rows}")
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
