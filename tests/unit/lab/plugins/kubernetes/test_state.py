"""The state's layout, field managers, secrets in messages, kubeconfigs and settings."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, ClassVar

import pytest

from lab.plugins.kubernetes import checkpoint, fields
from lab.plugins.kubernetes.configuration import changed_settings, strict_mode_failures
from lab.plugins.kubernetes.kinds import is_list, is_patch, kind_of_urn, known_scope
from lab.plugins.kubernetes.kubeconfig import KubeconfigError, load_kubeconfig
from lab.plugins.kubernetes.objects import object_id, prune, split_id
from lab.plugins.kubernetes.secrets import redact
from lab.plugins.kubernetes.settings import Settings, read_settings
from lab.plugins.properties import UNKNOWN, Secret


class TestCheckpoint:
    """The layout of outputs."""

    inputs: ClassVar[dict[str, Any]] = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "a"},
        "data": {"k": "eA=="},
    }

    def test_outputs_are_the_live_object_and_what_is_remembered(self) -> None:
        live = {**self.inputs, "metadata": {"name": "a", "managedFields": [{"manager": "m"}]}}
        outputs = checkpoint.build(
            self.inputs, live, self.inputs, initial_api_version="v1", field_manager="m"
        )
        assert outputs["metadata"] == live["metadata"]
        assert outputs["data"] == Secret({"k": "eA=="})
        assert outputs["__inputs"]["data"] == Secret({"k": "eA=="})
        assert outputs["__initialApiVersion"] == "v1"
        assert outputs["__fieldManager"] == "m"

    def test_what_was_built_can_be_read(self) -> None:
        outputs = checkpoint.build(
            self.inputs, self.inputs, self.inputs, initial_api_version="v1", field_manager="m"
        )
        inputs, live = checkpoint.parse(outputs)
        assert inputs == self.inputs
        assert live["data"] == {"k": "eA=="}
        assert checkpoint.remembered_field_manager(outputs) == "m"

    def test_schema_extensions_have_underscores_in_properties(self) -> None:
        obj = {"spec": {"x-kubernetes-preserve-unknown-fields": True}}
        properties = checkpoint.to_properties(obj, {})
        assert properties == {"spec": {"x_kubernetes_preserve_unknown_fields": True}}
        assert checkpoint.to_object(properties) == obj


@pytest.mark.parametrize(
    ("namespace", "name", "identifier"), [("team", "a", "team/a"), ("", "a", "a")]
)
def test_ids(namespace: str, name: str, identifier: str) -> None:
    metadata = {"name": name} | ({"namespace": namespace} if namespace else {})
    assert object_id({"metadata": metadata}) == identifier
    assert split_id(identifier) == (namespace, name)


def test_pruning_keeps_the_shape_of_the_inputs() -> None:
    live = {"a": {"b": 1, "c": 2}, "l": [{"x": 1, "y": 2}, {"x": 3}], "m": ["s"], "n": 1}
    shape = {"a": {"b": 9}, "l": [{"x": 0}], "m": [{"x": 1}], "z": 1}
    assert prune(live, shape) == {"a": {"b": 1}, "l": [{"x": 1}], "m": ["s"]}


class TestFieldManagers:
    """Who owns which field."""

    def _live(self, *entries: tuple[str, str, dict[str, Any]]) -> dict[str, Any]:
        managed = [
            {"manager": name, "operation": operation, "fieldsV1": owned}
            for name, operation, owned in entries
        ]
        return {"metadata": {"managedFields": managed}}

    def test_the_creator_s_fields_go_to_the_manager(self) -> None:
        live = self._live(
            ("pulumi-kubernetes", "Update", {"f:spec": {"f:replicas": {}}}),
            ("kube-controller-manager", "Update", {"f:status": {}}),
        )
        entries = fields.take_over(live, "m")
        assert entries is not None
        assert [(e["manager"], e["operation"]) for e in entries] == [
            ("kube-controller-manager", "Update"),
            ("m", "Apply"),
        ]

    def test_fields_are_added_to_those_it_has(self) -> None:
        live = self._live(
            ("m", "Apply", {"f:spec": {"f:paused": {}}}),
            ("kubectl-edit", "Update", {"f:spec": {"f:replicas": {}}}),
        )
        entries = fields.take_over(live, "m")
        assert entries is not None
        assert entries[-1]["fieldsV1"] == {"f:spec": {"f:paused": {}, "f:replicas": {}}}

    def test_nothing_is_moved_when_nobody_wrote_before(self) -> None:
        assert fields.take_over(self._live(("other", "Apply", {})), "m") is None

    @pytest.mark.parametrize(
        ("annotation", "remembered", "apply", "expected"),
        [
            ("mine", "old", True, "mine"),
            ("", "old", True, "old"),
            ("mine", "old", False, "pulumi-kubernetes"),
        ],
    )
    def test_the_manager_s_name(
        self, annotation: str, remembered: str, apply: bool, expected: str
    ) -> None:
        inputs = {"metadata": {"annotations": {"pulumi.com/patchFieldManager": annotation}}}
        settings = Settings(server_side_apply=apply)
        assert fields.manager_name(inputs, remembered, settings) == expected

    def test_a_new_manager_has_a_random_name(self) -> None:
        name = fields.manager_name({}, "", Settings())
        assert name.startswith("pulumi-kubernetes-")
        assert len(name) == len("pulumi-kubernetes-") + 8

    def test_ignored_fields_of_others_are_left_to_them(self) -> None:
        live = self._live(("hpa", "Update", {"f:spec": {"f:replicas": {}}})) | {
            "spec": {"replicas": 7}
        }
        inputs = {"spec": {"replicas": 2, "paused": True}}
        fields.leave_ignored(inputs, live, "m", ["spec.replicas"])
        assert inputs == {"spec": {"paused": True}}

    def test_ignored_fields_of_ours_keep_their_value(self) -> None:
        live = self._live(("m", "Apply", {"f:spec": {"f:replicas": {}}})) | {
            "spec": {"replicas": 7}
        }
        inputs = {"spec": {"replicas": 2}}
        fields.leave_ignored(inputs, live, "m", ["spec.replicas"])
        assert inputs == {"spec": {"replicas": 7}}

    @pytest.mark.parametrize(
        ("inputs", "live", "preview", "expected"),
        [
            ({"metadata": {"annotations": {"pulumi.com/patchForce": "true"}}}, {}, False, True),
            ({}, None, True, True),
            ({}, None, False, False),
            ({}, {"metadata": {"managedFields": [{"manager": "x"}]}}, False, False),
            ({}, {"metadata": {}}, False, True),
            (
                {},
                {
                    "metadata": {
                        "managedFields": [{"manager": "pulumi-kubernetes", "operation": "Update"}]
                    }
                },
                True,
                True,
            ),
        ],
    )
    def test_when_others_are_overridden(
        self, inputs: Any, live: Any, preview: bool, expected: bool
    ) -> None:
        assert fields.forced(inputs, live, Settings(), preview=preview) is expected


def test_messages_never_show_a_secret() -> None:
    secret = {"apiVersion": "v1", "kind": "Secret", "data": {"p": "aHVudGVyMg=="}}
    message = "Invalid value: hunter2 (aHVudGVyMg==)"
    assert redact(message, secret) == "Invalid value: [secret] ([secret])"
    marked = {**secret, "data": Secret(secret["data"])}
    assert "hunter2" not in redact(message, marked)
    assert redact(message, {"kind": "ConfigMap"}) == message


_KUBECONFIG: dict[str, Any] = {
    "current-context": "one",
    "clusters": [
        {"name": "c1", "cluster": {"server": "https://one", "certificate-authority": "ca.crt"}},
        {"name": "c2", "cluster": {"server": "https://two"}},
    ],
    "contexts": [
        {"name": "one", "context": {"cluster": "c1", "user": "u", "namespace": "team"}},
        {"name": "two", "context": {"cluster": "c2", "user": "u"}},
    ],
    "users": [{"name": "u", "user": {"token": "t"}}],
}


class TestKubeconfig:
    """Kubeconfigs as kubectl reads them."""

    @pytest.mark.parametrize(
        ("choice", "server", "namespace"),
        [
            ({}, "https://one", "team"),
            ({"context": "two"}, "https://two", "default"),
            ({"cluster": "c2"}, "https://two", "team"),
            ({"namespace": "other"}, "https://one", "other"),
        ],
    )
    def test_the_choice_decides(self, choice: dict[str, str], server: str, namespace: str) -> None:
        config = load_kubeconfig(json.dumps(_KUBECONFIG), **choice)
        assert (config.server, config.namespace) == (server, namespace)

    def test_files_are_merged_and_their_paths_made_absolute(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        first, second = tmp_path / "a" / "config", tmp_path / "config"
        first.parent.mkdir()
        first.write_text("current-context: two\n")
        second.write_text(json.dumps(_KUBECONFIG))
        monkeypatch.setenv("KUBECONFIG", f"{first}:{second}")
        config = load_kubeconfig()
        assert config.context == "two"
        cluster = config.document["clusters"][0]["cluster"]
        assert cluster["certificate-authority"] == str(tmp_path / "ca.crt")

    @pytest.mark.parametrize(
        ("text", "choice", "message"),
        [
            (json.dumps(_KUBECONFIG), {"context": "three"}, r"no context 'three' \(it has: one"),
            (json.dumps(_KUBECONFIG), {"cluster": "c9"}, "no cluster 'c9'"),
            ("{", {}, "neither a file nor a kubeconfig"),
            ("a: b: c", {}, "neither a file nor a kubeconfig"),
            ("/no/such/file", {}, "neither a file nor a kubeconfig"),
            ("current-context: ''\n", {}, "no current-context"),
        ],
    )
    def test_what_cannot_be_used_is_named(
        self, text: str, choice: dict[str, str], message: str
    ) -> None:
        with pytest.raises(KubeconfigError, match=message):
            load_kubeconfig(text, **choice)

    def test_a_missing_file_is_named(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("KUBECONFIG", "/no/such/file")
        with pytest.raises(KubeconfigError, match="there is no kubeconfig /no/such/file"):
            load_kubeconfig()


class TestSettings:
    """The provider's settings."""

    def test_the_argument_comes_before_the_environment(self) -> None:
        environment = {"PULUMI_K8S_ENABLE_SERVER_SIDE_APPLY": "true"}
        variables = {"kubernetes:config:enableServerSideApply": "false"}
        assert not read_settings(variables, environment).server_side_apply
        assert read_settings({}, {}).server_side_apply

    @pytest.mark.parametrize(
        ("key", "value", "message"),
        [
            ("renderYamlToDirectory", "out", "not supported by the lab's stand-in"),
            ("kubeClientSettings", "{", "is not a JSON object"),
            ("kubeClientSettings", '{"timeout": "soon"}', "not a number"),
        ],
    )
    def test_what_cannot_work_is_refused(self, key: str, value: str, message: str) -> None:
        with pytest.raises(ValueError, match=message):
            read_settings({f"kubernetes:config:{key}": value}, {})


