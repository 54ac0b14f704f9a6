"""Check: inputs become what the official provider keeps in the state."""

from __future__ import annotations

import re
from typing import Any

import pytest

from lab.plugins.kubernetes.check import InputsError, Naming, complete
from lab.plugins.kubernetes.normalize import normalize
from lab.plugins.kubernetes.quantity import canonical
from lab.plugins.kubernetes.settings import Settings
from lab.plugins.properties import UNKNOWN, Secret


def _urn(token: str, name: str = "web") -> str:
    return f"urn:pulumi:dev::project::aegis:k8s:Service${token}::{name}"


DEPLOYMENT = _urn("kubernetes:apps/v1:Deployment")
CONFIG_MAP = _urn("kubernetes:core/v1:ConfigMap")


def _check(urn: str, new: dict[str, Any], old: dict[str, Any] | None = None, **more: Any) -> Any:
    arguments: dict[str, Any] = {
        "settings": Settings(),
        "default_namespace": "default",
        "namespaced": lambda _version, kind: kind != "Namespace",
        "autonaming": Naming(seed=b"seed"),
    }
    return complete(urn, old or {}, new, **(arguments | more))


def _config_map(**metadata: Any) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"a": "b"}}


@pytest.mark.parametrize(
    ("written", "stored"),
    [
        ("1000m", "1"),
        ("0.5", "500m"),
        (0.5, "500m"),
        (1, "1"),
        ("1024Mi", "1Gi"),
        ("1.5Gi", "1536Mi"),
        ("1Gi", "1Gi"),
        ("1000", "1k"),
        ("1e3", "1e3"),
        ("1e2", "100"),
        ("0.001", "1m"),
        ("1.234", "1.234"),
        ("0", "0"),
        ("100Mi", "100Mi"),
        ("0.1n", "1n"),
    ],
)
def test_quantities_are_written_as_the_server_does(written: str | float, stored: str) -> None:
    assert canonical(written) == stored


@pytest.mark.parametrize("wrong", ["", "1 Gi", "Gi", "1Xi", "ten", "1e"])
def test_what_is_no_quantity_is_refused(wrong: str) -> None:
    with pytest.raises(ValueError, match="not a Kubernetes quantity"):
        canonical(wrong)


