"""Data sets on a real PostgreSQL: beside each other, whole or not there, never over real data."""

from __future__ import annotations

import io
import json
import shutil
from pathlib import Path
from typing import Any

import psycopg
import pytest
import sqlalchemy as sa

from aegis_deploy.common.console import Output
from aegis_deploy.common.errors import AegisError
from aegis_deploy.data.connection import Address
from aegis_deploy.data.data_set import directory as data_set
from aegis_deploy.data.data_set.manifest import Manifest
from aegis_deploy.data.data_set.on_disk import Directory
from aegis_deploy.data.dataset_server import DatasetServer, revision_of
from aegis_deploy.data.real import MARK
from app.database.schema import of_this_code
from app.migrations.runner import Runner
from app.service import SERVICE
from tests.integration import samples
from tests.integration.data_commands import Data
from tests.integration.databases import PASSWORD, Database, PostgresServer

pytestmark = pytest.mark.integration


class Staging:
    """A server as a stack's own is: a role that owns its database, and a loader beside it."""

    def __init__(self, server: PostgresServer) -> None:
        self.server, self.home = server, server.database()
        self.loader = f"{self.home.name}_loader"
        with server.connect() as link:
            link.execute(
                f"CREATE ROLE {self.loader} LOGIN CREATEDB PASSWORD '{PASSWORD}' "
                f"IN ROLE {self.home.name}".encode()
            )

    def opened(self) -> DatasetServer:
        """What loads to it."""
        url = f"postgresql://{self.loader}:{PASSWORD}@127.0.0.1:{self.server.port}/{self.home.name}"
        quiet = Output(results=io.StringIO(), messages=io.StringIO())
        return DatasetServer(Address("staging", url), quiet)

    def database(self, manifest: Manifest) -> Database:
        """The database of a data set."""
        return Database(self.server, f"{self.home.name}_{manifest.shown}")

    def address(self, manifest: Manifest) -> str:
        """The address of that database, as the service has it."""
        host = f"127.0.0.1:{self.server.port}"
        return f"postgresql://{self.home.name}:{PASSWORD}@{host}/{self.database(manifest).name}"

    def databases(self) -> set[str]:
        """Every database whose name begins as this one's."""
        with self.server.connect() as link:
            found = link.execute("SELECT datname FROM pg_database").fetchall()
        return {name for (name,) in found if name.startswith(self.home.name)}


@pytest.fixture(scope="module")
def taken(
    server: PostgresServer, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, tuple[Path, Manifest]]:
    """Two samples of the service's database, a small and a larger one."""
    with pytest.MonkeyPatch.context() as patch:
        data = Data(server, tmp_path_factory.mktemp("datasets"), patch)
        found = samples.take(data, {"small": 50, "large": 300})
        return {name: (it, data_set.read(it)) for name, it in found.items()}


@pytest.fixture
def staging(server: PostgresServer) -> Staging:
    """A server of the test's own, as far as it sees."""
    return Staging(server)


def count(of: Database) -> Any:
    """How many customers there are."""
    ((found,),) = of.query("SELECT count(*) FROM customers")
    return found


def test_two_lie_beside_each_other_and_the_service_s_role_owns_both(
    staging: Staging, taken: dict[str, tuple[Path, Manifest]]
) -> None:
    server = staging.opened()
    for directory, manifest in taken.values():
        assert server.load(manifest, Directory(directory)).manifest.name == manifest.name
    assert {it.name for it in server.kept()} == {it.name for _, it in taken.values()}
    for directory, manifest in taken.values():
        made = staging.database(manifest)
        rows = next(it.rows for it in manifest.tables if str(it.table) == "customers")
        assert count(made) == rows > 0
        owners = made.query(
            "SELECT DISTINCT pg_get_userbyid(relowner) FROM pg_class"
            " WHERE relnamespace = 'public'::regnamespace"
            " UNION SELECT pg_get_userbyid(datdba) FROM pg_database"
            " WHERE datname = current_database()"
        )
        assert owners == [(staging.home.name,)]
        # The service's own migration finds its revision, and so does the service.
        ran = made.migrate(AEGIS_DATABASE_URL=staging.address(manifest))
        assert ran.returncode == 0, ran.stderr
        assert ran.stderr.startswith("nothing to do")
        assert revision_of(Directory(directory), manifest) == (1, 0)


