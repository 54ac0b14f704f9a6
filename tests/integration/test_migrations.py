"""Migrations on a real PostgreSQL: whole or not at all, one at a time, harmless when repeated."""

from __future__ import annotations

import json
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from app.database.schema import CodeSchema, DatabaseSchema
from app.database.tables import METADATA
from app.migrations.runner import MigrationError, Pending, RefusedError, Runner
from tests.compat import run_tests, truncated
from tests.integration.databases import (
    OWNER,
    PASSWORD,
    ROOT,
    Database,
    PostgresServer,
)
from tests.integration.revisions import History

pytestmark = pytest.mark.integration


@pytest.fixture
def database(server: PostgresServer) -> Database:
    return server.database()


@pytest.fixture
def history(tmp_path: Path) -> History:
    return History(tmp_path)


class TestTheCommand:
    """`python -m app.migrate`, as a Job runs it."""

    def test_makes_the_tables_that_the_code_knows_and_is_harmless_again(
        self, database: Database
    ) -> None:
        first, again = database.migrate(), database.migrate()
        assert (first.returncode, again.returncode) == (0, 0)
        assert first.stderr.startswith("applied revision 1 (expand): ")
        assert again.stderr.startswith("nothing to do: the database is at revision 1, ")
        engine = sa.create_engine(
            database.url.replace("postgresql:", "postgresql+psycopg:"), poolclass=sa.NullPool
        )
        with engine.connect() as connection:
            context = MigrationContext.configure(connection, opts={"compare_type": True})
            assert compare_metadata(context, METADATA) == []
            checks = {
                str(it["name"])
                for table in METADATA.tables
                for it in sa.inspect(connection).get_check_constraints(table)
            }
        # What Alembic does not compare.
        assert checks == {
            str(it.name)
            for table in METADATA.tables.values()
            for it in table.constraints
            if isinstance(it, sa.CheckConstraint)
        }

    def test_that_several_run_at_once_is_done_once(self, database: Database) -> None:
        with ThreadPoolExecutor(3) as pool:
            done = list(pool.map(lambda _: database.migrate(), range(3)))
        assert [it.returncode for it in done] == [0, 0, 0]
        assert sum("applied revision 1" in it.stderr for it in done) == 1

    def test_its_plan_says_what_would_be_applied_and_applies_nothing(
        self, database: Database
    ) -> None:
        plan = database.migrate("--plan")
        assert plan.returncode == 0
        said = json.loads(plan.stdout)
        assert said["database"] == {"revision": 0, "leastHead": 0}
        assert said["after"] == {"revision": 1, "leastHead": 0}
        (revision,) = said["revisions"]
        assert (revision["revision"], revision["kind"]) == (1, "expand")
        assert "CREATE TABLE customers (" in revision["sql"]
        assert not [it for it in revision["sql"] if "alembic_version SET" in it or it == "BEGIN;"]
        assert database.query("SELECT to_regclass('aegis_schema')") == [(None,)]
        database.migrate()
        assert json.loads(database.migrate("--contract", "--plan").stdout)["revisions"] == []

    @pytest.mark.parametrize(
        ("more", "code", "why"),
        [
            ({"AEGIS_DATABASE_URL": ""}, 2, "AEGIS_DATABASE_URL (not shown): must be postgresql"),
            ({"AEGIS_DATABASE_TLS": "perhaps"}, 2, "AEGIS_DATABASE_TLS='perhaps': must be"),
            ({"AEGIS_DATABASE_TLS": "verify-full"}, 1, "server does not support SSL"),
        ],
    )
    def test_what_is_wrong_is_told(
        self, database: Database, more: dict[str, str], code: int, why: str
    ) -> None:
        done = database.migrate(**more)
        assert done.returncode == code
        assert why in done.stderr
        assert "next:" in done.stderr
        assert PASSWORD not in done.stderr
        assert "Traceback" not in done.stderr

    def test_a_superuser_is_refused_in_production_before_anything_is_changed(
        self, database: Database
    ) -> None:
        address = database.url.replace(database.name, OWNER, 1)
        told: list[str] = []
        engine = sa.create_engine(
            address.replace("postgresql:", "postgresql+psycopg:"), poolclass=sa.NullPool
        )
        with engine.connect() as connection, pytest.raises(RefusedError, match="is a superuser"):
            Runner(
                connection,
                CodeSchema(head=1, least=1),
                service="aegis-api",
                production=True,
                say=told.append,
            ).run()
        assert database.query("SELECT to_regclass('aegis_schema')") == [(None,)]

    @pytest.mark.parametrize(
        ("statement", "why"),
        [
            ("CREATE TABLE orders (id int)", "is not empty and not this service's: it has orders"),
            ("REVOKE CREATE ON SCHEMA public FROM PUBLIC, {name}", "may not make tables in schema"),
        ],
    )
    def test_one_that_is_not_to_be_migrated_is_refused(
        self, database: Database, statement: str, why: str
    ) -> None:
        database.execute("ALTER SCHEMA public OWNER TO pulumi")
        if "CREATE TABLE" in statement:
            database.execute(f"GRANT CREATE ON SCHEMA public TO {database.name}")
        database.execute(statement.format(name=database.name))
        done = database.migrate()
        assert done.returncode == 3
        assert why in done.stderr
        assert "it is at revision 0; nothing was changed" in done.stderr


