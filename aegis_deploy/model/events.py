"""What an update tells while it runs, and what it comes to, in the project's own words.

The engine's events are translated here once; nothing else knows their shape.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from aegis_deploy.model import declared
from aegis_deploy.model.database import dataset as datasets
from aegis_deploy.model.database import schema as schemas
from aegis_deploy.model.database.schema import CodeSchema
from aegis_deploy.model.routes import external_routes
from aegis_deploy.model.workloads.pod_images import images_of

UNCHANGED = frozenset({"same", "read", "refresh"})
KUBERNETES_PROVIDER = "pulumi:providers:kubernetes"
_SEVERE = "error"
MASKED = "[secret]"
"""What the engine says in the place of a secret."""
_HOOK = re.compile(r'^(?:before|after) hook "[^"]*" failed: (?:error: )?')
"""The engine's words before the error of a program's hook, which says itself what is wrong."""
_INLINE = "python inline source runtime error: "
_OF_STEPS = {"resourcePreEvent": "begins", "resOutputsEvent": "ends", "resOpFailedEvent": "fails"}


@dataclass(frozen=True)
class Step:
    """What happens, happened or would happen to one resource.

    Attributes:
        op: same, create, update, replace, create-replacement, delete-replaced, delete, read,
            refresh and so on.
        urn: The resource.
        type: Its type, such as ``kubernetes:apps/v1:Deployment``.
        name: Its name in the program.
        keys: The properties that force a replacement.
        diffs: The properties that change.
        paths: The changed properties' full paths with add, update, delete and their -replace forms.
        protect: Whether it may not be deleted.
        custom: Whether a provider manages it; a component, which only groups others, otherwise.
        namespace: The object's namespace, for an object of a cluster that names one.
        object: The object's own name, likewise; empty while it is not known.
        images: What its pods run, for a workload; empty texts stand for what is not known yet.
        images_before: What they ran before.
        replicas: How many pods a workload is to have; None where that is not said.
        replicas_before: How many it had.
        strategy: How a workload replaces its pods; empty where that is not said.
        declared: What an object is declared as; see `model.declared`.
        schema: Which databases a workload's code works with; None where it does not say.
        migrates: Whether it brings the database to its code's schema.
        dataset: The data set that a workload works on; empty where it names none.
        revisions_command: What lists the revisions of one that does; empty where nothing says it.
        route: The way in from outside that it is; None for anything else.
        parent: The URN of what groups it; empty for what the engine makes by itself.
        provider: The URN of its provider.
        connects: How a provider of Kubernetes connects, as far as that is said: its inputs.
    """

    op: str
    urn: str
    type: str
    name: str
    keys: tuple[str, ...] = ()
    diffs: tuple[str, ...] = ()
    paths: Mapping[str, str] = field(default_factory=dict)
    protect: bool = False
    custom: bool = True
    namespace: str = ""
    object: str = ""
    images: tuple[str, ...] = ()
    images_before: tuple[str, ...] = ()
    replicas: int | None = None
    replicas_before: int | None = None
    strategy: str = ""
    declared: str = ""
    schema: CodeSchema | None = None
    migrates: bool = False
    dataset: str = ""
    revisions_command: tuple[str, ...] = ()
    route: external_routes.Route | None = None
    parent: str = ""
    provider: str = ""
    connects: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)

    @property
    def changes(self) -> bool:
        """Whether anything is different after it."""
        return self.op not in UNCHANGED


@dataclass(frozen=True)
class Event:
    """One thing an update says.

    Attributes:
        kind: ``begins`` or ``ends`` (of a step), ``fails`` (a step), ``says`` (a diagnostic),
            ``summary``.
        step: The step, for the kinds that are about one.
        urn: The resource a diagnostic is about; empty for the stack.
        message: The diagnostic.
        severity: Its severity: info, info#err, warning, error.
        ephemeral: Whether it is only news of the moment, such as what an await waits for.
        changes: The summary's counts by operation.
    """

    kind: str
    step: Step | None = None
    urn: str = ""
    message: str = ""
    severity: str = ""
    ephemeral: bool = False
    changes: Mapping[str, int] = field(default_factory=dict)


OnEvent = Callable[[Event], None]


@dataclass(frozen=True)
class Violation:
    """A rule of a policy pack that something would break.

    Attributes:
        rule: The rule's name.
        message: What is wrong and how it is mended.
        urn: The resource; empty for the stack as a whole.
        mandatory: Whether an update is refused for it.
    """

    rule: str
    message: str
    urn: str = ""
    mandatory: bool = False


@dataclass(frozen=True)
class Changes:
    """What a preview would change.

    Attributes:
        steps: Every step, those that change nothing too.
        summary: How many resources by operation.
        warnings: What it warned of.
        violations: The policies it would break, where a pack was asked.
    """

    steps: tuple[Step, ...] = ()
    summary: Mapping[str, int] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    violations: tuple[Violation, ...] = ()

    @property
    def forbidden(self) -> bool:
        """Whether a mandatory policy would be broken."""
        return any(violation.mandatory for violation in self.violations)

    @property
    def changed(self) -> tuple[Step, ...]:
        """The steps after which something is different."""
        return tuple(step for step in self.steps if step.changes)

    def __bool__(self) -> bool:
        """Whether anything would change."""
        return bool(self.changed)


@dataclass(frozen=True)
class UpdateFailure:
    """One reason why an update failed.

    Attributes:
        urn: The resource; empty when it is the whole update.
        message: The reason, as the engine or the provider gave it.
    """

    urn: str
    message: str


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What an update came to.

    Attributes:
        succeeded: Whether all of it was done.
        failures: Why not.
        summary: How many resources by operation.
        started: When it began.
        duration: Seconds it took.
        stopped: Whether it was told to stop.
        killed: Whether it was cut short, the CLI ended by force or its backend gone: its lock and
            pending operations stay behind.
        steps: The steps that changed something.
        text: The last it printed.
        recorded: The key that the history has it by; None when it has none of it, or nobody can
            tell.
    """

    succeeded: bool
    failures: tuple[UpdateFailure, ...] = ()
    summary: Mapping[str, int] = field(default_factory=dict)
    started: datetime
    duration: float
    stopped: bool = False
    killed: bool = False
    steps: tuple[Step, ...] = ()
    text: str = field(default="", repr=False)
    recorded: str | None = None

    @property
    def why(self) -> str:
        """The failures as text, the resource's name before each."""
        return "\n".join(
            f"{failure.urn.rpartition('::')[2]}: {failure.message}"
            if failure.urn
            else failure.message
            for failure in self.failures
        )

    @property
    def touched(self) -> bool:
        """Whether it began to change anything that runs.

        Components, providers and images that were built are nothing that runs. An update that was
        ended by force may have begun more than it could say.
        """
        return self.killed or any(step.type.startswith("kubernetes:") for step in self.steps)


