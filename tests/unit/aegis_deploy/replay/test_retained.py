"""What the release does not have, and is not deleted all the same."""

from __future__ import annotations

from typing import Any

import pytest

from aegis_deploy.model.signatures import is_secret
from aegis_deploy.replay.choices import Choices
from aegis_deploy.replay.edits.references import cut
from aegis_deploy.replay.model import Replay
from aegis_deploy.replay.planning import plan
from aegis_deploy.stack.checkpoint import plain
from tests.unit.aegis_deploy.states import (
    CONFIG_KIND,
    SECRET_KIND,
    STACK,
    made,
    secret,
    state,
    thing,
    urn,
)

CLAIM = "kubernetes:core/v1:PersistentVolumeClaim"
VOLUME = "kubernetes:core/v1:PersistentVolume"
NAMESPACE = "kubernetes:core/v1:Namespace"
DEFINITION = "kubernetes:apiextensions.k8s.io/v1:CustomResourceDefinition"
DEPLOYMENT = "kubernetes:apps/v1:Deployment"
LOSING = Choices(allow_data_loss=True)
STATEFUL = "kubernetes:apps/v1:StatefulSet"
PROVIDER = "pulumi:providers:kubernetes"
GROUP = "shop:a:Group"


def component(name: str, **more: Any) -> Any:
    """A component."""
    return {
        "urn": urn(GROUP, name),
        "type": GROUP,
        "custom": False,
        "parent": STACK,
        **more,
    }


def names(planned: Replay) -> list[str]:
    """What stays, as a person is told."""
    return [it.resource for it in planned.stays]


@pytest.mark.parametrize(
    ("kind", "inputs"),
    [
        (CLAIM, {}),
        (VOLUME, {}),
        (NAMESPACE, {}),
        (DEFINITION, {}),
        ("kubernetes:core/v1:PersistentVolumeClaimList", {"items": [{"spec": {}}]}),
        ("kubernetes:core/v1:List", {"items": [{"kind": "Namespace"}]}),
        ("kubernetes:helm.sh/v3:Release", {"resourceNames": {"PersistentVolumeClaim/v1": ["a"]}}),
        ("docker:index/registryImage:RegistryImage", {}),
    ],
)
def test_what_holds_data_stays_until_somebody_insists(kind: str, inputs: Any) -> None:
    data, web = thing(kind, "data", inputs), thing(CONFIG_KIND, "web")
    planned = plan(made(), made(data, web))
    planned.require()
    assert [it.urn for it in planned.stays] == [data["urn"]]
    assert planned.exclude == (data["urn"],)
    assert [it.urn for it in planned.deletes] == [web["urn"]]
    insisting = plan(made(), made(data, web), LOSING)
    assert insisting.stays == ()
    assert insisting.exclude == ()
    assert [it.urn for it in insisting.losses] == [data["urn"]]


@pytest.mark.parametrize(
    ("kind", "inputs"),
    [
        (CONFIG_KIND, {}),
        ("kubernetes:core/v1:PersistentVolumeClaimPatch", {}),
        ("kubernetes:core/v1:PersistentVolumeClaimList", {"items": []}),
        (STATEFUL, {}),
    ],
)
def test_what_holds_none_goes(kind: str, inputs: Any) -> None:
    planned = plan(made(), made(thing(kind, "web", inputs)))
    assert planned.stays == ()
    assert planned.exclude == ()
    assert len(planned.deletes) == 1


def test_what_is_protected_stays_even_when_somebody_insists() -> None:
    kept = thing(CONFIG_KIND, "kept", protect=True)
    planned = plan(made(), made(kept), LOSING)
    planned.require()
    assert names(planned) == ["ConfigMap kept"]
    assert planned.stays[0].protected


