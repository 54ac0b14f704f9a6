"""Reads what a PostgreSQL database consists of from `pg_catalog`.

Nothing but the catalog is read, no row. Left out: views, foreign tables, temporary tables, what
belongs to an extension or to PostgreSQL itself. A partition is folded into its partitioned root: it
is no table of its own, and a reference of it is one of the root. A table that inherits is one of
its own, whose rows are read with ONLY.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from aegis_deploy.common.errors import AegisError
from aegis_deploy.data.catalog import (
    Catalog,
    Check,
    Column,
    Key,
    Reference,
    Table,
    TableName,
    UniqueIndex,
)
from aegis_deploy.data.connection import require_version, worded

if TYPE_CHECKING:
    from aegis_deploy.data.connection import Connection

# Of each table that is one of the catalog's, the relations that hold its rows.
_TABLES = """
WITH RECURSIVE own AS (
  SELECT c.oid, n.nspname, c.relname, c.relkind
  FROM pg_catalog.pg_class c
  JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
  WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition AND c.relpersistence <> 't'
    AND n.nspname <> 'information_schema' AND n.nspname !~ '^pg_'
    AND NOT EXISTS (
      SELECT FROM pg_catalog.pg_depend d
      WHERE d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.objid = c.oid
        AND d.deptype = 'e')
), member AS (
  SELECT oid AS root, oid, relkind FROM own
  UNION ALL
  SELECT m.root, c.oid, c.relkind
  FROM member m
  JOIN pg_catalog.pg_inherits i ON i.inhparent = m.oid
  JOIN pg_catalog.pg_class c ON c.oid = i.inhrelid AND c.relispartition
)
SELECT o.oid, o.nspname, o.relname, o.relkind = 'p',
  ARRAY(
    SELECT i.inhparent FROM pg_catalog.pg_inherits i WHERE i.inhrelid = o.oid ORDER BY i.inhseqno),
  (SELECT array_agg(m.oid ORDER BY m.oid) FROM member m WHERE m.root = o.oid),
  (SELECT coalesce(sum(greatest(c.reltuples, 0)), 0)::bigint FROM member m
    JOIN pg_catalog.pg_class c ON c.oid = m.oid AND c.relkind <> 'p' WHERE m.root = o.oid),
  (SELECT coalesce(sum(pg_catalog.pg_table_size(m.oid)), 0)::bigint
    FROM member m WHERE m.root = o.oid AND m.relkind = 'r'),
  (SELECT coalesce(array_agg(ARRAY[n.nspname::text, c.relname::text] ORDER BY m.oid), '{}')
    FROM member m JOIN pg_catalog.pg_class c ON c.oid = m.oid
    JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    WHERE m.root = o.oid AND m.relkind <> 'p')
FROM own o
ORDER BY o.nspname, o.relname
"""

_COLUMNS = """
SELECT a.attrelid, a.attnum, a.attname, pg_catalog.format_type(a.atttypid, a.atttypmod),
  a.atttypid, a.atttypmod, a.attnotnull, a.attgenerated <> '', a.attidentity <> '',
  CASE WHEN a.attgenerated = '' THEN pg_catalog.pg_get_expr(d.adbin, d.adrelid) END,
  CASE WHEN a.attcollation <> 0
    THEN pg_catalog.quote_ident(cn.nspname) || '.' || pg_catalog.quote_ident(c.collname) END
FROM pg_catalog.pg_attribute a
LEFT JOIN pg_catalog.pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
LEFT JOIN pg_catalog.pg_collation c ON c.oid = a.attcollation
LEFT JOIN pg_catalog.pg_namespace cn ON cn.oid = c.collnamespace
WHERE a.attrelid = ANY(%s) AND a.attnum > 0 AND NOT a.attisdropped
ORDER BY a.attrelid, a.attnum
"""

_TYPES = """
WITH RECURSIVE used(oid) AS (
  SELECT a.atttypid FROM pg_catalog.pg_attribute a WHERE a.attrelid = ANY(%s) AND a.attnum > 0
  UNION
  SELECT below.oid FROM used u JOIN pg_catalog.pg_type t ON t.oid = u.oid
  CROSS JOIN LATERAL (VALUES (t.typbasetype), (t.typelem)) AS below(oid)
  WHERE below.oid <> 0
)
SELECT t.oid, n.nspname, t.typname, t.typtype, t.typbasetype, t.typtypmod, t.typnotnull,
  CASE WHEN t.typcategory = 'A' THEN t.typelem ELSE 0 END,
  ARRAY(
    SELECT e.enumlabel::text FROM pg_catalog.pg_enum e WHERE e.enumtypid = t.oid
    ORDER BY e.enumsortorder)