def _step(metadata: Mapping[str, Any]) -> Step:
    """Read what the engine says of a step."""
    old, new = metadata.get("old") or {}, metadata.get("new") or {}
    state = new or old
    inputs, before = state.get("inputs") or {}, old.get("inputs") or {}
    urn, kind = str(metadata.get("urn") or ""), str(metadata.get("type") or "")
    paths: Mapping[str, Mapping[str, Any]] = metadata.get("detailedDiff") or {}
    return Step(
        op=str(metadata.get("op") or ""),
        urn=urn,
        type=kind,
        name=urn.rpartition("::")[2],
        keys=tuple(metadata.get("keys") or ()),
        diffs=tuple(metadata.get("diffs") or ()),
        paths={path: str(it.get("diffKind") or "") for path, it in paths.items()},
        protect=bool(state.get("protect")),
        custom=not state or bool(state.get("custom")),
        namespace=_known(_at(inputs, "metadata", "namespace")),
        object=_known(_at(inputs, "metadata", "name")),
        images=_images(inputs),
        images_before=_images(before),
        replicas=_count(_at(inputs, "spec", "replicas")),
        replicas_before=_count(_at(before, "spec", "replicas")),
        strategy=_known(_at(inputs, "spec", "strategy", "type")),
        declared=declared.digest(kind, inputs),
        schema=schemas.of_templates([inputs]),
        migrates=schemas.JOB in schemas.annotations_of(inputs),
        dataset=datasets.of_manifest(inputs),
        revisions_command=schemas.words_of(schemas.annotations_of(inputs).get(schemas.REVISIONS))
        or (),
        route=external_routes.of_resource(kind, inputs),
        parent=str(state.get("parent") or ""),
        provider=str(metadata.get("provider") or "").rpartition("::")[0],
        connects=inputs if kind == KUBERNETES_PROVIDER else {},
    )


