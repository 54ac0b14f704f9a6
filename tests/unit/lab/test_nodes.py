"""The lab's further nodes: their places, which there are, and what adding and leaving does."""

from __future__ import annotations

import json
from ipaddress import IPv4Address
from pathlib import Path

import pytest

from lab import (
    cgroup,
    cluster,
    containers,
    dns,
    images,
    isolation,
    network_policies,
    nodes,
    objects,
    pki,
    preflight,
)
from lab.daemon import Supervisor
from lab.errors import EXIT_REFUSED, EXIT_USAGE, LabError
from lab.node import Node, first, further, number_of
from lab.settings import MOST_NODES, LabSettings

EVERY = range(2, MOST_NODES + 1)


class Cluster:
    """Plays what a node is made of, and keeps what was done in order."""

    def __init__(self) -> None:
        self.did: list[str] = []
        self.ready: dict[str, str] = {"aegis-lab": "True"}
        self.blocked = False

    def kubectl(self, _: LabSettings, *words: str, what: str, timeout: float = 0) -> str:
        if words[:2] == ("get", "nodes"):
            return json.dumps({"items": [self.node(*it) for it in self.ready.items()]})
        if "lease" in words:
            return str(len(self.did))
        self.did.append(" ".join(words[:3]))
        if words[0] == "drain" and self.blocked:
            raise LabError(what=what, why=f"a budget, within {timeout:.0f} s")
        return ""

    @staticmethod
    def node(name: str, ready: str) -> dict[str, object]:
        return {"metadata": {"name": name}, "status": {"conditions": [_condition(ready)]}}


def _condition(ready: str) -> dict[str, str]:
    return {"type": "Ready", "status": ready}


@pytest.fixture
def playing(lab: LabSettings, monkeypatch: pytest.MonkeyPatch) -> Cluster:
    """A lab that is up, whose daemons, namespaces and cluster are played."""
    it = Cluster()
    alive = {"holder"}

    def starts(what: str, program: str) -> object:
        def act(_: object, __: object, node: Node) -> None:
            it.did.append(f"{what} {node.name}")
            alive.add(node.daemon(program))
            if program == "kubelet":
                it.ready[node.name] = "True"

        return act

    def stop(_: Supervisor, *names: str, **__: object) -> None:
        alive.difference_update(names)

    monkeypatch.setattr(Supervisor, "pid_of", lambda _, name: 7 if name in alive else None)
    monkeypatch.setattr(Supervisor, "stop", stop)
    monkeypatch.setattr(Supervisor, "wait_for", lambda _, __, ready, **___: ready())
    monkeypatch.setattr(cgroup, "create", lambda *, part: it.did.append(f"group {part}"))
    monkeypatch.setattr(
        cgroup, "end_all", lambda *, below, grace: it.did.append(f"end {below} {grace:g}")
    )
    monkeypatch.setattr(cgroup, "remove", lambda *, part: it.did.append(f"ungroup {part}"))
    monkeypatch.setattr(isolation, "create_node", starts("namespaces", "holder"))
    monkeypatch.setattr(
        isolation, "node_stands", lambda s, node: s.pid_of(node.daemon("holder")) is not None
    )
    monkeypatch.setattr(isolation, "node_has_link", lambda _: True)
    monkeypatch.setattr(isolation, "is_cut", lambda _: "cut" in it.did)
    monkeypatch.setattr(isolation, "cut_link", lambda node: it.did.append(f"cut {node.name}"))
    monkeypatch.setattr(isolation, "join_link", lambda node: it.did.append(f"link {node.name}"))
    monkeypatch.setattr(
        isolation, "remove_node_network", lambda node: it.did.append(f"unlink {node.name}")
    )
    monkeypatch.setattr(containers, "start", starts("containerd", "containerd"))
    monkeypatch.setattr(images, "load_cluster_images", lambda *_: None)
    monkeypatch.setattr(network_policies, "start", starts("judge", network_policies.NAME))
    monkeypatch.setattr(cluster, "start_node", starts("kubelet", "kubelet"))
    monkeypatch.setattr(dns, "manifests", lambda _, *, nodes: [{"nodes": nodes}])
    monkeypatch.setattr(objects, "apply", lambda _, them, **__: it.did.append(f"dns {them}"))
    monkeypatch.setattr(objects, "kubectl", it.kubectl)
    monkeypatch.setattr(preflight, "require_room_for_nodes", lambda _: None)
    pki.create(lab)
    return it


def names(lab: LabSettings) -> list[str]:
    return [node.name for node in nodes.recorded(lab)]


