"""Takes a sample: rows are read in one snapshot, masked on their way, and written as a data set.

Nothing that was read is written before it is masked, and nothing is a data set before it is whole
and compared with production.
"""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from aegis_deploy.common.console import bar
from aegis_deploy.common.errors import AegisError
from aegis_deploy.data import proof, schema_dump
from aegis_deploy.data.catalog import Catalog, TableName, table_name
from aegis_deploy.data.connection import Address
from aegis_deploy.data.data_set import directory as data_set
from aegis_deploy.data.data_set.copy_text import encode
from aegis_deploy.data.data_set.manifest import (
    Manifest,
    TableRows,
    columns_of,
    described,
    differences,
)
from aegis_deploy.data.data_set.storage import Draft, Storage
from aegis_deploy.data.masking import Masking, compile_masks, key_id
from aegis_deploy.data.rules import Rules, Share
from aegis_deploy.data.selection.closure import Selection, Taken, select
from aegis_deploy.data.selection.row_choice import ALL, NONE, RowSql, Target, Wanted
from aegis_deploy.data.selection.snapshot import Snapshot, snapshot
from aegis_deploy.data.values.keyed import derived

if TYPE_CHECKING:
    from aegis_deploy.common.console import Output
    from aegis_deploy.data.connection import Connection

_STATE = "production is as it was; no data set was written"
_COMPARED = "production and the data set are as they were"
_COUNTED = 1_000
"""After so many rows of a table its progress is told."""
_MIB = 1 << 20


@dataclass(frozen=True, kw_only=True)
class Source:
    """What a sample is taken of.

    Attributes:
        address: Where production is.
        rules: What is taken, and what becomes of it.
        rules_file: Where the rules are.
        key: What rows are chosen and values masked by.
        connections: How many connections read at once.
        allow_writer: Whether a role may be used that could write.
    """

    address: Address
    rules: Rules
    rules_file: Path
    key: bytes
    connections: int = 2
    allow_writer: bool = False

    @property
    def rules_digest(self) -> str:
        """The SHA-256 of the file of rules."""
        return hashlib.sha256(self.rules_file.read_bytes()).hexdigest()

    @contextmanager
    def held(self) -> Iterator[Snapshot]:
        """Hold production as it is now until the block ends.

        Raises:
            AegisError: It cannot be reached, or the role can do too much or too little.
        """
        with snapshot(
            self.address,
            self.rules.declared(),
            connections=self.connections,
            allow_writer=self.allow_writer,
        ) as held:
            yield held


@dataclass(frozen=True)
class Sampled:
    """A sample that was taken.

    Attributes:
        manifest: What the data set says of itself.
        taken: What was taken of each table, in the order of loading.
    """

    manifest: Manifest
    taken: tuple[Taken, ...]


def wanted(catalog: Catalog, rules: Rules) -> Wanted:
    """Return what rules say is to be taken of a database.

    Args:
        catalog: Its tables.
        rules: The rules.

    Raises:
        AegisError: They say nothing of how much, or name what is not there.
    """
    wrong: list[str] = []
    tables = {}
    for text, share in rules.sample.tables.items():
        table = catalog.table(text)
        if table is None:
            wrong.append(f"sample.tables: there is no table {text}")
        else:
            tables[table.name] = _target(share)
    wrong += [f"references: {it}" for it in catalog.lacking()]
    follow = []
    for it in rules.follow:
        child, parent = table_name(it.table), table_name(it.with_)
        ways = [
            reference
            for reference in catalog.references_of(child)
            if reference.to == parent and (it.by is None or reference.columns == it.by)
        ]
        if len(ways) == 1:
            follow += ways
        elif not ways:
            wrong.append(f"follow: {it.table} does not refer to {it.with_}")
        else:
            by = " or ".join(f"[{', '.join(way.columns)}]" for way in ways)
            wrong.append(f"follow: {it.table} refers to {it.with_} in several ways; add by: {by}")
    sample = rules.sample
    default = NONE
    if sample.percent is not None or sample.rows is not None:
        default = Target(percent=sample.percent, rows=sample.rows)
    elif not tables:
        wrong.append("sample: it says nothing of how much; add percent: 10, or rows: 100000")
    if wrong:
        raise AegisError(
            what="the rules do not say what is to be taken of this database",
            why="\n".join(wrong),
            next="mend the rules; aegis data check holds them against the database",
        )
    return Wanted(default, tables, tuple(follow))


