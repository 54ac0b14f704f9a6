"""Pods by release, as a timeline shows them, and probes as a recording hears of them."""

from __future__ import annotations

import threading
from typing import Any

from aegis_deploy.gate.prober import Prober
from aegis_deploy.model.probe_metrics import Answer
from aegis_deploy.model.workloads.rollout import Group, Snapshot, rollout


def pod(
    release: str, version: str | None, *, ready: bool = True, going: bool = False
) -> dict[str, Any]:
    labels = {"pod-template-hash": release}
    if version is not None:
        labels["app.kubernetes.io/version"] = version
    metadata: dict[str, Any] = {"name": release, "labels": labels}
    if going:
        metadata["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    status = {"conditions": [{"type": "Ready", "status": str(ready)}]}
    return {"metadata": metadata, "status": status}


def test_pods_are_counted_by_release_without_those_that_are_ending() -> None:
    deployment = {"metadata": {"name": "web"}, "spec": {"replicas": 2}}
    pods = (
        pod("aaa", "1.0"),
        pod("aaa", "1.0", going=True),
        pod("bbb", "2.0", ready=False),
        pod("bbb", "2.0"),
        pod("ccc", None),
    )
    assert rollout(Snapshot(live=deployment, pods=pods)).groups == (
        Group(key="aaa", name="1.0", pods=1, ready=1),
        Group(key="bbb", name="2.0", pods=2, ready=1),
        Group(key="ccc", name="ccc", pods=1, ready=1),
    )


class Route:
    """A way on which every answer is good."""

    name = "nowhere"
    proxied = False

    def send(self, path: str, *, fresh: bool, seconds: float) -> tuple[int, bytes]:  # noqa: ARG002
        return 200, b'{"version": "1.0"}'


def test_whoever_listens_is_told_of_every_probe_and_when_it_was_due() -> None:
    heard: list[tuple[float, Answer]] = []
    enough = threading.Event()

    def listen(due: float, answer: Answer) -> None:
        heard.append((due, answer))
        if len(heard) >= 3:
            enough.set()

    with Prober(lambda: [Route()], "/", rate=100, p99_ms=1000, on_answer=listen) as prober:
        assert enough.wait(120)
    assert len(heard) == prober.figures().total
    assert {answer.version for _, answer in heard} == {"1.0"}
    assert [due for due, _ in heard] != [0.0] * len(heard)
