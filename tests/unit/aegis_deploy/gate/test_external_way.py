"""gate.external_way: a service is asked as its users ask it."""

from __future__ import annotations

import http.server
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar, cast

import pytest

from aegis_deploy.gate.external_way import ExternalWay, NoWayError, leading_to, way_in
from aegis_deploy.kubernetes.client import ApiError, Cluster
from aegis_deploy.model.gate_settings import GateSettings
from aegis_deploy.model.routes.external_routes import HTTP_ROUTE, INGRESS, Parent, Route
from aegis_deploy.model.workloads.rollout import Workload
from tests.unit.aegis_deploy.certificates import pair

HOST = "aegis.example.com"
IN = Route(kind=INGRESS, namespace="n", name="a", hosts=(HOST,), services=("api",))
HTTP = replace(IN, kind=HTTP_ROUTE, parents=(Parent(namespace="g", name="p"),))
GATEWAY = "/apis/gateway.networking.k8s.io/v1/namespaces/g/gateways/p"
WORKLOAD = Workload(namespace="n", name="a")


def gateway(*protocols: str, address: str = "198.51.100.1") -> dict[str, Any]:
    listeners = [
        {"name": it, "protocol": it, "port": 8000 + number} for number, it in enumerate(protocols)
    ]
    status = {"addresses": [{"value": address}] if address else []}
    metadata = {"namespace": "g", "name": "p"}
    spec = {"listeners": listeners}
    return {"kind": "Gateway", "metadata": metadata, "spec": spec, "status": status}


def cluster(**answers: Any) -> Cluster:
    class Api:
        def get(self, path: str) -> Any:
            found = answers["gateway" if path == GATEWAY else "ingress"]
            if isinstance(found, Exception):
                raise found
            return found

    return cast("Cluster", Api())


def found(route: Route, settings: GateSettings | None = None, **answers: Any) -> str:
    return way_in(cluster(**answers), route, settings or GateSettings()).name


class TestWhichWay:
    """The address is what the way in says of itself, or what is set."""

    BALANCED: ClassVar = {"status": {"loadBalancer": {"ingress": [{"ip": "2001:db8::1"}]}}}

    def test_of_an_ingress(self) -> None:
        assert found(IN, ingress=self.BALANCED) == (
            f"as http://{HOST} by [2001:db8::1]:80 (Ingress n/a)"
        )
        secured = replace(IN, secrets=(("own", (HOST,)),))
        assert found(secured, ingress=self.BALANCED) == (
            f"as https://{HOST} by [2001:db8::1]:443 (Ingress n/a)"
        )

    def test_of_a_gateway_is_the_secure_listener_s(self) -> None:
        assert found(HTTP, gateway=gateway("HTTP", "HTTPS")) == (
            f"as https://{HOST} by 198.51.100.1:8001 (HTTPRoute n/a)"
        )
        assert found(HTTP, gateway=gateway("TCP", "HTTP")) == (
            f"as http://{HOST} by 198.51.100.1:8001 (HTTPRoute n/a)"
        )

    @pytest.mark.parametrize(
        ("set_to", "seen"),
        [
            ("lb.test", "lb.test:8000"),
            ("lb.test:30443", "lb.test:30443"),
            ("[2001:db8::2]", "[2001:db8::2]:8000"),
            ("[2001:db8::2]:1", "[2001:db8::2]:1"),
        ],
    )
    def test_of_a_setting(self, set_to: str, seen: str) -> None:
        gate = GateSettings(address=set_to)
        assert f" by {seen} " in found(HTTP, gate, gateway=gateway("HTTP", address=""))

    def test_of_a_wildcard_is_some_host_of_it(self) -> None:
        assert "http://probe.example.com " in found(
            replace(IN, hosts=("*.example.com",)), ingress=self.BALANCED
        )

    @pytest.mark.parametrize(
        ("route", "answers", "why"),
        [
            (HTTP, {"gateway": ApiError(404, "x")}, "Gateway g/p is not there"),
            (HTTP, {"gateway": gateway("TCP")}, "no listener of a Gateway takes"),
            (HTTP, {"gateway": gateway("HTTP", address="")}, "has no address yet"),
            (IN, {"ingress": {"status": {}}}, "has no address yet"),
            (replace(IN, hosts=()), {"ingress": {}}, "names no host"),
        ],
    )
    def test_there_is_none(self, route: Route, answers: dict[str, Any], why: str) -> None:
        with pytest.raises(NoWayError, match=why):
            found(route, **answers)

    def test_what_does_not_answer_is_no_word_of_it(self) -> None:
        with pytest.raises(ApiError):
            found(IN, ingress=ApiError(0, "no answer"))


