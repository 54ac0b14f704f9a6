"""operations.route_check: what would lead nowhere is told before anything is changed."""

from __future__ import annotations

import socket
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import pytest

from aegis_deploy.drift.clusters import Clusters
from aegis_deploy.kubernetes.client import ApiError
from aegis_deploy.model.events import Step
from aegis_deploy.model.gate_settings import INGRESS as INGRESS_WAY
from aegis_deploy.model.gate_settings import GateSettings
from aegis_deploy.model.routes.external_routes import HTTP_ROUTE, INGRESS, Parent, Route
from aegis_deploy.model.routes.route_findings import RouteFindings
from aegis_deploy.operations.route_check import look
from tests.unit.aegis_deploy.certificates import pair, secret

HOST = "aegis.example.com"
API = "/apis/gateway.networking.k8s.io/v1"
ROUTES, INGRESSES = f"{API}/httproutes", "/apis/networking.k8s.io/v1/ingresses"
CLASSES = "/apis/networking.k8s.io/v1/ingressclasses"
GATEWAY = f"{API}/namespaces/gateways/gateways/public"
NAMESPACE, SECRET = "/api/v1/namespaces/shop", "/api/v1/namespaces/shop/secrets/own"
OF_GATEWAY = "/api/v1/namespaces/gateways/secrets/public"

HTTP = Route(
    kind=HTTP_ROUTE,
    namespace="shop",
    name="api",
    hosts=(HOST,),
    paths=("/",),
    parents=(Parent(namespace="gateways", name="public"),),
)
IN = Route(
    kind=INGRESS,
    namespace="shop",
    name="api",
    hosts=(HOST,),
    paths=("/",),
    ingress_class="nginx",
    secrets=(("own", (HOST,)),),
)


def gateway(**listener: Any) -> dict[str, Any]:
    own = {
        "name": "web",
        "port": 443,
        "protocol": "HTTPS",
        "allowedRoutes": {"namespaces": {"from": "All"}},
        "tls": {"certificateRefs": [{"name": "public"}]},
        **listener,
    }
    return {
        "kind": "Gateway",
        "metadata": {"name": "public", "namespace": "gateways"},
        "spec": {"listeners": [own]},
        "status": {"conditions": [{"type": "Accepted", "status": "True"}]},
    }


def listed(*named: tuple[str, str], **spec: Any) -> dict[str, Any]:
    items = [{"metadata": {"namespace": ns, "name": it}, "spec": spec} for ns, it in named]
    return {"items": items}


GOOD = secret(*pair([HOST]))
THERE: dict[str, Any] = {
    API: {"kind": "APIResourceList"},
    GATEWAY: gateway(),
    OF_GATEWAY: GOOD,
    NAMESPACE: {"metadata": {"name": "shop", "labels": {}}},
    SECRET: GOOD,
    f"{CLASSES}/nginx": {"metadata": {"name": "nginx"}},
    CLASSES: listed(("", "nginx"), ("", "traefik")),
    f"{API}/gateways": listed(("gateways", "public")),
    ROUTES: listed(),
    INGRESSES: listed(),
}


class Api:
    """An API server with some objects; an error in the place of one is its answer."""

    def __init__(self, but: Mapping[str, Any]) -> None:
        self.there = {**THERE, **but}

    def get(self, path: str) -> Any:
        found = self.there.get(path)
        if isinstance(found, Exception):
            raise found
        if found is None:
            raise ApiError(404, f"{path} not found")
        return found


def step(route: Route, op: str = "create") -> Step:
    return Step(op=op, urn=route.label, type=route.kind, name="api", route=route)


def made(kind: str, name: str, namespace: str = "") -> Step:
    return Step(
        op="create", urn=f"{kind} {name}", type=kind, name=name, object=name, namespace=namespace
    )


def found(
    route: Route,
    *others: Step,
    op: str = "create",
    but: Mapping[str, Any] | None = None,
    gate: GateSettings | None = None,
) -> RouteFindings:
    """What is found where all is well but for something."""
    server = Api(but or {})

    class One:
        place: Callable[[str], str] = staticmethod(lambda _: "")
        at = staticmethod(lambda _: server)

    return look(cast("Clusters", One()), [step(route, op), *others], "staging", gate)


def only(findings: RouteFindings) -> tuple[str, str]:
    """The only fault there is, and what mends it."""
    assert findings.warnings == ()
    (fault,) = findings.faults
    return fault.why, fault.next


