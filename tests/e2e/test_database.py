"""The service with a database outside the cluster: migrated, gone back from, away, never lost.

The tests run in order on one stack. Reads and writes do not stop meanwhile.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from lab import database, settings
from lab.command import wait_until
from tests.e2e import github_server
from tests.e2e.data_traffic import writing
from tests.e2e.pipeline_stand import KUBECONFIG, passed, pull_request, runner
from tests.e2e.release_history import current
from tests.e2e.stand import ROOT
from tests.e2e.stored_stand import GATE, SHORT, STACK, Stored, stored_stand
from tests.series import every

BAKED_SECONDS = 15
"""Long enough for a database to go away while the gate judges."""
LATE_SECONDS = 30
"""So long a pod that waits for its database is let wait, where that is what is looked at."""
SECONDS = 180
DEATHS = int(os.environ.get("AEGIS_DEATHS", "1"))
SEED = int(os.environ.get("AEGIS_SEED", "4"))
"""As in `test_recover.py`: `make deaths` has more."""
_TO_MIGRATE = 20.0
"""Within so many seconds a deploy begins and ends its migration, or is past it."""


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stored]:
    """The program, told of a new and empty database."""
    with stored_stand(tmp_path_factory.mktemp("stored"), "stored") as it:
        yield it


def _pods(stored: Stored) -> dict[str, int]:
    """The service's pods by name, each with how often its containers started anew."""
    which = "app.kubernetes.io/name=aegis-api"
    found = stored.at.cluster.objects("pods", stored.namespace, which)
    return {
        it["metadata"]["name"]: sum(c["restartCount"] for c in it["status"]["containerStatuses"])
        for it in found
        if "deletionTimestamp" not in it["metadata"]
    }


def _deployment(stored: Stored) -> dict[str, Any]:
    return stored.at.live("deployment", "aegis-api", stored.namespace)


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
    shown = stored.at.kubectl(
        "--namespace", stored.namespace, "get", "all,configmaps", "-o", "yaml"
    )
    assert stored.password not in shown.output


@every
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
    kept, before = main.read_bytes(), stored.says()["schema"]["head"]
    stored.adds(before + 1, 'op.add_column("records", sa.Column("more", sa.Text))')
    main.write_bytes(b'raise SystemExit("boom: of a test")\n')
    stored.commit()
    with stored.loaded():
        failed = stored.told("deploy", "--yes", expect=4)
    main.write_bytes(kept)
    assert "boom: of a test" in failed["error"]["why"]
    assert stored.schema() == (before + 1, 0), "no downgrade is ever run"
    assert stored.says()["schema"]["head"] == before
    assert stored.told("status")["database"] == {"revision": before + 1, "leastHead": 0}


@every
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
            ready = _deployment(stored)["status"]["readyReplicas"]
            assert ready == len(before), "all would go at once"
            assert stored.says()["version"], "what needs no data is answered"
        finally:
            database.start(settings.load(os.environ, ROOT))
        so_far = len(written.acknowledged)
        wait_until(
            lambda: len(written.acknowledged) > so_far + 20, what="it serves again", timeout=SECONDS
        )
    stored.require_kept(written)
    assert _pods(stored) == before, "none was started anew"


