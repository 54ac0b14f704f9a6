"""Which Services a gate probes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, cast

import pytest

from ops.cluster import Cluster
from ops.gate_routes import Routes
from ops.mirror import Mirror
from ops.workload import Snapshot, Workload

PATH = "/readyz"


def deployment(name: str, replicas: int) -> dict[str, Any]:
    labels = {"app": name}
    return {
        "metadata": {"name": name, "namespace": "n", "uid": name},
        "spec": {
            "replicas": replicas,
            "template": {"metadata": {"labels": labels}, "spec": {"containers": [{}]}},
        },
    }


@dataclass
class Held:
    """A live copy of some Deployments, and the cluster that has a Service for each."""

    replicas: dict[str, int]
    silent: float = 0.0
    asked: list[str] = field(default_factory=list)

    def snapshot(self, workload: Workload) -> Snapshot:
        return Snapshot(deployment=deployment(workload.name, self.replicas[workload.name]))

    def get(self, path: str) -> dict[str, Any]:
        self.asked.append(path)
        return {
            "items": [
                {
                    "metadata": {"name": name, "namespace": "n"},
                    "spec": {
                        "selector": {"app": name},
                        "ports": [{"port": 80}],
                        "clusterIP": "None",
                    },
                }
                for name in self.replicas
            ]
        }


def routes(**replicas: int) -> tuple[list[str], str]:
    held = Held(replicas)
    workloads = [Workload(namespace="n", name=name) for name in replicas]
    made = Routes(
        cast("Cluster", held), cast("Mirror", held), workloads, PATH, on_silence=pytest.fail
    )
    found, why = made.of_services()
    return [it.name for it in found], why


def test_one_for_each_that_runs_pods() -> None:
    assert routes(web=1, api=3) == (["through the API server"] * 2, "")


def test_where_no_pods_are_to_run_nothing_is_probed_and_it_is_said() -> None:
    assert routes(web=0) == ([], "web is to run no pods")
    assert routes(web=0, api=0) == ([], "api is to run no pods")


def test_what_is_turned_off_keeps_nothing_else_from_being_probed() -> None:
    assert routes(web=0, api=1) == (["through the API server"], "")
