"""`aegis data check`: rules held against a database, without a row of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from aegis_deploy.cli.commands.data_options import From, RulesFile, require_tables
from aegis_deploy.cli.commands.options import Json, output_of
from aegis_deploy.common.errors import AegisError, ExitCode

if TYPE_CHECKING:
    from aegis_deploy.common.console import Output
    from aegis_deploy.data.masking import Findings


def render(found: Findings, out: Output, *, rules: str, database: str) -> None:
    """Show what rules and a schema have to say of each other.

    Args:
        found: It.
        out: Where to.
        rules: The rules' file.
        database: The database, for people.

    Raises:
        AegisError: The rules contradict or cannot fit (refused), or differ from the schema.
    """
    for it in found.kept_text:
        out.show(f"kept as it is, and text: {it}")
    for it in found.unread:
        out.show(f"left to PostgreSQL, when rows are loaded: {it}")
    if not found.problems and not found.differ:
        out.document(found.as_json())
        out.show(f"{rules} goes with {database}: every column has a rule")
        return
    raise AegisError(
        what=f"{rules} cannot be used with {database}"
        if found.problems
        else f"{rules} and {database} differ",
        why="\n".join(found.lines()),
        state="no row was read, nothing was changed",
        next=f"mend {rules}, judging each suggestion, and check again",
        code=ExitCode.REFUSED if found.problems else ExitCode.DIFFERENT,
        details=found.as_json(),
    )


def check(
    context: typer.Context,
    *,
    where: From,
    rules: RulesFile,
    json: Json = False,  # noqa: ARG001 - its callback acts on it
) -> None:
    """Hold the rules for masking against a database's schema; no row is read.

    Told are columns without a rule, with the lines to add; rules whose column is gone or of another
    type than they were written for; rules that contradict or cannot fit; text that is kept.
    """
    from aegis_deploy.data.catalog_reader import read_catalog
    from aegis_deploy.data.connection import address_of, connect
    from aegis_deploy.data.masking import judge
    from aegis_deploy.data.rules_file import load

    given, address = load(rules), address_of(where, "--from")
    with connect(address, read_only=True) as connection:
        catalog = read_catalog(connection, given.declared())
    require_tables(catalog, address.shown)
    render(judge(catalog, given), output_of(context), rules=str(rules), database=address.shown)
