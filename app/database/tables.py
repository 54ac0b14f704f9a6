"""The tables, as the newest code knows them. The migrations make them; a test says they agree."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    DateTime,
    ForeignKey,
    Identity,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    Table,
    Text,
    UniqueConstraint,
    func,
)
from sqlalchemy.dialects.postgresql import JSONB

# Names as PostgreSQL makes them by itself, so that what a migration made without one has the same.
METADATA = MetaData(
    naming_convention={
        "pk": "%(table_name)s_pkey",
        "fk": "%(table_name)s_%(column_0_N_name)s_fkey",
        "uq": "%(table_name)s_%(column_0_N_name)s_key",
        "ck": "%(table_name)s_%(constraint_name)s_check",
        "ix": "%(table_name)s_%(column_0_N_name)s_idx",
    }
)


def _made(name: str = "created_at") -> Column[object]:
    return Column(name, DateTime(timezone=True), nullable=False, server_default=func.now())


AEGIS_SCHEMA = Table(
    "aegis_schema",
    METADATA,
    Column("singleton", Integer, primary_key=True, autoincrement=False),
    Column("service", Text, nullable=False),
    Column("revision", Integer, nullable=False),
    Column("least_head", Integer, nullable=False),
    CheckConstraint("singleton = 1", name="singleton"),
    comment="What this database is; written by migrations alone. See docs/database.md.",
)

CUSTOMERS = Table(
    "customers",
    METADATA,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("name", Text, nullable=False),
    Column("email", Text, nullable=False),
    Column("phone", Text),
    Column("referred_by", BigInteger, ForeignKey("customers.id")),
    _made(),
    UniqueConstraint("email"),
)

ADDRESSES = Table(
    "addresses",
    METADATA,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("customer_id", BigInteger, ForeignKey("customers.id"), nullable=False),
    Column("line", Text, nullable=False),
    Column("city", Text, nullable=False),
    Column("postal_code", Text, nullable=False),
    _made(),
    Index(None, "customer_id"),
)

RECORDS = Table(
    "records",
    METADATA,
    Column("number", BigInteger, Identity(always=True), primary_key=True),
    Column("customer_id", BigInteger, ForeignKey("customers.id")),
    Column("name", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("version", Integer, nullable=False, server_default="1"),
    _made(),
    _made("changed_at"),
    CheckConstraint("status IN ('active', 'suspended', 'closed')", name="status"),
    Index(None, "customer_id"),
)

TAGS = Table(
    "tags",
    METADATA,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("name", Text, nullable=False),
    UniqueConstraint("name"),
)

RECORD_TAGS = Table(
    "record_tags",
    METADATA,
    Column("record_number", BigInteger, ForeignKey("records.number"), nullable=False),
    Column("tag_id", BigInteger, ForeignKey("tags.id"), nullable=False),
    PrimaryKeyConstraint("record_number", "tag_id"),
    Index(None, "tag_id"),
)

RECORD_EVENTS = Table(
    "record_events",
    METADATA,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("record_number", BigInteger, ForeignKey("records.number"), nullable=False),
    Column("kind", Text, nullable=False),
    Column("detail", JSONB, nullable=False),
    _made("at"),
    CheckConstraint("kind IN ('created', 'changed')", name="kind"),
    Index(None, "record_number"),
)

IDEMPOTENCY_KEYS = Table(
    "idempotency_keys",
    METADATA,
    Column("key", Text, primary_key=True),
    Column("request", LargeBinary, nullable=False),
    Column("record_number", BigInteger, ForeignKey("records.number")),
    Column("response", JSONB),
    _made(),
    Index(None, "record_number"),
)