FROM used u JOIN pg_catalog.pg_type t ON t.oid = u.oid
JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace
"""

# Of indexes on whole columns over all rows. `to_jsonb`, for 14 has no NULLS NOT DISTINCT.
_KEYS = """
SELECT i.indrelid, coalesce(k.conname, c.relname), i.indisprimary,
  (i.indkey::int2[])[0:i.indnkeyatts - 1],
  NOT coalesce((to_jsonb(i) ->> 'indnullsnotdistinct')::boolean, false)
FROM pg_catalog.pg_index i
JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid
JOIN pg_catalog.pg_am m ON m.oid = c.relam AND m.amname = 'btree'
LEFT JOIN pg_catalog.pg_constraint k ON k.conindid = i.indexrelid AND k.contype IN ('p', 'u')
WHERE i.indrelid = ANY(%s) AND i.indisunique AND i.indisvalid AND i.indpred IS NULL
  AND i.indexprs IS NULL
ORDER BY NOT i.indisprimary, c.relname
"""

# What else keeps rows apart. An index of a partition that is part of its root's is that one.
_INDEXES = """
SELECT i.indrelid, c.relname,
  ARRAY(SELECT pg_catalog.pg_get_indexdef(i.indexrelid, k, false)
    FROM pg_catalog.generate_series(1, i.indnkeyatts::int4) AS k ORDER BY k),
  pg_catalog.pg_get_expr(i.indpred, i.indrelid)
FROM pg_catalog.pg_index i
JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid
WHERE i.indrelid = ANY(%s) AND (i.indisunique OR i.indisexclusion) AND i.indisvalid
  AND NOT c.relispartition
  AND (i.indpred IS NOT NULL OR i.indexprs IS NOT NULL OR i.indisexclusion
    OR i.indrelid <> ALL(%s))
ORDER BY c.relname
"""

_REFERENCES = """
SELECT k.conrelid, k.conname, k.confrelid, k.condeferrable, k.confmatchtype = 'f',
  ARRAY(SELECT a.attname::text FROM unnest(k.conkey) WITH ORDINALITY AS u(number, place)
    JOIN pg_catalog.pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = u.number
    ORDER BY u.place),
  ARRAY(SELECT a.attname::text FROM unnest(k.confkey) WITH ORDINALITY AS u(number, place)
    JOIN pg_catalog.pg_attribute a ON a.attrelid = k.confrelid AND a.attnum = u.number
    ORDER BY u.place),
  ARRAY(SELECT pg_catalog.quote_ident(n.nspname) || '.' || o.oprname
    FROM unnest(k.conpfeqop) WITH ORDINALITY AS u(oid, place)
    JOIN pg_catalog.pg_operator o ON o.oid = u.oid
    JOIN pg_catalog.pg_namespace n ON n.oid = o.oprnamespace
    ORDER BY u.place),
  coalesce((to_jsonb(k) ->> 'conperiod')::boolean, false)
FROM pg_catalog.pg_constraint k
WHERE k.contype = 'f' AND k.conparentid = 0 AND k.conrelid = ANY(%s)
ORDER BY k.conrelid, k.conname
"""

_CHECKS = """
SELECT k.conrelid, k.conname, pg_catalog.pg_get_constraintdef(k.oid),
  ARRAY(SELECT a.attname::text FROM unnest(k.conkey) AS u(number)
    JOIN pg_catalog.pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = u.number
    ORDER BY u.number)