class TestPlaces:
    """No two nodes share an address, a directory or a name."""

    def test_addresses_are_all_the_labs_and_nobody_elses(self, lab: LabSettings) -> None:
        plan = lab.addresses
        them = [further(lab, number) for number in EVERY]
        networks = [plan.link, plan.pods, plan.services]
        networks += [network for it in them for network in (it.pods, plan.further_link(it.number))]
        for place, network in enumerate(networks):
            assert network.subnet_of(plan.network)
            assert not any(network.overlaps(other) for other in networks[place + 1 :])
        for it in them:
            link = plan.further_link(it.number)
            assert {it.address, it.router} == set(link.hosts())
            # A route to all of them at once is what this machine has.
            assert it.pods.subnet_of(plan.all_further_pods)
            assert link.subnet_of(plan.further_links)

    def test_names_are_those_of_daemons_and_namespaces(self, lab: LabSettings) -> None:
        one, two = first(lab), further(lab, 2)
        assert (one.name, one.daemon("kubelet"), one.group) == ("aegis-lab", "kubelet", "")
        assert (two.name, two.group) == ("aegis-lab-2", "aegis-lab-2")
        assert two.daemon("kubelet") == "kubelet@aegis-lab-2"
        assert len(two.link) <= 15, "what the kernel allows of a link's name"
        assert one.address == lab.addresses.node == IPv4Address("198.18.0.2")

    def test_three_of_them_are_in_three_zones(self, lab: LabSettings) -> None:
        zones = [first(lab).zone, *(further(lab, number).zone for number in EVERY)]
        assert len(set(zones[:3])) == 3
        assert set(zones) == set(zones[:3])

    @pytest.mark.parametrize(("name", "number"), [("2", 2), ("aegis-lab-9", 9)])
    def test_are_told_by_name_or_number(self, name: str, number: int) -> None:
        assert number_of(name) == number

    @pytest.mark.parametrize("name", ["1", "aegis-lab", "10", "-2", "two", "", "aegis-lab-"])
    def test_another_name_is_a_usage_error(self, name: str) -> None:
        with pytest.raises(LabError, match="no further node") as caught:
            number_of(name)
        assert caught.value.code == EXIT_USAGE
        assert caught.value.why


class TestJoining:
    """A node that joins is on record before anything of it runs."""

    def test_the_next_free_one_comes_up_in_order(self, lab: LabSettings, playing: Cluster) -> None:
        node = nodes.join(lab, Supervisor(lab))
        assert node.name == "aegis-lab-2"
        assert names(lab) == ["aegis-lab-2"]
        assert playing.did == [
            *("end aegis-lab-2 1", "group aegis-lab-2", "namespaces aegis-lab-2"),
            *("link aegis-lab-2", "containerd aegis-lab-2"),
            # Before any of its pods can send anything.
            *("judge aegis-lab-2", "kubelet aegis-lab-2"),
            *("label node aegis-lab", "dns [{'nodes': 2}]"),
        ]
        assert nodes.join(lab, Supervisor(lab), "4").name == "aegis-lab-4"
        assert nodes.join(lab, Supervisor(lab)).name == "aegis-lab-3"
        assert names(lab) == ["aegis-lab-2", "aegis-lab-3", "aegis-lab-4"]

    def test_one_that_runs_is_left_as_it_is(self, lab: LabSettings, playing: Cluster) -> None:
        nodes.join(lab, Supervisor(lab), "2", "a/b:NoSchedule")
        playing.did.clear()
        assert nodes.join(lab, Supervisor(lab), "2").taint == "a/b:NoSchedule"
        assert not any(it.startswith("end ") for it in playing.did)

    def test_one_with_a_taint_is_not_for_the_cluster_s_own_pods(
        self, lab: LabSettings, playing: Cluster
    ) -> None:
        nodes.join(lab, Supervisor(lab), taint="a/b:NoSchedule")
        assert playing.did[-1] == "dns [{'nodes': 1}]"

    def test_more_than_there_are_addresses_for_are_refused(
        self, lab: LabSettings, playing: Cluster
    ) -> None:
        for _ in EVERY:
            nodes.join(lab, Supervisor(lab))
        playing.did.clear()
        with pytest.raises(LabError, match="cannot have a further node") as caught:
            nodes.join(lab, Supervisor(lab))
        assert (caught.value.code, playing.did) == (EXIT_REFUSED, [])

    def test_of_a_lab_that_is_down_is_refused(self, lab: LabSettings) -> None:
        with pytest.raises(LabError, match="not up") as caught:
            nodes.join(lab, Supervisor(lab))
        assert caught.value.code == EXIT_REFUSED
        assert names(lab) == []


