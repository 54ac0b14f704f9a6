"""Tries what is pending on a copy of the database: how long each statement takes, what it locks.

The copy is a database of its own on the same server, made by the revisions themselves and filled
by COPY from one snapshot that may only read. It is not made by `CREATE DATABASE ... TEMPLATE`,
which locks new connections out of the original and needs it to have none; nor by pg_dump, which no
image with nothing but Python has. All that it needs is a role that may create databases. What no
revision makes is not copied, and told.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from typing import Any, LiteralString

import psycopg
from psycopg import sql
from sqlalchemy import Connection, Engine, event, text

from app.database import identity
from app.database.engine import reason
from app.database.schema import DatabaseSchema
from app.migrations.history import Revision
from app.migrations.runner import MigrationError, RefusedError, Runner, Within

LOCK = 0x61656769_74
"""The advisory lock of whoever rehearses; whoever migrates has another one."""
_BOOKS = ("aegis_schema", "alembic_version")
"""Tables that migrations themselves keep."""
_OF_ALEMBIC = (*_BOOKS, "pg_catalog.")
"""What is in statements that are sent with a revision's and are none of its own."""
_MARK = "a copy that whoever rehearses drops"
_LONGEST = 63
_SHOWN = 200
_LOOK_SECONDS = 0.02
_MODES = (
    "AccessShareLock",
    "RowShareLock",
    "RowExclusiveLock",
    "ShareUpdateExclusiveLock",
    "ShareLock",
    "ShareRowExclusiveLock",
    "ExclusiveLock",
    "AccessExclusiveLock",
)
_HELD = """
    SELECT c.relname, l.mode FROM pg_locks l JOIN pg_class c ON c.oid = l.relation
    WHERE l.pid = %s AND l.granted AND c.relkind IN ('r', 'p', 'm')
    AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
    AND c.relnamespace = current_schema()::regnamespace
"""
"""A table that a transaction has made is not there yet for others, and nobody waits for it."""
_COLUMNS = """
    SELECT c.relname, array_agg(a.attname ORDER BY a.attnum) FROM pg_class c
    JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
    WHERE c.relnamespace = current_schema()::regnamespace AND c.relkind = 'r'
    AND a.attgenerated = '' GROUP BY c.relname ORDER BY c.relname
"""
_KEYS = """
    SELECT r.relname, c.conname, pg_get_constraintdef(c.oid) FROM pg_constraint c
    JOIN pg_class r ON r.oid = c.conrelid
    WHERE c.contype = 'f' AND c.connamespace = current_schema()::regnamespace
    AND c.conparentid = 0
"""
_SEQUENCES = """
    SELECT relname FROM pg_class
    WHERE relkind = 'S' AND relnamespace = current_schema()::regnamespace
"""


@dataclass(kw_only=True)
class Statement:
    """A statement that a migration sent.

    Attributes:
        revision: The revision that sent it.
        sql: Its first line.
        seconds: How long it took.
        locks: The strongest lock that it took on each table that was there before.
    """

    revision: int
    sql: str
    seconds: float = 0.0
    locks: dict[str, str] = field(default_factory=dict)

    def as_json(self) -> dict[str, object]:
        """It as docs/schema.md has it."""
        return {
            "revision": self.revision,
            "sql": self.sql,
            "seconds": round(self.seconds, 3),
            "locks": [{"table": name, "mode": _called(it)} for name, it in self.locks.items()],
        }


@dataclass(frozen=True, kw_only=True)
class Rehearsal:
    """What a rehearsal came to.

    Attributes:
        at: What the database is.
        after: What its copy was at the end.
        tables: How many tables were copied.
        rows: How many rows.
        seconds: How long the copying took.
        left: What was not copied, a line each.
        statements: What the migration sent.
        failed: Why it did not come to its end; empty when it did.
    """

    at: DatabaseSchema
    after: DatabaseSchema
    tables: int = 0
    rows: int = 0
    seconds: float = 0.0
    left: tuple[str, ...] = ()
    statements: tuple[Statement, ...] = ()
    failed: str = ""

    def as_json(self) -> dict[str, object]:
        """It as docs/schema.md has it."""
        return {
            "database": self.at.as_json(),
            "after": self.after.as_json(),
            "copied": {
                "tables": self.tables,
                "rows": self.rows,
                "seconds": round(self.seconds, 3),
                "left": list(self.left),
            },
            "statements": [it.as_json() for it in self.statements],
            "failed": self.failed or None,
        }


