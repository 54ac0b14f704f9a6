"""The way to a service that its users take: by its host name, through an Ingress or a Gateway.

Requests go to the address that the way in has, and name the host as users do: in TLS (SNI, by
which a certificate is chosen and checked) and in the request.
"""

from __future__ import annotations

import ssl
from collections.abc import Sequence
from typing import TYPE_CHECKING

from aegis_deploy.gate.prober import MOST_AT_ONCE, in_short, marks
from aegis_deploy.kubernetes.client import NOT_FOUND, ApiError
from aegis_deploy.model.routes import gateways
from aegis_deploy.model.routes.external_routes import GATEWAY_API, HTTP_ROUTE, Route

if TYPE_CHECKING:
    import urllib3

    from aegis_deploy.kubernetes.client import Cluster, Object
    from aegis_deploy.model.gate_settings import GateSettings
    from aegis_deploy.model.workloads.rollout import Workload

HTTP_PORT, HTTPS_PORT = 80, 443
_STANDS_FOR_ANY = "probe"
"""What a wildcard's own label is in a probe's host name."""


class NoWayError(Exception):
    """There is no way in that could be probed; the message says why."""


class ExternalWay:
    """From outside, as users come.

    Attributes:
        name: What a person calls it.
        address: Where its requests go: a host and a port.
        proxied: False: it does not lead through the API server.
    """

    proxied = False

    def __init__(
        self, route: Route, host: str, address: tuple[str, int], *, tls: bool, ca: str | None
    ) -> None:
        """Prepare it; nothing is sent yet.

        Args:
            route: What leads in.
            host: The host name that is asked for.
            address: Where the requests go: a host and a port.
            tls: Whether it speaks TLS.
            ca: The authority of its certificate, in PEM; None means this machine's.
        """
        where = f"[{address[0]}]" if ":" in address[0] else address[0]
        scheme = "https" if tls else "http"
        self.name = f"as {scheme}://{host} by {where}:{address[1]} ({route.label})"
        self.address, self._host = address, host
        # With an authority of its own, no other is trusted.
        self._trust = ssl.create_default_context(cadata=ca) if tls else None
        self._pool = self._pooled()

    def send(
        self, path: str, *, fresh: bool, seconds: float, method: str = "GET"
    ) -> tuple[int, bytes]:
        """Send a request without a body, on a new connection when ``fresh``.

        Raises:
            OSError: There is no answer, or a certificate that is not trusted.
        """
        import urllib3

        headers = {"Host": self._host, **marks(method)}
        if fresh:
            headers["Connection"] = "close"
        pool = self._pooled() if fresh else self._pool
        try:
            answer = pool.request(method, path, headers=headers, timeout=seconds, redirect=False)
        except urllib3.exceptions.HTTPError as error:
            raise OSError(in_short(error)) from error
        finally:
            if fresh:
                pool.close()
        return answer.status, answer.data

    def _pooled(self) -> urllib3.HTTPConnectionPool:
        import urllib3

        host, port = self.address
        if self._trust is None:
            return urllib3.HTTPConnectionPool(host, port, maxsize=MOST_AT_ONCE, retries=False)
        return urllib3.HTTPSConnectionPool(
            host,
            port,
            maxsize=MOST_AT_ONCE,
            retries=False,
            ssl_context=self._trust,
            server_hostname=self._host,
        )


def leading_to(routes: Sequence[Route], workload: Workload, service: str) -> Route | None:
    """Return the route that leads to a workload's Service; an HTTPRoute before an Ingress.

    Args:
        routes: The routes that there are.
        workload: The workload.
        service: The Service's name.
    """
    fitting = [
        it
        for it in routes
        if (it.cluster, it.namespace) == (workload.cluster, workload.namespace)
        and service in it.services
    ]
    return min(fitting, key=lambda it: it.kind != HTTP_ROUTE, default=None)


def way_in(cluster: Cluster, route: Route, settings: GateSettings) -> ExternalWay:
    """Find the way that a route is.

    Args:
        cluster: The cluster it is in.
        route: The route.
        settings: The gate's, which may say where it is.

    Raises:
        NoWayError: It has no address, or it is not there.
        ApiError: It may not be looked at, or the cluster does not answer.
    """
    host = next((it for it in route.hosts if not it.startswith("*.")), "")
    host = host or next((it.replace("*", _STANDS_FOR_ANY, 1) for it in route.hosts), "")
    if not host:
        raise NoWayError(f"{route.label} names no host")
    by_gateway = route.kind == HTTP_ROUTE
    seen, port, tls = (_by_gateway if by_gateway else _by_ingress)(cluster, route, host)
    address = (seen, port)
    if settings.address is not None:
        named, _, given = settings.address.rpartition(":")
        # A bare IPv6 address is in brackets: a colon behind them, or alone, is before a port.
        if not named or not given.isdigit():
            named, given = settings.address, str(port)
        address = (named.strip("[]"), int(given))
    if not address[0]:
        raise NoWayError(
            f"{route.label} has no address yet; aegis:gate.address may name the one that it has"
        )
    return ExternalWay(route, host, address, tls=tls, ca=settings.ca)


def _by_ingress(cluster: Cluster, route: Route, host: str) -> tuple[str, int, bool]:
    live = _read(cluster, route.path, route.label)
    tls = any(not hosts or host in hosts for _, hosts in route.secrets)
    return _first(live), HTTPS_PORT if tls else HTTP_PORT, tls


def _by_gateway(cluster: Cluster, route: Route, host: str) -> tuple[str, int, bool]:
    for parent in route.parents:
        path = f"/apis/{GATEWAY_API}/namespaces/{parent.namespace}/gateways/{parent.name}"
        live = _read(cluster, path, f"Gateway {parent.called}")
        # Whether it lets in the route's namespace, the route's own status says.
        fit, _ = gateways.listeners(live, parent, host, parent.namespace, None)
        if fit:
            own = min(fit, key=lambda it: it.get("protocol") != gateways.HTTPS)
            return _first(live), int(own["port"]), own.get("protocol") == gateways.HTTPS
    raise NoWayError(f"no listener of a Gateway takes {route.label} for {host}")


def _first(live: Object) -> str:
    return next(iter(gateways.addresses(live)), "")


def _read(cluster: Cluster, path: str, label: str) -> Object:
    try:
        return cluster.get(path)
    except ApiError as error:
        if error.code == NOT_FOUND:
            raise NoWayError(f"{label} is not there") from error
        raise
