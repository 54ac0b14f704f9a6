"""Whose pods a deploy may replace: what a verified release's record says of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from io import StringIO
from typing import Any, cast

import pytest

from aegis_deploy.common.console import Output
from aegis_deploy.common.errors import AegisError
from aegis_deploy.history import stack_history
from aegis_deploy.locking.takeover import Takeover
from aegis_deploy.model.events import Changes, Step
from aegis_deploy.model.gate_settings import GateSettings
from aegis_deploy.model.release import Release
from aegis_deploy.model.workloads.rollout import Workload
from aegis_deploy.operations.program_update import ProgramUpdate
from aegis_deploy.operations.update_runner import Ran, UpdateRunner
from aegis_deploy.pods.onward import Onward, revisions_of, sets_of
from aegis_deploy.report.recorder import Recorder
from aegis_deploy.stack.session import Session
from tests.unit.aegis_deploy.sets import NEW, OLD, pod
from tests.unit.aegis_deploy.stage import outcome, release, step

SET = "kubernetes:apps/v1:StatefulSet"
URN = f"urn:pulumi:s::p::{SET}::db"
DB = Workload(namespace="shop", name="db", kind="StatefulSet")
STEP = step("same", type=SET, object="db", namespace="shop", urn=URN)
STATUS = {"observedGeneration": 2, "currentRevision": OLD, "updateRevision": OLD}


def recorded(status: Any = STATUS, **changes: Any) -> dict[str, Any]:
    """A StatefulSet as a release's record has it."""
    metadata = {"name": "db", "namespace": "shop", "generation": 2}
    outputs: dict[str, Any] = {"metadata": metadata, "status": status}
    return {"urn": URN, "type": SET, "custom": True, "outputs": outputs, **changes}


def test_the_revisions_that_a_record_names_are_the_releases_own() -> None:
    assert revisions_of([recorded()], [DB]) == {DB: frozenset({OLD})}
    # Below a partition pods of the release before it run on.
    part = recorded({**STATUS, "updateRevision": NEW})
    assert revisions_of([part], [DB]) == {DB: frozenset({OLD, NEW})}


SECRET = {"4dabf18193072939515e22adb298388d": "1b47061264138c4ac30d75fd1eb44270", "ciphertext": "x"}


@pytest.mark.parametrize(
    "resources",
    [
        None,
        [recorded({})],
        [recorded({**STATUS, "observedGeneration": 1})],
        [recorded(SECRET)],
        [recorded(), recorded({})],
    ],
    ids=["no record", "no status", "older than its object", "secret", "two in two clusters"],
)
def test_where_a_record_does_not_tell_every_pod_may_be_its_own(resources: Any) -> None:
    assert revisions_of(resources, [DB]) == {DB: None}
    onward = Onward({DB: URN}, revisions_of(resources, [DB]))
    assert onward.spares(DB, pod("db-0", "any"))


@pytest.mark.parametrize("other", [{"delete": True}, {"external": True}, {"type": "a:b:C"}])
def test_a_set_that_the_release_does_not_have_has_no_pod_of_it(other: dict[str, Any]) -> None:
    onward = Onward({DB: URN}, revisions_of([recorded(**other)], [DB]))
    assert not onward.spares(DB, pod("db-0", OLD))


def test_only_sets_are_taken_on_and_by_the_urn_that_they_have_in_the_update() -> None:
    gone = step("delete", type=SET, object="old", namespace="shop")
    assert sets_of([step(), STEP, gone]) == {DB: URN}


class _Store:
    def __init__(self, record: Mapping[str, Any] | AegisError | None) -> None:
        self.record, self.asked = record, list[int]()

    def checkpoint(self, release: Release) -> Mapping[str, Any] | None:
        self.asked.append(release.number)
        if isinstance(self.record, AegisError):
            raise self.record
        return self.record


class _Session:
    name = "s"

    def __init__(self, store: _Store, steps: Sequence[Step]) -> None:
        self.store, self._steps = store, steps

    def preview(self, **_: object) -> Changes:
        return Changes(tuple(self._steps), {}, ())

    def stop(self) -> None:
        pass


class _UpdateRunner:
    def __init__(self) -> None:
        self.onward: Onward | None = None

    def run(self, *_: object, onward: Onward | None, **__: object) -> Ran:
        self.onward = onward
        return Ran(outcome())


def onward(
    monkeypatch: pytest.MonkeyPatch,
    store: _Store,
    *releases: Release,
    steps: Sequence[Step] = (STEP,),
) -> Onward | None:
    """What the update of a stack with a history may replace, once it was previewed."""
    out = Output(results=StringIO(), messages=StringIO(), answers=StringIO())
    session = cast("Session", _Session(store, steps))
    monkeypatch.setattr(stack_history, "reading", lambda _: releases)
    update_runner = _UpdateRunner()
    program_update = ProgramUpdate(
        session,
        out,
        Takeover(session, out),
        cast("UpdateRunner", update_runner),
        Recorder("s"),
    )
    program_update.preview()
    program_update.update("aegis: deploy", [DB], GateSettings())
    return update_runner.onward


def test_the_newest_verified_releases_record_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    store = _Store({"resources": [recorded()]})
    history = release(3), release(2, verified=True), release(1, verified=True)
    assert onward(monkeypatch, store, *history) == Onward({DB: URN}, {DB: frozenset({OLD})})
    assert store.asked == [2]


def test_without_a_verified_release_nothing_is_spared(monkeypatch: pytest.MonkeyPatch) -> None:
    store = _Store(None)
    assert onward(monkeypatch, store, release(1)) == Onward({DB: URN})
    assert not Onward({DB: URN}).spares(DB, pod("db-0", OLD))
    assert store.asked == []


@pytest.mark.parametrize("record", [None, AegisError(what="damaged")])
def test_a_record_that_cannot_be_read_spares_all(
    monkeypatch: pytest.MonkeyPatch, record: AegisError | None
) -> None:
    found = onward(monkeypatch, _Store(record), release(1, verified=True))
    assert found == Onward({DB: URN}, {DB: None})


def test_without_a_set_nothing_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    store = _Store(None)
    assert onward(monkeypatch, store, release(1, verified=True), steps=[step()]) is None
    assert store.asked == []