class TestANumberOfNodes:
    """`make up nodes=N` mends, adds and takes away; a second one changes nothing."""

    def test_adds_what_is_missing(self, lab: LabSettings, playing: Cluster) -> None:
        nodes.ensure(lab, Supervisor(lab), 3)
        assert names(lab) == ["aegis-lab-2", "aegis-lab-3"]
        playing.did.clear()
        nodes.ensure(lab, Supervisor(lab), 3)
        assert not any(it.startswith(("end", "unlink", "drain", "delete")) for it in playing.did)

    def test_leaves_what_is_somebodys_own(self, lab: LabSettings, playing: Cluster) -> None:
        own = nodes.join(lab, Supervisor(lab), taint="a/b:NoSchedule")
        nodes.kill(Supervisor(lab), own)
        playing.did.clear()
        assert [it.name for it in nodes.ensure(lab, Supervisor(lab), 2)] == ["aegis-lab-3"]
        nodes.ensure(lab, Supervisor(lab), 1)
        assert names(lab) == ["aegis-lab-2"]
        assert not any("aegis-lab-2" in it for it in playing.did)

    def test_starts_again_what_was_killed(self, lab: LabSettings, playing: Cluster) -> None:
        _, three = nodes.ensure(lab, Supervisor(lab), 3)
        nodes.kill(Supervisor(lab), three)
        playing.did.clear()
        nodes.ensure(lab, Supervisor(lab), 3)
        assert "namespaces aegis-lab-3" in playing.did
        assert "end aegis-lab-2 1" not in playing.did

    def test_drains_and_takes_away_the_last_ones(self, lab: LabSettings, playing: Cluster) -> None:
        nodes.ensure(lab, Supervisor(lab), 4)
        playing.did.clear()
        nodes.ensure(lab, Supervisor(lab), 2)
        assert names(lab) == ["aegis-lab-2"]
        for name in ("aegis-lab-3", "aegis-lab-4"):
            of = [it for it in playing.did if name in it]
            assert of[:2] == [f"drain {name} --ignore-daemonsets", f"delete node {name}"]
            assert of[-1] == f"ungroup {name}"
        nodes.ensure(lab, Supervisor(lab), 1)
        assert names(lab) == []
        assert playing.did[-1] == "dns [{'nodes': 1}]"


class TestLeaving:
    """Its pods go first, where anybody could have them go."""

    def test_takes_all_that_it_had(self, lab: LabSettings, playing: Cluster) -> None:
        node = nodes.join(lab, Supervisor(lab))
        assert pki.kubeconfig(lab, node.client).exists()
        nodes.leave(lab, Supervisor(lab), node)
        assert not pki.kubeconfig(lab, node.client).exists()
        assert not node.state.exists()
        assert playing.did[-2:] == ["unlink aegis-lab-2", "ungroup aegis-lab-2"]

    def test_of_one_that_is_held_changes_nothing_more(
        self, lab: LabSettings, playing: Cluster
    ) -> None:
        node, playing.blocked = nodes.join(lab, Supervisor(lab)), True
        with pytest.raises(LabError, match="could not drain aegis-lab-2") as caught:
            nodes.leave(lab, Supervisor(lab), node)
        assert "a budget" in caught.value.why
        assert "gets no new pods" in caught.value.state
        assert "uncordon aegis-lab-2" in caught.value.next
        assert names(lab) == ["aegis-lab-2"]
        assert playing.did[-1].startswith("drain")

    @pytest.mark.parametrize("how", ["killed", "cut", "not ready"])
    def test_waits_for_no_kubelet_that_is_not_there(
        self, lab: LabSettings, playing: Cluster, how: str
    ) -> None:
        node = nodes.join(lab, Supervisor(lab))
        if how == "killed":
            nodes.kill(Supervisor(lab), node)
        elif how == "cut":
            playing.did.append("cut")
        else:
            playing.ready[node.name] = "Unknown"
        nodes.leave(lab, Supervisor(lab), node)
        assert not any(it.startswith("drain") for it in playing.did)
        assert names(lab) == []


