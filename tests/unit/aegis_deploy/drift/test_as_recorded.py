"""When a refresh can be spared: nothing is left to doubt."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import pytest

from aegis_deploy.common.errors import AegisError
from aegis_deploy.drift import live_objects
from aegis_deploy.drift.as_recorded import is_as_recorded, unchanged
from aegis_deploy.drift.live_objects import LiveObject
from aegis_deploy.kubernetes.client import ApiError
from aegis_deploy.model.signatures import SECRET, SIGNATURE
from aegis_deploy.stack.checkpoint import Checkpoint, Resource

LIVE: dict[str, Any] = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {
        "name": "web",
        "namespace": "shop",
        "uid": "u",
        "generation": 3,
        "resourceVersion": "30",
        "managedFields": [{"manager": "kube-controller-manager"}],
        "annotations": {"deployment.kubernetes.io/revision": "3"},
    },
    "spec": {"replicas": 2, "template": {"spec": {"containers": [{"image": "i"}]}}},
    "status": {"readyReplicas": 2},
}


def recorded(**more: Any) -> Resource:
    """The Deployment as its provider recorded it, before its rollout."""
    outputs = copy.deepcopy(LIVE)
    del outputs["metadata"]["annotations"]
    outputs["metadata"] |= {"generation": 2, "resourceVersion": "20", "managedFields": []}
    outputs |= {"status": {}, "__inputs": {"spec": {"replicas": 2}}, "__fieldManager": "m"}
    return Resource(
        **{
            "urn": "urn:pulumi:s::p::kubernetes:apps/v1:Deployment::web",
            "type": "kubernetes:apps/v1:Deployment",
            "custom": True,
            "id": "shop/web",
            "inputs": {"metadata": {"name": "web"}},
            "outputs": outputs,
            **more,
        }
    )


def live(change: Callable[[dict[str, Any]], object] = bool) -> dict[str, Any]:
    """The Deployment as it is live, with a change."""
    made = copy.deepcopy(LIVE)
    change(made)
    return made


def test_how_it_does_and_what_is_counted_of_it_is_no_change() -> None:
    item = recorded()
    assert unchanged([item], {item.urn: LIVE})


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda it: it["spec"].update(replicas=3), id="a field that was declared"),
        pytest.param(lambda it: it["spec"].update(paused=True), id="one that nobody declared"),
        pytest.param(lambda it: it["spec"].pop("replicas"), id="one that is gone"),
        pytest.param(lambda it: it["metadata"].update(labels={"a": "b"}), id="a label"),
        pytest.param(lambda it: it["metadata"]["annotations"].update(a="b"), id="an annotation"),
        pytest.param(lambda it: it["metadata"].update(uid="v"), id="another of its name"),
        pytest.param(
            lambda it: it["metadata"].update(deletionTimestamp="2026-01-01T00:00:00Z"),
            id="it is being deleted",
        ),
        pytest.param(lambda it: it.update(data={}), id="another part of it"),
    ],
)
def test_whatever_is_another_is_read_again(change: Callable[[dict[str, Any]], object]) -> None:
    item = recorded()
    assert not unchanged([item], {item.urn: live(change)})


def test_what_is_gone_or_may_not_be_read_is_read_again() -> None:
    item = recorded()
    assert not unchanged([item], {item.urn: None})
    assert not unchanged([item], {})


def test_one_that_did_not_come_up_is_read_again() -> None:
    item = recorded(options={"initErrors": ["it crashed"]})
    assert not unchanged([item], {item.urn: LIVE})


def test_a_secret_is_compared_by_what_is_in_it() -> None:
    thing = {"kind": "Secret", "metadata": {"uid": "u"}, "data": {"p": "cA=="}}
    closed = {SIGNATURE: SECRET, "plaintext": '{"p": "cA=="}'}
    item = recorded(outputs={**thing, "data": closed})
    assert unchanged([item], {item.urn: thing})
    assert not unchanged([item], {item.urn: {**thing, "data": {"p": "cQ=="}}})


class _Clusters:
    """One cluster, in which everything is as it is recorded."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error

    def of_resources(self, resources: list[Resource]) -> list[Any]:
        return [SimpleNamespace(connect=self._connect, items=resources)] if resources else []

    def _connect(self) -> object:
        if self.error is not None:
            raise self.error
        return object()


PROVIDER = Resource("urn:pulumi:s::p::pulumi:providers:kubernetes::c", "pulumi:providers:k", True)
GROUP = Resource("urn:pulumi:s::p::aegis:x:Group::g", "aegis:x:Group", False)
IMAGE = Resource("urn:pulumi:s::p::docker:index/image:Image::i", "docker:index/image:Image", True)


class TestAState:
    """All of it has to be told by the clusters."""

    @pytest.fixture(autouse=True)
    def found(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def read(_: object, resources: list[Resource]) -> Mapping[str, LiveObject]:
            return {it.urn: LiveObject("/a", LIVE) for it in resources}

        monkeypatch.setattr(live_objects, "read", read)

    def told(self, *resources: Resource, pending: int = 0, error: Exception | None = None) -> bool:
        state = Checkpoint(resources, pending)
        return is_as_recorded(state, cast("Any", _Clusters(error)))

    def test_objects_with_their_providers_and_groups(self) -> None:
        assert self.told(PROVIDER, GROUP, recorded())

    def test_what_only_its_provider_knows_is_read_by_that(self) -> None:
        assert not self.told(PROVIDER, recorded(), IMAGE)

    @pytest.mark.parametrize(
        "item",
        [
            recorded(options={"external": True}),
            recorded(delete=True),
            replace(recorded(), type="kubernetes:helm.sh/v3:Release"),
        ],
    )
    def test_so_is_what_is_no_object_of_this_stack_that_is_to_be_there(
        self, item: Resource
    ) -> None:
        assert not self.told(item)

    def test_what_was_begun_and_never_ended_is_settled_by_a_refresh(self) -> None:
        assert not self.told(recorded(), pending=1)

    @pytest.mark.parametrize("error", [ApiError(0, "silence"), AegisError(what="no way to it")])
    def test_a_cluster_that_does_not_answer_tells_nothing(self, error: Exception) -> None:
        assert not self.told(recorded(), error=error)

    def test_one_that_has_no_cluster_neither(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(_Clusters, "of_resources", lambda *_: [])
        assert not self.told(recorded())
