"""Objects of one kind, namespace and name in two clusters: each is looked at where it is."""

from __future__ import annotations

import http.server
import json
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, cast

import pytest

from aegis_deploy.common.errors import AegisError
from aegis_deploy.common.signals import Signals
from aegis_deploy.drift import live_objects
from aegis_deploy.drift.external_changes import ALTERED, hands
from aegis_deploy.drift.forgotten import Forgotten, lacking
from aegis_deploy.flows import drift_fix, drift_report, stack_status
from aegis_deploy.flows.operations import Actions
from aegis_deploy.flows.status import Status
from aegis_deploy.gate.analysis import judge
from aegis_deploy.gate.routes import Routes
from aegis_deploy.kubernetes.client import ApiError, Cluster
from aegis_deploy.kubernetes.informer import Informer
from aegis_deploy.kubernetes.rollout_monitor import RolloutMonitor
from aegis_deploy.model.events import Changes, Event
from aegis_deploy.model.gate_settings import GateSettings
from aegis_deploy.model.rollout import Snapshot, Workload
from aegis_deploy.model.verdict import LOST, Verdict
from aegis_deploy.pods.pod_replacement import Replacement, concerned
from aegis_deploy.replay import owned_fields
from aegis_deploy.replay.planning import plan
from aegis_deploy.stack.checkpoint import outline, parse
from tests.unit.aegis_deploy.common.test_console import _Streams
from tests.unit.aegis_deploy.drift.test_clusters import DEPLOYMENT, preview, provider
from tests.unit.aegis_deploy.kubernetes.test_autoscalers import hpa
from tests.unit.aegis_deploy.kubernetes.test_managed_fields import entry
from tests.unit.aegis_deploy.kubernetes.test_rollout_failures import recorded
from tests.unit.aegis_deploy.replay.test_owned_fields import web as replicated
from tests.unit.aegis_deploy.sets import CRASHED, NEW, OLD, pod, stateful_set
from tests.unit.aegis_deploy.stage import release, step
from tests.unit.aegis_deploy.states import CONFIG_KIND, state, thing

GATE = GateSettings(bake_seconds=0)
PASSED = Verdict(passed=True, reason="good")
KINDS = {
    "/api/v1": {"ConfigMap": "configmaps", "Secret": "secrets"},
    "/apis/apps/v1": {"Deployment": "deployments", "StatefulSet": "statefulsets"},
}
PATH = "/apis/apps/v1/namespaces/shop/deployments"
CONFIGS = "/api/v1/namespaces/shop/configmaps"
NAMES = ("east", "west")
EAST, WEST = (provider(name, context=name, kubeconfig="{}\n") for name in NAMES)


@dataclass
class Api:
    """An API server with a few objects.

    Attributes:
        name: Whose it is, which its log lines say.
        lists: What it has, by the path of the list.
        silent: Whether it says nothing.
        asked: What was asked for.
        changed: What was changed or deleted.
    """

    name: str
    lists: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    silent: bool = False
    asked: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)
    address: str = "https://it"

    def get(self, path: str, query: Mapping[str, str] | None = None) -> dict[str, Any]:
        del query
        self.asked.append(path)
        if self.silent:
            raise ApiError(0, f"{self.name} does not answer")
        if path in KINDS:
            kinds = KINDS[path].items()
            found = [{"kind": kind, "name": name, "namespaced": True} for kind, name in kinds]
            return {"resources": found}
        if path == "/version":
            return {}
        place, _, name = path.rpartition("/")
        for it in self.lists.get(place, ()):
            if it["metadata"]["name"] == name:
                return it
        if (path.count("/") % 2 == 0 and not path.startswith("/apis")) or path.count("/") == 7:
            raise ApiError(404, "not found")
        return {"items": self.lists.get(path, []), "metadata": {"resourceVersion": "1"}}

    def answer(self, *_: object, **__: object) -> tuple[int, bytes]:
        if self.silent:
            raise ApiError(0, f"{self.name} does not answer")
        return 200, b""

    def watch(
        self, _: str, __: Mapping[str, str], ___: str, stop: threading.Event
    ) -> Iterator[tuple[str, Any]]:
        stop.wait()
        yield from ()

    def logs(self, *_: object, **__: object) -> str:
        return f"log of {self.name}"

    def events(self, *_: object) -> list[dict[str, Any]]:
        return []

    def patch(self, path: str, operations: list[dict[str, Any]]) -> None:
        self.changed.append(f"{path} {operations[-1]['op']} {operations[-1]['path']}")

    def merge(self, path: str, change: dict[str, Any], *, manager: str) -> None:
        del manager
        self.changed.append(f"{path} {json.dumps(change)}")

    def delete(self, path: str, *, uid: str) -> None:
        self.changed.append(f"{path} {uid}")


