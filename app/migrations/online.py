"""Steps of a revision that take long on a table in use, so that nobody waits for them meanwhile.

Each commits as it goes, so that a try that was cut short leaves some of it done: the next try takes
away or goes on with what is there. Nothing else of the revision may come before them, for that
would be committed with them and done twice then; they stand first, or in a revision of their own.

Sources: PostgreSQL's "Building Indexes Concurrently" (CREATE INDEX), which says what a failed build
leaves behind, and Alembic's `autocommit_block`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from alembic import op
from sqlalchemy import text

if TYPE_CHECKING:
    from sqlalchemy import Connection

SAY = "say"
"""The attribute of Alembic's configuration that tells a line of progress."""
BATCH = 1000
_WRITTEN = "SELECT pg_current_xact_id_if_assigned() IS NOT NULL"
_INDEX = """
SELECT indexed.indisvalid
FROM pg_index AS indexed
WHERE indexed.indexrelid = to_regclass(:name) AND indexed.indrelid = to_regclass(:table)
"""


class OrderError(Exception):
    """A revision that changes something before a step that commits as it goes."""


def create_index(name: str, table: str, on: str, *, unique: bool = False, where: str = "") -> None:
    """Make an index beside those who read and write; nothing where it is there already.

    Args:
        name: What it is called.
        table: Its table.
        on: What is indexed, as SQL between parentheses: columns or expressions.
        unique: Whether it holds each only once.
        where: Which rows it has, as SQL; all without it.
    """
    index, of = _quoted(name), _quoted(table)
    making = (
        f"CREATE {'UNIQUE ' if unique else ''}INDEX CONCURRENTLY IF NOT EXISTS {index} "
        f"ON {of} ({on})"
        f"{f' WHERE {where}' if where else ''}"
    )
    with _committing() as connection:
        if connection is None:
            op.execute(making)
            return
        valid = connection.scalar(text(_INDEX), {"name": index, "table": of})
        if valid:
            return
        # It waits for transactions that are older, and holds nobody up while it does.
        connection.execute(text("SET lock_timeout = 0"))
        try:
            if valid is False:
                connection.execute(text(f"DROP INDEX CONCURRENTLY {index}"))
                _say(f"dropped what a try before had left of index {name}")
            connection.execute(text(making))
        finally:
            connection.execute(text("RESET lock_timeout"))


def backfill(table: str, *, key: str, values: str, where: str, batch: int = BATCH) -> None:
    """Fill rows in that are there already, some at a time, in the order of a key.

    Rows that the release before writes meanwhile are not waited for: code of this revision has to
    live with such until a contract.

    Args:
        table: Their table.
        key: A column by which each is found: its primary key.
        values: What is set, as SQL: `note = lower(name)`.
        where: Which rows lack it, as SQL, and only these: `note IS NULL`. By it the next try goes
            on where one was cut short.
        batch: How many at a time, in a transaction each.
    """
    of, by = _quoted(table), _quoted(key)
    lacks, sets = _escaped(where), _escaped(values)

    def filling(beyond: str) -> str:
        return (
            f"WITH batch AS (SELECT {by} FROM {of} WHERE ({lacks}){beyond} ORDER BY {by} "  # noqa: S608 - a revision's own SQL
            f"LIMIT {batch} FOR NO KEY UPDATE), filled AS (UPDATE {of} SET {sets} FROM batch "
            f"WHERE {of}.{by} = batch.{by} RETURNING {of}.{by}) "
            f"SELECT count(*), (SELECT {by} FROM filled ORDER BY {by} DESC LIMIT 1) FROM filled"
        )

    with _committing() as connection:
        if connection is None:
            op.execute(text(filling("")))
            return
        done, last = 0, None
        while True:
            beyond = "" if last is None else f" AND {by} > :last"
            at: dict[str, object] = {} if last is None else {"last": last}
            some, reached = connection.execute(text(filling(beyond)), at).one()
            if some:
                done, last = done + some, reached
                _say(f"filled {done:,} rows of {table}")
                continue
            # A batch may be empty for what somebody else filled in while it waited for it.
            left = f"SELECT EXISTS (SELECT FROM {of} WHERE ({lacks}){beyond})"  # noqa: S608 - as above
            if not connection.scalar(text(left), at):
                return


@contextmanager
def _committing() -> Iterator[Connection | None]:
    """Have each statement be a transaction of its own; None where SQL is only written down.

    Raises:
        OrderError: Something was changed before.
    """
    context = op.get_context()
    if context.as_sql:
        with context.autocommit_block():
            yield None
        return
    if op.get_bind().scalar(text(_WRITTEN)):
        raise OrderError(
            "something stands before a step that commits as it goes; it stands first, or in a "
            "revision of its own"
        )
    with context.autocommit_block():
        yield op.get_bind()


def _quoted(name: str) -> str:
    return op.get_context().dialect.identifier_preparer.quote(name)


def _escaped(sql: str) -> str:
    """Return SQL in which no colon begins a parameter."""
    return sql.replace(":", "\\:")


def _say(line: str) -> None:
    config = op.get_context().config
    say: Callable[[str], None] | None = None if config is None else config.attributes.get(SAY)
    if say is not None:
        say(line)
