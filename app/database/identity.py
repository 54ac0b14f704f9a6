"""What a database says it is, asked of itself, and whether that is one of ours."""

from __future__ import annotations

from sqlalchemy import Connection, select, text

from app.database.schema import DatabaseSchema
from app.database.tables import AEGIS_SCHEMA

LEAST_VERSION = 14
REAL = "aegis: real data"
"""What a database says that holds production's data: the comment on a constraint of `aegis_schema`.

A comment takes no revision, and a backup has it, so that what is restored of one says it, too. A
masked sample has no comments. `aegis data` reads it as well (`aegis_deploy/data/real.py`)."""
_CONSTRAINT = "aegis_schema_pkey"
_SAYS_REAL = (
    "SELECT EXISTS (SELECT FROM pg_catalog.pg_constraint"
    " WHERE conrelid = to_regclass('aegis_schema')"
    " AND pg_catalog.starts_with(pg_catalog.obj_description(oid, 'pg_constraint'), :mark))"
)


class UnfitError(Exception):
    """A database that is there and is none that this service can use."""


def read(connection: Connection, service: str, *, production: bool) -> DatabaseSchema:
    """Return what a database says of its schema; nothing applied when it is empty.

    Args:
        connection: A connection to it.
        service: Whose it has to be.
        production: Whether it may hold real data.

    Raises:
        UnfitError: Its server is too old, or it is another service's, or holds real data.
    """
    version = int(connection.scalar(text("SHOW server_version_num")) or 0)
    if version < LEAST_VERSION * 10000:
        raise UnfitError(
            f"the server is PostgreSQL {version // 10000}, and {LEAST_VERSION} is the least"
        )
    if not _says_what_it_is(connection):
        return DatabaseSchema(revision=0, least_head=0)
    table = AEGIS_SCHEMA.c
    row = connection.execute(select(table.service, table.revision, table.least_head)).one_or_none()
    if row is None:
        return DatabaseSchema(revision=0, least_head=0)
    if row.service != service:
        raise UnfitError(f"the database is that of {row.service}, not of {service}")
    if not production and says_real(connection):
        raise UnfitError("the database says that it holds real data, which only production serves")
    return DatabaseSchema(revision=row.revision, least_head=row.least_head)


def says_real(connection: Connection) -> bool:
    """Whether a database says that it holds real data."""
    return bool(connection.scalar(text(_SAYS_REAL), {"mark": REAL}))


def mark_real(connection: Connection) -> None:
    """Have a database say that it holds real data, which takes the owner of its tables.

    Args:
        connection: A connection to it.
    """
    connection.execute(
        text(
            f"COMMENT ON CONSTRAINT {_CONSTRAINT} ON aegis_schema IS '{REAL}; see docs/datasets.md'"
        )
    )


def refusal(connection: Connection, *, production: bool) -> str | None:
    """Return why a database must not be migrated by this role; None when it may.

    Args:
        connection: A connection to it.
        production: Whether a mistake would be one in production.
    """
    role = connection.execute(
        text(
            "SELECT current_user AS name, rolsuper AS is_super,"
            " current_schema() AS schema,"
            " has_schema_privilege(current_schema(), 'CREATE') AS may"
            " FROM pg_roles WHERE rolname = current_user"
        )
    ).one()
    if production and role.is_super:
        return f"role {role.name} is a superuser, which nothing in production may be"
    if role.schema is None:
        return f"role {role.name} has no schema on its search path to make tables in"
    if not role.may:
        return f"role {role.name} may not make tables in schema {role.schema}"
    if _says_what_it_is(connection):
        return None
    others = connection.scalars(
        text(
            "SELECT relname FROM pg_class WHERE relnamespace = current_schema()::regnamespace"
            " AND relkind IN ('r', 'p', 'v', 'm', 'f') ORDER BY 1"
        )
    ).all()
    if others:
        more = f" and {len(others) - 1} more" if len(others) > 1 else ""
        return f"schema {role.schema} is not empty and not this service's: it has {others[0]}{more}"
    return None


def _says_what_it_is(connection: Connection) -> bool:
    return connection.scalar(text("SELECT to_regclass('aegis_schema')")) is not None
