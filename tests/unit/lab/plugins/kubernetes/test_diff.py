"""Diff: what changed, what that replaces, and in which order."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from lab.plugins.kubernetes.diff import (
    ADD,
    DELETE,
    UPDATE,
    Change,
    Difference,
    compare,
    merge_patch,
)
from lab.plugins.kubernetes.replacement import force_new
from lab.plugins.kubernetes.settings import Settings
from lab.plugins.properties import UNKNOWN, Secret


def _object(kind: str, version: str = "v1", **fields: Any) -> dict[str, Any]:
    metadata = {"name": "a", "namespace": "team"}
    return {"apiVersion": version, "kind": kind, "metadata": metadata, **fields}


def _deployment(**spec: Any) -> dict[str, Any]:
    container = {"name": "c", "image": "i:1", "env": [{"name": "A", "value": "1"}]}
    template = {"metadata": {"labels": {"app": "a"}}, "spec": {"containers": [container]}}
    selector = {"matchLabels": {"app": "a"}}
    whole = {"replicas": 2, "selector": selector, "template": template, **spec}
    return _object("Deployment", "apps/v1", spec=whole)


def _state(inputs: dict[str, Any], **server: Any) -> dict[str, Any]:
    """Return outputs as the server and the provider make them of inputs."""
    live = copy.deepcopy(inputs)
    live["metadata"] |= {"uid": "u", "resourceVersion": "7", "generation": 1}
    live["status"] = {"replicas": 2}
    live |= server
    return {**live, "__inputs": inputs, "__initialApiVersion": "x", "__fieldManager": "m"}


def _compare(old: dict[str, Any], new: dict[str, Any], **more: Any) -> Difference:
    arguments: dict[str, Any] = {"settings": Settings(), "namespaced": True}
    return compare(old, new, **(arguments | more))


def _changed(obj: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    changed = copy.deepcopy(obj)
    *parents, last = path.split(".")
    at: Any = changed
    for key in parents:
        at = at[int(key)] if key.isdigit() else at[key]
    at[int(last) if last.isdigit() else last] = value
    return changed


class TestUnchanged:
    """What means the same is no change."""

    def test_what_the_server_adds_is_no_change(self) -> None:
        inputs = _deployment()
        state = _state(inputs)
        state["spec"] = copy.deepcopy(inputs["spec"]) | {"progressDeadlineSeconds": 600}
        state["spec"]["template"]["spec"]["dnsPolicy"] = "ClusterFirst"
        state["spec"]["template"]["spec"]["containers"][0]["imagePullPolicy"] = "Always"
        assert _compare(state, inputs).changes == []

    def test_another_spelling_of_a_quantity_is_no_change(self) -> None:
        inputs = _object("ResourceQuota", spec={"hard": {"limits.cpu": "1000m"}})
        state = _state(inputs, spec={"hard": {"limits.cpu": "1"}})
        assert _compare(state, inputs).changes == []

    def test_the_default_namespace_may_be_left_out(self) -> None:
        inputs = _object("ConfigMap", data={})
        del inputs["metadata"]["namespace"]
        state = _state(_object("ConfigMap", data={}))
        state["metadata"]["namespace"] = "default"
        assert _compare(state, inputs).changes == []

    def test_a_namespace_on_a_cluster_wide_object_does_not_count(self) -> None:
        inputs = _object("Namespace")
        state = _state(_object("Namespace"))
        del state["metadata"]["namespace"]
        assert _compare(state, inputs, namespaced=False).changes == []

    def test_secret_marks_do_not_count(self) -> None:
        inputs = _object("Secret", data={"a": "eA=="})
        state = _state(inputs) | {"data": Secret({"a": "eA=="})}
        new = inputs | {"data": Secret({"a": Secret("eA==")})}
        assert _compare(state, new).changes == []

    def test_string_data_equals_the_data_it_becomes(self) -> None:
        inputs = _object("Secret", data={"a": "eA=="})
        assert _compare(_state(inputs), _object("Secret", stringData={"a": "x"})).changes == []


@pytest.mark.parametrize(
    ("path", "value", "expected"),
    [
        ("spec.replicas", 3, Change("spec.replicas", UPDATE, replaces=False)),
        ("spec.paused", True, Change("spec.paused", ADD, replaces=False)),
        (
            "spec.template.spec.containers.0.image",
            "i:2",
            Change("spec.template.spec.containers[0].image", UPDATE, replaces=False),
        ),
        (
            "spec.template.spec.containers.0.env.0.value",
            UNKNOWN,
            Change("spec.template.spec.containers[0].env[0].value", UPDATE, replaces=False),
        ),
        (
            "metadata.annotations",
            {"a.b/c": "d"},
            Change("metadata.annotations", ADD, replaces=False),
        ),
        (
            "spec.selector.matchLabels.app",
            "b",
            Change("spec.selector.matchLabels.app", UPDATE, replaces=True),
        ),
        ("metadata.name", "b", Change("metadata.name", UPDATE, replaces=True)),
        ("metadata.namespace", "b", Change("metadata.namespace", UPDATE, replaces=True)),
    ],
)
def test_a_change_of_a_deployment(path: str, value: Any, expected: Change) -> None:
    inputs = _deployment()
    assert _compare(_state(inputs), _changed(inputs, path, value)).changes == [expected]


class TestLists:
    """Lists are compared item by item."""

    def _items(self, *names: str) -> dict[str, Any]:
        ports = [{"name": name, "port": 1} for name in names]
        return _object("Service", spec={"ports": ports})

    def test_a_longer_list_adds(self) -> None:
        changes = _compare(_state(self._items("a")), self._items("a", "b")).changes
        assert changes == [Change("spec.ports[1]", ADD, replaces=False)]

    def test_a_shorter_list_deletes(self) -> None:
        changes = _compare(_state(self._items("a", "b")), self._items("a")).changes
        assert changes == [Change("spec.ports[1]", DELETE, replaces=False)]

    def test_a_field_that_is_gone_is_deleted(self) -> None:
        old = self._items("a")
        new = _object("Service", spec={"ports": [{"port": 1}]})
        assert _compare(_state(old), new).changes == [
            Change("spec.ports[0].name", DELETE, replaces=False)
        ]


def test_keys_with_dots_are_quoted() -> None:
    old = _object("ConfigMap") | {"metadata": {"name": "a", "annotations": {"a.b/c": "1"}}}
    new = _changed(old, "metadata.annotations", {"a.b/c": "2"})
    change = _compare(_state(old), new).changes[0]
    assert change.path == 'metadata.annotations["a.b/c"]'


@pytest.mark.parametrize(
    ("ignored", "left"),
    [
        (["spec.replicas"], ["spec.paused"]),
        (["spec"], []),
        (['spec["replicas"]', "spec.paused"], []),
        (["spec.template"], ["spec.replicas", "spec.paused"]),
    ],
)
def test_ignored_changes_do_not_count(ignored: list[str], left: list[str]) -> None:
    inputs = _deployment()
    new = _changed(_changed(inputs, "spec.replicas", 5), "spec.paused", value=True)
    changes = _compare(_state(inputs), new, ignore_changes=ignored).changes
    assert [change.path for change in changes] == left


_ROLE_REF = {"apiGroup": "g", "kind": "Role", "name": "r"}


@pytest.mark.parametrize(
    ("old", "path", "value", "replaces"),
    [
        (_object("ConfigMap", data={"a": "1"}), "data.a", "2", True),
        (_object("ConfigMap", binaryData={"a": "eA=="}), "binaryData.a", "eQ==", True),
        (_object("ConfigMap", data={"a": "1"}), "immutable", True, False),
        (_object("Secret", data={"a": "eA=="}), "data.a", "eQ==", True),
        (_object("Secret", type="Opaque"), "type", "other", True),
        (_object("Service", spec={"clusterIP": "1.1.1.1"}), "spec.clusterIP", "1.1.1.2", True),
        (_object("Service", spec={"type": "ClusterIP"}), "spec.type", "NodePort", False),
        (_object("PersistentVolumeClaim", spec={"volumeName": "a"}), "spec.volumeName", "b", True),
        (
            _object("Pod", spec={"containers": [{"name": "c", "image": "1"}]}),
            "spec.containers.0.image",
            "2",
            True,
        ),
        (_object("Pod", spec={"activeDeadlineSeconds": 1}), "spec.activeDeadlineSeconds", 2, False),
        (
            _object("Job", "batch/v1", spec={"template": {"spec": {"nodeName": "a"}}}),
            "spec.template.spec.nodeName",
            "b",
            True,
        ),
        (_object("Job", "batch/v1", spec={"backoffLimit": 1}), "spec.backoffLimit", 2, False),
        (
            _object("StatefulSet", "apps/v1", spec={"serviceName": "a"}),
            "spec.serviceName",
            "b",
            True,
        ),
        (_object("StatefulSet", "apps/v1", spec={"replicas": 1}), "spec.replicas", 2, False),
        (
            _object("RoleBinding", "rbac.authorization.k8s.io/v1", roleRef=_ROLE_REF),
            "roleRef.name",
            "other",
            True,
        ),
        (
            _object("StorageClass", "storage.k8s.io/v1", provisioner="a"),
            "provisioner",
            "b",
            True,
        ),
        (_object("Thing", "example.com/v1", spec={"selector": "a"}), "spec.selector", "b", False),
    ],
    ids=lambda value: value.get("kind") if isinstance(value, dict) else None,
)
def test_what_forces_a_replacement(
    old: dict[str, Any], path: str, value: Any, replaces: bool
) -> None:
    difference = _compare(_state(old), _changed(old, path, value))
    assert len(difference.changes) == 1
    assert bool(difference.replaces) is replaces


class TestMutableData:
    """Data may change in place where that is asked for."""

    @pytest.mark.parametrize("kind", ["ConfigMap", "Secret"])
    def test_data_changes_in_place_when_that_is_enabled(self, kind: str) -> None:
        settings = Settings(configmap_mutable=True, secret_mutable=True)
        assert "data" not in force_new(_object(kind), settings)

    @pytest.mark.parametrize("kind", ["ConfigMap", "Secret"])
    def test_immutable_objects_are_replaced_in_any_case(self, kind: str) -> None:
        settings = Settings(configmap_mutable=True, secret_mutable=True)
        assert "data" in force_new(_object(kind, immutable=True), settings)


class TestOrder:
    """Whether the old object goes before the new one comes."""

    def test_a_chosen_name_is_freed_first(self) -> None:
        old = _object("ConfigMap", data={"a": "1"})
        assert _compare(_state(old), _changed(old, "data.a", "2")).delete_before_replace

    def test_another_name_lives_beside_the_old_one(self) -> None:
        old = _object("ConfigMap", data={"a": "1"})
        new = _changed(_changed(old, "data.a", "2"), "metadata.name", "b")
        assert not _compare(_state(old), new).delete_before_replace

    def test_an_automatic_name_lives_beside_the_old_one(self) -> None:
        old = _object("ConfigMap", data={"a": "1"})
        old["metadata"]["annotations"] = {"pulumi.com/autonamed": "true"}
        assert not _compare(_state(old), _changed(old, "data.a", "2")).delete_before_replace

    def test_a_change_in_place_frees_nothing(self) -> None:
        old = _deployment()
        assert not _compare(_state(old), _changed(old, "spec.replicas", 3)).delete_before_replace


def test_a_patch_resource_replaces_for_its_identity_only() -> None:
    old = _object("ConfigMap", data={"a": "1"})
    assert _compare(_state(old), _changed(old, "data.a", "2"), is_patch=True).replaces == []
    moved = _changed(old, "metadata.name", "b")
    assert _compare(_state(old), moved, is_patch=True).replaces == ["metadata.name"]


def test_a_merge_patch_says_what_to_remove() -> None:
    old = {"a": 1, "b": {"c": 1, "d": 2}, "e": [1], "f": {}}
    new = {"b": {"c": 1, "d": 3}, "e": [1, 2], "f": {}}
    assert merge_patch(old, new) == {"a": None, "b": {"d": 3}, "e": [1, 2]}