class TestRevisions:
    """Each is whole or not there, and contracts wait to be asked for."""

    def test_one_that_fails_leaves_the_last_whole_one_and_is_gone_on_from(
        self, database: Database, history: History
    ) -> None:
        history.add("CREATE TABLE two (id int)")
        history.add("CREATE TABLE three (id int); SELECT 1 / 0")
        with pytest.raises(MigrationError, match=r"revision 3 .*division by zero") as failed:
            history.run(database)
        assert (failed.value.at, failed.value.began, failed.value.final) == (2, True, True)
        assert database.query("SELECT revision FROM aegis_schema") == [(2,)]
        assert database.query("SELECT to_regclass('two')::text, to_regclass('three')::text") == [
            ("two", None)
        ]
        module = history.directory / "versions" / "r0003.py"
        module.write_text(module.read_text().replace("; SELECT 1 / 0", ""))
        schema, told = history.run(database)
        assert schema == DatabaseSchema(revision=3, least_head=0)
        assert [line.partition(" (")[0] for line in told] == ["applied revision 3"]

    def test_contracts_and_what_follows_them_wait_until_they_are_asked_for(
        self, database: Database, history: History
    ) -> None:
        history.add("ALTER TABLE records ADD COLUMN note text")
        history.add(
            "ALTER TABLE customers DROP COLUMN phone", kind="contract", more="least_head = 2"
        )
        history.add("CREATE TABLE four (id int)")
        schema, told = history.run(database)
        assert schema == DatabaseSchema(revision=2, least_head=0)
        assert told[-2:] == [
            "waits: revision 3 (contract): Step 3",
            "waits: revision 4 (expand): Step 4",
        ]
        pending = history.pending(database, contracts=True)
        assert [it.number for it in pending.runs] == [3, 4]
        assert pending.after == DatabaseSchema(revision=4, least_head=2)
        assert history.pending(database).runs == ()
        schema, _ = history.run(database, contracts=True)
        assert schema == pending.after
        assert history.pending(database, contracts=True) == Pending(at=schema, after=schema)
        # Code of before the contract no longer fits, and is told so; later code does nothing.
        with pytest.raises(RefusedError, match="works with code of revision 2 or later"):
            history.run(database, head=1)
        assert history.run(database, head=3)[0].revision == 4

    def test_code_that_needs_what_waits_behind_a_contract_is_told(
        self, database: Database, history: History
    ) -> None:
        history.add(
            "ALTER TABLE customers DROP COLUMN phone", kind="contract", more="least_head = 1"
        )
        history.add("CREATE TABLE three (id int)")
        with pytest.raises(
            RefusedError,
            match=r"is at revision 1, .* at least 3.*; revision 2 \(contract\).* waits",
        ):
            history.run(database, least=3)

    def test_what_would_not_fit_afterwards_is_refused_before_anything_is_applied(
        self, database: Database, history: History
    ) -> None:
        history.run(database)
        history.add("CREATE TABLE two (id int)")
        history.add(
            "ALTER TABLE customers DROP COLUMN phone", kind="contract", more="least_head = 2"
        )
        with pytest.raises(RefusedError, match="needs at least 3") as refused:
            history.run(database, least=3)
        assert (refused.value.at, refused.value.began) == (1, False)
        assert database.query("SELECT to_regclass('two')") == [(None,)]
        assert database.query("SELECT revision FROM aegis_schema") == [(1,)]

    def test_an_irreversible_one_runs_with_its_deploy_and_no_earlier_code_fits_then(
        self, database: Database, history: History
    ) -> None:
        history.add("CREATE TABLE two (id int)", more="irreversible = True")
        history.add("CREATE TABLE three (id int)")
        schema, told = history.run(database)
        assert schema == DatabaseSchema(revision=3, least_head=2)
        assert "applied revision 2 (expand, irreversible): Step 2" in told[1]
        with pytest.raises(RefusedError, match="works with code of revision 2 or later"):
            history.run(database, head=1)
        assert history.run(database, head=2)[0] == schema

    def test_a_lock_that_is_held_is_given_way_to_and_tried_again(
        self, server: PostgresServer, database: Database, history: History
    ) -> None:
        history.run(database)
        history.add("ALTER TABLE records ADD COLUMN note text")
        with server.connect(database.name) as holder:
            with (
                holder.transaction(),
                pytest.raises(MigrationError, match="lock timeout") as held_up,
            ):
                holder.execute("SELECT * FROM records")
                history.run(database)
            assert held_up.value.final is False, "whoever holds it may be gone by the next try"
            assert database.query("SELECT revision FROM aegis_schema") == [(1,)]
        schema, _ = history.run(database)
        assert schema.revision == 2

    def test_an_index_is_made_beside_writes(self, database: Database, history: History) -> None:
        history.add(
            "SELECT 1",
            more=(
                "\ndef _index():\n"
                "    with op.get_context().autocommit_block():\n"
                '        op.execute("CREATE INDEX CONCURRENTLY beside ON records (name)")\n'
            ),
        )
        module = history.directory / "versions" / "r0002.py"
        module.write_text(module.read_text() + "    _index()\n")
        schema, _ = history.run(database)
        assert schema.revision == 2
        assert database.query("SELECT to_regclass('beside')::text") == [("beside",)]

    def test_what_a_failed_index_left_is_taken_away_by_the_next_try(
        self, database: Database, history: History
    ) -> None:
        history.run(database)
        database.execute(
            "INSERT INTO records (name, status) VALUES ('a', 'active'), ('a', 'active')"
        )
        history.add_online('online.create_index("once", "records", "name", unique=True)')
        with pytest.raises(MigrationError, match="unique"):
            history.run(database)
        valid = "SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass('once')"
        assert database.query(valid) == [(False,)], "what PostgreSQL leaves of it"
        assert database.query("SELECT revision FROM aegis_schema") == [(1,)]
        database.execute("DELETE FROM records WHERE number = (SELECT max(number) FROM records)")
        schema, told = history.run(database)
        assert schema.revision == 2
        assert "dropped what a try before had left of index once" in told
        assert database.query(valid) == [(True,)]

    def test_an_index_that_is_there_already_is_not_made_again(
        self, database: Database, history: History
    ) -> None:
        history.run(database)
        history.add_online('online.create_index("beside", "records", "name")')
        database.execute("CREATE INDEX beside ON records (name)")
        before = database.query("SELECT to_regclass('beside')::oid")
        schema, _ = history.run(database)
        assert schema.revision == 2
        assert database.query("SELECT to_regclass('beside')::oid") == before

    def test_rows_are_filled_in_some_at_a_time_and_a_try_goes_on_where_one_was_cut_short(
        self, server: PostgresServer, database: Database, history: History
    ) -> None:
        history.add("ALTER TABLE records ADD COLUMN note text")
        history.run(database)
        database.execute(
            "INSERT INTO records (name, status) SELECT 'N' || n, 'active' "
            "FROM generate_series(1, 25) AS n"
        )
        history.add_online(
            'online.backfill("records", key="number", values="note = lower(name::text)", '
            'where="note IS NULL", batch=10)'
        )
        filled = "SELECT count(*) FROM records WHERE note = lower(name)"
        with server.connect(database.name) as holder:
            with holder.transaction(), pytest.raises(MigrationError, match="lock timeout"):
                holder.execute("SELECT * FROM records WHERE name = 'N15' FOR UPDATE")
                history.run(database)
            assert database.query(filled) == [(10,)]
        schema, told = history.run(database)
        assert schema.revision == 3
        assert told[:2] == ["filled 10 rows of records", "filled 15 rows of records"]
        assert database.query(filled) == [(25,)]

    def test_nothing_stands_before_what_commits_as_it_goes(
        self, database: Database, history: History
    ) -> None:
        history.run(database)
        history.add_online(
            'op.execute("ALTER TABLE records ADD COLUMN note text")',
            'online.create_index("noted", "records", "note")',
        )
        with pytest.raises(MigrationError, match="stands first") as refused:
            history.run(database)
        assert refused.value.final
        columns = "SELECT 1 FROM information_schema.columns WHERE column_name = 'note'"
        assert database.query(columns) == []


def test_a_schema_that_the_code_does_not_work_with_fails_its_own_tests(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    taken = truncated(ROOT, 1, tmp_path / "taken")
    revision = taken / "app" / "migrations" / "versions" / "r0002_takes.py"
    revision.write_text(
        "from alembic import op\n"
        "revision, down_revision, kind = '0002', '0001', 'expand'\n"
        "def upgrade():\n"
        "    op.execute('ALTER TABLE record_events RENAME COLUMN detail TO details')\n"
    )
    (taken / "app" / "migrations" / "schema.json").write_text('{"head": 2, "least": 1}')
    # On the schema of its own it passes: this run has it in test_service_on_database.py.
    assert not run_tests(ROOT, taken, "-k", "test_one_that_was_created_is_read_and_changed")
    assert re.search(r"^1 failed, \d+ deselected", capfd.readouterr().out, re.MULTILINE)
