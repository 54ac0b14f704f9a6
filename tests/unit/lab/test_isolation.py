"""What on the machine is found to use the lab's network, from recorded output of `ip`."""

from __future__ import annotations

import json
from contextlib import nullcontext
from pathlib import Path

import pytest

from lab import isolation
from lab.daemon import Supervisor
from lab.errors import EXIT_REFUSED, LabError
from lab.node import Node, further
from lab.settings import LabSettings

USUAL = [
    {"dst": "default", "gateway": "192.0.2.1", "dev": "eth0", "flags": []},
    {"dst": "192.0.2.0/24", "dev": "eth0", "protocol": "kernel", "prefsrc": "192.0.2.2"},
    {"type": "local", "dst": "127.0.0.0/8", "dev": "lo", "table": "local", "scope": "host"},
    {"type": "broadcast", "dst": "192.0.2.255", "dev": "eth0", "table": "local"},
    {"dst": "fe80::/64", "dev": "eth0", "protocol": "kernel", "metric": 256, "flags": []},
    {"type": "multicast", "dst": "ff00::/8", "dev": "eth0", "table": "local"},
    {"dst": "default", "dev": "lo", "type": "unreachable", "metric": 4294967295},
]
OWN = [
    {"dst": "198.18.0.0/24", "dev": "aegis0", "protocol": "kernel", "prefsrc": "198.18.0.1"},
    {"dst": "198.19.0.0/16", "gateway": "198.18.0.2", "dev": "aegis0", "flags": []},
    {"type": "local", "dst": "198.18.0.1", "dev": "aegis0", "table": "local"},
]


class FakeIp:
    """Answers what `ip` is asked from records, and keeps what it was told to do."""

    def __init__(self) -> None:
        self.answers: dict[tuple[str, ...], object] = {}
        self.told: list[str] = []

    def __call__(self, *words: str) -> str:
        """Take the place of `lab.isolation.ip`."""
        if "-j" in words:
            *where, _ = words[: words.index("-j") + 1]
            answer = self.answers.get((*where, *words[len(where) + 1 :]), "")
            return json.dumps(answer) if answer != "" else ""
        self.told.append(" ".join(words))
        return ""

    def has_routes(self, *routes: object) -> None:
        self.answers["route", "show", "table", "all"] = [*USUAL, *routes]


@pytest.fixture
def ip(monkeypatch: pytest.MonkeyPatch) -> FakeIp:
    """The fake in the place of the program."""
    fake = FakeIp()
    monkeypatch.setattr(isolation, "ip", fake)
    return fake


class TestConflicts:
    """Only what overlaps the lab's network and is not the lab's own."""

    def test_are_none_on_a_usual_machine_with_the_lab_up(
        self, ip: FakeIp, lab: LabSettings
    ) -> None:
        ip.has_routes(*OWN)
        assert isolation.conflicts(lab) == []

    def test_are_none_when_ip_prints_nothing(self, ip: FakeIp, lab: LabSettings) -> None:
        assert ip.answers == {}
        assert isolation.conflicts(lab) == []

    @pytest.mark.parametrize(
        ("route", "words"),
        [
            ({"dst": "198.18.7.0/24", "dev": "wg0"}, "198.18.7.0/24 is routed to wg0"),
            ({"dst": "198.0.0.0/8", "dev": "tun0"}, "198.0.0.0/8 is routed to tun0"),
            (
                {"type": "local", "dst": "198.19.3.4", "dev": "eth1", "table": "local"},
                "198.19.3.4 is routed to eth1",
            ),
            (
                {"type": "blackhole", "dst": "198.18.0.0/15"},
                "198.18.0.0/15 is routed to blackhole",
            ),
            (
                {"dst": "198.18.0.0/16", "nexthops": [{"dev": "eth1"}, {"dev": "eth2"}]},
                "198.18.0.0/16 is routed to eth1 and eth2",
            ),
        ],
        ids=["inside", "around", "address", "blackhole", "two hops"],
    )
    def test_are_told_in_words(
        self, ip: FakeIp, lab: LabSettings, route: object, words: str
    ) -> None:
        ip.has_routes(route, route)
        assert isolation.conflicts(lab) == [words]

    def test_refuse_the_lab_before_anything_is_made(self, ip: FakeIp, lab: LabSettings) -> None:
        ip.has_routes({"dst": "198.18.7.0/24", "dev": "wg0"})
        with pytest.raises(LabError) as caught:
            isolation.create(lab, Supervisor(lab))
        assert caught.value.code == EXIT_REFUSED
        assert "198.18.7.0/24 is routed to wg0" in caught.value.why
        assert caught.value.next.startswith("AEGIS_LAB_NETWORK=")
        assert ip.told == []


class TestStanding:
    """Namespaces and link stand only when holder, name and address are all there."""

    @pytest.mark.parametrize("holder", [True, False])
    @pytest.mark.parametrize("named", [True, False])
    @pytest.mark.parametrize("address", ["198.18.0.1", "10.20.0.1", None])
    def test_needs_all_of_them(  # noqa: PLR0917 - one a table's column
        self,
        ip: FakeIp,
        lab: LabSettings,
        monkeypatch: pytest.MonkeyPatch,
        holder: bool,
        named: bool,
        address: str | None,
    ) -> None:
        monkeypatch.setattr(Supervisor, "pid_of", lambda *_: 7 if holder else None)
        ip.answers["netns", "list"] = [{"name": "aegis-lab"}] if named else [{"name": "other"}]
        link = {"ifname": "aegis0", "addr_info": [{"local": address}] if address else []}
        ip.answers["address", "show"] = [{"ifname": "lo", "addr_info": []}, link]
        stands = isolation.stands(lab, Supervisor(lab))
        assert stands == (holder and named and address == "198.18.0.1")