class TestProviderResource:
    """The provider as a resource."""

    two = json.dumps(_KUBECONFIG | {"current-context": "two"})
    one = json.dumps(_KUBECONFIG)
    relabelled = json.dumps(_KUBECONFIG | {"users": []})

    @pytest.mark.parametrize(
        ("old", "new", "changed", "replaces"),
        [
            ({"kubeconfig": one}, {"kubeconfig": one}, [], []),
            ({"kubeconfig": one}, {"kubeconfig": two}, ["kubeconfig"], ["kubeconfig"]),
            ({"kubeconfig": one}, {"kubeconfig": relabelled}, ["kubeconfig"], []),
            ({"kubeconfig": one}, {"kubeconfig": UNKNOWN}, ["kubeconfig"], ["kubeconfig"]),
            ({}, {"namespace": "a"}, ["namespace"], []),
            (
                {"kubeconfig": one, "clusterIdentifier": "x"},
                {"kubeconfig": two, "clusterIdentifier": "x"},
                ["kubeconfig"],
                [],
            ),
            (
                {"clusterIdentifier": "x"},
                {"clusterIdentifier": "y"},
                ["clusterIdentifier"],
                ["clusterIdentifier"],
            ),
        ],
    )
    def test_another_cluster_replaces_it(
        self, old: Any, new: Any, changed: list[str], replaces: list[str]
    ) -> None:
        assert changed_settings(old, new) == (changed, replaces)

    def test_strict_mode_wants_a_cluster_named(self) -> None:
        urn = "urn:pulumi:dev::p::pulumi:providers:kubernetes::default_4_32_0"
        failures = strict_mode_failures(urn, {"strictMode": "true", "context": "c"})
        assert [name for name, _reason in failures] == ["", "kubeconfig"]
        assert strict_mode_failures(urn, {}) == []


class TestKinds:
    """What is known of kinds."""

    @pytest.mark.parametrize(
        ("version", "kind", "scope"),
        [
            ("v1", "Namespace", False),
            ("v1", "Secret", True),
            ("apps/v1", "Deployment", True),
            ("apiextensions.k8s.io/v1", "CustomResourceDefinition", False),
            ("example.com/v1", "Deployment", None),
        ],
    )
    def test_scopes(self, version: str, kind: str, scope: bool | None) -> None:
        assert known_scope(version, kind) is scope

    def test_urns(self) -> None:
        urn = "urn:pulumi:s::p::a:b:C$kubernetes:core/v1:SecretPatch::x::y"
        assert kind_of_urn(urn) == ("v1", "SecretPatch")
        assert is_patch(urn, "Secret")
        assert not is_patch(urn, "SecretPatch")
        assert is_list("urn:pulumi:s::p::kubernetes:core/v1:SecretList::x")
        assert not is_list("urn:pulumi:s::p::kubernetes:example.com/v1:ThingList::x")
        with pytest.raises(ValueError, match="unrecognized"):
            kind_of_urn("urn:pulumi:s::p::kubernetes:Secret::x")
