"""EndpointSlices that are behind the pods, as an API server that was away leaves them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import pytest

from aegis_deploy.gate.routes import Routes
from aegis_deploy.kubernetes.client import ApiError, Cluster
from aegis_deploy.kubernetes.endpoint_slices import behind
from aegis_deploy.kubernetes.informer import Informer
from aegis_deploy.model.gate_settings import UNSET
from aegis_deploy.model.workloads.rollout import Snapshot, Workload

WEB = Workload(namespace="team", name="web")


def endpoint(uid: str, *, ready: bool | None = True, kind: str = "Pod") -> dict[str, Any]:
    conditions = {} if ready is None else {"ready": ready, "serving": True}
    return {"targetRef": {"kind": kind, "uid": uid}, "conditions": conditions}


def slices(*endpoints: dict[str, Any]) -> list[dict[str, Any]]:
    """One endpoint a slice: there may be any number of them."""
    return [{"endpoints": [it]} for it in endpoints]


class TestBehind:
    """They are behind when a ready pod is missing in them, or one in them is missing."""

    @pytest.mark.parametrize("ready", [True, None])
    def test_those_that_name_every_ready_pod_are_not(self, ready: bool | None) -> None:
        named = slices(endpoint("a", ready=ready), endpoint("b"))
        assert behind("web", named, ready={"a", "b"}, there={"a", "b"}) == ""

    def test_those_that_call_a_ready_pod_unready_are(self) -> None:
        # As after the node was called dead and was heard of again.
        named = slices(endpoint("a", ready=False), endpoint("b"))
        said = behind("web", named, ready={"a", "b"}, there={"a", "b"})
        assert said == "Service web does not lead to 1 of 2 ready pods"

    def test_those_that_name_a_pod_that_is_gone_are(self) -> None:
        said = behind("web", slices(endpoint("old"), endpoint("a")), ready={"a"}, there={"a"})
        assert said == "Service web leads to 1 that is gone"

    def test_both_are_said(self) -> None:
        named = slices(endpoint("old"), endpoint("older"))
        assert behind("web", named, ready={"a"}, there={"a"}) == (
            "Service web does not lead to 1 of 1 ready pods and leads to 2 that are gone"
        )

    def test_pods_that_end_and_what_is_no_pod_do_not_matter(self) -> None:
        named = slices(endpoint("a"), endpoint("old", ready=False), endpoint("n", kind="Node"))
        assert behind("web", named, ready={"a"}, there={"a", "old"}) == ""

    def test_none_at_all_are(self) -> None:
        assert behind("web", [], ready={"a"}, there={"a"})
        assert behind("web", [{"endpoints": None}], ready={"a"}, there={"a"})


class Copy:
    """A live copy with one new pod that is ready."""

    silent = 0.0

    def __init__(self, labels: Mapping[str, str], status: Mapping[str, Any]) -> None:
        template = {"metadata": {"labels": labels}}
        marks = {"deployment.kubernetes.io/revision": "1"}
        self._snapshot = Snapshot(
            live={
                "metadata": {"uid": "d", "annotations": marks},
                "spec": {"template": template},
            },
            revisions=(
                {
                    "metadata": {"uid": "s", "annotations": marks},
                    "spec": {"template": template},
                },
            ),
            pods=(
                {
                    "metadata": {
                        "uid": "a",
                        "labels": labels,
                        "ownerReferences": [{"controller": True, "uid": "s"}],
                    },
                    "status": status,
                },
            ),
        )

    def snapshot(self, _: Workload) -> Snapshot:
        return self._snapshot

    def pods(self, _: str) -> frozenset[str]:
        return frozenset({"a"})


class Api:
    """A cluster with one Service, and EndpointSlices that do not name its pod."""

    def __init__(self, refuses: int | None = None) -> None:
        self.refuses = refuses
        self.asked: list[Mapping[str, str]] = []
        self.changed: list[tuple[str, Any]] = []

    def get(self, path: str, query: Mapping[str, str] | None = None) -> dict[str, Any]:
        if path.endswith("/services"):
            ports = [{"port": 80}]
            spec = {"selector": {"app": "web"}, "ports": ports}
            return {"items": [{"metadata": {"name": "web"}, "spec": spec}]}
        assert path == "/apis/discovery.k8s.io/v1/namespaces/team/endpointslices"
        self.asked.append(query or {})
        if self.refuses is not None:
            raise ApiError(self.refuses, "you may not")
        return {"items": []}

    def merge(self, path: str, change: Mapping[str, Any], *, manager: str) -> None:
        assert manager == "aegis-gate"
        self.changed.append((path, change["metadata"]["annotations"]))


def said(
    api: Api, labels: Mapping[str, str], service: str | None = None, *, ready: bool = True
) -> str:
    return ways(api, labels, service, ready=ready).behind()


def ways(
    api: Api, labels: Mapping[str, str], service: str | None = None, *, ready: bool = True
) -> Routes:
    status = {
        # Its node was not heard of, and so it was called unready: that is not the container's.
        "conditions": [{"type": "Ready", "status": "False"}],
        "containerStatuses": [{"name": "web", "ready": ready}],
    }
    workload = Workload(namespace="team", name="web", service=service)
    return Routes(
        cast("Cluster", api),
        cast("Informer", Copy(labels, status)),
        [workload],
        UNSET,
        on_silence=lambda: None,
    )


class TestRoutes:
    """What is asked of the cluster, and what is made of its answers."""

    def test_ask_for_the_slices_of_the_service(self) -> None:
        api = Api()
        assert said(api, {"app": "web"}) == "Service web does not lead to 1 of 1 ready pods"
        assert api.asked == [{"labelSelector": "kubernetes.io/service-name=web"}]

    def test_expect_nothing_of_pods_that_are_not_ready_by_themselves(self) -> None:
        assert said(Api(), {"app": "web"}, ready=False) == ""

    def test_have_the_service_that_was_behind_looked_at_and_leave_it_as_it_was(self) -> None:
        api = Api()
        routes = ways(api, {"app": "web"})
        assert routes.behind()
        routes.nudge()
        path = "/api/v1/namespaces/team/services/web"
        assert api.changed == [
            (path, {"aegis.dev/look-again": "true"}),
            (path, {"aegis.dev/look-again": None}),
        ]

    def test_have_nothing_looked_at_that_is_not_behind(self) -> None:
        api = Api()
        routes = ways(api, {"app": "web"}, ready=False)
        routes.nudge()
        assert not routes.behind()
        routes.nudge()
        assert api.changed == []

    def test_wait_for_nothing_that_may_not_be_read(self) -> None:
        assert said(Api(403), {"app": "web"}) == ""

    def test_wait_for_a_cluster_that_does_not_answer(self) -> None:
        assert said(Api(0), {"app": "web"}) == "you may not"

    def test_expect_nothing_of_a_service_that_selects_other_pods(self) -> None:
        # That is what was deployed, and for the gate's requests to find out.
        api = Api()
        assert said(api, {"app": "other"}, service="web") == ""
        assert api.asked == []
