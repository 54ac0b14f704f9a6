"""The service with a database outside the cluster: migrated, gone back from, away, never lost.

The tests run in order on one stack. Reads and writes do not stop meanwhile.
"""

from __future__ import annotations

import json
import os
import random
import secrets
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import httpx
import psycopg
import pytest
import yaml

from lab import database, settings
from lab.command import wait_until
from tests.e2e.data_traffic import Written, writing
from tests.e2e.running import below
from tests.e2e.stand import ROOT, Finished, Stand, execute, stand
from tests.e2e.traffic import traffic

PROJECT = "stored"
NAMESPACE = f"{PROJECT}-staging"
STACK = ("--stack", "staging")
SHORT = {"minReadySeconds": 1, "preStopSeconds": 2, "drainSeconds": 5}
GATE = {"bakeSeconds": 2, "unreadySeconds": 300, "p99Ms": 60_000}
"""How soon a busy machine starts a pod and answers is nothing of a release's."""
BAKED_SECONDS = 15
"""Long enough for a database to go away while the gate judges."""
SECONDS = 180
DEATHS = int(os.environ.get("AEGIS_DEATHS", "1"))
SEED = int(os.environ.get("AEGIS_SEED", "4"))
"""As in `test_recover.py`: `make deaths` has more."""
_TO_MIGRATE = 20.0
"""Within so many seconds a deploy begins and ends its migration, or is past it."""
REVISION = '''"""{about}"""

import sqlalchemy as sa
from alembic import op

revision = "{number:04}"
down_revision = "{before:04}"
kind = {kind}


def upgrade() -> None:
    """{about}"""
    {does}
'''


