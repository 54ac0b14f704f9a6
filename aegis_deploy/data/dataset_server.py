"""The databases of data sets on a stack's own server: made, listed, dropped.

A data set is loaded into a database that is called otherwise and gets its name last of all. So
whatever has the name of a data set's database is whole, whoever died when. Each says by a comment
which data set it is of, in full, and since when it is there.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, closing, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from aegis_deploy.common.errors import AegisError
from aegis_deploy.data.connection import connect, worded
from aegis_deploy.data.data_set import directory as data_set
from aegis_deploy.data.load import Loaded, load
from aegis_deploy.data.real import require_not_real
from aegis_deploy.data.selection.row_choice import quoted
from aegis_deploy.model.database.dataset import beside, database_of, short, short_of

if TYPE_CHECKING:
    from aegis_deploy.common.console import Output
    from aegis_deploy.data.connection import Address, Connection
    from aegis_deploy.data.data_set.manifest import Manifest
    from aegis_deploy.data.data_set.storage import Storage

_OF_ITSELF = 16 << 20
"""What an empty database takes, and what a server writes down meanwhile, at least."""
_TIMES = 2
"""So many times the rows' text is taken at least, with what they are found by and the server's log:
a server whose disk is full serves nobody."""
_BUSY_SECONDS = 90.0
_LOOK_SECONDS = 1.0
_REVISION = "aegis_schema"
"""The table by which a database of this project says its revision (docs/database.md)."""
_LISTED = """
SELECT d.datname, pg_catalog.shobj_description(d.oid, 'pg_database')
FROM pg_catalog.pg_database d
WHERE pg_catalog.starts_with(d.datname, pg_catalog.current_database() || '_')
ORDER BY 1
"""
_ABOUT = """
SELECT pg_catalog.current_database(),
  (SELECT pg_catalog.pg_get_userbyid(d.datdba) FROM pg_catalog.pg_database d
   WHERE d.datname = pg_catalog.current_database()),
  (SELECT sum(pg_catalog.pg_database_size(d.oid)) FROM pg_catalog.pg_database d
   WHERE pg_catalog.has_database_privilege(d.oid, 'CONNECT') AND d.datallowconn)
