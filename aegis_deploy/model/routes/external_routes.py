"""What leads from outside to a Service, as it is declared: an Ingress or an HTTPRoute. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from aegis_deploy.model.declared import UNKNOWN

INGRESS, HTTP_ROUTE = "Ingress", "HTTPRoute"
GATEWAY_GROUP = "gateway.networking.k8s.io"
GATEWAY_API = f"{GATEWAY_GROUP}/v1"
_TYPES = {
    "kubernetes:networking.k8s.io/v1:Ingress": INGRESS,
    f"kubernetes:{GATEWAY_API}:HTTPRoute": HTTP_ROUTE,
}
_PLURALS = {INGRESS: "ingresses", HTTP_ROUTE: "httproutes"}
_APIS = {INGRESS: "networking.k8s.io/v1", HTTP_ROUTE: GATEWAY_API}
_ISSUED = ("cert-manager.io/issuer", "cert-manager.io/cluster-issuer", "kubernetes.io/tls-acme")
_CLASS_BEFORE = "kubernetes.io/ingress.class"
"""The annotation that named an Ingress's class before the field did, and still does."""
_ROOT = "/"

Object = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Parent:
    """A Gateway that a route names.

    Attributes:
        namespace: Its namespace.
        name: Its name.
        section: The listener that is named; empty for every one that fits.
        port: The port that is named; None for any.
    """

    namespace: str
    name: str
    section: str = ""
    port: int | None = None

    @property
    def called(self) -> str:
        """What a person calls the Gateway."""
        return f"{self.namespace}/{self.name}"


@dataclass(frozen=True, kw_only=True)
class Route:
    """A way in.

    Attributes:
        kind: Ingress or HTTPRoute.
        namespace: Its namespace.
        name: Its name.
        hosts: The host names; none means all.
        paths: What of them it serves: the beginnings of paths.
        services: The names of the Services that it leads to.
        parents: The Gateways that an HTTPRoute attaches to.
        ingress_class: An Ingress's class; empty for the cluster's default.
        secrets: The Secrets with an Ingress's certificates, and the hosts that each is for.
        issued: Whether somebody is asked to make those Secrets.
        cluster: Which of a stack's clusters it is in, as `Workload.cluster` has it.
        provider: The URN of its provider; empty for one that connects as the settings say.
    """

    kind: str
    namespace: str
    name: str
    hosts: tuple[str, ...] = ()
    paths: tuple[str, ...] = ()
    services: tuple[str, ...] = ()
    parents: tuple[Parent, ...] = ()
    ingress_class: str = ""
    secrets: tuple[tuple[str, tuple[str, ...]], ...] = ()
    issued: bool = False
    cluster: str = ""
    provider: str = field(default="", compare=False, repr=False)

    @property
    def label(self) -> str:
        """What a person calls it."""
        return f"{self.kind} {self.namespace}/{self.name}"

    @property
    def path(self) -> str:
        """Where the API server has it."""
        return f"{self.collection}/{self.name}"

    @property
    def collection(self) -> str:
        """Where the API server has those of its namespace."""
        return f"/apis/{_APIS[self.kind]}/namespaces/{self.namespace}/{_PLURALS[self.kind]}"


def everywhere(kind: str) -> str:
    """Return where the API server has the routes of a kind, of all namespaces."""
    return f"/apis/{_APIS[kind]}/{_PLURALS[kind]}"


def of_resource(resource_type: str, inputs: Object) -> Route | None:
    """Read a resource that is a route; None for what is none, or has no name yet.

    Args:
        resource_type: The resource's type.
        inputs: What it is declared as.
    """
    kind = _TYPES.get(resource_type)
    return None if kind is None else of_manifest(kind, inputs)


def of_manifest(kind: str, manifest: Object) -> Route | None:
    """Read a route; None while it has no name that is known.

    Args:
        kind: Ingress or HTTPRoute.
        manifest: It, as a program declares it or as the API server has it.
    """
    metadata, spec = _group(manifest.get("metadata")), _group(manifest.get("spec"))
    (name,) = _texts([metadata.get("name")]) or ("",)
    (namespace,) = _texts([metadata.get("namespace") or "default"]) or ("",)
    if not name or not namespace:
        return None
    route = Route(kind=kind, namespace=namespace, name=name)
    if kind == INGRESS:
        return _ingress(route, spec, _group(metadata.get("annotations")))
    return _http_route(route, spec)


def claims(ours: Route, others: Iterable[Route]) -> list[Route]:
    """Return who else asks for the same path of the same host.

    Args:
        ours: A route.
        others: The routes of its kind that there are; those of its own namespace count for none,
            where one host may well be shared out.
    """
    return [
        it
        for it in others
        if it.namespace != ours.namespace
        and set(it.hosts) & set(ours.hosts)
        and set(it.paths) & set(ours.paths)
        and (_attached(it) == _attached(ours) or _attached(it) & _attached(ours))
    ]


def _attached(route: Route) -> frozenset[str]:
    """Who serves a route, as far as it says it."""
    if route.kind == INGRESS:
        return frozenset({route.ingress_class})
    return frozenset(it.called for it in route.parents)


def _ingress(route: Route, spec: Object, annotations: Object) -> Route:
    rules = _groups(spec.get("rules"))
    paths = [path for rule in rules for path in _groups(_group(rule.get("http")).get("paths"))]
    default = _group(spec.get("defaultBackend"))
    backends = [default, *(_group(it.get("backend")) for it in paths)]
    return replace(
        route,
        hosts=_texts(it.get("host") for it in rules),
        paths=_texts(it.get("path") or _ROOT for it in paths),
        services=_texts(_group(it.get("service")).get("name") for it in backends),
        ingress_class=str(spec.get("ingressClassName") or annotations.get(_CLASS_BEFORE) or ""),
        secrets=tuple(
            (name, _texts(it.get("hosts") or ()))
            for it in _groups(spec.get("tls"))
            for name in _texts([it.get("secretName")])
        ),
        issued=any(it in annotations for it in _ISSUED),
    )


def _http_route(route: Route, spec: Object) -> Route:
    rules = _groups(spec.get("rules"))
    matches = [it for rule in rules for it in _groups(rule.get("matches")) or [{}]]
    backends = [it for rule in rules for it in _groups(rule.get("backendRefs"))]
    parents = [
        Parent(
            namespace=str(it.get("namespace") or route.namespace),
            name=str(it.get("name")),
            section=str(it.get("sectionName") or ""),
            port=int(port) if isinstance(port := it.get("port"), int | float) else None,
        )
        for it in _groups(spec.get("parentRefs"))
        if it.get("kind", "Gateway") == "Gateway"
    ]
    return replace(
        route,
        hosts=_texts(spec.get("hostnames") or ()),
        paths=_texts(_group(it.get("path")).get("value") or _ROOT for it in matches or [{}]),
        services=_texts(
            it.get("name") for it in backends if it.get("kind", "Service") == "Service"
        ),
        parents=tuple(parents),
    )


def _group(value: Any) -> Object:  # noqa: ANN401 - any JSON value
    return value if isinstance(value, Mapping) else {}


def _groups(value: Any) -> list[Object]:  # noqa: ANN401 - any JSON value
    return [it for it in value if isinstance(it, Mapping)] if isinstance(value, list) else []


def _texts(values: Iterable[Any]) -> tuple[str, ...]:
    """Return what of some values is a text that is known before the update."""
    found = (it for it in values if isinstance(it, str) and it not in {"", UNKNOWN})
    return tuple(dict.fromkeys(found))