@dataclass(frozen=True)
class Stored:
    """The program with a database of its own.

    Attributes:
        at: The program.
        server: The lab's PostgreSQL.
        name: The database, and the role that owns it.
        password: That role's.
    """

    at: Stand
    server: database.Server
    name: str
    password: str

    def aegis(self, *words: str, expect: int = 0) -> Finished:
        """Run `aegis`; the password is in nothing that it prints."""
        done = execute("aegis", *words, *STACK, cwd=self.at.directory, env=self.at.environment)
        assert done.code == expect, f"aegis {' '.join(words)}: {done.code}\n{done.output}"
        assert "Traceback" not in done.output
        assert self.password not in done.output
        return done

    def told(self, *words: str, expect: int = 0) -> Any:
        """Run `aegis`; return its document."""
        return json.loads(self.aegis(*words, "--json", expect=expect).standard_output)

    def dies(self, after: float) -> None:
        """Deploy, and kill whoever does it with all that it started, after some seconds."""
        words = ("aegis", "deploy", "--yes", *STACK)
        with subprocess.Popen(
            words,
            cwd=self.at.directory,
            env=self.at.environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        ) as process:
            with suppress(subprocess.TimeoutExpired):
                process.wait(timeout=after)
            for pid in (process.pid, *below(process.pid)):
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)

    def query(self, statement: str) -> list[tuple[Any, ...]]:
        """Ask the database, as its superuser."""
        address = self.server.url(self.name)
        options: dict[str, Any] = {
            "sslmode": "verify-full",
            "sslrootcert": str(self.server.authority),
        }
        with psycopg.connect(address, autocommit=True, **options) as connection:
            return connection.execute(statement.encode()).fetchall()

    def permit(self, what: str) -> None:
        """Change what the service's role may, as the server's superuser."""
        options: dict[str, Any] = {
            "sslmode": "verify-full",
            "sslrootcert": str(self.server.authority),
        }
        with psycopg.connect(self.server.url(), autocommit=True, **options) as connection:
            connection.execute(f"ALTER ROLE {self.name} {what}".encode())

    def schema(self) -> tuple[int, int]:
        """The database's revision, and the least head of code that works with it."""
        ((revision, least),) = self.query("SELECT revision, least_head FROM aegis_schema")
        return revision, least

    def adds(
        self, number: int, does: str, about: str = "Of a test.", kind: str = '"expand"'
    ) -> None:
        """Add a revision to the service's code, as a developer does."""
        migrations = self.at.directory / "app" / "migrations"
        for old in (migrations / "versions").glob(f"r{number:04}_*.py"):
            old.unlink()
        text = REVISION.format(number=number, before=number - 1, does=does, about=about, kind=kind)
        (migrations / "versions" / f"r{number:04}_of_a_test.py").write_text(text)
        (migrations / "schema.json").write_text(json.dumps({"head": number, "least": 1}))

    def bakes(self, seconds: int) -> None:
        """Choose how long the gate looks at a release."""
        name = f"{PROJECT}:gate.bakeSeconds"
        self.at.pulumi("config", "set", "--path", name, str(seconds), *STACK)

    def commit(self) -> None:
        """Give the next image a tag of its own."""
        self.at.environment["AEGIS_GIT_SHA"] = secrets.token_hex(20)

    def says(self) -> dict[str, Any]:
        """What the service says of itself."""
        found: dict[str, Any] = httpx.get(f"{self.url}/version", trust_env=False).json()
        return found

    @property
    def url(self) -> str:
        """Where the service answers."""
        return self.at.address(NAMESPACE)

    @contextmanager
    def loaded(self) -> Iterator[Written]:
        """Read and write while the block runs: no request fails, what was acknowledged is there."""
        with traffic(self.url, watched="gitSha") as seen, writing(self.url) as written:
            yield written
        assert seen.failures == []
        assert set(seen.answers) == {200}
        self.require_kept(written)

    def require_kept(self, written: Written) -> None:
        """Require that nothing failed, and that each acknowledged record is there, and once."""
        assert written.failures == []
        assert written.acknowledged
        kept = [row[0] for row in self.query("SELECT name FROM records WHERE name LIKE 'load-%'")]
        assert len(kept) == len(set(kept)), "none was created twice"
        assert set(written.acknowledged) <= set(kept), "none that was acknowledged is lost"


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stored]:
    """The program, told of a new and empty database."""
    server = database.start(settings.load(os.environ, ROOT))
    name, password = f"stored_{secrets.token_hex(4)}", secrets.token_urlsafe(16)
    options: dict[str, Any] = {"sslmode": "verify-full", "sslrootcert": str(server.authority)}
    with psycopg.connect(server.url(), autocommit=True, **options) as connection:
        connection.execute(f"CREATE ROLE {name} LOGIN PASSWORD '{password}'".encode())
        connection.execute(f"CREATE DATABASE {name} OWNER {name}".encode())
    with stand(tmp_path_factory.mktemp("stored"), PROJECT) as at:
        it = Stored(at, server, name, password)
        shutil.copy(server.authority, at.directory / "database-ca.pem")
        at.pulumi("stack", "init", "staging")
        at.stacks.append("staging")
        file = at.directory / "Pulumi.staging.yaml"
        content = yaml.safe_load(file.read_text())
        content["config"].update({f"{PROJECT}:{key}": value for key, value in SHORT.items()})
        content["config"][f"{PROJECT}:databaseCa"] = "database-ca.pem"
        content["config"][f"{PROJECT}:gate"].update(GATE)
        file.write_text(yaml.safe_dump(content))
        address = server.url(name, name, password)
        at.pulumi("config", "set", "--secret", f"{PROJECT}:database", address, *STACK)
        yield it
    with psycopg.connect(server.url(), autocommit=True, **options) as connection:
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())
        connection.execute(f"DROP ROLE {name}".encode())


def _pods(stored: Stored) -> dict[str, int]:
    """The service's pods by name, each with how often its containers started anew."""
    where = ("--namespace", NAMESPACE, "get", "pods", "-l", "app.kubernetes.io/name=aegis-api")
    found = json.loads(stored.at.kubectl(*where, "--output", "json").standard_output)["items"]
    return {
        it["metadata"]["name"]: sum(c["restartCount"] for c in it["status"]["containerStatuses"])
        for it in found
        if "deletionTimestamp" not in it["metadata"]
    }


def test_a_database_that_cannot_be_reached_fails_the_first_deploy_and_the_next_goes_on(
    stored: Stored,
) -> None:
    database.stop(settings.load(os.environ, ROOT))
    try:
        failed = stored.told("deploy", "--yes", expect=1)
        assert "migrate" in failed["error"]["why"]
    finally:
        database.start(settings.load(os.environ, ROOT))
    assert stored.told("deploy", "--yes")["gate"]["passed"]
    assert stored.schema() == (1, 0)


