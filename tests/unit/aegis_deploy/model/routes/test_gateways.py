"""model.routes.gateways: which listeners take a route, and what is said of it."""

from __future__ import annotations

from typing import Any

import pytest

from aegis_deploy.model.routes.external_routes import Parent
from aegis_deploy.model.routes.gateways import (
    addresses,
    covers,
    listeners,
    not_taken,
    route_fault,
    selects,
)

PARENT = Parent(namespace="gateways", name="public")
HOST = "aegis.example.com"
ALL = {"namespaces": {"from": "All"}}


def gateway(*own: dict[str, Any]) -> dict[str, Any]:
    given = [
        {"name": "web", "port": 80, "protocol": "HTTP", "allowedRoutes": ALL, **it} for it in own
    ]
    return {"metadata": {"name": "public", "namespace": "gateways"}, "spec": {"listeners": given}}


def taken(
    own: dict[str, Any],
    parent: Parent = PARENT,
    host: str = HOST,
    namespace: str = "shop",
    labels: dict[str, str] | None = None,
) -> str:
    """Why a listener does not take a route; empty when it does."""
    fit, why = listeners(gateway(own), parent, host, namespace, labels)
    assert bool(fit) != bool(why)
    return "; ".join(why)


@pytest.mark.parametrize(
    ("pattern", "host", "is_covered"),
    [
        ("a.b", "A.b.", True),
        ("*.b", "a.b", True),
        ("*.b", "a.a.b", True),
        ("*.b", "b", False),
        ("*.b", "ab", False),
        ("a.b", "c.b", False),
    ],
)
def test_a_host_is_covered(pattern: str, host: str, is_covered: bool) -> None:
    assert covers(pattern, host) is is_covered


class TestListeners:
    """A listener takes a route by its name, port, protocol, host and by whose it is."""

    @pytest.mark.parametrize(
        "own",
        [
            {},
            {"hostname": HOST},
            {"hostname": "*.example.com"},
            {"protocol": "HTTPS"},
            {"allowedRoutes": {**ALL, "kinds": [{"kind": "HTTPRoute"}]}},
        ],
    )
    def test_takes_one(self, own: dict[str, Any]) -> None:
        assert taken(own) == ""

    @pytest.mark.parametrize(
        ("own", "why"),
        [
            ({"hostname": "other.example.com"}, "listener web is for other.example.com"),
            ({"protocol": "TCP"}, "listener web speaks TCP"),
            (
                {"allowedRoutes": {**ALL, "kinds": [{"kind": "GRPCRoute"}]}},
                "listener web takes no HTTPRoute",
            ),
            ({"allowedRoutes": {}}, "listener web takes routes of gateways alone"),
            ({"allowedRoutes": {"namespaces": {"from": "None"}}}, "listener web takes no routes"),
        ],
    )
    def test_does_not_take_one(self, own: dict[str, Any], why: str) -> None:
        assert taken(own).startswith(why)

    def test_of_its_own_namespace_it_takes_one_without_a_word(self) -> None:
        assert taken({"allowedRoutes": {}}, namespace="gateways") == ""

    def test_of_namespaces_with_labels(self) -> None:
        asked = {"namespaces": {"from": "Selector", "selector": {"matchLabels": {"in": "yes"}}}}
        assert taken({"allowedRoutes": asked}, labels={"in": "yes"}) == ""
        assert "with other labels" in taken({"allowedRoutes": asked}, labels={"in": "no"})
        # Nobody can say it of one that is not made yet.
        assert taken({"allowedRoutes": asked}, labels=None) == ""

    def test_the_one_that_is_named_is_the_one_that_counts(self) -> None:
        own = gateway({"name": "a", "protocol": "TCP"}, {"name": "b"})
        fit, why = listeners(own, Parent(namespace="g", name="p", section="b"), HOST, "n", {})
        assert ([it["name"] for it in fit], why) == (["b"], [])
        fit, why = listeners(own, Parent(namespace="g", name="p", section="c"), HOST, "n", {})
        assert (fit, why) == ([], ["it has no listener c, only a, b"])

    def test_another_port_is_another_listener_s(self) -> None:
        port = Parent(namespace="gateways", name="public", port=443)
        assert taken({}, port) == "listener web has port 80, and 443 is named"


