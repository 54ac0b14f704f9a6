"""The way from outside to the service: an Ingress, or an HTTPRoute that attaches to a Gateway.

Neither the Gateway nor whoever makes either so is of the stack: a cluster's owner keeps them.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pulumi
import pulumi_kubernetes.meta.v1 as meta
import pulumi_kubernetes.networking.v1 as networking

from aegis_deploy.model.routes.external_routes import (
    GATEWAY_GROUP,
    HTTP_ROUTE,
    INGRESS,
    Parent,
    Route,
)
from components.labels import SERVICE

_LABEL = r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"
HOST_TEXT = rf"{_LABEL}(\.{_LABEL})*"
GATEWAY_TEXT = rf"{_LABEL}/{HOST_TEXT}(/{HOST_TEXT})?"
ISSUER_TEXT = rf"(Cluster)?Issuer/{HOST_TEXT}"
NAMESPACES_TEXT = rf"{_LABEL}(,{_LABEL})*"

_ISSUED_BY = {
    "Issuer": "cert-manager.io/issuer",
    "ClusterIssuer": "cert-manager.io/cluster-issuer",
}
_NAMESPACE_LABEL = "kubernetes.io/metadata.name"


@dataclass(frozen=True, kw_only=True)
class Gateway:
    """A Gateway that a route attaches to.

    Attributes:
        namespace: Its namespace.
        name: Its name.
        section: The name of one of its listeners; None means every one that fits.
    """

    namespace: str
    name: str
    section: str | None = None

    @classmethod
    def parse(cls, text: str) -> Gateway:
        """Read ``namespace/name`` or ``namespace/name/section``.

        Raises:
            ValueError: It is neither; the message is worded to follow the value.
        """
        if re.fullmatch(GATEWAY_TEXT, text) is None:
            raise ValueError("is not the name of a Gateway with its namespace")
        namespace, name, *section = text.split("/")
        return cls(namespace=namespace, name=name, section=section[0] if section else None)

    def __str__(self) -> str:
        return "/".join(filter(None, (self.namespace, self.name, self.section)))


@dataclass(frozen=True, kw_only=True)
class Issuer:
    """Who of cert-manager has a certificate made.

    Attributes:
        kind: Issuer, which is the namespace's, or ClusterIssuer.
        name: Its name.
    """

    kind: str
    name: str

    @classmethod
    def parse(cls, text: str) -> Issuer:
        """Read ``Issuer/name`` or ``ClusterIssuer/name``.

        Raises:
            ValueError: It is neither; the message is worded to follow the value.
        """
        if re.fullmatch(ISSUER_TEXT, text) is None:
            raise ValueError("is not an issuer's kind and name")
        kind, _, name = text.partition("/")
        return cls(kind=kind, name=name)

    def __str__(self) -> str:
        return f"{self.kind}/{self.name}"


def parse_namespaces(text: str) -> tuple[str, ...]:
    """Read the names of namespaces, separated by commas.

    Raises:
        ValueError: They are none; the message is worded to follow the value.
    """
    if re.fullmatch(NAMESPACES_TEXT, text) is None:
        raise ValueError("is not a list of namespaces")
    return tuple(text.split(","))


@dataclass(frozen=True, kw_only=True)
class ExternalRoute:
    """How the service is reached from outside.

    Attributes:
        host: The host name.
        gateway: The Gateway that an HTTPRoute attaches to; None means that there is an Ingress.
        ingress_class: The Ingress's class; None means the cluster's default.
        tls_secret: The Secret with the Ingress's certificate; None where it speaks no TLS. A
            Gateway's certificate is the Gateway's.
        issuer: Who fills that Secret; None means that somebody else does.
    """

    host: str
    gateway: Gateway | None = None
    ingress_class: str | None = None
    tls_secret: str | None = None
    issuer: Issuer | None = None


def issuer_annotations(route: ExternalRoute) -> dict[str, str]:
    """Return the annotations of an Ingress by which its certificate is made.

    Args:
        route: How the service is reached.
    """
    return {} if route.issuer is None else {_ISSUED_BY[route.issuer.kind]: route.issuer.name}


def ingress_spec(
    route: ExternalRoute, service: pulumi.Input[str], port: str
) -> networking.IngressSpecArgs:
    """Describe the Ingress.

    Args:
        route: How the service is reached.
        service: The Service's name.
        port: The name of its port.
    """
    tls = None
    if route.tls_secret is not None:
        tls = [networking.IngressTLSArgs(hosts=[route.host], secret_name=route.tls_secret)]
    backend = networking.IngressBackendArgs(
        service=networking.IngressServiceBackendArgs(
            name=service, port=networking.ServiceBackendPortArgs(name=port)
        )
    )
    path = networking.HTTPIngressPathArgs(path="/", path_type="Prefix", backend=backend)
    rule = networking.IngressRuleArgs(
        host=route.host, http=networking.HTTPIngressRuleValueArgs(paths=[path])
    )
    return networking.IngressSpecArgs(ingress_class_name=route.ingress_class, tls=tls, rules=[rule])


def http_route_spec(
    host: str,
    gateway: Gateway,
    services: Sequence[tuple[pulumi.Input[str], int]],
    port: int,
    *,
    drain_seconds: int,
) -> dict[str, Any]:
    """Describe the HTTPRoute.

    No retries are asked for: they are in the experimental channel alone, whose field a cluster with
    the standard definitions refuses, and a drained pod leaves nothing to be sent again.

    Args:
        host: The host name.
        gateway: The Gateway it attaches to.
        services: The names of the Services, each with what it gets of the requests: its weight.
        port: The number of their port.
        drain_seconds: How long a request may go on at a pod that ends, which so is the most that
            any may take: one that is longer would be cut by each rollout.
    """
    parent = {
        "group": GATEWAY_GROUP,
        "kind": "Gateway",
        "namespace": gateway.namespace,
        "name": gateway.name,
    }
    if gateway.section is not None:
        parent["sectionName"] = gateway.section
    # The definition's defaults are said: what is left out would be the server's to choose.
    backends = [
        {"group": "", "kind": "Service", "name": name, "port": port, "weight": weight}
        for name, weight in services
    ]
    rule = {
        "matches": [{"path": {"type": "PathPrefix", "value": "/"}}],
        "timeouts": {"request": f"{drain_seconds}s"},
        "backendRefs": backends,
    }
    return {"parentRefs": [parent], "hostnames": [host], "rules": [rule]}


def declared(route: ExternalRoute, namespace: str, *services: str) -> Route:
    """Return the route as the gate looks for it.

    Args:
        route: How the service is reached.
        namespace: The stack's namespace.
        services: The names of the Services that it leads to.
    """
    gateway, secret = route.gateway, route.tls_secret
    return Route(
        kind=INGRESS if gateway is None else HTTP_ROUTE,
        namespace=namespace,
        name=SERVICE,
        hosts=(route.host,),
        services=services,
        parents=()
        if gateway is None
        else (
            Parent(namespace=gateway.namespace, name=gateway.name, section=gateway.section or ""),
        ),
        secrets=() if secret is None else ((secret, (route.host,)),),
    )


def peers(namespaces: Sequence[str]) -> list[networking.NetworkPolicyPeerArgs] | None:
    """Return who may reach the service, for its network policy; None means everybody.

    Args:
        namespaces: The namespaces that its clients are in; none means anywhere.
    """
    if not namespaces:
        return None
    return [
        networking.NetworkPolicyPeerArgs(
            namespace_selector=meta.LabelSelectorArgs(match_labels={_NAMESPACE_LABEL: it})
        )
        for it in namespaces
    ]


TLS_SECRET = f"{SERVICE}-tls"
"""The Secret that an issuer fills where the settings name none."""
