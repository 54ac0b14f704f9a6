"""A rehearsal is a Job of the release's own migration, which changes nothing of the stack."""

from __future__ import annotations

import json
from typing import Any, ClassVar

import pytest

from aegis_deploy.common.errors import AegisError, ExitCode
from aegis_deploy.common.signals import Interrupted
from aegis_deploy.flows.rehearse import RehearseRequest, rehearse
from aegis_deploy.kubernetes.client import ApiError
from aegis_deploy.model.database.schema import JOB, PROBE_ARGS, REHEARSE_ARGS, DatabaseSchema
from aegis_deploy.model.migration import rehearsal
from aegis_deploy.model.migration.rehearsal import Rehearsal
from aegis_deploy.operations import schema_job
from aegis_deploy.operations.schema_job import MADE_FOR, REHEARSE
from aegis_deploy.report.rehearsal_summary import markdown
from aegis_deploy.report.rehearsal_summary import refused as refusal
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


class TestWhatRuns:
    """The code that runs is tried on what a rehearsal of later code leaves."""

    BOTH: ClassVar = {**TRIES, PROBE_ARGS: '["--probe"]'}
    EXPANDED: ClassVar = {**SAID, "after": {"revision": 3, "leastHead": 0}}
    CODE: ClassVar = {"head": 2, "least": 1}

    def said(self, before: dict[str, Any], **probe: Any) -> tuple[Rehearsal, SchemaCluster]:
        told = {"code": self.CODE, "database": before["after"], "failed": None, **probe}
        made, api = stage(self.BOTH, Run(log=(f"{json.dumps({'probe': told})}\n",)))
        api.before = f"copied 7 tables\n{json.dumps({'rehearsal': before})}\n"
        return rehearse(made.flow, RehearseRequest(image_digest=f"sha256:{'c' * 64}")), api

    def test_comes_after_the_rehearsal_in_its_own_image(self) -> None:
        found, api = self.said(self.EXPANDED)
        pod = api.made[0]["spec"]["template"]["spec"]
        (first,), (then,) = pod["initContainers"], pod["containers"]
        assert (first["name"], first["args"]) == ("rehearse", ["--contract", "--rehearse"])
        assert first["image"].endswith(f"@sha256:{'c' * 64}")
        assert first["env"] == [{"name": "AEGIS_REHEARSAL", "value": "keep"}]
        assert (then["name"], then["args"]) == ("migrate", ["--probe"])
        assert then["image"] == IMAGE
        assert first["envFrom"] == then["envFrom"]
        assert "env" not in then
        assert (found.bad, found.of_what_runs) == (False, "what runs reads and writes on it")
        assert found.lines()[-1] == "  what runs reads and writes on it"
        assert "what runs reads and writes on it" in markdown("s", found)

    def test_that_fails_though_its_numbers_fit_is_what_is_said_first(self) -> None:
        found, _ = self.said(self.EXPANDED, failed="a write fails: no such column")
        assert (found.bad, found.breaks, found.failed) == (True, True, "")
        assert found.lines()[-1] == (
            "  WHAT RUNS DOES NOT WORK WITH IT: a write fails: no such column"
        )
        assert markdown("s", found).splitlines()[2] == "> [!CAUTION]"

    def test_that_a_contract_is_to_end_is_no_fault(self) -> None:
        after = {**SAID, "after": {"revision": 3, "leastHead": 3}}
        found, _ = self.said(after, failed="a read fails: no such column")
        assert not found.bad
        assert "as its revisions say: the database works with code of" in found.of_what_runs

    def test_that_found_no_copy_was_not_tried(self) -> None:
        found, _ = self.said(self.EXPANDED, failed="there is no copy", database=None)
        assert not found.bad
        assert found.of_what_runs == "what runs was not tried on it: there is no copy"

    def test_that_does_not_say_how_was_not_tried(self) -> None:
        made, api = stage()
        found = rehearse(made.flow, RehearseRequest())
        assert "initContainers" not in api.made[0]["spec"]["template"]["spec"]
        assert not found.bad
        assert found.of_what_runs.endswith(f"it does not say how ({PROBE_ARGS})")

    def test_is_no_matter_where_nothing_was_left_to_try_it_on(self) -> None:
        for said in ({**SAID, "failed": "no"}, {**SAID, "after": SAID["database"]}):
            found, _ = self.said({**said, "statements": []}, failed="no copy", database=None)
            assert found.of_what_runs == ""


def test_a_refusal_is_worded_for_a_pull_request() -> None:
    error = AegisError(what="what runs in s has no migration", why="none | says so", next="do it")
    shown = refusal("s", error)
    assert shown.startswith("**s** migrations were not rehearsed: what runs in s has no migration")
    assert "none | says so\ndo it" in shown


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
        f"  what runs was not tried on it: it does not say how ({PROBE_ARGS})",
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
