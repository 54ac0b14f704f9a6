"""`aegis data sample`, `plan` and `verify` on a real PostgreSQL."""

from __future__ import annotations

import fcntl
import os
import resource
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from aegis_deploy.common.signals import Interrupted
from aegis_deploy.data import masking, sample
from aegis_deploy.data.data_set import directory as data_set
from tests.integration.data_commands import READER, Data
from tests.integration.databases import PostgresServer

pytestmark = pytest.mark.integration

SHOP = """
CREATE TABLE customers (id int PRIMARY KEY, email text NOT NULL UNIQUE, city text);
CREATE TABLE products (id int PRIMARY KEY, title text);
CREATE TABLE orders (id int PRIMARY KEY, customer int NOT NULL REFERENCES customers);
CREATE TABLE items (
  order_id int REFERENCES orders, line int, product int NOT NULL REFERENCES products,
  PRIMARY KEY (order_id, line));
CREATE TABLE notes (subject_kind text, subject int, post text, body text);
INSERT INTO customers SELECT i, 'person' || i || '@real.example', 'city ' || i % 5
  FROM generate_series(1, 1000) AS i;
INSERT INTO products SELECT i, 'product ' || i FROM generate_series(1, 40) AS i;
INSERT INTO orders SELECT i, 1 + (i * 7) % 1000 FROM generate_series(1, 2000) AS i;
INSERT INTO items SELECT i, line, 1 + (i * 7 + line) % 40
  FROM generate_series(1, 2000) AS i, generate_series(1, 3) AS line;
INSERT INTO notes SELECT CASE i % 2 WHEN 0 THEN 'order' ELSE 'customer' END, 1 + i * 2,
  'person' || i || '@real.example', 'body ' || i FROM generate_series(1, 400) AS i;
"""
TABLES = {
    "customers": {"id": "keep", "email": "email", "city": "keep"},
    "products": {"id": "keep", "title": "redact"},
    "orders": {"id": "keep", "customer": "keep"},
    "items": {"order_id": "keep", "line": "keep", "product": "keep"},
    "notes": {"subject_kind": "keep", "subject": "keep", "post": "email", "body": "hash"},
}


