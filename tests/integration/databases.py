"""A PostgreSQL server that a test can stop and start, and a database of its own on it for each."""

from __future__ import annotations

import errno
import json
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import psycopg

from tests.integration import servers
from tests.integration.waiting import SECONDS, wait_until
from tests.launching import as_user

ROOT = Path(__file__).parents[2]
PASSWORD = servers.PASSWORD
OWNER = "pulumi"


class PostgresServer:
    """A server on a port that stays the same when it is stopped and started."""

    def __init__(self, made: servers.Cluster, port: int) -> None:
        self._made, self.port = made, port
        self._running: ExitStack | None = None
        self._migrated: Database | None = None

    @property
    def owner(self) -> int:
        """The user it runs as."""
        return os.geteuid() if self._made.owner is None else self._made.owner

    @property
    def cluster(self) -> servers.Cluster:
        """What it runs on."""
        return self._made

    @property
    def programs(self) -> Path:
        """Where PostgreSQL's own programs of its version are."""
        return self._made.programs

    def start(self) -> None:
        """Start it."""
        stack = ExitStack()
        answers = stack.enter_context(servers.serving_postgres(self._made, self.port))
        assert answers, (self._made.root / "log").read_text()
        self._running = stack

    def stop(self) -> None:
        """Stop it; whoever is connected is cut off."""
        if self._running is not None:
            self._running.close()
            self._running = None

    def connect(self, database: str = "postgres") -> psycopg.Connection[Any]:
        """A connection of the superuser's that commits each statement."""
        return psycopg.connect(
            host="127.0.0.1",
            port=self.port,
            user=OWNER,
            password=PASSWORD,
            dbname=database,
            autocommit=True,
        )

    def database(self) -> Database:
        """A new database, owned by a role that may do nothing else."""
        name = f"db_{secrets.token_hex(4)}"
        with self.connect() as connection:
            connection.execute(f"CREATE ROLE {name} LOGIN PASSWORD '{PASSWORD}'".encode())
            connection.execute(f"CREATE DATABASE {name} OWNER {name}".encode())
        return Database(self, name)

    def migrated(self) -> Database:
        """The same with the service's schema in it: a copy of one that was migrated once."""
        if self._migrated is None:
            made = self.database()
            done = made.migrate()
            assert done.returncode == 0, done.stderr
            # Below, everything that is its role's becomes another's; the database itself is not.
            made.execute(f"ALTER DATABASE {made.name} OWNER TO {OWNER}")
            self._migrated = made
        name, of = f"db_{secrets.token_hex(4)}", self._migrated.name
        with self.connect() as connection:
            connection.execute(f"CREATE ROLE {name} LOGIN PASSWORD '{PASSWORD}'".encode())
            connection.execute(f"CREATE DATABASE {name} OWNER {name} TEMPLATE {of}".encode())
        copied = Database(self, name)
        copied.execute(f"REASSIGN OWNED BY {of} TO {name}")
        return copied


