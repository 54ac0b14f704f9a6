"""`aegis data load` on a real PostgreSQL: all of a data set, or nothing of it."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import pytest

from aegis_deploy.data.data_set import directory as data_set
from aegis_deploy.data.data_set.manifest import TableRows
from aegis_deploy.data.data_set.storage import Storage
from tests.integration.data_commands import Data
from tests.integration.databases import Database, PostgresServer

pytestmark = pytest.mark.integration
HERE = Path(__file__).parent
SCHEMA = (HERE / "strange_schema.sql").read_text()
ROWS = (HERE / "shop_rows.sql").read_text()
MORE = """
CREATE TABLE revision (number text PRIMARY KEY);
CREATE FUNCTION loud() RETURNS trigger LANGUAGE plpgsql AS
  $$ BEGIN RAISE EXCEPTION 'a trigger ran'; END $$;
CREATE TRIGGER loud BEFORE INSERT ON tags FOR EACH ROW EXECUTE FUNCTION loud();
CREATE VIEW paid AS SELECT * FROM orders WHERE status = 'paid';
CREATE MATERIALIZED VIEW totals AS SELECT count(*) AS orders FROM orders;
"""
RULES: dict[str, Any] = {
    "sample": {"percent": 30, "tables": {"tags": "all", "revision": "all"}},
    "types": {
        "integer": "keep", "bigint": "keep", "smallint": "keep", "boolean": "keep",
        "mood": "keep", "uuid": "uuid",
        "date": {"rule": "shift", "days": 90, "coincide": True},
        "timestamp without time zone": {"rule": "shift", "days": 90, "coincide": True},
        "timestamp with time zone": {"rule": "shift", "days": 90, "coincide": True},
        "numeric": {"rule": "bucket", "size": 100, "coincide": True},
        "text": "hash", "character varying(24)": "hash", "character varying(60)": "hash",
        "jsonb": {"rule": "json", "coincide": True},
    },
    "tables": {
        "countries": {"code": "keep"},
        "staff": {"phones": "phone", "email": "email"},
        "orders": {"status": "keep"},
        "notes": {"subject_kind": "keep"},
        "revision": {"number": "keep"},
        "payments": {"paid": "keep"},
    },
    "references": [
        {"table": "notes", "columns": ["subject_id"], "to": "tenants", "to_columns": ["id"],
         "where": {"subject_kind": "tenant"}},
        {"table": "notes", "columns": ["subject_id"], "to": "staff", "to_columns": ["id"],
         "where": {"subject_kind": "staff"}},
    ],
}  # fmt: skip
TABLES = (
    "countries", "stores", "staff", "badges", "tenants", "orders", "tags", "order_tags",
    "payments", "log", "places", "capitals", "notes", "revision",
)  # fmt: skip


@pytest.fixture(scope="module")
def taken(server: PostgresServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Data]:
    """A sample of the strange schema, in `set`."""
    with pytest.MonkeyPatch.context() as patch:
        data = Data(server, tmp_path_factory.mktemp("load"), patch)
        data.production.execute(SCHEMA + ROWS + MORE)
        data.production.execute(
            "INSERT INTO revision VALUES ('0007'); REFRESH MATERIALIZED VIEW totals"
        )
        data.rules(**RULES)
        ran = data.sample("set")
        assert ran.code == 0, ran.told
        yield data


@pytest.fixture
def staging(server: PostgresServer) -> Database:
    return server.database()


def counts(database: Database) -> dict[str, int]:
    ask = " UNION ALL ".join(f"SELECT '{it}', count(*) FROM ONLY {it}" for it in TABLES)  # noqa: S608
    found = dict(database.query(ask))
    (row,) = database.query("SELECT count(*) FROM payments")
    return {**found, "payments": row[0]}


def totals(data: Data) -> dict[str, int]:
    return {it["table"][1]: it["rows"] for it in data.manifest("set")["tables"]}


def keys(database: Database) -> list[tuple[Any, ...]]:
    return database.query(
        "SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid), convalidated"
        " FROM pg_constraint WHERE contype = 'f' ORDER BY 1, 2"
    )


def tables(database: Database) -> list[tuple[Any, ...]]:
    return database.query("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")


class TestIntoAnEmptyDatabase:
    """Schema, rows, then what holds them together."""

    def test_all_of_it_is_there_and_valid(self, taken: Data, staging: Database) -> None:
        ran = taken.load("set", staging)
        assert ran.code == 0, ran.told
        assert counts(staging) == totals(taken)
        assert keys(staging) == keys(taken.production)
        assert all(it[-1] for it in keys(staging))
        assert ran.data["foreign_keys_not_validated"] == 0
        # What PostgreSQL works out, partitions, heirs, views, statistics.
        (row,) = staging.query(
            "SELECT (SELECT bool_and(note_words = to_tsvector('simple', coalesce(note, '')))"
            " FROM orders), (SELECT count(*) > 0 FROM payments_2023),"
            " (SELECT orders = (SELECT count(*) FROM orders) FROM totals),"
            " (SELECT bool_and(reltuples > 0) FROM pg_class WHERE relname IN ('orders', 'staff'))"
        )
        assert row == (True, True, True, True)

    def test_sequences_go_on_beyond_the_rows(self, taken: Data, staging: Database) -> None:
        assert taken.load("set", staging).code == 0
        staging.execute(
            "INSERT INTO stores (manager_id, country, name)"
            " SELECT manager_id, country, name FROM stores LIMIT 1;"
            "INSERT INTO payments (paid, tenant_id, number, amount)"
            " SELECT paid, tenant_id, number, 1 FROM payments LIMIT 1;"
            "INSERT INTO staff (store_id, badge, email)"
            " SELECT store_id, gen_random_uuid(), 'a@b' FROM staff LIMIT 1"
        )

    def test_psql_alone_can_load_it(
        self, taken: Data, staging: Database, server: PostgresServer
    ) -> None:
        environment = {"PATH": os.environ["PATH"], "STAGING": taken.address(staging)}
        command = "sha256sum --check --quiet SHA256SUMS && "
        command += f'{server.programs}/psql -X --quiet --output=/dev/null -d "$STAGING" -f load.sql'
        done = subprocess.run(
            ["sh", "-c", command],
            cwd=taken.directory / "set",
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert counts(staging) == totals(taken)
        assert keys(staging) == keys(taken.production)

    def test_a_server_that_goes_away_in_the_middle_leaves_nothing(
        self, taken: Data, staging: Database, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        opened = data_set.opened

        @contextmanager
        def cut(place: Storage, rows: TableRows) -> Iterator[IO[bytes]]:
            if rows.table.name == "staff":
                staging.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                    " WHERE datname = current_database() AND pid <> pg_backend_pid()"
                )
            with opened(place, rows) as file:
                yield file

        monkeypatch.setattr(data_set, "opened", cut)
        lost = taken.load("set", staging)
        assert lost.code == 3
        assert "nothing of the data set is in it" in lost.told
        assert tables(staging) == []

    def test_what_postgresql_refuses_is_told_without_a_value(
        self, taken: Data, staging: Database
    ) -> None:
        broken = taken.directory / "broken"
        shutil.copytree(taken.directory / "set", broken, dirs_exist_ok=True)
        manifest = taken.manifest("set")
        file = broken / next(it["file"] for it in manifest["tables"] if it["table"][1] == "staff")
        lines = file.read_text().splitlines()
        fields = lines[0].split("\t")
        file.write_text("\n".join([*lines[:-1], lines[0], ""]))
        text = (broken / "SHA256SUMS").read_text()
        old = next(it for it in text.splitlines() if it.endswith("staff.copy"))
        new = subprocess.run(
            ["sha256sum", str(file.relative_to(broken))],
            cwd=broken, capture_output=True, text=True, check=True,
        ).stdout.strip()  # fmt: skip
        (broken / "SHA256SUMS").write_text(text.replace(old, new))
        refused = taken.load("broken", staging)
        assert refused.code == 3
        assert "UniqueViolation (SQLSTATE 23505)" in refused.told
        assert "take a new sample" in refused.told
        assert not any(it in refused.told for it in fields[3:5])
        assert tables(staging) == []


class TestIntoAMigratedDatabase:
    """Its tables are there, and their keys, one of which is in a circle that is not deferrable."""

    def test_rows_are_loaded_and_keys_and_triggers_are_as_before(
        self, taken: Data, staging: Database
    ) -> None:
        taken.as_owner(staging, SCHEMA + MORE)
        staging.execute("INSERT INTO revision VALUES ('0007')")
        before = keys(staging)
        ran = taken.load("set", staging)
        assert ran.code == 0, ran.told
        assert ran.data["kept"] == ["revision"]
        assert counts(staging) == totals(taken)
        assert keys(staging) == before
        (row,) = staging.query("SELECT tgenabled FROM pg_trigger WHERE tgname = 'loud'")
        assert row == ("O",)

    def test_rows_of_others_are_never_loaded_over(self, taken: Data, staging: Database) -> None:
        taken.as_owner(staging, SCHEMA + MORE)
        staging.execute("INSERT INTO revision VALUES ('0006'); INSERT INTO log VALUES (now(), 'x')")
        before = keys(staging)
        refused = taken.load("set", staging)
        assert refused.code == 3
        assert "there are rows in log, revision" in refused.told
        assert sum(counts(staging).values()) == 2
        assert keys(staging) == before

    def test_another_schema_is_told_line_by_line(self, taken: Data, staging: Database) -> None:
        taken.as_owner(staging, SCHEMA + MORE)
        staging.execute("ALTER TABLE staff DROP COLUMN born; ALTER TABLE log ADD level int")
        refused = taken.load("set", staging)
        assert refused.code == 3
        assert "staff.born: date in the data set, nothing in the database" in refused.told
        assert "log.level: nothing in the data set, integer in the database" in refused.told
        assert sum(counts(staging).values()) == 0


class TestADamagedDataSet:
    """It is refused before the database is touched."""

    @pytest.fixture
    def copy(self, taken: Data, tmp_path: Path) -> Path:
        return Path(shutil.copytree(taken.directory / "set", tmp_path / "copy"))

    def refused(self, data: Data, copy: Path, staging: Database) -> str:
        ran = data.load(str(copy), staging)
        assert ran.code == 3
        assert tables(staging) == []
        return ran.told

    def test_a_file_that_was_changed(self, taken: Data, copy: Path, staging: Database) -> None:
        file = next((copy / "rows").glob("*.staff.copy"))
        file.write_bytes(file.read_bytes()[:-9])
        told = self.refused(taken, copy, staging)
        assert f"rows/{file.name} is not what its checksum was made of" in told

    def test_a_file_that_is_gone(self, taken: Data, copy: Path, staging: Database) -> None:
        next((copy / "rows").glob("*.staff.copy")).unlink()
        assert "No such file" in self.refused(taken, copy, staging)

    def test_a_manifest_that_was_changed(self, taken: Data, copy: Path, staging: Database) -> None:
        manifest = copy / "manifest.json"
        manifest.write_text(manifest.read_text().replace('"rows": ', '"rows": 1', 1))
        told = self.refused(taken, copy, staging)
        assert "its name is not that of what it lists" in told

    def test_a_file_that_is_none_of_its_own(
        self, taken: Data, copy: Path, staging: Database
    ) -> None:
        sums = copy / "SHA256SUMS"
        sums.write_text(sums.read_text() + "0" * 64 + "  ../../etc/passwd\n")
        assert "lies outside it" in self.refused(taken, copy, staging)

    def test_a_directory_that_is_none(self, taken: Data, tmp_path: Path, staging: Database) -> None:
        assert "is no data set" in self.refused(taken, tmp_path, staging)
