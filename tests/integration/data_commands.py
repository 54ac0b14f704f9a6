"""`aegis data` on a real PostgreSQL, as a person runs it: by the command line."""

from __future__ import annotations

import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest
import yaml

from aegis_deploy.cli.main import main
from aegis_deploy.common.console import Output
from tests.integration.databases import PASSWORD, Database, PostgresServer
from tests.integration.servers import Server

CLIENT_OF_S3 = {
    "region_name": "us-east-1",
    "aws_access_key_id": "test",
    "aws_secret_access_key": "of-a-test",
}
"""What `boto3.client` is told beside where the server is."""
KEY = "a key that only tests have, of 32 bytes and more"
READER = "reader"


@dataclass(frozen=True)
class Ran:
    """A command that has ended.

    Attributes:
        code: Its exit code.
        out: What it printed as its result.
        told: What it told meanwhile, and of errors.
    """

    code: int
    out: str
    told: str

    @property
    def data(self) -> Any:
        """Its JSON document."""
        return json.loads(self.out)


class Data:
    """The commands, between one database and others.

    Attributes:
        production: What is read.
        directory: A directory of the test's own.
    """

    def __init__(
        self, server: PostgresServer, directory: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        self.server, self.directory = server, directory
        self.production = server.database()
        self._patch = monkeypatch
        monkeypatch.setenv("PATH", str(server.programs), prepend=":")
        monkeypatch.setenv("AEGIS_TEST_KEY", KEY)
        self.set("PRODUCTION", self.address(self.production, READER))
        with server.connect() as link:
            link.execute(
                f"DO $$ BEGIN CREATE ROLE {READER} LOGIN PASSWORD '{PASSWORD}' "
                f"IN ROLE pg_read_all_data; EXCEPTION WHEN duplicate_object THEN NULL; "
                "END $$".encode()
            )

    def set(self, name: str, value: str) -> None:
        """Set an environment variable."""
        self._patch.setenv(name, value)

    def knows(self, store: Server) -> None:
        """Set what whoever uses a store of objects needs in the environment."""
        for name, value in store.environment.items():
            self.set(name, value)

    def address(self, database: Database, role: str | None = None) -> str:
        """A database's address, for its owner or another role."""
        who = role or database.name
        return f"postgresql://{who}:{PASSWORD}@127.0.0.1:{self.server.port}/{database.name}"

    def as_owner(self, database: Database, statements: str) -> None:
        """Run statements as the role that owns a database, as a migration does."""
        with psycopg.connect(self.address(database), autocommit=True) as link:
            link.execute(statements.encode())

    def rules(self, **parts: Any) -> Path:
        """Write a file of rules."""
        path = self.directory / "rules.yaml"
        path.write_text(yaml.safe_dump(parts))
        return path

    def run(self, *words: str) -> Ran:
        """Run a command."""
        results, messages = io.StringIO(), io.StringIO()
        code = main(["data", *words], output=Output(results=results, messages=messages))
        return Ran(code, results.getvalue(), messages.getvalue())

    def source(self) -> list[str]:
        """The options of what reads production."""
        rules = str(self.directory / "rules.yaml")
        return ["--from", "env:PRODUCTION", "--rules", rules, "--key", "env:AEGIS_TEST_KEY"]

    def sample(self, name: str, *more: str) -> Ran:
        """Take a sample into a directory of that name."""
        to = str(self.directory / name)
        return self.run("sample", *self.source(), "--to", to, "--json", *more)

    def load(self, name: str, into: Database) -> Ran:
        """Load a data set as the database's owner."""
        self.set("STAGING", self.address(into))
        return self.run("load", str(self.directory / name), "--to", "env:STAGING", "--json")

    def manifest(self, name: str) -> Any:
        """What a data set says of itself."""
        return json.loads((self.directory / name / "manifest.json").read_text())
