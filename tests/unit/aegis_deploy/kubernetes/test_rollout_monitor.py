"""What the watch makes of a cluster that stops answering for a while, and of a deletion."""

from __future__ import annotations

import copy
from queue import Queue
from typing import Any, cast

import pytest

from aegis_deploy.kubernetes import rollout_monitor as module
from aegis_deploy.kubernetes.client import Cluster
from aegis_deploy.kubernetes.informer import Informer
from aegis_deploy.kubernetes.rollout_failures import DELETED, RolloutFailure
from aegis_deploy.kubernetes.rollout_monitor import LOST_SECONDS, RolloutMonitor, Rollouts, detail
from aegis_deploy.model.gate_settings import GateSettings
from aegis_deploy.model.verdict import Verdict
from aegis_deploy.model.workloads.rollout import Snapshot, Workload
from tests.unit.aegis_deploy.kubernetes.test_rollout_failures import recorded, snapshot
from tests.unit.aegis_deploy.sets import HANGING, RUNNING, job, pod, stateful_set
from tests.unit.aegis_deploy.two_clusters import GATE, at, place, two_apis, workload

WEB = Workload(namespace="team", name="web")
SETTINGS = GateSettings()


class _Informer:
    """One state of a cluster that answers or does not."""

    complete = True

    def __init__(self, state: Snapshot) -> None:
        self.state = state
        self.lost_for = 0.0
        self.heard = 0.0

    def snapshot(self, _workload: Workload) -> Snapshot:
        """Return it."""
        return self.state


def _rollouts(name: str, *, upcoming: bool = False) -> tuple[_Informer, Rollouts]:
    found: dict[str, Any] = recorded(name)
    informer = _Informer(snapshot(found))
    return informer, Rollouts(cast("Informer", informer), [WEB], SETTINGS, upcoming=upcoming)


def test_the_time_in_which_the_cluster_does_not_answer_counts_against_no_pod() -> None:
    informer, rollouts = _rollouts("unready")
    assert rollouts.failure() is None
    informer.lost_for = 600.0
    informer.heard = SETTINGS.unready_seconds + 1
    assert rollouts.failure() is None, "what it shows is old"
    informer.lost_for = 0.0
    # Only what was heard counts, however much later it is.
    informer.heard = SETTINGS.unready_seconds - 0.1
    assert rollouts.failure() is None
    informer.heard = SETTINGS.unready_seconds
    found = rollouts.failure()
    assert found is not None
    assert found[1].kind == "unready"


def test_what_can_never_become_good_is_evidence_once_the_cluster_answers_again() -> None:
    informer, rollouts = _rollouts("image")
    informer.lost_for = 5.0
    assert rollouts.failure() is None
    informer.lost_for = 0.0
    found = rollouts.failure()
    assert found is not None
    assert found[1].kind == "image"


def _changed(state: Snapshot, **metadata: Any) -> Snapshot:
    deployment = copy.deepcopy(dict(state.live or {}))
    deployment["metadata"].update(metadata)
    return Snapshot(live=deployment, revisions=state.revisions, pods=state.pods)


def test_a_deployment_that_somebody_deletes_in_its_rollout_is_evidence_at_once() -> None:
    informer, rollouts = _rollouts("complete", upcoming=True)
    assert rollouts.failure() is None
    informer.state = _changed(informer.state, generation=1000)
    assert rollouts.failure() is None
    for gone in (_changed(informer.state, deletionTimestamp="now"), Snapshot(live=None)):
        informer.state = gone
        found = rollouts.failure()
        assert found is not None
        assert found[1].kind == DELETED
        assert "team/web" in found[1].reason


def test_one_that_the_update_itself_deletes_is_not() -> None:
    informer, rollouts = _rollouts("complete", upcoming=True)
    assert rollouts.failure() is None
    # A deletion that waits for what is owned raises the generation, too.
    informer.state = _changed(informer.state, generation=1000, deletionTimestamp="now")
    assert rollouts.failure() is None
    informer.state = Snapshot(live=None)
    assert rollouts.failure() is None


