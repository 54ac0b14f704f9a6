"""What an attacker in the cluster reaches of a stack, and what the stack needs, from pod to pod.

The table of it is docs/policy.md's: what it says is tried, cell by cell, from within the pods. That
what is needed is open shows the deploy as well: its migration, its probes and its gate go through.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from lab import images, settings
from lab.command import wait_until
from lab.settings import API_SERVER_PORT, REGISTRY_PORT
from tests.e2e.knock import CLOSED, OPEN
from tests.e2e.stand import CPU_REQUEST, ROOT, Stand

PROJECT = "attacked"
STACK, NAMESPACE = "staging", f"{PROJECT}-staging"
ELSEWHERE = f"{PROJECT}-elsewhere"
KNOCK = ROOT / "tests" / "e2e" / "knock.py"
NAME = "app.kubernetes.io/name"
ITSELF = "-"
"""A cell in which nobody would leave the place where it is."""
PATIENCE = {OPEN: 60.0, CLOSED: 3.0, ITSELF: 1.0}
"""Seconds. What is to be open may be slow; what is closed is not heard of at all."""
SECONDS = 180.0
_HEADING = "| to | port |"
_KUBELET_PORT = 10250

Target = tuple[str, int, str]


@dataclass(frozen=True)
class Place:
    """Where somebody knocks from.

    Attributes:
        namespace: The pod's namespace; empty on this machine.
        pod: The pod's name.
    """

    namespace: str = ""
    pod: str = ""


HERE = Place()
BESIDE, MIGRATES, BACKS_UP = (Place(NAMESPACE, name) for name in ("beside", "migrates", "backs-up"))
AWAY, FAR = Place(ELSEWHERE, "away"), Place(ELSEWHERE, "far")
FIRST = {BESIDE: (CLOSED, CLOSED), MIGRATES: (OPEN, CLOSED), BACKS_UP: (OPEN, CLOSED)}
"""What these find of the database and of the API server, the moment that they start."""
LABELS = {
    MIGRATES: {NAME: "aegis-api-migrate"},
    BACKS_UP: {NAME: "aegis-postgres-backup"},
}


@dataclass(frozen=True)
class Attack:
    """A stack with a database of its own, and pods from which it is attacked."""

    at: Stand

    def address(self, place: Place) -> str:
        """The address of a pod."""
        return str(self.at.live("pod", place.pod, place.namespace)["status"]["podIP"])

    def service(self, name: str, namespace: str = NAMESPACE) -> str:
        """The cluster address of a Service."""
        return str(self.at.live("service", name, namespace)["spec"]["clusterIP"])

    def pods(self, name: str, namespace: str = NAMESPACE, label: str = NAME) -> list[Place]:
        """The pods of a name that run."""
        found = self.at.cluster.objects("pods", namespace, f"{label}={name}")
        names = [it["metadata"]["name"] for it in found]
        assert names, f"no pod of {name} in {namespace}"
        return [Place(namespace, it) for it in sorted(names)]

    def network(self, place: Place) -> list[str]:
        """The words that run a program on a pod's network, whatever its image has."""
        if place == HERE:
            return []
        status = self.at.live("pod", place.pod, place.namespace)["status"]
        container = status["containerStatuses"][0]["containerID"].rpartition("/")[2]
        return ["nsenter", "--net", "--target", str(_process_of(container)), "--"]

    def knock(self, place: Place, targets: Sequence[tuple[Target, float]]) -> list[str]:
        """Knock at several addresses at once from one place."""
        rows = [[*target, seconds] for target, seconds in targets]
        argv = [*self.network(place), sys.executable, str(KNOCK), json.dumps(rows)]
        done = subprocess.run(argv, capture_output=True, text=True, check=True, timeout=SECONDS)
        found: list[str] = json.loads(done.stdout)
        return found

    def becomes(self, place: Place, target: Target, expected: str) -> None:
        """Wait until an address is open to a place, or closed."""
        wait_until(
            lambda: self.knock(place, [(target, PATIENCE[CLOSED])]) == [expected],
            what=f"{target} to be {expected} to {place.pod}",
            timeout=SECONDS,
        )

    def apply(self, *objects: Mapping[str, Any]) -> None:
        """Apply objects."""
        path = self.at.directory / "attack.json"
        path.write_text(json.dumps({"apiVersion": "v1", "kind": "List", "items": objects}))
        self.at.kubectl("apply", "--filename", str(path))

    def begin(self, place: Place, *targets: Target) -> dict[str, Any]:
        """Describe a pod that knocks at once when it starts, says so in its log, and stays."""
        meant = FIRST.get(place, ())
        rows = [[*it, PATIENCE[said]] for it, said in zip(targets, meant, strict=True)]
        program = f"{KNOCK.read_text()}\nimport time\ntime.sleep({int(SECONDS) * 20})\n"
        confined = {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "runAsNonRoot": True,
            "runAsUser": 65532,
            "seccompProfile": {"type": "RuntimeDefault"},
        }
        container = {
            "name": "attacker",
            "image": os.environ["AEGIS_RUNTIME_IMAGE"],
            "command": ["python3", "-c", program, json.dumps(rows)],
            "resources": {
                "requests": {"cpu": CPU_REQUEST, "memory": "16Mi"},
                "limits": {"cpu": "100m", "memory": "64Mi"},
            },
            "securityContext": confined,
        }
        return {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {
                "name": place.pod,
                "namespace": place.namespace,
                "labels": LABELS.get(place, {}),
            },
            "spec": {
                "automountServiceAccountToken": False,
                "terminationGracePeriodSeconds": 0,
                "containers": [container],
            },
        }

    def first_words(self, place: Place) -> list[str]:
        """What a pod found the moment that it started."""

        def said() -> str:
            return self.at.cluster.log(place.pod, place.namespace).partition("\n")[0]

        wait_until(lambda: said().endswith("]"), what=f"{place.pod} to knock", timeout=SECONDS)
        found: list[str] = json.loads(said())
        return found


