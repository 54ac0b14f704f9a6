"""Catalogs for tests, without a database."""

from __future__ import annotations

from collections.abc import Iterable

from aegis_deploy.data.catalog import Catalog, Check, Column, Key, Reference, Table, TableName

KEY = b"a key of tests, which is no secret"


def name(text: str) -> TableName:
    return TableName("public", text)


def column(text: str, type_: str = "text", **more: object) -> Column:
    bases = {"integer": "int4", "bigint": "int8", "boolean": "bool", "smallint": "int2"}
    return Column(text, type_, str(more.pop("base", bases.get(type_, type_))), **more)  # type: ignore[arg-type]


def table(
    text: str,
    *columns: Column,
    keys: Iterable[tuple[str, ...]] = (),
    checks: Iterable[tuple[str, tuple[str, ...]]] = (),
) -> Table:
    """A table whose first key is the primary one."""
    return Table(
        name(text),
        columns,
        keys=tuple(
            Key(f"{text}_{index}", key, primary=not index) for index, key in enumerate(keys)
        ),
        checks=tuple(Check(f"check_{i}", it, about) for i, (it, about) in enumerate(checks)),
    )


def reference(
    one: str, columns: tuple[str, ...], two: str, to: tuple[str, ...], **more: object
) -> Reference:
    return Reference(f"{one}_{two}", name(one), columns, name(two), to, **more)  # type: ignore[arg-type]


def catalog(*tables: Table, references: Iterable[Reference] = ()) -> Catalog:
    return Catalog({it.name: it for it in tables}, tuple(references))
