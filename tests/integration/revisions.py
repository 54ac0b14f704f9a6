"""A line of revisions that a test adds its own to, and what runs it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

import sqlalchemy as sa

from app.database.schema import CodeSchema, DatabaseSchema
from app.migrations.rehearsal import Rehearsal, rehearse
from app.migrations.runner import Pending, Runner, Within
from tests.integration.databases import ROOT, Database

REVISION = '''"""{about}"""

from alembic import op

revision = "{number:04d}"
down_revision = "{before:04d}"
kind = "{kind}"
{more}

def upgrade():
    op.execute("""{statement}""")
'''


class History:
    """A copy of the service's revisions to which a test adds its own."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory / "migrations"
        shutil.copytree(ROOT / "app" / "migrations", self.directory)
        self.head = 1

    def add(self, statement: str, *, kind: str = "expand", more: str = "") -> None:
        self.head += 1
        text = REVISION.format(
            about=f"Step {self.head}",
            number=self.head,
            before=self.head - 1,
            kind=kind,
            statement=statement,
            more=more,
        )
        (self.directory / "versions" / f"r{self.head:04d}.py").write_text(text)

    def add_online(self, *steps: str) -> None:
        """Add a revision of steps in Python, which `online` is imported for."""
        self.add("SELECT 1", more="\nfrom app.migrations import online\n")
        written = self.directory / "versions" / f"r{self.head:04d}.py"
        written.write_text(written.read_text() + "".join(f"    {it}\n" for it in steps))

    def run(
        self, database: Database, *, contracts: bool = False, head: int = 0, least: int = 1
    ) -> tuple[DatabaseSchema, list[str]]:
        """Bring a database to it; returns what it says afterwards, and what was told."""
        told: list[str] = []
        with self._runner(database, head, least, told) as runner:
            return runner.run(contracts=contracts), told

    def pending(self, database: Database, *, contracts: bool = False) -> Pending:
        """What a run would do."""
        with self._runner(database, 0, 1, []) as runner:
            return runner.pending(contracts=contracts)

    def rehearse(
        self,
        database: Database,
        *,
        contracts: bool = True,
        production: bool = False,
        told: list[str] | None = None,
        keep: bool = False,
    ) -> Rehearsal:
        """Try on a copy what would be applied."""
        told = [] if told is None else told
        return rehearse(
            lambda name: _engine(database, name),
            lambda connection, within: self._made(connection, 0, 1, told, within),
            service="aegis-api",
            production=production,
            contracts=contracts,
            say=told.append,
            keep=keep,
        )

    @contextmanager
    def _runner(
        self, database: Database, head: int, least: int, told: list[str]
    ) -> Iterator[Runner]:
        with _engine(database).connect() as connection:
            yield self._made(connection, head, least, told)

    def _made(
        self,
        connection: sa.Connection,
        head: int,
        least: int,
        told: list[str],
        within: Within = nullcontext,
    ) -> Runner:
        return Runner(
            connection,
            CodeSchema(head=head or self.head, least=least),
            service="aegis-api",
            production=False,
            say=told.append,
            within=within,
            directory=self.directory,
            pause=lambda _: None,
        )


def _engine(database: Database, name: str | None = None) -> sa.Engine:
    url = sa.make_url(database.url).set(drivername="postgresql+psycopg")
    return sa.create_engine(
        url if name is None else url.set(database=name),
        connect_args={"options": "-c lock_timeout=100"},
        poolclass=sa.NullPool,
    )
