"""Which locks a statement's kind tells; a real server holds each against them in test_rehearsal."""

from __future__ import annotations

import pytest

from aegis_deploy.model.migration.schema_locks import Lock, of_sql
from aegis_deploy.model.migration.schema_plan import PendingRevision


def told(*sql: str) -> list[str]:
    return [f"{it.mode} {it.table}" for it in of_sql(sql)]


def test_the_strongest_of_each_table_counts() -> None:
    assert told(
        "UPDATE a SET b = 1;",
        "ALTER TABLE a DROP COLUMN c;",
        "CREATE INDEX i ON a (b);",
        "VACUUM b;",
    ) == ["ACCESS EXCLUSIVE a", "SHARE UPDATE EXCLUSIVE b"]


def test_nobody_waits_for_a_table_that_it_makes_but_for_one_that_this_refers_to() -> None:
    assert told(
        "CREATE TABLE new (id bigint,",
        "    of bigint REFERENCES old (id));",
        "CREATE INDEX i ON new (id);",
        'ALTER TABLE "new" ADD COLUMN b int;',
    ) == ["SHARE ROW EXCLUSIVE old"]


@pytest.mark.parametrize(
    ("sql", "locks"),
    [
        ("ALTER TABLE ONLY s.a ADD b numeric(9, 2)", ["ACCESS EXCLUSIVE s.a"]),
        ("ALTER TABLE a ALTER b SET STATISTICS 5, ADD c int", ["ACCESS EXCLUSIVE a"]),
        ("alter table if exists a validate constraint c", ["SHARE UPDATE EXCLUSIVE a"]),
        ("DROP INDEX CONCURRENTLY i", ["SHARE UPDATE EXCLUSIVE the table of index i"]),
        ("CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS i ON a (b)", ["SHARE UPDATE EXCLUSIVE a"]),
        ("VACUUM (FULL, VERBOSE) a", ["ACCESS EXCLUSIVE a"]),
        ("REFRESH MATERIALIZED VIEW CONCURRENTLY m", ["EXCLUSIVE m"]),
        ("LOCK TABLE a IN ACCESS  SHARE MODE", ["ACCESS SHARE a"]),
        ("SELECT 'DROP TABLE a; DROP TABLE b'", []),
        (
            "-- DROP TABLE a;\nCOMMENT ON TABLE b IS $$; DROP TABLE a$$",
            ["SHARE UPDATE EXCLUSIVE b"],
        ),
        ("CREATE EXTENSION citext", []),
    ],
)
def test_is_told_by_the_kind_of_statement(sql: str, locks: list[str]) -> None:
    assert told(*sql.splitlines()) == locks


def test_it_is_said_who_waits() -> None:
    (all_of_them,) = of_sql(["DROP TABLE a"])
    assert str(all_of_them) == "ACCESS EXCLUSIVE on a: reads and writes wait"
    assert Lock(mode="SHARE", table="a").waits == "writes wait"
    assert Lock(mode="SHARE UPDATE EXCLUSIVE", table="a").waits == "nobody waits"


def test_a_revision_says_them_after_its_statements() -> None:
    it = PendingRevision(number=3, kind="contract", about="Less", sql=("DROP TABLE a;",))
    assert it.lines() == [
        "  revision 3 (contract): Less",
        "      DROP TABLE a;",
        "      locks: ACCESS EXCLUSIVE on a: reads and writes wait",
    ]
    assert it.as_json()["locks"] == [{"table": "a", "mode": "ACCESS EXCLUSIVE"}]
