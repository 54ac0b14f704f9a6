"""A rehearsal is a Job of the release's own migration, which changes nothing of the stack."""

from __future__ import annotations

import json
from typing import Any

import pytest

from aegis_deploy.common.errors import AegisError, ExitCode
from aegis_deploy.common.signals import Interrupted
from aegis_deploy.flows.rehearse import RehearseRequest, rehearse
from aegis_deploy.kubernetes.client import ApiError
from aegis_deploy.model import rehearsal
from aegis_deploy.model.schema import JOB, REHEARSE_ARGS, DatabaseSchema
from aegis_deploy.operations import schema_job
from aegis_deploy.operations.schema_job import MADE_FOR, REHEARSE
from aegis_deploy.report.rehearsal_summary import markdown
from tests.unit.aegis_deploy.schema_cluster import IMAGE, SAYS, Run, SchemaCluster, migration
from tests.unit.aegis_deploy.stage import Stage

TRIES = {**SAYS, REHEARSE_ARGS: '["--contract", "--rehearse"]'}
SAID: dict[str, Any] = {
    "database": {"revision": 2, "leastHead": 0},
    "after": {"revision": 3, "leastHead": 2},
    "copied": {"tables": 7, "rows": 12, "seconds": 0.5, "left": ["table by_hand"]},
    "statements": [
        {
            "revision": 3,
            "sql": "ALTER TABLE a | DROP b",
            "seconds": 1.25,
            "locks": [
                {"table": "b", "mode": "SHARE"},
                {"table": "a", "mode": "ACCESS EXCLUSIVE"},
                {"table": "a", "mode": "of another server"},
            ],
        },
        {"sql": "SELECT 1", "seconds": "soon", "locks": "none"},
        "nothing",
    ],
    "failed": None,
}
DONE = Run(log=(f"copied 7 tables\n{json.dumps({'rehearsal': SAID})}\n",))


@pytest.fixture(autouse=True)
def _without_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schema_job, "_LOOK_SECONDS", 0.0)
    monkeypatch.setattr(schema_job, "_SILENT_SECONDS", 0.0)


def stage(says: dict[str, str] | None = None, run: Run = DONE) -> tuple[Stage, SchemaCluster]:
    made = Stage(
        database=DatabaseSchema(revision=2, least_head=0), beside=[migration(says or TRIES)]
    )
    made.api = api = SchemaCluster({REHEARSE: run})
    return made, api


def refused(made: Stage) -> AegisError:
    with pytest.raises(AegisError) as error:
        rehearse(made.flow, RehearseRequest())
    return error.value


def test_its_own_migration_tries_it_and_nothing_of_the_stack_is_changed() -> None:
    made, api = stage()
    found = rehearse(made.flow, RehearseRequest())
    assert found.after == DatabaseSchema(revision=3, least_head=2)
    (job,) = api.made
    template = job["spec"]["template"]
    assert template["spec"]["containers"][0]["args"] == ["--contract", "--rehearse"]
    assert template["spec"]["containers"][0]["image"] == IMAGE
    # What it ends with is not what the database is.
    assert JOB not in template["metadata"]["annotations"]
    assert job["metadata"]["labels"][MADE_FOR] == REHEARSE
    assert made.did == []
    said = made.messages.getvalue()
    assert "copied 7 tables" in said
    assert "rehearsal" not in said


def test_another_image_of_the_repository_may_be_tried() -> None:
    made, api = stage()
    digest = f"sha256:{'c' * 64}"
    rehearse(made.flow, RehearseRequest(image_digest=digest))
    image = api.made[0]["spec"]["template"]["spec"]["containers"][0]["image"]
    assert image == f"{IMAGE.partition('@')[0]}@{digest}"


@pytest.mark.parametrize(
    "image", ["registry:5000/a", "registry:5000/a:1.2", f"registry:5000/a:1@sha256:{'a' * 64}"]
)
def test_a_port_is_no_tag(image: str) -> None:
    assert schema_job._repository(image) == "registry:5000/a"


def test_a_migration_that_does_not_say_how_is_refused() -> None:
    made, api = stage(dict(SAYS))
    error = refused(made)
    assert error.code is ExitCode.REFUSED
    assert "no migration that could be told to rehearse" in error.what
    assert REHEARSE_ARGS in error.next
    assert api.made == []


@pytest.mark.parametrize("condition", ["Failed", "Complete"])
def test_one_that_says_nothing_of_it_is_quoted(condition: str) -> None:
    made, _ = stage(run=Run(log=("error: role a may not create databases\n",), condition=condition))
    error = refused(made)
    assert error.code is ExitCode.REFUSED
    assert "may not create databases" in error.why
    assert error.state == "nothing was changed"


@pytest.mark.parametrize(
    ("stops", "code"),
    [(Interrupted(15), ExitCode.INTERRUPTED), (ApiError(0, "no answer"), ExitCode.REFUSED)],
)
def test_one_whose_end_was_not_seen_ends_by_itself(stops: BaseException, code: ExitCode) -> None:
    made, api = stage()
    api.stops = stops
    error = refused(made)
    assert error.code is code
    assert "ends by itself, and drops its copy" in error.state


def test_it_is_told_to_people() -> None:
    found = rehearsal.of_log(DONE.log[0])
    assert found is not None
    assert found.lines() == [
        "rehearsed 2 -> 3: 1.2 s",
        (
            "  revision 3: ALTER TABLE a | DROP b: 1.250 s; "
            "ACCESS EXCLUSIVE on a: reads and writes wait"
        ),
        "  SELECT 1: 0.000 s",
        "  not copied: table by_hand",
    ]
    shown = markdown("s", found)
    (row,) = [it for it in shown.splitlines() if it.startswith("| 3 |")]
    assert "ACCESS EXCLUSIVE" in row
    assert "reads and writes wait" in row
    assert row.count("|") == 6, "a statement's own bars part no cells"
    assert "not copied: table by" in shown


def test_what_would_fail_is_the_first_thing_said() -> None:
    text = json.dumps({"rehearsal": {**SAID, "failed": "revision 3: <division> by zero"}})
    found = rehearsal.of_log(text)
    assert found is not None
    assert found.lines()[0] == "fails on a copy of the database, which was left at 3"
    assert found.lines()[-1] == "  revision 3: <division> by zero"
    assert markdown("s", found).splitlines()[2] == "> [!CAUTION]"


@pytest.mark.parametrize(
    "log", ["", "{}", '{"rehearsal": 1}', '{"rehearsal": {"database": {"revision": 1}}}']
)
def test_what_is_no_rehearsal_is_none(log: str) -> None:
    assert rehearsal.of_log(log) is None