"""


@dataclass(frozen=True)
class Kept:
    """A data set that is on a server.

    Attributes:
        name: Its name; the short form where its database does not say more.
        since: When it was loaded, as ISO 8601; empty where its database does not say.
    """

    name: str
    since: str = ""


class DatasetServer:
    """The data sets on one server.

    Args:
        address: Its first database, as the loader.
        out: Where to tell how far it is.
    """

    def __init__(self, address: Address, out: Output) -> None:
        self._address, self._out = address, out
        with self._connected() as link, self._worded("cannot be asked"):
            require_not_real(link, address.shown, "loaded or dropped")
            ((self._home, self._owner, used),) = link.execute(_ABOUT.encode()).fetchall()
        self._used = int(used)

    def kept(self) -> list[Kept]:
        """Return the data sets that are there, whole.

        Raises:
            AegisError: The server does not say.
        """
        return [_kept(said, name) for name, said in self._databases() if name]

    def require_room(self, manifest: Manifest, place: Storage, capacity: int | None) -> None:
        """Refuse a data set that is larger than what is left of the server's volume.

        Args:
            manifest: What it says of itself.
            place: Where it is.
            capacity: How large the volume is, in bytes; None where nobody knows.

        Raises:
            AegisError: It is.
        """
        rows = sum(place.size(it.file) for it in manifest.tables)
        takes = _TIMES * rows + _OF_ITSELF
        if capacity is None or self._used + takes <= capacity:
            return
        raise AegisError(
            what=f"the data set {manifest.shown} is larger than the volume of "
            f"{self._address.shown}",
            why=f"it takes at least {_mebibytes(takes)}; of {_mebibytes(capacity)} the databases "
            f"that are there take {_mebibytes(self._used)}",
            next="take a smaller sample, make the volume larger (aegis:postgres.storage), or drop "
            "former data sets: aegis data refresh --keep 0",
        )

    def load(self, manifest: Manifest, place: Storage) -> Loaded:
        """Load a data set into a database of its own, which has its name once all of it is there.

        Args:
            manifest: What it says of itself.
            place: Where it is.

        Raises:
            AegisError: It was not loaded; nothing of it is left, or only what the next load drops.
        """
        database = database_of(self._home, manifest.name)
        draft = beside(database)
        self._leave_nothing()
        said = json.dumps({"dataset": manifest.name, "loaded": data_set.now()})
        with self._connected() as link, self._worded("cannot be loaded"):
            made = f"{quoted(draft)} OWNER {quoted(self._owner)} TEMPLATE template0"
            link.execute(f"CREATE DATABASE {made}".encode())
        try:
            loaded = load(
                place,
                # As the service's role, which is to own what is in it.
                self._address.with_parts(
                    self._address.shown, dbname=draft, options=f"-c role={self._owner}"
                ),
                self._out,
            )
            with self._connected() as link, self._worded("cannot be loaded"):
                # A name is hexadecimal digits and a time no more than that.
                link.execute(f"COMMENT ON DATABASE {quoted(draft)} IS '{said}'".encode())
                link.execute(
                    f"ALTER DATABASE {quoted(draft)} RENAME TO {quoted(database)}".encode()
                )
        except BaseException:
            # What is left has another name than any data set, and goes with the next load.
            with suppress(AegisError):
                self._leave_nothing()
            raise
        return loaded

    def drop(self, name: str, pause: Callable[[float], None] = time.sleep) -> None:
        """Drop a data set's database, once nobody is connected to it any more.

        Args:
            name: The data set's name, or its short form.
            pause: Waits for some seconds.

        Raises:
            AegisError: It was not dropped: somebody uses it, or the server refused.
        """
        waited = 0.0
        while True:
            try:
                return self._drop(database_of(self._home, name))
            except AegisError as error:
                # The pods of the release before may be ending just now.
                if "55006" not in error.why or waited >= _BUSY_SECONDS:
                    raise
            pause(_LOOK_SECONDS)
            waited += _LOOK_SECONDS

    def _leave_nothing(self) -> None:
        """Drop what loads left that did not come to their end."""
        with self._connected() as link, self._worded("cannot be asked"):
            there = [str(it) for it, _ in link.execute(_LISTED.encode()).fetchall()]
        for database in there:
            whole = database.rpartition("_")[0]
            if beside(whole) == database and short_of(self._home, whole):
                self._drop(database)

    def _drop(self, database: str) -> None:
        with self._connected() as link, self._worded("has a database that cannot be dropped"):
            link.execute(f"DROP DATABASE IF EXISTS {quoted(database)}".encode())

    def _databases(self) -> list[tuple[str, str]]:
        with self._connected() as link, self._worded("cannot be asked"):
            found = link.execute(_LISTED.encode()).fetchall()
        return [(short_of(self._home, str(name)), str(said or "")) for name, said in found]

    def _connected(self) -> closing[Connection]:
        return closing(connect(self._address, read_only=False))

    def _worded(self, what: str) -> AbstractContextManager[None]:
        return worded(f"{self._address.shown} {what}")


def revision_of(place: Storage, manifest: Manifest) -> tuple[int, int] | None:
    """Return the revision, and the least head, that a data set's rows say; None where none do.

    Args:
        place: Where it is.
        manifest: What it says of itself.
    """
    found = next((it for it in manifest.tables if str(it.table) == _REVISION), None)
    if found is None or not {"revision", "least_head"} <= set(found.columns):
        return None
    rows = list(data_set.rows_of(place, found))
    if len(rows) != 1:
        return None
    row = dict(zip(found.columns, rows[0], strict=True))
    return int(row["revision"] or 0), int(row["least_head"] or 0)


def _kept(said: str, name: str) -> Kept:
    try:
        found = json.loads(said)
        whole, since = str(found["dataset"]), str(found["loaded"])
    except (ValueError, KeyError, TypeError):
        return Kept(name)
    return Kept(whole, since) if short(whole) == name else Kept(name)


def _mebibytes(number: int) -> str:
    return f"{number / (1 << 20):,.0f} MiB"
