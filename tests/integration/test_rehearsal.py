"""A migration is tried on a copy of a real PostgreSQL's database, of which nothing is left."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from aegis_deploy.model.migration import schema_locks
from app.database.schema import DatabaseSchema
from app.migrations.rehearsal import _MARK, LOCK, _called
from app.migrations.runner import MigrationError, RefusedError
from tests.integration.databases import PASSWORD, Database, PostgresServer
from tests.integration.revisions import History
from tests.integration.waiting import SECONDS, wait_until

pytestmark = pytest.mark.integration
WEAK = ("ACCESS SHARE", "ROW SHARE", "ROW EXCLUSIVE")


@pytest.fixture
def database(server: PostgresServer) -> Database:
    """One with rows, whose role may create others."""
    made = server.migrated()
    with server.connect() as connection:
        connection.execute(f"ALTER ROLE {made.name} CREATEDB".encode())
    made.execute(
        "INSERT INTO customers (name, email, phone) "
        "SELECT 'c' || n, 'c' || n || '@example.com', n FROM generate_series(1, 500) n"
    )
    made.execute("UPDATE customers SET referred_by = id + 1 WHERE id < 10")
    made.execute(
        "INSERT INTO records (customer_id, name, status) SELECT id, name, 'active' FROM customers"
    )
    return made


@pytest.fixture
def history(tmp_path: Path) -> History:
    return History(tmp_path)


def databases(server: PostgresServer) -> set[str]:
    with server.connect() as connection:
        return {it[0] for it in connection.execute("SELECT datname FROM pg_database").fetchall()}


def contents(database: Database) -> list[tuple[object, ...]]:
    """All that a migration or a copy could have changed."""
    return [
        *database.query("SELECT count(*), min(xmin::text), max(xmin::text) FROM customers"),
        *database.query("SELECT count(*), min(xmin::text), max(xmin::text) FROM records"),
        *database.query("SELECT revision, least_head FROM aegis_schema"),
        *database.query(
            "SELECT table_name, column_name FROM information_schema.columns"
            " WHERE table_schema = 'public' ORDER BY 1, 2"
        ),
    ]


def test_each_statement_is_told_with_its_time_and_its_locks_and_nothing_is_left(
    server: PostgresServer, database: Database, history: History
) -> None:
    history.add("UPDATE customers SET name = upper(name)")
    history.add("ALTER TABLE customers DROP COLUMN phone", kind="contract", more="least_head = 2")
    before, there = contents(database), databases(server)
    told: list[str] = []
    # The service is connected meanwhile, in the midst of a transaction.
    with server.connect(database.name) as served, served.transaction():
        served.execute("UPDATE customers SET name = name WHERE id = 1")
        done = history.rehearse(database, told=told)
    assert done.at == DatabaseSchema(revision=1, least_head=0)
    assert (done.after, done.failed) == (DatabaseSchema(revision=3, least_head=2), "")
    assert (done.tables, done.rows, done.left) == (7, 1000, ())
    rewrites, drops = done.statements
    assert (rewrites.revision, drops.revision) == (2, 3)
    assert rewrites.locks == {"customers": "RowExclusiveLock"}
    assert drops.locks == {"customers": "AccessExclusiveLock"}
    assert drops.as_json()["locks"] == [{"table": "customers", "mode": "ACCESS EXCLUSIVE"}]
    assert rewrites.sql == "UPDATE customers SET name = upper(name)"
    assert contents(database)[1:] == before[1:]
    assert databases(server) == there


def test_the_copy_has_all_of_one_moment(database: Database, history: History) -> None:
    database.execute("CREATE TABLE by_hand (a int)")
    database.execute("ALTER TABLE records ADD COLUMN of_hand int")
    # It fails unless every row is there, each number goes on, and the keys hold again.
    history.add(
        "INSERT INTO customers (name, email) VALUES ('next', 'next@example.com');"
        "SELECT 1 / (max(id) = 501 AND count(*) = 501)::int FROM customers;"
        "SELECT 1 / (count(*) = 500)::int FROM records;"
        "SELECT 1 / (count(*) = 9)::int FROM customers WHERE referred_by = id + 1"
    )
    done = history.rehearse(database)
    assert done.failed == ""
    assert done.left == (
        "table by_hand, which no revision makes",
        "records.of_hand, which no revision makes",
    )
    keys = history.rehearse
    history.add("INSERT INTO addresses (customer_id, line, city, postal_code) VALUES (0,'','','')")
    assert "violates foreign key constraint" in keys(database).failed


def test_one_that_fails_says_so_with_what_was_sent(
    server: PostgresServer, database: Database, history: History
) -> None:
    history.add("SELECT 1 / 0")
    there = databases(server)
    done = history.rehearse(database)
    assert "revision 2 (expand): Step 2: DivisionByZero" in done.failed
    assert done.after == done.at
    assert [it.sql for it in done.statements] == ["SELECT 1 / 0"]
    assert databases(server) == there


def test_a_copy_that_was_left_is_dropped_and_another_s_database_never(
    server: PostgresServer, database: Database, history: History
) -> None:
    name = f"rehearsal_of_{database.name}"
    with server.connect() as connection:
        connection.execute(f"CREATE DATABASE {name} OWNER {database.name}".encode())
        history.add("SELECT 1")
        with pytest.raises(RefusedError, match="it is no rehearsal's") as refused:
            history.rehearse(database)
        assert not refused.value.began
        assert name in databases(server)
        connection.execute(f"COMMENT ON DATABASE {name} IS '{_MARK}'".encode())
    told: list[str] = []
    assert history.rehearse(database, told=told).failed == ""
    assert f"dropped {name}, which a rehearsal left that did not end" in told
    assert name not in databases(server)


def test_only_one_runs_at_a_time(
    server: PostgresServer, database: Database, history: History
) -> None:
    history.add("SELECT 1")
    with server.connect(database.name) as other:
        other.execute(f"SELECT pg_advisory_lock({LOCK})".encode())
        with pytest.raises(MigrationError, match="another rehearsal"):
            history.rehearse(database)


class TestTheCommand:
    """`python -m app.migrate --rehearse`, as a Job runs it."""

    def test_with_nothing_pending_nothing_is_copied(self, database: Database) -> None:
        done = database.migrate("--contract", "--rehearse")
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["rehearsal"]["statements"] == []
        assert "nothing to rehearse: the database is at revision 1" in done.stderr

    def test_an_empty_one_is_migrated_on_a_copy_alone(self, server: PostgresServer) -> None:
        empty = server.database()
        with server.connect() as connection:
            connection.execute(f"ALTER ROLE {empty.name} CREATEDB".encode())
        done = empty.migrate("--rehearse")
        assert done.returncode == 0, done.stderr
        said = json.loads(done.stdout)["rehearsal"]
        assert said["after"] == {"revision": 1, "leastHead": 0}
        assert [it for it in said["statements"] if it["sql"].startswith("CREATE TABLE customers")]
        assert not [it for it in said["statements"] if it["locks"]], "all its tables are new"
        assert empty.query("SELECT to_regclass('aegis_schema')") == [(None,)]

    def test_a_role_that_may_not_create_databases_is_told_who_lets_it(
        self, server: PostgresServer
    ) -> None:
        plain = server.database()
        done = plain.migrate("--rehearse")
        assert done.returncode == 3
        assert "may not create databases" in done.stderr
        assert f"ALTER ROLE {plain.name} CREATEDB" in done.stderr
        assert "nothing was changed" in done.stderr
        assert PASSWORD not in done.stderr + done.stdout

    def test_production_is_refused(self, database: Database, history: History) -> None:
        history.add("SELECT 1")
        with pytest.raises(RefusedError, match="a copy of production's data"):
            history.rehearse(database, production=True)


class TestTheCodeBefore:
    """What runs is tried on the copy that a rehearsal of later revisions kept: by `--probe`."""

    @staticmethod
    def probed(database: Database) -> dict[str, Any]:
        done = database.migrate("--probe")
        assert done.returncode == 0, done.stderr
        assert PASSWORD not in done.stderr + done.stdout
        said: dict[str, Any] = json.loads(done.stdout)["probe"]
        assert said["code"] == {"head": 1, "least": 1}
        return said

    def test_reads_and_writes_on_what_leaves_it_working_and_the_copy_goes(
        self, server: PostgresServer, database: Database, history: History
    ) -> None:
        history.add("ALTER TABLE records ADD COLUMN note text")
        before, there = contents(database), databases(server)
        assert history.rehearse(database, keep=True).failed == ""
        assert databases(server) - there == {f"rehearsal_of_{database.name}"}
        assert self.probed(database) == {
            "code": {"head": 1, "least": 1},
            "database": {"revision": 2, "leastHead": 0},
            "failed": None,
        }
        assert databases(server) == there
        assert contents(database)[:3] == before[:3], "nothing was written to the original"

    @pytest.mark.parametrize(
        ("statement", "why"),
        [
            ("ALTER TABLE records DROP COLUMN name CASCADE", "a read fails: UndefinedColumn"),
            ("ALTER TABLE tags ADD CHECK (name = '')", "a write fails: CheckViolation"),
        ],
    )
    def test_fails_where_an_expand_takes_what_it_needs(
        self,
        server: PostgresServer,
        database: Database,
        history: History,
        statement: str,
        why: str,
    ) -> None:
        history.add(statement)
        there = databases(server)
        history.rehearse(database, keep=True)
        assert why in self.probed(database)["failed"]
        assert databases(server) == there

    def test_says_that_a_contract_is_the_end_of_it(
        self, server: PostgresServer, database: Database, history: History
    ) -> None:
        history.add("ALTER TABLE customers DROP COLUMN phone", kind="contract", more="least_head=2")
        there = databases(server)
        history.rehearse(database, keep=True)
        said = self.probed(database)
        assert said["database"] == {"revision": 2, "leastHead": 2}
        assert said["failed"]
        assert databases(server) == there

    def test_finds_no_copy_where_none_was_kept(
        self, server: PostgresServer, database: Database, history: History
    ) -> None:
        history.add("SELECT 1 / 0")
        there = databases(server)
        assert history.rehearse(database, keep=True).failed
        assert databases(server) == there, "one that failed is tried by nobody"
        said = self.probed(database)
        assert said["database"] is None
        assert "there is no copy" in said["failed"]
        with server.connect() as connection:
            name = f"rehearsal_of_{database.name}"
            connection.execute(f"CREATE DATABASE {name} OWNER {database.name}".encode())
            assert "there is no copy" in self.probed(database)["failed"]
            assert name in databases(server), "it is no rehearsal's"


STATEMENTS = [
    "ALTER TABLE records ADD COLUMN note text",
    "ALTER TABLE records ALTER COLUMN name SET STATISTICS 10",
    "ALTER TABLE records SET (fillfactor = 70)",
    "ALTER TABLE records ADD CONSTRAINT c CHECK (name <> '') NOT VALID",
    "ALTER TABLE records ADD CONSTRAINT k FOREIGN KEY (customer_id) REFERENCES customers (id)",
    "ALTER TABLE records ADD COLUMN b bigint REFERENCES customers (id)",
    "ALTER TABLE records RENAME COLUMN name TO named",
    "ALTER TABLE records DISABLE TRIGGER USER",
    "ALTER TABLE records VALIDATE CONSTRAINT records_customer_id_fkey",
    "ALTER TABLE records ALTER COLUMN name SET STATISTICS 10, DISABLE TRIGGER USER",
    "CREATE INDEX i ON records (name)",
    "CREATE INDEX CONCURRENTLY beside ON records (name)",
    "DROP INDEX records_customer_id_idx",
    "CREATE TABLE t (a bigint REFERENCES records (number))",
    """CREATE TRIGGER t BEFORE UPDATE ON records FOR EACH ROW
    EXECUTE FUNCTION suppress_redundant_updates_trigger()""",
    "COMMENT ON TABLE records IS 'it'",
    "TRUNCATE records CASCADE",
    "LOCK TABLE records IN SHARE ROW EXCLUSIVE MODE",
    "LOCK records",
    "UPDATE records SET name = name",
    "INSERT INTO tags (name) VALUES ('x')",
    "DELETE FROM tags",
    "ANALYZE records",
    "DROP TABLE record_tags",
]


@pytest.fixture(scope="module")
def plain(server: PostgresServer) -> Database:
    """One that each statement leaves as it found it."""
    return server.migrated()


@pytest.mark.parametrize("statement", STATEMENTS)
def test_what_is_said_of_a_statement_s_locks_before_is_what_the_server_takes(
    server: PostgresServer, plain: Database, statement: str
) -> None:
    said = {it.table: it.mode for it in schema_locks.of_sql([statement])}
    if statement.startswith("DROP INDEX"):
        said = {"records": said["the table of index records_customer_id_idx"]}
    with server.connect(plain.name) as connection, ThreadPoolExecutor(1) as pool:
        pid = connection.info.backend_pid
        if "CONCURRENTLY" in statement:
            # Its lock goes with it: somebody holds it up until that was seen.
            with server.connect(plain.name) as holder, holder.transaction():
                holder.execute("INSERT INTO records (name, status) VALUES ('x', 'active')")
                runs = pool.submit(connection.execute, statement.encode())
                wait_until(lambda: "records" in locks(plain, pid), "it locks nothing")
                held = locks(plain, pid)
            runs.result(SECONDS)
        else:
            with connection.transaction(force_rollback=True):
                connection.execute(statement.encode())
                held = locks(plain, pid)
    assert {table: held[table] for table in said} == said
    # What goes with a table, and what refers to it, is not in the statement.
    if not statement.startswith(("TRUNCATE", "DROP TABLE")):
        assert {table for table, mode in held.items() if mode not in WEAK} <= set(said)


def locks(database: Database, pid: int) -> dict[str, str]:
    """The strongest lock of each table of a process, but of those that it has made itself."""
    found: dict[str, str] = {}
    rows = database.query(
        "SELECT c.relname, l.mode, l.pid FROM pg_locks l JOIN pg_class c ON c.oid = l.relation"
        " WHERE c.relkind = 'r' AND c.relnamespace = 'public'::regnamespace"
    )
    for table, mode in ((table, mode) for table, mode, whose in rows if whose == pid):
        called = _called(mode)
        found[table] = max(found.get(table, called), called, key=schema_locks.MODES.index)
    return found
