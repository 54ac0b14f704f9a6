"""How Alembic runs a revision here: on the connection it is given, each in its own transaction.

Without one (`upgrade --sql`) it says what it would send.
"""

from __future__ import annotations

from alembic import context

context.configure(
    connection=context.config.attributes["connection"],
    # Where there is no connection that says so.
    dialect_name="postgresql",
    literal_binds=context.is_offline_mode(),
    # A history that stops half-way stops between two revisions.
    transaction_per_migration=True,
    on_version_apply=context.config.attributes["on_apply"],
)
with context.begin_transaction():
    context.run_migrations()
