"""Whether a database says of itself that it holds real data: nothing is ever loaded or made there.

It says so by a comment on the database, which whoever owns it makes, or by one on a constraint of
the table `aegis_schema`, which this project's migrations make in production. The latter is in a
backup, too, so that what is restored of one says it again. A data set has neither.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from aegis_deploy.common.errors import AegisError

if TYPE_CHECKING:
    from aegis_deploy.data.connection import Connection

MARK = "aegis: real data"
"""What either comment begins with."""

_SAYS = """
SELECT count(*) FROM (
  SELECT pg_catalog.shobj_description(d.oid, 'pg_database') AS said
  FROM pg_catalog.pg_database d WHERE d.datname = pg_catalog.current_database()
  UNION ALL
  SELECT pg_catalog.obj_description(k.oid, 'pg_constraint')
  FROM pg_catalog.pg_constraint k JOIN pg_catalog.pg_class c ON c.oid = k.conrelid
  WHERE c.relname = 'aegis_schema'
) marks WHERE pg_catalog.starts_with(said, %s)
"""


def require_not_real(connection: Connection, shown: str, what: str) -> None:
    """Refuse a database that says that it holds real data.

    Args:
        connection: A connection to it.
        shown: What it is called, for people.
        what: What was to be done there, as in "nothing is ... there".

    Raises:
        AegisError: It does.
    """
    ((marks,),) = connection.execute(_SAYS.encode(), (MARK,)).fetchall()
    if marks:
        raise AegisError(
            what=f"{shown} holds real data",
            why=f"it says so itself ({MARK}); nothing is {what} there",
            next="name another database; docs/datasets.md says who marks one, and how",
        )