@pytest.mark.parametrize("route", [HTTP, IN], ids=lambda it: it.kind)
class TestEither:
    """An HTTPRoute and an Ingress alike."""

    def test_what_is_right_is_not_spoken_of(self, route: Route) -> None:
        assert not found(route)

    def test_a_cluster_that_does_not_answer_says_nothing_of_it(self, route: Route) -> None:
        silent = dict.fromkeys(THERE, ApiError(0, "no answer"))
        findings = found(route, but=silent)
        assert findings.faults == ()
        assert findings.warnings == (
            f"whether {route.label} will lead anywhere is not known: no answer",
        )

    def test_what_does_not_change_is_warned_of(self, route: Route) -> None:
        nothing = dict.fromkeys(THERE)
        findings = found(route, op="same", but=nothing)
        assert findings.faults == ()
        assert findings.warnings
        assert found(route, but=nothing).faults

    def test_what_is_deleted_is_not_looked_at(self, route: Route) -> None:
        assert not found(route, op="delete", but=dict.fromkeys(THERE))

    def test_a_host_that_another_namespace_claims(self, route: Route) -> None:
        theirs = {
            ROUTES: listed(
                ("other", "theirs"),
                hostnames=[HOST],
                parentRefs=[{"namespace": "gateways", "name": "public"}],
            ),
            INGRESSES: listed(
                ("other", "theirs"),
                ingressClassName="nginx",
                rules=[{"host": HOST, "http": {"paths": [{"path": "/"}]}}],
            ),
        }
        why, following = only(found(route, but=theirs))
        assert f"{HOST} is claimed by {route.kind} other/theirs as well" in why
        assert "pulumi config set --stack staging aegis:host" in following

    def test_what_may_not_be_listed_claims_nothing(self, route: Route) -> None:
        assert not found(route, but=dict.fromkeys((ROUTES, INGRESSES), ApiError(403, "no")))


class TestHttpRoute:
    """A Gateway that is there, takes it, and has a certificate for it."""

    def test_gateway_api_is_not_installed(self) -> None:
        why, following = only(found(HTTP, but={API: None}))
        assert "serves no gateway.networking.k8s.io/v1: Gateway API is not installed" in why
        assert "pulumi config rm --stack staging aegis:gateway" in following

    def test_gateway_api_is_installed_by_the_same_update(self) -> None:
        crd = made(
            "kubernetes:apiextensions.k8s.io/v1:CustomResourceDefinition",
            "httproutes.gateway.networking.k8s.io",
        )
        own = made(f"kubernetes:{API}:Gateway", "public", "gateways")
        assert not found(HTTP, crd, own, but={API: None, GATEWAY: None})
        assert not found(
            HTTP, made("kubernetes:helm.sh/v3:Release", "traefik"), but={API: None, GATEWAY: None}
        )

    def test_the_gateway_is_not_there(self) -> None:
        why, following = only(found(HTTP, but={GATEWAY: None}))
        assert "there is no Gateway gateways/public; there are: gateways/public" in why
        assert "aegis:gateway gateways/public" in following

    def test_no_controller_has_taken_the_gateway(self) -> None:
        why, _ = only(found(HTTP, but={GATEWAY: {**gateway(), "status": {}}}))
        assert why.endswith("Gateway gateways/public serves nothing: no controller has taken it")

    def test_no_listener_takes_it(self) -> None:
        why, _ = only(found(HTTP, but={GATEWAY: gateway(hostname="other.example.com")}))
        assert f"takes it for {HOST}: listener web is for other.example.com" in why

    def test_no_listener_takes_it_from_its_namespace(self) -> None:
        asked = {"namespaces": {"from": "Selector", "selector": {"matchLabels": {"a": "b"}}}}
        why, following = only(found(HTTP, but={GATEWAY: gateway(allowedRoutes=asked)}))
        assert "with other labels" in why
        assert "admit the namespace shop" in following

    def test_the_listener_s_certificate_is_for_another_host(self) -> None:
        why, following = only(found(HTTP, but={OF_GATEWAY: secret(*pair(["b.example.com"]))}))
        assert "Secret gateways/public has a certificate for b.example.com" in why
        assert "have the owner of Gateway gateways/public renew it" in following

    def test_a_certificate_that_may_not_be_read_is_its_owner_s(self) -> None:
        assert not found(HTTP, but={OF_GATEWAY: ApiError(403, "no")})


