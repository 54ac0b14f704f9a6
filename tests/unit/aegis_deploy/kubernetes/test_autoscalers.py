"""Which autoscalers aim at an object, and which are there no more once something goes."""

from __future__ import annotations

from typing import Any, cast

import pytest

from aegis_deploy.kubernetes.autoscalers import Autoscalers, parse, read
from aegis_deploy.kubernetes.client import ApiError, Cluster
from aegis_deploy.kubernetes.managed_fields import UNKNOWN, Scaling

SCALED = Scaling("HorizontalPodAutoscaler h", known=True)
NONE = Scaling(known=True)


def hpa(name: str = "h", *, made_by: str = "", going: bool = False, **aim: str) -> dict[str, Any]:
    target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web", **aim}
    metadata: dict[str, Any] = {"name": name, "namespace": "shop"}
    if made_by:
        metadata["ownerReferences"] = [{"kind": "ScaledObject", "name": made_by}]
    if going:
        metadata["deletionTimestamp"] = "2026-01-02T03:04:05Z"
    return {"metadata": metadata, "spec": {"scaleTargetRef": target}}


def workload(kind: str = "Deployment", name: str = "web", **more: Any) -> dict[str, Any]:
    return {
        "apiVersion": "apps/v1",
        "kind": kind,
        "metadata": {"name": name, "namespace": "shop"},
        "spec": {"replicas": 2},
        **more,
    }


class Api:
    """Lists autoscalers, or refuses to."""

    def __init__(self, *items: dict[str, Any], code: int = 0) -> None:
        self.items, self.code, self.asked = items, code, list[str]()

    def get(self, path: str) -> dict[str, Any]:
        self.asked.append(path)
        if self.code:
            raise ApiError(self.code, "no")
        return {"items": list(self.items)}


@pytest.mark.parametrize(
    ("item", "live", "scaling"),
    [
        (hpa(), workload(), SCALED),
        (hpa(), workload(name="other"), NONE),
        (hpa(), workload("StatefulSet"), NONE),
        (hpa(kind="StatefulSet"), workload("StatefulSet"), SCALED),
        (hpa(apiVersion="apps/v1beta2"), workload(), SCALED),
        (hpa(apiVersion="example.com/v1"), workload(), NONE),
        (hpa(), workload(apiVersion="example.com/v1"), NONE),
        (hpa(going=True), workload(), NONE),
    ],
)
def test_it_aims_at_a_kind_of_a_group_by_name(
    item: dict[str, Any], live: dict[str, Any], scaling: Scaling
) -> None:
    assert read(cast("Cluster", Api(item)), [live]).of(live) == scaling


def test_only_namespaces_of_what_has_a_number_of_pods_are_asked() -> None:
    api = Api(hpa())
    config = {"kind": "ConfigMap", "metadata": {"name": "c", "namespace": "other"}}
    found = read(cast("Cluster", api), [workload(), None, config, workload(name="b")])
    assert api.asked == ["/apis/autoscaling/v2/namespaces/shop/horizontalpodautoscalers"]
    assert found.of(config) == found.of(None) == UNKNOWN


@pytest.mark.parametrize("code", [403, 404])
def test_where_nobody_may_look_nothing_is_known(code: int) -> None:
    assert read(cast("Cluster", Api(code=code)), [workload()]).of(workload()) == UNKNOWN


def test_a_server_that_does_not_answer_is_an_error() -> None:
    with pytest.raises(ApiError):
        read(cast("Cluster", Api(code=500)), [workload()])


@pytest.mark.parametrize(
    ("gone", "left"),
    [
        ([], SCALED),
        ([("HorizontalPodAutoscaler", "shop", "h")], NONE),
        ([("HorizontalPodAutoscaler", "other", "h")], SCALED),
        ([("Deployment", "shop", "h")], SCALED),
        ([("ScaledObject", "shop", "s")], NONE),
    ],
)
def test_it_goes_by_itself_or_with_what_made_it(
    gone: list[tuple[str, str, str]], left: Scaling
) -> None:
    all_of_them = Autoscalers({"shop": [parse(hpa(made_by="s"))]})
    assert all_of_them.without(gone).of(workload()) == left


def test_what_is_not_known_stays_so_when_something_goes() -> None:
    nobody_may = Autoscalers({"shop": None})
    assert nobody_may.without([("HorizontalPodAutoscaler", "shop", "h")]).of(workload()) == UNKNOWN
