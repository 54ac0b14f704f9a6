"""The service on a real PostgreSQL: what it keeps, and what it says while its database is away."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from aegis_deploy.model.database.data_probes import AWAY, excuse
from tests.integration.databases import (
    PASSWORD,
    Database,
    PostgresServer,
    Service,
    service,
)
from tests.integration.waiting import SECONDS, wait_until

pytestmark = pytest.mark.integration


@dataclass(frozen=True)
class Served:
    """The service on a database of a test's own, which is migrated, and a client of it."""

    service: Service
    http: httpx.Client
    database: Database

    def create(self, key: str, **draft: object) -> httpx.Response:
        body = {"name": "one", **draft}
        return self.http.post("/v1/records", json=body, headers={"Idempotency-Key": key})

    def count(self, table: str) -> int:
        (row,) = self.database.query(f"SELECT count(*) FROM {table}")  # noqa: S608
        return int(row[0])


@pytest.fixture
def served(server: PostgresServer, tmp_path: Path) -> Iterator[Served]:
    database = server.migrated()
    with (
        service(database, tmp_path / "log") as running,
        httpx.Client(base_url=f"http://127.0.0.1:{running.port}", timeout=SECONDS) as http,
    ):
        wait_until(lambda: http.get("/readyz").status_code == 200, "the service is not ready")
        yield Served(running, http, database)


class TestRecords:
    """What is acknowledged is kept, once, and read back."""

    def test_one_that_was_created_is_read_and_changed(self, served: Served) -> None:
        address = {"line": "세종대로 110", "city": "서울", "postal_code": "04524"}
        customer = {"name": "홍길동", "email": "Gildong@Example.org", "address": address}
        made = served.create("a", name=" 첫째 ", tags=["b", "a", "b"], customer=customer)
        assert made.status_code == 201
        record = made.json()
        where = made.headers["Location"]
        assert where == f"/v1/records/{record['id']}"
        assert (record["name"], record["tags"], record["version"]) == ("첫째", ["a", "b"], 1)
        read = served.http.get(where)
        assert (read.json(), read.headers["ETag"]) == (record, '"1"')

        changed = served.http.patch(
            where, json={"status": "closed", "tags": ["c"]}, headers={"If-Match": '"1"'}
        ).json()
        assert (changed["status"], changed["tags"], changed["version"]) == ("closed", ["c"], 2)
        assert (changed["name"], changed["createdAt"]) == ("첫째", record["createdAt"])
        late = served.http.patch(where, json={"name": "x"}, headers={"If-Match": '"1"'})
        assert (late.status_code, late.json()["type"]) == (
            412,
            "urn:aegis:problem:changed-meanwhile",
        )
        assert served.http.get(where).json() == changed

        assert served.database.query("SELECT email FROM customers") == [("gildong@example.org",)]
        assert served.count("addresses") == 1
        assert served.database.query("SELECT kind, detail FROM record_events ORDER BY id") == [
            ("created", {"fields": []}),
            ("changed", {"fields": ["status", "tags"]}),
        ]

    def test_a_key_makes_one_however_often_it_is_sent(self, served: Served) -> None:
        first = served.create("k", name="one")
        again = served.create("k", name="one")
        other = served.create("k", name="two")
        assert (again.status_code, again.json()) == (201, first.json())
        assert "Idempotency-Replayed" not in first.headers
        assert again.headers["Idempotency-Replayed"] == "true"
        assert (other.status_code, other.json()["type"]) == (422, "urn:aegis:problem:key-used")
        assert served.count("records") == 1

    def test_a_key_makes_one_when_many_send_it_at_once(self, served: Served) -> None:
        at_once = threading.Barrier(8)

        def send(number: int) -> httpx.Response:
            at_once.wait(SECONDS)
            return served.create(f"k{number % 2}", tags=["a", "b"][:: 1 - 2 * (number % 2)])

        with ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(send, range(8)))
        assert {it.status_code for it in answers} == {201}
        assert len({it.json()["id"] for it in answers}) == 2
        assert served.count("records") == 2

    def test_a_key_whose_create_failed_may_be_used_again(self, served: Served) -> None:
        served.database.execute("ALTER TABLE record_events RENAME TO away")
        assert served.create("k").status_code == 500
        served.database.execute("ALTER TABLE away RENAME TO record_events")
        assert served.create("k").status_code == 201
        assert served.count("records") == 1

    def test_pages_have_every_record_once(self, served: Served) -> None:
        made = [served.create(f"k{n}", name=f"n{n}").json()["id"] for n in range(5)]
        seen, cursor = [], ""
        while True:
            page = served.http.get(f"/v1/records?limit=2{cursor}").json()
            seen += [it["id"] for it in page["items"]]
            if page["nextCursor"] is None:
                break
            cursor = f"&cursor={page['nextCursor']}"
        assert seen == made

    @pytest.mark.parametrize("method", ["GET", "PATCH"])
    def test_one_that_is_not_there_is_told(self, served: Served, method: str) -> None:
        for name in ("rec_00000009", "rec_00000000", "rec_9", "x%00"):
            answer = served.http.request(method, f"/v1/records/{name}", json={"name": "x"})
            told = (answer.status_code, answer.json()["type"])
            assert told == (404, "urn:aegis:problem:no-record"), name