def test_the_service_serves_from_it_over_tls_and_says_which_schema_it_has(stored: Stored) -> None:
    said = stored.says()
    assert said["schema"] == {"head": 1, "least": 1}
    assert said["database"] == {"revision": 1, "leastHead": 0}
    encrypted = stored.query(
        "SELECT DISTINCT ssl FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) "  # noqa: S608
        f"WHERE usename = '{stored.name}'"
    )
    assert encrypted == [(True,)]
    with stored.loaded() as written:
        wait_until(lambda: len(written.acknowledged) > 20, what="some writes", timeout=SECONDS)
    shown = stored.at.kubectl("--namespace", NAMESPACE, "get", "all,configmaps", "-o", "yaml")
    assert stored.password not in shown.output


def test_an_expand_is_deployed_under_load_with_nothing_lost(stored: Stored) -> None:
    stored.adds(2, 'op.add_column("records", sa.Column("note", sa.Text))')
    stored.commit()
    with stored.loaded():
        told = stored.told("deploy", "--yes")
    assert told["gate"]["passed"]
    assert stored.schema() == (2, 0)
    assert stored.says()["schema"]["head"] == 2


def test_a_bad_release_after_its_expand_goes_back_under_load_and_the_schema_stays(
    stored: Stored,
) -> None:
    main = stored.at.directory / "app" / "__main__.py"
    kept = main.read_bytes()
    stored.adds(3, 'op.add_column("records", sa.Column("more", sa.Text))')
    main.write_bytes(b'raise SystemExit("boom: of a test")\n')
    stored.commit()
    with stored.loaded():
        failed = stored.told("deploy", "--yes", expect=4)
    main.write_bytes(kept)
    assert "boom: of a test" in failed["error"]["why"]
    assert stored.schema() == (3, 0), "no downgrade is ever run"
    assert stored.says()["schema"]["head"] == 2
    assert stored.told("status")["database"] == {"revision": 3, "leastHead": 0}


def test_a_migration_that_fails_half_way_leaves_the_release_serving_and_the_next_goes_on(
    stored: Stored,
) -> None:
    broken = 'op.execute("CREATE TABLE half (a int)"); op.execute("SELECT nothing_of_that_name")'
    stored.adds(4, broken)
    stored.commit()
    before = _pods(stored)
    with stored.loaded():
        failed = stored.told("deploy", "--yes", expect=4)
    assert 'column "nothing_of_that_name" does not exist' in failed["error"]["why"]
    assert stored.schema() == (3, 0)
    assert stored.query("SELECT to_regclass('half')") == [(None,)], "no half of it is there"
    assert _pods(stored) == before, "no pod of the release was touched"

    stored.adds(4, 'op.execute("CREATE TABLE whole (a int)")')
    stored.commit()
    with stored.loaded():
        assert stored.told("deploy", "--yes")["gate"]["passed"]
    assert stored.schema() == (4, 0)


def test_a_database_that_is_away_takes_no_pod_out_and_comes_back_by_itself(stored: Stored) -> None:
    before = _pods(stored)
    with writing(stored.url) as written:
        wait_until(lambda: len(written.acknowledged) > 5, what="some writes", timeout=SECONDS)
        database.stop(settings.load(os.environ, ROOT))
        try:
            wait_until(lambda: written.refused > 5, what="some refusals", timeout=SECONDS)
            where = ("get", "deployment", "aegis-api", "-o", "jsonpath={.status.readyReplicas}")
            ready = stored.at.kubectl("--namespace", NAMESPACE, *where).standard_output
            assert int(ready) == len(before), "all would go at once"
            assert stored.says()["version"], "what needs no data is answered"
        finally:
            database.start(settings.load(os.environ, ROOT))
        so_far = len(written.acknowledged)
        wait_until(
            lambda: len(written.acknowledged) > so_far + 20, what="it serves again", timeout=SECONDS
        )
    stored.require_kept(written)
    assert _pods(stored) == before, "none was started anew"


