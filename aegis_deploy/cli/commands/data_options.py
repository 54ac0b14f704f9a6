"""The options of `aegis data`'s commands that read production."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from aegis_deploy.common.errors import AegisError

if TYPE_CHECKING:
    from aegis_deploy.data.catalog import Catalog
    from aegis_deploy.data.sample import Source

From = Annotated[
    str,
    typer.Option(
        "--from",
        metavar="WHERE",
        help="The database that is read: env:NAME or file:PATH that holds its address, or an "
        "address without a password.",
        show_default=False,
    ),
]
DataSet = Annotated[
    str,
    typer.Argument(
        metavar="PLACE",
        help="The data set: its directory, or s3://bucket/prefix.",
        show_default=False,
    ),
]
RulesFile = Annotated[
    Path,
    typer.Option(
        "--rules",
        help="The file that says what is taken and what becomes of each column.",
        dir_okay=False,
        show_default=False,
    ),
]
Key = Annotated[
    str,
    typer.Option(
        "--key",
        metavar="WHERE",
        help="The key that rows are chosen and values masked by: env:NAME or file:PATH.",
        show_default=False,
    ),
]
Connections = Annotated[
    int,
    typer.Option("--connections", min=1, max=32, help="How many connections read at once."),
]
AllowWriter = Annotated[
    bool,
    typer.Option("--allow-writer", help="Take a role that could write, too; nothing is written."),
]


def source_of(where: str, rules: Path, key: str, *, connections: int, allow_writer: bool) -> Source:
    """Return what a sample is taken of.

    Args:
        where: The database, as the option has it.
        rules: The file of rules.
        key: The key, as the option has it.
        connections: How many connections read at once.
        allow_writer: Whether a role may be used that could write.

    Raises:
        AegisError: One of them cannot be read.
    """
    from aegis_deploy.data.connection import address_of, key_of
    from aegis_deploy.data.rules_file import load
    from aegis_deploy.data.sample import Source
    from aegis_deploy.data.values.keyed import require_key

    return Source(
        address=address_of(where, "--from"),
        rules=load(rules),
        rules_file=rules,
        key=require_key(key_of(key)),
        connections=connections,
        allow_writer=allow_writer,
    )


def require_tables(catalog: Catalog, shown: str) -> None:
    """Refuse a database that has no tables, with which everything would go.

    Args:
        catalog: What it consists of.
        shown: It, for people.

    Raises:
        AegisError: It has none.
    """
    if not catalog.tables:
        raise AegisError(
            what=f"{shown} has no tables",
            why="it is another database than was meant, or nothing has migrated it",
            next="correct the address, or run the migrations first",
        )
