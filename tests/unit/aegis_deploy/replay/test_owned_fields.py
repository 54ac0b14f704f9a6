"""What of a release a rollback leaves to control loops, and what the state says afterwards."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, cast

import pytest

from aegis_deploy.common.errors import AegisError
from aegis_deploy.common.signals import Signals
from aegis_deploy.drift.clusters import Clusters
from aegis_deploy.flows.context import FlowContext
from aegis_deploy.kubernetes.autoscalers import Autoscalers, parse
from aegis_deploy.kubernetes.client import ApiError, Cluster
from aegis_deploy.model.release import Release
from aegis_deploy.replay.model import Replay
from aegis_deploy.replay.owned_fields import (
    as_declared,
    declared,
    give_back,
    leaving,
    looked_at,
    recalled,
)
from aegis_deploy.replay.planning import plan
from aegis_deploy.stack.checkpoint import Checkpoint, outline, record
from aegis_deploy.stack.checkpoint import parse as parse_state
from tests.unit.aegis_deploy.common.test_console import _Streams
from tests.unit.aegis_deploy.kubernetes.test_autoscalers import hpa
from tests.unit.aegis_deploy.kubernetes.test_managed_fields import entry, scale
from tests.unit.aegis_deploy.stage import release
from tests.unit.aegis_deploy.states import made, thing, urn
from tests.unit.aegis_deploy.two_clusters import EAST, PATH, WEST, Stack, standing, there

DEPLOYMENT = "kubernetes:apps/v1:Deployment"
HPA = "kubernetes:autoscaling/v2:HorizontalPodAutoscaler"
WEB = urn(DEPLOYMENT, "web")
SCALED = Autoscalers({"shop": [parse(hpa())]})
UNSCALED = Autoscalers({"shop": []})
IMAGE = ("f:spec", "f:template", "f:spec", "f:containers", 'k:{"name":"web"}')


def web(
    replicas: int | None = 2, *, cpu: str = "10m", note: str | None = None, **more: Any
) -> dict[str, Any]:
    """A Deployment, as a state has it."""
    container = {"name": "web", "image": "a:1", "resources": {"requests": {"cpu": cpu}}}
    sidecar = {"name": "side", "image": "b:1"}
    spec: dict[str, Any] = {"template": {"spec": {"containers": [sidecar, container]}}}
    if replicas is not None:
        spec["replicas"] = replicas
    metadata: dict[str, Any] = {"name": "web", "namespace": "shop"}
    if note is not None:
        metadata["annotations"] = {"example.com/note": note}
    inputs = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": spec}
    found: dict[str, Any] = thing(DEPLOYMENT, "web", inputs, **more)
    found["outputs"] = {**copy.deepcopy(inputs), "__inputs": copy.deepcopy(inputs)}
    return found


def live(*entries: Mapping[str, Any], like: dict[str, Any] | None = None) -> dict[str, Any]:
    """The live object of one, with who owns what in it."""
    found: dict[str, Any] = copy.deepcopy((like or web(4))["inputs"])
    found["metadata"]["managedFields"] = list(entries)
    return found


def planned(
    target: Checkpoint,
    current: Checkpoint,
    there: dict[str, Any] | None,
    scaled: Autoscalers = UNSCALED,
) -> Replay:
    return leaving(plan(target, current), current, {WEB: there}, scaled)


def left(replay: Replay) -> list[str]:
    return [str(it).partition(": ")[2] for it in replay.owned]


def inputs(replay: Replay) -> Any:
    return next(it for it in replay.resources if it.urn == WEB).inputs


def ignored(replay: Replay) -> list[str]:
    found = next(it for it in replay.resources if it.urn == WEB)
    return list(found.options.get("ignoreChanges") or ())


BY_HPA = scale("kube-controller-manager")
BY_HAND = scale("kubectl")


class TestLeaving:
    """Which fields are registered as ignored, or with what is live."""

    def test_an_autoscalers_number_of_pods_is_not_sent(self) -> None:
        replay = planned(made(web()), made(web()), live(BY_HPA), SCALED)
        assert left(replay) == ["spec.replicas is for HorizontalPodAutoscaler h to decide"]
        assert ignored(replay) == ["spec.replicas"]
        assert inputs(replay)["spec"]["replicas"] == 2, "that it is ignored is enough"

    @pytest.mark.parametrize("by", [BY_HAND, entry("kubectl-edit", "f:spec", "f:replicas")])
    def test_a_persons_is_taken_over(self, by: dict[str, Any]) -> None:
        replay = planned(made(web()), made(web()), live(by))
        assert (left(replay), ignored(replay)) == ([], [])

    def test_where_only_the_present_release_says_it_nobody_sets_it_to_one(self) -> None:
        own = entry("pulumi-kubernetes-1a", "f:spec", "f:replicas")
        replay = planned(made(web(None)), made(web()), live(own), SCALED)
        assert ignored(replay) == ["spec.replicas"]
        assert not planned(made(web(None)), made(web(None)), live(own), SCALED).owned

    def test_in_an_item_of_a_list_the_live_value_is_sent(self) -> None:
        loop = entry("vpa-updater", *IMAGE, "f:resources", "f:requests", "f:cpu")
        there = live(loop, like=web(2, cpu="80m"))
        replay = planned(made(web()), made(web()), there)
        path = "spec.template.spec.containers[web].resources.requests.cpu"
        assert left(replay) == [f"{path} is for vpa-updater to decide"]
        assert ignored(replay) == []
        containers = inputs(replay)["spec"]["template"]["spec"]["containers"]
        assert containers[1]["resources"]["requests"]["cpu"] == "80m"

    def test_a_key_with_dots_is_quoted_and_what_was_ignored_stays_so(self) -> None:
        loop = entry("a-controller", "f:metadata", "f:annotations", "f:example.com/note")
        same: dict[str, Any] = {"ignoreChanges": ["spec.paused"]}
        before, now = (web(note=it, **same) for it in ("first", "second"))
        replay = planned(made(before), made(now), live(loop, like=now))
        assert ignored(replay) == ["spec.paused", 'metadata.annotations["example.com/note"]']

    def test_what_the_release_does_not_declare_is_none_of_its(self) -> None:
        loop = entry("a-controller", "f:metadata", "f:annotations", "f:example.com/note")
        replay = planned(made(web()), made(web()), live(loop, like=web(note="x")))
        assert replay.owned == ()

    def test_an_object_that_is_not_there_is_restored_as_it_was(self) -> None:
        replay = planned(made(web()), made(web()), None, SCALED)
        assert (replay.owned, ignored(replay)) == ((), [])

    def test_after_a_renaming_the_present_ones_inputs_count(self) -> None:
        new = web(2) | {"urn": urn(DEPLOYMENT, "renamed")}
        own = entry("pulumi-kubernetes-1a", "f:spec", "f:replicas")
        replay = planned(made(web(None)), made(new), live(own), SCALED)
        assert ignored(replay) == ["spec.replicas"]

    def test_nobody_is_asked_where_there_is_no_object(self) -> None:
        nothing = plan(made(), made())
        clusters = Clusters(cast("Any", None), ambient=lambda: pytest.fail("it was asked for"))
        assert looked_at(nothing, made(), clusters) is nothing


class TestAnAutoscalerThatGoes:
    """The number of pods is the release's again."""

    SCALER = thing(HPA, "h")

    def test_one_that_the_release_does_not_have_decides_no_more(self) -> None:
        replay = planned(made(web()), made(web(), self.SCALER), live(BY_HPA), SCALED)
        assert (replay.owned, ignored(replay)) == ((), [])
        assert [it.urn for it in replay.freed] == [WEB]

    def test_one_that_stays_does(self) -> None:
        both = made(web(), self.SCALER)
        replay = planned(both, both, live(BY_HPA), SCALED)
        assert (ignored(replay), replay.freed) == (["spec.replicas"], ())

    @pytest.mark.parametrize(
        ("there", "replicas", "changed"),
        [(4, 2, [{"spec": {"replicas": 2}}]), (2, 2, []), (4, None, [])],
    )
    def test_what_it_left_is_set_once_it_is_gone(
        self, there: int, replicas: int | None, changed: list[Any]
    ) -> None:
        api = Api(live(BY_HPA, like=web(there)))
        replay = planned(
            made(web(replicas)), made(web(replicas), self.SCALER), live(BY_HPA), SCALED
        )
        assert len(give_back(replay, lambda _: cast("Cluster", api))) == len(changed)
        assert api.changes == [
            ("/apis/apps/v1/namespaces/shop/deployments/web", it, "pulumi-kubernetes")
            for it in changed
        ]