class _Cluster:
    """A cluster that is asked nothing of which the answer matters."""


class _Heard(_Informer):
    """One that answers small questions, or does not."""

    refusal: str | None = None
    loss = "no answer"
    silent = 0.0

    def __init__(self, state: Snapshot, *answers: int) -> None:
        super().__init__(state)
        self.answers = list(answers)
        self.asked = 0

    @property
    def beats(self) -> int:
        """Answer as was prepared, the last for ever."""
        self.asked += 1
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


def _watch(informer: _Heard) -> RolloutMonitor:
    watch = RolloutMonitor(cast("Cluster", _Cluster()), [WEB], SETTINGS)
    watch._informer = cast("Informer", informer)
    return watch


def test_an_outage_is_waited_out() -> None:
    informer = _Heard(snapshot(recorded("complete")), 7, 7, 7, 8)
    informer.lost_for = LOST_SECONDS - 1
    watch = _watch(informer)
    assert watch.reached()
    assert informer.asked == 4
    assert watch.failure is None


def test_one_that_does_not_end_is_the_verdict() -> None:
    informer = _Heard(snapshot(recorded("complete")), 7)
    informer.lost_for = LOST_SECONDS + 1
    watch = _watch(informer)
    assert not watch.reached()
    assert watch.failure is not None
    assert watch.failure.lost
    assert "no answer" in watch.failure.reason


def test_whoever_is_in_a_hurry_waits_less_and_has_no_verdict() -> None:
    informer = _Heard(snapshot(recorded("complete")), 7)
    informer.lost_for = 6.0
    watch = _watch(informer)
    assert not watch.reached(5.0)
    assert watch.failure is None
    informer.lost_for = 0.0
    assert not watch.reached(gives_up=lambda: True)


class _Saying:
    """A cluster that says what it is told to."""

    def __init__(self, events: Any) -> None:
        self._events = events

    def logs(self, *_: Any, **__: Any) -> str:
        return "the last line"

    def events(self, *_: Any) -> Any:
        if isinstance(self._events, Exception):
            raise self._events
        return self._events


@pytest.mark.parametrize(
    ("events", "said"),
    [
        ([{"type": "Warning", "involvedObject": {"kind": "Deployment"}, "metadata": {}}], ()),
        ([{"type": "Warning", "reason": "X", "involvedObject": None}], ()),
        ([None], ("its log and its events cannot be read: AttributeError",)),
        (RuntimeError("odd"), ("its log and its events cannot be read: RuntimeError: odd",)),
    ],
)
def test_what_the_cluster_says_of_it_keeps_no_failure_from_being_told(
    events: Any, said: tuple[str, ...]
) -> None:
    failure = RolloutFailure(kind="deadline", reason="x")
    found = detail(cast("Cluster", _Saying(events)), WEB, failure)
    assert len(found) == len(said)
    assert all(line.startswith(start) for line, start in zip(found, said, strict=True))


@pytest.mark.parametrize("recovers", [True, False])
def test_a_look_that_fails_ends_no_watch_and_lasting_blindness_is_the_verdict(
    monkeypatch: pytest.MonkeyPatch, recovers: bool
) -> None:
    monkeypatch.setattr(module, "LOST_SECONDS", 600.0 if recovers else 0.2)
    found: Queue[Verdict] = Queue()
    watch = RolloutMonitor(cast("Cluster", None), [WEB], SETTINGS, on_failure=found.put)
    looks: list[int] = []

    def look() -> Verdict | None:
        looks.append(1)
        if recovers and len(looks) > 3:
            return Verdict(passed=False, reason="it crashed", kind="crash")
        raise KeyError("name")

    monkeypatch.setattr(watch, "_look", look)
    monkeypatch.setattr(watch, "_lost", lambda: None)
    watch._thread.start()
    verdict = found.get(timeout=60)
    assert verdict.lost is not recovers
    wanted = "it crashed" if recovers else "KeyError: 'name'"
    assert wanted in verdict.reason


