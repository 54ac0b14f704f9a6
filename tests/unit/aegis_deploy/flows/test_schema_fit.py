"""A database decides which releases are a way back, and which may be deployed at all."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import Any

import pytest

from aegis_deploy.common.errors import AegisError, ExitCode
from aegis_deploy.flows.deploy import DeployRequest, deploy
from aegis_deploy.flows.rollback import RollbackRequest, rollback
from aegis_deploy.model.database.schema import IRREVERSIBLE, JOB, CodeSchema, DatabaseSchema
from aegis_deploy.model.events import Changes
from aegis_deploy.operations.update_runner import Ran
from tests.unit.aegis_deploy.schema_cluster import migration
from tests.unit.aegis_deploy.stage import CRASHED, PASSED, Stage, outcome, release, step

OLD, MIDDLE, NEW = (CodeSchema(head=head, least=1) for head in (1, 2, 3))


def stage(database: DatabaseSchema | None) -> Stage:
    made = Stage(
        history=[
            release(3, verified=True, current=True),
            release(2, verified=True),
            release(1, verified=True),
        ],
        database=database,
        schemas={1: OLD, 2: MIDDLE, 3: NEW},
    )
    made.restores, made.verdicts = [Ran(outcome())], [PASSED]
    return made


@dataclass
class Migrated:
    """A cluster whose one migration has ended, once the update of a stage has run."""

    made: Stage
    then: DatabaseSchema
    address: str = "https://it"

    def get(self, path: str) -> dict[str, Any]:
        if not path.endswith("/pods") or not any(it.startswith("update") for it in self.made.did):
            return {}
        ended = {"terminated": {"exitCode": 0, "message": json.dumps(self.then.as_json())}}
        return {
            "items": [
                {
                    "metadata": {"annotations": {JOB: "true"}},
                    "spec": {"containers": []},
                    "status": {"containerStatuses": [{"name": "m", "state": ended}]},
                }
            ]
        }


class TestRollback:
    """It goes back to what works with the database, or says why nothing does."""

    def test_the_last_that_fits_is_restored(self) -> None:
        made = stage(DatabaseSchema(revision=3, least_head=1))
        assert rollback(made.flow, RollbackRequest(yes=True)).target.number == 2

    def test_what_a_contract_cut_off_is_passed_over(self) -> None:
        made = stage(DatabaseSchema(revision=3, least_head=1))
        made.schemas[2] = replace(MIDDLE, head=0)
        assert rollback(made.flow, RollbackRequest(yes=True)).target.number == 1

    @pytest.mark.parametrize("to", [None, 1, 2])
    def test_behind_a_contract_nothing_is_changed(self, to: int | None) -> None:
        made = stage(DatabaseSchema(revision=3, least_head=3))
        with pytest.raises(AegisError) as refused:
            rollback(made.flow, RollbackRequest(yes=True, to=to))
        assert refused.value.code is ExitCode.REFUSED
        assert "works with code of revision 3 or later" in refused.value.why
        assert not [it for it in made.did if it.startswith(("update", "restore"))]

    def test_a_stack_without_a_database_goes_back_as_ever(self) -> None:
        assert rollback(stage(None).flow, RollbackRequest(yes=True)).target.number == 2

    def test_a_release_that_says_nothing_fits(self) -> None:
        made = stage(DatabaseSchema(revision=3, least_head=3))
        del made.schemas[2]
        assert rollback(made.flow, RollbackRequest(yes=True)).target.number == 2


class TestDeploy:
    """What does not fit is refused before anything is changed; a bad one goes back to what fits."""

    def deploying(self, made: Stage, code: CodeSchema | None, *, migrates: bool = False) -> None:
        steps = [step(schema=code)]
        if migrates:
            steps.append(step("create", "", type="kubernetes:batch/v1:Job", migrates=True))
        made.changes = Changes(tuple(steps), {}, ())

    @pytest.mark.parametrize(
        ("code", "migrates", "why"),
        [
            (CodeSchema(head=1, least=1), False, "works with code of revision 2 or later"),
            (CodeSchema(head=1, least=1), True, "works with code of revision 2 or later"),
            (CodeSchema(head=5, least=4), False, "needs the database at revision 4 or later"),
        ],
    )
    def test_what_does_not_fit_is_refused(self, code: CodeSchema, migrates: bool, why: str) -> None:
        made = stage(DatabaseSchema(revision=3, least_head=2))
        self.deploying(made, code, migrates=migrates)
        with pytest.raises(AegisError) as refused:
            deploy(made.flow, DeployRequest(yes=True))
        assert refused.value.code is ExitCode.REFUSED
        assert why in refused.value.why
        assert not [it for it in made.did if it.startswith(("update", "restore"))]

    @pytest.mark.parametrize("migrates", [False, True])
    def test_what_the_update_migrates_for_is_deployed(self, migrates: bool) -> None:
        made = stage(DatabaseSchema(revision=3, least_head=2))
        self.deploying(made, CodeSchema(head=4, least=4 if migrates else 3), migrates=migrates)
        made.updates, made.restores = [Ran(outcome())], []
        assert deploy(made.flow, DeployRequest(yes=True)).release is not None
        assert ("migrates 3 -> 4" in made.results.getvalue()) is migrates

    def test_that_nothing_could_take_its_place_is_said_before_it_begins(self) -> None:
        made = stage(DatabaseSchema(revision=3, least_head=4))
        self.deploying(made, CodeSchema(head=4, least=1))
        made.updates, made.restores = [Ran(outcome())], []
        deploy(made.flow, DeployRequest(yes=True))
        said = made.messages.getvalue()
        assert "if this release is bad, nothing can take its place" in said
        assert "release 2: the database works with code of revision 4 or later" in said

    def test_what_is_irreversible_is_said_before_it_runs_and_nothing_goes_back_past_it(
        self,
    ) -> None:
        made = stage(DatabaseSchema(revision=3, least_head=1))
        made.beside.append(migration({JOB: "true", IRREVERSIBLE: "4"}))
        self.deploying(made, CodeSchema(head=4, least=3, irreversible=4), migrates=True)
        made.updates, made.restores = [Ran(outcome())], []
        made.verdicts = [CRASHED]
        made.api = Migrated(made, DatabaseSchema(revision=4, least_head=0))
        with pytest.raises(AegisError) as failed:
            deploy(made.flow, DeployRequest(yes=True))
        said = made.messages.getvalue()
        assert said.index("revision 4 is irreversible") < said.index("the release failed")
        assert failed.value.code is ExitCode.NOT_ROLLED_BACK
        assert "revision 4 cannot be gone back past by any code" in str(failed.value)
        assert not [it for it in made.did if it.startswith("restore")]

    def test_a_bad_one_is_replaced_by_the_last_that_fits(self) -> None:
        made = stage(DatabaseSchema(revision=3, least_head=2))
        made.schemas[3] = CodeSchema(head=1, least=1)
        self.deploying(made, CodeSchema(head=4, least=3))
        made.updates, made.verdicts = [Ran(outcome())], [CRASHED, PASSED]
        with pytest.raises(AegisError) as failed:
            deploy(made.flow, DeployRequest(yes=True))
        assert failed.value.code is ExitCode.ROLLED_BACK
        assert "rolled back to release 2" in failed.value.state
