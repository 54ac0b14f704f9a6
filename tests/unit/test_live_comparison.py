"""The comparison that the end-to-end tests rest on: it finds what it is to find, and no secret."""

from __future__ import annotations

import base64
import copy
from typing import Any

import pytest

from tests.e2e.comparison import differences
from tests.unit.aegis_deploy.states import SECRET_KIND, made, secret, thing

_DEPLOYMENT = "kubernetes:apps/v1:Deployment"
_PASSWORD = base64.b64encode(b"a-password").decode()


def _recorded() -> Any:
    pod = {"containers": [{"name": "web", "image": "web:1"}]}
    deployment = _object("apps/v1", "Deployment", "web", spec={"template": pod, "replicas": 2})
    hidden = _object("v1", "Secret", "key", data={"PASSWORD": _PASSWORD})
    inputs = {"spec": {"template": pod}}
    return made(
        thing(_DEPLOYMENT, "web", inputs, outputs={**deployment, "__inputs": {}}),
        thing(
            SECRET_KIND,
            "key",
            {"stringData": secret({"PASSWORD": "a-password"})},
            outputs={**hidden, "data": secret(hidden["data"])},
        ),
    ).resources


def _object(version: str, kind: str, name: str, **more: Any) -> dict[str, Any]:
    metadata = {"name": name, "namespace": "shop", "uid": f"{kind}-{name}", "generation": 1}
    return {"apiVersion": version, "kind": kind, "metadata": metadata, **more}


def _live() -> dict[str, Any]:
    objects = (copy.deepcopy(dict(item.outputs)) for item in _recorded()[2:])
    found = {item["kind"]: item for item in objects}
    found["Secret"]["data"] = {"PASSWORD": _PASSWORD}
    return found


def test_what_the_cluster_counts_by_itself_is_no_difference() -> None:
    live = _live()
    live["Deployment"]["metadata"] |= {"generation": 7, "resourceVersion": "9", "uid": "other"}
    live["Deployment"]["status"] = {"readyReplicas": 2}
    assert differences(_recorded(), list(live.values())) == []


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda it: it.pop("Secret"), "Secret key: is not there"),
        (
            lambda it: it["Deployment"]["spec"].update(replicas=3),
            "Deployment web: spec.replicas is another: 3, was 2",
        ),
        (
            lambda it: it["Deployment"]["spec"]["template"]["containers"].append({}),
            "Deployment web: spec.template.containers is another: ",
        ),
        (
            lambda it: it["Deployment"]["metadata"].update(labels={"by": "hand"}),
            "Deployment web: metadata.labels is there, and was not",
        ),
        (
            lambda it: it["Secret"]["data"].update(PASSWORD="bm8="),
            "Secret key: data.PASSWORD is another",
        ),
        (
            lambda it: it["Secret"]["data"].update(uid="bm8="),
            "Secret key: data.uid is there, and was not",
        ),
        (
            lambda it: it.update(more=_object("v1", "ConfigMap", "left")),
            "ConfigMap left: is there, and the release does not have it",
        ),
    ],
)
def test_every_other_difference_is_found(spoil: Any, said: str) -> None:
    live = _live()
    spoil(live)
    found = differences(_recorded(), list(live.values()))
    assert next(line for line in found if "(declared)" not in line).startswith(said)
    assert _PASSWORD not in str(found)
    assert "a-password" not in str(found)


def test_what_was_declared_counts_where_the_recorded_object_is_older() -> None:
    recorded = _recorded()
    pod = {"containers": [{"name": "web", "image": "web:2"}]}
    recorded[2].inputs["spec"] = {"template": pod}
    found = differences(recorded, list(_live().values()))
    assert [line.endswith("(declared)") for line in found] == [True]


def test_what_belongs_to_another_object_or_to_the_cluster_is_not_left_over() -> None:
    owned = _object("apps/v1", "ReplicaSet", "web-1")
    owned["metadata"]["ownerReferences"] = [{"name": "web"}]
    live = [*_live().values(), owned, _object("v1", "ConfigMap", "kube-root-ca.crt")]
    assert differences(_recorded(), live) == []