class TestAJob:
    """It is watched for evidence, and is no rollout."""

    MIGRATE = Workload(namespace="shop", name="db", kind="Job")

    def _rollouts(self, state: Snapshot) -> tuple[_Informer, Rollouts]:
        informer = _Informer(state)
        watched = Rollouts(cast("Informer", informer), [self.MIGRATE], SETTINGS, upcoming=True)
        assert watched.failure() is None, "what failed before is the past"
        return informer, watched

    def test_that_fails_in_an_update_is_evidence(self) -> None:
        informer, watched = self._rollouts(Snapshot(live=None, kind="Job"))
        informer.state = job(failed="BackoffLimitExceeded")
        found = watched.failure()
        assert found is not None
        assert found[1].kind == "job"

    def test_that_failed_before_is_none_while_it_goes_to_be_made_again(self) -> None:
        informer, watched = self._rollouts(job(failed="DeadlineExceeded"))
        going = job(failed="DeadlineExceeded", going=True)
        assert going.live is not None
        metadata = {**going.live["metadata"], "generation": 9}
        informer.state = Snapshot(live={**going.live, "metadata": metadata}, kind="Job")
        assert watched.failure() is None

    def test_that_is_done_may_be_tidied_away(self) -> None:
        informer, watched = self._rollouts(Snapshot(live=None, kind="Job"))
        informer.state = job()
        assert watched.failure() is None
        informer.state = Snapshot(live=None, kind="Job")
        assert watched.failure() is None

    def test_is_waited_for_by_its_provider_alone(self) -> None:
        _, watched = self._rollouts(job())
        assert watched.progress() == {}
        assert watched.complete()
        assert watched.serving() == ""


def test_what_is_deleted_in_its_rollout_is_called_by_its_kind() -> None:
    db = Workload(namespace="shop", name="db", kind="StatefulSet")
    informer = _Informer(stateful_set(generation=1))
    watched = Rollouts(cast("Informer", informer), [db], SETTINGS, upcoming=True)
    assert watched.failure() is None
    informer.state = stateful_set(pod("db-0"), pod("db-1"))
    assert watched.failure() is None
    informer.state = Snapshot(live=None, kind="StatefulSet")
    found = watched.failure()
    assert found is not None
    assert found[1].reason == "somebody deleted StatefulSet shop/db"


def test_what_a_rollout_waits_for_is_said_of_its_own_pods_alone() -> None:
    db = Workload(namespace="shop", name="db", kind="StatefulSet")
    hangs = pod("db-1", ready=False, state=HANGING, initial=RUNNING)
    informer = _Informer(stateful_set(pod("db-0"), hangs, generation=1))
    watched = Rollouts(cast("Informer", informer), [db], SETTINGS, upcoming=True)
    assert watched.failure() is None
    assert watched.held_up() == [], "it was so before"
    informer.state = stateful_set(pod("db-0"), hangs)
    (line,) = watched.held_up()
    assert line.startswith("StatefulSet db is not rolled out; init container wait of pod db-1 ")
    assert line.endswith("still runs, and the pod waits for its end")
    informer.state = stateful_set(pod("db-0"), pod("db-1"))
    assert watched.held_up() == []


def test_the_watch_of_an_update_sees_what_fails_in_either() -> None:
    apis = two_apis()
    place(apis["east"], "complete")
    place(apis["west"], "crash-loop")
    found: Queue[Verdict] = Queue()
    watched = [workload("east"), workload("west")]
    with RolloutMonitor(at(apis), watched, GATE, upcoming=False, on_failure=found.put):
        verdict = found.get(timeout=60)
    assert verdict.reason.endswith(" (provider west)")
    assert any("log of west" in line for line in verdict.evidence)