def rehearse(
    engine_of: Callable[[str | None], Engine],
    runner_of: Callable[[Connection, Within], Runner],
    *,
    service: str,
    production: bool,
    contracts: bool,
    say: Callable[[str], None],
    keep: bool = False,
) -> Rehearsal:
    """Try what is pending on a copy, and drop that.

    Args:
        engine_of: Makes what connects to a database of the server; None names the original.
        runner_of: Makes what migrates a database, told of each revision that it begins.
        service: Whose the database has to be.
        production: Whether it is production's: then it is refused.
        contracts: Whether contracts are tried, too.
        say: Tells a line.
        keep: Whether the copy stays where all went well, for whoever tries other code on it.

    Raises:
        RefusedError: It cannot be rehearsed; nothing was changed.
        MigrationError: The copy could not be made.
    """
    if production:
        raise RefusedError(
            "a copy of production's data takes its server's disk and time", at=0, began=False
        )
    with engine_of(None).connect() as original:
        at = _look(original, service)
        with engine_of(None).connect() as asked:
            runner = runner_of(asked, nullcontext)
            pending = runner.pending(contracts=contracts)
        if not pending.runs:
            say(f"nothing to rehearse: the database is at revision {at.revision}")
            return Rehearsal(at=at, after=pending.after)
        with (
            _told(at),
            _copy_of(original, at, say) as made,
            engine_of(made.name).connect() as copy,
        ):
            done = _tried(
                original,
                copy,
                at,
                beside=engine_of(made.name),
                runner_of=runner_of,
                contracts=contracts,
                say=say,
            )
            made.stays = keep and not done.failed
            return done


@contextmanager
def _told(at: DatabaseSchema) -> Iterator[None]:
    """Say what PostgreSQL said of the copy; of a migration on it the runner says it itself.

    Raises:
        MigrationError: It could not be made.
    """
    try:
        yield
    except psycopg.Error as error:
        raise MigrationError(
            f"no copy could be made: {reason(error)}",
            at=at.revision,
            began=False,
            final=not isinstance(error, psycopg.OperationalError),
        ) from None


def _look(connection: Connection, service: str) -> DatabaseSchema:
    try:
        # Of real data there is no copy to be made.
        return identity.read(connection, service, production=False)
    except identity.UnfitError as error:
        raise RefusedError(str(error), at=0, began=False) from None
    finally:
        connection.rollback()


def _tried(
    original: Connection,
    copy: Connection,
    at: DatabaseSchema,
    *,
    beside: Engine,
    runner_of: Callable[[Connection, Within], Runner],
    contracts: bool,
    say: Callable[[str], None],
) -> Rehearsal:
    schema = original.scalar(text("SELECT current_schema()"))
    if copy.scalar(text("SELECT current_schema()")) is None:
        copy.execute(text(f'CREATE SCHEMA "{schema}"'))
    original.rollback()
    copy.commit()
    began = time.monotonic()
    runner_of(copy, nullcontext).replay(at.revision)
    tables, rows, left = _fill(_driver(original), _driver(copy))
    took = time.monotonic() - began
    say(f"copied {tables} tables, {rows} rows, {took:.1f} s")
    for it in left:
        say(f"not copied: {it}")
    failed = ""
    with _Watch.of(copy, beside) as watch:
        runner = runner_of(copy, watch.turn_to)
        try:
            runner.run(contracts=contracts)
        except MigrationError as error:
            failed = error.why
    return Rehearsal(
        at=at,
        after=identity.read(copy, runner.service, production=False),
        tables=tables,
        rows=rows,
        seconds=took,
        left=left,
        statements=tuple(watch.statements),
        failed=failed,
    )


@dataclass
class _Copy:
    """A copy's name, and whether it stays."""

    name: str
    stays: bool = False