def place(it: Api, what: str) -> Api:
    """Put a Deployment `web` there with all that is of it, as it was recorded."""
    found = json.loads(json.dumps(recorded(what)).replace("team", "shop"))
    it.lists[PATH] = [found["deployment"]]
    it.lists["/apis/apps/v1/namespaces/shop/replicasets"] = found["replica_sets"]
    it.lists["/api/v1/namespaces/shop/pods"] = found["pods"]
    return it


def workload(cluster: str, **more: Any) -> Workload:
    """One called `web` in a cluster."""
    by = {"east": EAST, "west": WEST}[cluster]["urn"]
    return Workload(namespace="shop", name="web", cluster=cluster, provider=by, **more)


@pytest.fixture
def apis() -> dict[str, Api]:
    return {name: Api(name) for name in NAMES}


def at(apis: dict[str, Api]) -> Callable[[Workload], Cluster]:
    return lambda it: cast("Cluster", apis[it.cluster])


@pytest.fixture
def answering() -> Iterator[int]:
    """The port of somebody who answers whatever is asked on this machine."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Stay silent."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield server.server_port
        server.shutdown()


class TestTheGate:
    """It judges each where it is."""

    def test_what_fails_is_told_with_its_cluster_and_its_own_log(
        self, apis: dict[str, Api]
    ) -> None:
        place(apis["east"], "complete")
        place(apis["west"], "crash-loop")
        verdict = judge(at(apis), [workload("east"), workload("west")], GATE)
        assert not verdict.passed
        assert verdict.reason.endswith(" (provider west)")
        assert any("log of west" in line for line in verdict.evidence)
        assert "web (provider east): " in verdict.serving
        assert "web (provider west): " in verdict.serving

    def test_all_have_to_be_good(self, apis: dict[str, Api]) -> None:
        for it in apis.values():
            place(it, "complete")
        assert judge(at(apis), [workload("east"), workload("west")], GATE).passed

    def test_one_that_does_not_answer_is_no_pass(
        self, apis: dict[str, Api], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("aegis_deploy.gate.analysis._LOST_SECONDS", 0.3)
        place(apis["east"], "complete")
        place(apis["west"], "complete").silent = True
        verdict = judge(at(apis), [workload("east"), workload("west")], GATE)
        assert (verdict.passed, verdict.kind) == (False, LOST)
        assert "west does not answer (provider west)" in verdict.reason

    def test_probes_go_through_each_ones_own_api_server(
        self, apis: dict[str, Api], answering: int
    ) -> None:
        ports = [{"name": "http", "port": answering}]
        found = {
            "metadata": {"name": "web", "namespace": "shop"},
            # Each cluster may have given this address away, and here somebody answers at it.
            "spec": {"selector": {"a": "b"}, "ports": ports, "clusterIP": "127.0.0.1"},
        }
        labels = {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": []}}
        live = {"metadata": {}, "spec": {"replicas": 1, "template": labels}}
        for it in apis.values():
            it.lists["/api/v1/namespaces/shop/services"] = [found]

        class Copy:
            silent = 0.0

            def snapshot(self, _: Workload) -> Snapshot:
                return Snapshot(live=live)

        routes = Routes(
            at(apis),
            cast("Informer", Copy()),
            [workload("east"), workload("west")],
            "/readyz",
            on_silence=pytest.fail,
        )
        ways, why = routes.of_services()
        assert why == ""
        assert [it.name for it in ways] == ["through the API server"] * 2
        assert [cast("Any", it)._route._cluster.name for it in ways] == ["east", "west"]
        (alone,) = Routes(
            at(apis),
            cast("Informer", Copy()),
            [workload("east")],
            "/readyz",
            on_silence=pytest.fail,
        ).of_services()[0]
        assert alone.name == f"directly to http://127.0.0.1:{answering}"


def test_the_watch_of_an_update_sees_what_fails_in_either(apis: dict[str, Api]) -> None:
    place(apis["east"], "complete")
    place(apis["west"], "crash-loop")
    with RolloutMonitor(
        at(apis), [workload("east"), workload("west")], GATE, upcoming=False
    ) as watch:
        verdict = watch.wait(60)
    assert verdict is not None
    assert verdict.reason.endswith(" (provider west)")
    assert any("log of west" in line for line in verdict.evidence)


def test_the_pod_in_the_way_is_deleted_in_its_own_cluster(apis: dict[str, Api]) -> None:
    kind = "StatefulSet"
    both = [workload(name, kind=kind) for name in NAMES]
    pods: tuple[dict[str, Any], ...]
    for name, pods in (
        ("east", (pod("web-0"), pod("web-1"))),
        ("west", (pod("web-0"), pod("web-1", OLD, ready=False, state=CRASHED, restarts=1))),
    ):
        held = stateful_set(*pods)
        live = json.loads(json.dumps(held.live))
        live["metadata"]["name"] = "web"
        apis[name].lists["/apis/apps/v1/namespaces/shop/statefulsets"] = [live]
        apis[name].lists["/api/v1/namespaces/shop/pods"] = list(pods)
    assert NEW != OLD
    declared = {it: outline(_set(it.cluster)) for it in both}
    told: list[str] = []
    done = threading.Event()

    def tell(line: str) -> None:
        told.append(line)
        done.set()

    with Replacement(
        at(apis),
        concerned(declared),
        GATE,
        require=lambda: None,
        on_replaced=lambda _: None,
        tell=tell,
    ) as it:
        for resource in declared.values():
            begun = step("same", urn=resource.urn, type=resource.type)
            it.hear(Event("begins", step=begun, urn=resource.urn))
        assert done.wait(60)
    assert (apis["east"].changed, len(apis["west"].changed)) == ([], 1)
    assert apis["west"].changed[0].startswith("/api/v1/namespaces/shop/pods/web-1 ")
    assert told[0].startswith("replaced pod web-1 of StatefulSet web (provider west), ")


def _set(cluster: str) -> dict[str, Any]:
    it: dict[str, Any] = thing("kubernetes:apps/v1:StatefulSet", f"web-{cluster}")
    return it


# What looks at a whole stack


def config(by: dict[str, Any], value: str = "1", name: str = "settings") -> dict[str, Any]:
    """A ConfigMap of a provider's."""
    inputs = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": "shop"},
        "data": {"x": value},
    }
    urn = by["urn"].rpartition("::")[2]
    it: dict[str, Any] = thing(CONFIG_KIND, f"{name}-{urn}", inputs)
    return {**it, "id": f"shop/{name}", "provider": f"{by['urn']}::{by['id']}"}


