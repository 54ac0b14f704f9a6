"""Whether `data-rules.yaml` has a rule for each column that the migrations make: `make data-check`.

What `aegis data check` says of a database that this code's migrations made, on a PostgreSQL of the
tests. A migration that adds a column fails here until somebody has judged what becomes of it in a
sample of production.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer

from tests.integration.databases import Database, postgres_server

ROOT = Path(__file__).resolve().parents[1]
RULES = ROOT / "data-rules.yaml"
_ADDRESS = "AEGIS_CHECKED_DATABASE"


def checked(database: Database, rules: Path, *more: str) -> subprocess.CompletedProcess[str]:
    """Hold rules against a database as a person does.

    Args:
        database: The database.
        rules: The file of rules.
        more: Further arguments.
    """
    words = ("data", "check", "--from", f"env:{_ADDRESS}", "--rules", str(rules), *more)
    return subprocess.run(
        [sys.executable, "-m", "aegis_deploy.cli.main", *words],
        cwd=ROOT,
        env={**os.environ, _ADDRESS: database.url},
        capture_output=True,
        text=True,
        check=False,
    )


def main(
    rules: Annotated[Path, typer.Option(help="The file of rules.", dir_okay=False)] = RULES,
) -> None:
    """Hold the rules against the schema that the migrations make."""
    with postgres_server() as server:
        database = server.database()
        migrated = database.migrate()
        if migrated.returncode:
            typer.echo(migrated.stderr, err=True)
            raise typer.Exit(migrated.returncode)
        done = checked(database, rules)
    typer.echo(done.stdout, nl=False)
    typer.echo(done.stderr, nl=False, err=True)
    raise typer.Exit(done.returncode)


if __name__ == "__main__":
    typer.run(main)
