"""components.external_route: an address outside the cluster, for who asks for one."""

from __future__ import annotations

from typing import Any

import pytest

from components.external_route import Gateway, Issuer
from tests.rendering import Rendering, render

HOST = "aegis.example.com"


def ingress(**settings: str) -> dict[str, Any]:
    return render("staging", host=HOST, **settings).one("Ingress").manifest


def http_route(**settings: str) -> dict[str, Any]:
    rendering = render("staging", host=HOST, **{"gateway": "gateways/public", **settings})
    assert not rendering.of_type("Ingress")
    return rendering.one("HTTPRoute").manifest


class TestNoWayIn:
    """Without a host nothing leads in."""

    def test_there_is_none_by_default(self, rendering: Rendering) -> None:
        assert not rendering.of_type("Ingress")
        assert not rendering.of_type("HTTPRoute")


class TestIngress:
    """A host alone gets an Ingress."""

    def test_leads_to_the_service(self) -> None:
        spec = ingress(ingressClass="nginx")["spec"]
        assert spec["ingressClassName"] == "nginx"
        (rule,) = spec["rules"]
        assert rule["host"] == HOST
        (path,) = rule["http"]["paths"]
        assert path["backend"] == {"service": {"name": "aegis-api", "port": {"name": "http"}}}

    def test_the_clusters_default_class_is_left_to_it(self) -> None:
        assert "ingressClassName" not in ingress()["spec"]

    def test_speaks_no_tls_unless_it_is_asked_for(self) -> None:
        found = ingress()
        assert "tls" not in found["spec"]
        assert found["metadata"]["annotations"] == {"pulumi.com/skipAwait": "true"}

    def test_a_secret_s_certificate_is_for_its_host(self) -> None:
        assert ingress(tlsSecret="own")["spec"]["tls"] == [{"hosts": [HOST], "secretName": "own"}]

    @pytest.mark.parametrize(
        ("issuer", "annotation"),
        [
            ("Issuer/own", "cert-manager.io/issuer"),
            ("ClusterIssuer/own", "cert-manager.io/cluster-issuer"),
        ],
    )
    def test_an_issuer_fills_a_secret(self, issuer: str, annotation: str) -> None:
        found = ingress(tlsIssuer=issuer)
        assert found["metadata"]["annotations"][annotation] == "own"
        assert found["spec"]["tls"] == [{"hosts": [HOST], "secretName": "aegis-api-tls"}]
        found = ingress(tlsIssuer=issuer, tlsSecret="named")
        assert found["spec"]["tls"] == [{"hosts": [HOST], "secretName": "named"}]


class TestHttpRoute:
    """A host beside a Gateway gets an HTTPRoute."""

    def test_attaches_to_the_gateway(self) -> None:
        found = http_route()
        assert found["apiVersion"] == "gateway.networking.k8s.io/v1"
        assert found["spec"]["hostnames"] == [HOST]
        (parent,) = found["spec"]["parentRefs"]
        assert (parent["namespace"], parent["name"]) == ("gateways", "public")
        assert "sectionName" not in parent

    def test_attaches_to_one_listener_where_it_is_named(self) -> None:
        (parent,) = http_route(gateway="gateways/public/https")["spec"]["parentRefs"]
        assert parent["sectionName"] == "https"

    def test_leads_to_the_service(self) -> None:
        rendering = render("staging", host=HOST, gateway="gateways/public")
        (rule,) = rendering.one("HTTPRoute").manifest["spec"]["rules"]
        (backend,) = rule["backendRefs"]
        (port,) = rendering.one("core/v1:Service").manifest["spec"]["ports"]
        assert (backend["name"], backend["port"]) == ("aegis-api", port["port"])

    def test_no_request_may_take_longer_than_one_may_at_a_pod_that_ends(self) -> None:
        (rule,) = http_route(drainSeconds="45")["spec"]["rules"]
        assert rule["timeouts"] == {"request": "45s"}
        assert "retry" not in rule


class TestClients:
    """Who may reach the pods."""

    def test_are_everybody_unless_they_are_named(self, rendering: Rendering) -> None:
        policy = rendering.one("NetworkPolicy", "aegis-api").manifest
        assert policy["spec"]["ingress"] == [{"ports": [{"protocol": "TCP", "port": 8000}]}]

    def test_are_the_pods_of_the_namespaces_that_are_named(self) -> None:
        rendering = render("staging", clientNamespaces="gateways,shop")
        (rule,) = rendering.one("NetworkPolicy", "aegis-api").manifest["spec"]["ingress"]
        names = [
            peer["namespaceSelector"]["matchLabels"]["kubernetes.io/metadata.name"]
            for peer in rule["from"]
        ]
        assert names == ["gateways", "shop"]
        assert rule["ports"] == [{"protocol": "TCP", "port": 8000}]


class TestTexts:
    """What is read is what is said."""

    @pytest.mark.parametrize("text", ["a/b", "a/b/c", "a/b.c/d.e"])
    def test_of_a_gateway(self, text: str) -> None:
        assert str(Gateway.parse(text)) == text

    @pytest.mark.parametrize("text", ["a", "a/", "/b", "a.b/c", "a/b/", "A/b", "a/b/c/d", "a /b"])
    def test_of_none(self, text: str) -> None:
        with pytest.raises(ValueError, match="is not the name of a Gateway"):
            Gateway.parse(text)

    def test_of_an_issuer(self) -> None:
        assert str(Issuer.parse("ClusterIssuer/a.b")) == "ClusterIssuer/a.b"