def _process_of(container: str) -> int:
    """A process of a container: its control group is named after it, on whichever node."""
    for path in Path("/proc").glob("[0-9]*/cgroup"):
        try:
            if container in path.read_text():
                return int(path.parent.name)
        except OSError:
            continue  # It ended meanwhile.
    raise AssertionError(f"no process is in the container {container}")


def _policy(namespace: str, pod: str, *rules: dict[str, Any]) -> dict[str, Any]:
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": pod, "namespace": namespace},
        "spec": {
            "podSelector": {"matchLabels": {"pod": pod}},
            "policyTypes": ["Ingress"],
            "ingress": list(rules),
        },
    }


def _way_to(name: str, address: str, port: int) -> list[dict[str, Any]]:
    """Describe a Service that leads to an address of whomever."""
    metadata = {"name": name, "namespace": ELSEWHERE}
    ports = [{"name": "way", "port": 80, "protocol": "TCP", "targetPort": port}]
    return [
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": metadata,
            "spec": {"type": "NodePort", "ports": ports},
        },
        {
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {**metadata, "labels": {"kubernetes.io/service-name": name}},
            "addressType": "IPv4",
            "endpoints": [{"addresses": [address]}],
            "ports": [{"name": "way", "port": port, "protocol": "TCP"}],
        },
    ]


def _table() -> dict[tuple[str, str], dict[str, str]]:
    """What docs/policy.md says: for each address and port, by whom it is reached."""
    text = (ROOT / "docs" / "policy.md").read_text()
    rows = [line for line in text[text.index(_HEADING) :].split("\n\n")[0].splitlines() if line]
    heading, _, *rest = [[it.strip() for it in row.strip("|").split("|")] for row in rows]
    return {(to, port): dict(zip(heading[2:], cells, strict=True)) for to, port, *cells in rest}


@pytest.fixture(scope="module")
def attack(at: Stand) -> Iterator[Attack]:
    """The stack is deployed and serves, and the pods knocked when they started."""
    group = {
        "image": images.push_postgres_image(settings.load(os.environ, ROOT)),
        "storage": "256Mi",
        "backupStorage": "256Mi",
        "keepData": False,
        "cpuRequest": CPU_REQUEST,
    }
    path = at.directory / f"Pulumi.{STACK}.yaml"
    config = f"config:\n  {PROJECT}:postgres: {json.dumps(group)}\n"
    path.write_text(path.read_text().replace("config:\n", config, 1))
    it = Attack(at)
    at.kubectl("delete", "namespace", ELSEWHERE, "--ignore-not-found")
    at.kubectl("create", "namespace", ELSEWHERE)
    try:
        far = it.begin(FAR)
        far["metadata"]["labels"] = {"pod": FAR.pod}
        it.apply(it.begin(AWAY), far)
        at.up(STACK)
        (database,) = it.pods("aegis-postgres")
        first = [(it.address(database), 5432, "TCP"), (_node(), API_SERVER_PORT, "TCP")]
        it.apply(*(it.begin(place, *first) for place in FIRST))
        for place in (*FIRST, AWAY, FAR):
            ready = ("wait", "--for=condition=Ready", f"pod/{place.pod}", "--timeout=300s")
            at.kubectl("--namespace", place.namespace, *ready)
        yield it
    finally:
        at.kubectl("delete", "namespace", ELSEWHERE, "--wait=false", "--ignore-not-found")


def _node() -> str:
    return str(settings.load(os.environ, ROOT).addresses.node)


def test_a_pod_is_judged_from_its_first_packet_on(attack: Attack) -> None:
    assert {place: tuple(attack.first_words(place)) for place in FIRST} == FIRST


