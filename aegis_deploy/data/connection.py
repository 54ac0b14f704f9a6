"""The one way to psycopg here: where a database is, how it is talked to, and what an error may say.

An address or a key comes from an environment variable or a file, never from an argument, which
everybody on the machine can read. What PostgreSQL says of an error is cut down to what holds no
value of a row: its DETAIL and CONTEXT quote rows, and so do messages about data.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aegis_deploy.common.errors import NOTHING, AegisError, ExitCode

if TYPE_CHECKING:
    import psycopg

    Connection = psycopg.Connection[Any]

LEAST_VERSION = 140000
"""The oldest server that is read or loaded; the project supports each major for five years
(https://www.postgresql.org/support/versioning/)."""

_TIMED_FROM = 170000
"""From this version on a transaction may be told how long it lasts; a snapshot is held by one."""
_SETTINGS = {
    # Nothing is found by a name that somebody put before another.
    "search_path": "",
    # A policy that would hide rows is an error instead of a sample of what is left.
    "row_security": "off",
    "datestyle": "ISO, YMD",
    "intervalstyle": "postgres",
    "timezone": "UTC",
    "extra_float_digits": "3",
    "bytea_output": "hex",
    "lc_monetary": "C",
    "xmloption": "content",
    "client_encoding": "UTF8",
    "statement_timeout": "0",
    "idle_in_transaction_session_timeout": "0",
    # A value's text would be in the server's log with the statement that holds it.
    "standard_conforming_strings": "on",
}
"""What a value's text depends on, as `pg_dump` sets it; the keyed hash of a row rests on it."""

_QUIET_CLASSES = frozenset(
    {"01", "02", "21", "22", "23", "27", "44", "P0", "XX", "HV", "2F", "38", "39"}
)
"""SQLSTATE classes whose message may quote a row's values, or what a function made of them
(https://www.postgresql.org/docs/current/errcodes-appendix.html)."""
_ROW_CLASSES = frozenset({"22", "23"})
"""Those that say that a row cannot be taken."""
_ADVICE = {
    "08": "see that the server answers",
    "28": "correct the address, the role or its password",
    "3D000": "correct the database's name",
    "40001": "on a standby, turn hot_standby_feedback on or read the primary",
    "42501": "grant the role what it lacks",
    "53100": "make room on the server's disk",
    "53200": "raise max_locks_per_transaction on the server",
    "53300": "take fewer connections",
    "55P03": "wait until nothing migrates the database",
    "57": "see that the server answers",
    "72000": "raise old_snapshot_threshold on the server",
}
"""What to do about an SQLSTATE, or a class of them."""
_ALIVE = {
    "connect_timeout": 10,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
}


@dataclass(frozen=True)
class Address:
    """Where a database is.

    Attributes:
        shown: It without a password, for people.
        conninfo: It as libpq takes it.
    """

    shown: str
    conninfo: str = field(repr=False)

    def with_parts(self, shown: str, **parts: str | int) -> Address:
        """Return another address of the same account.

        Args:
            shown: What it is called, for people.
            parts: What is different, by the names that libpq has.
        """
        from psycopg.conninfo import make_conninfo

        return Address(shown, make_conninfo(self.conninfo, **parts))

    def environment(self) -> dict[str, str]:
        """The variables by which PostgreSQL's own programs connect to it, and no argument does."""
        from psycopg.conninfo import conninfo_to_dict

        given = conninfo_to_dict(self.conninfo)
        return {
            variable: str(given[name])
            for name, variable in _VARIABLES.items()
            if given.get(name) is not None
        }


_VARIABLES = {
    "host": "PGHOST",
    "hostaddr": "PGHOSTADDR",
    "port": "PGPORT",
    "user": "PGUSER",
    "password": "PGPASSWORD",
    "dbname": "PGDATABASE",
    "passfile": "PGPASSFILE",
    "service": "PGSERVICE",
    "sslmode": "PGSSLMODE",
    "sslrootcert": "PGSSLROOTCERT",
    "sslcert": "PGSSLCERT",
    "sslkey": "PGSSLKEY",
    "sslcrl": "PGSSLCRL",
    "channel_binding": "PGCHANNELBINDING",
    "gssencmode": "PGGSSENCMODE",
    "krbsrvname": "PGKRBSRVNAME",
    "target_session_attrs": "PGTARGETSESSIONATTRS",
    "options": "PGOPTIONS",
}


def secret(given: str, option: str, environment: Mapping[str, str] | None = None) -> bytes | None:
    """Read what an option names: `env:NAME` or `file:PATH`.

    Args:
        given: What stands on the command line.
        option: The option, for messages.
        environment: The variables; None: the process's.

    Returns:
        The content, without a newline at its end; None when it names neither.

    Raises:
        AegisError: There is no such variable or file, or nothing in it.
    """
    variables = os.environ if environment is None else environment
    kind, colon, name = given.partition(":")
    if not colon or kind not in {"env", "file"}:
        return None
    if kind == "env":
        found = os.fsencode(variables[name]) if name in variables else None
        why = f"there is no environment variable {name}"
    else:
        try:
            found, why = Path(name).read_bytes(), ""
        except OSError as error:
            found, why = None, f"{name}: {error.strerror or error}"
    if found is not None and found.strip():
        return found.rstrip(b"\r\n")
    raise AegisError(
        what=f"{option} names nothing that can be used",
        why=why or f"{name} is empty",
        next=f"set it, and name it: {option} env:NAME or {option} file:PATH",
        code=ExitCode.USAGE,
    )


def key_of(given: str, option: str = "--key") -> bytes:
    """Read the key by which rows are chosen and values masked.

    Args:
        given: What stands on the command line: `env:NAME` or `file:PATH`.
        option: The option, for messages.

    Raises:
        AegisError: It is none of them, or there is nothing.
    """
    found = secret(given, option)
    if found is None:
        raise AegisError(
            what=f"{option} takes no key itself",
            why="everybody on a machine can read a process's arguments",
            next=f"put it into a variable or a file that is yours alone, and give {option} "
            "env:NAME or file:PATH",
            code=ExitCode.USAGE,
        )
    return found


def address_of(given: str, option: str) -> Address:
    """Read where a database is.

    Args:
        given: `env:NAME`, `file:PATH`, or an address without a password.
        option: The option, for messages.

    Raises:
        AegisError: It is none of them, or holds a password on the command line.
    """
    from psycopg import ProgrammingError
    from psycopg.conninfo import conninfo_to_dict

    found = secret(given, option)
    text = given if found is None else os.fsdecode(found).strip()
    try:
        parts = conninfo_to_dict(text)
    except ProgrammingError:
        # libpq quotes what it could not read, which may be the password.
        raise AegisError(
            what=f"{option} is no address of a PostgreSQL database",
            why="libpq cannot read it; it is not shown, for it may hold a password",
            next=f"give {option} env:NAME or file:PATH with postgresql://user:password@host/database",
            code=ExitCode.USAGE,
        ) from None
    if found is None and parts.get("password"):
        raise AegisError(
            what=f"{option} holds a password",
            why="everybody on a machine can read a process's arguments",
            next="put the address into a variable or a file that is yours alone, and give "
            f"{option} env:NAME or file:PATH; or leave the password to PGPASSWORD or ~/.pgpass",
            code=ExitCode.USAGE,
        )
    where = str(parts.get("host") or parts.get("hostaddr") or "the local socket")
    port = f":{parts['port']}" if parts.get("port") else ""
    return Address(f"{parts.get('dbname') or 'the default database'} on {where}{port}", text)


@contextmanager
def worded(what: str, *, where: str = "", state: str = NOTHING, then: str = "") -> Iterator[None]:
    """Word what PostgreSQL refuses in the block so that it tells no value of a row.

    Args:
        what: What failed.
        where: What it was about, such as a table.
        state: What state things are in then.
        then: What to do next where a row is refused; empty, and otherwise: what follows from the
            kind of error.

    Raises:
        AegisError: Something was refused.
    """
    import psycopg

    try:
        yield
    except psycopg.Error as error:
        cause = said(error)
        raise AegisError(
            what=what,
            why=f"{where}: {cause}" if where else cause,
            state=state,
            next=then if then and (error.sqlstate or "")[:2] in _ROW_CLASSES else advice(error),
        ) from None
    except UnicodeDecodeError:
        raise AegisError(
            what=what,
            why=f"{where or 'a row'} holds bytes that are no UTF-8",
            state=state,
            next="mend the encoding of those rows, or convert the database to UTF8",
        ) from None


@dataclass(frozen=True)
class Refusal:
    """Why PostgreSQL refused something.

    Attributes:
        state: Its SQLSTATE.
        constraint: The constraint that was not met; empty: none.
        said: It, for people; it tells no value of a row.
    """

    state: str
    constraint: str
    said: str


def refusal(run: Callable[[], object]) -> Refusal | None:
    """Return why PostgreSQL refuses something; None: it does not.

    Args:
        run: Has it done.
    """
    import psycopg

    try:
        run()
    except psycopg.Error as error:
        return Refusal(error.sqlstate or "", error.diag.constraint_name or "", said(error))
    return None


def said(error: psycopg.Error) -> str:
    """Return what may be told of an error: never a value of a row.

    Args:
        error: What psycopg raised.
    """
    state = error.sqlstate or ""
    name = type(error).__name__
    if not state:
        # From libpq, which knows no rows, or from psycopg's own reading of them, which does.
        import psycopg

        plain = isinstance(error, psycopg.OperationalError)
        return (str(error).strip() or name) if plain else name
    if state[:2] in _QUIET_CLASSES:
        names = (
            ("table", error.diag.table_name),
            ("column", error.diag.column_name),
            ("constraint", error.diag.constraint_name),
            ("type", error.diag.datatype_name),
        )
        about = ", ".join(f"{kind} {it}" for kind, it in names if it)
        return f"{name} (SQLSTATE {state})" + (f": {about}" if about else "")
    return f"{error.diag.message_primary or name} (SQLSTATE {state})"


def advice(error: psycopg.Error) -> str:
    """Return what to do about an error.

    Args:
        error: What psycopg raised.
    """
    state = error.sqlstate or "08"
    found = (it for begin, it in _ADVICE.items() if state.startswith(begin))
    return f"{next(found, 'mend that')}, then run it again"


def connect(address: Address, *, read_only: bool) -> Connection:
    """Open a connection, whose session writes values in one form wherever it is.

    Args:
        address: Where to.
        read_only: Whether every transaction of it is to be READ ONLY.

    Raises:
        AegisError: It does not answer, does not let us in, or is too old.
    """
    import psycopg

    with worded(f"{address.shown} cannot be used"):
        connection = psycopg.connect(
            address.conninfo, autocommit=True, application_name="aegis data", **_alive(address)
        )
        try:
            require_version(connection, address.shown)
            settings = {**_SETTINGS, "default_transaction_read_only": "on" if read_only else "off"}
            if connection.info.server_version >= _TIMED_FROM:
                settings["transaction_timeout"] = "0"
            one = "pg_catalog.set_config(%s, %s, false)"
            connection.execute(
                f"SELECT {', '.join([one] * len(settings))}".encode(),
                [it for pair in settings.items() for it in pair],
            )
        except BaseException:
            connection.close()
            raise
    return connection


def require_version(connection: Connection, shown: str) -> int:
    """Return a server's version, as PostgreSQL numbers it.

    Args:
        connection: A connection to it.
        shown: What it is called.

    Raises:
        AegisError: It is too old.
    """
    version = connection.info.server_version
    if version < LEAST_VERSION:
        raise AegisError(
            what=f"{shown} is too old",
            why=f"it is PostgreSQL {shown_version(version)}; {LEAST_VERSION // 10000} or newer "
            "is needed",
            next="take a server that PostgreSQL's project still mends",
        )
    return version


def shown_version(number: int) -> str:
    """Return a server's version as people write it.

    Args:
        number: As PostgreSQL numbers it: 150004.
    """
    return f"{number // 10000}.{number % 10000}"


def _alive(address: Address) -> dict[str, Any]:
    from psycopg.conninfo import conninfo_to_dict

    given = conninfo_to_dict(address.conninfo)
    return {name: value for name, value in _ALIVE.items() if name not in given}