def test_what_stays_keeps_its_provider_its_parents_and_what_surrounds_it() -> None:
    cluster = thing(PROVIDER, "cluster", {"metadata": {"name": "x"}}, id="7", provider="")
    outer = component("outer")
    inner = component("inner", parent=outer["urn"])
    home = thing(NAMESPACE, "home", {"metadata": {"name": "shop"}})
    definition = thing(
        DEFINITION, "crd", {"spec": {"group": "shop.example.com", "names": {"kind": "Till"}}}
    )
    other = thing(DEFINITION, "other", {"spec": {"group": "x.example.com"}})
    till = thing(
        "kubernetes:shop.example.com/v1:Till",
        "till",
        protect=True,
        parent=inner["urn"],
        provider=f"{cluster['urn']}::7",
    )
    going = component("going")
    now = made(cluster, outer, inner, going, home, definition, other, till)
    planned = plan(made(), now, LOSING)
    kept = [cluster, outer, inner, home, definition, till]
    assert planned.kept == {it["urn"] for it in kept}
    assert names(planned) == ["Namespace shop", "CustomResourceDefinition crd", "Till till"]
    assert planned.stays[0].why == "Till till needs it"
    assert planned.going == {going["urn"], other["urn"]}


def test_a_volume_that_a_claim_is_bound_to_stays_with_it() -> None:
    volume = thing(VOLUME, "disk")
    claim = thing(CLAIM, "data", protect=True, dependencies=[volume["urn"]])
    planned = plan(made(), made(volume, claim), LOSING)
    assert names(planned) == ["PersistentVolume disk", "PersistentVolumeClaim data"]


def test_several_stay_at_once_and_the_rest_goes() -> None:
    there = [
        thing(NAMESPACE, "b"),
        thing(CLAIM, "one"),
        thing(CLAIM, "two"),
        thing(DEFINITION, "d"),
    ]
    planned = plan(made(), made(*there, thing(DEPLOYMENT, "web")))
    assert len(planned.stays) == 4
    assert [it.label for it in planned.deletes] == ["Deployment web"]


def test_what_stays_names_nothing_that_goes_once_the_state_is_prepared() -> None:
    settings, webhook = thing(CONFIG_KIND, "settings"), thing(CONFIG_KIND, "gone")
    stays = thing(CONFIG_KIND, "stays")
    claim = thing(
        CLAIM,
        "data",
        dependencies=[settings["urn"], stays["urn"]],
        propertyDependencies={"spec": [settings["urn"]], "metadata": None},
        replaceWith=[settings["urn"]],
    )
    now = state(stays, settings, webhook, claim)
    planned = plan(made(stays), made(stays, settings, webhook, claim))
    assert planned.prepares
    prepared = planned.prepare({"deployment": now})["deployment"]["resources"][-1]
    assert prepared["dependencies"] == [stays["urn"]]
    assert prepared["propertyDependencies"] == {"spec": [], "metadata": None}
    assert prepared["replaceWith"] == []
    assert claim["dependencies"] == [settings["urn"], stays["urn"]]


def test_what_stays_keeps_nothing_by_way_of_what_it_was_made_after() -> None:
    """The engine keeps what is excluded with all that it depends on, over any distance."""
    web = thing(CONFIG_KIND, "web")
    more = thing(CONFIG_KIND, "more", dependencies=[web["urn"]])
    base = thing(CONFIG_KIND, "base", dependencies=[more["urn"]])
    claim = thing(CLAIM, "data", dependencies=[base["urn"]])
    waits = thing(CONFIG_KIND, "base", dependencies=[more["urn"]], delete=True, id="shop/old")
    there = [web, more, base, waits, claim]
    planned = plan(made(thing(CONFIG_KIND, "base")), made(*there))
    prepared = planned.prepare({"deployment": state(*there)})["deployment"]["resources"][2:]
    assert [it.get("dependencies") for it in prepared] == [
        None,
        [web["urn"]],  # What goes goes in the right order.
        [],
        [more["urn"]],
        [base["urn"]],
    ]


def test_what_something_is_deleted_with_stays_for_its_sake() -> None:
    base = thing(CONFIG_KIND, "base")
    claim = thing(CLAIM, "data", deletedWith=base["urn"])
    planned = plan(made(), made(base, claim))
    assert planned.kept == {base["urn"], claim["urn"]}
    assert (
        "deletedWith"
        in planned.prepare({"deployment": state(base, claim)})["deployment"]["resources"][-1]
    )


