"""Which Services a gate probes."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, cast

import pytest

from aegis_deploy.gate.routes import NoServiceError, Routes
from aegis_deploy.kubernetes.client import ApiError, Cluster
from aegis_deploy.kubernetes.informer import Informer
from aegis_deploy.model.gate_settings import INGRESS, SERVICE, GateSettings
from aegis_deploy.model.routes.external_routes import HTTP_ROUTE, Parent
from aegis_deploy.model.routes.external_routes import Route as External
from aegis_deploy.model.workloads.rollout import Snapshot, Workload
from tests.unit.aegis_deploy.two_clusters import at, two_apis, workload

PATH = "/readyz"
GATE = GateSettings(path=PATH)


def deployment(name: str, replicas: int) -> dict[str, Any]:
    labels = {"app": name}
    return {
        "metadata": {"name": name, "namespace": "n", "uid": name},
        "spec": {
            "replicas": replicas,
            "template": {"metadata": {"labels": labels}, "spec": {"containers": [{}]}},
        },
    }


@dataclass
class Held:
    """A live copy of some Deployments, and the cluster that has a Service for each."""

    replicas: dict[str, int]
    silent: float = 0.0
    asked: list[str] = field(default_factory=list)

    def snapshot(self, workload: Workload) -> Snapshot:
        return Snapshot(live=deployment(workload.name, self.replicas[workload.name]))

    def get(self, path: str) -> dict[str, Any]:
        self.asked.append(path)
        return {
            "items": [
                {
                    "metadata": {"name": name, "namespace": "n"},
                    "spec": {
                        "selector": {"app": name},
                        "ports": [{"port": 80}],
                        "clusterIP": "None",
                    },
                }
                for name in self.replicas
            ]
        }


def routes(**replicas: int) -> tuple[list[str], str]:
    held = Held(replicas)
    workloads = [Workload(namespace="n", name=name) for name in replicas]
    made = Routes(
        cast("Cluster", held), cast("Informer", held), workloads, GATE, on_silence=pytest.fail
    )
    found, why = made.of_services()
    return [it.name for it in found], why


def test_one_for_each_that_runs_pods() -> None:
    assert routes(web=1, api=3) == (["through the API server"] * 2, "")


def test_where_no_pods_are_to_run_nothing_is_probed_and_it_is_said() -> None:
    assert routes(web=0) == ([], "web is to run no pods")
    assert routes(web=0, api=0) == ([], "api is to run no pods")


def test_what_is_turned_off_keeps_nothing_else_from_being_probed() -> None:
    assert routes(web=0, api=1) == (["through the API server"], "")


HTTP = External(
    kind=HTTP_ROUTE,
    namespace="n",
    name="r",
    hosts=("a.example.com",),
    services=("web",),
    parents=(Parent(namespace="g", name="p"),),
)


@dataclass
class Outside(Held):
    """The same with a way in."""

    route: dict[str, Any] | ApiError = field(default_factory=dict)
    gateway: dict[str, Any] | ApiError = field(default_factory=dict)

    def get(self, path: str) -> dict[str, Any]:
        if "gateway.networking" not in path:
            return super().get(path)
        found = self.gateway if "/gateways/" in path else self.route
        if isinstance(found, ApiError):
            raise found
        return found

    def routes(self, *external: External, through: str = INGRESS) -> Routes:
        gate = GateSettings(path=PATH, through=through)
        cluster, informer = cast("Cluster", self), cast("Informer", self)
        workloads = [Workload(namespace="n", name=it) for it in self.replicas]
        return Routes(cluster, informer, workloads, gate, external=external, on_silence=pytest.fail)


class TestFromOutside:
    """The way in is taken where the gate says so, and has to be in effect in any case."""

    GATEWAY: ClassVar = {
        "kind": "Gateway",
        "metadata": {"namespace": "g", "name": "p"},
        "spec": {"listeners": [{"name": "web", "protocol": "HTTP", "port": 80}]},
        "status": {"addresses": [{"value": "198.51.100.1"}]},
    }
    ACCEPTED: ClassVar = {
        "metadata": {"namespace": "n", "name": "r", "generation": 1},
        "spec": {"parentRefs": [{"namespace": "g", "name": "p"}]},
        "status": {
            "parents": [
                {
                    "parentRef": {"namespace": "g", "name": "p"},
                    "conditions": [
                        {"type": it, "status": "True", "observedGeneration": 1}
                        for it in ("Accepted", "ResolvedRefs")
                    ],
                }
            ]
        },
    }

    def outside(self, **more: Any) -> Outside:
        return Outside({"web": 1}, route=self.ACCEPTED, gateway=more.pop("gateway", self.GATEWAY))

    def test_a_service_is_asked_by_its_host(self) -> None:
        made = self.outside().routes(HTTP)
        (route,), why = made.of_services()
        assert route.name == "as http://a.example.com by 198.51.100.1:80 (HTTPRoute n/r)"
        assert (why, made.notes) == ("", [])

    def test_a_service_that_nothing_leads_to_is_asked_straight_and_it_is_said(self) -> None:
        made = self.outside().routes()
        (route,), _ = made.of_services()
        assert route.name == "through the API server"
        assert made.notes == [
            "Service web from outside: no Ingress or HTTPRoute leads to it",
        ]

    def test_a_service_is_asked_straight_unless_it_is_said(self) -> None:
        (route,), _ = self.outside().routes(HTTP, through=SERVICE).of_services()
        assert route.name == "through the API server"

    @pytest.mark.parametrize("gateway", [ApiError(404, "gone"), ApiError(403, "you may not")])
    def test_a_way_that_cannot_be_found_is_no_way(self, gateway: ApiError) -> None:
        with pytest.raises(NoServiceError, match="the way in cannot be"):
            self.outside(gateway=gateway).routes(HTTP).of_services()

    def test_what_is_taken_is_in_effect(self) -> None:
        assert self.outside().routes(HTTP).not_in_effect() == ""
        assert self.outside().routes(HTTP, through=SERVICE).not_in_effect() == ""

    def test_what_is_not_taken_yet_is_not(self) -> None:
        held = self.outside()
        held.route = {**self.ACCEPTED, "status": {}}
        assert held.routes(HTTP, through=SERVICE).not_in_effect() == (
            "HTTPRoute n/r is not in effect: Gateway g/p has said nothing of it"
        )
        held.route = ApiError(404, "no route")
        assert held.routes(HTTP).not_in_effect() == "HTTPRoute n/r: no route"

    def test_what_has_no_address_yet_is_not_where_it_is_to_be_probed(self) -> None:
        held = self.outside(gateway={**self.GATEWAY, "status": {}})
        assert "has no address yet" in held.routes(HTTP).not_in_effect()
        assert held.routes(HTTP, through=SERVICE).not_in_effect() == ""

    def test_what_may_not_be_looked_at_is_not_waited_for(self) -> None:
        held = self.outside()
        held.route = ApiError(403, "you may not")
        made = held.routes(HTTP, through=SERVICE)
        assert [made.not_in_effect(), made.not_in_effect()] == ["", ""]
        assert made.notes == ["whether HTTPRoute n/r is in effect: you may not"]

    def test_what_is_in_another_cluster_is_not_looked_at(self) -> None:
        held = self.outside()
        held.route = ApiError(404, "no route")
        assert held.routes(replace(HTTP, cluster="west")).not_in_effect() == ""


@dataclass
class Beside:
    """A StatefulSet with a Service, beside what a gate is set for.

    Attributes:
        port: The Service's port.
        reads: What its pods' readiness probe asks for; empty for none.
        knows: The paths that it answers.
    """

    port: dict[str, Any]
    reads: str = ""
    knows: tuple[str, ...] = ()
    silent: float = 0.0
    asked: list[str] = field(default_factory=list)

    def snapshot(self, workload: Workload) -> Snapshot:
        live = deployment(workload.name, 1)
        if self.reads:
            probe = {"httpGet": {"path": self.reads, "port": self.port["port"]}}
            live["spec"]["template"]["spec"]["containers"] = [{"readinessProbe": probe}]
        return Snapshot(live=live, kind=workload.kind)

    def get(self, path: str) -> dict[str, Any]:
        service = {
            "metadata": {"name": "db", "namespace": "n"},
            "spec": {"selector": {"app": "db"}, "ports": [self.port], "clusterIP": "None"},
        }
        return {"items": [service]} if path.endswith("/services") else {"items": []}

    def answer(self, path: str, **_: object) -> tuple[int, bytes]:
        asked = path.rpartition("/proxy")[2]
        self.asked.append(asked)
        return (200 if asked in self.knows else 404), b""

    def routes(self, kind: str = "StatefulSet") -> Routes:
        workloads = [Workload(namespace="n", name="db", kind=kind)]
        cluster, informer = cast("Cluster", self), cast("Informer", self)
        return Routes(cluster, informer, workloads, GATE, on_silence=pytest.fail)

    def asks_for(self, kind: str = "StatefulSet") -> tuple[list[str], str, list[str]]:
        """What a probe is sent to, why none is, and what is said of it."""
        made = self.routes(kind)
        found, why = made.of_services()
        self.asked.clear()
        for route in found:
            route.send(PATH, fresh=True, seconds=1)
        return self.asked, why, made.notes


class TestASet:
    """What runs beside a service may be a database, and need not know the gate's path."""

    POSTGRES: ClassVar[dict[str, Any]] = {"port": 5432}
    HTTP: ClassVar[dict[str, Any]] = {"port": 9200}

    def test_that_speaks_no_http_is_judged_by_its_rollout(self) -> None:
        it = Beside(self.POSTGRES)
        assert it.asks_for() == ([], "nothing says that Service db speaks HTTP", [])
        pod = {"metadata": {"name": "db-0"}, "spec": {"containers": [{}]}}
        assert (
            it.routes().of_pod(Workload(namespace="n", name="db", kind="StatefulSet"), pod) is None
        )

    @pytest.mark.parametrize(
        "port", [{"port": 80}, {"port": 1, "name": "http"}, {"port": 1, "appProtocol": "HTTP"}]
    )
    def test_whose_port_is_one_of_http_is_asked(self, port: dict[str, Any]) -> None:
        assert Beside(port).asks_for() == ([PATH], "", [])

    def test_is_asked_what_the_gate_says_where_it_knows_it(self) -> None:
        assert Beside(self.HTTP, "/_health", (PATH,)).asks_for() == ([PATH], "", [])

    def test_that_does_not_know_it_is_asked_what_its_own_probe_asks(self) -> None:
        note = f"Service db does not know {PATH}; /_health was asked for"
        assert Beside(self.HTTP, "/_health").asks_for() == (["/_health"], "", [note])

    def test_whose_own_probe_asks_the_same_has_to_know_it(self) -> None:
        assert Beside(self.HTTP, PATH).asks_for() == ([PATH], "", [])

    def test_a_deployment_has_to_know_it_as_ever(self) -> None:
        assert Beside(self.POSTGRES, "/_health").asks_for("Deployment") == ([PATH], "", [])


