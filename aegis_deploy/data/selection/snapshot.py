"""One moment of a database, read by several connections at once, each of which can only read."""

from __future__ import annotations

import queue
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING, Any, TypeVar

from aegis_deploy.common.errors import AegisError
from aegis_deploy.data.catalog import Catalog, Reference, TableName
from aegis_deploy.data.catalog_reader import read_catalog
from aegis_deploy.data.connection import Address, connect, worded
from aegis_deploy.data.selection.row_choice import quoted, relation

if TYPE_CHECKING:
    from aegis_deploy.data.connection import Connection

T = TypeVar("T")
_TICK_SECONDS = 0.25
_ALL_AT_ONCE = "SET enable_nestloop = off; SET enable_seqscan = on"
"""Whole tables are joined. Where statistics tell of fewer rows than the snapshot has, as after a
mass deletion and a VACUUM, PostgreSQL would go through one of them for every row of the other."""
_ROW_BY_ROW = "SET enable_nestloop = on; SET enable_seqscan = off"
"""Few rows lead to others by an index; without one, the other table is gone through once."""
_LOCK = "SET lock_timeout = '10s'"
_NAMED = 12
"""How many lines an error lists."""
_ROLE = """
SELECT r.rolname, r.rolsuper FROM pg_catalog.pg_roles r WHERE r.rolname = current_user
"""
_MAY = """
SELECT n.nspname::text, c.relname::text,
  pg_catalog.has_schema_privilege(n.oid, 'USAGE')
    AND pg_catalog.has_table_privilege(c.oid, 'SELECT'),
  pg_catalog.has_table_privilege(c.oid, 'DELETE, TRUNCATE')
    OR pg_catalog.has_any_column_privilege(c.oid, 'INSERT, UPDATE')
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE c.oid = ANY(%s)
ORDER BY n.nspname, c.relname
"""
_OIDS = """
SELECT c.oid, n.nspname::text, c.relname::text
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p') AND n.nspname = ANY(%s)
"""


class Snapshot:
    """A database as it is at one moment.

    Attributes:
        address: Where it is.
        name: What other sessions import it by (`pg_export_snapshot`).
        catalog: Its tables.
    """

    def __init__(
        self, address: Address, name: str, catalog: Catalog, links: Sequence[Connection]
    ) -> None:
        self.address, self.name, self.catalog = address, name, catalog
        self._links = list(links)
        self._stopped = False
        self._free: queue.SimpleQueue[Connection] = queue.SimpleQueue()
        for link in self._links:
            self._free.put(link)

    def each(
        self, jobs: Sequence[Callable[[Connection], T]], tick: Callable[[], None] = lambda: None
    ) -> list[T]:
        """Do several things at once, each on a connection of its own.

        Args:
            jobs: What to do.
            tick: Called now and then while it is waited for.

        Returns:
            What each returned, in their order.

        Raises:
            AegisError: One failed; the others are stopped.
        """
        failures: list[BaseException] = []

        def run(job: Callable[[Connection], T]) -> T:
            link = self._free.get()
            try:
                self._go_on()
                return job(link)
            except BaseException as error:
                failures.append(error)
                self._stopped = True
                raise
            finally:
                self._free.put(link)

        with ThreadPoolExecutor(len(self._links), "data") as pool:
            futures = [pool.submit(run, job) for job in jobs]
            try:
                waiting = set(futures)
                while waiting and not failures:
                    _, waiting = wait(waiting, _TICK_SECONDS, FIRST_EXCEPTION)
                    tick()
            finally:
                if waiting or failures:
                    pool.shutdown(wait=False, cancel_futures=True)
                    self._stop()
        if failures:
            # The others failed because this one did.
            raise failures[0]
        return [it.result() for it in futures]

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        """Ask.

        Args:
            query: What.

        Raises:
            AegisError: It was refused.
        """
        link = self._free.get()
        try:
            with worded(f"{self.address.shown} cannot be read"):
                return link.execute(query.encode()).fetchall()
        finally:
            self._free.put(link)

    def numbers(self, queries: Sequence[str]) -> list[int]:
        """Ask for a number each, several at once.

        Args:
            queries: What for.

        Raises:
            AegisError: One was refused.
        """

        def asking(query: str) -> Callable[[Connection], int]:
            def ask(link: Connection) -> int:
                with worded(f"{self.address.shown} cannot be read"):
                    ((number,),) = link.execute(query.encode()).fetchall()
                return int(number)

            return ask

        return self.each([asking(it) for it in queries])

    def copy_places(self, statement: str, *, few: bool) -> Iterator[tuple[int, int]]:
        """Give out the relation's oid and the place of each row that a COPY statement names.

        Args:
            statement: It gives out `tableoid` and `ctid`.
            few: Whether it begins at few rows, for which others are best looked up.
        """
        link = self._free.get()
        try:
            link.execute(_ROW_BY_ROW if few else _ALL_AT_ONCE)
            with link.cursor() as cursor, cursor.copy(statement.encode()) as copy:
                for oid, place in copy.rows():
                    block, _, line = place[1:-1].partition(",")
                    yield int(oid), int(block) << 16 | int(line)
        finally:
            self._free.put(link)

    def copy(
        self, link: Connection, statement: str, table: TableName
    ) -> Iterator[tuple[str | None, ...]]:
        """Give out the rows of a COPY statement, as their values' text.

        Args:
            link: On which connection.
            statement: The statement.
            table: Whose rows, for errors.

        Raises:
            AegisError: It was refused, or the server is lost.
        """
        self._go_on()
        what = f"{self.address.shown} cannot be read"
        with (
            worded(what, where=str(table), state="production is as it was"),
            link.cursor() as cursor,
        ):
            cursor.execute(_ALL_AT_ONCE)
            with cursor.copy(statement.encode()) as copy:
                yield from copy.rows()

    def oids(self, names: Sequence[TableName]) -> dict[TableName, int]:
        """Return relations' oids.

        Args:
            names: Their names.
        """
        wanted = set(names)
        link = self._free.get()
        try:
            with worded(f"{self.address.shown} cannot be read"):
                schemas = sorted({it.schema for it in wanted})
                rows = link.execute(_OIDS, (schemas,)).fetchall()
        finally:
            self._free.put(link)
        found = {TableName(schema, name): oid for oid, schema, name in rows}
        return {it: found[it] for it in names}

    def _go_on(self) -> None:
        if self._stopped:
            raise AegisError(what="it was stopped", why="something beside it failed")

    def _stop(self) -> None:
        self._stopped = True
        for link in self._links:
            with suppress(Exception):
                link.cancel_safe(timeout=_TICK_SECONDS * 20)


