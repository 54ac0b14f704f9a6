"""What is wrong with a database is told, with why, state and what to do next; nothing is half-done.

What readiness says of some of it is in test_service_on_database.
"""

from __future__ import annotations

import itertools
import os
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx
import psycopg
import pytest

from tests.compat import truncated
from tests.integration import tls_server
from tests.integration.databases import (
    PASSWORD,
    ROOT,
    Database,
    PostgresServer,
    fill,
    service,
    small_disk,
)
from tests.integration.waiting import SECONDS, wait_until

pytestmark = pytest.mark.integration
FILLS = """from alembic import op

revision, down_revision, kind = "0002", "0001", "expand"


def upgrade():
    op.execute("CREATE TABLE made_first (id int)")
    op.execute(
        "CREATE TABLE large AS"
        " SELECT repeat(md5(n::text), 30) AS it FROM generate_series(1, 90000) n"
    )
"""
HEADS = """from alembic import op

revision, down_revision, kind = "{0}", "0001", "expand"


def upgrade():
    op.execute("CREATE TABLE of_{0} (id int)")
"""


def told(done: subprocess.CompletedProcess[str], code: int, *words: str) -> None:
    """Require what a person is told, in its four parts."""
    assert done.returncode == code, done.stderr
    for it in ("error: ", "  why:   ", "  state: ", "  next:  ", *words):
        assert it in done.stderr
    assert "Traceback" not in done.stderr
    assert PASSWORD not in done.stderr + done.stdout


