# ruff: noqa: ARG002 - a fake takes everything the real one takes
"""A stack in memory for the flows: it says what it was told to, and rejects what it was not."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from io import StringIO
from typing import Any

from aegis_deploy.common.console import Output
from aegis_deploy.common.errors import AegisError
from aegis_deploy.flows.operations import Actions
from aegis_deploy.flows.update_runner import Ran
from aegis_deploy.locking.reconnect import is_refused
from aegis_deploy.model.events import Changes, Outcome, Step
from aegis_deploy.model.fingerprint import declared_by_steps, jobs_of_steps, workloads_of_steps
from aegis_deploy.model.gate_settings import GateSettings
from aegis_deploy.model.release import ConfigValue, Deployed, Release
from aegis_deploy.model.rollout import Workload
from aegis_deploy.model.verdict import Verdict
from aegis_deploy.registry.image_registry import Presence
from aegis_deploy.replay.choices import NONE, Choices
from aegis_deploy.replay.ordering import First
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
class Stage(Actions):
    """A stack in memory.

    Everything that is done to it is written into `did`, in order. An update, a restore or a
    verdict that was not prepared is an error of the test.
    """

    history: list[Release] = field(default_factory=list)
    changes: Changes = field(default_factory=lambda: Changes((step(),), {}, ()))
    updates: list[Ran] = field(default_factory=list)
    restores: list[Ran | Exception] = field(default_factory=list)
    verdicts: list[Verdict | BaseException] = field(default_factory=list)
    refusals: dict[str, str] = field(default_factory=dict)
    refused_declared: dict[str, str] = field(default_factory=dict)
    previewed: str = ""
    replayed: Replayed = field(default_factory=Replayed)
    presences: list[Presence] = field(default_factory=list)
    gates: dict[int, GateSettings | None] = field(default_factory=dict)
    apart: Collection[str] = ()
    whole: bool = False
    judged_by: list[GateSettings] = field(default_factory=list)
    overridden: dict[str, str] = field(default_factory=dict)
    pardoned: list[str] = field(default_factory=list)
    did: list[str] = field(default_factory=list)
    signalled: bool = False
    cut_short: bool = False
    unreachable: Exception | None = None
    standing: Exception | None = None
    unsettled: Exception | None = None
    blocked: Exception | None = None
    aimed: int | None = None
    running: str | None = BAD
    rotated: bool = False
    illegible: AegisError | None = None
    lost: tuple[Resource, ...] = ()
    outside: list[str | None] = field(default_factory=list)
    watched: list[list[Workload]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.results, self.messages = StringIO(), StringIO()
        self.out = Output(results=self.results, messages=self.messages, answers=StringIO())

    @property
    def stack(self) -> str:
        return "s"

    @property
    def interrupted(self) -> bool:
        return self.signalled

    @contextmanager
    def claimed(self, intent: str, message: str, wait_seconds: float) -> Iterator[None]:
        self.did.append(f"claim {intent}")
        yield
        self.did.append("release")

    @contextmanager
    def guarded(self, wanted: bool) -> Iterator[None]:
        if wanted:
            self.did.append("guard")
        yield

    def settle(self) -> None:
        self.did.append("settle")
        if self.unsettled is not None:
            raise self.unsettled
        self.replayed.pending = 0

    def becomes(self, intent: str, target: Release) -> None:
        self.did.append(f"becomes {intent} {target.number}")

    def require_room(self) -> None:
        pass

    def require_standing(self) -> None:
        if self.standing is not None:
            raise self.standing

    def require_cluster(self) -> None:
        if self.unreachable is not None:
            raise self.unreachable

    def releases(self) -> list[Release]:
        newest = next((it.key for it in self.history if it.deploys), None)
        return [replace(it, current=it.key == newest) for it in self.history]

    def deployed(self, release: Release) -> Deployed:
        return Deployed(f"1.{release.number}", "sha256:" + "a" * 64, (GOOD,))

    def outputs(self, release: Release) -> Mapping[str, object]:
        return {"version": f"1.{release.number}", "imageDigest": "sha256:" + "a" * 64}

    def checked_out(self) -> str | None:
        return "c0ffee" * 6

    def settings(self) -> Mapping[str, ConfigValue]:
        return {"a:logLevel": ConfigValue("debug")}

    def gate(self, settings: Mapping[str, ConfigValue]) -> GateSettings:
        return GateSettings(bake_seconds=len(settings))

    def warm(self) -> None:
        pass

    def recorded_gate(self, release: Release) -> GateSettings | None:
        return self.gates.get(release.number, self.gate(release.config))

    def workloads(self) -> list[Workload]:
        return [Workload(namespace="n", name="a")]

    def to_watch(self, changes: Changes) -> list[Workload]:
        steps = changes.steps
        found = [*self.workloads(), *workloads_of_steps(steps), *jobs_of_steps(steps)]
        return list(dict.fromkeys(found))

    def images(self) -> str | None:
        return self.running

    def declared(self) -> str:
        return ""

    def refusal(self, fingerprint: str, declared: str = "") -> str | None:
        refused = self.refused_declared.get(fingerprint, declared)
        return self.refusals.get(fingerprint) if refused == declared else None

    def presence(self, images: Sequence[str]) -> list[Presence]:
        return self.presences

    def mark_verified(self, release: Release | None, *, restored: bool = False) -> None:
        assert release is not None
        self.did.append(f"verify {release.number}")

    def refuse(self, release: Release, fingerprint: str, why: str, declared: str = "") -> None:
        self.did.append(f"refuse {release.number}: {why}")
        self.refusals[fingerprint] = why
        self.refused_declared[fingerprint] = declared

    def pardon(self, fingerprint: str | None, key: str | None = None, declared: str = "") -> None:
        if fingerprint is not None:
            self.refusals.pop(fingerprint, None)
        if key is not None:
            self.pardoned.append(key)

    def preview(self, policy_packs: Sequence[str] = ()) -> Changes:
        self.did.append(" ".join(["preview", *policy_packs]))
        self.previewed = declared_by_steps(self.changes.steps)
        return self.changes

    def adoptable(self, changes: Changes) -> tuple[Resource, ...]:
        return self.lost

    def adopt(self, records: Sequence[Resource]) -> None:
        self.did += [f"adopt {it.label}" for it in records]

    def override(self, key: str, value: str) -> None:
        self.did.append(f"override {key}={value}")
        self.overridden[key] = value

    def keep_overrides(self) -> None:
        self.did += [f"keep {key}={value}" for key, value in self.overridden.items()]

    def update(self, message: str, workloads: Sequence[Workload], gate: GateSettings) -> Ran:
        self.did.append(f"update: {message}")
        self.watched.append(list(workloads))
        return self._ran(self.updates.pop(0), message)

    def reconnected(self, outcome: Outcome) -> bool:
        if not self.rotated or not is_refused(outcome):
            return False
        self.did.append("reconnect")
        return True

    def unreadable(self, release: Release) -> AegisError | None:
        return self.illegible

    def replay(self, target: Release, choices: Choices = NONE) -> Any:
        losing = " losing data" if choices.allow_data_loss else ""
        self.did.append(f"replay {target.number}{losing}")
        return self.replayed

    def beside(self, target: Release) -> Any:
        self.did.append(f"beside {target.number}")
        if self.illegible is not None:
            raise self.illegible
        return self.replayed

    def preview_replay(self, replay: Any, target: Release) -> Changes:
        self.did.append(f"preview replay {target.number}")
        if self.blocked is not None:
            raise self.blocked
        return self.changes

    def restore(
        self,
        replay: Any,
        target: Release,
        message: str,
        workloads: Sequence[Workload],
        gate: GateSettings,
    ) -> Ran:
        self.did.append(f"restore: {message}")
        prepared = self.restores.pop(0)
        if isinstance(prepared, Exception):
            raise prepared
        ran = self._ran(prepared, message, restores=target.number)
        if ran.outcome.succeeded:
            self.running = GOOD
        return ran

    def judge(
        self,
        workloads: Sequence[Workload],
        gate: GateSettings,
        *,
        dry: bool = False,
        whole: bool = False,
        apart: Collection[str] = (),
    ) -> Verdict:
        assert not dry
        self.did.append("judge")
        self.judged_by.append(gate)
        self.apart, self.whole = apart, whole
        verdict = self.verdicts.pop(0)
        if isinstance(verdict, BaseException):
            raise verdict
        return verdict

    def leave_to_judge(self) -> None:
        self.did.append("leave to judge")

    def interference(
        self, workloads: Sequence[Workload], ran: Ran, verdict: Verdict | None
    ) -> str | None:
        return self.outside.pop(0) if self.outside else None

    def _ran(self, ran: Ran, message: str, restores: int | None = None) -> Ran:
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