class TestNormalForm:
    """Equal manifests have one form."""

    def test_empty_and_unknown_fields_of_built_in_kinds_fall_away(self) -> None:
        spec = {
            "replicas": 0,
            "minReadySeconds": 0,
            "paused": False,
            "typo": 1,
            "template": {
                "spec": {
                    "hostNetwork": False,
                    "automountServiceAccountToken": False,
                    "containers": [
                        {"name": "c", "env": [], "resources": {"limits": {"cpu": "1000m"}}}
                    ],
                    "volumes": [{"name": "v", "emptyDir": {}}],
                }
            },
        }
        kept = normalize({"apiVersion": "apps/v1", "kind": "Deployment", "spec": spec})["spec"]
        assert kept == {
            "replicas": 0,
            "template": {
                "spec": {
                    "automountServiceAccountToken": False,
                    "containers": [{"name": "c", "resources": {"limits": {"cpu": "1"}}}],
                    "volumes": [{"name": "v", "emptyDir": {}}],
                }
            },
        }

    def test_structs_stay_even_when_empty(self) -> None:
        spec: dict[str, Any] = {"podSelector": {}, "egress": [{}], "policyTypes": []}
        policy = {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "spec": spec}
        assert normalize(policy)["spec"] == {"podSelector": {}, "egress": [{}]}

    @pytest.mark.parametrize(
        "obj",
        [
            {"apiVersion": "example.com/v1", "kind": "Thing", "spec": {"size": 0, "x": None}},
            {"apiVersion": "apps/v1", "kind": "Deployment", "spec": {"replicas": "many"}},
            {
                "apiVersion": "apps/v1",
                "kind": "Deployment",
                "spec": {"paused": False, "x": UNKNOWN},
            },
        ],
        ids=["custom resource", "wrong type", "not known yet"],
    )
    def test_what_cannot_go_through_a_type_stays(self, obj: dict[str, Any]) -> None:
        assert normalize(obj) == obj

    def test_the_argument_is_left_alone(self) -> None:
        obj = {"apiVersion": "v1", "kind": "Secret", "stringData": {"a": "b"}}
        normalize(obj)
        assert obj["stringData"] == {"a": "b"}

    def test_read_only_metadata_is_removed(self) -> None:
        obj = {"metadata": {"name": "a", "uid": "u", "resourceVersion": "1", "generation": 2}}
        assert normalize(obj) == {"metadata": {"name": "a"}}

    def test_string_data_becomes_data(self) -> None:
        secret = {
            "apiVersion": "v1",
            "kind": "Secret",
            "data": {"a": "eA==", "b": "eQ=="},
            "stringData": {"a": "z"},
        }
        result = normalize(secret)
        assert result["data"] == {"a": "eg==", "b": "eQ=="}
        assert "stringData" not in result

    def test_data_is_encoded_as_the_server_does(self) -> None:
        secret = {"apiVersion": "v1", "kind": "Secret", "data": {"a": "eA==\n", "b": "%"}}
        assert normalize(secret)["data"] == {"a": "eA==", "b": "%"}

    def test_a_definition_loses_what_the_server_drops(self) -> None:
        definition = {
            "apiVersion": "apiextensions.k8s.io/v1",
            "kind": "CustomResourceDefinition",
            "spec": {"group": "g", "preserveUnknownFields": False},
            "status": {},
        }
        assert normalize(definition)["spec"] == {"group": "g"}
        assert "status" not in normalize(definition)


class TestNames:
    """Names for objects without one."""

    def test_a_new_object_without_a_name_gets_one_that_is_marked(self) -> None:
        metadata = _check(CONFIG_MAP, _config_map())["metadata"]
        assert re.fullmatch("web-[0-9a-f]{8}", metadata["name"])
        assert metadata["annotations"] == {"pulumi.com/autonamed": "true"}

    def test_the_engine_decides_the_randomness(self) -> None:
        names = {_check(CONFIG_MAP, _config_map())["metadata"]["name"] for _ in range(3)}
        assert len(names) == 1

    @pytest.mark.parametrize("mode", ["propose", "enforce"])
    def test_a_proposed_name_is_taken(self, mode: str) -> None:
        autonaming = Naming(mode=mode, proposed="web-dev")
        inputs = _check(CONFIG_MAP, _config_map(), autonaming=autonaming)
        assert inputs["metadata"]["name"] == "web-dev"

    def test_naming_can_be_disabled(self) -> None:
        with pytest.raises(InputsError, match="autonaming is disabled"):
            _check(CONFIG_MAP, _config_map(), autonaming=Naming(mode="disable"))

    def test_the_old_automatic_name_stays(self) -> None:
        old = _config_map(name="web-1234", annotations={"pulumi.com/autonamed": "true"})
        metadata = _check(CONFIG_MAP, _config_map(), old)["metadata"]
        assert metadata["name"] == "web-1234"
        assert metadata["annotations"] == {"pulumi.com/autonamed": "true"}

    @pytest.mark.parametrize("name", ["chosen", UNKNOWN])
    def test_a_given_name_is_left_alone(self, name: object) -> None:
        metadata = _check(CONFIG_MAP, _config_map(name=name))["metadata"]
        assert metadata["name"] == name
        assert "annotations" not in metadata

    def test_generate_name_needs_client_side_apply(self) -> None:
        with pytest.raises(InputsError, match="generateName"):
            _check(CONFIG_MAP, _config_map(generateName="web-"))
        settings = Settings(server_side_apply=False)
        inputs = _check(CONFIG_MAP, _config_map(generateName="web-"), settings=settings)
        assert "name" not in inputs["metadata"]