def deployed(by: dict[str, Any], image: str = "web:1") -> dict[str, Any]:
    """A Deployment `web` of a provider's that reads a ConfigMap `settings`."""
    reads = [{"configMapRef": {"name": "settings"}}]
    pods = {"containers": [{"name": "web", "image": image, "envFrom": reads}]}
    inputs = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web", "namespace": "shop"},
        "spec": {"template": {"spec": pods}},
    }
    it: dict[str, Any] = thing(DEPLOYMENT, f"web-{by['urn'].rpartition('::')[2]}", inputs)
    return {**it, "id": "shop/web", "provider": f"{by['urn']}::{by['id']}", "outputs": inputs}


def there(resource: dict[str, Any], **metadata: Any) -> dict[str, Any]:
    """The live object that a resource declares."""
    it: dict[str, Any] = json.loads(json.dumps(resource["inputs"]))
    it["metadata"] |= {"uid": "u", "resourceVersion": "7", **metadata}
    return it


@dataclass
class Session:
    """A stack that is as its last release left it."""

    raw: list[dict[str, Any]]
    name: str = "s"
    project: str = "shop"
    directory: Any = None

    def resources(self) -> list[dict[str, Any]]:
        return list(state(*self.raw)["resources"])

    def export(self) -> dict[str, Any]:
        return {"deployment": {"resources": self.resources()}}

    def settings(self) -> dict[str, Any]:
        return {}


