"""What a data set says of itself, and how two schemas are compared. Pure.

A data set is named by its content: by the schema and the rows, in whatever order they come.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from pydantic import TypeAdapter, ValidationError

from aegis_deploy.data.catalog import Catalog, Table, TableName

FORMAT = 1
_SHOWN = 12
_LINES = 20


@dataclass(frozen=True)
class TableRows:
    """The rows of a table in a data set.

    Attributes:
        table: Its name.
        file: Where they are, from the directory on.
        columns: Which columns the file has, in order.
        rows: How many there are.
        content: A digest of the rows whatever their order.
        selection: What was wanted and what was taken, as :meth:`closure.Taken.as_json` has it.
    """

    table: TableName
    file: str
    columns: tuple[str, ...]
    rows: int
    content: str
    selection: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True)
class Manifest:
    """What a data set says of itself.

    Attributes:
        schema: The tables that the rows were of, see :func:`described`.
        tables: The rows, in the order in which they are loaded.
        server: The version of the server they are from.
        key: The id of the key that they were chosen and masked with.
        rules: The SHA-256 of the rules.
        made: When.
        has_schema: Whether the schema is there for a database that has none.
        proof: What was found when it was compared with production; empty: it was not.
    """

    schema: Mapping[str, Any]
    tables: tuple[TableRows, ...]
    server: int
    key: str
    rules: str
    made: str
    has_schema: bool = True
    proof: Mapping[str, Any] = field(default_factory=dict)

    @property
    def fingerprint(self) -> str:
        """The SHA-256 of the schema."""
        return _digest(self.schema)

    @property
    def name(self) -> str:
        """The data set's name: the SHA-256 of its schema and its rows."""
        rows = sorted((str(it.table), it.rows, it.content) for it in self.tables)
        return _digest([self.fingerprint, rows])

    @property
    def shown(self) -> str:
        """The name, shortened for people."""
        return self.name[:_SHOWN]

    @property
    def rows(self) -> int:
        """How many rows there are in all."""
        return sum(it.rows for it in self.tables)

    def as_json(self) -> dict[str, Any]:
        """Return it for machines, and for its file."""
        return {
            "format": FORMAT,
            "name": self.name,
            "made": self.made,
            "server_version": self.server,
            "key_id": self.key,
            "rules_sha256": self.rules,
            "schema_fingerprint": self.fingerprint,
            "has_schema": self.has_schema,
            "proof": dict(self.proof),
            "tables": [asdict(it) for it in self.tables],
            "schema": dict(self.schema),
        }

    @classmethod
    def of_json(cls, data: object) -> Manifest:
        """Read what :meth:`as_json` wrote.

        Args:
            data: The document.

        Raises:
            ValueError: It is none, of another format, or its name is not that of its content.
        """
        given = data if isinstance(data, dict) else {}
        form = given.get("format")
        if form != FORMAT:
            raise ValueError(f"its format is {form!r}; this aegis reads {FORMAT}")
        try:
            said = _DOCUMENT.validate_python(given)
        except ValidationError as error:
            where = ".".join(map(str, error.errors()[0]["loc"]))
            raise ValueError(f"it lacks {where}, or has something else there") from None
        found = cls(
            schema=given["schema"],
            tables=said.tables,
            server=said.server_version,
            key=said.key_id,
            rules=said.rules_sha256,
            made=said.made,
            has_schema=said.has_schema,
            proof=said.proof,
        )
        if found.name != said.name:
            raise ValueError("its name is not that of what it lists")
        return found


@dataclass(frozen=True)
class _TableSchema:
    """A table as :func:`described` has it."""

    columns: dict[str, str]
    keys: list[str]
    references: list[str]
    checks: list[str]


@dataclass(frozen=True)
class _Document:
    """What has to be in the file, and of which kind."""

    name: str
    made: str
    server_version: int
    key_id: str
    rules_sha256: str
    has_schema: bool
    proof: dict[str, Any]
    tables: tuple[TableRows, ...]
    schema: dict[str, _TableSchema]


_DOCUMENT = TypeAdapter(_Document)


def described(catalog: Catalog) -> dict[str, Any]:
    """Return what loading rows depends on, so that two schemas can be compared.

    Names of constraints and defaults are left out: they hold no row back.

    Args:
        catalog: The tables.
    """

    def of(table: Table) -> dict[str, Any]:
        references = catalog.references_of(table.name)
        return {
            "columns": {
                it.name: it.type
                + ("" if it.nullable else " not null")
                + (" generated" if it.generated else "")
                for it in sorted(table.columns, key=lambda it: it.name)
            },
            "keys": sorted(
                f"{'primary key' if it.primary else 'unique'} ({', '.join(it.columns)})"
                for it in table.keys
            ),
            "references": sorted(
                f"({', '.join(it.columns)}) to {it.to} ({', '.join(it.to_columns)})"
                for it in references
                if not it.declared
            ),
            "checks": sorted(it.definition for it in table.checks),
        }

    return {str(name): of(table) for name, table in sorted(catalog.tables.items())}


def differences(one: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
    """Say in which lines two schemas differ.

    Args:
        one: What :func:`described` returned of the data set.
        other: What it returned of the database.
    """
    lines = []
    for name in sorted({*one, *other}):
        if name not in other or name not in one:
            where = "the database" if name not in other else "the data set"
            lines.append(f"{name} is not in {where}")
            continue
        mine, theirs = one[name], other[name]
        for column in sorted({*mine["columns"], *theirs["columns"]}):
            here, there = mine["columns"].get(column), theirs["columns"].get(column)
            if here != there:
                lines.append(
                    f"{name}.{column}: {here or 'nothing'} in the data set, "
                    f"{there or 'nothing'} in the database"
                )
        for part in ("keys", "references", "checks"):
            lines += [
                f"{name}: only in the data set: {it}" for it in mine[part] if it not in theirs[part]
            ]
            lines += [
                f"{name}: only in the database: {it}" for it in theirs[part] if it not in mine[part]
            ]
    return lines[:_LINES] + ([f"and {len(lines) - _LINES} more"] if len(lines) > _LINES else [])


def columns_of(table: Table) -> tuple[str, ...]:
    """Return the columns of a table that hold what was written.

    Args:
        table: The table.
    """
    return tuple(it.name for it in table.columns if not it.generated)


def _digest(data: object) -> str:
    text = json.dumps(data, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()
