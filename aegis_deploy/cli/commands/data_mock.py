"""`aegis data mock`: rows that are made up, into an empty database."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from aegis_deploy.cli.commands.data_options import require_tables
from aegis_deploy.cli.commands.options import Json, output_of


def mock(
    context: typer.Context,
    *,
    to: Annotated[
        str,
        typer.Option(
            "--to",
            metavar="WHERE",
            help="The database, migrated and without rows: env:NAME or file:PATH that holds its "
            "address, or an address without a password.",
            show_default=False,
        ),
    ],
    seed: Annotated[int, typer.Option(help="What decides the rows, with schema and settings.")] = 0,
    size: Annotated[
        int, typer.Option(min=0, help="How many rows a table gets of which nothing is said.")
    ] = 100,
    rules: Annotated[
        Path | None,
        typer.Option(
            "--rules",
            help="The file whose `mock` says how many rows a table gets, and how they are.",
            dir_okay=False,
            show_default=False,
        ),
    ] = None,
    json: Json = False,  # noqa: ARG001 - its callback acts on it
) -> None:
    """Fill a database's empty tables with made-up rows: the same seed and schema, the same rows.

    Foreign keys, unique columns, enums, lengths and simple checks hold; all of it is one
    transaction.
    """
    from aegis_deploy.data.catalog_reader import read_catalog
    from aegis_deploy.data.connection import address_of, connect
    from aegis_deploy.data.mock.load import fill
    from aegis_deploy.data.mock.rows import planned
    from aegis_deploy.data.real import require_not_real
    from aegis_deploy.data.rules import Rules
    from aegis_deploy.data.rules_file import load

    out = output_of(context)
    given, address = Rules() if rules is None else load(rules), address_of(to, "--to")
    with connect(address, read_only=False) as connection:
        require_not_real(connection, address.shown, "made up")
        catalog = read_catalog(connection, given.declared())
        require_tables(catalog, address.shown)
        made = planned(catalog, given.mock, seed=seed, size=size)
        with out.progress(f"making up rows for {address.shown}"):
            filled = fill(connection, made, out.status)
    out.document(filled.as_json())
    for table, rows, wanted in filled.tables:
        if rows < wanted:
            out.show(f"{table}: {rows:,} rows, for more than that its keys have no room")
    out.show(
        f"made up {filled.rows:,} rows in {len([it for it in filled.tables if it[1]])} tables of "
        f"{address.shown}, from seed {seed}"
    )
