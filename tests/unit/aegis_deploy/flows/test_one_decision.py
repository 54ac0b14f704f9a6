"""`aegis drift`, `aegis status`, the gate and a rollback say the same of the same situation."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, cast

import pytest

from aegis_deploy.common.errors import AegisError
from aegis_deploy.common.signals import Signals
from aegis_deploy.drift.clusters import Clusters
from aegis_deploy.drift.external_changes import hands
from aegis_deploy.flows.context import FlowContext
from aegis_deploy.flows.drift import drift_report
from aegis_deploy.flows.status import stack_status
from aegis_deploy.kubernetes.client import ApiError
from aegis_deploy.locking import lock_holders
from aegis_deploy.model.events import Step
from aegis_deploy.model.release import Release
from aegis_deploy.model.verdict import Verdict
from aegis_deploy.model.workloads.rollout import Workload
from aegis_deploy.operations.gate_runner import GateRunner
from aegis_deploy.replay.owned_fields import looked_at
from aegis_deploy.replay.planning import plan
from aegis_deploy.stack.checkpoint import Checkpoint, parse
from tests.unit.aegis_deploy.common.test_console import _Streams
from tests.unit.aegis_deploy.kubernetes.test_autoscalers import hpa
from tests.unit.aegis_deploy.kubernetes.test_managed_fields import entry, scale
from tests.unit.aegis_deploy.kubernetes.test_managed_fields import status as wrote_status
from tests.unit.aegis_deploy.replay.test_owned_fields import IMAGE, web
from tests.unit.aegis_deploy.stage import release
from tests.unit.aegis_deploy.states import state as made
from tests.unit.aegis_deploy.states import thing, urn

ELSEWHERE = "random:index/randomPet:RandomPet"
REPLICAS = "spec.replicas"
WEB = "spec.template.spec.containers[web]"
CPU, TAG = f"{WEB}.resources.requests.cpu", f"{WEB}.image"
NOTE, LABEL = "metadata.annotations.example.com/note", "metadata.labels.who"
KUBERNETES = "kube-controller-manager"


@dataclass
class Stand:
    """A stack of one Deployment, its cluster and whoever looks at it.

    Attributes:
        there: The live Deployment; None when it is gone.
        scalers: The autoscalers there are; None when nobody may look.
        raw: The stack's resources; None means the Deployment as it was declared.
        steps: What the engine finds of what is no object.
    """

    there: dict[str, Any] | None
    scalers: Sequence[dict[str, Any]] | None = ()
    raw: list[dict[str, Any]] | None = None
    steps: Sequence[Step] | Exception = ()
    name: str = "s"
    project: str = "p"
    asked: list[Any] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.streams = _Streams()
        self.state = made(*(self.raw or [web(note="mine")]))
        self.clusters = Clusters(cast("Any", self), ambient=lambda: cast("Any", self))
        flow = FlowContext.of(cast("Any", self), self.streams.out, Signals())
        planner = cast("Any", self)
        self.flow = replace(flow, clusters=self.clusters, replay_planner=planner)

    # The cluster

    def get(self, path: str) -> dict[str, Any]:
        if path == "/apis/apps/v1":
            kind = {"kind": "Deployment", "name": "deployments", "namespaced": True}
            return {"resources": [kind]}
        if path.endswith("/horizontalpodautoscalers"):
            if self.scalers is None:
                raise ApiError(403, "no")
            return {"items": list(self.scalers)}
        if self.there is None:
            raise ApiError(404, "no")
        return self.there

    # The stack

    @property
    def store(self) -> Any:
        return self

    def tags(self) -> Mapping[str, str]:
        return {}

    def count(self) -> int | None:
        return None

    def releases(self, _: int | None = None) -> list[Release]:
        return [release(1)]

    def checkpoint(self, _: Release) -> Mapping[str, Any]:
        return self.state

    def declared_in(self, _: Release) -> Checkpoint:
        return parse(self.state)

    def resources(self) -> list[Mapping[str, Any]]:
        return list(self.state["resources"])

    def drift(self, urns: Sequence[str]) -> tuple[Step, ...]:
        self.asked.append(list(urns))
        if isinstance(self.steps, Exception):
            raise self.steps
        return tuple(self.steps)

    # Who looks

    def by_drift(self) -> set[str]:
        found = drift_report.find_drift(self.flow)
        return {it.path for item in found.objects for it in item.fields} | {
            "gone" for item in found.objects if item.gone
        }

    def by_status(self) -> set[str]:
        found = stack_status._drift(self.flow, "", ())
        assert not found.unknown
        return {
            path
            for line in found.found
            for path in (line.partition("declared: ")[2].split(", ") if ": " in line else ["gone"])
        }

    def by_gate(self) -> set[str]:
        nobody = cast("Any", None)
        gate_runner = GateRunner(
            cast("Any", self),
            self.streams.out,
            self.clusters,
            takeover=nobody,
            recorder=nobody,
            signals=nobody,
        )
        passed = Verdict(passed=True, reason="good")
        verdict = gate_runner._compared(passed, [Workload(namespace="shop", name="web")])
        said = [*verdict.evidence, *self.streams.messages.getvalue().splitlines()]
        return {
            line.partition("Deployment web: ")[2].partition(" ")[0]
            for line in said
            if "Deployment web: " in line
        }

    def by_rollback(self) -> set[str]:
        now = parse(self.state)
        found = looked_at(plan(now, now), now, self.clusters)
        return {str(it).partition(": ")[2].partition(" is for ")[0] for it in found.owned}


def live(*entries: dict[str, Any], **change: Any) -> dict[str, Any]:
    """The Deployment as declared, but for what was changed, and who owns what of it."""
    found: dict[str, Any] = copy.deepcopy(web(note="mine")["inputs"])
    found["metadata"]["managedFields"] = list(entries)
    if "replicas" in change:
        found["spec"]["replicas"] = change["replicas"]
    container = found["spec"]["template"]["spec"]["containers"][1]
    if "cpu" in change:
        container["resources"]["requests"]["cpu"] = change["cpu"]
    if "image" in change:
        container["image"] = change["image"]
    if "note" in change:
        found["metadata"]["annotations"]["example.com/note"] = change["note"]
    if "label" in change:
        found["metadata"]["labels"] = {"who": change["label"]}
    return found


def image(manager: str) -> dict[str, Any]:
    return entry(manager, *IMAGE, "f:image")


def cpu(manager: str) -> dict[str, Any]:
    return entry(manager, *IMAGE, "f:resources", "f:requests", "f:cpu")


def note(manager: str) -> dict[str, Any]:
    return entry(manager, "f:metadata", "f:annotations", "f:example.com/note")


def label(manager: str) -> dict[str, Any]:
    return entry(manager, "f:metadata", "f:labels", "f:who")


SITUATIONS: dict[str, tuple[Stand, set[str], set[str]]] = {
    "nothing happened": (Stand(live()), set(), set()),
    "an autoscaler scaled": (
        Stand(live(scale(KUBERNETES), wrote_status(KUBERNETES), replicas=4), [hpa()]),
        set(),
        {REPLICAS},
    ),
    "an autoscaler that nobody may see scaled": (
        Stand(live(scale(KUBERNETES), wrote_status(KUBERNETES), replicas=4), None),
        set(),
        {REPLICAS},
    ),
    "an autoscaler is there and has not scaled": (Stand(live(), [hpa()]), set(), {REPLICAS}),
    "an autoscaler was deleted": (
        Stand(live(scale(KUBERNETES), wrote_status(KUBERNETES), replicas=4)),
        {REPLICAS},
        set(),
    ),
    "one without an object scaled": (Stand(live(scale("keda"), replicas=0)), set(), {REPLICAS}),
    "a person scaled": (Stand(live(scale("kubectl"), replicas=3)), {REPLICAS}, set()),
    "a person scaled beside an autoscaler": (
        Stand(live(scale("kubectl"), replicas=5), [hpa()]),
        set(),
        {REPLICAS},
    ),
    "a person switched an autoscaler off": (
        Stand(live(scale("kubectl"), replicas=0), [hpa()]),
        {REPLICAS},
        set(),
    ),
    "a person edited": (
        Stand(live(entry("kubectl-edit", "f:spec", "f:replicas"), replicas=3)),
        {REPLICAS},
        set(),
    ),
    "a recommender resized": (Stand(live(cpu("vpa-updater"), cpu="80m")), set(), {CPU}),
    "a person resized": (Stand(live(cpu("kubectl-set"), cpu="80m")), {CPU}, set()),
    "a person set the image": (Stand(live(image("kubectl-set"), image="a:2")), {TAG}, set()),
    "nobody knows who set the image": (Stand(live(image("x"), image="a:2")), {TAG}, set()),
    "a controller set the image": (Stand(live(image("a-controller"), image="a:2")), set(), {TAG}),
    "a controller wrote a note": (Stand(live(note("a-controller"), note="its")), set(), {NOTE}),
    "a controller added a label": (Stand(live(label("some-loop"), label="x")), set(), set()),
    "a person added a label": (Stand(live(label("kubectl-label"), label="x")), {LABEL}, set()),
    "it is gone": (Stand(None), {"gone"}, set()),
}


@pytest.mark.parametrize("name", SITUATIONS)
def test_all_who_look_agree(name: str) -> None:
    stand, drifted, left = SITUATIONS[name]
    assert stand.by_drift() == drifted
    assert stand.by_status() == drifted
    # The gate judges what pods are made of; notes and labels are nothing that runs.
    assert stand.by_gate() == {it for it in drifted if it.startswith("spec.")}
    assert stand.by_rollback() == left


def test_a_hand_that_made_the_update_fail_is_no_loops() -> None:
    pulumi = entry("pulumi-kubernetes", "f:spec", "f:x", time="2026-01-02T03:04:05Z")
    later = {"time": "2026-01-02T03:04:06Z"}
    assert hands(live(pulumi, image("kubectl-set") | later)) == [
        f"kubectl-set set {TAG} of Deployment web at 2026-01-02T03:04:06Z"
    ]
    assert hands(live(pulumi, cpu("some-loop") | later, image("a-controller") | later)) == []


class TestWhatIsNoObject:
    """The engine is asked, for that alone, and both commands say what it found."""

    STEP = Step("update", "u", ELSEWHERE, "pet", paths={"length": "update"})
    GONE = Step("delete", "u", ELSEWHERE, "pet")

    def stand(self, steps: Sequence[Step] | Exception) -> Stand:
        pet = {**thing(ELSEWHERE, "pet"), "provider": "urn::id"}
        return Stand(live(), raw=[web(note="mine"), pet], steps=steps)

    @pytest.mark.parametrize(("step", "said"), [(STEP, {"length"}), (GONE, {"gone"})])
    def test_what_changed_there_is_drift_too(self, step: Step, said: set[str]) -> None:
        stand = self.stand([step])
        assert stand.by_drift() == stand.by_status() == said
        assert stand.asked == [[urn(ELSEWHERE, "pet")]] * 2

    def test_where_it_cannot_be_compared_that_is_said(self) -> None:
        stand = self.stand(AegisError(what="no", why="no plugin"))
        found = drift_report.find_drift(stand.flow)
        assert (found.objects, found.unread) == ((), ("RandomPet pet",))
        shown = stack_status._drift(stand.flow, "", ())
        assert shown.lines()[-1].strip() == "not compared: RandomPet pet"

    def test_nobody_is_asked_where_all_are_objects(self) -> None:
        stand = Stand(live())
        stand.by_drift()
        assert stand.asked == []

    def test_a_field_without_values_is_told_by_its_path(self) -> None:
        lines = drift_report.find_drift(self.stand([self.STEP]).flow).lines()
        assert lines[-1] == "    ~ length"


class TestStatusWithoutAnAnswer:
    """It says why there is none."""

    def test_while_somebody_works_or_nobody_can_be_asked(self) -> None:
        flow = Stand(live()).flow
        assert stack_status._drift(flow, "no answer", ()).unknown == "the cluster was not asked"
        held = cast("Any", type("H", (), {"life": lock_holders.Life.HELD}))
        assert "somebody" in stack_status._drift(flow, "", [held]).unknown

    def test_where_nothing_was_deployed(self) -> None:
        stand = Stand(live())
        stand.releases = lambda _=None: []  # type: ignore[method-assign]
        assert "no succeeded release" in stack_status._drift(stand.flow, "", ()).unknown