@dataclass
class Stack:
    """A stack in two clusters, and whoever looks at it."""

    apis: dict[str, Api]
    monkeypatch: pytest.MonkeyPatch
    raw: list[dict[str, Any]]
    connections: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        def connect(context: str | None = None, _: str | None = None) -> Cluster:
            self.connections.append(str(context))
            if context not in self.apis:
                raise AegisError(what="the cluster cannot be reached", why="no such context")
            return cast("Cluster", self.apis[context])

        def destination(context: str | None = None, *_: str | None) -> str:
            return str(context)

        self.monkeypatch.setattr("aegis_deploy.kubernetes.client.connect", connect)
        self.monkeypatch.setattr("aegis_deploy.kubernetes.client.destination", destination)
        self.streams = _Streams()
        self.session = Session(self.raw)
        self.actions = Actions(cast("Any", self.session), self.streams.out, Signals())
        made = cast("Any", self.actions)
        made.releases = lambda: [release(1)]
        made.declared_in = lambda _: parse({"resources": self.session.resources()})
        made._turn = self

    def require(self) -> None:
        """It is whose turn it was."""

    def drift(self) -> drift_report.DriftReport:
        return drift_report.inspect(self.actions, Forgotten())


@pytest.fixture
def stack(apis: dict[str, Api], monkeypatch: pytest.MonkeyPatch) -> Stack:
    raw = []
    for by, api in ((EAST, apis["east"]), (WEST, apis["west"])):
        raw += [by, config(by), deployed(by)]
        api.lists[CONFIGS] = [there(config(by))]
        api.lists[PATH] = [there(deployed(by))]
    return Stack(apis, monkeypatch, raw)


class TestDrift:
    """Each object is compared with the one in its own provider's cluster."""

    def test_there_is_none_where_each_is_as_declared(self, stack: Stack) -> None:
        found = stack.drift()
        assert (found.found, found.compared) == (False, 4)
        assert sorted(stack.connections) == ["east", "west"]

    def test_what_differs_is_told_with_its_cluster(self, stack: Stack) -> None:
        stack.apis["west"].lists[CONFIGS] = [there(config(WEST, "2"))]
        stack.apis["east"].lists[PATH] = []
        found = stack.drift()
        assert [it.label for it in found.objects] == [
            "Deployment shop/web (provider east)",
            "ConfigMap shop/settings (provider west)",
        ]
        assert [it["provider"] for it in found.as_json()["objects"]] == ["east", "west"]
        assert "ConfigMap shop/settings (provider west)" in found.markdown()

    def test_a_fix_goes_where_the_object_is(self, stack: Stack) -> None:
        fields = {"manager": "kubectl-label", "fieldsV1": {"f:metadata": {"f:labels": {"f:x": {}}}}}
        touched = there(config(WEST), labels={"x": "y"}, managedFields=[fields])
        stack.apis["west"].lists[CONFIGS] = [touched]
        (item,) = stack.drift().objects
        assert drift_fix._take_away(stack.actions, item, ())
        assert stack.apis["west"].changed == [f"{CONFIGS}/settings remove /metadata/labels/x"]
        assert stack.apis["east"].changed == []

    @pytest.mark.parametrize("how", ["silent", "no way"])
    def test_what_is_in_the_others_is_told_where_one_cannot_be_asked(
        self, stack: Stack, how: str
    ) -> None:
        stack.apis["east"].lists[CONFIGS] = [there(config(EAST, "2"))]
        if how == "silent":
            stack.apis["west"].silent = True
        else:
            del stack.apis["west"]
        found = stack.drift()
        assert [it.label for it in found.objects] == ["ConfigMap shop/settings (provider east)"]
        assert found.compared == 2
        (why,) = found.unreached
        assert "provider west" in why
        assert any(line.endswith(why) for line in found.lines())
        assert "provider west" in found.markdown()
        assert found.as_json()["unreached"] == [why]
        with pytest.raises(AegisError, match="not all of s"):
            drift_report.require_all(found)

    def test_no_drift_is_not_said_of_what_was_not_seen(self, stack: Stack) -> None:
        stack.apis["west"].silent = True
        found = stack.drift()
        assert (
            found.lines()[0] == "s: no drift in what could be compared; 2 objects are as declared"
        )
        assert "no drift in what could be compared" in found.markdown()

    def test_where_none_can_be_asked_each_is_named(self, stack: Stack) -> None:
        for it in stack.apis.values():
            it.silent = True
        with pytest.raises(AegisError) as refused:
            stack.drift()
        assert "provider east: " in refused.value.why
        assert "provider west: " in refused.value.why

    def test_what_is_written_to_files_is_not_looked_for(self, stack: Stack) -> None:
        files = provider("files", renderYamlToDirectory="out")
        stack.raw += [files, config(files), deployed(files)]
        assert stack.drift().compared == 4