class Api:
    """An API server with one Deployment."""

    def __init__(self, found: dict[str, Any]) -> None:
        self.found, self.changes = found, list[Any]()

    def get(self, path: str) -> dict[str, Any]:
        if path == "/apis/apps/v1":
            kind = {"kind": "Deployment", "name": "deployments", "namespaced": True}
            return {"resources": [kind]}
        return self.found

    def merge(self, path: str, change: dict[str, Any], *, manager: str) -> None:
        self.changes.append((path, change, manager))


class TestTheStateAfterwards:
    """It says what the release declared, as after its own deploy."""

    def after(self, *resources: dict[str, Any]) -> dict[str, Any]:
        return {"deployment": {"resources": list(resources)}}

    def test_it_has_the_number_that_was_declared_and_ignores_no_more_than_that(self) -> None:
        replay = planned(made(web()), made(web()), live(BY_HPA), SCALED)
        engines = web(4, ignoreChanges=["spec.replicas"])
        old = {**web(9), "delete": True}
        state = self.after(old, engines)
        assert as_declared(state, replay) == self.after(old, web(2))
        assert state == self.after(old, engines), "it is a copy"

    def test_what_is_encrypted_stays_as_it_is(self) -> None:
        replay = planned(made(web()), made(web()), live(BY_HPA), SCALED)
        hidden = web(4)
        envelope = {"4dabf18193072939515e22adb298388d": "x", "ciphertext": "v1:x"}
        hidden["inputs"]["spec"], hidden["outputs"]["__inputs"] = envelope, envelope
        changed = as_declared(self.after(hidden), replay)
        assert changed is not None
        (found,) = changed["deployment"]["resources"]
        assert found["inputs"]["spec"] == found["outputs"]["__inputs"] == envelope
        assert found["outputs"]["spec"]["replicas"] == 2

    def test_what_was_not_declared_is_not_in_the_inputs(self) -> None:
        replay = planned(made(web(None)), made(web()), live(BY_HPA), SCALED)
        changed = as_declared(self.after(web(4)), replay)
        assert changed is not None
        (found,) = changed["deployment"]["resources"]
        assert "replicas" not in found["inputs"]["spec"]
        assert "replicas" not in found["outputs"]["__inputs"]["spec"]
        assert found["outputs"]["spec"]["replicas"] == 4, "what is live is not unsaid"

    def test_a_state_that_says_so_already_is_left(self) -> None:
        replay = planned(made(web()), made(web()), live(BY_HPA), SCALED)
        assert as_declared(self.after(web(2)), replay) is None
        assert as_declared(self.after(), replay) is None


