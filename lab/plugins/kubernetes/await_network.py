"""Services and Ingresses: reachable once their endpoints have settled."""

from __future__ import annotations

from lab.plugins.kubernetes.awaiting import DELETED, Condition, Subject, self_subject
from lab.plugins.kubernetes.objects import Object, items, name_of, namespace_of, nested, text

_SETTLE_SECONDS = 10.0
_NO_ENDPOINTS_SECONDS = 60.0


class ServiceReady(Condition):
    """A Service: endpoints unchanged for ten seconds, none of them pending, an address if asked.

    Services without selector, headless ones and ExternalName ones have no endpoints to wait for.
    """

    def __init__(self, live: Object) -> None:
        super().__init__(live)
        self._seen = False
        self._ready = self._pending = False
        self._settles_at: float | None = None

    def subjects(self) -> list[Subject]:
        """Return the Service and its Endpoints."""
        own = self_subject(self.live)
        return [own, Subject("v1", "Endpoints", own.namespace, own.field_selector)]

    def observe(self, event: str, obj: Object, now: float) -> None:
        """Keep the Service's state and count its endpoints."""
        if obj.get("kind") == "Endpoints" and name_of(obj) == name_of(self.live):
            self._settles_at = now + _SETTLE_SECONDS
            subsets = items(obj, "subsets") if event != DELETED else []
            self._ready = any(subset.get("addresses") for subset in subsets)
            self._pending = any(subset.get("notReadyAddresses") for subset in subsets)
        elif self.is_mine(obj):
            self._seen = event != DELETED
            self.live = obj if self._seen else self.live

    def met(self, now: float) -> bool:
        """Say whether the Service can be used."""
        if not self._has_address():
            return False
        if not self._waits_for_pods():
            return True
        settled = self._settles_at is not None and now >= self._settles_at
        return settled and not self._pending

    def wakes_at(self) -> float | None:
        """Return when the endpoints will have settled."""
        return self._settles_at

    def progress(self) -> str:
        """Name the step."""
        if not self._ready:
            return "[1/3] Finding Pods to direct traffic to"
        return "[2/3] Attempting to allocate IP address to Service"

    def reasons(self) -> list[str]:
        """Return what is missing: pods, an address."""
        found = []
        if self._waits_for_pods() and not self._ready:
            found.append(
                "Service does not target any Pods. Selected Pods may not be ready, or field "
                "'.spec.selector' may not match labels on any Pods"
            )
        if text(self.live, "spec", "type") == "LoadBalancer" and not self._has_address():
            found.append(
                "Service was not allocated an IP address; does your cloud provider support this?"
            )
        return found

    def _has_address(self) -> bool:
        if text(self.live, "spec", "type") == "LoadBalancer":
            return bool(items(self.live, "status", "loadBalancer", "ingress"))
        return self._seen

    def _waits_for_pods(self) -> bool:
        spec = self.live.get("spec") or {}
        return (
            bool(spec.get("selector"))
            and spec.get("clusterIP") != "None"
            and spec.get("type") != "ExternalName"
        )


class IngressReady(Condition):
    """An Ingress: a Service with endpoints behind every path, and an address of its own."""

    def __init__(self, live: Object) -> None:
        super().__init__(live)
        self._endpoints: set[str] = set()
        self._external: set[str] = set()
        self._changed_at: float | None = None
        self._started_at: float | None = None

    def subjects(self) -> list[Subject]:
        """Return the Ingress, and the Services and Endpoints around it."""
        namespace = namespace_of(self.live)
        return [
            self_subject(self.live),
            Subject("v1", "Service", namespace),
            Subject("v1", "Endpoints", namespace),
        ]

    def observe(self, event: str, obj: Object, now: float) -> None:
        """Keep the Ingress's state and which Services have endpoints."""
        kind, name = obj.get("kind"), name_of(obj)
        if kind == "Endpoints":
            self._changed_at = now
            (self._endpoints.discard if event == DELETED else self._endpoints.add)(name)
        elif kind == "Service":
            external = event != DELETED and nested(obj, "spec", "type") == "ExternalName"
            (self._external.add if external else self._external.discard)(name)
        elif self.is_mine(obj) and event != DELETED:
            self.live = obj

    def met(self, now: float) -> bool:
        """Say whether the Ingress has an address and backends."""
        if self._started_at is None:
            self._started_at = now
        return self._has_address() and (not self._missing() or self._settled(now))

    def wakes_at(self) -> float | None:
        """Return when the endpoints will have settled."""
        if self._changed_at is not None:
            return self._changed_at + _SETTLE_SECONDS
        return None if self._started_at is None else self._started_at + _NO_ENDPOINTS_SECONDS

    def progress(self) -> str:
        """Name the step."""
        if self._missing():
            return "[1/3] Finding a matching service for each Ingress path"
        return "[2/3] Waiting for update of .status.loadBalancer with hostname/IP"

    def warnings(self) -> list[str]:
        """Return the paths that lead nowhere."""
        return [f"No matching service found for ingress rule: {rule}" for rule in self._missing()]

    def reasons(self) -> list[str]:
        """Return what is missing: backends, an address."""
        found = []
        if self._missing():
            found.append("Ingress has at least one rule with an unavailable target endpoint")
        if not self._has_address():
            found.append(
                "Ingress .status.loadBalancer field was not updated with a hostname/IP address; "
                "does the cluster have an ingress controller for its class?"
            )
        return found + self.warnings()

    def _settled(self, now: float) -> bool:
        wakes_at = self.wakes_at()
        return wakes_at is not None and now >= wakes_at

    def _has_address(self) -> bool:
        return bool(items(self.live, "status", "loadBalancer", "ingress"))

    def _missing(self) -> list[str]:
        found = []
        for rule in items(self.live, "spec", "rules"):
            for path in items(rule, "http", "paths"):
                service = text(path, "backend", "service", "name")
                if service and service not in self._endpoints | self._external:
                    shown = text(rule, "host") + text(path, "path") or "(default path)"
                    found.append(f'"{shown}" -> "{service}"')
        return found
