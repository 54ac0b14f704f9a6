"""What was begun and never confirmed is settled in the state."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aegis_deploy.locking.state_repair import object_id, settle_operations
from tests.unit.aegis_deploy.made_backend import urn

CONFIG_MAP = "kubernetes:core/v1:ConfigMap"


def resource(name: str, **more: Any) -> dict[str, Any]:
    """A resource of a state."""
    return {
        "urn": urn(CONFIG_MAP, name),
        "type": CONFIG_MAP,
        "custom": True,
        "inputs": {"metadata": {"name": name, "namespace": "shop"}},
        **more,
    }


def operation(kind: str, name: str, **more: Any) -> dict[str, Any]:
    """A pending operation of a state."""
    return {"type": kind, "resource": resource(name, **more)}


class TestPendingOperations:
    """None is left, and none is forgotten that may have left an object behind."""

    def test_a_creation_is_entered_under_the_name_it_asked_for(self) -> None:
        repair = settle_operations(
            {
                "resources": [resource("a", id="shop/a")],
                "pending_operations": [operation("creating", "b")],
            }
        )
        assert [it.get("id") for it in repair.deployment["resources"]] == ["shop/a", "shop/b"]
        assert not any(it.get("delete") for it in repair.deployment["resources"])
        assert [str(it) for it in repair.confirmed] == ["creating b"]

    def test_a_replacement_that_was_begun_is_entered_as_one_to_delete(self) -> None:
        metadata = {"name": "a-new", "namespace": "shop"}
        repair = settle_operations(
            {
                "resources": [resource("a", id="shop/a-old")],
                "pending_operations": [operation("creating", "a", inputs={"metadata": metadata})],
            }
        )
        old, new = repair.deployment["resources"]
        assert (old["id"], old.get("delete")) == ("shop/a-old", None)
        assert (new["id"], new["delete"]) == ("shop/a-new", True)

    def test_a_replacement_of_which_half_was_done_is_left_to_the_refresh(self) -> None:
        half = resource("a", id="shop/a") | {"pendingReplacement": True}
        repair = settle_operations({"resources": [half]})
        assert repair.deployment["resources"] == [resource("a", id="shop/a")]
        assert [str(it) for it in repair.forgotten] == ["replacing a"]

    def test_a_creation_of_what_is_there_is_not_entered_twice(self) -> None:
        repair = settle_operations(
            {
                "resources": [resource("a", id="shop/a")],
                "pending_operations": [operation("creating", "a")],
            }
        )
        assert repair.deployment["resources"] == [resource("a", id="shop/a")]

    @pytest.mark.parametrize("kind", ["updating", "deleting", "reading", "importing"])
    def test_everything_else_is_left_to_the_refresh(self, kind: str) -> None:
        repair = settle_operations(
            {
                "resources": [resource("a", id="shop/a")],
                "pending_operations": [operation(kind, "a", id="shop/a")],
            }
        )
        assert repair.deployment["pending_operations"] == []
        assert repair.deployment["resources"] == [resource("a", id="shop/a")]
        assert [it.type for it in repair.forgotten] == [kind]

    def test_what_nobody_can_look_up_is_told(self) -> None:
        queue = operation("creating", "q", type="aws:sqs/queue:Queue")
        repair = settle_operations({"resources": [], "pending_operations": [queue]})
        assert [it.urn for it in repair.unknown] == [queue["resource"]["urn"]]
        assert repair.deployment["resources"] == []

    @given(
        st.lists(st.sampled_from("abcd"), unique=True),
        st.lists(
            st.tuples(
                st.sampled_from(["creating", "updating", "deleting"]), st.sampled_from("abcd")
            ),
            max_size=6,
        ),
    )
    def test_no_resource_is_lost_and_no_urn_lives_twice(
        self, there: list[str], begun: list[tuple[str, str]]
    ) -> None:
        before = [resource(name, id=f"shop/{name}") for name in there]
        operations = [operation(kind, name) for kind, name in begun]
        repair = settle_operations({"resources": before, "pending_operations": operations})
        after = repair.deployment["resources"]
        alive = [it["urn"] for it in after if not it.get("delete")]
        objects = [(it["urn"], it["id"]) for it in after]
        assert after[: len(before)] == before
        assert len(alive) == len(set(alive))
        assert len(objects) == len(set(objects))
        assert repair.deployment["pending_operations"] == []


@pytest.mark.parametrize(
    ("kind", "metadata", "name"),
    [
        ("kubernetes:core/v1:ConfigMap", {"name": "a", "namespace": "shop"}, "shop/a"),
        ("kubernetes:core/v1:ConfigMap", {"name": "a"}, "default/a"),
        ("kubernetes:core/v1:Namespace", {"name": "shop"}, "shop"),
        ("kubernetes:rbac.authorization.k8s.io/v1:ClusterRole", {"name": "r"}, "r"),
        ("kubernetes:certificates.k8s.io/v1:CertificateSigningRequest", {"name": "c"}, "c"),
        ("kubernetes:core/v1:ConfigMap", {}, None),
        ("kubernetes:core/v1:ConfigMap", None, None),
        ("kubernetes:core/v1:ConfigMap", {"name": {"secret": "?"}}, None),
        ("aws:s3/bucket:Bucket", {"name": "a"}, None),
    ],
)
def test_the_providers_name_of_an_object(
    kind: str, metadata: Mapping[str, Any] | None, name: str | None
) -> None:
    assert object_id({"type": kind, "inputs": {"metadata": metadata}}) == name


TENANT = "kubernetes:example.com/v1:Tenant"


def definition(scope: str, kind: str = "Tenant", group: str = "example.com") -> dict[str, Any]:
    """What defines a custom kind."""
    return {
        "urn": urn("kubernetes:apiextensions.k8s.io/v1:CustomResourceDefinition", kind),
        "type": "kubernetes:apiextensions.k8s.io/v1:CustomResourceDefinition",
        "custom": True,
        "id": f"{kind.lower()}s.{group}",
        "inputs": {"spec": {"group": group, "names": {"kind": kind}, "scope": scope}},
    }


class TestCustomKinds:
    """Whether one has a namespace, the state says, where it can."""

    def entered(self, *resources: dict[str, Any]) -> str:
        tenant = operation("creating", "t", type=TENANT, inputs={"metadata": {"name": "t"}})
        found = settle_operations({"resources": list(resources), "pending_operations": [tenant]})
        return str(found.deployment["resources"][-1]["id"])

    @pytest.mark.parametrize(("scope", "name"), [("Cluster", "t"), ("Namespaced", "default/t")])
    def test_its_definition_tells(self, scope: str, name: str) -> None:
        assert self.entered(definition(scope)) == name

    @pytest.mark.parametrize(
        "other", [{"kind": "Queue"}, {"group": "another.com"}], ids=lambda it: next(iter(it))
    )
    def test_that_of_another_tells_nothing(self, other: dict[str, str]) -> None:
        assert self.entered(definition("Cluster", **other)) == "default/t"

    @pytest.mark.parametrize(("there", "name"), [("s", "t"), ("shop/s", "default/t")])
    def test_another_object_of_it_tells(self, there: str, name: str) -> None:
        assert self.entered(resource("s", type=TENANT, id=there)) == name

    def test_one_that_names_a_namespace_is_in_it_whatever_another_is_called(self) -> None:
        begun = operation("creating", "t", type=TENANT)
        there = resource("s", type=TENANT, id="s")
        repair = settle_operations({"resources": [there], "pending_operations": [begun]})
        assert repair.deployment["resources"][-1]["id"] == "shop/t"

    def test_one_that_is_there_is_not_entered_as_another(self) -> None:
        there = resource("t", type=TENANT, id="t", inputs={"metadata": {"name": "t"}})
        begun = {"type": "creating", "resource": {k: v for k, v in there.items() if k != "id"}}
        repair = settle_operations({"resources": [there], "pending_operations": [begun]})
        assert repair.deployment["resources"] == [there]
