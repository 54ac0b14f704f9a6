"""Looking, before anything is changed, whether what leads in from outside will lead anywhere.

What of a route, a Gateway or a certificate does not do is decided by `model.routes` (`gateways`,
`certificates`, `external_routes`); this module asks the clusters for what these compare. What may
not be read is not known, and is no fault.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any

from aegis_deploy.common.errors import AegisError
from aegis_deploy.gate.external_way import NoWayError, way_in
from aegis_deploy.kubernetes.client import (
    FORBIDDEN,
    NOT_FOUND,
    UNAUTHORIZED,
    ApiError,
    routable,
)
from aegis_deploy.model.fingerprint import remains, routes_of_steps
from aegis_deploy.model.gate_settings import INGRESS as GATE_BY_INGRESS
from aegis_deploy.model.routes import certificates, gateways
from aegis_deploy.model.routes.external_routes import (
    GATEWAY_API,
    HTTP_ROUTE,
    INGRESS,
    Parent,
    Route,
    claims,
    everywhere,
    of_manifest,
)
from aegis_deploy.model.routes.route_findings import Fault, RouteFindings
from aegis_deploy.model.workloads.rollout import within

if TYPE_CHECKING:
    from aegis_deploy.drift.clusters import Clusters
    from aegis_deploy.kubernetes.client import Cluster, Object
    from aegis_deploy.model.events import Step
    from aegis_deploy.model.gate_settings import GateSettings
    from aegis_deploy.stack.session import Session

_CLASSES = "/apis/networking.k8s.io/v1/ingressclasses"
_DEFAULT_CLASS = "ingressclass.kubernetes.io/is-default-class"
_DEFINITION = "httproutes.gateway.networking.k8s.io"
_CHART = "kubernetes:helm.sh/v3:Release"
_MOST_NAMED = 5
_CONNECT_SECONDS = 2.0


def look_at_update(
    session: Session,
    clusters: Clusters,
    steps: Sequence[Step],
    gate: GateSettings | None = None,
) -> RouteFindings:
    """Look at what leads in from outside after an update; nothing is asked where nothing does.

    Args:
        session: The stack.
        clusters: Its clusters.
        steps: What the update's preview shows.
        gate: As `look` takes it.
    """
    if all(it.route is None for it in steps):
        return RouteFindings()
    clusters.see(session.resources())
    clusters.expect(steps)
    return look(clusters, steps, session.name, gate)


def look(
    clusters: Clusters, steps: Sequence[Step], stack: str, gate: GateSettings | None = None
) -> RouteFindings:
    """Look at what leads in from outside after an update.

    Args:
        clusters: The stack's clusters, which know the update's providers.
        steps: What the update's preview shows.
        stack: The stack's name, for what to type.
        gate: What is to probe the way in from here; None where that is none of this one's concern.
    """
    found = routes_of_steps(steps, clusters.place)
    faults: list[Fault] = []
    warnings: list[str] = []
    for route, step in found:
        where = within(route.cluster)
        one: _Look | None = None
        try:
            one = _Look(clusters.at(route.provider), route, steps, stack)
            one.look()
            if gate is not None and gate.through == GATE_BY_INGRESS:
                one.reach(gate)
        except (ApiError, AegisError) as error:
            why = f"{error.what}: {error.why}" if isinstance(error, AegisError) else str(error)
            warnings.append(f"whether {route.label}{where} will lead anywhere is not known: {why}")
        if one is None:
            continue
        told = [Fault(why=f"{route.label}{where}: {it.why}", next=it.next) for it in one.faults]
        warnings += [f"{route.label}{where}: {it}" for it in one.warnings]
        if step.changes:
            faults += told
        else:
            # Nothing of it changes, and what does may be what mends it.
            warnings += [f"{it.why}\n{it.next}" for it in told]
    return RouteFindings(faults=tuple(faults), warnings=tuple(dict.fromkeys(warnings)))


@dataclass
class _Look:
    """One route, looked at."""

    cluster: Cluster
    route: Route
    steps: Sequence[Step]
    stack: str
    faults: list[Fault] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def look(self) -> None:
        if self.route.kind == HTTP_ROUTE:
            if not self._has_gateway_api():
                return
            for parent in self.route.parents:
                self._gateway(parent)
        else:
            self._class()
            for secret, hosts in self.route.secrets:
                self._secret(self.route.namespace, secret, hosts or self.route.hosts)
        self._claims()

    def reach(self, gate: GateSettings) -> None:
        """See that a gate can come by it: where it cannot, a good release would be held to be bad.

        Only where it is in effect already: there are Gateways that listen nowhere before.

        Args:
            gate: Its settings.
        """
        live = self._read(self.route.path)
        if live is None or (self.route.kind == HTTP_ROUTE and gateways.route_fault(live)):
            return
        try:
            way = way_in(self.cluster, self.route, gate)
        except NoWayError:
            return  # What it lacks was told already, or it gets it only once it is made.
        host, port = way.address
        if not routable(host, port, _CONNECT_SECONDS):
            self._fault(
                f"the gate is to probe it ({GATE_BY_INGRESS}), and {host}:{port} cannot be reached "
                "from here",
                "run this where users' way leads, name another address with aegis:gate.address, "
                f"or: pulumi config rm --stack {self.stack} --path aegis:gate.through",
            )

    # HTTPRoute

    def _has_gateway_api(self) -> bool:
        if self._read(f"/apis/{GATEWAY_API}") is not None or self._made("", _DEFINITION):
            return True
        self._fault(
            f"the cluster serves no {GATEWAY_API}: Gateway API is not installed",
            "install it with a controller of your choice, or: "
            f"pulumi config rm --stack {self.stack} aegis:gateway",
        )
        return False

    def _gateway(self, parent: Parent) -> None:
        gateway = self._read(
            f"/apis/{GATEWAY_API}/namespaces/{parent.namespace}/gateways/{parent.name}"
        )
        if gateway is None:
            if not self._made(parent.namespace, parent.name):
                there = self._names(f"/apis/{GATEWAY_API}/gateways")
                self._fault(
                    f"there is no Gateway {parent.called}; there {_are(there)}",
                    f"pulumi config set --stack {self.stack} aegis:gateway "
                    f"{there[0] if there else 'NAMESPACE/NAME'}",
                )
            return
        why = gateways.not_taken(gateway)
        if why:
            self._fault(
                f"Gateway {parent.called} serves nothing: {why}",
                f"kubectl describe gateway --namespace {parent.namespace} {parent.name}",
            )
            return
        for host in self.route.hosts or ("",):
            fit, unfit = gateways.listeners(
                gateway, parent, host, self.route.namespace, self._labels
            )
            if not fit:
                self._fault(
                    f"no listener of Gateway {parent.called} takes it for {host or 'any host'}: "
                    f"{'; '.join(unfit) or 'it has none'}",
                    "name another Gateway or listener with aegis:gateway, another host with "
                    "aegis:host, or have the Gateway's owner admit the namespace "
                    f"{self.route.namespace}",
                )
            for it in fit:
                self._listener_certificate(parent, it, host)

    def _listener_certificate(self, parent: Parent, listener: Mapping[str, Any], host: str) -> None:
        """A Gateway's certificates are its owner's: who may not read them does not judge them."""
        if listener.get("protocol") != gateways.HTTPS:
            return
        references = (listener.get("tls") or {}).get("certificateRefs") or ()
        known = [
            self._judged(it.get("namespace") or parent.namespace, str(it.get("name")), host)
            for it in references
            if it.get("kind", "Secret") == "Secret"
        ]
        told = [it for it in known if it is not None]
        # One of several that does is enough: the client's host name chooses.
        if told and len(told) == len(references) and all(it.fault for _, it in told):
            name, judged = told[0]
            self._fault(
                f"listener {listener.get('name')} of Gateway {parent.called}: Secret {name} "
                f"{judged.fault}",
                f"have the owner of Gateway {parent.called} renew it",
            )
        self.warnings += [f"Secret {name} {it.warning}" for name, it in told if it.warning]

    def _judged(
        self, namespace: str, name: str, host: str
    ) -> tuple[str, certificates.Judged] | None:
        try:
            secret = self._read(f"/api/v1/namespaces/{namespace}/secrets/{name}")
        except _UntoldError:
            return None
        called = f"{namespace}/{name}"
        if secret is None:
            return called, certificates.Judged("is not there")
        return called, certificates.judge(secret, host, datetime.now(UTC))

    # Ingress

    def _class(self) -> None:
        name = self.route.ingress_class
        if name:
            if self._read(f"{_CLASSES}/{name}") is None and not self._made("", name):
                there = self._names(_CLASSES)
                self._fault(
                    f"there is no IngressClass {name}; there {_are(there)}",
                    f"pulumi config set --stack {self.stack} aegis:ingressClass "
                    f"{there[0] if there else 'NAME'}",
                )
            return
        found = self._items(_CLASSES)
        annotations = [(it["metadata"].get("annotations") or {}) for it in found]
        if not any(it.get(_DEFAULT_CLASS) == "true" for it in annotations):
            named = ", ".join(it["metadata"]["name"] for it in found) or "none"
            self.warnings.append(
                "it names no class, and no IngressClass of the cluster is the default (there are: "
                f"{named}): only a controller that takes what has no class serves it"
            )

    def _secret(self, namespace: str, name: str, hosts: Iterable[str]) -> None:
        if self._labels is None:
            if not self.route.issued and not self._made(namespace, name):
                self.warnings.append(
                    f"Secret {name} cannot be there yet, for namespace {namespace} is made only by "
                    f"this update; after it: kubectl create secret tls --namespace {namespace} "
                    f"{name} --cert FILE --key FILE"
                )
            return
        for host in hosts or ("",):
            found = self._judged(namespace, name, host)
            if found is None:
                self.warnings.append(f"whether Secret {name} does is not known: it may not be read")
                return
            called, judged = found
            missing = judged.fault == "is not there"
            if missing and (self.route.issued or self._made(namespace, name)):
                continue
            if judged.fault:
                kubectl = f"--namespace {namespace} {name}"
                self._fault(
                    f"Secret {called} {judged.fault}",
                    f"kubectl create secret tls {kubectl} --cert FILE --key FILE"
                    if missing
                    else f"kubectl delete secret {kubectl}, and create it with another certificate",
                )
            if judged.warning:
                self.warnings.append(f"Secret {called} {judged.warning}")

    # Both

    def _claims(self) -> None:
        kinds = (INGRESS, HTTP_ROUTE)
        for kind in kinds:
            try:
                found = [of_manifest(kind, it) for it in self._items(everywhere(kind))]
            except _UntoldError:
                continue
            others = claims(self.route, [it for it in found if it is not None])
            for it in others:
                self._fault(
                    f"{', '.join(sorted(set(it.hosts) & set(self.route.hosts)))} is claimed by "
                    f"{it.label} as well: requests would go to one of them, or to both by turns",
                    f"pulumi config set --stack {self.stack} aegis:host ANOTHER, or take "
                    f"{it.label} away",
                )

    @cached_property
    def _labels(self) -> Mapping[str, str] | None:
        """The labels of the route's namespace; None where it is not there, or may not be read."""
        try:
            found = self._read(f"/api/v1/namespaces/{self.route.namespace}")
        except _UntoldError:
            return None
        return None if found is None else found["metadata"].get("labels") or {}

    def _read(self, path: str) -> Object | None:
        """Read something; None when it is not there."""
        try:
            return self.cluster.get(path)
        except ApiError as error:
            if error.code == NOT_FOUND:
                return None
            if error.code in {UNAUTHORIZED, FORBIDDEN}:
                raise _UntoldError(error.code, str(error)) from error
            raise

    def _items(self, path: str) -> list[Object]:
        found = self._read(path)
        return [] if found is None else found.get("items") or []

    def _names(self, path: str) -> list[str]:
        try:
            found = self._items(path)
        except _UntoldError:
            return []
        parts = ((it["metadata"].get("namespace"), it["metadata"]["name"]) for it in found)
        return sorted("/".join(filter(None, it)) for it in parts)

    def _made(self, namespace: str, name: str) -> bool:
        """Whether the same update makes something that is not there yet."""
        return any(
            remains(it)
            and it.changes
            and (
                it.type == _CHART
                or (it.object == name and (not namespace or it.namespace == namespace))
            )
            for it in self.steps
        )

    def _fault(self, why: str, next_step: str) -> None:
        self.faults.append(Fault(why=why, next=next_step))


class _UntoldError(ApiError):
    """It may not be read."""


def _are(names: Sequence[str]) -> str:
    if not names:
        return "are none that may be seen"
    more = len(names) - _MOST_NAMED
    return "are: " + ", ".join([*names[:_MOST_NAMED], *([f"{more} more"] if more > 0 else [])])