@contextmanager
def _copy_of(
    original: Connection, at: DatabaseSchema, say: Callable[[str], None]
) -> Iterator[_Copy]:
    """A database like the original, empty; it is dropped at the end of the block, or stays.

    Raises:
        RefusedError: This role may not make one, or somebody has its name.
    """
    driver = _driver(original)
    driver.autocommit = True
    row = driver.execute(
        "SELECT current_database(), current_user, rolcreatedb OR rolsuper"
        " FROM pg_roles WHERE rolname = current_user"
    ).fetchone()
    name, role, may = row or ("", "", False)
    if not may:
        raise RefusedError(
            f"role {role} may not create databases: the server's superuser lets it, where copies "
            f"of this data may be: ALTER ROLE {role} CREATEDB",
            at=at.revision,
            began=False,
        )
    if not _one(driver, "SELECT pg_try_advisory_lock(%s)", LOCK):
        raise MigrationError(
            "another rehearsal of this database is being run", at=at.revision, began=False
        )
    copy = _name_of_copy(name)
    called = sql.Identifier(copy)
    mark = _mark_of(driver, copy)
    if mark is not None and mark != _MARK:
        raise RefusedError(
            f"there is a database {copy}, and it is no rehearsal's", at=at.revision, began=False
        )
    if mark is not None:
        say(f"dropped {copy}, which a rehearsal left that did not end")
        _drop(driver, copy)
    driver.execute(
        sql.SQL(
            "CREATE DATABASE {} TEMPLATE template0 ENCODING {} LC_COLLATE {} LC_CTYPE {}"
        ).format(
            called,
            *driver.execute(
                "SELECT pg_encoding_to_char(encoding), datcollate, datctype FROM pg_database"
                " WHERE datname = current_database()"
            ).fetchone()
            or (),
        )
    )
    made = _Copy(copy)
    try:
        driver.execute(sql.SQL("COMMENT ON DATABASE {} IS {}").format(called, _MARK))
        yield made
    finally:
        if not made.stays:
            _drop(driver, copy)


@contextmanager
def left_copy(original: Connection) -> Iterator[str]:
    """The name of the copy that a rehearsal left, dropped at the end; empty where there is none.

    Args:
        original: A connection to the database that was copied.
    """
    driver = _driver(original)
    driver.autocommit = True
    copy = _name_of_copy(str(_one(driver, "SELECT current_database()")))
    if _mark_of(driver, copy) != _MARK:
        yield ""
        return
    try:
        yield copy
    finally:
        _drop(driver, copy)


def _name_of_copy(name: str) -> str:
    return f"rehearsal_of_{name}"[:_LONGEST]


def _mark_of(driver: psycopg.Connection[Any], name: str) -> str | None:
    """What a database is commented with; None where there is none of that name."""
    found: str | None = _one(
        driver,
        "SELECT coalesce(shobj_description(oid, 'pg_database'), '') FROM pg_database"
        " WHERE datname = %s",
        name,
    )
    return found


def _drop(driver: psycopg.Connection[Any], name: str) -> None:
    called = sql.Identifier(name)
    driver.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(called))


def _fill(
    original: psycopg.Connection[Any], copy: psycopg.Connection[Any]
) -> tuple[int, int, tuple[str, ...]]:
    """Copy the rows of one moment; return how many tables and rows, and what was left."""
    original.autocommit = False
    original.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
    for it in ("statement_timeout", "idle_in_transaction_session_timeout"):
        original.execute(f"SET LOCAL {it} = 0".encode())
        copy.execute(f"SET LOCAL {it} = 0".encode())
    there, here = (dict(it.execute(_COLUMNS).fetchall()) for it in (original, copy))
    keys = copy.execute(_KEYS).fetchall()
    shared = [it for it in there if it in here and it not in _BOOKS]
    left = [f"table {it}, which no revision makes" for it in there if it not in here]
    # Each of its rows may name one that is copied later, in whatever order.
    for table, key, _ in keys:
        copy.execute(_altered(table, sql.SQL("DROP CONSTRAINT {}").format(sql.Identifier(key))))
    if shared:
        copy.execute(sql.SQL("TRUNCATE {}").format(sql.SQL(", ").join(map(sql.Identifier, shared))))
    rows = 0
    for table in shared:
        columns = [it for it in there[table] if it in here[table]]
        left += [
            f"{table}.{it}, which no revision makes" for it in there[table] if it not in columns
        ]
        copy.execute(_altered(table, sql.SQL("DISABLE TRIGGER USER")))
        rows += _copied(original, copy, table, columns)
        copy.execute(_altered(table, sql.SQL("ENABLE TRIGGER USER")))
    for table, key, definition in keys:
        again = sql.SQL("ADD CONSTRAINT {} ").format(sql.Identifier(key)) + sql.SQL(definition)
        copy.execute(_altered(table, again))
    known = {it[0] for it in copy.execute(_SEQUENCES)}
    for (sequence,) in original.execute(_SEQUENCES).fetchall():
        if sequence in known:
            last = original.execute(
                sql.SQL("SELECT last_value, is_called FROM {}").format(sql.Identifier(sequence))
            ).fetchone()
            copy.execute(
                "SELECT setval(quote_ident(%s)::regclass, %s, %s)", (sequence, *(last or ()))
            )
    original.rollback()
    original.autocommit = True
    copy.commit()
    with suppress(psycopg.Error):  # Only plans of statements are better for it.
        copy.execute("ANALYZE")
        copy.commit()
    return len(shared), rows, tuple(left)


