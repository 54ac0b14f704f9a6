"""The service with a database outside the cluster, which is the lab's: migrated, loaded, asked."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import signal
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import yaml

from lab import database, settings
from tests.e2e import plain_http
from tests.e2e.data_traffic import Written, writing
from tests.e2e.running import below
from tests.e2e.stand import ROOT, Finished, Stand, execute, stand
from tests.e2e.traffic import traffic

STACK = ("--stack", "staging")
SHORT = {"minReadySeconds": 1, "preStopSeconds": 2, "drainSeconds": 5}
GATE = {"bakeSeconds": 2, "unreadySeconds": 300, "p99Ms": 60_000, "awaySeconds": 1}
"""How soon a busy machine starts a pod and answers is nothing of a release's; a database that is
away is waited for by whoever looks at that."""
_TRIES = "_TRIES = 3"
REVISION = '''"""{about}"""

import sqlalchemy as sa
from alembic import op

revision = "{number:04}"
down_revision = "{before:04}"
kind = {kind}


def upgrade() -> None:
    """{about}"""
    {does}
'''


@dataclass(frozen=True)
class Stored:
    """The program with a database of its own.

    Attributes:
        at: The program.
        server: The lab's PostgreSQL.
        name: The database, and the role that owns it.
        password: That role's.
    """

    at: Stand
    server: database.Server
    name: str
    password: str

    def aegis(self, *words: str, expect: int = 0) -> Finished:
        """Run `aegis`; the password is in nothing that it prints."""
        done = execute("aegis", *words, *STACK, cwd=self.at.directory, env=self.at.environment)
        assert done.code == expect, f"aegis {' '.join(words)}: {done.code}\n{done.output}"
        assert "Traceback" not in done.output
        assert self.password not in done.output
        return done

    def told(self, *words: str, expect: int = 0) -> Any:
        """Run `aegis`; return its document."""
        return json.loads(self.aegis(*words, "--json", expect=expect).standard_output)

    def dies(self, after: float) -> None:
        """Deploy, and kill whoever does it with all that it started, after some seconds."""
        words = ("aegis", "deploy", "--yes", *STACK)
        with subprocess.Popen(
            words,
            cwd=self.at.directory,
            env=self.at.environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        ) as process:
            with suppress(subprocess.TimeoutExpired):
                process.wait(timeout=after)
            for pid in (process.pid, *below(process.pid)):
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)

    def query(self, statement: str) -> list[tuple[Any, ...]]:
        """Ask the database, as its superuser."""
        address = self.server.url(self.name)
        options: dict[str, Any] = {
            "sslmode": "verify-full",
            "sslrootcert": str(self.server.authority),
        }
        with psycopg.connect(address, autocommit=True, **options) as connection:
            return connection.execute(statement.encode()).fetchall()

    def permit(self, what: str) -> None:
        """Change what the service's role may, as the server's superuser."""
        options: dict[str, Any] = {
            "sslmode": "verify-full",
            "sslrootcert": str(self.server.authority),
        }
        with psycopg.connect(self.server.url(), autocommit=True, **options) as connection:
            connection.execute(f"ALTER ROLE {self.name} {what}".encode())

    def schema(self) -> tuple[int, int]:
        """The database's revision, and the least head of code that works with it."""
        ((revision, least),) = self.query("SELECT revision, least_head FROM aegis_schema")
        return revision, least

    def adds(
        self, number: int, does: str, about: str = "Of a test.", kind: str = '"expand"'
    ) -> None:
        """Add a revision to the service's code, as a developer does."""
        migrations = self.at.directory / "app" / "migrations"
        for old in (migrations / "versions").glob(f"r{number:04}_*.py"):
            old.unlink()
        text = REVISION.format(number=number, before=number - 1, does=does, about=about, kind=kind)
        (migrations / "versions" / f"r{number:04}_of_a_test.py").write_text(text)
        (migrations / "schema.json").write_text(json.dumps({"head": number, "least": 1}))

    def bakes(self, seconds: int) -> None:
        """Choose how long the gate looks at a release."""
        self.asks("gate.bakeSeconds", seconds)

    def asks(self, name: str, value: int) -> None:
        """Choose one of the stack's settings."""
        self.at.configure("staging", name, str(value))

    def commit(self) -> None:
        """Give the next image a tag of its own."""
        self.at.environment["AEGIS_GIT_SHA"] = secrets.token_hex(20)

    def says(self) -> dict[str, Any]:
        """What the service says of itself."""
        found: dict[str, Any] = plain_http.get(f"{self.url}/version").json()
        return found

    @property
    def namespace(self) -> str:
        """Where its stack is."""
        return self.at.namespace("staging")

    @property
    def url(self) -> str:
        """Where the service answers."""
        return self.at.address(self.namespace)

    @contextmanager
    def loaded(self) -> Iterator[Written]:
        """Read and write while the block runs: no request fails, what was acknowledged is there."""
        with traffic(self.url, watched="gitSha") as seen, writing(self.url) as written:
            yield written
        assert seen.failures == []
        assert set(seen.answers) == {200}
        self.require_kept(written)

    def require_kept(self, written: Written) -> None:
        """Require that nothing failed, and that each acknowledged record is there, and once."""
        assert written.failures == []
        assert written.acknowledged
        kept = [row[0] for row in self.query("SELECT name FROM records WHERE name LIKE 'load-%'")]
        assert len(kept) == len(set(kept)), "none was created twice"
        assert set(written.acknowledged) <= set(kept), "none that was acknowledged is lost"


@contextmanager
def stored_stand(
    directory: Path, project: str, gate: Mapping[str, object] | None = None
) -> Iterator[Stored]:
    """Set up the program, told of a new and empty database, with nothing deployed.

    Args:
        directory: An empty directory.
        project: The project's name.
        gate: What the gate asks for in the place of `GATE`.
    """
    server = database.start(settings.load(os.environ, ROOT))
    called = project.replace("-", "_")
    name, password = f"{called}_{secrets.token_hex(4)}", secrets.token_urlsafe(16)
    options: dict[str, Any] = {"sslmode": "verify-full", "sslrootcert": str(server.authority)}
    with psycopg.connect(server.url(), autocommit=True, **options) as connection:
        connection.execute(f"CREATE ROLE {name} LOGIN PASSWORD '{password}'".encode())
        connection.execute(f"CREATE DATABASE {name} OWNER {name}".encode())
    with stand(directory, project) as at:
        it = Stored(at, server, name, password)
        shutil.copy(server.authority, at.directory / "database-ca.pem")
        at.pulumi("stack", "init", "staging")
        at.stacks.append("staging")
        file = at.directory / "Pulumi.staging.yaml"
        content = yaml.safe_load(file.read_text())
        content["config"].update({f"{project}:{key}": value for key, value in SHORT.items()})
        content["config"][f"{project}:databaseCa"] = "database-ca.pem"
        content["config"][f"{project}:gate"].update(GATE if gate is None else gate)
        file.write_text(yaml.safe_dump(content))
        _try_less(at)
        address = server.url(name, name, password)
        at.pulumi("config", "set", "--secret", f"{project}:database", address, *STACK)
        yield it
    with psycopg.connect(server.url(), autocommit=True, **options) as connection:
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())
        connection.execute(f"DROP ROLE {name}".encode())


def _try_less(at: Stand) -> None:
    """Have a migration's Job be tried once more, and not thrice: the pauses double each time."""
    path = at.directory / "components" / "migration.py"
    text = path.read_text()
    assert _TRIES in text
    path.write_text(text.replace(_TRIES, "_TRIES = 1"))
