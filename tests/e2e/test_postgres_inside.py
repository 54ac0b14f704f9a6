"""A stack with a PostgreSQL of its own: records outlive its pod, a mistake and the stack itself.

The tests of this file run in order on one stack, as a team's days do.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from aegis_deploy.data.data_set import directory as data_set
from aegis_deploy.model.database.dataset import short
from lab import images, settings
from lab.command import wait_until
from tests.e2e import plain_http
from tests.e2e.data_traffic import reading
from tests.e2e.release_history import releases
from tests.e2e.stand import CPU_REQUEST, ROOT, Finished, Stand, execute
from tests.integration import samples
from tests.integration.data_commands import Data
from tests.integration.databases import postgres_server
from tests.series import ALL, every

PROJECT = "inside"
STACK, NAMESPACE = "staging", f"{PROJECT}-staging"
BODY = {"name": "one", "customer": {"name": "A", "email": "a@example.org"}}
IN_NAMESPACE = ("--namespace", NAMESPACE)
CLAIMS = {"aegis-postgres-data", "aegis-postgres-backups"}


@pytest.fixture(scope="module")
def inside(at: Stand) -> Stand:
    """The stand, whose stack has a database of its own."""
    group = {
        "image": images.push_postgres_image(settings.load(os.environ, ROOT)),
        "storage": "256Mi",
        "backupStorage": "256Mi",
        "keepBackups": 2,
        "cpuRequest": CPU_REQUEST,
    }
    path = at.directory / f"Pulumi.{STACK}.yaml"
    config = f"config:\n  {PROJECT}:postgres: {json.dumps(group)}\n"
    path.write_text(path.read_text().replace("config:\n", config, 1))
    at.up(STACK)
    return at


@pytest.fixture(scope="module")
def taken(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Path]]:
    """Masked samples of a production, of other rows each; the second is for the long series."""
    with pytest.MonkeyPatch.context() as patch, postgres_server() as server:
        data = Data(server, tmp_path_factory.mktemp("samples"), patch)
        yield samples.take(data, {"one": 50, **({"other": 80} if ALL else {})})


def _aegis(at: Stand, *words: str, expect: int = 0) -> Finished:
    done = execute("aegis", *words, cwd=at.directory, env=at.environment)
    assert done.code == expect, done.output
    return done


def _name(directory: Path) -> str:
    return data_set.read(directory).name


def _datasets(at: Stand) -> list[str | None]:
    """The data sets of the releases, the newest first."""
    return [it["dataset"] for it in releases(at, STACK, 4)]


def _databases(at: Stand) -> set[str]:
    question = "SELECT datname FROM pg_database WHERE datname LIKE 'aegis%'"
    ask = ("exec", "aegis-postgres-0", "--", "psql", "-U", "postgres", "-tAc", question)
    return set(at.kubectl(*IN_NAMESPACE, *ask).standard_output.split())


def _http(at: Stand) -> httpx.Client:
    return plain_http.client(at.address(NAMESPACE))


def _create(at: Stand, key: str) -> str:
    with _http(at) as http:
        made = http.post("/v1/records", json=BODY, headers={"Idempotency-Key": key})
    assert made.status_code == 201, made.text
    return str(made.json()["id"])


def _records(at: Stand) -> set[str] | None:
    """The records' ids; None while the service says that its database is away."""
    with _http(at) as http:
        answer = http.get("/v1/records")
    if answer.status_code == 503:
        return None
    assert answer.status_code == 200, answer.text
    return {str(it["id"]) for it in answer.json()["items"]}


def _wait_for_records(at: Stand, expected: set[str]) -> None:
    wait_until(
        lambda: _records(at) == expected, what="the service to answer its records", timeout=120
    )


def _run_job(at: Stand, name: str, source: str) -> str:
    """Make a Job of a CronJob by hand, as the page says, and return what it logged."""
    at.kubectl(*IN_NAMESPACE, "create", "job", name, f"--from=cronjob/{source}")
    at.kubectl(*IN_NAMESPACE, "wait", "--for=condition=complete", "--timeout=300s", f"job/{name}")
    return at.kubectl(*IN_NAMESPACE, "logs", f"job/{name}").standard_output


def _restore(at: Stand, name: str, backup: str) -> str:
    """Restore one backup of several, as the page says."""
    script = (
        f"kubectl {' '.join(IN_NAMESPACE)} create job {name}"
        " --from=cronjob/aegis-postgres-restore --dry-run=client -o yaml |"
        f" kubectl set env --local -f - BACKUP={backup} -o yaml | kubectl create -f -"
    )
    done = execute("sh", "-c", script, cwd=at.directory, env=at.environment)
    assert done.code == 0, done.output
    done = at.kubectl(
        *IN_NAMESPACE, "wait", "--for=condition=complete", "--timeout=300s", f"job/{name}"
    )
    return at.kubectl(*IN_NAMESPACE, "logs", f"job/{name}").standard_output


