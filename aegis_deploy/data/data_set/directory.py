"""A data set: what its directory holds, on disk or in a bucket, and that it is whole.

`manifest.json` says what it is, `rows/` holds a file a table in COPY's text format, `pre-data.sql`
and `post-data.sql` the schema as `pg_dump` has it, `load.sql` has `psql` alone load all of it, and
`SHA256SUMS` is what `sha256sum --check` takes.
"""

from __future__ import annotations

import errno
import gzip
import hashlib
import json
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import IO, cast
from urllib.parse import quote

from aegis_deploy.common.errors import AegisError, ExitCode
from aegis_deploy.common.signals import Interrupted
from aegis_deploy.data import sequences
from aegis_deploy.data.catalog import TableName
from aegis_deploy.data.data_set.copy_text import decode
from aegis_deploy.data.data_set.manifest import Manifest, TableRows
from aegis_deploy.data.data_set.on_disk import Directory
from aegis_deploy.data.data_set.storage import Draft, Storage
from aegis_deploy.data.selection.row_choice import quoted, relation

MANIFEST, SUMS, LOAD = "manifest.json", "SHA256SUMS", "load.sql"
PRE_DATA, POST_DATA, ROWS = "pre-data.sql", "post-data.sql", "rows"
_NAME = 120
_DIGEST = 32
_LINES = 20


def storage_at(where: str | Path | Storage) -> Storage:
    """Return the place that somebody named.

    Args:
        where: A directory, or the address of a bucket and what its keys begin with.

    Raises:
        AegisError: It is the address of something else.
    """
    if not isinstance(where, str | Path):
        return where
    scheme, colon, _ = str(where).partition("://")
    if isinstance(where, Path) or not colon:
        return Directory(Path(where))
    if scheme != "s3":
        raise AegisError(
            what=f"a data set cannot be at {scheme}://",
            why="it is in a directory, or in a bucket of what speaks S3",
            next="name a directory, or s3://bucket/prefix",
            code=ExitCode.USAGE,
        )
    from aegis_deploy.data.data_set.in_s3 import S3Prefix

    return S3Prefix.at(str(where))


def newest_below(where: str) -> Storage:
    """Return the data set that was made last of those that lie one step below a place.

    Args:
        where: As :func:`storage_at` takes it.

    Raises:
        AegisError: There is none, or nobody can tell of one when it was made.
    """
    place = storage_at(where)
    made: list[tuple[datetime, Storage]] = []
    try:
        for it in place.below():
            with suppress(FileNotFoundError):
                made.append((_made(it), it))
    except OSError as error:
        why = f"{error.filename}: {error.strerror}"
        raise AegisError(
            what=f"{place.shown} cannot be looked through", why=why, next="correct the address"
        ) from None
    if not made:
        raise AegisError(
            what=f"there is no data set below {place.shown}",
            why="nothing one step below it has a manifest, or the run that writes it is not done",
            next="name what data sets lie below of, or take one: aegis data sample",
        )
    return max(made, key=lambda it: it[0])[1]


def _made(place: Storage) -> datetime:
    """When a data set was made.

    Raises:
        FileNotFoundError: It is none.
        AegisError: It does not say.
    """
    try:
        with place.open(MANIFEST) as file:
            return datetime.fromisoformat(json.loads(file.read())["made"]).astimezone(UTC)
    except (ValueError, KeyError, TypeError) as error:
        raise _damaged(place, [f"{MANIFEST}: {type(error).__name__}, it says no time"]) from None


class RowDigest:
    """A digest of rows whatever their order.

    It is a sum, which has none. It names a data set; that it is whole, `SHA256SUMS` says.
    """

    def __init__(self) -> None:
        self._sum = 0

    def add(self, line: bytes) -> None:
        """Add a row.

        Args:
            line: As COPY has it, with its newline.
        """
        self._sum += int.from_bytes(hashlib.blake2b(line, digest_size=_DIGEST).digest(), "big")

    @property
    def hex(self) -> str:
        """It, in hexadecimal digits."""
        return f"{self._sum % (1 << 8 * _DIGEST):0{2 * _DIGEST}x}"


