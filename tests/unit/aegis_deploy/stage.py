# ruff: noqa: ARG002 - a fake takes everything the real one takes
"""A stack in memory for the flows: it says what it was told to, and rejects what it was not."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from io import StringIO
from pathlib import Path
from typing import Any, cast

from aegis_deploy.common.console import Output
from aegis_deploy.common.errors import AegisError
from aegis_deploy.drift.clusters import Clusters
from aegis_deploy.drift.live_objects import Standing
from aegis_deploy.flows.context import FlowContext
from aegis_deploy.history import schema_store, verification_store
from aegis_deploy.history.verification_store import REFUSED, VERIFIED, verified_after
from aegis_deploy.kubernetes.client import ApiError
from aegis_deploy.model.database.schema import HEAD, LEAST, CodeSchema, DatabaseSchema
from aegis_deploy.model.events import Changes, Outcome, Step
from aegis_deploy.model.fingerprint import declared_by_steps
from aegis_deploy.model.gate_settings import GateSettings
from aegis_deploy.model.release import ConfigValue, Release
from aegis_deploy.model.verdict import UNTOLD, Verdict
from aegis_deploy.model.workloads.rollout import Workload
from aegis_deploy.operations.schema_reader import SchemaReader
from aegis_deploy.operations.update_runner import Ran
from aegis_deploy.registry.image_registry import Presence
from aegis_deploy.replay.choices import NONE, Choices
from aegis_deploy.replay.ordering import First
from aegis_deploy.report.recorder import Recorder
from aegis_deploy.stack.checkpoint import Resource

DEPLOYMENT = "kubernetes:apps/v1:Deployment"
START = datetime(2026, 1, 2, 3, 4, tzinfo=UTC)
GOOD = "registry:5000/a@sha256:" + "a" * 64
BAD = "registry:5000/a@sha256:" + "b" * 64
PASSED = Verdict(passed=True, reason="good")
FAILED = Verdict(passed=False, reason="answers 500", kind="success-ratio", serving="the new one")
CRASHED = Verdict(
    passed=False,
    reason="CrashLoopBackOff of a-1",
    kind="crash",
    evidence=("ValueError: boom",),
    serving="the release before still serves",
)


def release(number: int, **changes: Any) -> Release:
    """A succeeded update."""
    made = Release(
        number=number,
        key=str(1000 + number),
        kind="update",
        result="succeeded",
        started=START,
        config={"a:logLevel": ConfigValue("info")},
    )
    return replace(made, **changes)


def step(op: str = "update", image: str = BAD, **changes: Any) -> Step:
    """A step of the one Deployment."""
    made = Step(
        op=op,
        urn="urn:pulumi:s::p::" + DEPLOYMENT + "::a",
        type=DEPLOYMENT,
        name="a",
        diffs=("spec",),
        namespace="n",
        object="a",
        images=(image,),
    )
    return replace(made, **changes)


def outcome(succeeded: bool = True, *, steps: Sequence[Step] = (), **changes: Any) -> Outcome:
    """What an update came to."""
    made = Outcome(succeeded=succeeded, started=START, duration=1.5, steps=tuple(steps))
    return replace(made, **changes)


@dataclass
class Replayed:
    """Stands in for a replay."""

    secrets: tuple[Any, ...] = ()
    losses: tuple[Any, ...] = ()
    reruns: tuple[Any, ...] = ()
    left: tuple[str, ...] = ()
    adopted: tuple[str, ...] = ()
    altered: tuple[str, ...] = ()
    foreign: tuple[str, ...] = ()
    unjudged: tuple[str, ...] = ()
    connections: None = None
    owned: tuple[Any, ...] = ()
    pending: int = 0
    refuses: Exception | None = None
    stays: tuple[Any, ...] = ()
    kept: frozenset[str] = frozenset()
    first: First = field(default_factory=First)
    edits: tuple[str, ...] = ()
    deletes: tuple[Any, ...] = ()

    def require(self, *, allow_data_loss: bool = False, command: str = "aegis rollback") -> None:
        if self.refuses is not None and not allow_data_loss:
            if isinstance(self.refuses, AegisError):
                self.refuses.next = self.refuses.next.replace("COMMAND", command)
            raise self.refuses


@dataclass
class Stage:
    """A stack in memory, and whoever works on it.

    Everything that is done to it is written into `did`, in order. An update, a restore or a
    verdict that was not prepared is an error of the test. Its state, its history, its tags and its
    clusters are looked at by what looks at real ones.
    """

    history: list[Release] = field(default_factory=list)
    changes: Changes = field(default_factory=lambda: Changes((step(),), {}, ()))
    updates: list[Ran] = field(default_factory=list)
    restores: list[Ran | Exception] = field(default_factory=list)
    verdicts: list[Verdict | BaseException] = field(default_factory=list)
    refusals: dict[str, str] = field(default_factory=dict)
    refused_declared: dict[str, str] = field(default_factory=dict)
    refused_keys: dict[str, str] = field(default_factory=dict)
    replayed: Replayed = field(default_factory=Replayed)
    presences: list[Presence] = field(default_factory=list)
    gates: dict[int, GateSettings | None] = field(default_factory=dict)
    apart: Collection[str] = ()
    whole: bool = False
    judged_by: list[GateSettings] = field(default_factory=list)
    did: list[str] = field(default_factory=list)
    signalled: bool = False
    cut_short: bool = False
    busy: bool = False
    forbidden: str = ""
    unreachable: Exception | None = None
    going: tuple[str, ...] = ()
    gone: tuple[str, ...] = ()
    previews: list[AegisError] = field(default_factory=list)
    unsettled: Exception | None = None
    unmarkable: AegisError | None = None
    blocked: Exception | None = None
    aimed: int | None = None
    running: str | None = BAD
    rotated: bool = False
    illegible: AegisError | None = None
    lost: tuple[Resource, ...] = ()
    outside: list[str | None] = field(default_factory=list)
    away: bool = False
    watched: list[list[Workload]] = field(default_factory=list)
    database: DatabaseSchema | None = None
    schemas: dict[int, CodeSchema] = field(default_factory=dict)
    datasets: dict[int, str] = field(default_factory=dict)
    loaded: dict[str, str] = field(default_factory=dict)
    settings: dict[str, str] = field(default_factory=dict)
    beside: list[Mapping[str, Any]] = field(default_factory=list)
    api: Any = None

    def __post_init__(self) -> None:
        self.results, self.messages = StringIO(), StringIO()
        self.out = Output(results=self.results, messages=self.messages, answers=StringIO())
        self.session, self.program_update = _Session(self), _ProgramUpdate(self)
        session = cast("Any", self.session)
        clusters = Clusters(session, ambient=lambda: self.api or cast("Any", _Cluster(self)))
        self.flow = FlowContext(
            session=session,
            out=self.out,
            signals=cast("Any", _Signals(self)),
            recorder=Recorder("s"),
            takeover=cast("Any", _Takeover(self)),
            clusters=clusters,
            gate_runner=cast("Any", _GateRunner(self)),
            adopting=cast("Any", _Adopting(self)),
            program_update=cast("Any", self.program_update),
            replay_planner=cast("Any", _ReplayPlanner(self)),
            replay_runner=cast("Any", _ReplayRunner(self)),
            schema_reader=SchemaReader(session, self.out, clusters),
            look_up_images=lambda _: self.presences,
        )

    def record(self, ran: Ran, message: str, restores: int | None = None) -> Ran:
        """Put an update into the history, as the engine does."""
        number = max((it.number for it in self.history), default=0) + 1
        made = release(
            number,
            result="succeeded" if ran.outcome.succeeded else "failed",
            message=message,
            restores=restores,
            config={"a:logLevel": ConfigValue("debug")},
        )
        self.history.insert(0, made)
        key = ran.outcome.recorded or made.key
        return replace(ran, outcome=replace(ran.outcome, recorded=key))


@dataclass
class _Signals:
    stage: Stage

    @property
    def interrupted(self) -> bool:
        return self.stage.signalled


@dataclass
class _Cluster:
    """An API server that takes every patch but a forbidden one, unless it cannot be reached."""

    stage: Stage
    address: str = "https://it"

    def get(self, path: str) -> Mapping[str, Any]:
        if self.stage.unreachable is not None:
            raise self.stage.unreachable
        return {}

    def patch(self, path: str, patch: list[dict[str, Any]]) -> None:
        if path == self.stage.forbidden:
            raise ApiError(403, "Forbidden")
        self.stage.did.append(f"patch {path} {patch[-1]['op']} {patch[-1]['path']}")


@dataclass
class _Store:
    """The history as it was prepared; each release deployed the good image."""

    stage: Stage

    def require_room(self) -> None:
        pass

    def count(self) -> int | None:
        return None

    def releases(self, limit: int | None = None) -> list[Release]:
        return self.stage.history[:limit]

    def outputs(self, release: Release) -> Mapping[str, object]:
        said = self.stage.schemas.get(release.number)
        schema: dict[str, object] = {} if said is None else {"schema": said.as_json()}
        if release.number in self.stage.datasets:
            schema["dataset"] = self.stage.datasets[release.number]
        return {
            "version": f"1.{release.number}",
            "imageDigest": GOOD.partition("@")[2],
            **schema,
        }

    def checkpoint(self, release: Release) -> Mapping[str, Any]:
        if self.stage.illegible is not None:
            raise self.stage.illegible
        labels = {"metadata": {"labels": {"app.kubernetes.io/version": f"1.{release.number}"}}}
        said = self.stage.schemas.get(release.number)
        if said is not None:
            annotations = {HEAD: str(said.head), LEAST: str(said.least)}
            labels["metadata"]["annotations"] = annotations
        root = {"type": "pulumi:pulumi:Stack", "outputs": self.outputs(release)}
        return {"resources": [root, _deployment(GOOD, **labels)]}


@dataclass
class _Session:
    """The stack: its state has one Deployment, its tags say what the releases' marks say."""

    stage: Stage
    name: str = "s"
    project: str = "a"
    directory: Path = Path("/nowhere")
    connections: int = 0

    def __post_init__(self) -> None:
        self.store = _Store(self.stage)

    def settings(self) -> Mapping[str, ConfigValue]:
        return {}

    def resources(self) -> list[Mapping[str, Any]]:
        provider = {
            "urn": "urn:pulumi:s::p::pulumi:providers:kubernetes::default",
            "type": "pulumi:providers:kubernetes",
            "custom": True,
            "inputs": {"token": str(self.connections)},
        }
        return [provider, _deployment(self.stage.running or ""), *self.stage.beside]

    def export(self) -> Mapping[str, Any]:
        return {"deployment": {"resources": self.resources()}}

    def update(self, *, message: str, targets: Sequence[str]) -> Outcome:
        """Have the providers connect anew."""
        self.connections += self.stage.rotated
        self.stage.did += ["reconnect"] * self.stage.rotated
        return outcome()

    def tags(self) -> Mapping[str, str]:
        found: dict[str, str] = {}
        for it in self.stage.history:
            if it.verified:
                found |= {name: str(text) for name, text in verified_after(found, it.key).items()}
        refused = [
            (fingerprint, why, self.stage.refused_keys.get(fingerprint, "0"))
            for fingerprint, why in self.stage.refusals.items()
        ]
        # A release that is refused for anything else than what was prepared.
        refused += [(it.key, "no", it.key) for it in self.stage.history if it.refused]
        for fingerprint, why, key in refused:
            told = self.stage.refused_declared.get(fingerprint, "")
            line = f"declared:{told} {why}" if told else why
            value = f"{verification_store._shrink(key)} {START:%Y-%m-%dT%H:%M:%SZ} {line}"
            found[f"{REFUSED}.{fingerprint}"] = value
        if self.stage.database is not None:
            known = self.stage.database
            found[schema_store.TAG] = f"{known.revision} {known.least_head}"
        return found | self.stage.loaded

    def change_tags(self, changes: Mapping[str, str | None]) -> None:
        if self.stage.unmarkable is not None:
            raise self.stage.unmarkable
        known = schema_store.parse({k: v for k, v in changes.items() if v is not None}).first
        if known is not None:
            self.stage.database = known
            self.stage.did.append(f"remember {changes[schema_store.TAG]}")
        before = verification_store.parse(self.tags())
        after = verification_store.parse({k: v for k, v in changes.items() if v is not None})
        if any(name.startswith(VERIFIED) for name in changes):
            self._verify(set(after.verified) - set(before.verified))
        for name, value in changes.items():
            if name.startswith(schema_store.DATASET_TAG):
                self.stage.did.append(f"{name}: {value}")
                self.stage.loaded.pop(name, None)
                self.stage.loaded |= {} if value is None else {name: value}
            mark, _, fingerprint = name.rpartition(".")
            if mark == REFUSED and value is None:
                self._pardon(fingerprint)
            elif mark == REFUSED:
                refusal = after.refusals[fingerprint]
                (number,) = [it.number for it in self.stage.history if it.key == refusal.key]
                self.stage.did.append(f"refuse {number}: {refusal.why}")
                self.stage.refusals[fingerprint] = refusal.why
                self.stage.refused_keys[fingerprint] = refusal.key
                self.stage.refused_declared[fingerprint] = ",".join(refusal.declared)

    def _verify(self, keys: Collection[str]) -> None:
        for place, it in enumerate(self.stage.history):
            if it.key in keys:
                self.stage.history[place] = replace(it, verified=True)
                self.stage.did.append(f"verify {it.number}")

    def _pardon(self, fingerprint: str) -> None:
        self.stage.refusals.pop(fingerprint, None)
        for place, it in enumerate(self.stage.history):
            if it.key == fingerprint:
                self.stage.history[place] = replace(it, refused=False)


