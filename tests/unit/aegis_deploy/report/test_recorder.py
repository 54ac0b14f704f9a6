"""What a recording hears, on a clock of the test's own."""

from __future__ import annotations

import pytest

from aegis_deploy.model.gate_settings import GateSettings
from aegis_deploy.model.probe_metrics import Answer
from aegis_deploy.model.timeline import GATE, PREVIEW, ROLLBACK, UPDATE
from aegis_deploy.model.verdict import Verdict
from aegis_deploy.model.workloads.rollout import Group, Rollout, Workload
from aegis_deploy.report.recorder import Recorder

WEB = Workload(namespace="shop", name="web")


class Clock:
    """A clock that stands still until it is told to go on."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def recording(clock: Clock) -> Recorder:
    return Recorder("staging", "deploy", clock)


def rollout(*groups: Group, wanted: int = 2) -> dict[Workload, Rollout]:
    return {WEB: Rollout(wanted=wanted, new=0, ready=0, old=0, complete=False, groups=groups)}


def test_phases_and_steps_have_their_times_and_how_they_ended(
    recording: Recorder, clock: Clock
) -> None:
    with recording.phase(UPDATE):
        clock.now += 1
        recording.step("update urn", "update Deployment web", "begins")
        clock.now += 4
        recording.step("update urn", "update Deployment web", "fails")
    with pytest.raises(RuntimeError), recording.phase(ROLLBACK):
        clock.now += 2
        recording.step("update urn", "update Deployment web", "begins")
        raise RuntimeError
    found = recording.timeline(finished=True)
    assert [(it.name, it.at, it.seconds, it.failed) for it in found.phases] == [
        (UPDATE, 0.0, 5.0, False),
        (ROLLBACK, 5.0, 2.0, True),
    ]
    assert [(it.at, it.seconds, it.failed) for it in found.steps] == [
        (1.0, 4.0, True),
        (7.0, None, False),
    ]
    assert (found.seconds, found.finished) == (7.0, True)


def test_a_phase_that_still_runs_has_no_end(recording: Recorder) -> None:
    with recording.phase(UPDATE):
        assert recording.timeline().phases[0].seconds is None


def test_pods_are_noted_when_they_change_and_told_apart_by_workload(
    recording: Recorder, clock: Clock
) -> None:
    one, two = (Group(key="abc", name="1.0", pods=1, ready=it) for it in (0, 1))
    recording.rollouts(rollout(one))
    clock.now += 1
    recording.rollouts(rollout(one))
    clock.now += 1
    recording.rollouts(rollout(two))
    found = recording.timeline().pods
    assert [(it.at, it.groups[0].ready) for it in found] == [(0.0, 0), (2.0, 1)]
    assert found[0].groups[0].key == "shop/web/abc"


def test_workloads_of_one_name_have_keys_of_their_own(recording: Recorder) -> None:
    group = Group(key="abc", name="1.0", pods=1, ready=1)
    kinds = ("Deployment", "StatefulSet")
    found = rollout(group)
    (one,) = found.values()
    recording.rollouts({Workload(namespace="shop", name="web", kind=it): one for it in kinds})
    groups = recording.timeline().pods[0].groups
    assert [(it.key, it.name) for it in groups] == [
        ("shop/web/abc", "web 1.0"),
        ("StatefulSet shop/web/abc", "StatefulSet web 1.0"),
    ]


def test_probes_are_placed_by_when_they_were_due(recording: Recorder) -> None:
    recording.answer(103.5, Answer(ok=False, what="500", milliseconds=5))
    [sample] = recording.timeline().probes
    assert (sample.at, sample.sent, sample.failed) == (3.0, 1, 1)


def test_a_verdict_after_a_rollback_began_is_the_rollbacks(recording: Recorder) -> None:
    recording.asks(GateSettings())
    bad = Verdict(passed=False, reason="it crashed", kind="crash", evidence=("boom",))
    with recording.phase(UPDATE):
        recording.judged(bad)
    with recording.phase(ROLLBACK):
        pass
    with recording.phase(GATE):
        recording.judged(Verdict(passed=True, reason="good"))
    found = recording.timeline()
    assert [(it.of, it.passed) for it in found.judgements] == [
        ("release", False),
        ("rollback", True),
    ]
    assert [it.failed for it in found.phases] == [True, False, False]
    assert found.asked["p99Ms"] == 1000.0


def test_a_look_alone_is_not_worth_keeping(recording: Recorder) -> None:
    with recording.phase(PREVIEW):
        pass
    assert not recording.changed
    with recording.phase(UPDATE):
        assert recording.changed


def test_names_are_in_the_order_of_time() -> None:
    from aegis_deploy.report.recorder import name_of

    names = [name_of(it) for it in (0, 1.5, 99.0, 1_790_000_000.000001, 1_790_000_000.2)]
    assert names == sorted(names)
    assert len(set(names)) == len(names)
