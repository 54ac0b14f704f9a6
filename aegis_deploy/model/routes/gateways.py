"""Whether a Gateway takes a route: its listeners, their hosts, and whose routes they let in. Pure.

What is compared is as the specification has it
(https://gateway-api.sigs.k8s.io/reference/1.5/spec/).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from aegis_deploy.model.routes.external_routes import GATEWAY_GROUP, HTTP_ROUTE, Parent

Object = Mapping[str, Any]
_SPEAK_HTTP = ("HTTP", "HTTPS")
_ASKED = {"Accepted": "does not take it", "ResolvedRefs": "does not find what it leads to"}
HTTPS = "HTTPS"


def covers(pattern: str, host: str) -> bool:
    """Return whether a listener's host name, maybe a wildcard's, is of a host.

    Args:
        pattern: Such as ``*.example.com``, which is of any number of labels before it.
        host: A host name, or a wildcard of its own.
    """
    pattern, host = pattern.lower().rstrip("."), host.lower().rstrip(".")
    if pattern == host:
        return True
    return pattern.startswith("*.") and host.endswith(pattern[1:]) and host != pattern[1:]


def listeners(
    gateway: Object, parent: Parent, host: str, namespace: str, labels: Mapping[str, str] | None
) -> tuple[list[Object], list[str]]:
    """Return the listeners of a Gateway that take a route, and why each other one does not.

    Args:
        gateway: The Gateway, as the API server has it.
        parent: What the route says of it.
        host: The route's host name; empty for all.
        namespace: The route's namespace.
        labels: That namespace's labels; None where they are not known.
    """
    fit: list[Object] = []
    why: list[str] = []
    there = (gateway.get("spec") or {}).get("listeners") or ()
    if parent.section and all(it.get("name") != parent.section for it in there):
        names = ", ".join(str(it.get("name")) for it in there)
        return [], [f"it has no listener {parent.section}, only {names or 'none'}"]
    for it in there:
        if parent.section and it.get("name") != parent.section:
            continue
        fault = _fault(it, gateway, parent, host, namespace, labels)
        if fault is None:
            fit.append(it)
        else:
            why.append(f"listener {it.get('name')} {fault}")
    return fit, why


def not_taken(gateway: Object) -> str:
    """Say why a Gateway itself serves nothing; empty when its controller has taken it."""
    conditions = _conditions((gateway.get("status") or {}).get("conditions"))
    accepted = conditions.get("Accepted")
    if accepted is None or accepted.get("status") == "Unknown":
        return "no controller has taken it"
    if accepted.get("status") != "True":
        return f"its controller does not take it: {_said(accepted)}"
    programmed = conditions.get("Programmed")
    if programmed is not None and programmed.get("status") == "False":
        return f"it is not in effect: {_said(programmed)}"
    return ""


def route_fault(live: Object) -> str:
    """Say why an HTTPRoute, as it is now, is not in effect; empty when it is.

    A parent's word counts when it is about this very generation. Each parent has one.

    Args:
        live: The route, as the API server has it.
    """
    generation = (live.get("metadata") or {}).get("generation")
    said = (live.get("status") or {}).get("parents") or ()
    for parent in (live.get("spec") or {}).get("parentRefs") or ():
        if parent.get("kind", "Gateway") != "Gateway":
            continue
        name = f"Gateway {parent.get('namespace') or _namespace(live)}/{parent.get('name')}"
        own = [it for it in said if _same_parent(it.get("parentRef") or {}, parent, live)]
        if not own:
            return f"{name} has said nothing of it"
        for it in own:
            conditions = _conditions(it.get("conditions"))
            for kind, not_so in _ASKED.items():
                condition = conditions.get(kind)
                seen = None if condition is None else condition.get("observedGeneration")
                if condition is None or seen not in {None, generation}:
                    return f"{name} has not looked at it yet as it is now"
                if condition.get("status") != "True":
                    return f"{name} {not_so}: {_said(condition)}"
    return ""


def addresses(live: Object) -> tuple[str, ...]:
    """Return the addresses that a Gateway or an Ingress has.

    Args:
        live: It, as the API server has it.
    """
    status = live.get("status") or {}
    if live.get("kind") == "Gateway":
        found = [it.get("value") for it in status.get("addresses") or ()]
    else:
        balancers = (status.get("loadBalancer") or {}).get("ingress") or ()
        found = [it.get("ip") or it.get("hostname") for it in balancers]
    return tuple(str(it) for it in found if it)


def _fault(  # noqa: PLR0911, PLR0917 - one question after another
    listener: Object,
    gateway: Object,
    parent: Parent,
    host: str,
    namespace: str,
    labels: Mapping[str, str] | None,
) -> str | None:
    if parent.port is not None and listener.get("port") != parent.port:
        return f"has port {listener.get('port')}, and {parent.port} is named"
    if listener.get("protocol") not in _SPEAK_HTTP:
        return f"speaks {listener.get('protocol')}"
    own = str(listener.get("hostname") or "")
    if own and host and not (covers(own, host) or covers(host, own)):
        return f"is for {own}"
    allowed = listener.get("allowedRoutes") or {}
    kinds = allowed.get("kinds") or ()
    if kinds and not any(
        it.get("kind") == HTTP_ROUTE and it.get("group", GATEWAY_GROUP) == GATEWAY_GROUP
        for it in kinds
    ):
        return f"takes no {HTTP_ROUTE}"
    admitted = allowed.get("namespaces") or {}
    whose = admitted.get("from", "Same")
    if whose == "Same" and namespace != _namespace(gateway):
        return f"takes routes of {_namespace(gateway)} alone (allowedRoutes.namespaces.from: Same)"
    if whose == "None":
        return "takes no routes (allowedRoutes.namespaces.from: None)"
    unselected = whose == "Selector" and labels is not None
    if unselected and not selects(admitted.get("selector") or {}, labels or {}):
        return "takes routes of namespaces with other labels (allowedRoutes.namespaces)"
    return None


def selects(selector: Object, labels: Mapping[str, str]) -> bool:
    """Return whether a label selector selects some labels."""
    if any(labels.get(key) != value for key, value in (selector.get("matchLabels") or {}).items()):
        return False
    return all(
        _meets(it, labels.get(str(it.get("key")))) for it in selector.get("matchExpressions") or ()
    )


def _meets(expression: Object, value: str | None) -> bool:
    operator, values = expression.get("operator"), expression.get("values") or ()
    if operator == "In":
        return value in values
    if operator == "NotIn":
        return value not in values
    return (value is not None) == (operator == "Exists")


def _same_parent(one: Object, other: Object, route: Object) -> bool:
    def key(it: Object) -> tuple[Any, ...]:
        namespace = it.get("namespace") or _namespace(route)
        return namespace, it.get("name"), it.get("sectionName") or "", it.get("port")

    return key(one) == key(other)


def _conditions(found: Sequence[Object] | None) -> dict[str, Object]:
    return {str(it.get("type")): it for it in found or ()}


def _said(condition: Object) -> str:
    return str(condition.get("message") or condition.get("reason") or "it does not say why")


def _namespace(thing: Object) -> str:
    return str((thing.get("metadata") or {}).get("namespace") or "default")