def test_what_is_not_meant_is_closed_and_what_is_needed_is_open(attack: Attack) -> None:
    lab = settings.load(os.environ, ROOT)
    service, another = attack.pods("aegis-api")
    (database,) = attack.pods("aegis-postgres")
    (dns, *_) = attack.pods("kube-dns", "kube-system", "k8s-app")
    places = {
        "this machine": HERE,
        "a pod elsewhere": AWAY,
        "a pod beside it": BESIDE,
        "the service": service,
        "a migration": MIGRATES,
        "a backup": BACKS_UP,
        "the database": database,
    }
    hosts = {
        "a pod of the service": attack.address(another),
        "the service's address": attack.service("aegis-api"),
        "the database's pod": attack.address(database),
        "the database's address": attack.service("aegis-postgres"),
        "a pod beside it": attack.address(BESIDE),
        "a pod elsewhere": attack.address(FAR),
        "the cluster's DNS": attack.service("kube-dns", "kube-system"),
        "a pod of the cluster's DNS": attack.address(dns),
        "the API server": _node(),
        "the node's kubelet": _node(),
        "the registry": _node(),
        "this machine": str(lab.addresses.host),
    }
    ports = {
        "the API server": API_SERVER_PORT,
        "the node's kubelet": _KUBELET_PORT,
        "the registry": REGISTRY_PORT,
    }
    table = _table()
    assert {to for to, _ in table} == set(hosts)
    targets: list[Target] = []
    for to, port in table:
        number, _, kind = port.partition("/")
        assert ports.get(to, int(number)) == int(number)
        targets.append((hosts[to], int(number), kind))
    for row in table.values():
        assert set(row) == set(places)
        assert set(row.values()) <= set(PATIENCE)

    def tried(name: str) -> list[str]:
        meant = [row[name] for row in table.values()]
        seconds = [PATIENCE[it] for it in meant]
        return attack.knock(places[name], list(zip(targets, seconds, strict=True)))

    with ThreadPoolExecutor(len(places)) as at_once:
        found = dict(zip(places, at_once.map(tried, places), strict=True))
    wrong = []
    for index, ((to, port), row) in enumerate(table.items()):
        for name, meant in row.items():
            seen = found[name][index] if meant != ITSELF else ITSELF
            print(f"{name:<17}{to:<28}{port:<11}{meant:<8}{seen}")  # noqa: T201
            if seen != meant:
                wrong.append(f"{name} -> {to}, {port}: meant {meant}, seen {seen}")
    assert not wrong, "\n".join(wrong)


def test_no_policy_is_open_and_a_label_opens_what_a_policy_closed(attack: Attack) -> None:
    target = (attack.address(FAR), 8000, "TCP")
    attack.becomes(AWAY, target, OPEN)
    attack.apply(_policy(ELSEWHERE, FAR.pod))
    attack.becomes(AWAY, target, CLOSED)
    friends = {"podSelector": {"matchLabels": {"friend": "yes"}}}
    port = {"protocol": "TCP", "port": target[1]}
    attack.apply(_policy(ELSEWHERE, FAR.pod, {"from": [friends], "ports": [port]}))
    label = ("--namespace", ELSEWHERE, "label", "pod", AWAY.pod)
    attack.at.kubectl(*label, "friend=yes")
    attack.becomes(AWAY, target, OPEN)
    assert attack.knock(AWAY, [((target[0], 8001, "TCP"), PATIENCE[CLOSED])]) == [CLOSED]
    attack.at.kubectl(*label, "friend-")
    attack.becomes(AWAY, target, CLOSED)
    attack.at.kubectl("--namespace", ELSEWHERE, "delete", "networkpolicy", FAR.pod)
    attack.becomes(AWAY, target, OPEN)


def test_a_service_of_the_attackers_own_is_no_way_round(attack: Attack) -> None:
    """It may lead to any pod, and by the node's port nobody there sees who asks."""
    (database,) = attack.pods("aegis-postgres")
    # In this order: kube-proxy hears of them in it, so that where the second is open the first one
    # leads somewhere too. Until it does, the node itself refuses, which looks open.
    attack.apply(*_way_to("in", attack.address(database), 5432))
    attack.apply(*_way_to("far", attack.address(FAR), 8000))

    def ports(name: str) -> tuple[Target, Target]:
        spec = attack.at.live("service", name, ELSEWHERE)["spec"]
        return (spec["clusterIP"], 80, "TCP"), (_node(), spec["ports"][0]["nodePort"], "TCP")

    for place in (AWAY, HERE):
        for way in ports("far"):
            attack.becomes(place, way, OPEN)
        ways = [(way, PATIENCE[CLOSED]) for way in ports("in")]
        assert attack.knock(place, ways) == [CLOSED, CLOSED]


def test_addresses_that_no_policy_is_about_are_closed(attack: Attack) -> None:
    """Every pod has one of IPv6 on the bridge that it shares with the others."""
    argv = [*attack.network(FAR), "ip", "-6", "address", "show", "dev", "eth0", "scope", "link"]
    shown = subprocess.run(argv, capture_output=True, text=True, check=True, timeout=SECONDS)
    found = re.search(r"inet6 (fe80:\S+)/", shown.stdout)
    if found is None:
        pytest.skip("this machine has no IPv6")
    target = (f"{found[1]}%eth0", 8000, "TCP")
    assert attack.knock(AWAY, [(target, PATIENCE[CLOSED])]) == [CLOSED]