@data_set.on_this_machine("what would be taken cannot be found out", _STATE)
def plan(source: Source, out: Output) -> tuple[Catalog, tuple[Taken, ...]]:
    """Find out what would be taken; no row leaves the database.

    Args:
        source: Of what.
        out: Where to tell how far it is.

    Raises:
        AegisError: The rules or the database do not allow it.
    """
    with source.held() as held:
        found = _select(held, source, out)
        found.places.close()
        return held.catalog, found.taken


def sample(
    source: Source,
    where: Path | Storage,
    out: Output,
    *,
    compress: bool = False,
    with_schema: bool = True,
) -> Sampled:
    """Take a sample.

    Args:
        source: Of what.
        where: Where the data set is to be.
        out: Where to tell how far it is.
        compress: Whether its files are compressed.
        with_schema: Whether the schema comes with it, for which `pg_dump` is needed.

    Raises:
        AegisError: The rules or the database do not allow it, it was cut short, or masked columns
            have values of production.
    """
    place = data_set.storage_at(where)
    place.require_free()
    failed = f"the data set {place.shown} cannot be written"
    with data_set.on_this_machine(failed, _STATE), source.held() as held:
        masking = compile_masks(held.catalog, source.rules, source.key)
        dumper = schema_dump.program(held.catalog.version) if with_schema else None
        with place.being_written() as draft:
            if dumper is not None:
                for section in ("pre-data", "post-data"):
                    text = schema_dump.dump(dumper, held.address, held.name, section)
                    data_set.write_schema(draft, section, text)
            selection = _select(held, source, out)
            writing = _Writing(held, selection, masking, draft, compress=compress)
            with out.progress("copying rows"):
                tables = held.each(writing.jobs(), lambda: out.status(writing.progress()))
            selection.places.close()
            found = [it for _, proofs in tables for it in proofs]
            proof.require(found, _STATE)
            manifest = Manifest(
                schema=described(held.catalog),
                tables=tuple(sorted((rows for rows, _ in tables), key=lambda it: it.file)),
                server=held.catalog.version,
                key=key_id(source.key),
                rules=source.rules_digest,
                made=data_set.now(),
                has_schema=with_schema,
                proof=proof.as_json(found),
            )
            data_set.finish(draft, manifest)
    return Sampled(manifest, selection.taken)


@data_set.on_this_machine("the data set cannot be compared", _COMPARED)
def verify(source: Source, where: Path | Storage, out: Output) -> list[proof.Coincidence]:
    """Compare a data set's masked columns with production as it is now.

    Args:
        source: Production, and the rules that the data set was masked by.
        where: The data set.
        out: Where to tell how far it is.

    Raises:
        AegisError: The data set is damaged, masked otherwise, or has values of production.
    """
    place = data_set.storage_at(where)
    with out.progress("comparing checksums"):
        manifest = data_set.read(place, out.status)
    if manifest.key != key_id(source.key):
        raise AegisError(
            what="the data set was made with another key",
            why=f"its key is {manifest.key}, and this is {key_id(source.key)}",
            next="name the key that it was made with",
        )
    if manifest.rules != source.rules_digest:
        raise AegisError(
            what="the data set was made by other rules",
            why=f"{source.rules_file} is not what it was then",
            next="name the rules that it was made by, or take a new sample",
        )
    with source.held() as held:
        masking = compile_masks(held.catalog, source.rules, source.key)
        changed = differences(manifest.schema, described(held.catalog))
        if changed:
            raise AegisError(
                what="production has another schema by now than the data set",
                why="\n".join(changed),
                next="take a new sample",
            )
        statements = RowSql(held.catalog, b"")

        def comparing(rows: TableRows) -> Callable[[Connection], list[proof.Coincidence]]:
            def compare(link: Connection) -> list[proof.Coincidence]:
                seen = proof.Fingerprints(
                    held.catalog.tables[rows.table], rows.columns, masking.masked(rows.table)
                )
                for row in data_set.rows_of(place, rows):
                    seen.add(row)
                return _compared(held, link, statements, seen)

            return compare

        with out.progress("comparing with production"):
            compared = held.each([comparing(it) for it in manifest.tables])
    found = [it for table in compared for it in table]
    proof.require(found, "the data set is as it was; do not use it")
    return found