class TestStatus:
    """What runs is told of each cluster."""

    def look(self, stack: Stack, *, compared: bool = False) -> Status:
        stack.monkeypatch.setattr(
            "aegis_deploy.history.stack_history.legible", lambda _: ([], None)
        )
        stack.monkeypatch.setattr("aegis_deploy.locking.lock_holders.holders", lambda _: ())
        stack.monkeypatch.setattr(stack_status, "_forgotten", lambda *_: Forgotten())
        return stack_status.inspect(stack.actions, drift=compared)

    def test_each_is_told_where_it_is(self, stack: Stack) -> None:
        for it, what in (("east", "complete"), ("west", "crash-loop")):
            place(stack.apis[it], what)
        found = self.look(stack)
        said = {it["provider"]: it["complete"] for it in found.as_json()["workloads"]}
        assert said == {"east": True, "west": False}
        text = "\n".join(found.lines())
        assert "shop/web (provider east): rollout complete" in text
        assert "shop/web (provider west): rollout in progress" in text

    @pytest.mark.parametrize("how", ["silent", "no way"])
    def test_one_that_cannot_be_asked_is_named_and_the_others_are_told(
        self, stack: Stack, how: str
    ) -> None:
        place(stack.apis["east"], "complete")
        if how == "silent":
            stack.apis["west"].silent = True
        else:
            del stack.apis["west"]
        found = self.look(stack, compared=True)
        assert [it.workload.cluster for it in found.live] == ["east"]
        assert "provider west" in found.unreachable
        assert not found.healthy
        (why,) = found.drift.unreached
        assert f"    not compared: {why}" in found.lines()
        assert "provider west" in why
        assert "provider west" in found.as_json()["drift"]["unknown"]


