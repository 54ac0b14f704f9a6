"""A contract is shown, confirmed, done by the release's own migration, and remembered."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from aegis_deploy.common.errors import AegisError, ExitCode
from aegis_deploy.common.signals import Interrupted
from aegis_deploy.flows.contract import ContractRequest, contract
from aegis_deploy.kubernetes.client import ApiError
from aegis_deploy.model.database.schema import (
    CONTRACT_ARGS,
    HEAD,
    JOB,
    PLAN_ARGS,
    CodeSchema,
    DatabaseSchema,
)
from aegis_deploy.model.release import Release
from aegis_deploy.model.signatures import SECRET, SIGNATURE
from aegis_deploy.operations import schema_job
from aegis_deploy.operations.schema_job import CONTRACT, PLAN
from tests.unit.aegis_deploy.schema_cluster import (
    SAYS,
    Run,
    SchemaCluster,
    migration,
    plan,
)
from tests.unit.aegis_deploy.stage import Stage, release

YES = ContractRequest(yes=True)
ENDS = 'applied revision 4\n{"revision": 4, "leastHead": 3}'


@pytest.fixture(autouse=True)
def _without_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schema_job, "_LOOK_SECONDS", 0.0)
    monkeypatch.setattr(schema_job, "_SILENT_SECONDS", 0.0)


def stage(says: dict[str, str] | None = None, **runs: Run) -> tuple[Stage, SchemaCluster]:
    """Four releases, of which the last runs; its migration would go from 2 to 4."""
    made = Stage(
        history=[
            release(4, verified=True, current=True),
            release(3, verified=True),
            release(2, verified=True),
            release(1),
        ],
        database=DatabaseSchema(revision=2, least_head=0),
        schemas={4: CodeSchema(head=4, least=2), 3: CodeSchema(head=3, least=1)}
        | dict.fromkeys((2, 1), CodeSchema(head=2, least=1)),
        beside=[migration(says)],
    )
    made.api = api = SchemaCluster(
        {
            PLAN: Run(log=(plan((2, 0), (4, 3)),)),
            CONTRACT: Run(log=("began\n", "began\nhalf", "began\nhalf way\n"), message=ENDS),
            **runs,
        }
    )
    return made, api


def refused(made: Stage, request: ContractRequest = YES) -> AegisError:
    with pytest.raises(AegisError) as error:
        contract(made.flow, request)
    return error.value


def purposes(api: SchemaCluster) -> list[str]:
    return [it["metadata"]["labels"][schema_job.MADE_FOR] for it in api.made]


class TestDone:
    """What a migration is told to remove is removed, and known from then on."""

    def test_it_is_shown_done_and_remembered(self) -> None:
        made, api = stage()
        report = contract(made.flow, YES)
        assert (report.changed, report.cut_off, report.remaining) == (True, (2,), (3,))
        assert purposes(api) == [PLAN, CONTRACT]
        assert made.did == ["claim contract", "remember 4 3", "release"]
        shown = made.results.getvalue()
        assert "contracts the database of s: revision 2 -> 4" in shown
        assert "revision 3 (contract): Step 3\n      DROP TABLE old;" in shown
        assert "can no longer be gone back to: release 2\n" in shown
        assert "can still be gone back to: release 3\n" in shown
        assert report.as_json()["database"] == {"revision": 4, "leastHead": 3}

    def test_each_line_of_its_log_is_told_once_and_whole(self) -> None:
        made, _ = stage()
        contract(made.flow, YES)
        told = made.messages.getvalue().splitlines()
        assert [it for it in told if it in ("began", "half", "half way")] == ["began", "half way"]

    def test_a_rollback_passes_over_what_was_cut_off(self) -> None:
        made, _ = stage()
        contract(made.flow, YES)
        made.flow.schema_reader.look()
        assert made.flow.schema_reader.misfit(made.history[2])
        assert not made.flow.schema_reader.misfit(made.history[1])

    def test_where_nothing_is_pending_nothing_is_begun(self) -> None:
        made, api = stage(plan=Run(log=(plan((4, 3), (4, 3)),)))
        assert not contract(made.flow, YES).changed
        assert purposes(api) == [PLAN]

    def test_what_only_cuts_off_is_pending_too(self) -> None:
        made, _ = stage(plan=Run(log=(plan((4, 1), (4, 3)),)))
        assert contract(made.flow, YES).cut_off == (2,)

    def test_a_run_that_another_began_is_waited_for(self) -> None:
        made, api = stage()
        api.create(
            "/apis/batch/v1/namespaces/n/jobs",
            {"metadata": {"generateName": "c-", "labels": {schema_job.MADE_FOR: CONTRACT}}},
        )
        report = contract(made.flow, YES)
        assert (report.changed, report.job) == (True, "c-0")
        assert len(api.made) == 1
        assert "remember 4 3" in made.did

    def test_of_one_that_does_not_say_what_the_database_is_the_worst_is_remembered(self) -> None:
        made, _ = stage(contract=Run(message="done"))
        contract(made.flow, YES)
        assert made.database == DatabaseSchema(revision=4, least_head=3)
        assert "did not end with what the database is" in made.messages.getvalue()


class TestForeign:
    """A program of another kind says by annotations how its migration is told to contract."""

    def test_without_a_plan_all_but_what_runs_is_taken_to_be_cut_off(self) -> None:
        made, api = stage({JOB: "true", CONTRACT_ARGS: '["contract", "--all"]'})
        report = contract(made.flow, YES)
        assert (report.cut_off, report.remaining) == ((3, 2), ())
        assert purposes(api) == [CONTRACT]
        (job,) = api.made
        assert job["spec"]["template"]["spec"]["containers"][0]["args"] == ["contract", "--all"]
        assert "what it removes is not said" in made.results.getvalue()

    def test_without_a_plan_nothing_is_pending_where_the_database_is_at_the_last(self) -> None:
        made, api = stage({JOB: "true", CONTRACT_ARGS: '["contract"]'})
        made.database = DatabaseSchema(revision=4, least_head=1)
        assert not contract(made.flow, YES).changed
        assert api.made == []

    def test_one_that_says_nothing_of_its_schema_needs_a_plan(self) -> None:
        made, api = stage({JOB: "true", CONTRACT_ARGS: '["contract"]'})
        del made.schemas[4]
        error = refused(made)
        assert error.code is ExitCode.REFUSED
        assert PLAN_ARGS in error.why
        assert HEAD in error.why
        assert api.made == []

    def test_one_that_does_not_say_how_is_refused(self) -> None:
        made, api = stage({JOB: "true"})
        error = refused(made)
        assert error.code is ExitCode.REFUSED
        assert CONTRACT_ARGS in error.next
        assert api.made == []

    def test_several_are_refused(self) -> None:
        made, _ = stage()
        made.beside.append(migration())
        assert "several migrations" in refused(made).what

    def test_a_stack_without_a_migration_is_refused(self) -> None:
        made, _ = stage()
        made.beside.clear()
        assert "no pod template has the annotation" in refused(made).why

    @pytest.mark.parametrize("text", ["--contract", "[]", '["a", 1]', '{"a": 1}'])
    def test_arguments_that_are_none_are_refused(self, text: str) -> None:
        made, _ = stage({**SAYS, CONTRACT_ARGS: text})
        assert text in refused(made).why

    def test_what_is_recorded_as_a_secret_is_refused(self) -> None:
        made, _ = stage()
        hidden: Any = {SIGNATURE: SECRET, "ciphertext": "v1:x"}
        made.beside[0]["inputs"]["spec"]["activeDeadlineSeconds"] = hidden
        assert "recorded as a secret" in refused(made).why


class TestRefused:
    """Whatever is wrong is told before the database is changed."""

    def test_without_a_yes_nobody_is_there_to_confirm(self) -> None:
        made, api = stage()
        assert "add --yes" in refused(made, ContractRequest()).next
        assert purposes(api) == [PLAN]

    def test_a_preview_changes_nothing(self) -> None:
        made, api = stage()
        report = contract(made.flow, ContractRequest(preview=True))
        assert (report.changed, report.cut_off) == (False, (2,))
        assert purposes(api) == [PLAN]
        assert made.database == DatabaseSchema(revision=2, least_head=0)

    @pytest.mark.parametrize("history", [[], [release(4, current=True)]])
    def test_what_runs_has_to_be_verified(self, history: list[Release]) -> None:
        made, api = stage()
        made.history = history
        error = refused(made)
        assert error.code is ExitCode.REFUSED
        assert "is not verified" in error.what
        assert api.made == []

    def test_what_runs_has_to_fit_afterwards(self) -> None:
        made, api = stage()
        made.schemas[4] = CodeSchema(head=2, least=2)
        error = refused(made)
        assert error.code is ExitCode.REFUSED
        assert "works with code of revision 3 or later, and this is of 2" in error.why
        assert purposes(api) == [PLAN]

    @pytest.mark.parametrize(
        "run", [Run(log=("no plan\n",)), Run(log=("error: no\n",), condition="Failed", why="so")]
    )
    def test_a_migration_that_does_not_say_its_plan(self, run: Run) -> None:
        made, api = stage(plan=run)
        error = refused(made)
        assert error.code is ExitCode.REFUSED
        assert run.log[0].strip() in error.why
        assert purposes(api) == [PLAN]

    def test_an_account_that_may_not_make_a_job(self) -> None:
        made, api = stage()
        api.forbidden = ApiError(403, "jobs is forbidden")
        error = refused(made)
        assert (error.code, error.why) == (ExitCode.REFUSED, "jobs is forbidden")

    def test_a_cluster_that_does_not_answer(self) -> None:
        made, api = stage()
        api.fault = ApiError(0, "no answer")
        assert "cannot be reached" in refused(made).what

    def test_whoever_else_works_on_the_stack(self) -> None:
        made, api = stage()
        made.busy = True
        assert refused(made).what == "s is being worked on"
        assert api.made == []


def aged(number: int, days: float, **more: Any) -> Release:
    ended = datetime.now(UTC) - timedelta(days=days)
    return release(number, started=ended, ended=ended, **more)


class TestDue:
    """A schedule contracts what nothing has needed for the time that the setting gives."""

    DUE = ContractRequest(due=True, yes=True)

    def staged(self, days: float) -> tuple[Stage, SchemaCluster]:
        made, api = stage()
        made.settings["a:contractAfter"] = "7d"
        made.history = [
            aged(4, days, verified=True, current=True),
            aged(3, days + 1, verified=True),
            aged(2, days + 30, verified=True),
        ]
        return made, api

    def test_what_is_due_is_done(self) -> None:
        made, api = self.staged(6.5)
        report = contract(made.flow, self.DUE)
        assert report.changed, "release 3 needs none of it either, and is older"
        assert purposes(api) == [PLAN, CONTRACT]
        assert report.due_at is not None
        assert report.due_at < datetime.now(UTC)

    def test_what_is_not_is_left_and_when_it_will_be_is_said(self) -> None:
        made, api = self.staged(2)
        report = contract(made.flow, self.DUE)
        assert (report.changed, purposes(api)) == (False, [PLAN])
        assert report.due_at == made.history[1].ended + timedelta(days=7)  # type: ignore[operator]
        assert "not due before " in made.results.getvalue()
        assert "a:contractAfter is 7d" in made.results.getvalue()
        assert made.database == DatabaseSchema(revision=2, least_head=0)

    def test_one_that_needed_it_and_ran_meanwhile_begins_the_time_anew(self) -> None:
        made, api = self.staged(9)
        back = aged(5, 3, restores=2, verified=True)
        made.schemas[5] = made.schemas[2]
        forward = aged(6, 2.5, verified=True, current=True)
        made.schemas[6] = made.schemas[4]
        made.history = [forward, back, *(replace(it, current=False) for it in made.history)]
        report = contract(made.flow, self.DUE)
        assert not report.changed
        assert report.due_at == forward.ended + timedelta(days=7)  # type: ignore[operator]
        assert purposes(api) == [PLAN]

    def test_what_failed_and_needed_none_of_it_does_not(self) -> None:
        made, _ = self.staged(9)
        made.history.insert(1, aged(9, 1, result="failed"))
        made.schemas[9] = made.schemas[4]
        assert contract(made.flow, self.DUE).changed

    def test_without_the_setting_nobody_is_asked_and_nothing_has_failed(self) -> None:
        made, api = self.staged(30)
        made.settings.clear()
        assert not contract(made.flow, self.DUE).changed
        assert (api.made, made.did) == ([], [])
        assert "contracts by hand: contractAfter is not set" in made.results.getvalue()

    def test_a_release_that_is_not_verified_is_no_failure_of_a_schedule(self) -> None:
        made, api = self.staged(30)
        made.history[0] = replace(made.history[0], verified=False)
        assert not contract(made.flow, self.DUE).changed
        assert api.made == []
        assert "what runs is not verified" in made.results.getvalue()

    def test_where_the_database_is_known_to_be_at_the_end_nobody_is_asked(self) -> None:
        made, api = self.staged(30)
        made.database = DatabaseSchema(revision=4, least_head=4)
        assert not contract(made.flow, self.DUE).changed
        assert api.made == []

    @pytest.mark.parametrize("wrong", ["7", "", "a week", "0d", "7 d", "12345d"])
    def test_a_setting_that_is_wrong_is_refused(self, wrong: str) -> None:
        made, api = self.staged(30)
        made.settings["a:contractAfter"] = wrong
        error = refused(made, self.DUE)
        assert error.code is ExitCode.REFUSED
        assert "is not a number of minutes, hours or days" in error.why
        assert api.made == []

    def test_without_being_asked_for_it_the_time_decides_nothing(self) -> None:
        made, _ = self.staged(0)
        assert contract(made.flow, YES).changed


class TestFailed:
    """What was begun and came to no good end is told with what PostgreSQL said."""

    def test_one_that_fails_quotes_its_log(self) -> None:
        log = "error: the database could not be migrated\n  why:   revision 3: division by zero\n"
        made, _ = stage(
            contract=Run(log=(log,), condition="Failed", why="Job has reached its limit")
        )
        error = refused(made)
        assert error.code is ExitCode.NOT_ROLLED_BACK
        assert "division by zero" in error.why
        assert "Job has reached its limit" in error.why
        assert made.database == DatabaseSchema(revision=2, least_head=0)

    @pytest.mark.parametrize(
        ("stops", "code"),
        [
            (Interrupted(15), ExitCode.INTERRUPTED),
            (ApiError(0, "no answer"), ExitCode.NOT_ROLLED_BACK),
            (ApiError(404, "it is gone"), ExitCode.NOT_ROLLED_BACK),
        ],
    )
    def test_one_whose_end_was_not_seen_is_left_to_the_next(
        self, stops: BaseException, code: ExitCode
    ) -> None:
        made, api = stage({JOB: "true", CONTRACT_ARGS: '["contract"]'})
        api.stops = stops
        error = refused(made)
        assert error.code is code
        assert "waits for a contract that runs" in error.next
        assert "goes on by itself" in error.state
        api.stops = None
        assert contract(made.flow, YES).changed
        assert purposes(api) == [CONTRACT]