class TestIngress:
    """A class that is there, and a certificate for the host."""

    def test_its_class_is_not_there(self) -> None:
        why, following = only(found(replace(IN, ingress_class="haproxy")))
        assert why.endswith("there is no IngressClass haproxy; there are: nginx, traefik")
        assert "aegis:ingressClass nginx" in following

    def test_no_class_is_the_default(self) -> None:
        (warning,) = found(replace(IN, ingress_class="")).warnings
        assert "no IngressClass of the cluster is the default (there are: nginx, tr" in warning

    def test_a_class_is_the_default(self) -> None:
        default = {"ingressclass.kubernetes.io/is-default-class": "true"}
        own = {"items": [{"metadata": {"name": "nginx", "annotations": default}}]}
        assert not found(replace(IN, ingress_class=""), but={CLASSES: own})

    def test_its_secret_is_not_there(self) -> None:
        why, following = only(found(IN, but={SECRET: None}))
        assert why.endswith("Secret shop/own is not there")
        assert following.startswith("kubectl create secret tls --namespace shop own")

    def test_its_secret_is_made_by_somebody(self) -> None:
        assert not found(replace(IN, issued=True), but={SECRET: None})
        assert not found(IN, made("kubernetes:core/v1:Secret", "own", "shop"), but={SECRET: None})

    def test_its_secret_cannot_be_there_before_its_namespace(self) -> None:
        findings = found(IN, but={SECRET: None, NAMESPACE: None})
        assert findings.faults == ()
        (warning,) = findings.warnings
        assert "kubectl create secret tls --namespace shop own" in warning

    def test_its_certificate_expired(self) -> None:
        over = datetime.now(UTC) - timedelta(hours=1)
        old = secret(*pair([HOST], begins=over - timedelta(days=9), ends=over))
        why, _ = only(found(IN, but={SECRET: old}))
        assert "has a certificate that expired on" in why

    def test_its_certificate_expires_soon(self) -> None:
        soon = secret(*pair([HOST], ends=datetime.now(UTC) + timedelta(days=13)))
        findings = found(IN, but={SECRET: soon})
        assert findings.faults == ()
        (warning,) = findings.warnings
        assert "Secret shop/own has a certificate that expires on" in warning


def test_what_is_refused_says_what_why_state_and_what_to_type() -> None:
    refusal = found(IN, but={SECRET: None}).refusal("staging")
    assert refusal is not None
    lines = str(refusal).splitlines()
    assert lines[0] == "error: staging would not be reached from outside as it is declared"
    assert [it.split(":")[0].strip() for it in lines[1:]] == ["why", "state", "next"]
    assert found(IN).refusal("staging") is None


def test_what_was_found_is_told_though_not_all_could_be_looked_at() -> None:
    findings = found(IN, but={SECRET: None, INGRESSES: ApiError(0, "no answer")})
    assert [it.why for it in findings.faults] == ["Ingress shop/api: Secret shop/own is not there"]
    assert findings.warnings == (
        "whether Ingress shop/api will lead anywhere is not known: no answer",
    )


IN_EFFECT: dict[str, Any] = {
    "metadata": {"namespace": "shop", "name": "api", "generation": 1},
    "spec": {"parentRefs": [{"namespace": "gateways", "name": "public"}]},
    "status": {
        "parents": [
            {
                "parentRef": {"namespace": "gateways", "name": "public"},
                "conditions": [
                    {"type": it, "status": "True"} for it in ("Accepted", "ResolvedRefs")
                ],
            }
        ]
    },
}


class TestAGateFromOutside:
    """A gate that is to come by the way in has to reach it from here."""

    def at(
        self, port: int, gate: GateSettings | None, live: dict[str, Any] | None = IN_EFFECT
    ) -> RouteFindings:
        own = {**gateway(port=port), "status": {**gateway()["status"]}}
        own["status"]["addresses"] = [{"value": "127.0.0.1"}]
        return found(HTTP, but={GATEWAY: own, HTTP.path: live}, gate=gate)

    def test_reaches_it(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as server:
            assert not self.at(server.getsockname()[1], GateSettings(through=INGRESS_WAY))

    def test_does_not_reach_it(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as server:
            closed = server.getsockname()[1]
        why, following = only(self.at(closed, GateSettings(through=INGRESS_WAY)))
        assert f"127.0.0.1:{closed} cannot be reached from here" in why
        assert "pulumi config rm --stack staging --path aegis:gate.through" in following
        assert not self.at(closed, GateSettings())
        assert not self.at(closed, None)

    @pytest.mark.parametrize("live", [None, {**IN_EFFECT, "status": {}}])
    def test_where_it_is_not_in_effect_yet_nobody_can_tell(
        self, live: dict[str, Any] | None
    ) -> None:
        with socket.create_server(("127.0.0.1", 0)) as server:
            closed = server.getsockname()[1]
        assert not self.at(closed, GateSettings(through=INGRESS_WAY), live)

    def test_what_has_no_address_yet_may_get_one(self) -> None:
        there = {HTTP.path: IN_EFFECT}
        assert not found(HTTP, but=there, gate=GateSettings(through=INGRESS_WAY))