class _Writing:
    """Writes the files of a sample, several at once."""

    def __init__(
        self,
        held: Snapshot,
        selection: Selection,
        masking: Masking,
        draft: Draft,
        *,
        compress: bool,
    ) -> None:
        self._held, self._selection, self._masking = held, selection, masking
        self._draft, self._compress = draft, compress
        self._began = time.monotonic()
        self._alone = threading.Lock()
        self._rows = self._bytes = 0
        self._total = sum(it.total for it in selection.taken)

    def jobs(self) -> list[Callable[[Connection], tuple[TableRows, list[proof.Coincidence]]]]:
        """What there is to do: a table each, the largest first, so that none is left alone."""
        places = {it.table: place for place, it in enumerate(self._selection.taken, 1)}
        ordered = sorted(self._selection.taken, key=lambda it: -it.total)
        return [partial(self._table, places[it.table], it) for it in ordered]

    def progress(self) -> str:
        """How far it is."""
        seconds = time.monotonic() - self._began
        left = seconds * (self._total - self._rows) / self._rows if self._rows else 0
        rest = f", {left:.0f} s left" if self._rows else ""
        rows = f"{bar(self._rows, self._total)} {self._rows:,} of {self._total:,} rows"
        return f"{rows}, {self._bytes / _MIB:.1f} MiB{rest}"

    def _table(
        self, place: int, taken: Taken, link: Connection
    ) -> tuple[TableRows, list[proof.Coincidence]]:
        table = self._held.catalog.tables[taken.table]
        columns = columns_of(table)
        mask, masked = self._masking.of(table.name), self._masking.masked(table.name)
        seen = proof.Fingerprints(table, columns, masked)
        name = data_set.file_of(place, table.name, compress=self._compress)
        told = size = 0
        with data_set.row_file(self._draft, name, compress=self._compress) as file:
            for row in self._rows_of(taken, columns, link):
                out = _masked(mask, row, table.name) if masked else row
                seen.add(out)
                size += file.add(encode(out))
                if file.rows - told == _COUNTED:
                    told = file.rows
                    self._count(_COUNTED, size)
                    size = 0
        self._count(file.rows - told, size)
        if file.rows != taken.total:
            raise AegisError(
                what=f"{table.name} did not stay as it was",
                why=f"{taken.total} rows were chosen and {file.rows} came, in one snapshot",
                state=_STATE,
                next="run it again; if it comes again, report it",
            )
        rows = TableRows(table.name, name, columns, file.rows, file.digest.hex, taken.as_json())
        return rows, _compared(self._held, link, self._selection.sql, seen)

    def _rows_of(
        self, taken: Taken, columns: tuple[str, ...], link: Connection
    ) -> Iterator[tuple[str | None, ...]]:
        sql, selection = self._selection.sql, self._selection
        if taken.own:
            yield from self._held.copy(link, sql.copy_chosen(taken.table, columns), taken.table)
        if taken.pulled:
            for name in self._held.catalog.tables[taken.table].relations:
                for batch in selection.places.taken(selection.relations[name]):
                    statement = sql.copy_at(name, columns, batch)
                    yield from self._held.copy(link, statement, taken.table)

    def _count(self, rows: int, size: int) -> None:
        with self._alone:
            self._rows += rows
            self._bytes += size


def _masked(
    mask: Callable[[Sequence[str | None]], Sequence[str | None]],
    row: Sequence[str | None],
    table: TableName,
) -> Sequence[str | None]:
    try:
        return mask(row)
    except AegisError:
        raise
    except Exception as error:
        # What it says may quote the value.
        raise AegisError(
            what=f"a row of {table} cannot be masked",
            why=f"{type(error).__name__} in one of the rules of its columns",
            state=_STATE,
            next="report it; until it is mended, give its columns other rules",
        ) from None


def _compared(
    held: Snapshot, link: Connection, sql: RowSql, seen: proof.Fingerprints
) -> list[proof.Coincidence]:
    """Compare masked columns with all that production has in them."""
    if not seen.columns:
        return []
    return seen.compare(held.copy(link, sql.copy_all(seen.table, seen.columns), seen.table))


def _select(held: Snapshot, source: Source, out: Output) -> Selection:
    take = wanted(held.catalog, source.rules)
    with out.progress("choosing rows"):
        key = derived(source.key, "rows")
        selection = select(held, held.catalog, take, key, out.status)
    for it in selection.dangling:
        out.warn(str(it))
    return selection


def _target(share: Share | str) -> Target:
    if isinstance(share, Share):
        return Target(percent=share.percent, rows=share.rows)
    return ALL if share == "all" else NONE
