"""`aegis data load`: a data set into a database."""

from __future__ import annotations

from typing import Annotated

import typer

from aegis_deploy.cli.commands.data_options import DataSet
from aegis_deploy.cli.commands.options import Json, output_of


def load(
    context: typer.Context,
    data_set: DataSet,
    to: Annotated[
        str,
        typer.Option(
            "--to",
            metavar="WHERE",
            help="The database, without rows: env:NAME or file:PATH that holds its address, or an "
            "address without a password.",
            show_default=False,
        ),
    ],
    *,
    json: Json = False,  # noqa: ARG001 - its callback acts on it
) -> None:
    """Load a data set into a database that is empty, or migrated and without rows.

    All of it is one transaction: whatever happens, nobody finds half of it.
    """
    from aegis_deploy.data.connection import address_of
    from aegis_deploy.data.data_set.directory import storage_at
    from aegis_deploy.data.load import load as run

    out = output_of(context)
    address = address_of(to, "--to")
    loaded = run(storage_at(data_set), address, out)
    out.document(loaded.as_json())
    for it in loaded.kept:
        out.show(f"{it}: its rows were there already, the same")
    out.show(
        f"loaded {loaded.manifest.shown} into {address.shown}: {loaded.manifest.rows:,} rows in "
        f"{len(loaded.manifest.tables)} tables, {loaded.foreign_keys} foreign keys validated"
    )
    if loaded.not_validated:
        out.show(f"{loaded.not_validated} foreign keys are NOT VALID, as where they come from")