class TestARollbacksOwnRecord:
    """It has what the engine found where a loop decided; the first release has what it declared."""

    def test_the_number_is_that_of_the_release_that_was_restored(self) -> None:
        own = made(web(None, ignoreChanges=["spec.replicas"]))
        (found,) = (it for it in recalled(own, made(web())).resources if it.urn == WEB)
        assert record(found)["inputs"]["spec"]["replicas"] == 2
        assert not found.options["ignoreChanges"]

    def test_what_that_release_ignored_itself_is_as_recorded(self) -> None:
        both: dict[str, Any] = {"ignoreChanges": ["spec.replicas"]}
        own = made(web(4, **both))
        assert recalled(own, made(web(2, **both))) == own
        assert recalled(own, made()) == own

    def test_it_is_looked_for_through_rollbacks_of_rollbacks(self) -> None:
        releases = [
            release(3, restores=2),
            release(2, restores=1),
            release(1),
        ]
        loaded: list[int] = []

        def load(it: Release) -> Checkpoint:
            loaded.append(it.number)
            return made(web())

        own = made(web(None, ignoreChanges=["spec.replicas"]))
        found = declared(own, releases[0], releases, load)
        assert (found, loaded) == (recalled(own, made(web())), [1])

    @pytest.mark.parametrize("restores", [None, 9])
    def test_nothing_is_loaded_for_what_is_no_rollback_or_of_nothing_known(
        self, restores: int | None
    ) -> None:
        own = made(web(ignoreChanges=["spec.replicas"]))
        it = replace(release(2), restores=restores)
        never = cast("Any", lambda _: pytest.fail("it was loaded"))
        assert declared(own, it, [it], never) is own

    def test_nor_where_nothing_is_ignored(self) -> None:
        never = cast("Any", lambda _: pytest.fail("it was loaded"))
        releases = [release(2, restores=1), release(1)]
        own = made(web())
        assert declared(own, releases[0], releases, never) is own


class Session:
    """A stack whose state may be put, or not."""

    name = project = "s"
    backend_url = "https://api.example.com"

    def __init__(self, refuses: Exception | None = None) -> None:
        self.refuses, self.imported = refuses, list[Any]()

    def export(self) -> dict[str, Any]:
        return {"deployment": {"resources": [web(4)]}}

    def import_state(self, state: Any) -> None:
        if self.refuses is not None:
            raise self.refuses
        self.imported.append(state)