def test_what_nobody_is_connected_to_is_dropped_and_the_other_stays(
    staging: Staging, taken: dict[str, tuple[Path, Manifest]]
) -> None:
    server = staging.opened()
    (one, first), (other, second) = taken.values()
    server.load(first, Directory(one))
    server.load(second, Directory(other))
    waits: list[float] = []
    with psycopg.connect(staging.address(first)) as link:
        link.execute("SELECT 1")

        def leave(seconds: float) -> None:
            waits.append(seconds)
            link.close()

        server.drop(first.name, leave)
    assert waits
    assert [it.name for it in server.kept()] == [second.name]


def test_one_that_cannot_be_loaded_leaves_nothing(
    staging: Staging, taken: dict[str, tuple[Path, Manifest]], tmp_path: Path
) -> None:
    before = staging.databases()
    directory, manifest = taken["small"]
    copy = tmp_path / "damaged"
    shutil.copytree(directory, copy)
    rows = next(copy.glob("rows/*records*"))
    rows.write_bytes(rows.read_bytes()[:-1])
    with pytest.raises(AegisError, match="damaged"):
        staging.opened().load(manifest, Directory(copy))
    assert staging.databases() == before


def test_what_a_killed_load_left_is_no_data_set_and_goes_with_the_next(
    staging: Staging, taken: dict[str, tuple[Path, Manifest]]
) -> None:
    directory, manifest = taken["small"]
    left = f"{staging.home.name}_{manifest.shown}_loading"
    with staging.server.connect() as link:
        link.execute(f"CREATE DATABASE {left} OWNER {staging.home.name}".encode())
    server = staging.opened()
    assert server.kept() == []
    server.load(manifest, Directory(directory))
    assert staging.databases() == {staging.home.name, f"{staging.home.name}_{manifest.shown}"}


def test_a_database_that_is_called_otherwise_is_none_of_ours(staging: Staging) -> None:
    other = f"{staging.home.name}_of_somebody"
    with staging.server.connect() as link:
        link.execute(f"CREATE DATABASE {other}".encode())
    assert staging.opened().kept() == []
    with staging.server.connect() as link:
        link.execute(f"DROP DATABASE {other}".encode())


def test_one_that_is_larger_than_the_volume_is_refused(
    staging: Staging, taken: dict[str, tuple[Path, Manifest]]
) -> None:
    directory, manifest = taken["large"]
    server, before = staging.opened(), staging.databases()
    server.require_room(manifest, Directory(directory), None)
    server.require_room(manifest, Directory(directory), 1 << 40)
    with pytest.raises(AegisError, match="larger than the volume") as refused:
        server.require_room(manifest, Directory(directory), 1 << 20)
    assert "1 MiB" in refused.value.why
    assert staging.databases() == before


class TestRealData:
    """What says that it holds real data is loaded, migrated and served by nobody else."""

    def test_production_s_migration_has_it_say_so_and_any_other_is_refused(
        self, server: PostgresServer
    ) -> None:
        made, said = server.database(), list[str]()
        # In this process: production's own would not connect without TLS.
        engine = sa.create_engine(
            made.url.replace("postgresql:", "postgresql+psycopg:"), poolclass=sa.NullPool
        )
        for _ in range(2):
            with engine.connect() as connection:
                Runner(
                    connection, of_this_code(), service=SERVICE, production=True, say=said.append
                ).run()
        assert not [it for it in said if "not marked" in it]
        ran = made.migrate()
        assert ran.returncode == 3
        assert "it holds real data, which only production serves" in ran.stderr

    @pytest.mark.parametrize("mark", ["constraint", "database"])
    def test_nothing_is_loaded_or_made_up_there(
        self,
        server: PostgresServer,
        taken: dict[str, tuple[Path, Manifest]],
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        mark: str,
    ) -> None:
        made = server.migrated()
        where = f"DATABASE {made.name}"
        if mark == "constraint":
            where = "CONSTRAINT aegis_schema_pkey ON aegis_schema"
        made.execute(f"COMMENT ON {where} IS '{MARK}, of the shop'")
        data = Data(server, tmp_path, monkeypatch)
        monkeypatch.setenv("STAGING", data.address(made))
        directory, _ = taken["small"]
        for words in (
            ("load", str(directory), "--to", "env:STAGING"),
            ("mock", "--to", "env:STAGING"),
        ):
            ran = data.run(*words, "--json")
            assert ran.code == 3
            assert json.loads(ran.out)["error"]["what"].endswith("holds real data")
        assert count(made) == 0

    def test_no_data_set_is_loaded_beside_it(self, staging: Staging) -> None:
        staging.home.execute(f"COMMENT ON DATABASE {staging.home.name} IS '{MARK}'")
        with pytest.raises(AegisError, match="holds real data"):
            staging.opened()