@dataclass
class _Takeover:
    stage: Stage
    unjudged: bool = False

    @property
    def cut_short(self) -> bool:
        return self.stage.cut_short

    @property
    def aimed(self) -> int | None:
        return self.stage.aimed

    @contextmanager
    def claimed(self, intent: str, message: str, wait_seconds: float) -> Iterator[None]:
        if self.stage.busy:
            raise AegisError(what="s is being worked on")
        self.stage.did.append(f"claim {intent}")
        yield
        self.stage.did.append("release")

    @contextmanager
    def guarded(self, wanted: bool) -> Iterator[None]:
        if wanted:
            self.stage.did.append("guard")
        yield

    def require(self) -> None:
        pass

    def settle(self) -> None:
        self.stage.did.append("settle")
        if self.stage.unsettled is not None:
            raise self.stage.unsettled
        self.stage.replayed.pending = 0

    def becomes(self, intent: str, target: Release) -> None:
        self.stage.did.append(f"becomes {intent} {target.number}")

    def deploys(self) -> None:
        self.stage.did.append("leave to judge")


@dataclass
class _GateRunner:
    stage: Stage

    def gate(self, settings: Mapping[str, ConfigValue]) -> GateSettings:
        return GateSettings(bake_seconds=len(settings))

    def recorded_gate(self, release: Release) -> GateSettings | None:
        return self.stage.gates.get(release.number, self.gate(release.config))

    def standing(self) -> Standing:
        return Standing(going=self.stage.going, gone=self.stage.gone)

    def judge(
        self,
        workloads: Sequence[Workload],
        gate: GateSettings,
        *,
        whole: bool = False,
        apart: Collection[str] = (),
    ) -> Verdict:
        self.stage.did.append("judge")
        self.stage.judged_by.append(gate)
        self.stage.apart, self.stage.whole = apart, whole
        verdict = self.stage.verdicts.pop(0)
        if isinstance(verdict, BaseException):
            raise verdict
        return verdict

    def untold(
        self,
        workloads: Sequence[Workload],
        gate: GateSettings,
        verdict: Verdict | None,
        outcome: Outcome | None = None,
    ) -> Verdict | None:
        failed = outcome is not None and not outcome.succeeded if verdict is None else True
        if not self.stage.away or not failed or (verdict is not None and verdict.passed):
            return None
        return Verdict(passed=False, reason="the database was away", kind=UNTOLD)

    def external_cause(
        self, workloads: Sequence[Workload], ran: Ran, verdict: Verdict | None
    ) -> str | None:
        if verdict is not None and verdict.kind == UNTOLD:
            return "its database did not answer"
        return self.stage.outside.pop(0) if self.stage.outside else None


