"""Foreign keys and triggers that rest while rows come, within one transaction.

Rows come in any order then, also around circles of keys that are not deferrable, which an owner may
do. PostgreSQL checks each key over all rows when it is made again. A row that is copied or made up
is no event: it sends no mail and writes no journal.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from aegis_deploy.data.connection import Connection

_OWN = """
  AND ({oids} IS NULL OR c.oid = ANY({oids})) AND n.nspname !~ '^pg_'
  AND n.nspname <> 'information_schema'
  AND NOT EXISTS (
    SELECT FROM pg_catalog.pg_depend d
    WHERE d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.objid = c.oid
      AND d.deptype = 'e')
""".format(oids="%(oids)s::pg_catalog.oid[]")
"""Nobody's but the database's own, or those of some tables."""
_KEYS = f"""
SELECT pg_catalog.format('%%I.%%I', n.nspname, c.relname), k.conname::text,
  pg_catalog.quote_ident(k.conname), pg_catalog.pg_get_constraintdef(k.oid),
  pg_catalog.quote_literal(pg_catalog.obj_description(k.oid, 'pg_constraint'))
FROM pg_catalog.pg_constraint k
JOIN pg_catalog.pg_class c ON c.oid = k.conrelid
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE k.contype = 'f' AND k.conparentid = 0 {_OWN}
ORDER BY k.oid
"""  # noqa: S608 - of constants
_TRIGGERS = f"""
SELECT pg_catalog.format('%%I.%%I', n.nspname, c.relname), pg_catalog.quote_ident(t.tgname),
  CASE t.tgenabled WHEN 'R' THEN 'ENABLE REPLICA' WHEN 'A' THEN 'ENABLE ALWAYS' ELSE 'ENABLE' END
FROM pg_catalog.pg_trigger t
JOIN pg_catalog.pg_class c ON c.oid = t.tgrelid
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE NOT t.tgisinternal AND t.tgenabled <> 'D' {_OWN}
ORDER BY t.oid
"""  # noqa: S608 - of constants


@contextmanager
def resting(
    link: Connection,
    run: Callable[[str, str], Any],
    said: Callable[[str], None],
    oids: Sequence[int] | None = None,
) -> Iterator[None]:
    """Have foreign keys and triggers rest while the block runs.

    When it fails nothing is made again: the transaction is rolled back.

    Args:
        link: The connection, within a transaction.
        run: Runs a statement, given the table that it is about.
        said: Told the name of each foreign key before it is made again.
        oids: The tables whose, partitions among them; None: all of the database.
    """
    keys = link.execute(_KEYS.encode(), {"oids": oids}).fetchall()
    triggers = link.execute(_TRIGGERS.encode(), {"oids": oids}).fetchall()
    for table, _, name, *_ in keys:
        run(f"ALTER TABLE {table} DROP CONSTRAINT {name}", table)
    for table, name, _ in triggers:
        run(f"ALTER TABLE {table} DISABLE TRIGGER {name}", table)
    yield
    for table, shown, name, definition, comment in keys:
        said(shown)
        run(f"ALTER TABLE {table} ADD CONSTRAINT {name} {definition}", table)
        if comment is not None:
            run(f"COMMENT ON CONSTRAINT {name} ON {table} IS {comment}", table)
    for table, name, enable in triggers:
        run(f"ALTER TABLE {table} {enable} TRIGGER {name}", table)