def _log_level(at: Stand) -> str:
    template = at.live("deployment", "aegis-api", NAMESPACE)["spec"]["template"]
    (source,) = template["spec"]["containers"][0]["envFrom"]
    data = at.live("configmap", source["configMapRef"]["name"], NAMESPACE)["data"]
    return str(data["AEGIS_LOG_LEVEL"])


def _policy(at: Stand, name: str) -> dict[str, Any]:
    spec: dict[str, Any] = at.live("networkpolicy", name, NAMESPACE)["spec"]
    return spec


def test_the_service_is_ready_on_a_database_that_its_migration_made(inside: Stand) -> None:
    with _http(inside) as http:
        version = http.get("/version").json()
    assert version["database"]["revision"] == version["schema"]["head"]
    assert _records(inside) == set()


def test_only_the_service_and_the_jobs_may_reach_it(inside: Stand) -> None:
    (rule,) = _policy(inside, "aegis-postgres")["ingress"]
    (port,) = rule["ports"]
    assert port["port"] == 5432
    names = {it["podSelector"]["matchLabels"]["app.kubernetes.io/name"] for it in rule["from"]}
    assert names == {"aegis-api", "aegis-api-migrate", "aegis-postgres-backup"}


def test_the_service_owns_its_database_and_may_do_nothing_else(inside: Stand) -> None:
    question = (
        "SELECT rolname, rolsuper OR rolcreatedb OR rolcreaterole OR rolreplication OR rolbypassrls"
        " FROM pg_roles JOIN pg_database ON datdba = pg_roles.oid WHERE datname = 'aegis'"
    )
    ask = ("exec", "aegis-postgres-0", "--", "psql", "-U", "postgres", "-tAc", question)
    assert inside.kubectl(*IN_NAMESPACE, *ask).standard_output.strip() == "aegis|f"


def test_another_update_changes_nothing_of_it(inside: Stand) -> None:
    before = inside.live("secret", "aegis-postgres", NAMESPACE)
    shown = inside.pulumi("preview", "--stack", STACK, "--json", "--expect-no-changes", expect=None)
    assert shown.code == 0, shown.output
    assert inside.live("secret", "aegis-postgres", NAMESPACE) == before


def test_no_password_is_in_the_state_in_plain_text(inside: Stand) -> None:
    encoded = inside.live("secret", "aegis-postgres", NAMESPACE)["data"]["password"]
    assert len(encoded) > 40
    assert encoded not in json.dumps(inside.exported(STACK))


def test_a_record_outlives_the_server_s_pod(inside: Stand) -> None:
    made = _create(inside, "before-the-pod-went")
    before = inside.live("pod", "aegis-postgres-0", NAMESPACE)["metadata"]["uid"]
    inside.kubectl(*IN_NAMESPACE, "delete", "pod", "aegis-postgres-0", "--grace-period=1")
    _wait_for_records(inside, {made})
    assert inside.live("pod", "aegis-postgres-0", NAMESPACE)["metadata"]["uid"] != before
    deployment = inside.live("deployment", "aegis-api", NAMESPACE)["status"]
    assert deployment["readyReplicas"] == deployment["replicas"]


def test_a_backup_is_restored_with_all_that_it_had_and_nothing_else(inside: Stand) -> None:
    before = _records(inside)
    assert before
    said = _run_job(inside, "by-hand", "aegis-postgres-backup")
    backup = said.split()[1].rstrip(",")
    mistake = _create(inside, "a-mistake")
    _run_job(inside, "another-by-hand", "aegis-postgres-backup")
    assert _records(inside) == {*before, mistake}
    assert f"restored {backup}" in _restore(inside, "of-before", backup)
    assert _records(inside) == before
    # The newest one, which nobody has to name.
    _run_job(inside, "of-the-newest", "aegis-postgres-restore")
    assert _records(inside) == {*before, mistake}


@every
def test_a_rollback_keeps_its_password_and_its_records(inside: Stand) -> None:
    before, records = inside.live("secret", "aegis-postgres", NAMESPACE), _records(inside)
    pod = inside.live("pod", "aegis-postgres-0", NAMESPACE)["metadata"]["uid"]
    settled = [_log_level(inside)]
    inside.configure(STACK, "logLevel", "warning")
    for word in ("deploy", "rollback"):
        argv = ("aegis", word, "--stack", STACK, "--yes")
        done = execute(*argv, cwd=inside.directory, env=inside.environment)
        assert done.code == 0, done.output
        settled.append(_log_level(inside))
    assert settled == ["info", "warning", "info"]
    assert inside.live("secret", "aegis-postgres", NAMESPACE) == before
    assert inside.live("pod", "aegis-postgres-0", NAMESPACE)["metadata"]["uid"] == pod
    assert _records(inside) == records