def test_recover_judges_what_the_gate_could_tell_nothing_of_once_the_database_is_back(
    stored: Stored,
) -> None:
    stored.bakes(BAKED_SECONDS)
    stored.commit()
    generation, _ = _rollout(stored)
    words = ("aegis", "deploy", "--yes", "--json", *STACK)
    here: dict[str, Any] = {"cwd": stored.at.directory, "env": stored.at.environment, "text": True}
    with subprocess.Popen(
        words, **here, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as deploying:
        # Before it is complete no new pod would become ready, which is told from this.
        wait_until(
            lambda: _rollout(stored, after=generation)[1], what="its rollout", timeout=SECONDS
        )
        database.stop(settings.load(os.environ, ROOT))
        try:
            failed = json.loads(deploying.communicate(timeout=2 * SECONDS)[0])
            assert deploying.returncode == 1
            still = stored.told("recover", expect=1)
        finally:
            database.start(settings.load(os.environ, ROOT))
    for told in (failed["error"], still["error"]):
        assert told["what"].startswith("the database of staging stopped answering ")
        assert told["next"] == "once it answers: aegis recover --stack staging"
        assert "nothing was undone" in told["state"]
    assert not stored.told("status")["release"]["verified"]
    recovered = stored.told("recover")
    assert (recovered["action"], recovered["rollback"]) == ("judge", None)
    now = stored.told("status")["release"]
    assert (now["verified"], now["number"]) == (True, recovered["target"])
    assert stored.says()["gitSha"] == stored.at.environment["AEGIS_GIT_SHA"]
    stored.bakes(GATE["bakeSeconds"])


def _rollout(stored: Stored, after: int = 0) -> tuple[int, bool]:
    """The Deployment's generation, and whether the rollout of one after another is complete."""
    where = ("--namespace", NAMESPACE, "get", "deployment", "aegis-api", "--output", "json")
    found = json.loads(stored.at.kubectl(*where).standard_output)
    generation, status = found["metadata"]["generation"], found["status"]
    wanted = {"updatedReplicas", "readyReplicas", "replicas"}
    counts = {status.get(it) for it in wanted}
    whole = status["observedGeneration"] == generation and counts == {found["spec"]["replicas"]}
    return generation, whole and generation > after


@pytest.mark.skipif(DEATHS == 0, reason="AEGIS_DEATHS is 0")
def test_a_deployer_that_dies_around_its_migration_loses_nothing(stored: Stored) -> None:
    chance = random.Random(f"{SEED} migration")  # noqa: S311 - to be repeated, not to be secret
    for death in range(DEATHS):
        number = stored.schema()[0] + 1
        column = f'op.add_column("records", sa.Column("of_death_{death}", sa.Text))'
        stored.adds(number, f'op.execute("SELECT pg_sleep(2)"); {column}')
        stored.commit()
        before = stored.says()["schema"]["head"]
        # Before its Job, while that waits and works, and in the rollout after it.
        after = _TO_MIGRATE * chance.random()
        with stored.loaded():
            stored.dies(after)
            recovered = stored.told("recover")
        told = f"death {death}, {after:.1f} s in: {recovered}"
        assert stored.told("status")["release"]["verified"], told
        revision, least = stored.schema()
        assert (revision in (number - 1, number), least) == (True, 0), told
        assert stored.says()["schema"]["head"] in (before, number), told
        with stored.loaded():
            assert stored.told("deploy", "--yes", "--force")["gate"]["passed"], told
        assert stored.schema() == (number, 0), told
        assert stored.says()["schema"]["head"] == number, told


def test_a_contract_is_rehearsed_on_a_copy_under_load_and_nothing_of_it_is_left(
    stored: Stored,
) -> None:
    number = stored.schema()[0] + 1
    contracts = '"contract"; least_head = 2'
    stored.adds(number, 'op.drop_column("records", "more")', kind=contracts)
    stored.commit()
    with stored.loaded():
        assert stored.told("deploy", "--yes")["gate"]["passed"]
        refused = stored.told("migrate", "rehearse", expect=3)
        assert "may not create databases" in refused["error"]["why"]
        stored.permit("CREATEDB")
        said = stored.told("migrate", "rehearse")["rehearsal"]
        stored.permit("NOCREATEDB")
        planned = stored.aegis("migrate", "contract", "--preview").output
    (drops,) = [it for it in said["statements"] if "DROP COLUMN more" in it["sql"]]
    assert drops["locks"] == [{"table": "records", "mode": "ACCESS EXCLUSIVE"}]
    assert (said["failed"], said["copied"]["left"]) == (None, [])
    assert said["copied"]["rows"] > 0
    # Before it is known by the statement, too, and nothing has happened yet.
    assert "locks: ACCESS EXCLUSIVE on records: reads and writes wait" in planned
    assert stored.schema()[0] == number - 1
    assert stored.query("SELECT count(more) FROM records")
    assert stored.query("SELECT 1 FROM pg_database WHERE datname LIKE 'rehearsal_of_%'") == []
    assert stored.told("migrate", "contract", "--yes")["changed"]
    assert stored.schema() == (number, 2)
