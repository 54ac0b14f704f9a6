"""lab.network_policies: what the kernel is told, who judges, and what that one may do."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from lab import network_policies, pki
from lab.daemon import Daemon, Supervisor
from lab.errors import LabError
from lab.node import Node, first, further
from lab.settings import LabSettings
from lab.toolchain import POLICIES

LISTENING = "    1  31337     0 2   128     0     0        9  1\n"


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """What was run."""
    ran: list[list[str]] = []

    def run(argv: list[str], *, what: str) -> str:
        assert what
        ran.append(argv)
        return ""

    monkeypatch.setattr(network_policies, "run", run)
    return ran


@pytest.fixture
def started(
    lab: LabSettings, monkeypatch: pytest.MonkeyPatch, told: list[list[str]]
) -> dict[str, Daemon]:
    """What was started, by name; the kernel was told before."""
    (lab.checkout / "lab" / "tools" / POLICIES.module).mkdir(parents=True)
    found: dict[str, Daemon] = {}

    def start(_: Supervisor, daemon: Daemon) -> None:
        assert len(told) == len(found) + 1
        found[daemon.name] = daemon

    monkeypatch.setattr(Supervisor, "start", start)
    monkeypatch.setattr(Supervisor, "wait_for", lambda *_, **__: 0.0)
    pki.create(lab)
    for node in (first(lab), further(lab, 2)):
        network_policies.start(lab, Supervisor(lab), node)
    return found


def flags(daemon: Daemon) -> dict[str, str]:
    return dict(word.removeprefix("--").split("=", 1) for word in daemon.argv[1:])


def role() -> dict[str, Any]:
    (found,) = [it for it in network_policies.manifests() if it["kind"] == "ClusterRole"]
    return dict(found)


def script(told: list[list[str]], node: Node) -> str:
    network_policies.close(node)
    argv = told[-1]
    assert argv[:2] == ["nsenter", f"--net=/run/netns/{node.name}"]
    return argv[-1]


class TestKernel:
    """It lets nothing new of a pod through that nobody judged, in a node's own namespace."""

    def test_queues_what_pods_send_and_what_is_sent_to_them(
        self, lab: LabSettings, told: list[list[str]]
    ) -> None:
        text = script(told, further(lab, 3))
        for chain in ("FORWARD -i pods", "FORWARD -o pods", "INPUT -i pods"):
            new = "-m conntrack --ctstate NEW"
            assert f"--append {chain} {new} -j NFQUEUE --queue-num 1" in text

    def test_is_never_told_to_let_through_what_nobody_takes_off_the_queue(
        self, lab: LabSettings, told: list[list[str]]
    ) -> None:
        assert "bypass" not in script(told, first(lab))

    def test_judges_before_what_was_translated_is_let_through(
        self, lab: LabSettings, told: list[list[str]]
    ) -> None:
        rows = [row for row in script(told, first(lab)).splitlines() if "tables " in row]
        assert rows
        assert all(row.count("--table mangle") == 2 for row in rows)

    def test_is_told_once(self, lab: LabSettings, told: list[list[str]], tmp_path: Path) -> None:
        """A rule that is there is not added again."""
        added, fake = tmp_path / "added", tmp_path / "iptables"
        fake.write_text(
            f'#!/bin/sh\ncase "$*" in *--check*) test -s {added};; *) echo "$*" >> {added};; esac\n'
        )
        fake.chmod(0o755)
        (row,) = [it for it in script(told, first(lab)).splitlines() if "INPUT -i pods -m" in it]
        for _ in range(2):
            subprocess.run(["sh", "-c", row], check=True, env={"PATH": f"{tmp_path}:/usr/bin:/bin"})
        assert len(added.read_text().splitlines()) == 1

    def test_drops_the_addresses_that_no_policy_is_about(
        self,
        lab: LabSettings,
        told: list[list[str]],
        monkeypatch: pytest.MonkeyPatch,
        tmp_path: Path,
    ) -> None:
        monkeypatch.setattr(network_policies, "_IPV6", tmp_path)
        text = script(told, first(lab))
        assert "ip6tables --wait --table mangle --append FORWARD -i pods -j DROP" in text
        monkeypatch.setattr(network_policies, "_IPV6", tmp_path / "none")
        assert "ip6tables --wait" not in script(told, first(lab))

    def test_that_cannot_is_told_with_what_it_needs(
        self, lab: LabSettings, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def refuse(_: list[str], *, what: str) -> str:
            raise LabError(what=what, why="Extension NFQUEUE revision 0 not supported")

        monkeypatch.setattr(network_policies, "run", refuse)
        with pytest.raises(LabError, match="NFQUEUE") as caught:
            network_policies.close(first(lab))
        assert "nfnetlink_queue" in caught.value.next


class TestDaemon:
    """Each node has one of its own, in its namespaces."""

    def test_judges_for_its_node(self, started: dict[str, Daemon]) -> None:
        one, two = started["kube-network-policies"], started["kube-network-policies@aegis-lab-2"]
        assert (one.holder, two.holder) == ("holder", "holder@aegis-lab-2")
        assert (one.group, two.group) == ("", "aegis-lab-2")

    def test_listens_on_the_queue_that_the_kernel_was_told(
        self, started: dict[str, Daemon], told: list[list[str]]
    ) -> None:
        for daemon in started.values():
            assert f"--queue-num {flags(daemon)['queue']} " in f"{told[0][-1]} ".replace("\n", " ")

    def test_with_the_keys_of_before_is_started_anew(
        self, lab: LabSettings, started: dict[str, Daemon]
    ) -> None:
        conf = pki.kubeconfig(lab, network_policies.CLIENT)
        for daemon in started.values():
            assert flags(daemon)["kubeconfig"] == str(conf)
            assert daemon.configuration == conf.read_text()

    @pytest.mark.parametrize(
        ("rows", "does"), [(LISTENING, True), ("", False), (LISTENING.replace("1", "2", 1), False)]
    )
    def test_is_waited_for_until_it_is_on_the_queue(
        self, monkeypatch: pytest.MonkeyPatch, rows: str, does: bool
    ) -> None:
        monkeypatch.setattr(Path, "read_text", lambda _: rows)
        assert network_policies._listens(7) is does

    def test_that_ended_listens_no_more(self) -> None:
        assert not network_policies._listens(None)


class TestRights:
    """It may read what it needs to judge, and change nothing."""

    def test_are_those_of_who_it_is(self, lab: LabSettings) -> None:
        pki.create(lab)
        conf = yaml.safe_load(pki.kubeconfig(lab, network_policies.CLIENT).read_text())
        [binding] = [it for it in network_policies.manifests() if "subjects" in it]
        subjects: Any = binding["subjects"]
        assert [it["name"] for it in subjects] == [conf["users"][0]["name"]]
        assert binding["roleRef"]["name"] == role()["metadata"]["name"]  # type: ignore[index]
        assert pki.CLIENTS[network_policies.CLIENT][1] is None

    def test_are_to_look_at_pods_namespaces_and_policies(self) -> None:
        rules = role()["rules"]
        assert {it for rule in rules for it in rule["resources"]} == {
            *("pods", "namespaces", "networkpolicies")
        }
        assert {it for rule in rules for it in rule["verbs"]} == {"get", "list", "watch"}
