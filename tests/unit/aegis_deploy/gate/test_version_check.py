"""The version check: what pods and answers name is held to what was deployed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, cast

import pytest

from aegis_deploy.gate.version_check import VersionCheck
from aegis_deploy.model.gate_settings import GateSettings
from aegis_deploy.model.probe_metrics import ProbeMetrics
from aegis_deploy.model.workloads.rollout import Snapshot, Workload
from tests.unit.aegis_deploy.sets import OLD, stateful_set
from tests.unit.aegis_deploy.sets import pod as set_pod

WEB = Workload(namespace="team", name="web")
REVISION = {"deployment.kubernetes.io/revision": "2"}


def labelled(version: str) -> dict[str, Any]:
    return {"labels": {"app.kubernetes.io/version": version}}


def pod(name: str, *, ready: bool = True, owner: str = "new") -> dict[str, Any]:
    conditions = [{"type": "Ready", "status": str(ready)}]
    return {
        "metadata": {
            "name": name,
            "uid": name,
            "ownerReferences": [{"controller": True, "uid": owner}],
        },
        "status": {"conditions": conditions},
    }


@dataclass
class Copy:
    """A live copy that holds one Deployment, labelled with a version."""

    pods: tuple[dict[str, Any], ...] = ()
    label: str = "2"
    lost_for: float = 0.0

    def snapshot(self, _: Workload) -> Snapshot:
        return Snapshot(
            live={
                "metadata": {"annotations": REVISION},
                "spec": {"replicas": 2, "template": {"metadata": labelled(self.label)}},
            },
            revisions=({"metadata": {"annotations": REVISION, "uid": "new"}},),
            pods=self.pods,
        )


@dataclass
class Answers:
    """A way to any pod; it remembers whom it was asked for."""

    status: int = 200
    body: str = "{}"
    asked: list[str] = field(default_factory=list)
    there: bool = True

    def of_pod(self, _: Workload, pod: Mapping[str, Any]) -> Answers | None:
        self.asked.append(pod["metadata"]["name"])
        return self if self.there else None

    def send(self, path: str, *, fresh: bool, seconds: float) -> tuple[int, str]:
        assert (path, fresh) == ("/version", True)
        assert seconds > 0
        return self.status, self.body


def checking(
    copy: Copy,
    answers: Answers | None = None,
    *,
    path: str = "/version",
    on: bool = True,
    expected: Mapping[str, str] | None = None,
) -> tuple[VersionCheck, list[str]]:
    """A check, and the notes it makes."""
    notes: list[str] = []
    settings = GateSettings(path=path, version_check=on)
    routes = cast("Any", answers or Answers())
    check = VersionCheck(
        cast("Any", copy),
        (WEB,),
        settings=settings,
        expected=expected,
        routes=routes,
        note=notes.append,
    )
    return check, notes


class TestPods:
    """Each new pod is asked once, as soon as it is ready."""

    def test_one_that_names_another_version_is_wrong(self) -> None:
        check, _ = checking(Copy((pod("web-1"),)), Answers(body=json.dumps({"version": "1"})))
        assert check.wrong_pod() == "pod web-1 answers /version with version 1; 2 was deployed"

    def test_those_that_name_the_label_s_are_not_and_are_asked_once(self) -> None:
        answers = Answers(body=json.dumps({"version": "2", "more": 1}))
        check, notes = checking(Copy((pod("a"), pod("b"))), answers)
        assert (check.wrong_pod(), check.wrong_pod()) == (None, None)
        assert (answers.asked, notes) == (["a", "b"], [])

    def test_every_member_that_is_expected_is_compared(self) -> None:
        answers = Answers(body=json.dumps({"version": "2", "digest": "sha256:b"}))
        check, _ = checking(
            Copy((pod("a"),)), answers, expected={"version": "2", "digest": "sha256:a"}
        )
        assert check.wrong_pod() == (
            "pod a answers /version with digest sha256:b; sha256:a was deployed"
        )

    @pytest.mark.parametrize(
        ("status", "body", "said"),
        [
            (200, "{}", "the version: /version does not name version"),
            (200, "hello", "the version of web's pods: the answer is not JSON"),
            (200, "[]", "the version of web's pods: the answer is no object"),
            (404, "{}", "the version of web's pods: the answer is 404"),
        ],
    )
    def test_what_says_nothing_of_itself_is_noted_only(
        self, status: int, body: str, said: str
    ) -> None:
        check, notes = checking(Copy((pod("a"),)), Answers(status, body))
        assert check.wrong_pod() is None
        assert notes == [said]

    @pytest.mark.parametrize(
        ("copy", "options"),
        [
            (Copy((pod("a", ready=False),)), {}),
            (Copy((pod("a", owner="old"),)), {}),
            (Copy((pod("a"),), label="digest-0123456789ab"), {}),
            (Copy((pod("a"),), lost_for=1.0), {}),
            (Copy((pod("a"),)), {"on": False}),
            (Copy((pod("a"),)), {"path": ""}),
        ],
        ids=["unready", "of the release before", "digest alone", "cluster away", "off", "no path"],
    )
    def test_who_is_not_asked(self, copy: Copy, options: dict[str, Any]) -> None:
        answers = Answers(body=json.dumps({"version": "1"}))
        check, _ = checking(copy, answers, **options)
        assert check.wrong_pod() is None
        assert answers.asked == []

    def test_one_to_which_no_way_leads_yet_is_asked_later(self) -> None:
        answers = Answers(body=json.dumps({"version": "1"}), there=False)
        check, _ = checking(Copy((pod("a"),)), answers)
        assert check.wrong_pod() is None
        answers.there = True
        assert check.wrong_pod() is not None


class TestAnswers:
    """What the Service answered, once only this release can."""

    def test_another_version_is_wrong(self) -> None:
        check, _ = checking(Copy())
        assert check.wrong_answer(ProbeMetrics(total=3, versions={"1": 1, "2": 2})) == (
            "the service answered as version 1; 2 was deployed"
        )

    @pytest.mark.parametrize(
        ("versions", "label", "on"),
        [
            ({"2": 9}, "2", True),
            ({}, "2", True),
            ({"1": 9}, "2", False),
            ({"1": 9}, "digest-0123456789ab", True),
        ],
    )
    def test_nothing_is_wrong(self, versions: dict[str, int], label: str, on: bool) -> None:
        check, _ = checking(Copy(label=label), on=on)
        assert check.wrong_answer(ProbeMetrics(total=9, versions=versions)) is None

    @pytest.mark.parametrize(
        ("versions", "path", "unheard"),
        [
            ({"1": 9}, "/version", True),
            ({"1": 9, "2": 1}, "/version", False),
            ({}, "/version", False),
            ({"1": 9}, "", False),
        ],
    )
    def test_a_release_is_unheard_while_only_another_answers(
        self, versions: dict[str, int], path: str, unheard: bool
    ) -> None:
        # As while kube-proxy still sends everything to pods that end.
        check, _ = checking(Copy(), path=path)
        figures = ProbeMetrics(total=sum(versions.values()), versions=versions)
        assert check.is_unheard(figures) is unheard


def test_pods_that_a_strategy_leaves_at_a_release_before_answer_as_that_one() -> None:
    by_hand: dict[str, Any] = {"updateStrategy": {"type": "OnDelete"}}

    class _Set:
        def snapshot(self, _: Workload) -> Snapshot:
            found = stateful_set(set_pod("db-0", OLD, version="1"), **by_hand)
            assert found.live is not None
            template = {"metadata": labelled("2")}
            live = {**found.live, "spec": {**found.live["spec"], "template": template}}
            return replace(found, live=live)

    check, _ = checking(cast("Any", _Set()))
    assert check.named() == {"1", "2"}
    assert check.wrong_answer(ProbeMetrics(total=9, versions={"1": 9})) is None
    assert check.wrong_answer(ProbeMetrics(total=9, versions={"0": 9})) is not None
    assert not check.is_unheard(ProbeMetrics(total=9, versions={"1": 9}))
