"""Sequences that go on beyond the rows that were put in."""

from __future__ import annotations

from collections.abc import Sequence

_FORWARD = """\
DO $$
DECLARE
  it record;
  top bigint;
BEGIN
  FOR it IN
    SELECT DISTINCT s.oid::regclass AS sequence, a.attrelid::regclass AS of_table,
      a.attname AS name, q.seqincrement > 0 AS rises, q.seqmin AS least, q.seqmax AS most
    FROM pg_catalog.pg_depend d
    LEFT JOIN pg_catalog.pg_attrdef f
      ON d.classid = 'pg_catalog.pg_attrdef'::regclass AND f.oid = d.objid
    JOIN pg_catalog.pg_class s ON s.relkind = 'S' AND (
      (d.classid = 'pg_catalog.pg_class'::regclass AND s.oid = d.objid AND d.deptype IN ('a', 'i'))
      OR (f.oid IS NOT NULL AND s.oid = d.refobjid))
    JOIN pg_catalog.pg_sequence q ON q.seqrelid = s.oid
    JOIN pg_catalog.pg_attribute a
      ON a.attrelid = coalesce(f.adrelid, d.refobjid)
      AND a.attnum = coalesce(f.adnum, d.refobjsubid) AND a.attnum > 0
    JOIN pg_catalog.pg_type t ON t.oid = a.atttypid
      AND CASE t.typtype WHEN 'd' THEN t.typbasetype ELSE t.oid END
        IN ('int2'::regtype, 'int4'::regtype, 'int8'::regtype)
    WHERE d.refclassid = 'pg_catalog.pg_class'::regclass
      AND NOT EXISTS (
        SELECT FROM pg_catalog.pg_depend e
        WHERE e.classid = 'pg_catalog.pg_class'::regclass AND e.objid = a.attrelid
          AND e.deptype = 'e')@only@
    ORDER BY 1, 2, 3
  LOOP
    EXECUTE format('SELECT %s(%I) FROM %s',
      CASE WHEN it.rises THEN 'max' ELSE 'min' END, it.name, it.of_table) INTO top;
    -- Several columns may have one sequence: it only ever goes on.
    IF top BETWEEN it.least AND it.most AND NOT (
      SELECT q.last_value IS NOT NULL AND CASE WHEN it.rises THEN q.last_value >= top
        ELSE q.last_value <= top END
      FROM pg_catalog.pg_sequences q
      WHERE format('%I.%I', q.schemaname, q.sequencename)::regclass = it.sequence) THEN
      PERFORM pg_catalog.setval(it.sequence, top);
    END IF;
  END LOOP;
END $$;
"""


def forward(tables: Sequence[int] | None = None) -> str:
    """Return the statement that sets sequences to the farthest value of the columns they count.

    Those that a default or an identity draws from; none is ever set back. The next value lies
    beyond.

    Args:
        tables: The oids of the tables whose; None: all, but those of extensions.
    """
    only = ""
    if tables is not None:
        only = f"\n      AND a.attrelid = ANY ('{{{','.join(map(str, tables))}}}'::oid[])"
    return _FORWARD.replace("@only@", only)