def test_a_reference_is_taken_out_of_everything_when_nothing_may_have_it() -> None:
    changed = cut(
        {"deployment": state(thing(CONFIG_KIND, "a", deletedWith="x", dependencies=["x", "y"]))},
        {"x"},
    )
    found = changed["deployment"]["resources"][-1]
    assert "deletedWith" not in found
    assert found["dependencies"] == ["y"]


class TestPods:
    """What stays runs none: nobody is served by the release that goes."""

    @pytest.mark.parametrize("hidden", [False, True])
    def test_a_set_that_would_take_its_volumes_along_stays_without_pods(self, hidden: bool) -> None:
        spec = {
            "replicas": 3,
            "persistentVolumeClaimRetentionPolicy": {
                "whenDeleted": "Delete",
                "whenScaled": "Delete",
            },
        }
        db = thing(STATEFUL, "db", {"spec": secret(spec) if hidden else spec})
        planned = plan(made(), made(db))
        assert str(planned.stays[0]).endswith("it runs no pods")
        (registered,) = planned.resources
        assert is_secret(registered.inputs["spec"]) is hidden
        left = plain(registered.inputs["spec"])
        assert left["replicas"] == 0
        retention = left["persistentVolumeClaimRetentionPolicy"]
        assert retention == {"whenDeleted": "Delete", "whenScaled": "Retain"}
        assert planned.exclude == ()

    def test_its_parents_and_provider_are_registered_as_they_are_before_it(self) -> None:
        cluster = thing(PROVIDER, "cluster", {"metadata": {"name": "x"}}, id="7", provider="")
        group = component("group")
        settings = thing(CONFIG_KIND, "settings")
        web = thing(
            DEPLOYMENT,
            "web",
            {"spec": {"replicas": 2}},
            protect=True,
            parent=group["urn"],
            provider=f"{cluster['urn']}::7",
            dependencies=[settings["urn"]],
            ignoreChanges=["spec.replicas", "metadata.labels", "spec"],
        )
        planned = plan(made(), made(cluster, group, settings, web))
        assert [it.urn for it in planned.resources] == [it["urn"] for it in (cluster, group, web)]
        assert planned.exclude == tuple(sorted((cluster["urn"], group["urn"])))
        asleep = planned.resources[-1]
        assert asleep.dependencies == ()
        assert asleep.options["ignoreChanges"] == ["metadata.labels"]
        assert planned.deletes[0].label == "ConfigMap settings"

    def test_one_that_runs_none_is_left_alone(self) -> None:
        web = thing(DEPLOYMENT, "web", {"spec": {"replicas": 0}}, protect=True)
        planned = plan(made(), made(web))
        assert planned.resources == ()
        assert planned.exclude == (web["urn"],)


def test_a_secret_that_stays_is_not_said_to_go() -> None:
    hidden = thing(SECRET_KIND, "keys", {"stringData": secret({"a": "b"})}, protect=True)
    assert plan(made(), made(hidden)).secrets == ()
    assert plan(made(), made({**hidden, "protect": False})).secrets != ()


@pytest.mark.parametrize("insists", [False, True])
def test_data_that_took_the_place_of_what_is_taken_back_stays_in_the_cluster(insists: bool) -> None:
    old = thing(CLAIM, "data", {"metadata": {"name": "data-1", "namespace": "shop"}})
    new = thing(CLAIM, "data", {"metadata": {"name": "data-2", "namespace": "shop"}})
    there = [new, {**old, "delete": True}]
    planned = plan(made(old), made(*there), Choices(allow_data_loss=insists))
    planned.require()
    assert names(planned) == ([] if insists else ["PersistentVolumeClaim data-2"])
    prepared = planned.prepare({"deployment": state(*there)})["deployment"]["resources"]
    (waits,) = [it for it in prepared if it.get("delete")]
    assert waits["id"] == "shop/data-2"
    assert waits.get("retainOnDelete", False) is not insists
