"""Updates under watch: what is done about a cluster that does not answer."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass, field
from io import StringIO
from typing import Any, Self, cast

import pytest

from aegis_deploy.common.console import Output
from aegis_deploy.common.errors import AegisError, ExitCode
from aegis_deploy.common.signals import Signals
from aegis_deploy.kubernetes.client import Cluster
from aegis_deploy.locking.takeover import Takeover
from aegis_deploy.model.events import Event, Outcome, UpdateFailure
from aegis_deploy.model.gate_settings import GateSettings
from aegis_deploy.model.timeline import UPDATE
from aegis_deploy.model.verdict import LOST, Verdict
from aegis_deploy.model.workloads.rollout import Rollout, Workload
from aegis_deploy.operations import update_runner as module
from aegis_deploy.operations.update_runner import Ran, UpdateRunner
from aegis_deploy.pods.onward import Onward
from aegis_deploy.report.recorder import Recorder
from tests.unit.aegis_deploy.stage import outcome

WEB = Workload(namespace="team", name="web")
GONE = Verdict(passed=False, reason="the cluster did not answer", kind=LOST)


@dataclass
class Script:
    """What the watch will see, and what was done.

    Attributes:
        knows: Whether the state before is known.
        answers: Whether the cluster answers when it is waited for, one after the other.
        evidence: What is seen while the update runs.
        did: What was done, in order.
    """

    knows: bool = True
    answers: list[bool] = field(default_factory=list)
    evidence: Verdict | None = None
    did: list[str] = field(default_factory=list)
    told: Callable[[Verdict], None] | None = None
    killed: threading.Event = field(default_factory=threading.Event)

    def stop(self) -> None:
        """Stop the update."""
        self.did.append("stop")

    def kill(self) -> None:
        """End the CLI by force."""
        self.did.append("kill")
        self.killed.set()


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Script:
    made = Script()

    class _Watch:
        silent = 12.0
        loss = "connection refused"

        def __init__(self, *_: object, on_failure: Callable[[Verdict], None], **__: object) -> None:
            made.told = on_failure

        def __enter__(self) -> Self:
            return self

        def __exit__(self, *_: object) -> None:
            pass

        @property
        def knows(self) -> bool:
            return made.knows

        @property
        def failure(self) -> Verdict | None:
            return made.evidence

        def reached(self, *_: object, **__: object) -> bool:
            made.did.append("wait for the cluster")
            return made.answers.pop(0)

        def serving(self) -> str:
            return "the release before"

        def progress(self) -> dict[Workload, Rollout]:
            return {}

        def held_up(self) -> list[str]:
            return ["StatefulSet db is not rolled out; init container wait still runs"]

    monkeypatch.setattr("aegis_deploy.kubernetes.rollout_monitor.RolloutMonitor", _Watch)
    monkeypatch.setattr("aegis_deploy.report.timeline_store.save", lambda *_, **__: None)
    return made


def run(script: Script, came_to: Callable[[], Outcome], onward: Onward | None = None) -> Ran:
    """Run an update under watch."""

    class _Session:
        name = "s"
        engine = script

    class _Turn:
        session = _Session()

        def noting(self, run: Any) -> Any:
            return run

        def begins(self) -> None:
            pass

        def require(self) -> None:
            pass

    class _Signals:
        received = None

        @contextmanager
        def stopping(self, _: object) -> Any:
            yield

    def update(_: Callable[[Event], None]) -> Outcome:
        script.did.append("update")
        return came_to()

    out = Output(results=StringIO(), messages=StringIO(), answers=StringIO())
    takeover, signals = cast("Takeover", _Turn()), cast("Signals", _Signals())
    update_runner = UpdateRunner(
        takeover, out, signals, lambda _: cast("Cluster", None), Recorder("s")
    )
    gate, stop = GateSettings(), script.stop
    return update_runner.run(UPDATE, "updating", update, [WEB], gate, stop=stop, onward=onward)


def test_a_cluster_that_answers_is_not_waited_for(script: Script) -> None:
    assert run(script, outcome).outcome.succeeded
    assert script.did == ["update"]


def test_nothing_is_begun_on_a_cluster_that_does_not_answer(script: Script) -> None:
    script.knows, script.answers = False, [False]
    with pytest.raises(AegisError) as caught:
        run(script, outcome)
    assert script.did == ["wait for the cluster"]
    assert caught.value.code is ExitCode.REFUSED
    assert caught.value.why == "connection refused"
    assert caught.value.next.endswith("once it does: the same again")


def test_one_that_comes_back_in_time_is_worked_on(script: Script) -> None:
    script.knows, script.answers = False, [True]
    assert run(script, outcome).outcome.succeeded
    assert script.did == ["wait for the cluster", "update"]


def test_after_an_update_that_failed_the_cluster_is_waited_for(script: Script) -> None:
    script.answers = [True]
    ran = run(script, lambda: outcome(False))
    assert script.did == ["update", "wait for the cluster"]
    assert (ran.evidence, ran.silent) == (None, 12.0)


def test_what_holds_up_a_rollout_is_said_of_an_update_that_only_timed_out(script: Script) -> None:
    script.answers = [True]
    ran = run(script, lambda: outcome(False, failures=(UpdateFailure("urn::db", "timed out"),)))
    assert ran.outcome.why.splitlines() == [
        "db: timed out",
        "StatefulSet db is not rolled out; init container wait still runs",
    ]
    assert run(script, outcome).outcome.failures == ()


def test_pods_in_the_way_of_what_goes_forward_are_replaced_beside_it(
    script: Script, monkeypatch: pytest.MonkeyPatch
) -> None:
    class _Replacement:
        def __init__(self, *given: Any, **_: object) -> None:
            _, self.workloads, _, self.onward = given
            self.replaced = ["pod db-1"]

        def __enter__(self) -> Self:
            script.did.append(f"look at {', '.join(map(str, self.workloads))}")
            return self

        def __exit__(self, *_: object) -> None:
            script.did.append("look no more")

        def hear(self, _: Event) -> None:
            pass

    monkeypatch.setattr("aegis_deploy.pods.pod_replacement.Replacement", _Replacement)
    database = Workload(namespace="team", name="db", kind="StatefulSet")
    ran = run(script, outcome, Onward({database: "urn"}))
    assert ran.replaced == ("pod db-1",)
    assert script.did == ["look at StatefulSet team/db", "update", "look no more"]
    script.did.clear()
    assert run(script, outcome, Onward({})).replaced == ()
    assert script.did == ["update"]


def test_an_update_that_ends_when_told_is_not_killed(script: Script) -> None:
    script.answers = [False]

    def ends() -> Outcome:
        assert script.told is not None
        script.told(GONE)
        return outcome(False, stopped=True)

    run(script, ends)
    assert script.did == ["update", "stop", "wait for the cluster"]


def test_one_that_hangs_on_a_lost_cluster_is(
    script: Script, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_LOST_END_SECONDS", 0.01)
    script.answers = [False]

    def hangs() -> Outcome:
        assert script.told is not None
        script.told(GONE)
        assert script.killed.wait(60)
        return outcome(False, killed=True)

    assert run(script, hangs).outcome.killed
    assert script.did == ["update", "stop", "kill", "wait for the cluster"]


def test_one_that_hangs_after_other_evidence_is_left_to_itself(
    script: Script, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_LOST_END_SECONDS", 0.0)
    script.answers = [True]

    def ends() -> Outcome:
        assert script.told is not None
        script.told(Verdict(passed=False, reason="crashed", kind="crash"))
        assert not script.killed.wait(0.1)
        return outcome(False, stopped=True)

    run(script, ends)
    assert script.did == ["update", "stop", "wait for the cluster"]