@contextmanager
def code_with(monkeypatch: pytest.MonkeyPatch, directory: Path, **files: str) -> Iterator[None]:
    """Have migrations run with the service's code and some revisions besides."""
    made = truncated(ROOT, 1, directory / "code")
    for name, text in files.items():
        (made / "app" / "migrations" / "versions" / f"{name}.py").write_text(text)
    (made / "app" / "migrations" / "schema.json").write_text('{"head": 2, "least": 1}')
    with monkeypatch.context() as patch:
        patch.setenv("AEGIS_MIGRATIONS_OF", str(made))
        yield


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may make a file system of a size")
def test_a_full_disk_leaves_the_last_whole_revision_and_the_next_run_goes_on(
    server: PostgresServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = server.database()
    with small_disk(server, "40m") as (place, space):
        with server.connect() as connection:
            connection.execute(f"ALTER DATABASE {database.name} SET TABLESPACE {space}".encode())
        assert database.migrate().returncode == 0
        with (
            code_with(monkeypatch, tmp_path, r0002_fills=FILLS),
            service(database, tmp_path / "log") as running,
            httpx.Client(base_url=f"http://127.0.0.1:{running.port}", timeout=SECONDS) as http,
        ):
            wait_until(lambda: http.get("/readyz").status_code == 200, "it is not ready")
            first = _create(http, "before")
            assert first.status_code == 201
            # Another try may find room, so that the Job makes one.
            told(database.migrate(), 1, "revision 2 (expand)", "DiskFull", "at revision 1, whole")
            assert database.query("SELECT to_regclass('made_first')") == [(None,)]

            fill(place)
            # Some fit into what the tables have of blocks that are begun.
            names = (f"fits-{number}" for number in itertools.count())
            wait_until(lambda: _create(http, next(names)).status_code == 503, "it has room yet")
            refused = _create(http, "meanwhile")
            assert refused.status_code == 503
            assert refused.headers["Retry-After"]
            assert http.get(first.headers["Location"]).status_code == 200, "it is read all the same"
            assert http.get("/readyz").status_code == 200

            (place / "filling").unlink()
            subprocess.run(["mount", "-o", "remount,size=400m", str(place)], check=True)
            wait_until(lambda: _create(http, "meanwhile").status_code == 201, "it does not heal")
            done = database.migrate()
            assert done.returncode == 0, done.stderr
            assert "applied revision 2" in done.stderr
        assert database.query("SELECT count(*) FROM large") == [(90000,)]
        assert database.query("SELECT count(*) FROM records WHERE name = 'meanwhile'") == [(1,)]


def _create(http: httpx.Client, name: str) -> httpx.Response:
    body = {"name": name, "tags": []}
    return http.post("/v1/records", json=body, headers={"Idempotency-Key": f"key-of-{name}"})


def test_a_server_that_takes_no_more_connections_is_told_and_nothing_is_begun(
    server: PostgresServer,
) -> None:
    database = server.database()
    with server.connect() as connection:
        connection.execute("ALTER SYSTEM SET max_connections = 8")
    server.stop()
    server.start()
    try:
        with ExitStack() as others:
            # Those of a superuser are kept for one.
            for _ in range(5):
                others.enter_context(psycopg.connect(database.url))
            told(database.migrate(), 1, "could not be reached", "connection slots are reserved")
        assert database.query("SELECT to_regclass('aegis_schema')") == [(None,)]
        assert database.migrate().returncode == 0
    finally:
        with server.connect() as connection:
            connection.execute("ALTER SYSTEM RESET max_connections")
        server.stop()
        server.start()


def test_two_heads_are_no_line_and_nothing_is_applied(
    server: PostgresServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = server.database()
    heads = {f"r{it}_head": HEADS.format(it) for it in ("0002", "0003")}
    with code_with(monkeypatch, tmp_path, **heads):
        for words in ((), ("--plan",), ("--revisions",), ("--contract", "--rehearse")):
            told(database.migrate(*words), 3, "are no line", "so that there is one head")
    assert database.query("SELECT to_regclass('aegis_schema')") == [(None,)]


@pytest.mark.parametrize(
    ("statement", "code", "words"),
    [
        ("ALTER ROLE {name} PASSWORD 'another'", 1, ["password authentication failed"]),
        ("ALTER ROLE {name} NOLOGIN", 1, ["is not permitted to log in"]),
        ("ALTER ROLE {name} CONNECTION LIMIT 0", 1, ["too many connections for role"]),
        (
            "UPDATE aegis_schema SET service = 'shop'",
            3,
            ["the database is that of shop, not of aegis-api", "nothing was changed"],
        ),
        ("REVOKE ALL ON aegis_schema FROM {name}", 1, ["permission denied for table aegis_schema"]),
    ],
)
@pytest.mark.parametrize("words_given", [(), ("--contract", "--plan")])
def test_one_that_cannot_be_migrated_is_left_as_it_is(
    server: PostgresServer,
    statement: str,
    code: int,
    words: list[str],
    words_given: tuple[str, ...],
) -> None:
    database = server.migrated()
    database.execute(statement.format(name=database.name))
    told(database.migrate(*words_given), code, *words)
    assert database.query("SELECT revision FROM aegis_schema") == [(1,)]


@pytest.mark.parametrize(
    ("host", "trusted", "why"),
    [
        ("elsewhere.example", True, 'certificate for "elsewhere.example" does not match host name'),
        ("127.0.0.1", False, "certificate verify failed"),
        ("127.0.0.1", True, tls_server.REFUSAL),
    ],
    ids=["another name", "another authority", "trusted"],
)
def test_one_that_is_not_the_host_that_it_says_is_told_nothing(
    server: PostgresServer, tmp_path: Path, host: str, trusted: bool, why: str
) -> None:
    authority, other = (tls_server.Authority(tmp_path / it) for it in ("one", "other"))
    database = server.database()
    with tls_server.encrypting(authority.issue(host)) as port:
        told(
            database.migrate(
                AEGIS_DATABASE_URL=database.url.replace(f":{server.port}/", f":{port}/"),
                AEGIS_DATABASE_TLS="verify-full",
                AEGIS_DATABASE_CA=str((authority if trusted else other).file),
            ),
            1,
            "could not be reached",
            why,
        )


def test_one_that_is_not_there_is_told(server: PostgresServer) -> None:
    database = server.database()
    server.stop()
    try:
        told(database.migrate(), 1, "could not be reached", "Connection refused")
    finally:
        server.start()
    missing = Database(server, database.name)
    with server.connect() as connection:
        connection.execute(f"DROP DATABASE {database.name}".encode())
    told(missing.migrate(), 1, "could not be reached", "does not exist")