def test_the_route_is_the_one_that_leads_to_the_service() -> None:
    elsewhere = replace(IN, namespace="m")
    in_another = replace(IN, cluster="west")
    assert leading_to([elsewhere, in_another, IN, HTTP], WORKLOAD, "api") is HTTP
    assert leading_to([elsewhere, in_another, IN], WORKLOAD, "api") is IN
    assert leading_to([IN], WORKLOAD, "other") is None


@dataclass
class Heard:
    """What a server was asked, and by which name in TLS."""

    requests: list[tuple[str, str, str]] = field(default_factory=list)
    names: list[str] = field(default_factory=list)


@contextmanager
def serving(
    directory: Path, certificate: tuple[bytes, bytes] | None
) -> Iterator[tuple[int, Heard]]:
    heard = Heard()

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            heard.requests.append((self.command, self.path, self.headers["Host"]))
            self.send_response(200)
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"{}")

        def do_POST(self) -> None:
            self.do_GET()

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    if certificate is not None:
        file = directory / "pair.pem"
        file.write_bytes(certificate[1] + certificate[0])
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(file)
        context.sni_callback = lambda _, name, __: heard.names.append(name)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server.server_address[1], heard
    finally:
        server.shutdown()
        server.server_close()


class TestItsRequests:
    """They name the host, and trust whom they were told to."""

    @pytest.mark.parametrize("fresh", [True, False])
    def test_name_the_host(self, tmp_path: Path, fresh: bool) -> None:
        with serving(tmp_path, None) as (port, heard):
            way = ExternalWay(IN, HOST, ("127.0.0.1", port), tls=False, ca=None)
            assert way.send("/version", fresh=fresh, seconds=5) == (200, b"{}")
            assert way.send("/try", fresh=fresh, seconds=5, method="POST")[0] == 200
        assert heard.requests == [("GET", "/version", HOST), ("POST", "/try", HOST)]

    @pytest.mark.parametrize("fresh", [True, False])
    def test_trust_the_authority_that_is_set(self, tmp_path: Path, fresh: bool) -> None:
        certificate = pair([HOST])
        with serving(tmp_path, certificate) as (port, heard):
            ca = certificate[0].decode()
            way = ExternalWay(IN, HOST, ("127.0.0.1", port), tls=True, ca=ca)
            assert way.send("/version", fresh=fresh, seconds=5)[0] == 200
        assert heard.names == [HOST]
        assert heard.requests == [("GET", "/version", HOST)]

    @pytest.mark.parametrize(
        ("made_for", "trusted", "why"),
        [
            (HOST, False, "certificate not accepted: self-signed certificate"),
            ("other.example.com", True, "certificate not accepted: Hostname mismatch"),
        ],
    )
    def test_trust_nobody_else(
        self, tmp_path: Path, made_for: str, trusted: bool, why: str
    ) -> None:
        certificate = pair([made_for])
        ca = (certificate if trusted else pair([HOST]))[0].decode()
        with serving(tmp_path, certificate) as (port, heard):
            way = ExternalWay(IN, HOST, ("127.0.0.1", port), tls=True, ca=ca)
            with pytest.raises(OSError, match=why):
                way.send("/version", fresh=True, seconds=5)
        assert heard.requests == []
