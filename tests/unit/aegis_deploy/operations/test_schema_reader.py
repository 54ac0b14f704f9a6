"""What a database is: the pods say it, ended migrations do, and what was remembered does."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from io import StringIO
from typing import Any, cast

import pytest

from aegis_deploy.common.console import Output
from aegis_deploy.drift.clusters import Clusters
from aegis_deploy.history import schema_store, stack_history
from aegis_deploy.kubernetes.client import ApiError
from aegis_deploy.model.database.dataset import DATASET
from aegis_deploy.model.database.schema import (
    HEAD,
    IRREVERSIBLE,
    JOB,
    LEAST,
    PATH,
    CodeSchema,
    DatabaseSchema,
    misfit,
)
from aegis_deploy.model.release import Deployed
from aegis_deploy.operations.schema_reader import SchemaReader

CODE = {HEAD: "4", LEAST: "1"}


def resource(kind: str, annotations: Mapping[str, str], namespace: str = "n") -> dict[str, Any]:
    """A workload or a Job of a state."""
    template = {"metadata": {"annotations": dict(annotations)}}
    inputs = {"metadata": {"namespace": namespace}, "spec": {"template": template}}
    kind = f"kubernetes:{kind}"
    urn = f"urn:pulumi:s::p::{kind}::a"
    return {"urn": urn, "type": kind, "custom": True, "inputs": inputs, "outputs": inputs}


def pod(name: str, annotations: Mapping[str, str], *, ready: bool = True) -> dict[str, Any]:
    port = {"name": "http", "containerPort": 8000}
    return {
        "metadata": {"name": name, "namespace": "n", "uid": name, "annotations": dict(annotations)},
        "spec": {"containers": [{"name": "a", "ports": [port]}]},
        "status": {"conditions": [{"type": "Ready", "status": str(ready)}]},
    }


def ended(message: str) -> dict[str, Any]:
    """The pod of a migration that has ended with some words."""
    made = pod("migrate", {JOB: "true", **CODE}, ready=False)
    state = {"terminated": {"exitCode": 0, "message": message}}
    made["status"]["containerStatuses"] = [{"name": "a", "state": state}]
    return made


@dataclass
class Api:
    """A cluster with some pods, which answer or do not."""

    pods: list[dict[str, Any]] = field(default_factory=list)
    answers: dict[str, str] = field(default_factory=dict)
    silent: bool = False
    asked: list[str] = field(default_factory=list)
    address: str = "https://it"

    def get(self, path: str) -> dict[str, Any]:
        if self.silent:
            raise ApiError(0, "no answer")
        assert path == "/api/v1/namespaces/n/pods"
        return {"items": self.pods}

    def answer(self, path: str, *, seconds: float) -> tuple[int, bytes]:
        assert seconds > 0
        self.asked.append(path)
        found = self.answers.get(path.rpartition("pods/")[2])
        if found is None:
            raise ApiError(0, "no answer")
        return 200, found.encode()


@dataclass
class Stack:
    """A stack with tags."""

    found: list[dict[str, Any]]
    marks: dict[str, str] = field(default_factory=dict)
    name: str = "s"

    def resources(self) -> list[dict[str, Any]]:
        return self.found

    def tags(self) -> Mapping[str, str]:
        return dict(self.marks)

    def change_tags(self, change: Mapping[str, str]) -> None:
        self.marks |= change


def reader(stack: Stack, api: Api) -> tuple[SchemaReader, StringIO]:
    told = StringIO()
    clusters = Clusters(cast("Any", stack), ambient=lambda: cast("Any", api))
    return SchemaReader(cast("Any", stack), Output(messages=told), clusters), told


def says(revision: int, least: int) -> str:
    return json.dumps({"database": {"revision": revision, "leastHead": least}})


def test_a_stack_that_says_nothing_of_a_schema_asks_nobody() -> None:
    api = Api(silent=True)
    found, told = reader(Stack([resource("apps/v1:Deployment", {})]), api)
    assert found.look() is None
    assert told.getvalue() == ""


def test_a_pod_that_is_ready_is_asked_where_it_says() -> None:
    stack = Stack([resource("apps/v1:Deployment", CODE)])
    pods = [
        pod("late", CODE, ready=False),
        pod("going", CODE),
        pod("other", {}),
        pod("web", {**CODE, PATH: "/schema"}),
    ]
    pods[1]["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    api = Api(pods, {"http:web:8000/proxy/schema": says(4, 2)})
    found, _ = reader(stack, api)
    assert found.look() == DatabaseSchema(revision=4, least_head=2)
    assert len(api.asked) == 1
    assert stack.marks == {schema_store.TAG: "4 2"}


def test_who_only_looks_remembers_nothing() -> None:
    stack = Stack([resource("apps/v1:Deployment", CODE)])
    api = Api([pod("web", CODE)], {"http:web:8000/proxy/version": says(4, 2)})
    assert reader(stack, api)[0].look(remembers=False) == DatabaseSchema(revision=4, least_head=2)
    assert stack.marks == {}


def test_an_ended_migration_says_it_and_the_greatest_that_is_heard_counts() -> None:
    stack = Stack([resource("batch/v1:Job", {JOB: "true"})], {schema_store.TAG: "1 3"})
    message = 'applied revision 5\n{"revision": 5, "leastHead": 0}'
    api = Api([ended(message), pod("web", CODE)], {"http:web:8000/proxy/version": says(4, 2)})
    found, _ = reader(stack, api)
    assert found.look() == DatabaseSchema(revision=5, least_head=3)
    assert stack.marks == {schema_store.TAG: "5 3"}


def test_what_the_migration_calls_irreversible_freezes_though_the_release_itself_never_came() -> (
    None
):
    migration = {JOB: "true", IRREVERSIBLE: "5"}
    stack = Stack([resource("apps/v1:Deployment", CODE), resource("batch/v1:Job", migration)])
    api = Api([ended('{"revision": 5, "leastHead": 0}')])
    found, _ = reader(stack, api)
    assert found.look() == DatabaseSchema(revision=5, least_head=5, irreversible=5)
    # It is remembered in words, and the two numbers are where an older version looks for them.
    assert stack.marks == {schema_store.TAG: "5 5", schema_store.IRREVERSIBLE_TAG: "5"}
    known = schema_store.parse(stack.marks).first
    assert "revision 5 cannot be gone back past" in misfit(CodeSchema(head=4, least=1), known)


def test_a_database_that_was_taken_back_is_not_frozen_by_what_is_left_of_the_word() -> None:
    marks = {schema_store.TAG: "4 0", schema_store.IRREVERSIBLE_TAG: "5"}
    assert schema_store.parse(marks).first == DatabaseSchema(revision=4, least_head=0)


@pytest.mark.parametrize("silent", [True, False])
def test_where_nobody_answers_what_was_remembered_is_known(silent: bool) -> None:
    stack = Stack([resource("apps/v1:Deployment", CODE)], {schema_store.TAG: "4 2"})
    found, told = reader(stack, Api([pod("web", CODE)], silent=silent))
    assert found.look() == DatabaseSchema(revision=4, least_head=2)
    assert ("what the database is was not asked" in told.getvalue()) is silent


def test_whoever_asks_what_fits_before_anybody_looked_is_not_told_that_everything_does(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    marks = {schema_store.TAG: "5 5"}
    found, _ = reader(Stack([resource("apps/v1:Deployment", CODE)], marks), Api(silent=True))
    older = Deployed(schema=CodeSchema(head=4, least=1))
    monkeypatch.setattr(stack_history, "deployed", lambda *_: older)
    assert "works with code of revision 5" in found.misfit(cast("Any", "its release"))


@pytest.mark.parametrize("mark", ["", "4", "4 2 1", "x 2", "-1 2"])
def test_a_damaged_mark_says_nothing(mark: str) -> None:
    assert schema_store.parse({schema_store.TAG: mark}).first is None


SET = "ab" * 32
TAGGED = f"{schema_store.DATASET_TAG}{SET[:12]}"


def test_what_is_heard_of_a_data_set_s_database_is_nothing_of_another_s() -> None:
    annotations = {**CODE, DATASET: SET}
    stack = Stack(
        [resource("apps/v1:Deployment", annotations)],
        {schema_store.TAG: "9 9", TAGGED: schema_store.UNTOLD},
    )
    pods = [pod("web", annotations), ended('{"revision": 2, "leastHead": 0}')]
    found, _ = reader(stack, Api(pods, {"http:web:8000/proxy/version": says(4, 1)}))
    assert found.look() == DatabaseSchema(revision=4, least_head=1)
    assert stack.marks == {schema_store.TAG: "9 9", TAGGED: "4 1"}
    assert found.known.first == DatabaseSchema(revision=9, least_head=9)


def test_one_that_was_dropped_does_not_come_back_by_what_is_heard_of_it() -> None:
    annotations = {**CODE, DATASET: SET}
    stack = Stack([resource("apps/v1:Deployment", annotations)])
    api = Api([pod("web", annotations)], {"http:web:8000/proxy/version": says(4, 1)})
    found, _ = reader(stack, api)
    assert found.look() is None
    assert stack.marks == {}
