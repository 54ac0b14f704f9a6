"""Two clusters, east and west, with objects of one kind, namespace and name in each."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, cast

import pytest

from aegis_deploy.common.errors import AegisError
from aegis_deploy.common.signals import Signals
from aegis_deploy.flows.context import FlowContext
from aegis_deploy.history import stack_history
from aegis_deploy.kubernetes.client import ApiError, Cluster
from aegis_deploy.model.gate_settings import GateSettings
from aegis_deploy.model.workloads.rollout import Workload
from aegis_deploy.stack.checkpoint import parse
from tests.unit.aegis_deploy.common.test_console import _Streams
from tests.unit.aegis_deploy.drift.test_clusters import DEPLOYMENT, provider
from tests.unit.aegis_deploy.kubernetes.test_rollout_failures import recorded
from tests.unit.aegis_deploy.stage import release
from tests.unit.aegis_deploy.states import CONFIG_KIND, state, thing

GATE = GateSettings(bake_seconds=0)
KINDS = {
    "/api/v1": {"ConfigMap": "configmaps", "Secret": "secrets"},
    "/apis/apps/v1": {"Deployment": "deployments", "StatefulSet": "statefulsets"},
}
PATH = "/apis/apps/v1/namespaces/shop/deployments"
CONFIGS = "/api/v1/namespaces/shop/configmaps"
NAMES = ("east", "west")
EAST, WEST = (provider(name, context=name, kubeconfig="{}\n") for name in NAMES)


@dataclass
class Api:
    """An API server with a few objects.

    Attributes:
        name: Whose it is, which its log lines say.
        lists: What it has, by the path of the list.
        silent: Whether it says nothing.
        asked: What was asked for.
        changed: What was changed or deleted.
    """

    name: str
    lists: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    silent: bool = False
    asked: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)
    address: str = "https://it"

    def get(self, path: str, query: Mapping[str, str] | None = None) -> dict[str, Any]:
        del query
        self.asked.append(path)
        if self.silent:
            raise ApiError(0, f"{self.name} does not answer")
        if path in KINDS:
            kinds = KINDS[path].items()
            found = [{"kind": kind, "name": name, "namespaced": True} for kind, name in kinds]
            return {"resources": found}
        if path == "/version":
            return {}
        place, _, name = path.rpartition("/")
        for it in self.lists.get(place, ()):
            if it["metadata"]["name"] == name:
                return it
        if (path.count("/") % 2 == 0 and not path.startswith("/apis")) or path.count("/") == 7:
            raise ApiError(404, "not found")
        return {"items": self.lists.get(path, []), "metadata": {"resourceVersion": "1"}}

    def answer(self, *_: object, **__: object) -> tuple[int, bytes]:
        if self.silent:
            raise ApiError(0, f"{self.name} does not answer")
        return 200, b""

    def watch(
        self, _: str, __: Mapping[str, str], ___: str, stop: threading.Event
    ) -> Iterator[tuple[str, Any]]:
        stop.wait()
        yield from ()

    def logs(self, *_: object, **__: object) -> str:
        return f"log of {self.name}"

    def events(self, *_: object) -> list[dict[str, Any]]:
        return []

    def patch(self, path: str, operations: list[dict[str, Any]]) -> None:
        self.changed.append(f"{path} {operations[-1]['op']} {operations[-1]['path']}")

    def merge(self, path: str, change: dict[str, Any], *, manager: str) -> None:
        del manager
        self.changed.append(f"{path} {json.dumps(change)}")

    def delete(self, path: str, *, uid: str) -> None:
        self.changed.append(f"{path} {uid}")


def place(it: Api, what: str) -> Api:
    """Put a Deployment `web` there with all that is of it, as it was recorded."""
    found = json.loads(json.dumps(recorded(what)).replace("team", "shop"))
    it.lists[PATH] = [found["deployment"]]
    it.lists["/apis/apps/v1/namespaces/shop/replicasets"] = found["replica_sets"]
    it.lists["/api/v1/namespaces/shop/pods"] = found["pods"]
    return it


def workload(cluster: str, **more: Any) -> Workload:
    """One called `web` in a cluster."""
    by = {"east": EAST, "west": WEST}[cluster]["urn"]
    return Workload(namespace="shop", name="web", cluster=cluster, provider=by, **more)


def two_apis() -> dict[str, Api]:
    """The API servers of both, with nothing in them."""
    return {name: Api(name) for name in NAMES}


def at(apis: dict[str, Api]) -> Callable[[Workload], Cluster]:
    """Lead to the one that a workload is in."""
    return lambda it: cast("Cluster", apis[it.cluster])


def config(by: dict[str, Any], value: str = "1", name: str = "settings") -> dict[str, Any]:
    """A ConfigMap of a provider's."""
    inputs = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": "shop"},
        "data": {"x": value},
    }
    urn = by["urn"].rpartition("::")[2]
    it: dict[str, Any] = thing(CONFIG_KIND, f"{name}-{urn}", inputs)
    return {**it, "id": f"shop/{name}", "provider": f"{by['urn']}::{by['id']}"}