class RowFile:
    """A file of rows that is being written.

    Attributes:
        rows: How many there are so far.
        digest: Theirs.
    """

    def __init__(self, out: IO[bytes]) -> None:
        self.rows, self.digest = 0, RowDigest()
        self._out = out

    def add(self, line: bytes) -> int:
        """Add a row; returns its bytes.

        Args:
            line: As COPY has it, with its newline.
        """
        self.rows += 1
        self.digest.add(line)
        return self._out.write(line)


@contextmanager
def row_file(draft: Draft, name: str, *, compress: bool) -> Iterator[RowFile]:
    """Write a file of rows; whoever keeps it has it after the block.

    Args:
        draft: The data set.
        name: The file, which is not there yet.
        compress: Whether it is compressed.
    """
    with draft.create(name) as file:
        if compress:
            # No name and no time in it: the same rows are the same bytes.
            with gzip.GzipFile("", "wb", compresslevel=1, fileobj=file, mtime=0) as packed:
                yield RowFile(cast("IO[bytes]", packed))
        else:
            yield RowFile(file)


def write_schema(draft: Draft, section: str, sql: str) -> None:
    """Write a part of the schema.

    Args:
        draft: The data set.
        section: `pre-data` or `post-data`.
        sql: The part.
    """
    with draft.create(f"{section}.sql") as file:
        file.write(sql.encode())


def schema_of(place: Storage, name: str) -> str:
    """Return a part of the schema.

    Args:
        place: Where the data set is.
        name: The part's file.
    """
    with place.open(name) as file:
        return file.read().decode()


def rows_of(where: Path | Storage, rows: TableRows) -> Iterator[list[str | None]]:
    """Give out a table's rows, as their values' text.

    Args:
        where: Where the data set is.
        rows: Which.
    """
    with opened(where, rows) as file:
        for line in file:
            yield decode(line)


def file_of(place: int, table: TableName, *, compress: bool) -> str:
    """Return where a table's rows are, from the directory on.

    Args:
        place: Which one it is in the order of loading.
        table: Its name.
        compress: Whether they are compressed.
    """
    plain = quote(f"{table.schema}.{table.name}", safe=" ")[:_NAME].replace("%", "=")
    return f"{ROWS}/{place:04}-{plain.replace(' ', '_')}.copy{'.gz' if compress else ''}"


def load_script(manifest: Manifest) -> str:
    """Return what has `psql` alone load a data set.

    Args:
        manifest: What it says of itself.
    """
    lines = [
        f"-- The data set {manifest.shown}: {len(manifest.tables)} tables, {manifest.rows} rows.",
        "-- In its directory, into an empty database:",
        "--   sha256sum --check --quiet SHA256SUMS",
        "--   psql --quiet --output=/dev/null --file=load.sql --dbname=...",
        "\\set ON_ERROR_STOP on",
        "BEGIN;",
        "SET client_encoding = 'UTF8';",
    ]
    lines += [f"\\ir {PRE_DATA}"] if manifest.has_schema else []
    for it in manifest.tables:
        listed = ", ".join(quoted(column) for column in it.columns)
        source = f"PROGRAM 'gzip -dc {it.file}'" if it.file.endswith(".gz") else f"'{it.file}'"
        lines.append(f"\\copy {relation(it.table)} ({listed}) FROM {source}")
    lines += [f"\\ir {POST_DATA}"] if manifest.has_schema else []
    return "\n".join([*lines, sequences.forward() + "ANALYZE;", "COMMIT;", ""])


