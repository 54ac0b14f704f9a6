"""What a migration says that it would do."""

from __future__ import annotations

import json
from typing import Any

import pytest

from aegis_deploy.model.database.schema import CodeSchema, DatabaseSchema
from aegis_deploy.model.events import Step
from aegis_deploy.model.migration.schema_plan import ahead, of_log

AT, AFTER = {"revision": 2, "leastHead": 0}, {"revision": 3, "leastHead": 2}
STEP = {"revision": 3, "kind": "contract", "about": "Less", "sql": ["DROP TABLE a;"]}


def log(**said: Any) -> str:
    return json.dumps(said)


def test_the_last_line_that_is_a_plan_is_it() -> None:
    text = log(database=AT, after=AT) + "\nloading\n" + log(database=AT, after=AFTER) + "\n{}\nbye"
    found = of_log(text)
    assert found is not None
    assert found.database == DatabaseSchema(revision=2, least_head=0)
    assert found.after == DatabaseSchema(revision=3, least_head=2)
    assert (found.pending, found.revisions) == (True, ())


def test_its_revisions_are_told_to_people_and_machines() -> None:
    found = of_log(log(database=AT, after=AFTER, revisions=[STEP, "no", {"revision": "3"}]))
    assert found is not None
    assert found.lines()[:2] == ["  revision 3 (contract): Less", "      DROP TABLE a;"]
    (said,) = [it.as_json() for it in found.revisions]
    assert said.items() >= {**STEP, "irreversible": False}.items()


def test_that_a_revision_is_irreversible_is_said_with_its_kind_and_counts() -> None:
    more = {**STEP, "irreversible": True}
    found = of_log(log(database=AT, after={"revision": 3, "leastHead": 0}, revisions=[more]))
    assert found is not None
    assert found.lines()[0] == "  revision 3 (contract, irreversible): Less"
    assert found.after == DatabaseSchema(revision=3, least_head=3, irreversible=3)


def test_a_database_that_is_there_already_has_nothing_pending() -> None:
    found = of_log(log(database=AFTER, after=AFTER))
    assert found is not None
    assert not found.pending


@pytest.mark.parametrize(
    "text", ["", "error: no", "[]", log(after=AFTER), log(database=AT, after={"revision": 3})]
)
def test_what_is_no_plan_is_none(text: str) -> None:
    assert of_log(text) is None


JOB = "kubernetes:batch/v1:Job"
DEPLOYMENT = "kubernetes:apps/v1:Deployment"


def step(op: str, kind: str, **more: Any) -> Step:
    return Step(op=op, urn=f"urn:pulumi:s::p::{kind}::a", type=kind, name="a", **more)


class TestAhead:
    """How far an update migrates, at most."""

    CODE = step("update", DEPLOYMENT, schema=CodeSchema(head=5, least=4))
    MIGRATES = step("create", JOB, migrates=True)

    @pytest.mark.parametrize(
        ("revision", "told"),
        [(3, "migrates 3 -> 5;"), (None, "migrates revision 5;"), (5, "None"), (6, "None")],
    )
    def test_is_from_what_the_database_is_to_what_the_code_knows(
        self, revision: int | None, told: str
    ) -> None:
        known = None if revision is None else DatabaseSchema(revision=revision, least_head=0)
        assert str(ahead([self.CODE, self.MIGRATES], known)).startswith(told)

    @pytest.mark.parametrize(("revision", "freezes"), [(3, True), (None, True), (4, False)])
    def test_says_what_cannot_be_gone_back_past_before_it_runs(
        self, revision: int | None, freezes: bool
    ) -> None:
        code = CodeSchema(head=5, least=3, irreversible=4)
        known = None if revision is None else DatabaseSchema(revision=revision, least_head=0)
        found = ahead([step("update", DEPLOYMENT, schema=code), self.MIGRATES], known)
        assert found is not None
        assert found.freezes.startswith("revision 4 is irreversible") is freezes
        assert found.as_json()["irreversible"] == (4 if freezes else None)

    @pytest.mark.parametrize(
        "steps",
        [
            [],
            [CODE],
            [MIGRATES],
            [CODE, step("delete", JOB, migrates=True)],
            [CODE, step("same", JOB, migrates=True)],
        ],
    )
    def test_is_nothing_without_a_migration_that_runs(self, steps: list[Step]) -> None:
        assert ahead(steps, None) is None
