"""lab.dns: where the cluster's DNS is asked, by its Service and by what policies see of it."""

from __future__ import annotations

from typing import Any

from lab import dns
from lab.settings import LabSettings
from lab.toolchain import COREDNS
from tests.rendering import render


def of_kind(lab: LabSettings, kind: str) -> dict[str, Any]:
    (lab.checkout / "lab" / "tools" / COREDNS.module).mkdir(parents=True, exist_ok=True)
    (found,) = [it for it in dns.manifests(lab) if it["kind"] == kind]
    return dict(found)


def test_its_pods_listen_where_the_policies_of_stacks_let_them_be_asked(lab: LabSettings) -> None:
    policy = render("staging").one("NetworkPolicy", "allow-dns").manifest["spec"]
    allowed = {(it["protocol"], it["port"]) for it in policy["egress"][0]["ports"]}
    template = of_kind(lab, "Deployment")["spec"]["template"]
    (container,) = template["spec"]["containers"]
    assert {(it["protocol"], it["containerPort"]) for it in container["ports"]} == allowed
    assert {port for _, port in allowed} == {int(dns.COREFILE.partition(" ")[0].strip(".:"))}
    (peer, *_) = policy["egress"][0]["to"]
    assert peer["podSelector"]["matchLabels"].items() <= template["metadata"]["labels"].items()


def test_its_service_finds_pods_of_another_port_by_the_ports_names(lab: LabSettings) -> None:
    (container,) = of_kind(lab, "Deployment")["spec"]["template"]["spec"]["containers"]
    named = {it["name"]: it["protocol"] for it in container["ports"]}
    ports = of_kind(lab, "Service")["spec"]["ports"]
    assert {it["targetPort"]: it["protocol"] for it in ports} == named
    assert {it["port"] for it in ports} == {53}
