"""What `aegis data` gets when the odds are against it: who asks, where, and what breaks off."""

from __future__ import annotations

import os
import subprocess
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from aegis_deploy.common.signals import Interrupted
from aegis_deploy.data import resting, sample, schema_dump
from aegis_deploy.data.mock import load as mock_load
from tests.integration.data_commands import READER, Data
from tests.integration.databases import (
    PASSWORD,
    Database,
    PostgresServer,
    fill,
    small_disk,
    standby_of,
)

if TYPE_CHECKING:
    from collections.abc import Iterator


pytestmark = pytest.mark.integration
SCHEMA = """
CREATE TABLE people (id int PRIMARY KEY, post text NOT NULL UNIQUE);
CREATE TABLE letters (
  id int PRIMARY KEY, person int NOT NULL REFERENCES people, words text, sent date, read date,
  CHECK (sent <= read));
"""
ROWS = """
INSERT INTO people SELECT i, 'person' || i || '@real.example' FROM generate_series(1, 4000) AS i;
INSERT INTO letters SELECT i, 1 + i % 4000, repeat('secret ' || i, 20), '2024-02-01', '2024-02-03'
  FROM generate_series(1, 4000) AS i;
"""
TABLES = {
    "people": {"id": "keep", "post": "email"},
    "letters": {"id": "keep", "words": "hash", "sent": "keep", "read": "keep"},
}