@pytest.fixture
def answering() -> Iterator[int]:
    """The port of somebody who answers whatever is asked on this machine."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Stay silent."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield server.server_port
        server.shutdown()


def test_probes_go_through_each_ones_own_api_server(answering: int) -> None:
    apis = two_apis()
    ports = [{"name": "http", "port": answering}]
    found = {
        "metadata": {"name": "web", "namespace": "shop"},
        # Each cluster may have given this address away, and here somebody answers at it.
        "spec": {"selector": {"a": "b"}, "ports": ports, "clusterIP": "127.0.0.1"},
    }
    labels = {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": []}}
    live = {"metadata": {}, "spec": {"replicas": 1, "template": labels}}
    for it in apis.values():
        it.lists["/api/v1/namespaces/shop/services"] = [found]

    class Copy:
        silent = 0.0

        def snapshot(self, _: Workload) -> Snapshot:
            return Snapshot(live=live)

    routes = Routes(
        at(apis),
        cast("Informer", Copy()),
        [workload("east"), workload("west")],
        GATE,
        on_silence=pytest.fail,
    )
    ways, why = routes.of_services()
    assert why == ""
    assert [it.name for it in ways] == ["through the API server"] * 2
    assert [cast("Any", it)._way._cluster.name for it in ways] == ["east", "west"]
    (alone,) = Routes(
        at(apis),
        cast("Informer", Copy()),
        [workload("east")],
        GATE,
        on_silence=pytest.fail,
    ).of_services()[0]
    assert alone.name == f"directly to http://127.0.0.1:{answering}"