def test_a_refresh_and_the_way_back_lose_no_request(inside: Stand, taken: dict[str, Path]) -> None:
    before, name = _records(inside), _name(taken["one"])
    secret = inside.live("secret", "aegis-postgres", NAMESPACE)
    pod = inside.live("pod", "aegis-postgres-0", NAMESPACE)["metadata"]["uid"]
    refresh = ("data", "refresh", "--stack", STACK, "--yes", "--from")
    with reading(inside.address(NAMESPACE)) as seen:
        said = _aegis(inside, *refresh, str(taken["one"])).output
        sampled = _records(inside)
        assert f"it works on data set {short(name)}" in said
        assert _datasets(inside)[0] == name
        _aegis(inside, "rollback", "--stack", STACK, "--yes")
    assert seen.failures == []
    assert sampled
    assert sampled != before
    assert [set(it) for it in seen.lists] == [before, sampled]
    assert _records(inside) == before
    assert inside.live("secret", "aegis-postgres", NAMESPACE) == secret
    assert inside.live("pod", "aegis-postgres-0", NAMESPACE)["metadata"]["uid"] == pod
    assert _datasets(inside)[:2] == [None, name]
    assert f"aegis_{short(name)}" in _databases(inside)
    # The settings have the one that was gone back from, as after any rollback.
    inside.configure(STACK, "dataset", None)


@every
def test_data_sets_follow_each_other_and_what_was_dropped_is_not_gone_back_to(
    inside: Stand, taken: dict[str, Path]
) -> None:
    first, second = _name(taken["one"]), _name(taken["other"])
    before = _records(inside)
    # What was rolled back by hand is not deployed again by itself, whatever data it is of.
    refresh = ("data", "refresh", "--stack", STACK, "--yes", "--force", "--from")
    with reading(inside.address(NAMESPACE)) as seen:
        _aegis(inside, *refresh, str(taken["one"]))
        one = _records(inside)
        _aegis(inside, *refresh, str(taken["other"]))
        other = _records(inside)
        _aegis(inside, "rollback", "--stack", STACK, "--yes")
        assert _records(inside) == one
        _aegis(inside, *refresh, str(taken["other"]), "--keep", "0")
    assert seen.failures == []
    assert [set(it) for it in seen.lists] == [before, one, other]
    assert _databases(inside) == {"aegis", f"aegis_{short(second)}"}
    status = _aegis(inside, "status", "--stack", STACK).output
    assert f"data set  {short(second)}" in status
    numbers = json.loads(_aegis(inside, "history", "--stack", STACK, "--json").standard_output)[
        "releases"
    ]
    gone = next(it["number"] for it in numbers if it["dataset"] == first)
    back = ("rollback", "--stack", STACK, "--yes", "--to", str(gone))
    refused = _aegis(inside, *back, expect=3).output
    assert f"its data set {short(first)} is not on the server any more" in refused
    assert _records(inside) == other
    _aegis(inside, *refresh, str(taken["one"]), "--load-only")
    _aegis(inside, *back)
    assert _records(inside) == one
    inside.configure(STACK, "dataset", None)
    _aegis(inside, "deploy", "--stack", STACK, "--yes")
    assert _records(inside) == before


@every
def test_a_bad_data_set_is_refused_and_nothing_of_it_is_served(
    inside: Stand, taken: dict[str, Path], tmp_path: Path
) -> None:
    before, there = _records(inside), _databases(inside)
    damaged = tmp_path / "damaged"
    shutil.copytree(taken["other"], damaged)
    (damaged / "pre-data.sql").write_text("")
    refresh = ("data", "refresh", "--yes", "--from")
    said = _aegis(inside, *refresh, str(damaged), "--stack", STACK, expect=3).output
    assert "is damaged" in said
    inside.pulumi("stack", "init", "production")
    said = _aegis(inside, *refresh, str(taken["one"]), "--stack", "production", expect=3).output
    assert "production takes no data set" in said
    inside.configure(STACK, "dataset", "ab" * 32)
    said = _aegis(inside, "deploy", "--stack", STACK, "--yes", expect=3).output
    assert "the data set abababababab is not on the server of staging" in said
    inside.configure(STACK, "dataset", None)
    assert (_records(inside), _databases(inside)) == (before, there)


def test_a_destroy_is_refused_while_its_data_is_protected(inside: Stand) -> None:
    before = inside.exported(STACK)
    refused = inside.pulumi("destroy", "--stack", STACK, "--yes", expect=None)
    assert refused.code != 0
    assert "protect" in refused.output
    assert inside.exported(STACK) == before
    assert _records(inside)


def test_a_destroyed_stack_leaves_its_data_and_finds_it_again(inside: Stand) -> None:
    before = _records(inside)
    assert before
    inside.pulumi("destroy", "--exclude-protected", "--stack", STACK, "--yes", "--skip-preview")
    assert inside.names("statefulset", NAMESPACE) == set()
    assert inside.names("persistentvolumeclaim", NAMESPACE) == CLAIMS
    inside.up(STACK)
    # On the volume of before there is the password of before, until the server starts.
    _wait_for_records(inside, before)


def test_data_that_the_stack_gives_up_stays_in_the_cluster(inside: Stand) -> None:
    inside.pulumi("state", "unprotect", "--all", "--stack", STACK, "--yes")
    inside.pulumi("destroy", "--stack", STACK, "--yes", "--skip-preview")
    assert not inside.exported(STACK)
    assert inside.names("persistentvolumeclaim", NAMESPACE) == CLAIMS
