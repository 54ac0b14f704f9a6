"""`aegis data sample`, `aegis data plan` and `aegis data verify`: what is taken of production."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from aegis_deploy.cli.commands.data_options import (
    AllowWriter,
    Connections,
    DataSet,
    From,
    Key,
    RulesFile,
    source_of,
)
from aegis_deploy.cli.commands.options import Json, output_of

if TYPE_CHECKING:
    from aegis_deploy.data.selection.closure import Taken

_TWO = 2


def overshoot(taken: Sequence[Taken]) -> list[str]:
    """Say which tables are further from their target than is tolerated, and why.

    Args:
        taken: What is taken of each table.
    """
    lines = []
    for it in taken:
        if it.off:
            causes = sorted(it.pulled.items(), key=lambda pair: -pair[1])
            told = ", ".join(f"{count:,} by {name}" for name, count in causes)
            why = told or "as many come with what they follow"
            lines.append(f"{it.table}: {it.total:,} rows, the target was {it.target:,}: {why}")
    return lines


def sample(
    context: typer.Context,
    where: From,
    rules: RulesFile,
    key: Key,
    to: Annotated[
        str,
        typer.Option(
            "--to",
            metavar="PLACE",
            help="Where the data set is to be: a directory that is not there yet, or "
            "s3://bucket/prefix.",
            show_default=False,
        ),
    ],
    *,
    connections: Connections = _TWO,
    allow_writer: AllowWriter = False,
    gzip: Annotated[bool, typer.Option("--gzip", help="Compress the rows.")] = False,
    without_schema: Annotated[
        bool,
        typer.Option(
            "--without-schema",
            help="Leave the schema out: no pg_dump is needed, and it loads into a migrated "
            "database only.",
        ),
    ] = False,
    json: Json = False,  # noqa: ARG001 - its callback acts on it
) -> None:
    """Take a masked, whole sample of a database, in one snapshot.

    It is compared with production before it is put in its place.
    """
    from aegis_deploy.data.data_set.directory import storage_at
    from aegis_deploy.data.sample import sample as run

    out, place = output_of(context), storage_at(to)
    source = source_of(where, rules, key, connections=connections, allow_writer=allow_writer)
    made = run(source, place, out, compress=gzip, with_schema=not without_schema)
    out.document(made.manifest.as_json())
    out.table(
        ("table", "rows", "target", "taken"),
        [(str(it.table), f"{it.rows:,}", f"{it.target:,}", f"{it.total:,}") for it in made.taken],
    )
    for line in overshoot(made.taken):
        out.show(f"off its target: {line}")
    proof = made.manifest.proof
    out.show(
        f"compared with production: {proof['values']:,} values in {proof['columns']} masked columns"
    )
    for it in proof["coincide"]:
        out.show(f"  {it['table']}.{it['column']}: {it['found']:,} may and do coincide")
    out.show(f"data set {made.manifest.shown}, {made.manifest.rows:,} rows, in {place.shown}")


def plan(
    context: typer.Context,
    where: From,
    rules: RulesFile,
    key: Key,
    *,
    connections: Connections = _TWO,
    allow_writer: AllowWriter = False,
    picture: Annotated[
        bool, typer.Option("--picture", help="Print the tables as a Mermaid flowchart instead.")
    ] = False,
    json: Json = False,  # noqa: ARG001 - its callback acts on it
) -> None:
    """Show what `aegis data sample` would take, in the order of loading. Nothing is copied."""
    from aegis_deploy.data.sample import plan as run
    from aegis_deploy.data.sample import wanted
    from aegis_deploy.data.selection.picture import mermaid

    out = output_of(context)
    source = source_of(where, rules, key, connections=connections, allow_writer=allow_writer)
    catalog, taken = run(source, out)
    drawn = mermaid(catalog, taken, wanted(catalog, source.rules).follow)
    sizes = {it.table: _bytes(catalog.tables[it.table].size, it) for it in taken}
    out.document(
        {
            "tables": [{**it.as_json(), "bytes": sizes[it.table]} for it in taken],
            "picture": drawn,
        }
    )
    if picture:
        out.show(drawn.rstrip())
        return
    rows = [
        (
            str(place),
            str(it.table),
            f"{it.rows:,}",
            f"{it.target:,}",
            f"{it.total:,}",
            f"{sizes[it.table] / 1e6:,.1f} MB",
            str(it.lead.to) if it.lead else "",
        )
        for place, it in enumerate(taken, 1)
    ]
    out.table(("", "table", "rows", "target", "taken", "about", "along"), rows)
    for line in overshoot(taken):
        out.show(f"off its target: {line}")


def verify(
    context: typer.Context,
    data_set: DataSet,
    where: From,
    rules: RulesFile,
    key: Key,
    *,
    connections: Connections = _TWO,
    allow_writer: AllowWriter = False,
    json: Json = False,  # noqa: ARG001 - its callback acts on it
) -> None:
    """Compare a data set's masked columns with a database: no value may be on both sides."""
    from aegis_deploy.data.data_set.directory import storage_at
    from aegis_deploy.data.proof import as_json
    from aegis_deploy.data.sample import verify as run

    out = output_of(context)
    source = source_of(where, rules, key, connections=connections, allow_writer=allow_writer)
    found = run(source, storage_at(data_set), out)
    out.document({"proof": as_json(found)})
    values = sum(it.values for it in found)
    out.show(f"compared with production: {values:,} values in {len(found)} masked columns")
    for it in found:
        if it.found:
            out.show(f"  {it}: may and do coincide")


def _bytes(size: int, taken: Taken) -> int:
    return size * taken.total // taken.rows if taken.rows else 0