FROM pg_catalog.pg_constraint k
WHERE k.contype = 'c' AND k.conrelid = ANY(%s)
ORDER BY k.conrelid, k.conname
"""

_DOMAIN_CHECKS = """
SELECT k.contypid, k.conname, pg_catalog.pg_get_constraintdef(k.oid)
FROM pg_catalog.pg_constraint k
WHERE k.contype = 'c' AND k.contypid = ANY(%s)
ORDER BY k.contypid, k.conname
"""

_NAME = re.compile(r'"(?:[^"]|"")+"|[^\W\d]\w*')
_LITERAL = re.compile(r"'(?:[^']|'')*'")
_CASED = re.compile(rf"(?:lower|upper)\(\(?({_NAME.pattern})(?:\)::text)?\)")

_SEARCH = "SELECT pg_catalog.set_config('search_path', %s, false)"
_HEADER = 4
"""What a varlena's length word takes of a type modifier (VARHDRSZ)."""


def read_catalog(connection: Connection, declared: Sequence[Reference] = ()) -> Catalog:
    """Read the tables of a database and what holds them together.

    Args:
        connection: A connection to it.
        declared: What the rules say of references that no constraint tells.

    Raises:
        AegisError: The server is too old or does not answer, or a table has what cannot be taken.
    """
    version = require_version(connection, "the server")
    with worded("the catalog of the database cannot be read"):
        # Whatever the session's is: what is shown of types and checks depends on it.
        ask = "SELECT pg_catalog.current_setting('search_path')"
        ((path,),) = connection.execute(ask).fetchall()
        connection.execute(_SEARCH, ("",))
        catalog = _read(connection, declared, version)
        connection.execute(_SEARCH, (path,))
        return catalog


def _read(connection: Connection, declared: Sequence[Reference], version: int) -> Catalog:
    def ask(query: str, *arguments: object) -> list[tuple[Any, ...]]:
        return connection.execute(query.encode(), arguments or None).fetchall()

    found = ask(_TABLES)
    names = {oid: TableName(schema, name) for oid, schema, name, *_ in found}
    # A partition's oid leads to its root's name.
    roots = {member: names[row[0]] for row in found for member in row[5]}
    own, members = list(names), list(roots)

    types = {row[0]: _Type(*row[1:]) for row in ask(_TYPES, own)}
    domain_checks: dict[int, list[tuple[str, str]]] = defaultdict(list)
    for oid, name, definition in ask(_DOMAIN_CHECKS, list(types)):
        domain_checks[oid].append((name, definition))

    columns: dict[int, list[Column]] = defaultdict(list)
    numbers: dict[int, dict[int, str]] = defaultdict(dict)
    checks: dict[int, list[Check]] = defaultdict(list)
    for table, name, definition, about in ask(_CHECKS, own):
        checks[table].append(Check(name, definition, tuple(about)))
    for table, number, name, *rest in ask(_COLUMNS, own):
        column, domains = _column(name, rest, types)
        columns[table].append(column)
        numbers[table][number] = name
        checks[table] += [
            Check(check, definition, (name,))
            for domain in domains
            for check, definition in domain_checks[domain]
        ]
    keys: dict[int, list[Key]] = defaultdict(list)
    for table, name, primary, about, distinct in ask(_KEYS, own):
        key = tuple(numbers[table][number] for number in about)
        keys[table].append(Key(name, key, primary, distinct))

    indexes: dict[TableName, list[UniqueIndex]] = defaultdict(list)
    there = {names[oid]: {it.name for it in columns[oid]} for oid in own}
    for table, name, parts, where in ask(_INDEXES, members, own):
        root = roots[table]
        indexes[root].append(_unique_index(name, parts, where or "", there[root]))

    references = _references(ask(_REFERENCES, members), roots)
    tables = {}
    for oid, _schema, _name, partitioned, parents, _members, rows, size, relations in found:
        tables[names[oid]] = Table(
            name=names[oid],
            columns=tuple(columns[oid]),
            keys=tuple(keys[oid]),
            checks=tuple(checks[oid]),
            indexes=tuple(indexes[names[oid]]),
            partitioned=partitioned,
            parents=tuple(names[it] for it in parents if it in names),
            rows=rows,
            size=size,
            relations=tuple(TableName(*it) for it in relations),
        )
    return Catalog(tables, (*references, *declared), version)