TABLES = ("records", "record_events", "record_tags", "tags", "customers", "addresses")


class TestProbe:
    """What a gate asks: data is read and written as clients do it, and nothing of it is left."""

    def left(self, served: Served) -> dict[str, int]:
        return {it: served.count(it) for it in (*TABLES, "idempotency_keys")}

    def test_writes_reads_back_and_leaves_nothing(self, served: Served) -> None:
        kept = served.create("k", tags=["a"]).json()
        before = self.left(served)
        at_once = threading.Barrier(8)

        def send(number: int) -> httpx.Response:
            at_once.wait(SECONDS)
            return served.http.request("GET" if number % 2 else "POST", "/probe")

        with ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(send, range(8)))
        assert [it.status_code for it in answers] == [200] * 8, [it.text for it in answers]
        assert [it.json()["data"] for it in answers] == ["written", "read"] * 4
        assert self.left(served) == before
        assert [it["id"] for it in served.http.get("/v1/records").json()["items"]] == [kept["id"]]

    @pytest.mark.parametrize("table", TABLES)
    def test_is_refused_where_clients_writes_are(self, served: Served, table: str) -> None:
        served.database.execute(f"REVOKE INSERT ON {table} FROM {served.database.name}")
        answer = served.http.post("/probe")
        assert (answer.status_code, answer.json()["status"]) == (500, 500)
        assert served.http.get("/probe").status_code == 200

    def test_is_refused_where_reads_are(self, served: Served) -> None:
        served.database.execute("ALTER TABLE records RENAME name TO title")
        assert served.http.get("/probe").status_code == 500

    def test_finds_out_what_is_checked_at_a_commit_only(self, served: Served) -> None:
        served.database.execute(
            "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS"
            " $$ BEGIN RAISE 'refused at the end'; END $$;"
            "CREATE CONSTRAINT TRIGGER refuse AFTER INSERT ON records DEFERRABLE INITIALLY DEFERRED"
            " FOR EACH ROW EXECUTE FUNCTION refuse()"
        )
        assert served.create("k").status_code == 500
        assert served.http.post("/probe").status_code == 500

    def test_commits_so_that_a_database_that_cannot_is_found_out(self, served: Served) -> None:
        # A transaction that wrote and only gave that up is one of which a log says it committed.
        (before,) = served.database.query("SELECT txid_current()")
        assert served.http.post("/probe").status_code == 200
        (after,) = served.database.query("SELECT txid_current()")
        own = range(int(before[0]) + 1, int(after[0]))
        states = [served.database.query(f"SELECT txid_status({it})")[0][0] for it in own]
        assert "committed" in states

    def test_one_that_is_cut_off_in_its_middle_leaves_nothing(self, served: Served) -> None:
        before = self.left(served)
        with (
            ThreadPoolExecutor(1) as pool,
            served.database.server.connect(served.database.name) as holder,
        ):
            with holder.transaction():
                # It waits here, with everything but its event written.
                holder.execute("LOCK TABLE record_events IN EXCLUSIVE MODE")
                asked = pool.submit(served.http.post, "/probe")

                def waits() -> bool:
                    return bool(
                        served.database.query(
                            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                            " WHERE datname = current_database() AND wait_event_type = 'Lock'"
                        )
                    )

                wait_until(waits, "the probe does not get to its event")
            answer = asked.result(SECONDS)
        assert answer.status_code == 503
        assert answer.json()["type"] == "urn:aegis:problem:database-away"
        assert self.left(served) == before