class TestOutages:
    """What happens to machines."""

    def test_one_that_is_killed_answers_nobody_before_it_ends(
        self, lab: LabSettings, playing: Cluster
    ) -> None:
        node = nodes.join(lab, Supervisor(lab))
        playing.did.clear()
        nodes.kill(Supervisor(lab), node)
        assert playing.did == ["cut aegis-lab-2", "end aegis-lab-2 0"]
        assert names(lab) == ["aegis-lab-2"], "it is one of the lab still"

    def test_one_that_is_stopped_has_its_pods_end_first(
        self, lab: LabSettings, playing: Cluster
    ) -> None:
        node = nodes.join(lab, Supervisor(lab))
        playing.did.clear()
        nodes.stop(Supervisor(lab), node)
        assert playing.did == [
            *("end aegis-lab-2/kubepods 5", "end aegis-lab-2 5", "cut aegis-lab-2")
        ]

    @pytest.mark.usefixtures("playing")
    @pytest.mark.parametrize("act", [nodes.cut, nodes.mend])
    def test_one_that_is_off_has_no_link(self, lab: LabSettings, act: object) -> None:
        node = nodes.join(lab, Supervisor(lab))
        nodes.kill(Supervisor(lab), node)
        assert callable(act)
        with pytest.raises(LabError, match="aegis-lab-2 does not run") as caught:
            act(Supervisor(lab), node)
        assert caught.value.next == "python -m lab node start aegis-lab-2"

    @pytest.mark.usefixtures("playing")
    def test_one_that_there_is_not_is_named_with_those_there_are(self, lab: LabSettings) -> None:
        nodes.join(lab, Supervisor(lab))
        with pytest.raises(LabError, match="has no node aegis-lab-3") as caught:
            nodes.named(lab, "3")
        assert caught.value.why == "beside aegis-lab it has aegis-lab-2"
        assert nodes.named(lab, "aegis-lab-2").number == 2


class TestStarting:
    """A node that was off for a moment is called ready by the cluster before it is."""

    @pytest.mark.parametrize(
        ("since", "heard", "ready"),
        [(None, "1", True), ("1", "1", False), ("1", "", False), ("1", "2", True)],
    )
    def test_is_done_once_it_was_heard_anew(  # noqa: PLR0917 - one a table's column
        self,
        lab: LabSettings,
        playing: Cluster,
        monkeypatch: pytest.MonkeyPatch,
        since: str | None,
        heard: str,
        ready: bool,
    ) -> None:
        node = further(lab, 2)
        playing.ready[node.name] = "True"
        monkeypatch.setattr(nodes, "heard", lambda *_: heard)
        seen: list[bool] = []
        monkeypatch.setattr(Supervisor, "wait_for", lambda _, __, it, **___: seen.append(it()))
        nodes.wait_until_ready(lab, Supervisor(lab), node, since)
        assert seen == [ready]


class TestLooking:
    """What is seen of each node, by the cluster and on the machine."""

    def test_tells_both(self, lab: LabSettings, playing: Cluster) -> None:
        two = nodes.join(lab, Supervisor(lab))
        nodes.join(lab, Supervisor(lab))
        nodes.kill(Supervisor(lab), two)
        playing.ready["aegis-lab-2"] = "Unknown"
        one, killed, runs = nodes.look(lab, Supervisor(lab))
        assert (one.node.name, one.ready, one.cut) == ("aegis-lab", "True", False)
        assert (killed.ready, killed.runs) == ("Unknown", ())
        assert (runs.ready, runs.runs) == ("True", ("kubelet", network_policies.NAME, "containerd"))


def test_its_kubelet_is_who_it_says(lab: LabSettings) -> None:
    node = further(lab, 2, "a/b:NoSchedule")
    pki.create(lab)
    pki.add_node(lab, node)
    text = pki.kubeconfig(lab, node.client).read_text()
    assert "system:node:aegis-lab-2" in text
    pki.add_node(lab, node)
    assert pki.kubeconfig(lab, node.client).read_text() == text
    # Keys of another authority, which a lab with another address gets, know it no more.
    (pki.directory(lab) / f"complete-{lab.addresses.node}").unlink()
    pki.create(lab)
    assert not pki.kubeconfig(lab, node.client).exists()


def test_its_programs_differ_from_the_first_one_s_where_they_must(
    lab: LabSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    pki.create(lab)
    monkeypatch.setattr(cluster, "programs", lambda _: Path("/bin"))
    one, two = first(lab), further(lab, 2, "a/b:NoSchedule")
    pki.add_node(lab, two)
    kubelet, proxy = cluster._kubelet(lab, two), cluster._proxy(lab, two)
    for daemon in (kubelet, proxy):
        assert (daemon.holder, daemon.group) == ("holder@aegis-lab-2", "aegis-lab-2")
        assert str(two.address) in daemon.configuration
    assert "--node-labels=topology.kubernetes.io/zone=lab-b" in kubelet.argv
    assert "cgroupRoot: /aegis-lab/aegis-lab-2\n" in kubelet.configuration
    assert "effect: NoSchedule" in kubelet.configuration
    assert str(two.pods) in proxy.configuration
    before = cluster._kubelet(lab, one)
    assert (before.holder, before.group) == ("holder", "")
    assert "cgroupRoot: /aegis-lab\n" in before.configuration
    assert not any("node-labels" in word for word in before.argv), "it would be started anew"
    assert "registerWithTaints" not in before.configuration