@contextmanager
def snapshot(
    address: Address,
    declared: Sequence[Reference] = (),
    *,
    connections: int,
    allow_writer: bool = False,
) -> Iterator[Snapshot]:
    """Hold a database as it is now until the block ends.

    Every transaction is READ ONLY and sees the same moment. The tables are locked against nothing
    but what would change or move them (ACCESS SHARE), before the moment is fixed.

    Args:
        address: Where the database is.
        declared: What the rules say of references that no constraint tells.
        connections: How many connections read at once.
        allow_writer: Whether a role may be used that could write.

    Raises:
        AegisError: It cannot be reached, or the role can do too much or too little.
    """
    with ExitStack() as stack:
        keeper = stack.enter_context(_closing(connect(address, read_only=True)))
        before = read_catalog(keeper)
        if not before.tables:
            raise AegisError(
                what=f"{address.shown} has no table",
                why="there is nothing but what belongs to PostgreSQL and its extensions",
                next="see that the address names the right database",
            )
        _require_role(keeper, address, before, allow_writer=allow_writer)
        with worded(f"{address.shown} cannot be read"):
            keeper.execute(_LOCK)
            keeper.execute("BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY")
            every = ", ".join(f"ONLY {relation(it)}" for it in _relations(before))
            keeper.execute(f"LOCK TABLE {every} IN ACCESS SHARE MODE".encode())
            catalog = read_catalog(keeper, declared)
            ((name,),) = keeper.execute("SELECT pg_catalog.pg_export_snapshot()").fetchall()
        if _relations(catalog) != _relations(before):
            raise AegisError(
                what="tables come or go just now",
                why="the database's tables changed while they were being locked",
                next="run it again when nothing migrates the database",
            )
        links = []
        for _ in range(connections):
            link = stack.enter_context(_closing(connect(address, read_only=True)))
            with worded(f"{address.shown} cannot be read"):
                link.execute("SET synchronize_seqscans = off")
                link.execute(_ALL_AT_ONCE)
                link.execute("BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY")
                link.execute(f"SET TRANSACTION SNAPSHOT '{name}'".encode())
                link.execute("SELECT 1")
            links.append(link)
        yield Snapshot(address, name, catalog, links)


def _relations(catalog: Catalog) -> list[TableName]:
    return sorted(it for table in catalog.tables.values() for it in table.relations)


def _require_role(
    link: Connection, address: Address, catalog: Catalog, *, allow_writer: bool
) -> None:
    with worded(f"{address.shown} cannot be read"):
        ((role, superuser),) = link.execute(_ROLE).fetchall()
        schemas = sorted({it.schema for it in _relations(catalog)})
        wanted = set(_relations(catalog)) | set(catalog.tables)
        rows = link.execute(_OIDS, (schemas,)).fetchall()
        oids = [oid for oid, *name in rows if TableName(*name) in wanted]
        may = link.execute(_MAY, (oids,)).fetchall()
    unread = [TableName(schema, name) for schema, name, read, _ in may if not read]
    if unread:
        grants = [
            *(f"GRANT USAGE ON SCHEMA {quoted(it)} TO {quoted(role)};" for it in schemas),
            *(f"GRANT SELECT ON {relation(it)} TO {quoted(role)};" for it in unread[:_NAMED]),
        ]
        more = [f"and {len(unread) - _NAMED} more"] if len(unread) > _NAMED else []
        raise AegisError(
            what=f"the role {role} cannot read every table",
            why=f"it may not read {len(unread)} of {len(may)}",
            next="\n".join(["have its owner run:", *grants, *more]),
        )
    writes = [str(TableName(schema, name)) for schema, name, _, write in may if write]
    if (superuser or writes) and not allow_writer:
        listed = ", ".join(writes[:_NAMED]) + (", ..." if len(writes) > _NAMED else "")
        raise AegisError(
            what=f"the role {role} can do more than read",
            why="it is a superuser" if superuser else f"it may write to {listed}",
            next="take a role that has nothing but SELECT (pg_read_all_data gives that), "
            "or add --allow-writer: every transaction is READ ONLY all the same",
        )


@contextmanager
def _closing(link: Connection) -> Iterator[Connection]:
    try:
        yield link
    finally:
        with suppress(Exception):
            link.close()