@contextmanager
def on_this_machine(what: str, state: str) -> Iterator[None]:
    """Word what the machine's own disk refuses in the block, and that it was stopped.

    Args:
        what: What failed.
        state: What state things are in then.

    Raises:
        AegisError: Something was refused, or a signal came.
    """
    try:
        yield
    except Interrupted as signal:
        raise AegisError(
            what=f"stopped by {signal}",
            state=state,
            next="run it again; it begins anew",
            code=ExitCode.INTERRUPTED,
        ) from None
    except (OSError, sqlite3.Error) as error:
        # SQLite knows no code for it in Python 3.11 but its own (SQLITE_FULL).
        full = getattr(error, "errno", None) in {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
        full = full or getattr(error, "sqlite_errorname", "") == "SQLITE_FULL"
        where = getattr(error, "filename", None)
        reason = getattr(error, "strerror", None) or str(error)
        raise AegisError(
            what=what,
            why=f"{where}: {reason}" if where else reason,
            state=state,
            next="make room there and in the temporary directory, then run it again"
            if full
            else "mend that, then run it again",
        ) from error


def finish(draft: Draft, manifest: Manifest) -> None:
    """Write what a data set says of itself, last of all.

    Args:
        draft: The data set.
        manifest: What it says.
    """
    with draft.create(LOAD) as file:
        file.write(load_script(manifest).encode())
    text = json.dumps(manifest.as_json(), indent=2, ensure_ascii=False) + "\n"
    said = text.encode()
    sums = {**draft.sums, MANIFEST: hashlib.sha256(said).hexdigest()}
    with draft.create(SUMS) as file:
        file.write("".join(f"{sums[name]}  {name}\n" for name in sorted(sums)).encode())
    with draft.create(MANIFEST) as file:
        file.write(said)


def read(where: Path | Storage, tick: Callable[[str], None] = lambda _: None) -> Manifest:
    """Read what a data set says of itself, after every file was compared with its checksum.

    Asked again of the same place, a file is not read again: it can only be opened as it was then.

    Args:
        where: Where it is.
        tick: Told which file is read.

    Raises:
        AegisError: It is no data set, or not whole.
    """
    place = storage_at(where)
    if place.is_unfinished():
        raise _damaged(place, ["the run that wrote it did not end"])
    name = SUMS
    try:
        with place.open(SUMS) as file:
            sums = file.read().decode()
        name = MANIFEST
        with place.open(MANIFEST) as file:
            said = json.loads(file.read())
    except OSError as error:
        why = f"{error.filename}: {error.strerror}"
        raise AegisError(
            what=f"{place.shown} is no data set", why=why, next="name a place where one is"
        ) from None
    except (ValueError, RecursionError) as error:
        raise _damaged(place, [f"{name}: {error}"]) from None
    listed = {}
    for line in sums.splitlines():
        digest, _, name = line.partition("  ")
        listed[name] = digest
    wrong = []
    for name, digest in listed.items():
        if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
            wrong.append(f"{name} lies outside it")
            continue
        if place.compared.get(name) == digest:
            continue
        tick(name)
        try:
            with place.open(name) as file:
                found = hashlib.file_digest(file, "sha256").hexdigest()  # type: ignore[arg-type]
            if found == digest:
                place.compared[name] = digest
            else:
                wrong.append(f"{name} is not what its checksum was made of")
        except OSError as error:
            wrong.append(f"{name}: {error.strerror}")
    try:
        manifest = Manifest.of_json(said)
    except ValueError as error:
        raise _damaged(place, [*wrong, f"{MANIFEST}: {error}"]) from None
    files = [MANIFEST, LOAD, *(it.file for it in manifest.tables)]
    files += [PRE_DATA, POST_DATA] if manifest.has_schema else []
    wrong += [f"{it} has no checksum in {SUMS}" for it in files if it not in listed]
    if wrong:
        raise _damaged(place, wrong)
    return manifest


@contextmanager
def opened(where: Path | Storage, rows: TableRows) -> Iterator[IO[bytes]]:
    """Open a table's rows as COPY takes them.

    Args:
        where: Where the data set is.
        rows: Which.
    """
    with storage_at(where).open(rows.file) as file:
        if rows.file.endswith(".gz"):
            with gzip.GzipFile(fileobj=file) as unpacked:
                yield cast("IO[bytes]", unpacked)
        else:
            yield file


def now() -> str:
    """Return the time as a manifest has it."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def _damaged(place: Storage, lines: list[str]) -> AegisError:
    more = [f"and {len(lines) - _LINES} more"] if len(lines) > _LINES else []
    return AegisError(
        what=f"the data set {place.shown} is damaged",
        why="\n".join([*lines[:_LINES], *more]),
        next="copy it again from where it was made, or make it again",
    )
