"""Loads a data set into a database: all of it in one transaction, or nothing.

So there is one connection; more could not be all or nothing without a second database and the right
to rename it, and a sample is small. PostgreSQL itself sees to it that nobody ever finds half of it,
whoever dies meanwhile. A database without tables gets the schema, the rows, and then indexes and
constraints. One that was migrated and has no rows gets the rows alone: its foreign keys are taken
away and made again after them, which an owner may do and a circle of keys that are not deferrable
needs, and its triggers rest meanwhile. Either way PostgreSQL validates every foreign key.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from aegis_deploy.common.console import bar
from aegis_deploy.common.errors import AegisError
from aegis_deploy.data import schema_dump, sequences
from aegis_deploy.data.catalog import Catalog, TableName
from aegis_deploy.data.catalog_reader import read_catalog
from aegis_deploy.data.connection import Address, connect, worded
from aegis_deploy.data.data_set import directory as data_set
from aegis_deploy.data.data_set.copy_text import encode
from aegis_deploy.data.data_set.manifest import Manifest, TableRows, described, differences
from aegis_deploy.data.data_set.storage import Storage
from aegis_deploy.data.real import require_not_real
from aegis_deploy.data.resting import resting
from aegis_deploy.data.selection.row_choice import quoted, relation

if TYPE_CHECKING:
    from aegis_deploy.common.console import Output
    from aegis_deploy.data.connection import Connection

_CHUNK = 1 << 18
_MIB = 1 << 20
_NAMED = 12
_STATE = "the database is as it was before: nothing of the data set is in it"
_EITHER = "the database has all of the data set, or nothing of it; nobody finds half of it"
"""What is known when it is cut short while it may have been committing."""
_REFUSED = (
    "give the columns of that table rules that make what it takes, as aegis data check has it, and "
    "take a new sample"
)
_LOCK = 0x6165_6769_7364_6174
"""By which two loads into one database know of each other."""
_SMALL = 10_000
"""Up to so many rows a table that has rows already is compared with the data set's."""

_VALIDATED = """
SELECT count(*) FILTER (WHERE k.convalidated), count(*) FILTER (WHERE NOT k.convalidated)
FROM pg_catalog.pg_constraint k JOIN pg_catalog.pg_namespace n ON n.oid = k.connamespace
WHERE k.contype = 'f' AND k.conparentid = 0 AND n.nspname !~ '^pg_'
  AND n.nspname <> 'information_schema'
"""


@dataclass(frozen=True)
class Loaded:
    """A data set that was loaded.

    Attributes:
        manifest: What it says of itself.
        migrated: Whether the database had its tables already.
        kept: The tables whose rows were there already, the same as in the data set.
        foreign_keys: How many foreign keys PostgreSQL has validated.
        not_validated: How many it has not, for they are NOT VALID in production, too.
    """

    manifest: Manifest
    migrated: bool
    kept: tuple[TableName, ...]
    foreign_keys: int
    not_validated: int

    def as_json(self) -> dict[str, object]:
        """Return it for machines."""
        return {
            "name": self.manifest.name,
            "rows": self.manifest.rows,
            "tables": len(self.manifest.tables),
            "migrated": self.migrated,
            "kept": [str(it) for it in self.kept],
            "foreign_keys": self.foreign_keys,
            "foreign_keys_not_validated": self.not_validated,
        }


def load(where: Path | Storage, address: Address, out: Output) -> Loaded:
    """Load a data set into a database that has no rows.

    Args:
        where: The data set.
        address: The database.
        out: Where to tell how far it is.

    Raises:
        AegisError: The data set is damaged or of another schema, the database holds rows, or it
            refused something; nothing was loaded then.
    """
    place = data_set.storage_at(where)
    with out.progress("comparing checksums"):
        manifest = data_set.read(place, out.status)
    failed = f"{address.shown} cannot be loaded"
    with (
        data_set.on_this_machine(failed, _EITHER),
        closing(connect(address, read_only=False)) as link,
        worded(failed, state=_EITHER),
    ):
        require_not_real(link, address.shown, "loaded")
        link.execute("SET lock_timeout = '10s'")
        with out.progress(f"loading {manifest.shown}"), link.transaction():
            return _Loading(place, manifest, address, link, out).run()


