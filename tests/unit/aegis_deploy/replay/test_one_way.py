"""What of its own a release is not given back, and what is told of that."""

from __future__ import annotations

from typing import Any

import pytest

from aegis_deploy.common.errors import AegisError
from aegis_deploy.replay.choices import Choices
from aegis_deploy.replay.model import Replay
from aegis_deploy.replay.planning import plan
from aegis_deploy.stack.property_path import found, steps_of
from tests.unit.aegis_deploy.states import CONFIG_KIND, SECRET_KIND, made, secret, state, thing

CLAIM = "kubernetes:core/v1:PersistentVolumeClaim"
NAMESPACE = "kubernetes:core/v1:Namespace"
DEFINITION = "kubernetes:apiextensions.k8s.io/v1:CustomResourceDefinition"
STATEFUL = "kubernetes:apps/v1:StatefulSet"
LOSING = Choices(allow_data_loss=True)


def claim(size: str = "1Gi", *, hidden: bool = False, **spec: Any) -> Any:
    """A volume claim."""
    asked = {"resources": {"requests": {"storage": size}}, **spec}
    return thing(CLAIM, "data", {"spec": secret(asked) if hidden else asked})


def definition(*versions: str, stored: tuple[str, ...] = ()) -> Any:
    """A definition of a kind, stored in the last of its versions."""
    spec = {"versions": [{"name": it, "storage": it == versions[-1]} for it in versions]}
    outputs = {"status": {"storedVersions": list(stored)}}
    return thing(DEFINITION, "things", {"spec": spec}, outputs=outputs)


def registered(planned: Replay, path: str) -> Any:
    """What is registered at a path of the one resource."""
    return found(planned.resources[0].inputs, steps_of(path))


@pytest.mark.parametrize("hidden", [False, True])
@pytest.mark.parametrize("choices", [Choices(), LOSING])
def test_a_volume_that_grew_stays_as_large_as_it_is(choices: Choices, hidden: bool) -> None:
    before, now = claim("1Gi", hidden=hidden), claim("1536Mi", hidden=hidden)
    planned = plan(made(before), made(now), choices)
    planned.require()
    assert registered(planned, "spec.resources.requests.storage") == "1536Mi"
    (stay,) = planned.stays
    assert str(stay) == (
        "PersistentVolumeClaim data: 1536Mi as it is now: a volume does not shrink to 1Gi"
    )
    assert stay.own
    assert not stay.for_its_data
    assert planned.kept == frozenset(), "the release has it"


@pytest.mark.parametrize("size", ["1Gi", "1024Mi", "512Mi", "much"])
def test_one_that_did_not_grow_is_the_releases_own(size: str) -> None:
    planned = plan(made(claim("1Gi")), made(claim(size)))
    assert registered(planned, "spec.resources.requests.storage") == "1Gi"
    assert planned.stays == ()


def test_a_claim_that_would_be_replaced_stays_as_it_is_until_somebody_insists() -> None:
    before, now = claim(storageClassName="slow"), claim(storageClassName="fast")
    planned = plan(made(before), made(now))
    planned.require()
    assert planned.losses == ()
    assert registered(planned, "spec.storageClassName") == "fast"
    (stay,) = planned.stays
    assert stay.own
    assert stay.for_its_data
    assert "storageClassName cannot be changed in place" in stay.why
    insisting = plan(made(before), made(now), LOSING)
    assert insisting.stays == ()
    assert registered(insisting, "spec.storageClassName") == "slow"
    assert [it.what for it in insisting.losses] == ["the volume's data"]


def test_so_does_one_that_its_program_has_replaced() -> None:
    before = thing(CLAIM, "data", {"spec": {}}, replacementTrigger="1")
    now = thing(CLAIM, "data", {"spec": {}}, replacementTrigger="2")
    planned = plan(made(before), made(now))
    planned.require()
    assert planned.resources[0].options["replacementTrigger"] == "2"
    assert [it.own for it in planned.stays] == [True]


def test_a_claim_of_another_name_stays_in_the_cluster_beside_the_releases_own() -> None:
    named = {"metadata": {"name": "data-2", "namespace": "shop"}}
    before, now = thing(CLAIM, "data"), thing(CLAIM, "data", named)
    planned = plan(made(before), made(now))
    planned.require()
    assert registered(planned, "metadata.name") == "data"
    (stay,) = planned.stays
    assert stay.resource == "PersistentVolumeClaim data-2"
    assert "in the cluster alone" in stay.why
    assert planned.prepares
    given = {"deployment": state(now)}
    (marked,) = planned.prepare(given)["deployment"]["resources"][2:]
    assert marked == {**now, "retainOnDelete": True}
    assert given == {"deployment": state(now)}
    assert plan(made(before), made(now), LOSING).losses


def test_what_is_in_a_namespace_of_another_name_goes_and_the_namespace_stays() -> None:
    home, other = (thing(NAMESPACE, "home", {"metadata": {"name": it}}) for it in "ab")
    settings, moved = (
        thing(CONFIG_KIND, "web", {"metadata": {"name": "web", "namespace": it}}) for it in "ab"
    )
    planned = plan(made(home, settings), made(other, moved))
    planned.require()
    assert planned.retained == {home["urn"]}
    assert [it.resource for it in planned.stays] == ["Namespace b"]


@pytest.mark.parametrize(
    ("now", "names"),
    [
        (definition("v1", "v2"), ["v1", "v2"]),
        (definition("v2", "v1", stored=("v1", "v2")), ["v1", "v2"]),
        (definition("v2", "v1", stored=("v1",)), ["v1"]),
        (definition("v1"), ["v1"]),
    ],
)
def test_a_kind_keeps_the_versions_that_objects_are_stored_in(now: Any, names: list[str]) -> None:
    planned = plan(made(definition("v1")), made(now))
    planned.require()
    versions = registered(planned, "spec.versions")
    assert [it["name"] for it in versions] == names
    assert [it["name"] for it in versions if it["storage"]] == ["v1"]
    assert [it.own for it in planned.stays] == [True] * (len(names) - 1)


def test_what_is_protected_and_would_be_replaced_stays_as_it_is() -> None:
    options: dict[str, Any] = {"replaceOnChanges": ["metadata.labels"]}
    labelled = {"metadata": {"name": "keys", "namespace": "shop", "labels": {"a": "b"}}}
    before = thing(SECRET_KIND, "keys", {"data": {"k": secret("1")}}, **options)
    now = thing(SECRET_KIND, "keys", {**labelled, "data": {"k": secret("2")}}, protect=True)
    for choices in (Choices(), LOSING):
        planned = plan(made(before), made(now), choices)
        planned.require()
        assert registered(planned, "data.k") == "2"
        assert planned.secrets == (), "none gets its value back"
        assert [(it.own, it.protected) for it in planned.stays] == [(True, True)]


def test_what_runs_pods_is_the_releases_own_or_refused() -> None:
    keeping = {"persistentVolumeClaimRetentionPolicy": {"whenDeleted": "Delete"}}
    before, now = (
        thing(STATEFUL, "db", {"spec": {**keeping, "serviceName": it}}) for it in ("a", "b")
    )
    planned = plan(made(before), made(now))
    assert registered(planned, "spec.serviceName") == "a"
    with pytest.raises(AegisError, match="destroy data"):
        planned.require()
