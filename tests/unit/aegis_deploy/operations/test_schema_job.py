"""The Job that a migration runs as: the declared one's pod, with other arguments."""

from __future__ import annotations

from typing import Any, cast

import pytest

from aegis_deploy.kubernetes.client import ApiError
from aegis_deploy.model.database import schema
from aegis_deploy.operations.schema_job import CONTRACT, MADE_FOR, PLAN, SchemaJob, find
from tests.unit.aegis_deploy.schema_cluster import (
    IMAGE,
    Run,
    SchemaCluster,
    migration,
)

STATE = [migration()]


def made(purpose: str, state: list[dict[str, Any]] | None = None) -> dict[str, Any]:
    api = SchemaCluster({PLAN: Run(), CONTRACT: Run()})
    job = SchemaJob(cast("Any", api), find(state or STATE, "s"), lambda _: None)
    job.begin(purpose, "4")
    return api.made[0]


def test_all_is_as_declared_but_for_the_arguments() -> None:
    declared = STATE[0]["inputs"]["spec"]["template"]
    job = made(CONTRACT)
    pod = job["spec"]["template"]["spec"]
    container = pod["containers"][0]
    assert container.pop("args") == ["--contract"]
    assert pod == declared["spec"]
    assert container["image"] == IMAGE
    # By which a network policy lets it out to the database.
    assert declared["metadata"]["labels"].items() <= (
        job["spec"]["template"]["metadata"]["labels"].items()
    )
    assert job["metadata"]["labels"] == {"app": "a-migrate", MADE_FOR: CONTRACT}
    assert job["spec"]["activeDeadlineSeconds"] == 60
    assert job["spec"]["ttlSecondsAfterFinished"] > 0
    assert "args" not in declared["spec"]["containers"][0]


def test_it_is_called_by_what_it_is_for_and_by_the_head_and_is_the_declared_ones() -> None:
    job = made(CONTRACT)
    assert job["metadata"]["generateName"] == "a-migrate-4-contract-4-"
    assert [(it["kind"], it["uid"]) for it in job["metadata"]["ownerReferences"]] == [("Job", "7")]


def test_one_whose_declared_job_is_gone_belongs_to_none() -> None:
    api = SchemaCluster({CONTRACT: Run()}, unnamed=True)
    SchemaJob(cast("Any", api), find(STATE, "s"), lambda _: None).begin(CONTRACT, "4")
    assert api.made[0]["metadata"]["ownerReferences"] == []


@pytest.mark.parametrize(("purpose", "says"), [(CONTRACT, True), (PLAN, False)])
def test_only_what_a_contract_ends_with_is_what_the_database_is(purpose: str, says: bool) -> None:
    annotations = made(purpose)["spec"]["template"]["metadata"]["annotations"]
    assert (schema.JOB in annotations) is says


def test_another_workloads_pod_ends_by_itself_and_in_time() -> None:
    job = made(CONTRACT, [migration(kind="apps/v1:Deployment")])
    assert job["spec"]["template"]["spec"]["restartPolicy"] == "Never"
    assert job["spec"]["activeDeadlineSeconds"] > 0


def test_a_replaced_one_that_waits_to_be_deleted_does_not_count() -> None:
    assert find([{**migration(), "delete": True}, *STATE], "s").name == "a-migrate-4"


@pytest.mark.parametrize("code", [0, 400, 500])
def test_a_log_that_cannot_be_had_just_now_is_asked_for_again(code: int) -> None:
    api = SchemaCluster({CONTRACT: Run(log=("", "done\n"))}, mute=[ApiError(code, "no")])
    told: list[str] = []
    job = SchemaJob(cast("Any", api), find(STATE, "s"), told.append, pause=lambda _: None)
    ended = job.follow(job.begin(CONTRACT, "4"))
    assert (ended.succeeded, ended.log, told) == (True, "done\n", ["done"])


@pytest.mark.parametrize(
    ("waits", "why"),
    [("", "too long"), ("ErrImagePull", "too long; container migrate of pod {} waits (")],
)
def test_of_one_that_never_began_it_is_said_what_it_waited_for(waits: str, why: str) -> None:
    api = SchemaCluster({CONTRACT: Run(condition="Failed", why="too long", waits=waits)})
    job = SchemaJob(cast("Any", api), find(STATE, "s"), lambda _: None)
    name = job.begin(CONTRACT, "4")
    ended = job.follow(name)
    assert not ended.succeeded
    assert ended.why.startswith(why.format(name))
    assert ("waits" in ended.why) is bool(waits)
