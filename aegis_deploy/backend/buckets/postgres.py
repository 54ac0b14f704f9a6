"""PostgreSQL as the place of a store: the table that the CLI keeps its files in."""

from __future__ import annotations

import base64
import re
import threading
import weakref
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

from aegis_deploy.backend.buckets.object_store import Address, ObjectEntry, need, unreachable
from aegis_deploy.common.errors import AegisError

_ALIVE = {
    "connect_timeout": 10,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 20_000,
}
"""How long a connection may be dead until that is noticed: a heart must not hang with it
(https://www.postgresql.org/docs/current/libpq-connect.html)."""
Rows = list[tuple[Any, ...]]
_TABLE = "pulumi_state"
_NAME = re.compile(r'(?:[A-Za-z_][\w$]*|"[^"]+")(?:\.(?:[A-Za-z_][\w$]*|"[^"]+"))?')


@dataclass
class PostgresBucket:
    """A table of PostgreSQL.

    Attributes:
        url: Its address, ``postgres://user:password@host/database?table=...``.
        environment: The environment the CLI runs with.
    """

    url: str = field(repr=False)
    environment: Mapping[str, str] = field(repr=False)
    beat_seconds: float = 5.0
    shell: str | None = None

    def __post_init__(self) -> None:
        self._psycopg = need("psycopg", "postgres")
        self._at = Address.of(self.url)
        self._table = self._at.options.get("table") or _TABLE
        if not _NAME.fullmatch(self._table):
            raise AegisError(
                what="the backend's URL cannot be used",
                why=f"{self._table!r} is no name of a table",
                next="correct table=... in PULUMI_BACKEND_URL",
            )
        self._link: Any = None
        self._alone = threading.Lock()

    def require(self) -> None:  # noqa: D102 - the protocol says it
        self._ask(f"SELECT 1 FROM {self._table} LIMIT 0", ())  # noqa: S608 - checked above

    def mend(self, start: str) -> None:  # noqa: D102, ARG002
        return

    def require_room(self, key: str) -> None:  # noqa: D102, ARG002
        return

    def list(self, start: str) -> list[ObjectEntry]:  # noqa: D102
        whole = self._at.prefix + start
        pattern = re.sub(r"([\\%_])", r"\\\1", whole) + "%"
        rows = self._ask(
            f"SELECT key, extract(epoch FROM updated_at) FROM {self._table} "  # noqa: S608
            "WHERE key LIKE %s AND strpos(substr(key, %s), '/') = 0 ORDER BY key",
            (pattern, len(whole) + 1),
        )
        return [ObjectEntry(key.removeprefix(self._at.prefix), float(when)) for key, when in rows]

    def read(self, key: str, size: int | None = None) -> bytes:  # noqa: D102
        found = self.read_many([key])[key]
        if isinstance(found, OSError):
            raise found
        return found if size is None else found[:size]

    def read_many(self, keys: Iterable[str]) -> Mapping[str, bytes | OSError]:  # noqa: D102
        wanted = list(keys)
        rows = self._ask(
            f"SELECT key, data->>'data' FROM {self._table} WHERE key = ANY(%s)",  # noqa: S608
            ([self._at.prefix + key for key in wanted],),
        )
        found = {key.removeprefix(self._at.prefix): text for key, text in rows}
        return {
            key: base64.b64decode(found[key])
            if found.get(key) is not None
            else FileNotFoundError(self.place(key))
            for key in wanted
        }

    def swap(self, key: str, before: bytes | None, after: bytes | None) -> bool:  # noqa: D102
        whole, old, new = self._at.prefix + key, _encoded(before), _encoded(after)
        if before is None:
            return bool(
                self._ask(
                    f"INSERT INTO {self._table} (key, data) "  # noqa: S608
                    "VALUES (%s, json_build_object('data', %s::text)) "
                    "ON CONFLICT (key) DO NOTHING RETURNING key",
                    (whole, new),
                )
            )
        if after is None:
            return bool(
                self._ask(
                    f"DELETE FROM {self._table} "  # noqa: S608
                    "WHERE key = %s AND data->>'data' = %s RETURNING key",
                    (whole, old),
                )
            )
        return bool(
            self._ask(
                f"UPDATE {self._table} "  # noqa: S608
                "SET data = json_build_object('data', %s::text), updated_at = now() "
                "WHERE key = %s AND data->>'data' = %s RETURNING key",
                (new, whole, old),
            )
        )

    def delete(self, key: str) -> None:  # noqa: D102
        self._ask(
            f"DELETE FROM {self._table} WHERE key = %s",  # noqa: S608
            (self._at.prefix + key,),
        )

    def is_own(self, start: str) -> bool:  # noqa: D102, ARG002
        return False

    def place(self, key: str) -> str:  # noqa: D102
        return f"{self._at.prefix}{key} in the table {self._table} on {self._at.host}"

    def _ask(self, query: str, values: Sequence[Any]) -> Rows:
        """Ask; once more on a new connection when the one there is was ended."""
        with self._alone:
            kept = self._link is not None
            try:
                return self._answer(query, values)
            except self._psycopg.OperationalError as error:
                self._link = None
                if not kept:
                    raise unreachable(self.url, error) from error
            except self._psycopg.Error as error:
                raise unreachable(self.url, error) from error
            try:
                return self._answer(query, values)
            except self._psycopg.Error as error:
                self._link = None
                raise unreachable(self.url, error) from error

    def _answer(self, query: str, values: Sequence[Any]) -> Rows:
        if self._link is None:
            address = connection_url(self.url, self.environment)
            given = dict(parse_qsl(urlsplit(address).query))
            alive = {name: value for name, value in _ALIVE.items() if name not in given}
            self._link = self._psycopg.connect(address, autocommit=True, **alive)
            weakref.finalize(self, self._link.close)
        with self._link.cursor() as cursor:
            try:
                cursor.execute(query, values)
            except self._psycopg.errors.UndefinedTable:
                return []  # The CLI makes the table with the first stack.
            return list(cursor.fetchall()) if cursor.description else []


def _encoded(content: bytes | None) -> str | None:
    return None if content is None else base64.b64encode(content).decode()


def connection_url(url: str, environment: Mapping[str, str]) -> str:
    """The database's own address: without the table, and with TLS unless it is turned off.

    The CLI's library insists on TLS when nothing is said; PostgreSQL's own would do without.
    """
    parts = urlsplit(url)
    options = [(name, value) for name, value in parse_qsl(parts.query) if name != "table"]
    if not environment.get("PGSSLMODE") and "sslmode" not in dict(options):
        options.append(("sslmode", "require"))
    return parts._replace(query=urlencode(options)).geturl()