@pytest.mark.parametrize(
    ("selector", "selected"),
    [
        ({}, True),
        ({"matchLabels": {"a": "1"}}, True),
        ({"matchLabels": {"a": "2"}}, False),
        ({"matchExpressions": [{"key": "a", "operator": "In", "values": ["1", "2"]}]}, True),
        ({"matchExpressions": [{"key": "a", "operator": "NotIn", "values": ["1"]}]}, False),
        ({"matchExpressions": [{"key": "b", "operator": "NotIn", "values": ["1"]}]}, True),
        ({"matchExpressions": [{"key": "a", "operator": "Exists"}]}, True),
        ({"matchExpressions": [{"key": "b", "operator": "Exists"}]}, False),
        ({"matchExpressions": [{"key": "b", "operator": "DoesNotExist"}]}, True),
        ({"matchExpressions": [{"key": "a", "operator": "DoesNotExist"}]}, False),
    ],
)
def test_labels_are_selected(selector: dict[str, Any], selected: bool) -> None:
    assert selects(selector, {"a": "1"}) is selected


def condition(kind: str, status: str = "True", **more: Any) -> dict[str, Any]:
    return {"type": kind, "status": status, **more}


class TestAGateway:
    """A Gateway serves once its controller says so."""

    @pytest.mark.parametrize(
        ("conditions", "why"),
        [
            ([], "no controller has taken it"),
            ([condition("Accepted", "Unknown")], "no controller has taken it"),
            (
                [condition("Accepted", "False", message="no such class")],
                "its controller does not take it: no such class",
            ),
            (
                [condition("Accepted"), condition("Programmed", "False", reason="Invalid")],
                "it is not in effect: Invalid",
            ),
            ([condition("Accepted"), condition("Programmed")], ""),
            ([condition("Accepted")], ""),
        ],
    )
    def test_is_taken(self, conditions: list[dict[str, Any]], why: str) -> None:
        assert not_taken({"status": {"conditions": conditions}}) == why

    def test_has_addresses(self) -> None:
        of_gateway = {"addresses": [{"type": "IPAddress", "value": "198.51.100.1"}]}
        assert addresses({"kind": "Gateway", "status": of_gateway}) == ("198.51.100.1",)
        of_ingress = {
            "loadBalancer": {"ingress": [{"ip": "198.51.100.2"}, {"hostname": "lb.test"}]}
        }
        found = addresses({"kind": "Ingress", "status": of_ingress})
        assert found == ("198.51.100.2", "lb.test")
        assert addresses({"kind": "Ingress"}) == ()


class TestARoute:
    """A route is in effect when each parent says so of this very generation."""

    GOOD = (condition("Accepted", observedGeneration=3), condition("ResolvedRefs"))

    def route(self, *conditions: dict[str, Any], parents: int = 1) -> dict[str, Any]:
        references = [{"namespace": "gateways", "name": f"g{it}"} for it in range(parents)]
        said = [{"parentRef": references[0], "conditions": list(conditions)}] if conditions else []
        return {
            "metadata": {"name": "a", "namespace": "n", "generation": 3},
            "spec": {"parentRefs": references},
            "status": {"parents": said},
        }

    def test_is_in_effect(self) -> None:
        assert route_fault(self.route(*self.GOOD)) == ""

    def test_is_not_when_one_parent_is_silent(self) -> None:
        why = "Gateway gateways/g1 has said nothing of it"
        assert route_fault(self.route(*self.GOOD, parents=2)) == why
        assert route_fault(self.route()) == "Gateway gateways/g0 has said nothing of it"

    def test_is_not_by_what_was_said_of_it_before(self) -> None:
        before = condition("Accepted", observedGeneration=2)
        assert "as it is now" in route_fault(self.route(before, condition("ResolvedRefs")))
        assert "as it is now" in route_fault(self.route(condition("Accepted")))

    def test_is_not_when_a_parent_says_no(self) -> None:
        refused = condition("Accepted", "False", message="not allowed", observedGeneration=3)
        assert route_fault(self.route(refused)) == (
            "Gateway gateways/g0 does not take it: not allowed"
        )
        lost = condition("ResolvedRefs", "False", reason="BackendNotFound")
        assert route_fault(self.route(self.GOOD[0], lost)) == (
            "Gateway gateways/g0 does not find what it leads to: BackendNotFound"
        )
