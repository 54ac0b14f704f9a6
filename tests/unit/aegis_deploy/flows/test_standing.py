"""Objects that are declared and on their way out: soon missing, however well the rest runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import count
from types import SimpleNamespace
from typing import Any, cast

import pytest

from aegis_deploy.common.console import Output
from aegis_deploy.common.errors import AegisError, ExitCode
from aegis_deploy.common.signals import Signals
from aegis_deploy.drift.clusters import Clusters
from aegis_deploy.drift.detection import compare
from aegis_deploy.drift.external_changes import ALTERED, GOING, standing
from aegis_deploy.drift.live_objects import Standing
from aegis_deploy.drift.live_objects import standing as standing_of
from aegis_deploy.flows.context import FlowContext
from aegis_deploy.flows.preconditions import require_standing
from aegis_deploy.flows.rollback import RollbackRequest, rollback
from aegis_deploy.kubernetes.client import ApiError, Cluster
from aegis_deploy.model.signatures import SECRET, SIGNATURE
from aegis_deploy.model.verdict import Verdict
from aegis_deploy.operations import gate_runner as module
from aegis_deploy.operations.gate_runner import GateRunner
from aegis_deploy.operations.update_runner import Ran
from aegis_deploy.stack.checkpoint import outline
from tests.unit.aegis_deploy.common.test_console import _Streams
from tests.unit.aegis_deploy.stage import PASSED, Stage, outcome, release

SINCE = "2026-01-02T03:04:05Z"
GOOD = Verdict(passed=True, reason="good")


def resource(kind: str, name: str, **spec: Any) -> dict[str, Any]:
    """A resource as a state has it, one of its inputs encrypted."""
    token = f"kubernetes:core/v1:{kind}" if kind != "Job" else "kubernetes:batch/v1:Job"
    version = "v1" if kind != "Job" else "batch/v1"
    metadata = {"name": name, "namespace": "n"}
    return {
        "urn": f"urn:pulumi:s::p::{token}::{name}",
        "type": token,
        "custom": True,
        "id": f"n/{name}",
        "inputs": {
            "apiVersion": version,
            "kind": kind,
            "metadata": metadata,
            "spec": spec,
            "data": {SIGNATURE: SECRET, "ciphertext": "v1:x"},
        },
    }


@dataclass
class Api:
    """An API server with some objects.

    Attributes:
        going: Which of them are being deleted, and what holds them.
        gone: Which are not there.
        forbidden: Which may not be read.
        answers: How often what is being deleted is asked for until it is gone.
    """

    going: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    gone: tuple[str, ...] = ()
    forbidden: tuple[str, ...] = ()
    answers: int = 1_000_000
    silent: bool = False

    def get(self, path: str) -> dict[str, Any]:
        if self.silent:
            raise ApiError(0, "no answer")
        if path.count("/") < 4:
            kinds = {"ConfigMap": "configmaps", "Service": "services", "Job": "jobs"}
            return {
                "resources": [
                    {"kind": kind, "name": name, "namespaced": True} for kind, name in kinds.items()
                ]
            }
        name = path.rpartition("/")[2]
        if name in self.forbidden:
            raise ApiError(403, "you may not")
        metadata: dict[str, Any] = {"name": name, "namespace": "n"}
        if name in self.going:
            self.answers -= 1
            metadata |= {"deletionTimestamp": SINCE, "finalizers": list(self.going[name])}
        if name in self.gone or (name in self.going and self.answers < 0):
            raise ApiError(404, "not found")
        return {"metadata": metadata}


STATE = [
    resource("ConfigMap", "settings"),
    resource("Service", "web"),
    resource("Job", "once", ttlSecondsAfterFinished=9),
    {"urn": "urn:pulumi:s::p::pulumi:pulumi:Stack::s", "type": "pulumi:pulumi:Stack"},
    resource("Widget", "of-a-kind-that-nobody-knows"),
]


class TestDrift:
    """An object that is being deleted is not as it was declared."""

    def test_says_since_when(self) -> None:
        live = {"metadata": {"name": "web", "namespace": "n", "deletionTimestamp": SINCE}}
        found = compare(outline(STATE[1]), live, str.__eq__)
        assert found is not None
        assert (found.going, found.gone, found.label) == (SINCE, False, "Service n/web")
        assert found.as_json()["beingDeletedSince"] == SINCE

    def test_is_none_where_it_goes_by_itself(self) -> None:
        live = {"metadata": {"deletionTimestamp": SINCE}}
        assert compare(outline(STATE[2]), live, str.__eq__) is None
        assert compare(outline(STATE[2]), None, str.__eq__) is None


class TestStanding:
    """What of a state does not stand."""

    def test_is_what_is_going_with_what_holds_it_and_what_is_gone(self) -> None:
        api = Api(going={"web": ("example.com/cleanup",)}, gone=("settings", "once"))
        found = standing_of(cast("Cluster", api), map(outline, STATE))
        assert found.going == (
            f"Service n/web is being deleted since {SINCE}, held by example.com/cleanup",
        )
        assert found.gone == ("ConfigMap n/settings",)

    def test_what_may_not_be_read_stands(self) -> None:
        api = Api(forbidden=("web", "settings"))
        found = standing_of(cast("Cluster", api), map(outline, STATE))
        assert not found.going
        assert not found.gone


class Session:
    """A stack of these objects."""

    name = "s"

    def resources(self) -> list[dict[str, Any]]:
        return STATE


def judged(
    api: Api,
    monkeypatch: pytest.MonkeyPatch,
    *,
    whole: bool,
    seconds: float = 60.0,
    apart: tuple[str, ...] = (),
) -> tuple[Verdict, str]:
    monkeypatch.setattr(module, "_GOING_SECONDS", seconds)
    monkeypatch.setattr(module, "_LOOK_SECONDS", 0.001)
    it = _Streams()
    nobody = cast("Any", None)
    clusters = Clusters(cast("Any", Session()), ambient=lambda: cast("Cluster", api))
    made = GateRunner(
        cast("Any", Session()),
        it.out,
        clusters,
        takeover=nobody,
        recorder=nobody,
        signals=Signals(),
    )
    return made._standing(GOOD, whole=whole, apart=apart), it.messages.getvalue()


class TestJudging:
    """Nothing is verified while something declared goes."""

    def test_what_stands_passes(self, monkeypatch: pytest.MonkeyPatch) -> None:
        verdict, said = judged(Api(), monkeypatch, whole=True)
        assert (verdict, said) == (GOOD, "")

    def test_what_is_held_is_waited_for_and_is_the_verdict(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        api = Api(going={"web": ("example.com/cleanup",)})
        # A clock that goes on with each look: a slow machine looks as often.
        clock = SimpleNamespace(monotonic=count().__next__, sleep=lambda _: None)
        monkeypatch.setattr(module, "time", clock)
        verdict, said = judged(api, monkeypatch, whole=False, seconds=3)
        assert (verdict.passed, verdict.kind) == (False, GOING)
        assert "held by example.com/cleanup" in verdict.reason
        assert said.startswith("waiting until it is gone: Service n/web")
        assert said.count("waiting") == 1

    @pytest.mark.parametrize("whole", [True, False])
    def test_what_went_meanwhile_is_missing(
        self, monkeypatch: pytest.MonkeyPatch, whole: bool
    ) -> None:
        verdict, _ = judged(Api(going={"web": ()}, answers=3), monkeypatch, whole=whole)
        assert (verdict.passed, verdict.kind) == (False, ALTERED)
        assert "Service n/web was deleted" in verdict.reason

    @pytest.mark.parametrize("whole", [True, False])
    def test_what_was_gone_before_is_missed_only_of_what_was_restored(
        self, monkeypatch: pytest.MonkeyPatch, whole: bool
    ) -> None:
        verdict, _ = judged(Api(gone=("settings", "web")), monkeypatch, whole=whole)
        assert verdict.passed is not whole
        if whole:
            assert "ConfigMap n/settings, Service n/web were deleted" in verdict.reason

    def test_they_are_told_in_one_order_whichever_was_made_first(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setitem(globals(), "STATE", STATE[::-1])
        verdict, _ = judged(Api(gone=("settings", "web")), monkeypatch, whole=True)
        assert "ConfigMap n/settings, Service n/web were deleted" in verdict.reason

    def test_what_stays_beside_the_release_is_no_matter(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        apart = tuple(it["urn"] for it in STATE if it.get("id") in ("n/settings", "n/web"))
        api = Api(gone=("settings",), going={"web": ("example.com/cleanup",)})
        verdict, said = judged(api, monkeypatch, whole=True, apart=apart)
        assert (verdict, said) == (GOOD, "")

    def test_a_silent_cluster_is_a_note(self, monkeypatch: pytest.MonkeyPatch) -> None:
        verdict, _ = judged(Api(silent=True), monkeypatch, whole=True)
        assert verdict.passed
        assert verdict.notes == ("whether all of it is there: no answer",)


class TestRollback:
    """It makes again what went, and says what it cannot make because something holds it."""

    def stage(self, *verdicts: Verdict) -> Stage:
        stage = Stage(history=[release(2, verified=True), release(1, verified=True)])
        stage.restores, stage.verdicts = [Ran(outcome())] * len(verdicts), list(verdicts)
        return stage

    def test_once_it_is_gone_it_is_made_by_restoring_once_more(self) -> None:
        stage = self.stage(standing(GOOD, (), ("Service n/web",)), PASSED)
        stage.outside = ["somebody changed what was deployed"]
        assert rollback(stage.flow, RollbackRequest(yes=True)).verdict == PASSED
        assert sum(it.startswith("restore:") for it in stage.did) == 2

    def test_while_it_is_held_it_is_told_and_nothing_is_verified(self) -> None:
        held = f"Service n/web is being deleted since {SINCE}, held by example.com/cleanup"
        stage = self.stage(standing(GOOD, (held,), ()))
        with pytest.raises(AegisError) as failed:
            rollback(stage.flow, RollbackRequest(yes=True))
        assert failed.value.code is ExitCode.NOT_ROLLED_BACK
        assert "is not complete" in failed.value.what
        assert held in failed.value.why
        assert "NOT verified" in failed.value.state
        assert "aegis recover --stack s" in failed.value.next
        assert not any(it.startswith("verify") for it in stage.did)


def test_a_stack_without_objects_needs_no_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    nobody = cast("Any", None)
    session = Session()
    monkeypatch.setattr(session, "resources", lambda: STATE[3:4])
    clusters = Clusters(cast("Any", session), ambient=lambda: pytest.fail("it was asked for"))
    made = GateRunner(
        cast("Any", session), Output(), clusters, takeover=nobody, recorder=nobody, signals=nobody
    )
    assert made.standing() == Standing()


def test_before_a_rollback_only_what_is_in_its_way_is_waited_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "_LOOK_SECONDS", 0.001)
    it, nobody, session = _Streams(), cast("Any", None), cast("Any", Session())
    apis = [
        Api(silent=True),
        Api(going={"web": (), "settings": ("example.com/cleanup",)}, answers=3),
    ]
    clusters = Clusters(session, ambient=lambda: cast("Cluster", apis[-1]))
    made = GateRunner(
        session, it.out, clusters, takeover=nobody, recorder=nobody, signals=Signals()
    )
    web = next(it["urn"] for it in STATE if it.get("id") == "n/web")
    made.let_go([web])
    said = it.messages.getvalue()
    assert said == f"waiting until it is gone: Service n/web is being deleted since {SINCE}\n"
    apis.pop()
    made.let_go([web])


def test_nobody_is_waited_for_once_a_signal_came() -> None:
    signals, nobody = Signals(), cast("Any", None)
    signals.received = 15
    session = cast("Any", Session())
    clusters = Clusters(session, ambient=lambda: cast("Cluster", Api(going={"web": ()})))
    made = GateRunner(
        session, Output(), clusters, takeover=nobody, recorder=nobody, signals=signals
    )
    assert made.standing().going == (f"Service n/web is being deleted since {SINCE}",)


class TestDeploy:
    """It makes again what is gone, and tells."""

    def flow(self, found: Standing) -> tuple[FlowContext, _Streams]:
        it = _Streams()
        made = FlowContext.of(cast("Any", Session()), it.out, Signals())
        cast("Any", made.gate_runner).standing = lambda: found
        return made, it

    @pytest.mark.parametrize(
        ("gone", "refreshes"),
        [((), False), (("Job n/once", "Pod n/it"), False), (("Job n/once", "Service n/web"), True)],
    )
    def test_looks_at_what_there_is_only_when_something_has_to_be_made_again(
        self, gone: tuple[str, ...], refreshes: bool
    ) -> None:
        made, it = self.flow(Standing(gone=gone))
        require_standing(made, made.gate_runner.standing)
        assert made.program_update.refreshes is refreshes
        told = "is gone, and is made again: Job n/once, Service n/web"
        assert (told in it.messages.getvalue()) is refreshes

    def test_is_refused_while_something_is_held(self) -> None:
        made, _ = self.flow(Standing(going=("Service n/web is being deleted",)))
        with pytest.raises(AegisError) as refused:
            require_standing(made, made.gate_runner.standing)
        assert refused.value.code is ExitCode.REFUSED
        assert "--force" in refused.value.next

    def test_what_nobody_can_look_at_is_told(self, monkeypatch: pytest.MonkeyPatch) -> None:
        made, it = self.flow(Standing())

        def silent() -> Standing:
            raise ApiError(0, "no answer")

        monkeypatch.setattr(made.gate_runner, "standing", silent)
        require_standing(made, made.gate_runner.standing)
        assert "is not known" in it.messages.getvalue()