@dataclass(frozen=True)
class Database:
    """A database of a test's own.

    Attributes:
        server: Where it is.
        name: Its name, and its role's.
    """

    server: PostgresServer
    name: str

    @property
    def url(self) -> str:
        """Its address, with the password."""
        return f"postgresql://{self.name}:{PASSWORD}@127.0.0.1:{self.server.port}/{self.name}"

    def environment(self, **more: str) -> dict[str, str]:
        """What the service's processes are started with."""
        return {
            "PATH": os.environ["PATH"],
            "PYTHONDONTWRITEBYTECODE": "1",
            "AEGIS_ENVIRONMENT": "staging",
            "AEGIS_DATA_PROFILE": "sample",
            "AEGIS_DATABASE_URL": self.url,
            "AEGIS_DATABASE_TLS": "none",
            **more,
        }

    def query(self, statement: str) -> list[tuple[Any, ...]]:
        """What a statement of the superuser's returns."""
        with self.server.connect(self.name) as connection:
            return connection.execute(statement.encode()).fetchall()

    def execute(self, statement: str) -> None:
        """Run a statement as the superuser."""
        with self.server.connect(self.name) as connection:
            connection.execute(statement.encode())

    def cut_off(self) -> int:
        """End every connection to it that does nothing just now; returns how many."""
        (row,) = self.query(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid() AND state = 'idle'"
        )
        return int(row[0])

    def migrate(self, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
        """Run the service's migration to its end."""
        return subprocess.run(
            [sys.executable, "-m", "app.migrate", *arguments],
            # `make compat` has them migrated by other code.
            cwd=os.environ.get("AEGIS_MIGRATIONS_OF", ROOT),
            env=self.environment(**more),
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )


@contextmanager
def postgres_server() -> Iterator[PostgresServer]:
    """A server that runs until the block ends."""
    with servers.cluster() as made:
        server = PostgresServer(made, servers.free_port())
        server.start()
        try:
            yield server
        finally:
            server.stop()


@contextmanager
def small_disk(server: PostgresServer, size: str) -> Iterator[tuple[Path, str]]:
    """A tablespace on a file system of some size; its directory and its name."""
    # The server's own directory is read by its user alone; this is not below pytest's.
    with tempfile.TemporaryDirectory(prefix="aegis-small-") as name, ExitStack() as cleaned:
        place = Path(name)
        mounted = ["mount", "-t", "tmpfs", "-o", f"size={size},mode=0755", "tmpfs", name]
        subprocess.run(mounted, check=True)
        cleaned.callback(subprocess.run, ["umount", name], check=True)
        place.parent.joinpath(name).chmod(0o755)
        held = place / "data"
        held.mkdir(mode=0o700)
        shutil.chown(held, server.owner)
        with server.connect() as connection:
            connection.execute(f"CREATE TABLESPACE small LOCATION '{held}'".encode())
            cleaned.callback(_drop_small, server)
            yield place, "small"


def _drop_small(server: PostgresServer) -> None:
    with server.connect() as connection:
        for (name,) in connection.execute(
            "SELECT datname FROM pg_database d JOIN pg_tablespace t ON t.oid = d.dattablespace"
            " WHERE spcname = 'small'"
        ).fetchall():
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())
        connection.execute("DROP TABLESPACE small")


def fill(place: Path) -> None:
    """Leave no block of a file system."""
    try:
        with (place / "filling").open("wb", buffering=0) as file:
            while True:
                file.write(b"x" * 4096)
    except OSError as error:
        assert error.errno == errno.ENOSPC, error


@contextmanager
def standby_of(server: PostgresServer) -> Iterator[PostgresServer]:
    """A hot standby of a server as it is now, which follows it until the block ends."""
    with tempfile.TemporaryDirectory(prefix="aegis-standby-") as name:
        root, owner = Path(name), server.owner
        shutil.chown(root, owner)
        command = [f"{server.programs}/pg_basebackup", "-h", "127.0.0.1", "-p", str(server.port)]
        command += ["-U", OWNER, "-D", f"{root}/data", "-R", "--checkpoint=fast"]
        subprocess.run(
            as_user(None if owner == os.geteuid() else owner, command),
            check=True,
            cwd=root,
            env={**os.environ, "PGPASSWORD": PASSWORD},
            capture_output=True,
            timeout=SECONDS,
        )
        made = PostgresServer(replace(server.cluster, root=root), servers.free_port())
        made.start()
        try:
            yield made
        finally:
            made.stop()


class Service:
    """The service as a process.

    Attributes:
        port: Where it listens.
    """

    def __init__(self, process: subprocess.Popen[str], log: Path) -> None:
        self._process, self._log = process, log
        self.port = 0
        wait_until(self._listens, "the service does not listen")

    def lines(self) -> list[Mapping[str, Any]]:
        """What it has logged."""
        text = self._log.read_text(encoding="utf-8")
        return [json.loads(line) for line in text.splitlines() if line.endswith("}")]

    def _listens(self) -> bool:
        assert self._process.poll() is None, self._log.read_text(encoding="utf-8")
        found = [it for it in self.lines() if it["message"] == "listening"]
        self.port = int(found[0]["port"]) if found else 0
        return bool(found)


@contextmanager
def service(database: Database, log: Path, **more: str) -> Iterator[Service]:
    """The service on a database, until the block ends."""
    environment = database.environment(
        AEGIS_HOST="127.0.0.1", AEGIS_PORT="0", AEGIS_DRAIN_SECONDS="1", **more
    )
    with log.open("w") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "app"],
            cwd=ROOT,
            env=environment,
            stdout=output,
            stderr=subprocess.STDOUT,
            text=True,
        )
        try:
            yield Service(process, log)
        finally:
            process.terminate()
            assert process.wait(SECONDS) == 0, log.read_text()