class TestADatabaseThatIsAway:
    """Data paths answer 503 and when to ask again; no pod leaves, and it heals by itself."""

    def test_takes_no_pod_out_and_heals_by_itself(self, served: Served) -> None:
        kept = served.create("before").json()
        served.database.server.stop()
        try:
            for answer in (
                served.http.get("/v1/records"),
                served.create("meanwhile"),
                served.http.patch(f"/v1/records/{kept['id']}", json={"name": "x"}),
                served.http.get("/probe"),
                served.http.post("/probe"),
            ):
                assert answer.status_code == 503
                assert answer.json()["type"] == "urn:aegis:problem:database-away"
                assert answer.headers["Retry-After"] == "1"
                # By these very words a gate knows that it is no fault of the release.
                assert excuse(answer.status_code, answer.content, proxied=False) == AWAY
                assert PASSWORD not in answer.text
            wait_until(
                lambda: "aegis_database_up 0.0" in served.http.get("/metrics").text,
                "the service does not notice",
            )
            assert served.http.get("/readyz").status_code == 200
            assert served.http.get("/livez").status_code == 200
        finally:
            served.database.server.start()
        # The first request after it: every connection of the pool was cut off.
        assert served.create("meanwhile").status_code == 201
        assert [it["id"] for it in served.http.get("/v1/records").json()["items"]] == [
            kept["id"],
            served.create("meanwhile").json()["id"],
        ]

    def test_one_whose_connections_were_ended_is_asked_without_a_failure(
        self, served: Served
    ) -> None:
        with ThreadPoolExecutor(8) as pool:
            for round_ in range(5):
                assert served.database.cut_off() > 0
                keys = [f"k{round_}-{n}" for n in range(8)]
                assert {it.status_code for it in pool.map(served.create, keys)} == {201}
        assert served.count("records") == 40

    def test_what_holds_a_row_for_too_long_is_told_from_that(self, served: Served) -> None:
        record = served.create("k").json()
        with served.database.server.connect(served.database.name) as holder, holder.transaction():
            holder.execute("SELECT 1 FROM records FOR UPDATE")
            answer = served.http.patch(f"/v1/records/{record['id']}", json={"name": "x"})
        assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1")
        assert answer.json()["type"] == "urn:aegis:problem:database-busy"
        again = served.http.patch(f"/v1/records/{record['id']}", json={"name": "x"})
        assert again.status_code == 200

    def test_a_commit_is_on_disk_whatever_its_role_was_set_to(self, served: Served) -> None:
        name = served.database.name
        served.database.execute(f"ALTER ROLE {name} SET synchronous_commit = off")
        served.database.cut_off()
        # Its transactions say with what they were committed.
        served.database.execute(
            "ALTER TABLE record_events ALTER detail SET DEFAULT '{}';"
            "CREATE FUNCTION said() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.detail :="
            " to_jsonb(current_setting('synchronous_commit')); RETURN NEW; END $$;"
            "CREATE TRIGGER said BEFORE INSERT ON record_events FOR EACH ROW"
            " EXECUTE FUNCTION said()"
        )
        assert served.create("k").status_code == 201
        assert served.database.query("SELECT detail FROM record_events") == [("on",)]


class TestReadiness:
    """Ready once the database was reached and fits; no later one takes it away."""

    def test_waits_for_the_database_and_for_its_schema(
        self, server: PostgresServer, tmp_path: Path
    ) -> None:
        database = server.database()
        with (
            service(database, tmp_path / "log") as running,
            httpx.Client(base_url=f"http://127.0.0.1:{running.port}", timeout=SECONDS) as http,
        ):

            def says(words: str) -> bool:
                answer = http.get("/readyz")
                return answer.status_code == 503 and words in answer.json()["detail"]

            wait_until(
                lambda: says("is at revision 0, and this code needs at least 1"),
                "it does not say what it waits for",
            )
            assert database.migrate().returncode == 0
            wait_until(lambda: http.get("/readyz").status_code == 200, "it is not ready")
            assert http.get("/version").json()["database"] == {"revision": 1, "leastHead": 0}
            # A contract that was run too early is a mistake that must not take all pods at once.
            database.execute("UPDATE aegis_schema SET revision = 9, least_head = 9")
            wait_until(
                lambda: any("was removed" in str(it.get("why")) for it in running.lines()),
                "it does not say that it no longer fits",
            )
            assert http.get("/readyz").status_code == 200
            assert http.get("/version").json()["database"] == {"revision": 9, "leastHead": 9}
            assert PASSWORD not in str(running.lines())

    @pytest.mark.parametrize(
        ("statement", "why"),
        [
            ("UPDATE aegis_schema SET least_head = 2", "works with code of revision 2 or later"),
            ("UPDATE aegis_schema SET service = 'shop'", "the database is that of shop"),
            ("REVOKE ALL ON aegis_schema FROM {name}", "permission denied for table aegis_schema"),
            ("ALTER ROLE {name} PASSWORD 'another'", "password authentication failed"),
            ("ALTER ROLE {name} NOLOGIN", "is not permitted to log in"),
            ("ALTER ROLE {name} CONNECTION LIMIT 0", "too many connections"),
        ],
    )
    def test_is_not_for_a_database_that_cannot_be_used(
        self, server: PostgresServer, tmp_path: Path, statement: str, why: str
    ) -> None:
        database = server.database()
        assert database.migrate().returncode == 0
        database.execute(statement.format(name=database.name))
        with (
            service(database, tmp_path / "log") as running,
            httpx.Client(base_url=f"http://127.0.0.1:{running.port}", timeout=SECONDS) as http,
        ):
            wait_until(
                lambda: why in http.get("/readyz").json().get("detail", ""),
                "it does not say why",
            )
            assert http.get("/readyz").status_code == 503
            assert PASSWORD not in str(running.lines())

    def test_is_not_for_one_that_cannot_prove_who_it_is(
        self, server: PostgresServer, tmp_path: Path
    ) -> None:
        with (
            service(
                server.database(), tmp_path / "log", AEGIS_DATABASE_TLS="verify-full"
            ) as running,
            httpx.Client(base_url=f"http://127.0.0.1:{running.port}", timeout=SECONDS) as http,
        ):
            wait_until(
                lambda: "does not support SSL" in http.get("/readyz").json().get("detail", ""),
                "it does not say why",
            )