class TestNamespaces:
    """Namespaces for objects without one."""

    @pytest.mark.parametrize(
        ("given", "kept"), [(None, "default"), ("", "default"), ("team", "team"), (UNKNOWN,) * 2]
    )
    def test_a_namespaced_object_gets_one(self, given: object, kept: object) -> None:
        metadata = {"name": "a"} if given is None else {"name": "a", "namespace": given}
        assert _check(CONFIG_MAP, _config_map(**metadata))["metadata"]["namespace"] == kept

    @pytest.mark.parametrize(("scope", "has"), [(True, True), (False, False), (None, True)])
    def test_scope_decides(self, scope: bool | None, has: bool) -> None:
        thing = {"apiVersion": "example.com/v1", "kind": "Thing", "metadata": {"name": "a"}}
        urn = _urn("kubernetes:example.com/v1:Thing")
        inputs = _check(urn, thing, namespaced=lambda _version, _kind: scope)
        assert ("namespace" in inputs["metadata"]) is has


class TestLabels:
    """The managed-by label."""

    def test_managed_by_is_set_without_server_side_apply_only(self) -> None:
        assert "labels" not in _check(CONFIG_MAP, _config_map(name="a"))["metadata"]
        settings = Settings(server_side_apply=False)
        inputs = _check(CONFIG_MAP, _config_map(name="a"), settings=settings)
        assert inputs["metadata"]["labels"] == {"app.kubernetes.io/managed-by": "pulumi"}

    def test_managed_by_is_kept_once_it_is_there(self) -> None:
        old = _config_map(name="a", labels={"app.kubernetes.io/managed-by": "pulumi"})
        inputs = _check(CONFIG_MAP, _config_map(name="a"), old)
        assert inputs["metadata"]["labels"] == {"app.kubernetes.io/managed-by": "pulumi"}


class TestSecrets:
    """Secret marks outlive Check."""

    def test_a_secret_s_data_is_always_secret(self) -> None:
        secret = {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": "a"},
            "stringData": {"a": "b"},
        }
        inputs = _check(_urn("kubernetes:core/v1:Secret"), secret)
        assert inputs["data"] == Secret({"a": "Yg=="})

    def test_marks_of_the_program_stay_where_they_are(self) -> None:
        inputs = _config_map(name="a") | {"data": {"a": Secret("x"), "b": "y"}}
        assert _check(CONFIG_MAP, inputs)["data"] == {"a": Secret("x"), "b": "y"}

    def test_a_secret_item_makes_its_list_secret(self) -> None:
        spec = {"template": {"spec": {"containers": [{"name": Secret("c")}]}}}
        deployment = {"apiVersion": "apps/v1", "kind": "Deployment", "spec": spec}
        deployment["metadata"] = {"name": "a"}
        kept = _check(DEPLOYMENT, deployment)["spec"]["template"]["spec"]
        assert kept["containers"] == Secret([{"name": "c"}])


@pytest.mark.parametrize(
    ("token", "new", "settings", "message"),
    [
        ("kubernetes:core/v1:ConfigMapList", {}, Settings(), "cannot be created directly"),
        ("other:core/v1:ConfigMap", {}, Settings(), "unrecognized resource type"),
        ("kubernetes:core/v1:ConfigMapPatch", {}, Settings(), r"require the `.metadata.name`"),
        (
            "kubernetes:core/v1:ConfigMapPatch",
            {"metadata": {"name": "a"}},
            Settings(server_side_apply=False),
            "require Server-Side Apply mode",
        ),
    ],
)
def test_inputs_that_cannot_work_are_refused(
    token: str, new: dict[str, Any], settings: Settings, message: str
) -> None:
    inputs = {"apiVersion": "v1", "kind": "ConfigMap", **new}
    with pytest.raises(InputsError, match=message):
        _check(_urn(token), inputs, settings=settings)