class TestJudging:
    """What a gate let pass is held to what is in each cluster."""

    def compared(self, stack: Stack) -> Verdict:
        found = stack.actions.workloads()
        assert [it.cluster for it in found] == ["east", "west"]
        return stack.actions._judging._compared(PASSED, found)

    def test_what_is_as_declared_passes(self, stack: Stack) -> None:
        assert self.compared(stack) == PASSED

    def test_an_image_that_somebody_set_in_one_is_found_there(self, stack: Stack) -> None:
        by = [entry("kubectl-set", "f:spec", "f:template", "f:spec", "f:containers")]
        other = there(deployed(WEST, "web:2"), managedFields=by)
        other["metadata"]["managedFields"][0]["fieldsV1"] = {
            "f:spec": {
                "f:template": {"f:spec": {"f:containers": {'k:{"name":"web"}': {"f:image": {}}}}}
            }
        }
        stack.apis["west"].lists[PATH] = [other]
        verdict = self.compared(stack)
        assert verdict.kind == ALTERED
        (line,) = verdict.evidence
        assert "web:2" in line
        assert line.endswith(" (provider west)")

    def test_what_pods_read_is_looked_for_in_their_own_cluster(self, stack: Stack) -> None:
        stack.apis["west"].lists[CONFIGS] = []
        verdict = self.compared(stack)
        assert (verdict.kind, "ConfigMap settings" in verdict.reason) == (ALTERED, True)

    def test_what_only_the_other_cluster_declares_is_not_missed(self, stack: Stack) -> None:
        stack.raw[:] = [it for it in stack.raw if it["urn"] != config(WEST)["urn"]]
        stack.apis["west"].lists[CONFIGS] = []
        assert self.compared(stack) == PASSED

    def test_what_is_being_deleted_is_told_with_its_cluster(self, stack: Stack) -> None:
        going = there(config(WEST), deletionTimestamp="2026-01-02T03:04:05Z")
        stack.apis["west"].lists[CONFIGS] = [going]
        stack.apis["east"].lists[CONFIGS] = []
        stack.monkeypatch.setattr("aegis_deploy.flows.gate_runner._GOING_SECONDS", 0.0)
        found = stack.actions._judging.standing()
        assert found.going == (
            "ConfigMap shop/settings is being deleted since 2026-01-02T03:04:05Z (provider west)",
        )
        assert found.gone == ("ConfigMap shop/settings (provider east)",)

    def test_a_cluster_that_is_silent_leaves_the_others_looked_at(self, stack: Stack) -> None:
        stack.apis["east"].lists[CONFIGS] = []
        stack.apis["west"].silent = True
        found = stack.actions._judging.standing()
        assert found.gone == ("ConfigMap shop/settings (provider east)",)
        assert found.unknown == ("provider west: west does not answer",)
        stack.actions.require_standing()
        assert "provider west: west does not answer" in stack.streams.messages.getvalue()

    def test_no_cluster_at_all_is_an_error(self, stack: Stack) -> None:
        for it in stack.apis.values():
            it.silent = True
        with pytest.raises(ApiError):
            stack.actions._judging.standing()

    @pytest.mark.parametrize("dry", [True, False])
    def test_where_there_is_no_way_to_one_nothing_passes(self, stack: Stack, dry: bool) -> None:
        del stack.apis["west"]
        cast("Any", stack).unjudged = True
        judging = stack.actions._judging
        judging._turn = cast("Any", stack)
        found = stack.actions.workloads()
        if dry:
            with pytest.raises(AegisError) as refused:
                judging.judge(found, GATE, lambda _: None, dry=True)
            assert "(provider west)" in refused.value.what
            return
        verdict = judging.judge(found, GATE, lambda _: None)
        assert (verdict.passed, verdict.kind) == (False, LOST)
        assert "(provider west)" in verdict.reason
        assert cast("Any", stack).unjudged, "it is yet to be judged"

    def test_hands_are_seen_in_each_that_answers(self, stack: Stack) -> None:
        pulumi = entry("pulumi-kubernetes", "f:spec", "f:x", time="2026-01-02T03:04:05Z")
        person = entry("kubectl-edit", "f:spec", "f:replicas", time="2026-01-02T03:04:06Z")
        changed = there(deployed(WEST), managedFields=[pulumi, person])
        stack.apis["west"].lists[PATH] = [changed]
        stack.apis["east"].silent = True
        assert hands(changed)
        ran = cast("Any", type("Ran", (), {"outcome": None, "silent": 0.0}))
        said = stack.actions.interference(stack.actions.workloads(), ran, None)
        assert said is not None
        assert said.endswith(" (provider west)")

    def test_what_is_written_to_files_is_said_not_to_be_judged(self, stack: Stack) -> None:
        files = provider("files", renderYamlToDirectory="out")
        stack.raw[:] = [files, deployed(files)]
        found = stack.actions.workloads()
        verdict = stack.actions._judging.judge(found, GATE, lambda _: None)
        assert "Deployment web-files: its provider writes it to a file" in verdict.notes
        assert stack.connections == []


class TestAnUpdate:
    """What is watched is where it will be."""

    def changes(self, *resources: dict[str, Any], op: str = "same") -> Changes:
        return Changes(tuple(preview(*resources, op=op)), {}, ())

    def test_every_cluster_has_to_answer(self, stack: Stack) -> None:
        stack.actions.to_watch(self.changes(*stack.raw))
        stack.actions.require_cluster()
        assert [it.asked.count("/version") for it in stack.apis.values()] == [1, 1]
        stack.apis["west"].silent = True
        with pytest.raises(AegisError) as refused:
            stack.actions.require_cluster()
        assert "s (provider west)" in refused.value.what

    def test_each_is_watched_once(self, stack: Stack) -> None:
        found = stack.actions.to_watch(self.changes(*stack.raw))
        assert list(map(str, found)) == [
            "shop/web (provider east)",
            "shop/web (provider west)",
        ]

    def test_a_cluster_that_is_left_is_not_waited_for(self, stack: Stack) -> None:
        stay = [it for it in stack.raw if it["urn"].endswith("east")]
        found = stack.actions.to_watch(self.changes(*stay))
        assert [it.provider for it in found] == [EAST["urn"]]
        stack.apis["west"].silent = True
        stack.actions.require_cluster()

    def test_one_that_only_the_update_can_know_is_told(self, stack: Stack) -> None:
        hidden = provider("new", kubeconfig="[secret]")
        found = stack.actions.to_watch(self.changes(*stack.raw, hidden, deployed(hidden), op="x"))
        assert len(found) == 2
        assert "how provider new connects is known only once" in stack.streams.messages.getvalue()


