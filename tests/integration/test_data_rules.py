"""Masks and made-up rows on a real PostgreSQL, which says itself that all is whole."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.sql import SQL, Identifier

from aegis_deploy.common.errors import ExitCode
from aegis_deploy.data import rules_file
from aegis_deploy.data.catalog import Catalog, TableName, UniqueIndex
from aegis_deploy.data.catalog_reader import read_catalog
from aegis_deploy.data.connection import Address, connect
from aegis_deploy.data.masking import compile_masks, judge
from aegis_deploy.data.values.spread import copied
from tests.data_check import RULES, checked
from tests.integration.databases import Database, PostgresServer

pytestmark = pytest.mark.integration

ROOT = Path(__file__).parents[2]
SCHEMA = (Path(__file__).parent / "strange_schema.sql").read_text()
KEY = b"a key of tests, which is no secret"
POLYMORPHIC = """
references:
- table: notes
  columns: [subject_id]
  to: tenants
  to_columns: [id]
  where: {subject_kind: tenant}
- {table: notes, columns: [subject_id], to: staff, to_columns: [id], where: {subject_kind: staff}}
mock: {locale: ko_KR, tables: {tenants: {rows: 20}, orders: {columns: {staff_id: {zipf: 1.1}}}}}
"""


@pytest.fixture
def strange(server: PostgresServer) -> Database:
    return with_schema(server)


def with_schema(server: PostgresServer, schema: str = SCHEMA) -> Database:
    database = server.database()
    with psycopg.connect(database.url) as connection:
        connection.execute(schema.encode())
    return database


def catalog_of(database: Database, text: str = "") -> Catalog:
    with connect(Address("it", database.url), read_only=True) as connection:
        return read_catalog(connection, rules_file.read(text).declared())


def aegis(database: Database, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "aegis_deploy.cli.main", "data", *words],
        cwd=ROOT,
        env={**os.environ, "DATABASE": database.url},
        capture_output=True,
        text=True,
        check=False,
    )


def mocked(database: Database, file: Path | None, *more: str) -> dict[str, Any]:
    said = ("--rules", str(file)) if file else ()
    done = aegis(database, "mock", "--to", "env:DATABASE", "--json", *said, *more)
    found: dict[str, Any] = json.loads(done.stdout)
    assert done.returncode == ExitCode.OK, done.stdout
    return found


def rows_of(database: Database, catalog: Catalog) -> dict[TableName, list[tuple[str | None, ...]]]:
    found = {}
    with connect(Address("it", database.url), read_only=True) as connection:
        for name, table in catalog.tables.items():
            columns = [Identifier(it.name) for it in table.columns if not it.generated]
            # Each as PostgreSQL writes it, which is what a mask is given.
            every = SQL(", ").join(SQL("{}::text").format(it) for it in columns)
            only = SQL("" if table.partitioned else "ONLY ")
            query = SQL("SELECT {} FROM {}{} ORDER BY 1, 2").format(every, only, Identifier(*name))
            found[name] = connection.execute(query).fetchall()
    return found


def invalid(database: Database) -> list[str]:
    """The foreign keys that PostgreSQL finds broken when it looks at all rows once more."""
    bad = []
    found = database.query(
        "SELECT conrelid::regclass::text, quote_ident(conname), pg_get_constraintdef(oid)"
        " FROM pg_constraint WHERE contype = 'f' AND conparentid = 0"
    )
    assert found
    for table, name, definition in found:
        try:
            database.execute(f"ALTER TABLE {table} DROP CONSTRAINT {name}")
            database.execute(f"ALTER TABLE {table} ADD CONSTRAINT {name} {definition}")
        except psycopg.errors.ForeignKeyViolation:
            bad.append(f"{table}: {definition}")
    return bad


class TestMock:
    """`aegis data mock`."""

    @pytest.fixture
    def file(self, tmp_path: Path) -> Path:
        (tmp_path / "rules.yaml").write_text(POLYMORPHIC)
        return tmp_path / "rules.yaml"

    def test_fills_a_strange_schema_whole_and_the_same_each_time(
        self, server: PostgresServer, strange: Database, file: Path
    ) -> None:
        told = mocked(strange, file, "--seed", "5", "--size", "300")
        catalog = catalog_of(strange)
        rows = rows_of(strange, catalog)
        assert {it["table"]: it["rows"] for it in told["tables"]} == {
            str(name): len(them) for name, them in rows.items()
        }
        assert told["rows"] == sum(map(len, rows.values())) > 3000
        assert invalid(strange) == []
        again = with_schema(server)
        mocked(again, file, "--seed", "5", "--size", "300")
        assert rows_of(again, catalog) == rows

    def test_leaves_constraints_triggers_and_sequences_as_they_ought_to_be(
        self, strange: Database, file: Path
    ) -> None:
        strange.execute(
            "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS"
            " $$ BEGIN RAISE 'a trigger ran'; END $$;"
            "CREATE TRIGGER one BEFORE INSERT ON staff FOR EACH ROW EXECUTE FUNCTION refuse();"
            "CREATE TRIGGER two BEFORE INSERT ON staff FOR EACH ROW EXECUTE FUNCTION refuse();"
            "ALTER TABLE staff DISABLE TRIGGER two;"
            "COMMENT ON CONSTRAINT staff_boss_id_fkey ON staff IS 'who leads'"
        )
        shown = (
            "SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid),"
            " obj_description(oid, 'pg_constraint') FROM pg_constraint WHERE conrelid <> 0"
            " ORDER BY 1, 2"
        )
        triggers = "SELECT tgname, tgenabled FROM pg_trigger WHERE NOT tgisinternal ORDER BY 1"
        # One that falls, and one that two tables draw from, of which the later has fewer rows.
        with psycopg.connect(strange.url) as link:
            link.execute(
                b"CREATE DOMAIN whole AS int; CREATE SEQUENCE falls INCREMENT -1;"
                b"CREATE TABLE down (id int PRIMARY KEY DEFAULT nextval('falls'));"
                b"CREATE SEQUENCE shared; CREATE TABLE many (id whole DEFAULT nextval('shared'));"
                b"CREATE TABLE most (id whole DEFAULT nextval('shared'))"
            )
        file.write_text(POLYMORPHIC.replace("tables: {", "tables: {most: {rows: 7}, "))
        before = strange.query(shown), strange.query(triggers)
        mocked(strange, file, "--size", "40")
        assert (strange.query(shown), strange.query(triggers)) == before
        strange.execute("ALTER TABLE staff DISABLE TRIGGER one")
        strange.execute(
            "INSERT INTO staff (store_id, badge, email) VALUES (1, gen_random_uuid(), 'a@b')"
        )
        assert strange.query("SELECT max(id), count(*) FROM staff") == [(41, 41)]
        assert strange.query("SELECT nextval('shared'), nextval('falls')") == [(41, -1)]
        assert strange.query("SELECT reltuples FROM pg_class WHERE relname = 'staff'") == [(40.0,)]

    def test_refuses_a_table_that_has_rows_and_changes_nothing(
        self, strange: Database, file: Path
    ) -> None:
        strange.execute("INSERT INTO tags VALUES (1, 'real')")
        done = aegis(strange, "mock", "--to", "env:DATABASE", "--rules", str(file))
        assert done.returncode == ExitCode.REFUSED
        assert "tags has rows already" in done.stderr
        assert strange.query("SELECT count(*) FROM tenants") == [(0,)]
        assert strange.query("SELECT id, name FROM tags") == [(1, "real")]

    def test_says_what_a_partitioned_table_may_lack(self, strange: Database, file: Path) -> None:
        strange.execute("DROP TABLE payments_rest")
        done = aegis(strange, "mock", "--to", "env:DATABASE", "--rules", str(file))
        assert done.returncode == ExitCode.REFUSED
        assert "values that a partition takes" in done.stderr
        days = "payments: {columns: {paid: {between: [2023-01-01, 2023-12-31]}}}"
        file.write_text(POLYMORPHIC.replace("tables: {tenants", f"tables: {{{days}, tenants"))
        mocked(strange, file)
        assert strange.query("SELECT count(*) FROM payments_2023") == [(100,)]

    @pytest.mark.parametrize(
        ("odd", "named"),
        [
            ("ALTER TABLE tags ADD CHECK (lower(name) = reverse(name))", "tags_name_check"),
            # This one shows only when the rows are there.
            ("CREATE UNIQUE INDEX odd ON tags ((name IS NULL))", "odd"),
        ],
    )
    def test_leaves_no_row_when_postgresql_refuses_one(
        self, strange: Database, file: Path, odd: str, named: str
    ) -> None:
        strange.execute(odd)
        done = aegis(strange, "mock", "--to", "env:DATABASE", "--rules", str(file))
        assert done.returncode == ExitCode.REFUSED
        assert named in done.stderr
        assert "mock.tables.tags.columns" in done.stderr
        assert {it for (it,) in strange.query("SELECT count(*) FROM staff")} == {0}
        # And what was dropped for the while is there again.
        assert strange.query("SELECT count(*) > 9 FROM pg_constraint WHERE contype = 'f'")[0][0]


class TestMasks:
    """Masks of rows that are there."""

    def test_masked_rows_are_accepted_and_whole(
        self, server: PostgresServer, strange: Database, tmp_path: Path
    ) -> None:
        (tmp_path / "rules.yaml").write_text(POLYMORPHIC)
        mocked(strange, tmp_path / "rules.yaml", "--size", "300")
        catalog = catalog_of(strange, POLYMORPHIC)
        suggested = "\n".join(judge(catalog, rules_file.read(POLYMORPHIC)).lines()[1:])
        # What is suggested leaves serial keys; here they are masked, too.
        text = suggested.replace("id: keep", "id: number").replace("country: keep", "country: hash")
        masking = compile_masks(catalog, rules_file.read(POLYMORPHIC + text), KEY)
        target = with_schema(server)
        before = rows_of(strange, catalog)
        with server.connect(target.name) as connection:
            connection.execute("SET session_replication_role = replica")
            for name, table in catalog.tables.items():
                mask = masking.of(name)
                columns = [Identifier(it.name) for it in table.columns if not it.generated]
                statement = SQL("COPY {} ({}) FROM STDIN").format(
                    Identifier(*name), SQL(", ").join(columns)
                )
                with connection.cursor() as cursor, cursor.copy(statement) as copy:
                    for row in before[name]:
                        values = mask(row)
                        line = ("\\N" if it is None else copied(it) for it in values)
                        copy.write("\t".join(line) + "\n")
        assert invalid(target) == []
        after = rows_of(target, catalog)
        for name, table in catalog.tables.items():
            assert len(after[name]) == len(before[name])
            names = [it.name for it in table.columns if not it.generated]
            for column, coincides in masking.masked(name).items():
                at = names.index(column)
                both = {it[at] for it in before[name]} & {it[at] for it in after[name]} - {None}
                # What has two characters can hardly be something else.
                assert coincides or column in {"code", "country", "document", "phones"} or not both
        # The polymorphic references lead to what they led to.
        assert target.query(
            "SELECT count(*) FROM notes n WHERE subject_kind = 'staff'"
            " AND NOT EXISTS (SELECT FROM staff s WHERE s.id = n.subject_id)"
        ) == [(0,)]


def test_a_database_without_tables_is_another_one(server: PostgresServer, tmp_path: Path) -> None:
    (tmp_path / "rules.yaml").write_text("")
    empty = server.database()
    for words in (("check", "--from", "env:DATABASE"), ("mock", "--to", "env:DATABASE")):
        done = aegis(empty, *words, "--rules", str(tmp_path / "rules.yaml"))
        assert done.returncode == ExitCode.REFUSED
        assert "has no tables" in done.stderr


def test_what_keeps_rows_apart_and_is_no_key_is_read(server: PostgresServer) -> None:
    database = with_schema(
        server,
        """
        CREATE TABLE a (id int PRIMARY KEY, "An ""odd" text, b varchar(9), c jsonb, e int, f int);
        CREATE UNIQUE INDEX i1 ON a ("An ""odd") WHERE c IS NULL;
        CREATE UNIQUE INDEX i2 ON a (lower(b), e);
        CREATE UNIQUE INDEX i3 ON a ((c ->> 'b'));
        CREATE UNIQUE INDEX i4 ON a (upper("An ""odd")) WHERE e > 3;
        ALTER TABLE a ADD CONSTRAINT i5 EXCLUDE USING gist (int4range(e, f) WITH &&);
        CREATE TABLE p (id int, at date, PRIMARY KEY (id, at)) PARTITION BY RANGE (at);
        CREATE TABLE part PARTITION OF p DEFAULT;
        CREATE UNIQUE INDEX i6 ON part (id);""",
    )
    odd = 'An "odd'
    found = {it.name.name: it.indexes for it in catalog_of(database).tables.values()}
    assert found == {
        "a": (
            UniqueIndex("i1", (odd,), left=("c",)),
            UniqueIndex("i2", ("b", "e"), ("b",)),
            UniqueIndex("i3", left=("c",)),
            UniqueIndex("i4", (odd,), left=("e", odd)),
            UniqueIndex("i5", left=("e", "f")),
        ),
        "p": (UniqueIndex("i6", ("id",)),),
    }


class TestCheck:
    """`aegis data check`."""

    def test_the_services_own_rules_go_with_its_migrations(self, server: PostgresServer) -> None:
        database = server.migrated()
        done = checked(database, RULES, "--json")
        assert done.returncode == ExitCode.OK, done.stderr
        assert json.loads(done.stdout)["missing"] == []
        database.execute("ALTER TABLE customers ADD national_number text, DROP phone")
        done = checked(database, RULES, "--json")
        found = json.loads(done.stdout)
        assert done.returncode == ExitCode.DIFFERENT == found["error"]["code"]
        assert found["missing"] == [
            {"table": "customers", "column": "national_number", "suggestion": "redact"}
        ]
        assert found["gone"] == [
            "tables.customers: customers has no column phone",
            "mock.tables.customers: customers has no column phone",
        ]

    def test_rules_that_cannot_fit_are_refused(self, strange: Database, tmp_path: Path) -> None:
        file = tmp_path / "rules.yaml"
        file.write_text("tables: {staff: {salary: name}}")
        done = aegis(strange, "check", "--from", "env:DATABASE", "--rules", str(file))
        assert done.returncode == ExitCode.REFUSED
        assert "staff.salary cannot be name: it is numeric(10,2)" in done.stderr

    def test_the_lines_it_prints_are_rules_that_go_with_the_schema(
        self, strange: Database, tmp_path: Path
    ) -> None:
        file = tmp_path / "rules.yaml"
        file.write_text("")
        done = aegis(strange, "check", "--from", "env:DATABASE", "--rules", str(file))
        assert done.returncode == ExitCode.DIFFERENT
        lines = done.stderr.splitlines()
        began = next(index for index, it in enumerate(lines) if it.endswith(" tables:"))
        ended = next(index for index, it in enumerate(lines) if it.startswith("  state:"))
        file.write_text("\n".join(it[9:] for it in lines[began:ended]))
        done = aegis(strange, "check", "--from", "env:DATABASE", "--rules", str(file))
        assert done.returncode == ExitCode.OK, done.stderr


ROWS = """
INSERT INTO customers (name, email, phone, referred_by)
  SELECT '홍길동 ' || i, 'hong' || i || '@corp.kr', '010-77' || 10 + i || '-4321', nullif(i / 2, 0)
  FROM generate_series(1, 60) i;
