"""What a PostgreSQL database consists of, as far as its rows can be taken, masked and made.

Frozen values and what follows from them; :mod:`aegis_deploy.data.catalog_reader` reads them from a
server. Names are as the catalog has them, without quotes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple


class TableName(NamedTuple):
    """A table's name.

    Attributes:
        schema: Its schema.
        name: Its name therein.
    """

    schema: str
    name: str

    def __str__(self) -> str:
        """Return it as rules and reports name it: with its schema unless that is `public`."""
        return self.name if self.schema == "public" else f"{self.schema}.{self.name}"


def table_name(text: str) -> TableName:
    """Return the table that somebody wrote as `name` or `schema.name`.

    Args:
        text: What they wrote.
    """
    schema, dot, name = text.partition(".")
    return TableName(schema, name) if dot else TableName("public", schema)


@dataclass(frozen=True)
class Column:
    """A column.

    Attributes:
        name: Its name.
        type: Its declared type as `format_type` has it: `character varying(40)`, `email_address`.
        base: The type below all domains, as `pg_type.typname` of it: `varchar`, `int4`; of an array
            that of its elements.
        nullable: Whether it takes NULL.
        length: The characters that it takes at most; None: any number.
        precision: Of a `numeric`: its digits in all, and those after the point; None: any.
        domain: The domain it is declared by, `schema.name`; None: none.
        enum: The values that it takes; empty: it is no enum.
        array: Whether it holds an array.
        generated: Whether PostgreSQL works it out from the other columns: it is never written.
        identity: Whether it is `GENERATED ... AS IDENTITY`.
        default: Its default as an expression; None: none.
        collation: Its collation as SQL names it; None: its type has none.
    """

    name: str
    type: str
    base: str
    nullable: bool = True
    length: int | None = None
    precision: tuple[int, int] | None = None
    domain: str | None = None
    enum: tuple[str, ...] = ()
    array: bool = False
    generated: bool = False
    identity: bool = False
    default: str | None = None
    collation: str | None = None

    @property
    def counted(self) -> bool:
        """Whether PostgreSQL gives each row the next number."""
        return self.identity or "nextval(" in (self.default or "")


@dataclass(frozen=True)
class Key:
    """A primary key, a unique constraint, or a unique index over whole columns of all rows.

    Attributes:
        name: Its name.
        columns: Its columns, in order.
        primary: Whether it is the primary key.
        nulls_distinct: Whether two rows with a NULL in it may be there.
    """

    name: str
    columns: tuple[str, ...]
    primary: bool = False
    nulls_distinct: bool = True


@dataclass(frozen=True)
class UniqueIndex:
    """What keeps rows apart and is no key.

    A unique index over some rows, or over what is worked out of columns; one of a partition's own;
    what an EXCLUDE constraint rests on.

    Attributes:
        name: Its name.
        columns: The columns whose values it keeps apart.
        cased: Those of them that it compares by `lower()` or `upper()`.
        left: The columns by which PostgreSQL alone can tell: of its WHERE, of other expressions.
    """

    name: str
    columns: tuple[str, ...] = ()
    cased: tuple[str, ...] = ()
    left: tuple[str, ...] = ()


@dataclass(frozen=True)
class Reference:
    """A foreign key, or a reference that only people know of.

    Attributes:
        name: The constraint's name, or that of the rule that declares it.
        table: Whose rows refer.
        columns: By which columns, in order.
        to: To whose rows.
        to_columns: To which columns, in order; not always the primary key.
        deferrable: Whether PostgreSQL checks it at the transaction's end when told to.
        full: Whether it is MATCH FULL.
        declared: Whether it is no constraint but was declared in the rules.
        only_where: Of a polymorphic one: the column and the value with which a row refers so.
        operators: By which a column of the other table is compared with one of this, in order, as
            `schema.=`; empty: it was declared, and no constraint says.
    """

    name: str
    table: TableName
    columns: tuple[str, ...]
    to: TableName
    to_columns: tuple[str, ...]
    deferrable: bool = False
    full: bool = False
    declared: bool = False
    only_where: tuple[str, str] | None = None
    operators: tuple[str, ...] = ()


@dataclass(frozen=True)
class Check:
    """A CHECK constraint of a table, or of a domain of one of its columns.

    Attributes:
        name: Its name.
        definition: As `pg_get_constraintdef` has it.
        columns: The columns that it is about.
    """

    name: str
    definition: str
    columns: tuple[str, ...] = ()


@dataclass(frozen=True)
class Table:
    """A table whose rows can be taken: ordinary or partitioned, not a partition.

    Attributes:
        name: Its name.
        columns: Its columns, in order.
        keys: Its keys, the primary key first.
        checks: Its checks.
        indexes: What else keeps its rows apart.
        partitioned: Whether its rows lie in partitions; these are no tables of the catalog.
        parents: The tables that it inherits from; their rows are read with ONLY.
        rows: How many rows PostgreSQL believes it has.
        size: Its bytes without indexes.
        relations: What its rows lie in: itself, or its partitions.
    """

    name: TableName
    columns: tuple[Column, ...]
    keys: tuple[Key, ...] = ()
    checks: tuple[Check, ...] = ()
    indexes: tuple[UniqueIndex, ...] = ()
    partitioned: bool = False
    parents: tuple[TableName, ...] = ()
    rows: int = 0
    size: int = 0
    relations: tuple[TableName, ...] = ()

    @property
    def primary(self) -> Key | None:
        """The primary key; None: it has none."""
        return next((it for it in self.keys if it.primary), None)

    def is_unique(self, column: str) -> bool:
        """Whether something keeps rows apart by a column, alone or with others.

        Args:
            column: Its name.
        """
        those = [*(it.columns for it in self.keys), *(it.columns for it in self.indexes)]
        return any(column in it for it in those)

    def column(self, name: str) -> Column:
        """Return a column by its name.

        Args:
            name: The name.

        Raises:
            KeyError: It has none of that name.
        """
        try:
            return next(it for it in self.columns if it.name == name)
        except StopIteration:
            raise KeyError(name) from None


@dataclass(frozen=True)
class Catalog:
    """The tables of a database and what holds them together.

    Attributes:
        tables: By name.
        references: All foreign keys, and what the rules declare beside them.
        version: The server's version as PostgreSQL numbers it: 150004.
    """

    tables: Mapping[TableName, Table]
    references: tuple[Reference, ...] = ()
    version: int = 0

    def table(self, text: str) -> Table | None:
        """Return the table that somebody wrote as `name` or `schema.name`; None: there is none."""
        return self.tables.get(table_name(text))

    def lacks(self, text: str, columns: Iterable[str]) -> Iterator[str]:
        """Say what somebody named and the database does not have.

        Args:
            text: The table, as they wrote it.
            columns: Columns of it.
        """
        table = self.table(text)
        if table is None:
            yield f"there is no table {text}"
            return
        there = {it.name for it in table.columns}
        yield from (f"{text} has no column {it}" for it in columns if it not in there)

    def lacking(self) -> Iterator[str]:
        """Say what declared references name and the database does not have."""
        for it in self.references:
            if it.declared:
                tells = it.only_where[:1] if it.only_where else ()
                yield from self.lacks(str(it.table), (*it.columns, *tells))
                yield from self.lacks(str(it.to), it.to_columns)

    def references_of(self, table: TableName) -> tuple[Reference, ...]:
        """Return the references of a table to others, or to itself."""
        return tuple(it for it in self.references if it.table == table)
