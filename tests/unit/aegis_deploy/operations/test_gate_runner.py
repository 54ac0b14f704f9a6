"""What a gate let pass is held to what is in each cluster."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import pytest

from aegis_deploy.common.errors import AegisError
from aegis_deploy.drift.external_changes import ALTERED, hands
from aegis_deploy.flows import preconditions, workloads
from aegis_deploy.kubernetes.client import ApiError
from aegis_deploy.model.events import Outcome, UpdateFailure
from aegis_deploy.model.verdict import LOST, Verdict
from tests.unit.aegis_deploy.drift.test_clusters import provider
from tests.unit.aegis_deploy.kubernetes.test_managed_fields import entry
from tests.unit.aegis_deploy.stage import outcome
from tests.unit.aegis_deploy.two_clusters import (
    CONFIGS,
    GATE,
    PATH,
    WEST,
    Stack,
    config,
    deployed,
    standing,
    there,
)

PASSED = Verdict(passed=True, reason="good")


@pytest.fixture
def stack(monkeypatch: pytest.MonkeyPatch) -> Stack:
    return standing(monkeypatch)


def compared(stack: Stack) -> Verdict:
    found = workloads.of_state(stack.flow)
    assert [it.cluster for it in found] == ["east", "west"]
    return stack.flow.gate_runner._compared(PASSED, found)


def test_what_is_as_declared_passes(stack: Stack) -> None:
    assert compared(stack) == PASSED


def test_an_image_that_somebody_set_in_one_is_found_there(stack: Stack) -> None:
    by = [entry("kubectl-set", "f:spec", "f:template", "f:spec", "f:containers")]
    other = there(deployed(WEST, "web:2"), managedFields=by)
    other["metadata"]["managedFields"][0]["fieldsV1"] = {
        "f:spec": {
            "f:template": {"f:spec": {"f:containers": {'k:{"name":"web"}': {"f:image": {}}}}}
        }
    }
    stack.apis["west"].lists[PATH] = [other]
    verdict = compared(stack)
    assert verdict.kind == ALTERED
    (line,) = verdict.evidence
    assert "web:2" in line
    assert line.endswith(" (provider west)")


def test_what_pods_read_is_looked_for_in_their_own_cluster(stack: Stack) -> None:
    stack.apis["west"].lists[CONFIGS] = []
    verdict = compared(stack)
    assert (verdict.kind, "ConfigMap settings" in verdict.reason) == (ALTERED, True)


def test_what_only_the_other_cluster_declares_is_not_missed(stack: Stack) -> None:
    stack.raw[:] = [it for it in stack.raw if it["urn"] != config(WEST)["urn"]]
    stack.apis["west"].lists[CONFIGS] = []
    assert compared(stack) == PASSED


def test_what_is_being_deleted_is_told_with_its_cluster(stack: Stack) -> None:
    going = there(config(WEST), deletionTimestamp="2026-01-02T03:04:05Z")
    stack.apis["west"].lists[CONFIGS] = [going]
    stack.apis["east"].lists[CONFIGS] = []
    stack.monkeypatch.setattr("aegis_deploy.operations.gate_runner._GOING_SECONDS", 0.0)
    found = stack.flow.gate_runner.standing()
    assert found.going == (
        "ConfigMap shop/settings is being deleted since 2026-01-02T03:04:05Z (provider west)",
    )
    assert found.gone == ("ConfigMap shop/settings (provider east)",)


def test_a_cluster_that_is_silent_leaves_the_others_looked_at(stack: Stack) -> None:
    stack.apis["east"].lists[CONFIGS] = []
    stack.apis["west"].silent = True
    found = stack.flow.gate_runner.standing()
    assert found.gone == ("ConfigMap shop/settings (provider east)",)
    assert found.unknown == ("provider west: west does not answer",)
    preconditions.require_standing(stack.flow, stack.flow.gate_runner.standing)
    assert "provider west: west does not answer" in stack.streams.messages.getvalue()


def test_no_cluster_at_all_is_an_error(stack: Stack) -> None:
    for it in stack.apis.values():
        it.silent = True
    with pytest.raises(ApiError):
        stack.flow.gate_runner.standing()


@pytest.mark.parametrize("dry", [True, False])
def test_where_there_is_no_way_to_one_nothing_passes(stack: Stack, dry: bool) -> None:
    del stack.apis["west"]
    stack.flow.takeover.unjudged = True
    gate_runner = stack.flow.gate_runner
    found = workloads.of_state(stack.flow)
    if dry:
        with pytest.raises(AegisError) as refused:
            gate_runner.judge(found, GATE, dry=True)
        assert "(provider west)" in refused.value.what
        return
    verdict = gate_runner.judge(found, GATE)
    assert (verdict.passed, verdict.kind) == (False, LOST)
    assert "(provider west)" in verdict.reason
    assert stack.flow.takeover.unjudged, "it is yet to be judged"


def test_hands_are_seen_in_each_that_answers(stack: Stack) -> None:
    pulumi = entry("pulumi-kubernetes", "f:spec", "f:x", time="2026-01-02T03:04:05Z")
    person = entry("kubectl-edit", "f:spec", "f:replicas", time="2026-01-02T03:04:06Z")
    changed = there(deployed(WEST), managedFields=[pulumi, person])
    stack.apis["west"].lists[PATH] = [changed]
    stack.apis["east"].silent = True
    assert hands(changed)
    ran = cast("Any", type("Ran", (), {"outcome": None, "silent": 0.0}))
    said = stack.flow.gate_runner.external_cause(workloads.of_state(stack.flow), ran, None)
    assert said is not None
    assert said.endswith(" (provider west)")


def test_what_is_written_to_files_is_said_not_to_be_judged(stack: Stack) -> None:
    files = provider("files", renderYamlToDirectory="out")
    stack.raw[:] = [files, deployed(files)]
    found = workloads.of_state(stack.flow)
    verdict = stack.flow.gate_runner.judge(found, GATE)
    assert "Deployment web-files: its provider writes it to a file" in verdict.notes
    assert stack.connections == []


class TestADatabaseThatIsAway:
    """It is no verdict, where the evidence is of the kind that it brings about."""

    LATE = Verdict(passed=False, reason="pod a is not ready for 20 s", kind="unready")
    ENDED = outcome(False, failures=(UpdateFailure("urn::a", "timed out\nwaiting for pods"),))

    @pytest.fixture
    def asked(self, stack: Stack) -> list[int]:
        found: list[int] = []

        def says(_: object, given: Sequence[object], __: object) -> str:
            found.append(len(given))
            return "a-1, a-2" if len(found) == 1 else ""

        stack.monkeypatch.setattr("aegis_deploy.gate.silent_database.who_says_away", says)
        return found

    def test_what_waits_meanwhile_is_neither_good_nor_bad(
        self, stack: Stack, asked: list[int]
    ) -> None:
        found = workloads.of_state(stack.flow)
        said = stack.flow.gate_runner.untold(found, GATE, self.LATE)
        assert said is not None
        assert (said.lost, said.silent) == (True, "database")
        assert said.reason == (
            "pod a is not ready for 20 s, while the database was away, as pods say that are "
            "ready: a-1, a-2"
        )
        assert stack.flow.gate_runner.untold(found, GATE, self.LATE) is None, "it is back"
        assert asked == [2, 2]

    def test_nor_is_what_its_provider_gave_up(self, stack: Stack, asked: list[int]) -> None:
        found = workloads.of_state(stack.flow)
        said = stack.flow.gate_runner.untold(found, GATE, None, self.ENDED)
        assert said is not None
        assert said.reason.endswith(
            "timed out, while the database was away, as pods say that are ready: a-1, a-2"
        )
        assert said.evidence == ("waiting for pods",)
        assert asked == [2]

    @pytest.mark.parametrize(
        ("verdict", "ended"),
        [
            (PASSED, None),
            (None, outcome()),
            (None, None),
            (Verdict(passed=False, reason="no such image", kind="image"), ENDED),
            (Verdict(passed=False, reason="answers 500", kind="success-ratio"), None),
        ],
    )
    def test_nobody_is_asked_where_that_is_no_matter(
        self, stack: Stack, asked: list[int], verdict: Verdict | None, ended: Outcome | None
    ) -> None:
        found = workloads.of_state(stack.flow)
        assert stack.flow.gate_runner.untold(found, GATE, verdict, ended) is None
        assert asked == []
