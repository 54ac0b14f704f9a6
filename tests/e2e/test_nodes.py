"""Several nodes: pods spread over them, nodes drained, killed and cut off, under requests.

Three nodes are added to the lab for it, on which nobody else's pods are (`nodes_stand`), in three
zones. The tests run in order on one stack, production's. Kubernetes' own times are as they are: a
node is given up some 40 to 50 s after it was last heard of.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from itertools import count

import pytest

from aegis_deploy.model.gate_settings import GateSettings
from lab import nodes
from lab.node import Node
from tests.e2e.nodes_stand import (
    SETTLED_SECONDS,
    Away,
    Nodes,
    nodes_stand,
    require_lost_only_meanwhile,
    require_served,
)
from tests.e2e.running import Running
from tests.series import every

# The lab's programs run on when the test that started them ends.
pytestmark = [
    pytest.mark.filterwarnings("ignore:subprocess .* is still running:ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]
PROJECT = "nodes"
COUNT = 3
PODS = 4
_VERSIONS = (f"1.{number}.0" for number in count(1))
KILL, CUT = "kill", "cut"
BAKE_SECONDS = 20
LATE_SECONDS = 5
"""After the time in which a gate that was told nothing gives up a pod that no node takes."""


@pytest.fixture(scope="module")
def on(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nodes]:
    """The program on three nodes of its own, two verified releases deep."""
    with nodes_stand(tmp_path_factory.mktemp("program"), PROJECT, COUNT) as it:
        yield it


@pytest.fixture(autouse=True)
def _whole_again(on: Nodes) -> Iterator[None]:
    """Have every test leave its nodes as it found them."""
    yield
    on.mended()


def _released(on: Nodes) -> str:
    version = next(_VERSIONS)
    on.release(version)
    return version


def _go(on: Nodes, node: Node, how: str) -> float:
    """Have a node go; return when."""
    if how == KILL:
        nodes.kill(on.supervisor, node)
    else:
        nodes.cut(on.supervisor, node)
    return time.time()


def _given_up(on: Nodes, node: Node) -> float:
    """Wait until Kubernetes has given a node up and taken its pods out; return when."""
    nodes.wait_until_given_up(on.lab, node)
    on.wait_for("its pods to be out", SETTLED_SECONDS, lambda: node.name not in on.spread())
    return time.time()


def _ends_well_or_back(running: Running, good: str, version: str) -> str:
    """Require that a deploy ended verified, or back without blaming the release."""
    code = running.wait()
    print(running.text)  # noqa: T201
    assert code in (0, 4), running.text
    if code == 0:
        return version
    assert "not held to be bad" in running.text, running.text
    return good


def test_pods_are_spread_over_nodes_and_zones_in_production_s_size(on: Nodes) -> None:
    spread = on.spread("1.0.0")
    assert spread.total() == PODS
    assert sorted(spread.values()) == [1, 1, 2]
    zones = {node.name: node.zone for node in on.them}
    assert {zones[name] for name in spread} == set(zones.values())
    assert len(set(zones.values())) == COUNT


def test_a_drain_while_a_deploy_runs_loses_nothing(on: Nodes) -> None:
    version = _released(on)
    with on.loaded() as seen:
        running = on.begin("deploy")
        on.wait_for("a new pod", SETTLED_SECONDS, lambda: on.pods(version))
        on.drain(on.them[0])
        assert running.wait() == 0, running.text
    require_served(seen, "a node drained during a deploy")
    assert on.them[0].name not in on.spread()
    on.whole(version)


@every
def test_each_node_in_turn_is_drained_with_no_request_lost(on: Nodes) -> None:
    version = on.current()["version"]
    with on.loaded() as seen:
        for node in on.them:
            on.drain(node)
            assert node.name not in on.spread()
            on.whole(version)
            on.uncordon(node)
    require_served(seen, "each node drained in turn")


@every
def test_two_nodes_at_once_are_drained_as_the_budget_allows(on: Nodes) -> None:
    version = on.current()["version"]
    with on.loaded() as seen:
        on.drain(*on.them[:2])
        on.whole(version)
    require_served(seen, "two nodes drained at once")
    assert set(on.spread()) == {on.them[2].name}


@every
def test_two_nodes_at_once_are_drained_while_a_deploy_runs(on: Nodes) -> None:
    version = _released(on)
    with on.loaded() as seen:
        running = on.begin("deploy")
        on.wait_for("a new pod", SETTLED_SECONDS, lambda: on.pods(version))
        on.drain(*on.them[1:])
        assert running.wait() == 0, running.text
    require_served(seen, "two nodes drained during a deploy")
    on.whole(version)


@every
def test_a_node_that_comes_late_is_waited_for(on: Nodes) -> None:
    version = _released(on)
    on.change({}, {"unschedulableSeconds": SETTLED_SECONDS})
    on.at.kubectl("cordon", *(node.name for node in on.them))
    with on.loaded() as seen:
        running = on.begin("deploy")
        on.wait_for("a pod that no node takes", SETTLED_SECONDS, lambda: on.homeless(version))
        time.sleep(GateSettings().unschedulable_seconds + LATE_SECONDS)
        assert running.process.poll() is None, running.text
        on.uncordon(on.them[1])
        assert running.wait() == 0, running.text
    require_served(seen, "a node that came late")
    assert set(on.spread(version)) == {on.them[1].name}


@every
@pytest.mark.parametrize("how", [KILL, CUT])
def test_a_node_that_goes_in_the_middle_of_a_deploy_is_not_the_release_s_fault(
    on: Nodes, how: str
) -> None:
    on.even()
    good, version = on.current()["version"], _released(on)
    with on.loaded() as seen:
        running = on.begin("deploy")
        on.wait_for("a ready new pod", SETTLED_SECONDS, lambda: on.spread(version).total() > 0)
        [victim] = [it for it in on.them if it.name == next(iter(on.spread(version)))]
        pods, of = on.spread()[victim.name], on.spread().total()
        away = _go(on, victim, how)
        back = _given_up(on, victim)
        serves = _ends_well_or_back(running, good, version)
        on.whole(serves)
    require_lost_only_meanwhile(seen, f"{how} during a deploy", Away(away, back, pods, of))


@every
@pytest.mark.parametrize("how", [KILL, CUT])
def test_a_node_that_goes_in_the_bake_time_is_not_the_release_s_fault(on: Nodes, how: str) -> None:
    on.even()
    good, version = on.current()["version"], _released(on)
    on.change({}, {"bakeSeconds": BAKE_SECONDS})
    with on.loaded() as seen:
        running = on.begin("deploy")
        on.wait_for(
            "the bake time",
            SETTLED_SECONDS,
            # Once those of before are gone: till then no lost probe is held against anybody.
            lambda: len(on.pods(ending=True)) == PODS == on.spread(version).total(),
        )
        victim = max(on.them, key=lambda it: on.spread()[it.name])
        pods, of = on.spread()[victim.name], on.spread().total()
        away = _go(on, victim, how)
        back = _given_up(on, victim)
        serves = _ends_well_or_back(running, good, version)
        on.whole(serves)
    require_lost_only_meanwhile(seen, f"{how} in a bake time", Away(away, back, pods, of))


@every
@pytest.mark.parametrize("how", [KILL, CUT])
def test_a_node_that_goes_in_the_middle_of_a_rollback_does_not_hold_it(on: Nodes, how: str) -> None:
    on.even()
    before, version = on.current(), _released(on)
    on.aegis("deploy", "--yes")
    assert on.current()["version"] == version
    with on.loaded() as seen:
        running = on.begin("rollback", "--to", str(before["number"]))
        good = before["version"]
        on.wait_for("a ready old pod", SETTLED_SECONDS, lambda: on.spread(good).total() > 0)
        [victim] = [it for it in on.them if it.name == next(iter(on.spread(good)))]
        pods, of = on.spread()[victim.name], on.spread().total()
        away = _go(on, victim, how)
        back = _given_up(on, victim)
        assert running.wait() == 0, running.text
        on.whole(good)
    require_lost_only_meanwhile(seen, f"{how} during a rollback", Away(away, back, pods, of))
    on.aegis("config", "restore")