@dataclass
class _Adopting:
    stage: Stage

    def of_update(self, changes: Changes) -> tuple[Resource, ...]:
        return self.stage.lost


@dataclass
class _ProgramUpdate:
    stage: Stage
    declared: str = ""
    refreshes: bool = False
    overridden: dict[str, str] = field(default_factory=dict)

    def settings(self) -> Mapping[str, ConfigValue]:
        more = {name: ConfigValue(text) for name, text in self.stage.settings.items()}
        return {"a:logLevel": ConfigValue("debug"), **more}

    def preview(self, policy_packs: Sequence[str] = ()) -> Changes:
        refreshing = ["refreshing"] if self.refreshes else []
        self.stage.did.append(" ".join(["preview", *policy_packs, *refreshing]))
        if self.stage.previews:
            raise self.stage.previews.pop(0)
        self.declared = declared_by_steps(self.stage.changes.steps)
        return self.stage.changes

    def adopt(self, records: Sequence[Resource]) -> None:
        self.stage.did += [f"adopt {it.label}" for it in records]

    def override(self, key: str, value: str, *, once: bool = False) -> None:
        self.stage.did.append(f"override {key}={value}{' once' if once else ''}")
        self.overridden[key] = value

    def keep_overrides(self) -> None:
        self.stage.did += [f"keep {key}={value}" for key, value in self.overridden.items()]

    def update(self, message: str, workloads: Sequence[Workload], gate: GateSettings) -> Ran:
        self.stage.did.append(f"update: {message}")
        self.stage.watched.append(list(workloads))
        return self.stage.record(self.stage.updates.pop(0), message)