class _Loading:
    """One load, within its transaction."""

    def __init__(
        self,
        place: Storage,
        manifest: Manifest,
        address: Address,
        link: Connection,
        out: Output,
    ) -> None:
        self._place, self._manifest = place, manifest
        self._address, self._link, self._out = address, link, out
        self._rows = 0

    def run(self) -> Loaded:
        self._alone()
        catalog = read_catalog(self._link)
        kept = self._require_same(catalog) if catalog.tables else ()
        if catalog.tables:
            self._rows_alone(kept)
        else:
            self._all()
        self._out.status("setting sequences, gathering statistics")
        self._run(sequences.forward(), "the sequences")
        self._run("ANALYZE", "statistics")
        ((valid, not_valid),) = self._link.execute(_VALIDATED).fetchall()
        return Loaded(self._manifest, bool(catalog.tables), kept, valid, not_valid)

    def _alone(self) -> None:
        ((mine,),) = self._link.execute(
            "SELECT pg_catalog.pg_try_advisory_xact_lock(%s)", (_LOCK,)
        ).fetchall()
        if not mine:
            raise AegisError(
                what=f"{self._address.shown} is being loaded",
                why="another `aegis data load` holds its lock",
                next="wait until it is done",
            )

    def _require_same(self, catalog: Catalog) -> tuple[TableName, ...]:
        """Refuse tables of another schema, or with rows; returns those that have theirs."""
        changed = differences(self._manifest.schema, described(catalog))
        if changed:
            raise AegisError(
                what=f"{self._address.shown} has another schema than the data set",
                why="\n".join(changed),
                next="load into an empty database, or into one that is migrated to the same "
                "revision",
            )
        every = ", ".join(relation(it) for it in catalog.tables)
        self._run(f"LOCK TABLE {every} IN ACCESS EXCLUSIVE MODE", "the tables")
        there = {it.table: it for it in self._manifest.tables}
        kept, full = [], []
        for name, table in catalog.tables.items():
            source = relation(name) if table.partitioned else f"ONLY {relation(name)}"
            if not self._has_rows(source):
                continue
            if self._same_rows(source, there[name]):
                kept.append(name)
            else:
                full.append(str(name))
        if full:
            more = ", ..." if len(full) > _NAMED else ""
            raise AegisError(
                what=f"{self._address.shown} is not empty",
                why=f"there are rows in {', '.join(full[:_NAMED])}{more}",
                next="load into a new database; nothing is ever loaded over rows",
            )
        return tuple(kept)

    def _has_rows(self, source: str) -> bool:
        ((found,),) = self._link.execute(
            f"SELECT EXISTS (SELECT FROM {source})".encode()  # noqa: S608 - quoted names
        ).fetchall()
        return bool(found)

    def _same_rows(self, source: str, rows: TableRows) -> bool:
        """Whether a table has the data set's rows: a migration may leave some, its revision."""
        if rows.rows > _SMALL:
            return False
        listed = ", ".join(quoted(it) for it in rows.columns)
        statement = f"COPY (SELECT {listed} FROM {source} LIMIT {_SMALL + 1}) TO STDOUT"  # noqa: S608
        digest = data_set.RowDigest()
        with self._link.cursor() as cursor, cursor.copy(statement.encode()) as copy:
            for row in copy.rows():
                digest.add(encode(row))
        return digest.hex == rows.content

    def _all(self) -> None:
        if not self._manifest.has_schema:
            raise AegisError(
                what=f"{self._address.shown} has no tables",
                why="the data set was made --without-schema",
                next="migrate the database first, then load",
            )
        self._out.status("making tables")
        self._schema(data_set.PRE_DATA)
        self._copy(self._manifest.tables)
        self._out.status("making indexes and constraints")
        self._schema(data_set.POST_DATA)

    def _rows_alone(self, kept: Sequence[TableName]) -> None:
        def told(_: str) -> None:
            self._out.status("making foreign keys again")

        with resting(self._link, self._run, told):
            self._copy([it for it in self._manifest.tables if it.table not in kept])

    def _copy(self, tables: Sequence[TableRows]) -> None:
        for it in tables:
            listed = ", ".join(quoted(column) for column in it.columns)
            statement = f"COPY {relation(it.table)} ({listed}) FROM STDIN"
            with (
                self._worded(str(it.table)),
                data_set.opened(self._place, it) as file,
                self._link.cursor() as cursor,
            ):
                with cursor.copy(statement.encode()) as copy:
                    while chunk := file.read(_CHUNK):
                        copy.write(chunk)
                if cursor.rowcount != it.rows:
                    raise AegisError(
                        what=f"{self._address.shown} cannot be loaded",
                        why=f"{it.table} took {cursor.rowcount} of {it.rows} rows",
                        state=_STATE,
                        next="see which rule or trigger of the table keeps rows out",
                    )
            self._rows += it.rows
            done, total = self._rows, self._manifest.rows
            self._out.status(f"{bar(done, total)} {it.table}: {done:,} of {total:,} rows")

    def _schema(self, name: str) -> None:
        sql = data_set.schema_of(self._place, name)
        self._run(schema_dump.for_server(sql), name)

    def _run(self, statement: str, about: str) -> None:
        with self._worded(about):
            self._link.execute(statement.encode())

    def _worded(self, about: str) -> AbstractContextManager[None]:
        what = f"{self._address.shown} cannot be loaded"
        return worded(what, where=about, state=_STATE, then=_REFUSED)
