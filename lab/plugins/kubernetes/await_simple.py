"""Kinds whose readiness shows in the object alone, jobs, deletion, and conditions of one's own."""

from __future__ import annotations

import json
import re
from collections.abc import Callable

from lab.plugins.kubernetes.await_pod import problems_of
from lab.plugins.kubernetes.awaiting import DELETED, LISTED, Condition, Subject, self_subject
from lab.plugins.kubernetes.objects import (
    Json,
    Object,
    condition,
    items,
    label,
    name_of,
    namespace_of,
    nested,
    number,
    owned_by,
    text,
)


class FieldReady(Condition):
    """An object that is ready when a test of its own fields says so."""

    def __init__(self, live: Object, test: Callable[[Object], bool], waiting_for: str) -> None:
        super().__init__(live)
        self._test, self._waiting_for = test, waiting_for

    def observe(self, event: str, obj: Object, now: float) -> None:  # noqa: ARG002
        """Keep the object's state."""
        if self.is_mine(obj) and event != DELETED:
            self.live = obj

    def met(self, now: float) -> bool:  # noqa: ARG002
        """Say whether the test holds."""
        return self._test(self.live)

    def progress(self) -> str:
        """Name what is waited for."""
        return f"Waiting for {self._waiting_for}"

    def reasons(self) -> list[str]:
        """Name what was waited for."""
        return [f"{self._waiting_for} did not happen"]


class JobComplete(Condition):
    """A Job: complete, or failed for good."""

    def __init__(self, live: Object) -> None:
        super().__init__(live)
        self._pods: dict[str, Object] = {}

    def subjects(self) -> list[Subject]:
        """Return the Job and its pods."""
        pods = Subject(
            "v1",
            "Pod",
            namespace_of(self.live),
            label_selector=f"batch.kubernetes.io/job-name={name_of(self.live)}",
        )
        return [self_subject(self.live), pods]

    def observe(self, event: str, obj: Object, now: float) -> None:  # noqa: ARG002
        """Keep the state of the Job and its pods; a failed pod that is removed stays known."""
        if obj.get("kind") == "Pod":
            if event != DELETED and owned_by(obj, self.live):
                self._pods[name_of(obj)] = obj
        elif self.is_mine(obj) and event != DELETED:
            self.live = obj

    def met(self, now: float) -> bool:  # noqa: ARG002
        """Say whether the Job has completed."""
        state = condition(self.live, "Complete")
        started = bool(nested(self.live, "status", "startTime"))
        return started and not self.failed() and state is not None and state["status"] == "True"

    def failed(self) -> bool:
        """Say whether the Job has failed for good."""
        state = condition(self.live, "Failed")
        return state is not None and state.get("status") == "True"

    def progress(self) -> str:
        """Count the Job's pods."""
        counts = [number(self.live, "status", key) for key in ("active", "succeeded", "failed")]
        return (
            f'Waiting for Job "{label(self.live)}" to succeed '
            "(Active: {} | Succeeded: {} | Failed: {})".format(*counts)
        )

    def warnings(self) -> list[str]:
        """Return the pods' problems."""
        return problems_of(self._pods)

    def reasons(self) -> list[str]:
        """Return why the Job failed and its pods' problems."""
        state = condition(self.live, "Failed")
        failure = [f"[{text(state, 'reason')}] {text(state, 'message')}"] if self.failed() else []
        return [*(failure or [self.progress()]), *self.warnings()]