@dataclass
class _ReplayPlanner:
    stage: Stage

    def plan(self, target: Release, choices: Choices = NONE) -> Any:
        losing = " losing data" if choices.allow_data_loss else ""
        self.stage.did.append(f"replay {target.number}{losing}")
        return self.stage.replayed

    def beside(self, target: Release) -> Any:
        self.stage.did.append(f"beside {target.number}")
        if self.stage.illegible is not None:
            raise self.stage.illegible
        return self.stage.replayed


@dataclass
class _ReplayRunner:
    stage: Stage

    def preview(self, replay: Any, target: Release) -> Changes:
        self.stage.did.append(f"preview replay {target.number}")
        if self.stage.blocked is not None:
            raise self.stage.blocked
        return self.stage.changes

    def restore(
        self,
        replay: Any,
        target: Release,
        message: str,
        workloads: Sequence[Workload],
        gate: GateSettings,
    ) -> Ran:
        self.stage.did.append(f"restore: {message}")
        prepared = self.stage.restores.pop(0)
        if isinstance(prepared, Exception):
            raise prepared
        ran = self.stage.record(prepared, message, restores=target.number)
        if ran.outcome.succeeded:
            self.stage.running = GOOD
        return ran


def _deployment(image: str, **more: Any) -> dict[str, Any]:
    """The one Deployment, as a state has it."""
    template = {**more, "spec": {"containers": [{"name": "a", "image": image}]}}
    manifest = {"metadata": {"name": "a", "namespace": "n"}, "spec": {"template": template}}
    return {
        "urn": f"urn:pulumi:s::p::{DEPLOYMENT}::a",
        "type": DEPLOYMENT,
        "custom": True,
        "id": "n/a",
        "inputs": manifest,
        "outputs": manifest,
    }
