"""kubernetes.node_leases: a node that renews its lease is there; of another that is not known."""

from __future__ import annotations

from typing import Any, cast

from aegis_deploy.kubernetes.client import ApiError, Cluster
from aegis_deploy.kubernetes.node_leases import NodeLeases


class Leases:
    """The API server's answers: a node's lease, or how it refuses to tell."""

    def __init__(self, **times: str | ApiError) -> None:
        self.times = times
        self.asked: list[str] = []

    def get(self, path: str) -> dict[str, Any]:
        self.asked.append(path)
        time = self.times[path.rpartition("/")[2]]
        if isinstance(time, ApiError):
            raise time
        return {"spec": {"renewTime": time} if time else {}}


def of(api: Leases, *nodes: str) -> NodeLeases:
    return NodeLeases(cast("Cluster", api), nodes)


def test_a_lease_that_stays_as_it_was_is_that_of_a_node_that_is_not_heard_of() -> None:
    api = Leases(a="1", b="1")
    leases = of(api, "a", "b", "a")
    assert leases.look() == ("a", "b")
    api.times["b"] = "2"
    assert leases.look() == ("a",)
    api.times["b"] = "1"
    assert leases.look() == ("a",), "it was heard of once"
    where = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases"
    assert api.asked[:2] == [f"{where}/a", f"{where}/b"]


def test_of_what_the_server_does_not_tell_nothing_is_known() -> None:
    api = Leases(a="1", forbidden=ApiError(403, "no"), gone=ApiError(404, "no"), blank="")
    leases = of(api, "a", "forbidden", "gone", "blank")
    assert leases.look() == ("a",)
    api.times["a"] = ApiError(0, "no answer")
    assert leases.look() == ()
    api.times["a"] = "1"
    assert leases.look() == ("a",)
