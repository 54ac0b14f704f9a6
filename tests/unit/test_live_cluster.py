"""tests.e2e.live_cluster: kinds by whatever they are called, and what is not there."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest

from aegis_deploy.kubernetes.connection import Connection
from tests.e2e.live_cluster import LiveCluster


def _resource(plural: str, kind: str, scope: str = "Namespaced") -> dict[str, Any]:
    return {
        "resource": plural,
        "singularResource": kind.lower(),
        "responseKind": {"kind": kind},
        "scope": scope,
    }


def _group(name: str, *versions: tuple[str, dict[str, Any]]) -> dict[str, Any]:
    said = [{"version": version, "resources": [it]} for version, it in versions]
    return {"metadata": {"name": name} if name else {}, "versions": said}


@dataclass
class _Server:
    """Says what it has, and notes what it was asked.

    Attributes:
        has: Path -> what is there.
        asked: Method, address and body of each request.
    """

    has: dict[str, Any]
    asked: list[tuple[str, str, Any]] = field(default_factory=list)

    def request(self, method: str, address: str, *, body: bytes | None, **_: Any) -> Any:
        """Answer as an API server does."""
        self.asked.append((method, address, body and json.loads(body)))
        path = address.removeprefix("https://it").partition("?")[0]
        found = self.has.get(path)
        said = {"message": "none"} if found is None else found
        data = said.encode() if isinstance(said, str) else json.dumps(said).encode()
        return SimpleNamespace(status=404 if found is None else 200, data=data)


@pytest.fixture
def server() -> _Server:
    """A server with a few kinds and objects."""
    return _Server(
        {
            "/api": {"items": [_group("", ("v1", _resource("pods", "Pod")))]},
            "/apis": {
                "items": [
                    _group(
                        "autoscaling",
                        ("v2", _resource("horizontalpodautoscalers", "HorizontalPodAutoscaler")),
                        ("v1", _resource("horizontalpodautoscalers", "HorizontalPodAutoscaler")),
                    ),
                    _group("example.com", ("v1", _resource("pods", "Pod", "Cluster"))),
                ]
            },
            "/api/v1/namespaces/shop/pods": {"items": [{"metadata": {"name": "web"}}]},
            "/api/v1/namespaces/shop/pods/web": {"metadata": {"name": "web"}},
            "/api/v1/namespaces/shop/pods/web/log": "said\n",
            "/apis/example.com/v1/pods/whale": {"metadata": {"name": "whale"}},
        }
    )


@pytest.fixture
def cluster(server: _Server) -> LiveCluster:
    """The cluster of that server."""
    return LiveCluster(Connection("https://it", server, dict, dict))


@pytest.mark.parametrize("called", ["pod", "pods", "Pod.v1."])
def test_a_kind_is_known_by_each_of_its_names(cluster: LiveCluster, called: str) -> None:
    assert cluster.get(called, "web", "shop") == {"metadata": {"name": "web"}}


def test_what_a_group_calls_the_same_is_asked_for_by_its_group(cluster: LiveCluster) -> None:
    assert cluster.get("pods.example.com", "whale", "shop")["metadata"]["name"] == "whale"


def test_the_version_that_the_server_prefers_is_asked_for(
    cluster: LiveCluster, server: _Server
) -> None:
    assert cluster.find("horizontalpodautoscaler", "web", "shop") is None
    assert "/apis/autoscaling/v2/" in server.asked[-1][1]
    assert cluster.find("HorizontalPodAutoscaler.v1.autoscaling", "web", "shop") is None
    assert "/apis/autoscaling/v1/" in server.asked[-1][1]


def test_each_object_of_a_list_says_what_it_is(cluster: LiveCluster, server: _Server) -> None:
    found = cluster.objects("pods", "shop", "app=web")
    assert found == [{"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "web"}}]
    assert server.asked[-1][1].endswith("/pods?labelSelector=app%3Dweb")


def test_what_is_not_there_is_none_or_said(cluster: LiveCluster) -> None:
    assert cluster.find("pod", "other", "shop") is None
    assert (cluster.log("web", "shop"), cluster.log("other", "shop")) == ("said\n", "")
    with pytest.raises(AssertionError, match="there is no pod other in shop"):
        cluster.get("pod", "other", "shop")
    with pytest.raises(AssertionError, match=r"404: .*none"):
        cluster.objects("pod", "elsewhere")


def test_a_kind_that_comes_later_is_found_and_one_that_never_does_is_named(
    cluster: LiveCluster, server: _Server
) -> None:
    with pytest.raises(AssertionError, match="https://it knows no widgets"):
        cluster.objects("widgets")
    server.has["/apis"]["items"].append(
        _group("w.example.com", ("v1", _resource("widgets", "Widget", "Cluster")))
    )
    server.has["/apis/w.example.com/v1/widgets"] = {"items": []}
    assert cluster.objects("widgets") == []


def test_an_object_is_applied_over_all_who_have_a_say(
    cluster: LiveCluster, server: _Server
) -> None:
    thing = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "web", "namespace": "shop"},
    }
    cluster.apply(thing)
    method, address, body = server.asked[-1]
    assert (method, body) == ("PATCH", thing)
    assert address == "https://it/api/v1/namespaces/shop/pods/web?fieldManager=tests&force=true"
