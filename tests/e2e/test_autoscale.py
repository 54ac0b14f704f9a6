"""The program's own autoscaler: the number of pods is its, whoever deploys or goes back.

The tests of this file run in order on one stack, under load. The lab has no metrics server, so that
nothing scales by CPU here: what the autoscaler does by itself is to keep between its two numbers,
and it is by these that the tests have it write the number of pods, as it does by load.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tests.e2e.releases import push_release
from tests.e2e.stand import Finished, Stand, execute
from tests.e2e.traffic import traffic
from tests.series import every

PROJECT = "autoscaling"
NAMESPACE = f"{PROJECT}-staging"
STACK = ("--stack", "staging")
SETTINGS = {
    "minReadySeconds": "1",
    "preStopSeconds": "2",
    "drainSeconds": "5",
    "progressDeadlineSeconds": "600",
}
LEAST, GROWN = 2, 3
"""Half of what production has at first, and then."""
PRODUCTION = {LEAST: "4", GROWN: "6"}
MOST = "8"
SECONDS = 180


def _aegis(at: Stand, *words: str, expect: int | None = 0) -> Finished:
    done = execute("aegis", *words, *STACK, cwd=at.directory, env=at.environment)
    assert expect is None or done.code == expect, f"aegis {words}: {done.code}\n{done.output}"
    return done


def _deploys(at: Stand) -> int:
    return int(json.loads(_aegis(at, "deploy", "--yes", "--json").standard_output)["release"])


def _in_order(at: Stand) -> None:
    """Require that nothing differs from what was declared, whoever is asked."""
    assert json.loads(_aegis(at, "drift", "--json").standard_output)["objects"] == []
    status = json.loads(_aegis(at, "status", "--json").standard_output)["drift"]
    assert (status["found"], status["unknown"]) == ([], "")


def _replicas(at: Stand) -> int:
    return int(at.live("deployment", "aegis-api", NAMESPACE)["spec"]["replicas"])


def _wait_for(at: Stand, replicas: int) -> None:
    """Wait until so many pods serve."""
    deadline = time.monotonic() + SECONDS
    found: dict[str, Any] = {}
    while found.get("spec", {}).get("replicas") != replicas or replicas != found["status"].get(
        "readyReplicas"
    ):
        assert time.monotonic() < deadline, found
        time.sleep(0.3)
        found = at.live("deployment", "aegis-api", NAMESPACE)


@contextmanager
def _never_below(at: Stand, least: int) -> Iterator[None]:
    """Require that no request is lost, and that there are never fewer pods asked for."""
    with traffic(at.address(NAMESPACE), watched="version") as seen:
        yield
    assert seen.failures == []
    assert set(seen.answers) == {200}
    sets = at.cluster.objects("replicasets", NAMESPACE)
    wanted = "deployment.kubernetes.io/desired-replicas"
    assert min(int(it["metadata"]["annotations"][wanted]) for it in sets) >= least


@every
def test_a_stack_that_gets_an_autoscaler_keeps_its_pods(at: Stand) -> None:
    at.pulumi("stack", "init", "staging")
    at.stacks.append("staging")
    for key, value in SETTINGS.items():
        at.configure("staging", key, value)
    _deploys(at)
    digest = push_release(at.environment, str(at.outputs("staging")["imageDigest"]), "1.0.0")
    at.configure("staging", "imageDigest", digest)
    at.configure("staging", "version", "1.0.0")
    at.configure("staging", "autoscale", MOST)
    with _never_below(at, LEAST):
        _deploys(at)
    autoscaler = at.live("horizontalpodautoscaler", "aegis-api", NAMESPACE)["spec"]
    assert (autoscaler["minReplicas"], autoscaler["maxReplicas"]) == (LEAST, int(MOST) / 2)
    assert _replicas(at) == LEAST
    _in_order(at)
    at.pulumi("preview", "--expect-no-changes", *STACK)


@every
def test_what_it_wrote_stays_through_a_deploy_and_a_rollback(at: Stand) -> None:
    before = json.loads(_aegis(at, "history", "--json").standard_output)["releases"][0]["number"]
    at.configure("staging", "productionReplicas", PRODUCTION[GROWN])
    with _never_below(at, LEAST):
        _deploys(at)
        _wait_for(at, GROWN)
    _in_order(at)
    at.configure("staging", "logLevel", "warning")
    with _never_below(at, LEAST):
        _deploys(at)
    assert _replicas(at) == GROWN
    with _never_below(at, LEAST):
        back = _aegis(at, "rollback", "--to", str(before), "--yes")
    assert "spec.replicas is for HorizontalPodAutoscaler aegis-api to decide" in back.output
    assert _replicas(at) == GROWN, "within what that release's own autoscaler allows"
    _in_order(at)
    _aegis(at, "config", "restore")
    at.pulumi("preview", "--expect-no-changes", *STACK)


@every
def test_a_new_stack_begins_with_the_least_number(at: Stand) -> None:
    at.pulumi("destroy", *STACK, "--yes", "--skip-preview")
    at.up("staging")
    sets = at.live("deployment", "aegis-api", NAMESPACE)
    assert sets["status"]["readyReplicas"] == LEAST
    at.configure("staging", "productionReplicas", PRODUCTION[GROWN])
    _deploys(at)
    _wait_for(at, GROWN)


@every
def test_it_goes_again_the_way_the_readme_says(at: Stand) -> None:
    at.configure("staging", "productionReplicas", PRODUCTION[LEAST])
    at.configure("staging", "autoscale", PRODUCTION[LEAST])
    with _never_below(at, LEAST):
        _deploys(at)
        _wait_for(at, LEAST)
    at.configure("staging", "autoscale", None)
    at.configure("staging", "logLevel", "error")
    with _never_below(at, LEAST):
        _deploys(at)
    assert at.names("horizontalpodautoscaler", NAMESPACE) == set()
    assert _replicas(at) == LEAST
    _in_order(at)
