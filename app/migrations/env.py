"""How Alembic runs a revision here: on the connection it is given, each in its own transaction."""

from __future__ import annotations

from alembic import context

context.configure(
    connection=context.config.attributes["connection"],
    # A history that stops half-way stops between two revisions.
    transaction_per_migration=True,
    on_version_apply=context.config.attributes["on_apply"],
)
with context.begin_transaction():
    context.run_migrations()