def deployed(by: dict[str, Any], image: str = "web:1") -> dict[str, Any]:
    """A Deployment `web` of a provider's that reads a ConfigMap `settings`."""
    reads = [{"configMapRef": {"name": "settings"}}]
    pods = {"containers": [{"name": "web", "image": image, "envFrom": reads}]}
    inputs = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web", "namespace": "shop"},
        "spec": {"template": {"spec": pods}},
    }
    it: dict[str, Any] = thing(DEPLOYMENT, f"web-{by['urn'].rpartition('::')[2]}", inputs)
    return {**it, "id": "shop/web", "provider": f"{by['urn']}::{by['id']}", "outputs": inputs}


def there(resource: dict[str, Any], **metadata: Any) -> dict[str, Any]:
    """The live object that a resource declares."""
    it: dict[str, Any] = json.loads(json.dumps(resource["inputs"]))
    it["metadata"] |= {"uid": "u", "resourceVersion": "7", **metadata}
    return it


@dataclass
class Session:
    """A stack that is as its last release left it."""

    raw: list[dict[str, Any]]
    name: str = "s"
    project: str = "shop"
    directory: Any = None

    def resources(self) -> list[dict[str, Any]]:
        return list(state(*self.raw)["resources"])

    def export(self) -> dict[str, Any]:
        return {"deployment": {"resources": self.resources()}}

    def settings(self) -> dict[str, Any]:
        return {}

    def tags(self) -> dict[str, str]:
        return {}


@dataclass
class Stack:
    """A stack in two clusters, and whoever looks at it."""

    apis: dict[str, Api]
    monkeypatch: pytest.MonkeyPatch
    raw: list[dict[str, Any]]
    connections: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        def connect(context: str | None = None, _: str | None = None) -> Cluster:
            self.connections.append(str(context))
            if context not in self.apis:
                raise AegisError(what="the cluster cannot be reached", why="no such context")
            return cast("Cluster", self.apis[context])

        def destination(context: str | None = None, *_: str | None) -> str:
            return str(context)

        self.monkeypatch.setattr("aegis_deploy.kubernetes.client.connect", connect)
        self.monkeypatch.setattr("aegis_deploy.kubernetes.kubeconfig.destination", destination)
        self.streams = _Streams()
        self.session = Session(self.raw)
        self.monkeypatch.setattr(stack_history, "reading", lambda _: [release(1)])
        self.flow = FlowContext.of(cast("Any", self.session), self.streams.out, Signals())
        planner = cast("Any", self.flow.replay_planner)
        planner.declared_in = lambda _: parse({"resources": self.session.resources()})


def standing(monkeypatch: pytest.MonkeyPatch) -> Stack:
    """A stack whose objects are in both as it declares them."""
    apis, raw = two_apis(), []
    for by, api in ((EAST, apis["east"]), (WEST, apis["west"])):
        raw += [by, config(by), deployed(by)]
        api.lists[CONFIGS] = [there(config(by))]
        api.lists[PATH] = [there(deployed(by))]
    return Stack(apis, monkeypatch, raw)