class TestRemoving:
    """Removing takes what is there and is harmless otherwise."""

    def test_takes_namespace_and_link(self, ip: FakeIp) -> None:
        ip.answers["netns", "list"] = [{"name": "aegis-lab"}]
        ip.answers["link", "show"] = [{"ifname": "aegis0"}]
        isolation.remove_network()
        assert ip.told == ["netns delete aegis-lab", "link delete aegis0"]

    def test_of_nothing_does_nothing(self, ip: FakeIp) -> None:
        isolation.remove_network()
        assert ip.told == []

    def test_empties_the_run_directory(self, lab: LabSettings) -> None:
        stale = lab.run / "containerd" / "containerd.sock"
        stale.parent.mkdir(parents=True)
        stale.write_text("")
        isolation.clean_run_directory(lab)
        assert list(Path(lab.run).iterdir()) == []


class TestAFurtherNode:
    """Its link is the first node's business, its namespace its own."""

    @pytest.fixture
    def node(self, lab: LabSettings) -> Node:
        return further(lab, 2)

    def test_is_a_machine_one_router_away(
        self, ip: FakeIp, lab: LabSettings, node: Node, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(isolation, "run", lambda *_, **__: "")
        monkeypatch.setattr(Supervisor, "pid_of", lambda *_: None)
        monkeypatch.setattr(Supervisor, "start", lambda *_: None)
        monkeypatch.setattr(Supervisor, "wait_for", lambda *_, **__: 0.0)
        ip.answers["netns", "list"] = [{"name": "aegis-lab"}]
        isolation.create_node(lab, Supervisor(lab), node)
        assert ip.told == [
            "netns add aegis-lab-2",
            "-n aegis-lab link add aegis-n2 type veth peer name uplink netns aegis-lab-2",
            "-n aegis-lab-2 address add 198.18.1.10/30 dev uplink",
            "-n aegis-lab-2 link set lo up",
            "-n aegis-lab-2 link set uplink up",
            "-n aegis-lab-2 route replace default via 198.18.1.9",
            "-n aegis-lab address add 198.18.1.9/30 dev aegis-n2",
            "-n aegis-lab link set aegis-n2 up",
            "-n aegis-lab route replace 198.18.66.0/24 via 198.18.1.10",
            "route replace 198.18.1.0/24 via 198.18.0.2",
            "route replace 198.18.64.0/18 via 198.18.0.2",
        ]

    def test_that_is_cut_off_is_silent_and_not_unknown(self, ip: FakeIp, node: Node) -> None:
        ip.answers["-n", "aegis-lab-2", "link", "show", "dev", "uplink"] = [{"address": "0a:0b"}]
        isolation.cut_link(node)
        assert ip.told == [
            "-n aegis-lab neigh replace 198.18.1.10 lladdr 0a:0b dev aegis-n2 nud permanent",
            "-n aegis-lab-2 link set uplink down",
        ]

    @pytest.mark.parametrize("there", [True, False])
    def test_takes_namespace_and_link_along(self, ip: FakeIp, node: Node, there: bool) -> None:
        names = ["aegis-lab", "aegis-lab-2"] if there else ["aegis-lab"]
        ip.answers["netns", "list"] = [{"name": name} for name in names]
        links = [{"ifname": "aegis-n2"}] if there else [{"ifname": "aegis-n3"}]
        ip.answers["-n", "aegis-lab", "link", "show"] = links
        isolation.remove_node_network(node)
        gone = ["netns delete aegis-lab-2", "-n aegis-lab link delete aegis-n2"]
        assert ip.told == (gone if there else [])

    @pytest.mark.parametrize("gone", [True, False])
    def test_has_a_link_that_may_go_by_itself_meanwhile(
        self, ip: FakeIp, node: Node, monkeypatch: pytest.MonkeyPatch, gone: bool
    ) -> None:
        ip.answers["netns", "list"] = [{"name": "aegis-lab"}]
        ip.answers["-n", "aegis-lab", "link", "show"] = [{"ifname": "aegis-n2"}]

        def fails(*_: str) -> str:
            if gone:
                ip.answers["-n", "aegis-lab", "link", "show"] = []
            raise LabError(what="could not", why="Cannot find device")

        monkeypatch.setattr(isolation, "ip_inside", fails)
        monkeypatch.setattr(
            isolation,
            "node_has_link",
            lambda _: bool(ip.answers["-n", "aegis-lab", "link", "show"]),
        )
        with nullcontext() if gone else pytest.raises(LabError, match="could not"):
            isolation.remove_node_network(node)

    @pytest.mark.parametrize(
        ("flags", "cut"), [(["UP", "BROADCAST"], False), (["BROADCAST"], True)]
    )
    def test_is_cut_when_its_link_is_down_or_gone(
        self, ip: FakeIp, node: Node, flags: list[str], cut: bool
    ) -> None:
        assert isolation.is_cut(node)
        ip.answers["netns", "list"] = [{"name": "aegis-lab-2"}]
        assert isolation.is_cut(node)
        link = {"ifname": "uplink", "flags": flags}
        ip.answers["-n", "aegis-lab-2", "link", "show"] = [link]
        assert isolation.is_cut(node) == cut