class Deleted(Condition):
    """An object that is gone."""

    def __init__(self, live: Object) -> None:
        super().__init__(live)
        self._gone = False

    def observe(self, event: str, obj: Object, now: float) -> None:  # noqa: ARG002
        """Note that the object went away, or was replaced by another of the same name."""
        if event == LISTED:
            self._gone = self._gone or obj.get("count") == 0
            return
        if name_of(obj) != name_of(self.live) or obj.get("kind") != self.live.get("kind"):
            return
        uid = text(self.live, "metadata", "uid")
        if event == DELETED or (uid and text(obj, "metadata", "uid") != uid):
            self._gone = True
        else:
            self.live = obj

    def met(self, now: float) -> bool:  # noqa: ARG002
        """Say whether the object is gone."""
        return self._gone

    def progress(self) -> str:
        """Say that the object is still there."""
        return "Resource scheduled for deletion"

    def reasons(self) -> list[str]:
        """Return the finalizers that hold the object."""
        finalizers = nested(self.live, "metadata", "finalizers") or ()
        held = [f"finalizers might be preventing deletion ({', '.join(map(str, finalizers))})"]
        return held if finalizers else []


_EXPRESSION = re.compile(r"\{\s*(.*?)\s*\}")
_STEP = re.compile(r"\.([\w-]+)|\['([^']+)'\]|\[(\d+)\]|\[\?\(@\.([\w-]+)==[\"']([^\"']*)[\"']\)\]")


def waited_for(annotation_text: str) -> tuple[Callable[[Object], bool], str]:
    """Read a ``pulumi.com/waitFor`` annotation.

    Args:
        annotation_text: ``jsonpath={.path}``, ``jsonpath={.path}=value``,
            ``condition=Type[=Status]``, or a JSON list of these, all of which must hold.

    Returns:
        A test for objects, and the expressions for people.

    Raises:
        ValueError: An expression is malformed.
    """
    try:
        parsed = json.loads(annotation_text)
    except ValueError:
        parsed = annotation_text
    expressions = parsed if isinstance(parsed, list) else [annotation_text]
    if not expressions:
        raise ValueError("pulumi.com/waitFor: at least one condition must be specified")
    tests = [_test(str(expression)) for expression in expressions]
    return lambda obj: all(test(obj) for test in tests), " and ".join(map(str, expressions))


def _test(expression: str) -> Callable[[Object], bool]:
    kind, _, rest = expression.partition("=")
    if kind == "condition":
        wanted, _, status = rest.partition("=")
        return lambda obj: _current(obj) and _has_condition(obj, wanted, status or "True")
    match = _EXPRESSION.match(rest)
    if kind != "jsonpath" or match is None:
        raise ValueError(
            'pulumi.com/waitFor: expected "jsonpath={.path}", "jsonpath={.path}=value" or '
            f'"condition=Type", got "{expression}"'
        )
    steps = _steps(match.group(1).removeprefix("$"), expression)
    value = rest[match.end() :].removeprefix("=")
    return lambda obj: _current(obj) and _matches(_select(obj, steps), value)


def _steps(path: str, expression: str) -> list[tuple[str, ...]]:
    steps = [match.groups("") for match in _STEP.finditer(path)]
    if "".join(match.group(0) for match in _STEP.finditer(path)) != path or not steps:
        raise ValueError(f'pulumi.com/waitFor: cannot read the path in "{expression}"')
    return steps


def _select(value: Json, steps: list[tuple[str, ...]]) -> Json:
    for key, quoted, index, field, wanted in steps:
        if index:
            value = (
                value[int(index)] if isinstance(value, list) and int(index) < len(value) else None
            )
        elif field:
            found = value if isinstance(value, list) else []
            value = next((i for i in found if str(nested(i, field)) == wanted), None)
        else:
            value = nested(value, key or quoted)
    return value


def _matches(found: Json, wanted: str) -> bool:
    if found is None or not wanted:
        return found is not None
    shown = str(found).lower() if isinstance(found, bool) else str(found)
    return not isinstance(found, dict | list) and shown == wanted


def _current(obj: Object) -> bool:
    observed = nested(obj, "status", "observedGeneration")
    return observed is None or observed >= number(obj, "metadata", "generation")


def _has_condition(obj: Object, kind: str, status: str) -> bool:
    return any(
        str(entry.get("type")).lower() == kind.lower()
        and str(entry.get("status")).lower() == status.lower()
        for entry in items(obj, "status", "conditions")
    )
