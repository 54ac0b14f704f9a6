"""Records, whose they are, what happened to them, and the keys that make a create happen once."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0001"
down_revision = None
kind = "expand"

_NOW = sa.func.now()


def _id(name: str = "id") -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger, sa.Identity(always=True), primary_key=True)


def _moment(name: str = "created_at") -> sa.Column[object]:
    return sa.Column(name, sa.DateTime(timezone=True), nullable=False, server_default=_NOW)


def upgrade() -> None:
    """Make the tables; all are new, so nothing waits for their locks."""
    op.create_table(
        "aegis_schema",
        sa.Column("singleton", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("service", sa.Text, nullable=False),
        sa.Column("revision", sa.Integer, nullable=False),
        sa.Column("least_head", sa.Integer, nullable=False),
        sa.CheckConstraint("singleton = 1", name="aegis_schema_singleton_check"),
        comment="What this database is; written by migrations alone. See docs/database.md.",
    )
    op.create_table(
        "customers",
        _id(),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("email", sa.Text, nullable=False, unique=True),
        sa.Column("phone", sa.Text),
        sa.Column("referred_by", sa.BigInteger, sa.ForeignKey("customers.id")),
        _moment(),
    )
    op.create_table(
        "addresses",
        _id(),
        sa.Column("customer_id", sa.BigInteger, sa.ForeignKey("customers.id"), nullable=False),
        sa.Column("line", sa.Text, nullable=False),
        sa.Column("city", sa.Text, nullable=False),
        sa.Column("postal_code", sa.Text, nullable=False),
        _moment(),
    )
    op.create_table(
        "records",
        _id("number"),
        sa.Column("customer_id", sa.BigInteger, sa.ForeignKey("customers.id")),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("status", sa.Text, nullable=False),
        sa.Column("version", sa.Integer, nullable=False, server_default="1"),
        _moment(),
        _moment("changed_at"),
        sa.CheckConstraint(
            "status IN ('active', 'suspended', 'closed')", name="records_status_check"
        ),
    )
    op.create_table("tags", _id(), sa.Column("name", sa.Text, nullable=False, unique=True))
    op.create_table(
        "record_tags",
        sa.Column("record_number", sa.BigInteger, sa.ForeignKey("records.number"), nullable=False),
        sa.Column("tag_id", sa.BigInteger, sa.ForeignKey("tags.id"), nullable=False),
        sa.PrimaryKeyConstraint("record_number", "tag_id"),
    )
    op.create_table(
        "record_events",
        _id(),
        sa.Column("record_number", sa.BigInteger, sa.ForeignKey("records.number"), nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("detail", JSONB, nullable=False),
        _moment("at"),
        sa.CheckConstraint("kind IN ('created', 'changed')", name="record_events_kind_check"),
    )
    op.create_table(
        "idempotency_keys",
        sa.Column("key", sa.Text, primary_key=True),
        sa.Column("request", sa.LargeBinary, nullable=False),
        sa.Column("record_number", sa.BigInteger, sa.ForeignKey("records.number")),
        sa.Column("response", JSONB),
        _moment(),
    )
    for table, column in (
        ("addresses", "customer_id"),
        ("records", "customer_id"),
        ("record_tags", "tag_id"),
        ("record_events", "record_number"),
        ("idempotency_keys", "record_number"),
    ):
        op.create_index(f"{table}_{column}_idx", table, [column])