class _Type(NamedTuple):
    """A row of `pg_type`."""

    schema: str
    name: str
    kind: str
    base: int
    modifier: int
    not_null: bool
    element: int
    labels: Sequence[str]


def _column(name: str, row: Sequence[Any], types: Mapping[int, _Type]) -> tuple[Column, list[int]]:
    """Return a column, and the domains that it is declared by, outermost first."""
    shown, oid, modifier, not_null, generated, identity, default, collation = row
    kind, domains, array = types[oid], [], False
    while kind.kind == "d" or kind.element:
        if kind.kind == "d":
            domains.append(oid)
            # A NOT NULL of an array's elements says nothing of the array.
            not_null = not_null or (kind.not_null and not array)
            modifier = kind.modifier if modifier < 0 else modifier
            oid = kind.base
        else:
            array, oid = True, kind.element
        kind = types[oid]
    length = modifier - _HEADER if kind.name in {"varchar", "bpchar"} and modifier >= 0 else None
    precision = None
    if kind.name == "numeric" and modifier >= 0:
        packed = modifier - _HEADER
        # From 15 on the scale may be negative: eleven bits with a sign (`make_numeric_typmod`).
        precision = ((packed >> 16) & 0xFFFF, ((packed & 0x7FF) ^ 0x400) - 0x400)
    if kind.name == "bit" and modifier >= 0:
        length = modifier
    outer = types[domains[0]] if domains else None
    column = Column(
        name=name,
        type=shown.removeprefix("public."),
        base=kind.name,
        nullable=not not_null,
        length=length,
        precision=precision,
        domain=f"{outer.schema}.{outer.name}" if outer else None,
        enum=tuple(kind.labels),
        array=array,
        generated=generated,
        identity=identity,
        default=default,
        collation=collation,
    )
    return column, domains


def _unique_index(name: str, parts: Sequence[str], where: str, there: set[str]) -> UniqueIndex:
    """Read what an index is over, from what PostgreSQL says of it."""
    columns, cased, left = list[str](), list[str](), _NAME.findall(_LITERAL.sub("", where))
    for part in parts:
        called = _CASED.fullmatch(part)
        if _NAME.fullmatch(part):
            columns.append(part)
        elif called is None:
            left += _NAME.findall(_LITERAL.sub("", part))
        else:
            columns.append(called[1])
            # Of other rows some may differ by their case alone.
            (left if where else cased).append(called[1])

    def known(found: list[str]) -> tuple[str, ...]:
        plain = (it[1:-1].replace('""', '"') if it.startswith('"') else it for it in found)
        return tuple(dict.fromkeys(it for it in plain if it in there))

    return UniqueIndex(name, known(columns), known(cased), known(left))


def _references(rows: Sequence[tuple[Any, ...]], roots: Mapping[int, TableName]) -> list[Reference]:
    found: dict[tuple[Any, ...], Reference] = {}
    for table, name, to, deferrable, full, columns, to_columns, operators, period in rows:
        if period:
            raise AegisError(
                what=f"{roots[table]} cannot be taken",
                why=f"its foreign key {name} is over a PERIOD: it refers to several rows at once",
                next="leave the table out of the role's schemas, or drop the foreign key there",
            )
        if to not in roots:  # To a table of an extension's.
            continue
        reference = Reference(
            name=name,
            table=roots[table],
            columns=tuple(columns),
            to=roots[to],
            to_columns=tuple(to_columns),
            deferrable=deferrable,
            full=full,
            operators=tuple(operators),
        )
        # Each partition may have one of its own that says the same.
        same = (reference.table, reference.columns, reference.to, reference.to_columns)
        found.setdefault(same, reference)
    return list(found.values())