INSERT INTO addresses (customer_id, line, city, postal_code)
  SELECT i, '한빛로 ' || i || '길 7', '세종시', '30' || 100 + i FROM generate_series(1, 60) i;
INSERT INTO records (customer_id, name, status)
  SELECT i, '주문 ' || i, 'active' FROM generate_series(1, 60) i;
INSERT INTO tags (name) VALUES ('new'), ('vip');
INSERT INTO record_tags SELECT i, 1 + i % 2 FROM generate_series(1, 60) i;
INSERT INTO record_events (record_number, kind, detail)
  SELECT i, 'created', '{"fields": ["name", "status"]}' FROM generate_series(1, 60) i;
INSERT INTO idempotency_keys (key, request, record_number, response)
  SELECT 'key-' || i, '\\x0102', i, '{"name": "주문"}' FROM generate_series(1, 60) i;
"""


def test_a_sample_by_the_services_own_rules_has_nothing_of_production(
    server: PostgresServer, tmp_path: Path
) -> None:
    production = server.migrated()
    with psycopg.connect(production.url) as connection:
        connection.execute(ROWS.encode())
    (tmp_path / "key").write_bytes(KEY)
    where = ("--from", "env:DATABASE", "--key", f"file:{tmp_path}/key", "--rules", str(RULES))
    into = ("--to", str(tmp_path / "set"), "--allow-writer", "--without-schema")
    done = aegis(production, "sample", *where, *into)
    assert done.returncode == ExitCode.OK, done.stderr
    staging = server.migrated()
    done = aegis(staging, "load", str(tmp_path / "set"), "--to", "env:DATABASE")
    assert done.returncode == ExitCode.OK, done.stderr
    loaded = staging.query("SELECT name, email, phone FROM customers")
    assert loaded
    assert not any("홍길동" in name or "corp.kr" in email for name, email, _ in loaded)
    assert invalid(staging) == []