class TestTheFlows:
    """What cannot be looked at, or told, is a warning and no end."""

    REPLAY = planned(made(web()), made(web()), live(BY_HPA), SCALED)

    def flow(self, session: Session) -> tuple[FlowContext, _Streams]:
        it = _Streams()
        return FlowContext.of(cast("Any", session), it.out, Signals()), it

    def test_the_state_is_told_what_was_declared(self) -> None:
        session = Session()
        self.flow(session)[0].replay_runner._tell_declared(self.REPLAY)
        assert session.imported == [{"deployment": {"resources": [web(2)]}}]

    def test_a_state_that_may_not_be_put_is_a_warning(self) -> None:
        flow, it = self.flow(Session(AegisError(what="locked")))
        flow.replay_runner._tell_declared(self.REPLAY)
        assert "a preview may show fields that control loops own" in it.messages.getvalue()

    @pytest.mark.parametrize("error", [ApiError(0, "no answer"), AegisError(what="no kubeconfig")])
    def test_a_cluster_that_cannot_be_asked_is_a_warning(
        self, error: Exception, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        flow, it = self.flow(Session())

        def silent(_: str) -> Cluster:
            raise error

        monkeypatch.setattr(flow.clusters, "at", silent)
        replay = plan(made(web()), made(web()))
        assert flow.replay_planner._leaving(replay, made(web())) is replay
        assert "what control loops own is not known" in it.messages.getvalue()


@pytest.fixture
def stack(monkeypatch: pytest.MonkeyPatch) -> Stack:
    return standing(monkeypatch)


class TestTwoClusters:
    """What is restored is looked at where its provider leads."""

    def test_what_control_loops_own_is_theirs_in_their_cluster_alone(self, stack: Stack) -> None:
        raw = []
        for by in (EAST, WEST):
            it = web()
            name = by["urn"].rpartition("::")[2]
            it["urn"] = f"{it['urn']}-{name}"
            raw += [by, {**it, "provider": f"{by['urn']}::{by['id']}"}]
        stack.raw[:] = raw
        for name, api in stack.apis.items():
            number = {"east": 2, "west": 4}[name]
            it = there(raw[1])
            it["spec"]["replicas"] = number
            api.lists[PATH] = [it]
        scaler = hpa()
        path = "/apis/autoscaling/v2/namespaces/shop/horizontalpodautoscalers"
        stack.apis["west"].lists[path] = [scaler]
        now = parse_state({"resources": stack.session.resources()})
        stack.flow.clusters.learn(now.resources)
        found = looked_at(plan(now, now), now, stack.flow.clusters)
        assert [it.resource.urn.rpartition("-")[2] for it in found.owned] == ["west"]

    def test_an_autoscaler_that_goes_frees_nothing_in_the_other_cluster(self, stack: Stack) -> None:
        it = web()
        west = {**it, "provider": f"{WEST['urn']}::{WEST['id']}"}
        kind = "kubernetes:autoscaling/v2:HorizontalPodAutoscaler"
        scaler = hpa()
        named = {"metadata": {"name": scaler["metadata"]["name"], "namespace": "shop"}}
        goes = thing(kind, "scaler", named, provider=f"{EAST['urn']}::{EAST['id']}")
        stack.raw[:] = [EAST, WEST, west]
        target = parse_state({"resources": stack.session.resources()})
        stack.raw.append(goes)
        now = parse_state({"resources": stack.session.resources()})
        live = there(it)
        live["spec"]["replicas"] = 4
        stack.apis["west"].lists[PATH] = [live]
        path = "/apis/autoscaling/v2/namespaces/shop/horizontalpodautoscalers"
        stack.apis["west"].lists[path] = [scaler]
        stack.flow.clusters.see(stack.session.resources())
        planned = plan(target, now)
        assert [it.urn for it in planned.deletes] == [goes["urn"]]
        found = looked_at(planned, now, stack.flow.clusters)
        assert (len(found.owned), found.freed) == (1, ())

    def test_pods_are_given_back_in_the_cluster_of_what_is_freed(self, stack: Stack) -> None:
        it = web()
        freed = outline({**it, "provider": f"{WEST['urn']}::{WEST['id']}"})
        live = there(it)
        live["spec"]["replicas"] = 4
        stack.apis["west"].lists[PATH] = [live]
        stack.flow.clusters.see(stack.session.resources())
        replay = cast("Any", type("Replay", (), {"freed": (freed,)}))
        assert len(give_back(replay, stack.flow.clusters.at)) == 1
        assert stack.apis["west"].changed == [f'{PATH}/web {{"spec": {{"replicas": 2}}}}']
        assert stack.apis["east"].changed == []