@pytest.fixture
def data(server: PostgresServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Data:
    made = Data(server, tmp_path, monkeypatch)
    made.production.execute(SHOP)
    made.rules(sample={"percent": 10}, tables=TABLES)
    return made


def selection(document: Any) -> dict[str, Any]:
    return {it["table"]: it for it in (one["selection"] for one in document["tables"])}


def left(data: Data) -> list[str]:
    return sorted(it.name for it in data.directory.iterdir() if it.name != "rules.yaml")


def before_copying(monkeypatch: pytest.MonkeyPatch, act: Callable[[], None]) -> None:
    """Have something happen once the snapshot is there and before a row is read."""

    def compile_masks(*arguments: Any) -> masking.Masking:
        act()
        return masking.compile_masks(*arguments)

    monkeypatch.setattr(sample, "compile_masks", compile_masks)


class TestWhatIsTaken:
    """Which rows, how many, and the same again."""

    def test_targets_are_met_and_an_overshoot_is_told_with_its_cause(self, data: Data) -> None:
        ran = data.sample("set")
        assert ran.code == 0, ran.told
        found = selection(ran.data)
        assert {name for name, it in found.items() if it["off_target"]} == {"products"}
        assert found["products"]["pulled"]["items.product"] > 20
        assert found["orders"]["with"] == "customers"
        assert found["items"]["with"] == "orders"

    def test_a_plan_is_what_a_sample_takes(self, data: Data) -> None:
        planned = data.run("plan", *data.source(), "--json")
        taken = data.sample("set")
        assert planned.code == 0, planned.told
        assert [{k: v for k, v in it.items() if k != "bytes"} for it in planned.data["tables"]] == [
            it["selection"] for it in taken.data["tables"]
        ]
        shown = data.run("plan", *data.source(), "--picture")
        assert shown.out == planned.data["picture"]
        assert '==>|"customer"|' in shown.out

    def test_children_come_with_their_parents_when_rules_say_so(self, data: Data) -> None:
        data.rules(
            sample={"percent": 10, "tables": {"products": "none"}},
            tables=TABLES,
            follow=[{"table": "items", "with": "orders"}],
        )
        found = selection(data.sample("set").data)
        assert found["items"]["total"] == 3 * found["orders"]["total"]
        assert not found["products"]["off_target"]
        assert found["products"]["total"] == sum(found["products"]["pulled"].values())

    def test_declared_and_polymorphic_references_are_followed(self, data: Data) -> None:
        data.rules(
            sample={"percent": 10, "tables": {"notes": {"rows": 30}}},
            tables=TABLES,
            references=[
                {"table": "notes", "columns": ["subject"], "to": "orders", "to_columns": ["id"],
                 "where": {"subject_kind": "order"}},
                {"table": "notes", "columns": ["subject"], "to": "customers", "to_columns": ["id"],
                 "where": {"subject_kind": "customer"}},
                {"table": "notes", "columns": ["post"], "to": "customers", "to_columns": ["email"]},
            ],
        )  # fmt: skip
        staging = data.server.database()
        assert data.sample("set").code == 0
        assert data.load("set", staging).code == 0
        (row,) = staging.query(
            "SELECT count(*), count(o.id) + count(c.id), count(p.id) FROM notes n"
            " LEFT JOIN orders o ON n.subject_kind = 'order' AND o.id = n.subject"
            " LEFT JOIN customers c ON n.subject_kind = 'customer' AND c.id = n.subject"
            " LEFT JOIN customers p ON p.email = n.post"
        )
        assert row == (30, 30, 30)

    def test_declared_references_are_held_against_the_rows_before_any_is_copied(
        self, data: Data
    ) -> None:
        way = {"table": "notes", "columns": ["subject"], "to": "orders", "to_columns": ["id"]}
        orders = {**way, "where": {"subject_kind": "order"}}
        slip = {**way, "where": {"subject_kind": "ordr"}}
        data.rules(sample={"percent": 10}, tables=TABLES, references=[orders, slip])
        whole = data.sample("whole")
        assert "refer to nothing" not in whole.told
        assert "notes.subject -> orders.id: no row has subject_kind = ordr" in whole.told
        data.rules(sample={"percent": 10}, tables=TABLES, references=[orders])
        data.production.execute("UPDATE notes SET subject = 9999 WHERE subject < 100")
        taken = data.sample("set")
        assert taken.code == 0
        assert "notes.subject -> orders.id: 24 of 200 rows refer to nothing" in taken.told
        data.production.execute("UPDATE notes SET subject = 9999 WHERE subject_kind = 'order'")
        for word in ("plan", "sample"):
            to = ["--to", str(data.directory / "refused")] if word == "sample" else []
            refused = data.run(word, *data.source(), *to)
            assert refused.code == 3
            assert "declare references that no row bears out" in refused.told
        assert left(data) == ["set", "whole"]

    def test_the_same_rows_come_again_when_others_were_added_and_others_by_another_key(
        self, data: Data
    ) -> None:
        def emails() -> set[str]:
            name = f"set{len(left(data))}"
            assert data.sample(name).code == 0
            file = next((data.directory / name / "rows").glob("*.customers.copy"))
            return {line.split("\t")[0] for line in file.read_text().splitlines()}

        first = emails()
        data.production.execute(
            "INSERT INTO customers SELECT i, 'new' || i FROM generate_series(2001, 2100) AS i"
        )
        again = emails()
        assert len(first & again) > 0.9 * len(first)
        data.set("AEGIS_TEST_KEY", "another key that only tests have, of 32 bytes")
        assert len(first & emails()) < 0.5 * len(first)

    def test_the_number_of_connections_and_the_compression_change_no_row(self, data: Data) -> None:
        one = data.sample("one", "--connections", "1")
        four = data.sample("four", "--connections", "4", "--gzip")
        assert one.data["name"] == four.data["name"]

    def test_what_happens_meanwhile_is_not_seen(
        self, data: Data, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        quiet = data.sample("quiet")

        def rewrite() -> None:
            data.production.execute("UPDATE customers SET id = id, city = 'moved'")
            data.production.execute("DELETE FROM items; DELETE FROM orders")
            data.production.execute("VACUUM")
            data.production.execute("INSERT INTO orders SELECT i, 1 FROM generate_series(1, 99) i")

        before_copying(monkeypatch, rewrite)
        busy = data.sample("busy")
        assert busy.code == 0, busy.told
        assert busy.data["name"] == quiet.data["name"]


class TestWhoReads:
    """The role, what it may do, and how it is named."""

    def test_a_role_that_could_write_is_refused_unless_told(self, data: Data) -> None:
        data.set("PRODUCTION", data.address(data.production, "pulumi"))
        refused = data.sample("set")
        assert refused.code == 3
        assert "it is a superuser" in refused.told
        assert data.sample("set", "--allow-writer").code == 0

    @pytest.mark.parametrize("right", ["DELETE", "UPDATE (line)"])
    def test_a_role_with_one_right_too_many_is_told_which(self, data: Data, right: str) -> None:
        data.production.execute(
            f"CREATE ROLE {data.production.name}_w LOGIN PASSWORD 'hunter4-of-a-test'"
            f" IN ROLE {READER}; GRANT {right} ON items TO {data.production.name}_w"
        )
        data.set("PRODUCTION", data.address(data.production, f"{data.production.name}_w"))
        refused = data.sample("set")
        assert (refused.code, left(data)) == (3, [])
        assert "it may write to items" in refused.told

    def test_a_role_that_cannot_read_all_is_told_what_to_grant(self, data: Data) -> None:
        role = f"{data.production.name}_r"
        data.production.execute(
            f"CREATE ROLE {role} LOGIN PASSWORD 'hunter4-of-a-test';"
            f" GRANT SELECT ON customers, products, orders, notes TO {role}"
        )
        data.set("PRODUCTION", data.address(data.production, role))
        refused = data.sample("set")
        assert (refused.code, left(data)) == (3, [])
        assert f'GRANT SELECT ON "public"."items" TO "{role}";' in refused.told
        assert '"orders"' not in refused.told

    def test_a_policy_that_hides_rows_is_no_smaller_sample(self, data: Data) -> None:
        data.production.execute(
            "ALTER TABLE notes ENABLE ROW LEVEL SECURITY;"
            " CREATE POLICY halved ON notes USING (subject_kind = 'order')"
        )
        refused = data.sample("set")
        assert (refused.code, left(data)) == (3, [])
        assert "row-level security" in refused.told

    def test_a_password_on_the_command_line_is_refused_and_not_shown(self, data: Data) -> None:
        address = os.environ["PRODUCTION"]
        given = [address if it == "env:PRODUCTION" else it for it in data.source()]
        refused = data.run("sample", *given, "--to", str(data.directory / "set"))
        assert refused.code == 2
        assert "hunter4" not in refused.told
        assert "--from env:NAME or file:PATH" in refused.told


class TestTheProof:
    """Masked columns against production."""

    def test_values_of_production_in_a_masked_column_are_counted_and_refused(
        self, data: Data
    ) -> None:
        tables = {**TABLES, "products": {"id": "keep"}}
        tables["products"]["title"] = {"rule": "fixed", "value": "product 7", "coincide": False}  # type: ignore[assignment]
        data.rules(sample={"percent": 10}, tables=tables)
        refused = data.sample("set")
        assert (refused.code, left(data)) == (3, [])
        assert "products.title: 1 of 1 values" in refused.told
        assert "product 7" not in refused.told + refused.out

        tables["products"]["title"] = {"rule": "fixed", "value": "product 7", "coincide": True}  # type: ignore[assignment]
        data.rules(sample={"percent": 10}, tables=tables)
        allowed = data.sample("set")
        assert allowed.code == 0, allowed.told
        assert allowed.data["proof"]["coincide"] == [
            {"table": "products", "column": "title", "values": 1, "found": 1, "allowed": True}
        ]

    def test_it_can_be_made_again(self, data: Data) -> None:
        made = data.sample("set")
        words = ("verify", str(data.directory / "set"), *data.source(), "--json")
        again = data.run(*words)
        assert again.data["proof"] == made.data["proof"]

        file = next((data.directory / "set" / "rows").glob("*.customers.copy"))
        _, email, _ = file.read_text().splitlines()[0].split("\t")
        data.production.execute(f"UPDATE customers SET email = '{email}' WHERE id = 1")  # noqa: S608
        found = data.run(*words)
        assert found.code == 3
        assert "customers.email: 1 of" in found.told
        assert email not in found.told + found.out

    def test_by_other_rules_or_another_key_it_proves_nothing(self, data: Data) -> None:
        assert data.sample("set").code == 0
        words = ("verify", str(data.directory / "set"), *data.source())
        data.set("AEGIS_TEST_KEY", "another key that only tests have, of 32 bytes")
        assert "another key" in data.run(*words).told
        data.rules(sample={"percent": 10}, tables={**TABLES, "logs": {}})
        data.set("AEGIS_TEST_KEY", "a key that only tests have, of 32 bytes and more")
        assert "other rules" in data.run(*words).told


class TestWhatIsLeft:
    """Of a run that did not come to its end, and beside one that did."""

    def test_a_column_without_a_rule_stops_it_before_a_row_is_read(
        self, data: Data, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(sample, "select", None)
        data.production.execute("ALTER TABLE orders ADD comment text")
        refused = data.sample("set")
        assert (refused.code, left(data)) == (3, [])
        assert "comment:" in refused.told

    def test_a_server_that_goes_away_leaves_nothing(
        self, data: Data, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def cut() -> None:
            data.production.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND usename = 'reader'"
            )

        before_copying(monkeypatch, cut)
        lost = data.sample("set", "--without-schema")
        assert (lost.code, left(data)) == (3, [])
        assert "see that the server answers" in lost.told

    def test_a_full_disk_leaves_nothing(self, data: Data, monkeypatch: pytest.MonkeyPatch) -> None:
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        before_copying(monkeypatch, lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (2000, hard)))
        try:
            full = data.sample("set", "--without-schema")
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        assert (full.code, left(data)) == (3, [])
        assert "make room" in full.told

    def test_a_run_that_was_stopped_leaves_nothing_and_can_be_begun_again(
        self, data: Data, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def stop(*_: object) -> None:
            raise Interrupted(15)

        with monkeypatch.context() as patch:
            patch.setattr(data_set, "finish", stop)
            assert data.sample("set").code == 130
        assert left(data) == []
        assert data.sample("set").code == 0

    def test_what_a_killed_run_left_is_no_data_set_and_is_taken_over(self, data: Data) -> None:
        draft = data.directory / "set.incomplete"
        (draft / "rows").mkdir(parents=True)
        (draft / "INCOMPLETE").touch()
        (draft / "rows" / "0001-public.customers.copy").write_text("half")
        refused = data.load("set.incomplete", data.server.database())
        assert (refused.code, "did not end" in refused.told) == (3, True)
        assert data.sample("set").code == 0
        assert left(data) == ["set"]

    def test_two_runs_do_not_write_one_data_set(self, data: Data) -> None:
        draft = data.directory / "set.incomplete"
        draft.mkdir()
        (draft / "INCOMPLETE").touch()
        other = os.open(draft, os.O_RDONLY)
        fcntl.flock(other, fcntl.LOCK_EX)
        try:
            refused = data.sample("set")
        finally:
            os.close(other)
        assert (refused.code, left(data)) == (3, ["set.incomplete"])
        assert "another run" in refused.told

    def test_nothing_is_written_over(self, data: Data) -> None:
        (data.directory / "set").mkdir()
        (data.directory / "set" / "mine").touch()
        refused = data.sample("set")
        assert (refused.code, "is not empty" in refused.told) == (3, True)
        assert left(data) == ["set"]

    def test_no_value_of_a_masked_column_reaches_the_disk(
        self, data: Data, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        seen: list[bytes] = []
        spool = tmp_path / "spool"
        spool.mkdir()
        monkeypatch.setenv("TMPDIR", str(spool))
        finish, directory = data_set.finish, data.directory / "set.incomplete"

        def look(*given: Any) -> None:
            finish(*given)
            seen.extend(
                it.read_bytes() for it in [*directory.rglob("*"), *spool.rglob("*")] if it.is_file()
            )

        monkeypatch.setattr(data_set, "finish", look)
        assert data.sample("set").code == 0
        assert len(seen) > 6
        assert not any(b"@real.example" in it or b"body 1" in it for it in seen)