def _altered(table: str, what: sql.Composable) -> sql.Composed:
    return sql.SQL("ALTER TABLE {} ").format(sql.Identifier(table)) + what


def _copied(
    original: psycopg.Connection[Any],
    copy: psycopg.Connection[Any],
    table: str,
    columns: Sequence[str],
) -> int:
    named = (sql.Identifier(table), sql.SQL(", ").join(map(sql.Identifier, columns)))
    reads, writes = original.cursor(), copy.cursor()
    with (
        reads.copy(sql.SQL("COPY {} ({}) TO STDOUT").format(*named)) as source,
        writes.copy(sql.SQL("COPY {} ({}) FROM STDIN").format(*named)) as target,
    ):
        for data in source:
            target.write(data)
    return max(0, writes.rowcount)


class _Watch:
    """Sees which locks the statements of one connection take, from another one beside it.

    Attributes:
        statements: What it has sent of its revisions.
    """

    def __init__(self, pid: int, beside: psycopg.Connection[Any]) -> None:
        self.statements: list[Statement] = []
        self._pid, self._beside = pid, beside
        self._revision = 0
        self._running: Statement | None = None
        self._began, self._before = 0.0, dict[str, str]()
        self._turn, self._over = threading.Lock(), threading.Event()

    @classmethod
    @contextmanager
    def of(cls, connection: Connection, engine: Engine) -> Iterator[_Watch]:
        """Watch a connection until the block ends.

        Args:
            connection: It.
            engine: What makes another one to the same database.
        """
        with engine.connect() as beside:
            driver = _driver(beside)
            driver.autocommit = True
            watch = cls(_driver(connection).info.backend_pid, driver)
            event.listen(connection, "before_cursor_execute", watch._begins)
            event.listen(connection, "after_cursor_execute", watch._ends)
            looks = threading.Thread(target=watch._looks, daemon=True)
            looks.start()
            try:
                yield watch
            finally:
                watch._over.set()
                looks.join()
                watch._close()
                event.remove(connection, "before_cursor_execute", watch._begins)
                event.remove(connection, "after_cursor_execute", watch._ends)

    @contextmanager
    def turn_to(self, revision: Revision) -> Iterator[None]:
        """Take what is sent in the block for a revision's."""
        self._revision = revision.number
        try:
            yield
        finally:
            self._revision = 0

    def _begins(self, _: Any, __: Any, statement: str, *___: Any) -> None:  # noqa: ANN401
        if not self._revision or any(it in statement for it in _OF_ALEMBIC):
            return
        first = next((it.strip() for it in statement.splitlines() if it.strip()), "")[:_SHOWN]
        with self._turn:
            self._close()
            self._before = self._held()
            self._running = Statement(revision=self._revision, sql=first)
            self._began = time.monotonic()

    def _ends(self, *_: Any) -> None:  # noqa: ANN401
        with self._turn:
            self._note()
            self._close()

    def _close(self) -> None:
        """Take the statement that runs for ended; one that failed ends with the next."""
        if self._running is not None:
            self._running.seconds = time.monotonic() - self._began
            self.statements.append(self._running)
            self._running = None

    def _looks(self) -> None:
        """Look while a statement runs: some locks are gone again at its end."""
        while not self._over.wait(_LOOK_SECONDS):
            with self._turn:
                if self._running is not None:
                    self._note()

    def _note(self) -> None:
        if self._running is None:
            return
        for table, mode in self._held().items():
            if self._before.get(table) != mode:
                known = self._running.locks.get(table, mode)
                self._running.locks[table] = max(known, mode, key=_MODES.index)

    def _held(self) -> dict[str, str]:
        found: dict[str, str] = {}
        for table, mode in self._beside.execute(_HELD, (self._pid,)):
            found[table] = max(found.get(table, mode), mode, key=_MODES.index)
        return found


def _driver(connection: Connection) -> psycopg.Connection[Any]:
    driver: psycopg.Connection[Any] = connection.connection.dbapi_connection  # type: ignore[assignment]
    return driver


def _one(driver: psycopg.Connection[Any], statement: LiteralString, *given: object) -> Any:  # noqa: ANN401
    row = driver.execute(statement, given).fetchone()
    return None if row is None else row[0]


def _called(mode: str) -> str:
    """A mode as PostgreSQL's pages call it: ``AccessExclusiveLock`` is ``ACCESS EXCLUSIVE``."""
    words = "".join(f" {it}" if it.isupper() else it for it in mode.removesuffix("Lock"))
    return words.strip().upper()