@contextmanager
def _deploying(stored: Stored) -> Iterator[subprocess.Popen[str]]:
    """`aegis deploy` in the background; its document is what it writes."""
    words = ("aegis", "deploy", "--yes", "--json", *STACK)
    here: dict[str, Any] = {"cwd": stored.at.directory, "env": stored.at.environment, "text": True}
    with subprocess.Popen(
        words, **here, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as deploying:
        yield deploying


@every
def test_recover_judges_what_the_gate_could_tell_nothing_of_once_the_database_is_back(
    stored: Stored,
) -> None:
    stored.bakes(BAKED_SECONDS)
    stored.commit()
    generation, _ = _rollout(stored)
    with _deploying(stored) as deploying:
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


def test_a_database_that_goes_in_the_middle_of_a_rollout_is_nobody_s_fault(
    stored: Stored,
) -> None:
    before, serving = current(stored.at, "staging"), stored.says()["gitSha"]
    # What a rollback brought back goes by the number that it had.
    good = before["restores"] or before["number"]
    # The first new pod is to be ready, and every old one to be there still, when it goes.
    stored.asks("minReadySeconds", LATE_SECONDS)
    stored.asks("gate.unreadySeconds", LATE_SECONDS)
    stored.commit()
    with _deploying(stored) as deploying:
        wait_until(lambda: _is_first_ready(stored), what="its first pod", timeout=SECONDS)
        database.stop(settings.load(os.environ, ROOT))
        try:
            failed = json.loads(deploying.communicate(timeout=2 * SECONDS)[0])["error"]
        finally:
            database.start(settings.load(os.environ, ROOT))
    assert deploying.returncode == 1
    assert failed["what"] == (
        f"the database of staging stopped answering during the rollback to release {good}"
    ), failed
    assert "while the database was away, as pods say that are ready: " in failed["why"]
    assert "whether what serves works with its data is not known; " in failed["state"]
    assert failed["next"] == "once it answers: aegis recover --stack staging"
    recovered = stored.told("recover")
    assert (recovered["action"], recovered["target"]) == ("restore", good)
    assert stored.told("status")["release"]["verified"]
    assert stored.says()["gitSha"] == serving
    stored.asks("minReadySeconds", SHORT["minReadySeconds"])
    stored.asks("gate.unreadySeconds", GATE["unreadySeconds"])
    # None is held to be bad, so that nobody has to insist.
    after = [it for it in stored.told("history")["releases"] if it["number"] > before["number"]]
    assert after
    assert not [it for it in after if it["refused"]]


def _is_first_ready(stored: Stored) -> bool:
    """Whether the pods of two releases are ready, the new one's not for long enough."""
    found = _deployment(stored)
    wanted, status = found["spec"]["replicas"], found["status"]
    return bool(status.get("updatedReplicas") == 1 and status.get("readyReplicas") == wanted + 1)


def _rollout(stored: Stored, after: int = 0) -> tuple[int, bool]:
    """The Deployment's generation, and whether the rollout of one after another is complete."""
    found = _deployment(stored)
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


@every
def test_a_pull_request_is_told_what_its_migrations_do_and_whether_what_runs_still_works(
    stored: Stored, tmp_path: Path
) -> None:
    number = stored.schema()[0] + 1
    stored.adds(number, 'op.add_column("records", sa.Column("requested", sa.Text))')
    stored.permit("CREATEDB")
    try:
        with github_server.serve() as github:
            values = {**pull_request(7), "vars.AEGIS_REHEARSE": "staging"}
            job = runner(stored.at, github, "ci-cd.yaml", values)
            job.values = {**job.values, "secrets.KUBECONFIG_REHEARSE": job.values[KUBECONFIG]}
            passed(job.run("rehearse", tmp_path))
            (comment,) = github.comments
    finally:
        stored.permit("NOCREATEDB")
    assert f"**staging** rehearsed {number - 1} " in comment["body"]
    assert "requested" in comment["body"]
    assert "what runs reads and writes on it" in comment["body"]
    assert stored.password not in comment["body"]
    assert stored.schema()[0] == number - 1
    assert stored.query("SELECT 1 FROM pg_database WHERE datname LIKE 'rehearsal_of_%'") == []


@every
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
    # What runs is of the same code: it is tried on what its contract leaves.
    probe = said["probe"]
    assert (probe["code"], probe["database"]) == ({"head": number, "least": 1}, said["after"])
    assert probe["failed"] is None
    # Before it is known by the statement, too, and nothing has happened yet.
    assert "locks: ACCESS EXCLUSIVE on records: reads and writes wait" in planned
    assert stored.schema()[0] == number - 1
    assert stored.query("SELECT count(more) FROM records")
    assert stored.query("SELECT 1 FROM pg_database WHERE datname LIKE 'rehearsal_of_%'") == []
    assert stored.told("migrate", "contract", "--yes")["changed"]
    assert stored.schema() == (number, 2)
