"""model.routes.external_routes: what an Ingress or an HTTPRoute says of the way it is."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from aegis_deploy.model.declared import UNKNOWN
from aegis_deploy.model.fingerprint import routes_of_state
from aegis_deploy.model.routes.external_routes import (
    HTTP_ROUTE,
    INGRESS,
    Parent,
    Route,
    claims,
    of_manifest,
    of_resource,
)
from tests.rendering import render

HOST = "aegis.example.com"


def declared(**settings: str) -> Route:
    rendering = render("staging", host=HOST, **settings)
    kind = HTTP_ROUTE if "gateway" in settings else INGRESS
    found = of_manifest(kind, rendering.one(kind).manifest)
    assert found is not None
    return found


class TestWhatTheProgramDeclares:
    """What is made is what is read."""

    def test_as_an_ingress(self) -> None:
        assert declared(ingressClass="nginx", tlsSecret="own") == Route(
            kind=INGRESS,
            namespace="aegis-staging",
            name="aegis-api",
            hosts=(HOST,),
            paths=("/",),
            services=("aegis-api",),
            ingress_class="nginx",
            secrets=(("own", (HOST,)),),
        )

    def test_as_an_ingress_whose_certificate_is_issued(self) -> None:
        assert declared(tlsIssuer="Issuer/own").issued

    def test_as_an_http_route(self) -> None:
        assert declared(gateway="gateways/public/https") == Route(
            kind=HTTP_ROUTE,
            namespace="aegis-staging",
            name="aegis-api",
            hosts=(HOST,),
            paths=("/",),
            services=("aegis-api",),
            parents=(Parent(namespace="gateways", name="public", section="https"),),
        )


class TestOtherWords:
    """What others declare, more or less of it."""

    def test_of_an_ingress(self) -> None:
        found = of_manifest(
            INGRESS,
            {
                "metadata": {"name": "a", "annotations": {"kubernetes.io/ingress.class": "old"}},
                "spec": {"defaultBackend": {"service": {"name": "b"}}, "tls": [{}], "rules": [{}]},
            },
        )
        assert found == Route(
            kind=INGRESS, namespace="default", name="a", services=("b",), ingress_class="old"
        )

    def test_of_an_http_route(self) -> None:
        spec = {
            "parentRefs": [{"name": "g", "port": 443}, {"kind": "Service", "name": "mesh"}],
            "rules": [{"backendRefs": [{"name": "b"}, {"kind": "Bucket", "name": "c"}]}],
        }
        found = of_manifest(HTTP_ROUTE, {"metadata": {"name": "a", "namespace": "n"}, "spec": spec})
        assert found == Route(
            kind=HTTP_ROUTE,
            namespace="n",
            name="a",
            paths=("/",),
            services=("b",),
            parents=(Parent(namespace="n", name="g", port=443),),
        )

    @pytest.mark.parametrize(
        "metadata", [{}, {"name": UNKNOWN}, {"name": "a", "namespace": UNKNOWN}]
    )
    def test_of_what_has_no_name_yet(self, metadata: dict[str, Any]) -> None:
        assert of_manifest(INGRESS, {"metadata": metadata}) is None

    def test_what_is_no_route_is_none(self) -> None:
        assert of_resource("kubernetes:core/v1:Service", {"metadata": {"name": "a"}}) is None


def test_a_state_s_are_those_that_it_owns() -> None:
    kind = "kubernetes:networking.k8s.io/v1:Ingress"
    resource: dict[str, Any] = {"type": kind, "urn": "u", "inputs": {"metadata": {"name": "a"}}}
    found = [resource, {**resource, "delete": True}, {**resource, "external": True}]
    assert [it.name for it in routes_of_state(found)] == ["a"]
    assert routes_of_state([resource], lambda _: None) == []


class TestClaims:
    """Two namespaces that ask for the same."""

    @pytest.fixture
    def ours(self) -> Route:
        return declared(gateway="gateways/public")

    def test_of_one_gateway_s_host_and_path(self, ours: Route) -> None:
        theirs = replace(ours, namespace="another")
        assert claims(ours, [theirs, ours]) == [theirs]

    @pytest.mark.parametrize(
        "differs",
        [
            {"hosts": ("b.example.com",)},
            {"paths": ("/blog",)},
            {"parents": (Parent(namespace="gateways", name="internal"),)},
            {"namespace": "aegis-staging", "name": "more"},
        ],
    )
    def test_are_none_where_something_tells_them_apart(
        self, ours: Route, differs: dict[str, Any]
    ) -> None:
        theirs = replace(ours, **{"namespace": "another", **differs})
        assert claims(ours, [theirs]) == []