class TestAReplay:
    """What is restored is looked at where its provider leads."""

    def test_what_control_loops_own_is_theirs_in_their_cluster_alone(self, stack: Stack) -> None:
        raw = []
        for by in (EAST, WEST):
            it = replicated()
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
        now = parse({"resources": stack.session.resources()})
        stack.actions.clusters.learn(now.resources)
        found = owned_fields.looked_at(plan(now, now), now, stack.actions.clusters)
        assert [it.resource.urn.rpartition("-")[2] for it in found.owned] == ["west"]

    def test_an_autoscaler_that_goes_frees_nothing_in_the_other_cluster(self, stack: Stack) -> None:
        it = replicated()
        west = {**it, "provider": f"{WEST['urn']}::{WEST['id']}"}
        kind = "kubernetes:autoscaling/v2:HorizontalPodAutoscaler"
        scaler = hpa()
        named = {"metadata": {"name": scaler["metadata"]["name"], "namespace": "shop"}}
        goes = thing(kind, "scaler", named, provider=f"{EAST['urn']}::{EAST['id']}")
        stack.raw[:] = [EAST, WEST, west]
        target = parse({"resources": stack.session.resources()})
        stack.raw.append(goes)
        now = parse({"resources": stack.session.resources()})
        live = there(it)
        live["spec"]["replicas"] = 4
        stack.apis["west"].lists[PATH] = [live]
        path = "/apis/autoscaling/v2/namespaces/shop/horizontalpodautoscalers"
        stack.apis["west"].lists[path] = [scaler]
        stack.actions.clusters.see(stack.session.resources())
        planned = plan(target, now)
        assert [it.urn for it in planned.deletes] == [goes["urn"]]
        found = owned_fields.looked_at(planned, now, stack.actions.clusters)
        assert (len(found.owned), found.freed) == (1, ())

    def test_its_workloads_are_told_apart(self, stack: Stack) -> None:
        now = parse({"resources": stack.session.resources()})
        planned = plan(now, now)
        stack.actions.clusters.learn(planned.resources)
        names = {it: stack.actions.clusters.place(it) for it in (EAST["urn"], WEST["urn"])}
        assert [it.cluster for it in replace(planned, places=names).declared] == ["east", "west"]
        files = {EAST["urn"]: None, WEST["urn"]: ""}
        assert [it.cluster for it in replace(planned, places=files).workloads] == [""]

    def test_pods_are_given_back_in_the_cluster_of_what_is_freed(self, stack: Stack) -> None:
        it = replicated()
        freed = outline({**it, "provider": f"{WEST['urn']}::{WEST['id']}"})
        live = there(it)
        live["spec"]["replicas"] = 4
        stack.apis["west"].lists[PATH] = [live]
        stack.actions.clusters.see(stack.session.resources())
        replay = cast("Any", type("Replay", (), {"freed": (freed,)}))
        assert len(owned_fields.give_back(replay, stack.actions.clusters.at)) == 1
        assert stack.apis["west"].changed == [f'{PATH}/web {{"spec": {{"replicas": 2}}}}']
        assert stack.apis["east"].changed == []


def test_what_one_cluster_lost_is_not_made_up_for_by_its_namesake() -> None:
    both = [EAST, WEST, config(EAST), config(WEST)]
    assert [it.provider_urn for it in lacking(both, both[:3])] == [WEST["urn"]]
    renamed = [{**config(EAST), "urn": "another"}, *both[:2], both[3]]
    assert lacking(both, renamed) == []


def test_objects_that_are_only_read_once_are_asked_of_their_own_cluster(
    apis: dict[str, Api],
) -> None:
    for name, api in apis.items():
        api.lists[PATH] = [{"metadata": {"name": "web", "uid": name}}]
    both = [workload("east"), workload("west")]
    found = live_objects.of_workloads(at(apis), both)
    assert [found[it]["metadata"]["uid"] for it in both] == ["east", "west"]