def _count(value: Any) -> int | None:  # noqa: ANN401 - any JSON value
    return int(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else None


def _images(inputs: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(map(_known, images_of(inputs)))


def _at(value: Any, *path: str) -> Any:  # noqa: ANN401 - any JSON value
    for name in path:
        value = value.get(name) if isinstance(value, Mapping) else None
    return value


def _known(value: Any) -> str:  # noqa: ANN401 - any JSON value
    """A text that is known and no secret; what is not is an empty one."""
    hidden = value in {declared.UNKNOWN, MASKED} if isinstance(value, str) else True
    return "" if hidden else str(value)


def translate(event: Mapping[str, Any]) -> Event | None:
    """Translate an engine event; None for those that say nothing of use.

    Args:
        event: As the CLI writes it, the ``EngineEvent`` of ``sdk/go/common/apitype/events.go``.
    """
    for name, kind in _OF_STEPS.items():
        if (said := event.get(name)) is not None:
            step = _step(said.get("metadata") or {})
            return Event(kind, step=step, urn=step.urn)
    if (said := event.get("diagnosticEvent")) is not None:
        severity = str(said.get("severity") or "")
        if severity == "debug":
            # The language SDK's debug messages hold secrets in plain text.
            return None
        return Event(
            "says",
            urn=said.get("urn") or "",
            message=_without_traceback(_plain(str(said.get("message") or ""))),
            severity=severity,
            ephemeral=bool(said.get("ephemeral")),
        )
    if (said := event.get("summaryEvent")) is not None:
        counts = said.get("resourceChanges") or {}
        return Event("summary", changes={op: int(n) for op, n in counts.items()})
    return None


def _plain(message: str) -> str:
    """The text without the engine's colour marks, ``<{%fg 1%}>``."""
    while "<{%" in message:
        before, _, rest = message.partition("<{%")
        _, found, after = rest.partition("%}>")
        if not found:
            break
        message = before + after
    return message.strip()


def _without_traceback(message: str) -> str:
    """The error of an inline program without the SDK's stack, which is no news to a person."""
    for prefix in ("an unhandled error occurred: ", _INLINE):
        if message.startswith(prefix):
            message = message.removeprefix(prefix)
            message = message.removeprefix(_INLINE).partition("\nTraceback ")[0]
    return message.strip()


@dataclass
class EventCollector:
    """Collects what an update says, and passes it on."""

    on_event: OnEvent | None = None
    steps: list[Step] = field(default_factory=list)
    said: list[Event] = field(default_factory=list)
    summary: Mapping[str, int] = field(default_factory=dict)
    failed: list[Step] = field(default_factory=list)
    error: Exception | None = None
    violations: list[Violation] = field(default_factory=list)

    def __call__(self, raw: Mapping[str, Any]) -> None:
        """Take one of the engine's events, as `translate` does.

        What the listener raises is kept, not thrown: the caller is the engine's thread.
        """
        if (broken := raw.get("policyEvent")) is not None:
            self.violations.append(_violation(broken))
        event = translate(raw)
        if event is None:
            return
        if event.kind == "begins" and event.step is not None:
            self.steps.append(event.step)
        elif event.kind == "fails" and event.step is not None:
            self.failed.append(event.step)
        elif event.kind == "summary":
            self.summary = event.changes
        elif event.kind == "says" and not event.ephemeral:
            self.said.append(event)
        if self.on_event is not None and self.error is None:
            try:
                self.on_event(event)
            except Exception as error:
                self.error = error

    def failures(self, otherwise: str) -> tuple[UpdateFailure, ...]:
        """The reasons the update gave, or the text given when it gave none."""
        said = [
            UpdateFailure(event.urn, _HOOK.sub("", event.message))
            for event in self.said
            if _severe(event)
        ]
        # The engine repeats at the stack's level that the update failed.
        causes = [item for item in said if item.urn and not _is_echo(item.message)] or said
        about = {item.urn for item in causes}
        mute = [UpdateFailure(step.urn, f"{step.op} failed") for step in self.failed]
        return _unique([*causes, *(item for item in mute if item.urn not in about)]) or (
            UpdateFailure("", otherwise or "the update failed and gave no reason"),
        )

    def warnings(self) -> tuple[str, ...]:
        """What the update warned of."""
        return tuple(event.message for event in self.said if event.severity == "warning")


def _violation(said: Mapping[str, Any]) -> Violation:
    # The engine's own text has the pack's name and colours around the rule's message.
    return Violation(
        rule=str(said.get("policyName") or ""),
        message=_plain(str(said.get("message") or "")),
        urn=str(said.get("resourceUrn") or ""),
        mandatory=said.get("enforcementLevel") == "mandatory",
    )


def _severe(event: Event) -> bool:
    return event.severity == _SEVERE


def _is_echo(message: str) -> bool:
    return message in {"update failed", "preview failed", "resource operation failed"}


def _unique(failures: Sequence[UpdateFailure]) -> tuple[UpdateFailure, ...]:
    return tuple(dict.fromkeys(failures))
