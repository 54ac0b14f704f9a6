"""What counts as drift, and who is named for it."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any, ClassVar

import pytest

from aegis_deploy.drift.detection import (
    ADDED,
    CHANGED,
    REMOVED,
    Drifted,
    FieldChange,
    compare,
    is_object,
    removal,
)
from aegis_deploy.kubernetes.managed_fields import Owners, written
from aegis_deploy.model.signatures import SECRET, SIGNATURE
from aegis_deploy.stack.checkpoint import Resource

TYPE = "kubernetes:apps/v1:Deployment"
PULUMI = "pulumi-kubernetes-1a2b3c4d"


def resource(inputs: Mapping[str, Any], kind: str = "Deployment", **options: Any) -> Resource:
    declared = {
        "apiVersion": "apps/v1",
        "kind": kind,
        "metadata": {"name": "api", "namespace": "shop"},
        **inputs,
    }
    return Resource(
        urn=f"urn:pulumi:s::p::kubernetes:apps/v1:{kind}::api",
        type=f"kubernetes:apps/v1:{kind}",
        custom=True,
        id="shop/api",
        inputs=declared,
        **options,
    )


def live(
    content: Mapping[str, Any], *owners: tuple[str, Mapping[str, Any]], kind: str = "Deployment"
) -> dict[str, Any]:
    """A live object, each owner with its `fieldsV1`, in the order of time."""
    return {
        "apiVersion": "apps/v1",
        "kind": kind,
        "metadata": {
            "name": "api",
            "namespace": "shop",
            "resourceVersion": "7",
            "managedFields": [
                {"manager": name, "time": f"2026-01-0{day}T00:00:00Z", "fieldsV1": fields}
                for day, (name, fields) in enumerate(owners, 1)
            ],
            **content.get("metadata", {}),
        },
        **{key: value for key, value in content.items() if key != "metadata"},
    }


def same(first: str, second: str) -> bool:
    return {first, second} == {"1", "1000m"}


def fields(declared: Resource, found: Mapping[str, Any] | None) -> tuple[FieldChange, ...]:
    drifted = compare(declared, found, same)
    return () if drifted is None else drifted.fields


def containers(**container: Any) -> dict[str, Any]:
    return {"spec": {"template": {"spec": {"containers": [{"name": "api", **container}]}}}}


IMAGE: dict[str, Any] = {
    "f:spec": {
        "f:template": {"f:spec": {"f:containers": {'k:{"name":"api"}': {".": {}, "f:image": {}}}}}
    }
}


class TestAChangedField:
    """A declared field whose live value is another."""

    def test_it_is_named_with_both_values_and_who_set_it(self) -> None:
        found = fields(
            resource(containers(image="a:1")),
            live(containers(image="a:2"), (PULUMI, IMAGE), ("kubectl-set", IMAGE)),
        )
        assert found == (
            FieldChange(
                "spec.template.spec.containers[api].image",
                CHANGED,
                "a:1",
                "a:2",
                "kubectl-set",
                "2026-01-02T00:00:00Z",
            ),
        )

    @pytest.mark.parametrize(
        ("declared", "there"),
        [
            (2.0, 2),
            ("1", "1000m"),
            (8000, "8000"),
            (True, True),
            ("x", "x"),
        ],
    )
    def test_the_same_in_another_notation_is_no_drift(self, declared: Any, there: Any) -> None:
        assert fields(resource({"spec": {"a": declared}}), live({"spec": {"a": there}})) == ()

    def test_what_pulumi_spells_with_underscores_is_the_clusters_with_dashes(self) -> None:
        spelled = {"x_kubernetes_int_or_string": True, "x_y": 1}
        there = {"x-kubernetes-int-or-string": True, "x_y": 1}
        declared = resource({"spec": {"versions": [{"name": "v1", "schema": {"a": spelled}}]}})
        versions = [{"name": "v1", "schema": {"a": there}}]
        assert fields(declared, live({"spec": {"versions": versions}})) == ()
        versions = [{"name": "v1", "schema": {"a": {**there, "x-kubernetes-int-or-string": False}}}]
        [found] = fields(declared, live({"spec": {"versions": versions}}))
        assert found.path == "spec.versions[v1].schema.a.x-kubernetes-int-or-string"

    @pytest.mark.parametrize(("declared", "there"), [(2, 3), ("a", "b"), (True, False), ("1", 2)])
    def test_another_value_is(self, declared: Any, there: Any) -> None:
        [found] = fields(resource({"spec": {"a": declared}}), live({"spec": {"a": there}}))
        assert (found.path, found.change) == ("spec.a", CHANGED)

    def test_an_autoscalers_replicas_are_its_own(self) -> None:
        scale: dict[str, Any] = {"f:spec": {"f:replicas": {}}}
        declared = resource({"spec": {"replicas": 2}})
        by_loop = live(
            {"spec": {"replicas": 5}}, (PULUMI, scale), ("kube-controller-manager", scale)
        )
        by_hand = live({"spec": {"replicas": 5}}, (PULUMI, scale), ("kubectl", scale))
        assert fields(declared, by_loop) == ()
        assert [it.by for it in fields(declared, by_hand)] == ["kubectl"]


class TestARemovedField:
    """A declared field that is not there."""

    def test_it_is_named(self) -> None:
        declared = resource(containers(env=[{"name": "A", "value": "1"}, {"name": "B"}]))
        [found] = fields(declared, live(containers(env=[{"name": "B"}]), ("kubectl-edit", {})))
        assert found.change == REMOVED
        assert found.path == "spec.template.spec.containers[api].env[A]"
        assert found.by == "kubectl-edit"

    @pytest.mark.parametrize("nothing", [None, "", 0, False, [], {}, {"a": None}])
    def test_what_says_nothing_may_be_dropped_by_the_server(self, nothing: Any) -> None:
        assert fields(resource({"spec": {"a": nothing}}), live({"spec": {}})) == ()


class TestAnAddedField:
    """A field that nobody declared."""

    LABEL: ClassVar[dict[str, Any]] = {"f:metadata": {"f:labels": {".": {}, "f:who": {}}}}

    def test_a_persons_is_drift(self) -> None:
        [found] = fields(
            resource({}),
            live({"metadata": {"labels": {"who": "me"}}}, ("kubectl-label", self.LABEL)),
        )
        assert (found.path, found.change, found.live) == ("metadata.labels.who", ADDED, "me")

    @pytest.mark.parametrize(
        "manager", [PULUMI, "kube-controller-manager", "kubelet", "cert-manager-controller"]
    )
    def test_a_control_loops_is_not(self, manager: str) -> None:
        there = live({"metadata": {"labels": {"who": "me"}}}, (manager, self.LABEL))
        assert fields(resource({}), there) == ()

    def test_one_that_says_what_is_declared_is_not(self) -> None:
        declared = resource({"metadata": {"name": "api", "labels": {"who": "me"}}})
        there = live({"metadata": {"labels": {"who": "me"}}}, ("kubectl-label", self.LABEL))
        assert fields(declared, there) == ()

    def test_a_whole_item_is_told_once(self) -> None:
        owned: dict[str, Any] = {
            "f:spec": {
                "f:template": {
                    "f:spec": {
                        "f:containers": {
                            'k:{"name":"api"}': {
                                "f:env": {
                                    'k:{"name":"HAND"}': {".": {}, "f:name": {}, "f:value": {}}
                                }
                            }
                        }
                    }
                }
            }
        }
        there = live(containers(env=[{"name": "HAND", "value": "made"}]), ("kubectl-set", owned))
        found = fields(resource(containers(image=None)), there)
        assert [it.path for it in found] == ["spec.template.spec.containers[api].env[HAND]"]


class TestAnObjectThatIsGone:
    """A declared object that is not there."""

    def test_it_is_drift(self) -> None:
        found = compare(resource({}), None, same)
        assert found is not None
        assert found.gone
        assert found.label == "Deployment shop/api"

    def test_a_job_that_goes_by_itself_is_not(self) -> None:
        declared = resource({"spec": {"ttlSecondsAfterFinished": 60}}, kind="Job")
        assert compare(declared, None, same) is None


class TestSecrets:
    """Values nobody may see."""

    def secret(self, value: str) -> Resource:
        wrapped = {SIGNATURE: SECRET, "value": value}
        return resource({"stringData": {"token": wrapped}}, kind="Secret")

    def test_the_same_value_in_base64_is_no_drift(self) -> None:
        data = base64.b64encode(b"s3cret").decode()
        assert fields(self.secret("s3cret"), live({"data": {"token": data}}, kind="Secret")) == ()

    def test_another_value_is_drift_and_neither_is_shown(self) -> None:
        data = base64.b64encode(b"0ther").decode()
        [found] = fields(self.secret("s3cret"), live({"data": {"token": data}}, kind="Secret"))
        shown = found.declared + found.live
        assert "another" in shown
        for hidden in ("s3cret", "0ther", data, base64.b64encode(b"s3cret").decode()):
            assert hidden not in shown

    def test_an_added_key_is_told_and_masked(self) -> None:
        owned: dict[str, Any] = {"f:data": {".": {}, "f:more": {}}}
        declared = resource({"data": {}}, kind="Secret")
        [found] = fields(
            declared, live({"data": {"more": "eA=="}}, ("kubectl", owned), kind="Secret")
        )
        assert (found.path, found.live) == ("data.more", "[secret]")


class TestTakingAwayWhatWasAdded:
    """The patch that removes what was added."""

    def drifted(self, there: Mapping[str, Any], *paths: tuple[str, ...]) -> Drifted:
        told = tuple(FieldChange(written(path), ADDED, where=path) for path in paths)
        return Drifted("Deployment", "shop", "api", "urn", fields=told, live=there)

    def test_items_of_a_list_go_from_its_end(self) -> None:
        there = live(containers(env=[{"name": name} for name in "ABC"]))
        where = ("spec", "template", "spec", "containers", "[api]", "env")
        patch = removal(self.drifted(there, (*where, "[A]"), (*where, "[C]")))
        at = "/spec/template/spec/containers/0/env"
        assert [it["path"] for it in patch] == [
            "/metadata/resourceVersion",
            f"{at}/2",
            f"{at}/0",
        ]

    def test_a_key_with_a_slash_is_escaped(self) -> None:
        there = live({"metadata": {"labels": {"a.b/c~d": "x"}}})
        patch = removal(self.drifted(there, ("metadata", "labels", "a.b/c~d")))
        assert patch[-1] == {"op": "remove", "path": "/metadata/labels/a.b~1c~0d"}

    def test_nothing_added_needs_no_patch(self) -> None:
        assert removal(Drifted("Deployment", "shop", "api", "urn", gone=True)) == []


class TestWhichResourcesAreObjects:
    """Resources that stand for one live object."""

    @pytest.mark.parametrize(
        ("kind", "expected"),
        [
            (TYPE, True),
            ("kubernetes:helm.sh/v3:Release", False),
            ("docker:index:Image", False),
            ("pulumi:providers:kubernetes", False),
        ],
    )
    def test_by_type(self, kind: str, expected: bool) -> None:
        made = Resource(urn=f"urn:pulumi:s::p::{kind}::a", type=kind, custom=True, id="n/a")
        assert is_object(made) is expected

    def test_what_is_only_read_or_waits_for_its_deletion_is_none(self) -> None:
        assert not is_object(resource({}, delete=True))
        assert not is_object(resource({}, options={"external": True}))


def test_who_only_wrote_the_status_owns_nothing() -> None:
    there = live({})
    there["metadata"]["managedFields"] = [
        {"manager": "kubectl", "subresource": "status", "fieldsV1": {"f:status": {"f:a": {}}}}
    ]
    assert Owners(there).managers == []