@pytest.fixture
def data(server: PostgresServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Data:
    made = Data(server, tmp_path, monkeypatch)
    made.production.execute(SCHEMA + ROWS)
    made.rules(sample={"percent": 50}, tables=TABLES)
    return made


@pytest.fixture
def staging(server: PostgresServer) -> Database:
    return server.database()


def letters(database: Database) -> int:
    ((count,),) = database.query("SELECT count(*) FROM letters")
    return int(count)


class TestTheSource:
    """What is read."""

    def test_a_standby_gives_the_same_data_set_as_the_primary(self, data: Data) -> None:
        first = data.sample("primary")
        assert first.code == 0, first.told
        with standby_of(data.server) as standby:
            port = f":{standby.port}/"
            data.set("PRODUCTION", os.environ["PRODUCTION"].replace(f":{data.server.port}/", port))
            second = data.sample("standby")
            assert second.code == 0, second.told
            verified = data.run("verify", str(data.directory / "primary"), *data.source())
            assert verified.code == 0, verified.told
        assert second.data["name"] == first.data["name"]

    def test_a_snapshot_that_is_lost_is_told_and_leaves_nothing(
        self, data: Data, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        dump = schema_dump.dump

        def lose(*given: Any) -> str:
            # The oldest connection is the one that holds it.
            data.production.execute(
                "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity"
                " WHERE datname = current_database() AND usename = 'reader'"
                " ORDER BY backend_start LIMIT 1"
            )
            return dump(*given)

        monkeypatch.setattr(schema_dump, "dump", lose)
        lost = data.sample("set")
        assert lost.code == 3
        assert "run it again" in lost.told
        assert sorted(it.name for it in data.directory.iterdir()) == ["rules.yaml"]


TRIPS = {
    # Greenmask #197.
    "several circles in one component": """
        CREATE TABLE a (id int PRIMARY KEY, b int NOT NULL, c int);
        CREATE TABLE b (id int PRIMARY KEY, c int NOT NULL, a int);
        CREATE TABLE c (id int PRIMARY KEY, a int NOT NULL, c int);
        INSERT INTO a SELECT i, 1 + (i * 7) % 60, 1 + (i * 11) % 60 FROM generate_series(1, 60) i;
        INSERT INTO b SELECT i, 1 + (i * 13) % 60, 1 + (i * 17) % 60 FROM generate_series(1, 60) i;
        INSERT INTO c SELECT i, 1 + (i * 19) % 60, 1 + (i * 23) % 60 FROM generate_series(1, 60) i;
        ALTER TABLE a ADD FOREIGN KEY (b) REFERENCES b, ADD FOREIGN KEY (c) REFERENCES c;
        ALTER TABLE b ADD FOREIGN KEY (c) REFERENCES c, ADD FOREIGN KEY (a) REFERENCES a;
        ALTER TABLE c ADD FOREIGN KEY (a) REFERENCES a, ADD FOREIGN KEY (c) REFERENCES c;""",
    # Greenmask #279.
    "a key that is no primary key": """
        CREATE TABLE a (id int PRIMARY KEY, code text NOT NULL UNIQUE);
        CREATE TABLE b (id int PRIMARY KEY, code text REFERENCES a (code));
        INSERT INTO a SELECT i, 'code ' || i FROM generate_series(1, 60) i;
        INSERT INTO b SELECT i, 'code ' || 1 + (i * 7) % 60 FROM generate_series(1, 60) i;""",
    # Greenmask #397.
    "a key of several columns in another order": """
        CREATE TABLE a (id int, number text, PRIMARY KEY (id, number));
        CREATE TABLE b (number text, other int, id int, FOREIGN KEY (id, number) REFERENCES a);
        INSERT INTO a SELECT i, 'number ' || i FROM generate_series(1, 60) i;
        INSERT INTO b SELECT 'number ' || i, 0, i FROM generate_series(1, 60) i;""",
    # pg_sample #66, and Greenmask #329, for there is no circle.
    "rows that are needed by rows that are needed": """
        CREATE TABLE a (id int PRIMARY KEY);
        CREATE TABLE b (id int PRIMARY KEY, a int NOT NULL REFERENCES a);
        CREATE TABLE c (id int PRIMARY KEY, b int NOT NULL REFERENCES b);
        CREATE TABLE d (id int PRIMARY KEY, c int NOT NULL REFERENCES c, a int REFERENCES a);
        INSERT INTO a SELECT generate_series(1, 60);
        INSERT INTO b SELECT i, 1 + (i * 7) % 60 FROM generate_series(1, 60) i;
        INSERT INTO c SELECT i, 1 + (i * 11) % 60 FROM generate_series(1, 60) i;
        INSERT INTO d SELECT i, 1 + (i * 13) % 60, 61 - i FROM generate_series(1, 60) i;""",
    # Replibyte #134.
    "NULL wherever it can be": """
        CREATE TABLE a (id int PRIMARY KEY, code text UNIQUE, list text[], said jsonb, day date);
        CREATE TABLE b (id int PRIMARY KEY, code text REFERENCES a (code), words text);
        INSERT INTO a SELECT i, NULL, CASE WHEN i > 30 THEN '{NULL}'::text[] END FROM
          generate_series(1, 60) i;
        INSERT INTO b SELECT i, NULL, NULL FROM generate_series(1, 60) i;""",
}


@pytest.mark.parametrize("schema", TRIPS.values(), ids=TRIPS)
def test_what_trips_others_comes_whole(data: Data, staging: Database, schema: str) -> None:
    data.production.execute("DROP TABLE letters, people;" + schema)
    hashed = {"text": "hash", "text[]": "hash", "integer": "keep"}
    kinds = {**hashed, "jsonb": "json", "date": {"rule": "shift", "days": 9}}
    data.rules(sample={"percent": 20}, types=kinds)
    taken = data.sample("set")
    assert taken.code == 0, taken.told
    loaded = data.load("set", staging)
    assert loaded.code == 0, loaded.told
    assert loaded.data["foreign_keys"] == schema.count("REFERENCES")
    assert min(it["rows"] for it in taken.data["tables"]) >= 12


def test_what_a_unique_index_over_some_rows_keeps_apart_is_still_apart(
    data: Data, staging: Database
) -> None:
    data.production.execute(
        "ALTER TABLE letters ADD title text; UPDATE letters SET title = 'secret ' || id;"
        "CREATE UNIQUE INDEX titled ON letters (lower(title)) WHERE read IS NOT NULL"
    )
    titled = {**TABLES, "letters": {**TABLES["letters"], "title": "name"}}
    data.rules(sample={"percent": 50}, tables=titled)
    taken = data.sample("set")
    assert taken.code == 0, taken.told
    loaded = data.load("set", staging)
    assert loaded.code == 0, loaded.told
    assert letters(staging) == 2000


def test_a_run_that_is_told_to_stop_says_what_is_left(
    data: Data, staging: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: object) -> None:
        raise Interrupted(15)

    assert data.sample("set").code == 0
    data.as_owner(staging, SCHEMA)
    data.set("STAGING", data.address(staging))
    verify = ("verify", str(data.directory / "set"), *data.source())
    for words, where, name, left in (
        (("mock", "--to", "env:STAGING"), mock_load, "resting", "all of the rows, or none of them"),
        (verify, sample, "_compared", "production and the data set are as they were"),
        (("plan", *data.source()), sample, "_select", "production is as it was"),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(where, name, stop)
            stopped = data.run(*words)
        assert stopped.code == 130, stopped.told
        assert left in stopped.told
        assert "next:  run it again" in stopped.told
    assert letters(staging) == 0


class TestTheTarget:
    """Where rows are loaded, or made up."""

    def test_a_role_that_may_not_is_told_what_it_lacks(self, data: Data, staging: Database) -> None:
        assert data.sample("set").code == 0
        data.as_owner(staging, SCHEMA)
        data.set("STAGING", data.address(staging, READER))
        refused = data.run("load", str(data.directory / "set"), "--to", "env:STAGING")
        assert refused.code == 3
        assert "grant the role what it lacks" in refused.told
        assert letters(staging) == 0

    @pytest.mark.skipif(os.geteuid() != 0, reason="only root may make a file system of a size")
    def test_a_server_whose_disk_is_full_has_nothing_of_it_and_then_all(
        self, data: Data, staging: Database
    ) -> None:
        assert data.sample("set").code == 0
        with small_disk(data.server, "40m") as (place, space):
            with data.server.connect() as link:
                link.execute(f"ALTER DATABASE {staging.name} SET TABLESPACE {space}".encode())
            data.as_owner(staging, SCHEMA)
            fill(place)
            full = data.load("set", staging)
            assert full.code == 3
            assert "make room on the server's disk" in full.told
            assert letters(staging) == 0
            (place / "filling").unlink()
            subprocess.run(["mount", "-o", "remount,size=400m", str(place)], check=True)
            loaded = data.load("set", staging)
            assert loaded.code == 0, loaded.told
            assert letters(staging) == 2000

    def test_a_server_that_goes_away_while_rows_are_made_up_has_none_of_them(
        self, data: Data, staging: Database, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        data.as_owner(staging, SCHEMA)
        data.set("STAGING", data.address(staging))
        rest = resting.resting

        @contextmanager
        def cut(*given: Any) -> Iterator[None]:
            with rest(*given):
                staging.execute(
                    "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity"
                    " WHERE datname = current_database() AND pid <> pg_backend_pid()"
                )
                yield

        with monkeypatch.context() as patch:
            patch.setattr(mock_load, "resting", cut)
            lost = data.run("mock", "--to", "env:STAGING")
        assert lost.code == 3
        assert "see that the server answers" in lost.told
        assert letters(staging) == 0
        assert data.run("mock", "--to", "env:STAGING").code == 0
        assert letters(staging) == 100


class TestChecks:
    """Which of them made-up rows meet is known before anything is changed."""

    def test_what_no_made_up_row_would_meet_is_named_with_the_lines_to_add(
        self, data: Data, staging: Database, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        data.as_owner(
            staging,
            SCHEMA + "ALTER TABLE people ADD CONSTRAINT spoken CHECK (post LIKE 'p-%' AND id > 0);"
            "ALTER TABLE letters ADD COLUMN a int, ADD COLUMN b int,"
            " ADD CONSTRAINT small CHECK (a * b < 90)",
        )
        data.set("STAGING", data.address(staging))

        def never(*given: object) -> None:
            raise AssertionError(given)

        with monkeypatch.context() as patch:
            patch.setattr(mock_load, "resting", never)
            refused = data.run("mock", "--to", "env:STAGING", "--seed", "1")
        assert refused.code == 3
        assert "nothing was changed" in refused.told
        assert "people: spoken, CHECK" in refused.told
        assert "letters: small, CHECK" in refused.told
        assert "mock.tables.letters.columns:" in refused.told
        assert "a: {between: [1, 100]}" in refused.told
        data.rules(
            mock={
                "tables": {
                    "people": {"columns": {"post": {"pattern": "p-#####"}}},
                    "letters": {"columns": {"a": {"between": [1, 9]}, "b": {"between": [1, 9]}}},
                }
            }
        )
        rules = str(data.directory / "rules.yaml")
        made = data.run("mock", "--to", "env:STAGING", "--seed", "1", "--rules", rules)
        assert made.code == 0, made.told
        assert staging.query("SELECT count(*) FROM letters WHERE sent > read") == [(0,)]

    def test_a_role_that_may_make_no_temporary_table_learns_of_them_later(
        self, data: Data, staging: Database
    ) -> None:
        data.as_owner(staging, SCHEMA)
        staging.execute(
            f"REVOKE TEMPORARY ON DATABASE {staging.name} FROM PUBLIC, {staging.name};"
            f"ALTER DATABASE {staging.name} OWNER TO pulumi"
        )
        data.set("STAGING", data.address(staging))
        assert data.run("mock", "--to", "env:STAGING").code == 0
        assert letters(staging) == 100


@pytest.fixture(autouse=True)
def _no_rows_shown(data: Data) -> Iterator[None]:
    """Whatever happens, no value of production is told."""
    shown: list[str] = []
    run = data.run

    def told(*words: str) -> Any:
        ran = run(*words)
        shown.extend((ran.told, ran.out))
        return ran

    data.run = told  # type: ignore[method-assign]
    yield
    assert not any("secret " in it or "@real.example" in it or PASSWORD in it for it in shown)
