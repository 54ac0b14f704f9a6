"""What an update says, in the project's words, with nothing secret in it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from aegis_deploy.model.events import (
    Changes,
    Event,
    EventCollector,
    Outcome,
    Step,
    UpdateFailure,
    Violation,
    translate,
)

URN = "urn:pulumi:staging::shop::kubernetes:apps/v1:Deployment::web"


def step(op: str = "update", **more: Any) -> dict[str, Any]:
    """A step's part of an event."""
    metadata = {
        "op": op,
        "urn": URN,
        "type": "kubernetes:apps/v1:Deployment",
        "diffs": ["spec"],
        **more,
    }
    return {"metadata": metadata}


def said(message: str, severity: str = "error", urn: str = "") -> dict[str, Any]:
    """A diagnostic."""
    return {"diagnosticEvent": {"message": message, "severity": severity, "urn": urn}}


class TestTranslation:
    """The engine's events and nothing it should not say."""

    @pytest.mark.parametrize(
        ("name", "kind"),
        [
            ("resourcePreEvent", "begins"),
            ("resOutputsEvent", "ends"),
            ("resOpFailedEvent", "fails"),
        ],
    )
    def test_of_a_step(self, name: str, kind: str) -> None:
        event = translate({name: step()})
        assert event is not None
        assert event.step is not None
        assert (event.kind, event.step.op, event.step.name) == (kind, "update", "web")
        assert event.step.changes

    def test_of_a_summary_counts_by_operation(self) -> None:
        found = translate({"summaryEvent": {"resourceChanges": {"create": 2}}})
        assert found == Event("summary", changes={"create": 2})

    def test_leaves_out_debug_messages_for_they_hold_secrets(self) -> None:
        assert translate(said("properties: hunter2", "debug")) is None

    @pytest.mark.parametrize(
        ("message", "shown"),
        [
            ("<{%fg 1%}>oh<{%reset%}> no\n", "oh no"),
            ("an <{% unfinished", "an <{% unfinished"),
            (
                "python inline source runtime error: boo\nTraceback (most recent call last):\n  x",
                "boo",
            ),
            (
                "an unhandled error occurred: python inline source runtime error: boo\nTraceback x",
                "boo",
            ),
        ],
    )
    def test_of_a_diagnostic_is_its_text(self, message: str, shown: str) -> None:
        event = translate(said(message))
        assert event is not None
        assert event.message == shown

    def test_of_anything_else_is_nothing(self) -> None:
        assert translate({"cancelEvent": {}}) is None


class TestTheRecord:
    """Why an update failed."""

    def failures(self, *events: dict[str, Any]) -> tuple[UpdateFailure, ...]:
        recorder = EventCollector()
        for event in events:
            recorder(event)
        return recorder.failures("the last lines")

    def test_is_what_was_said_of_a_resource_not_that_the_update_failed(self) -> None:
        found = self.failures(said("it crashed", urn=URN), said("update failed"))
        assert found == (UpdateFailure(URN, "it crashed"),)

    def test_is_what_was_said_of_the_stack_when_nothing_else_was(self) -> None:
        assert self.failures(said("no such program")) == (UpdateFailure("", "no such program"),)

    def test_a_hooks_own_words_are_the_reason(self) -> None:
        message = 'after hook "web-gate" failed: 3 of 40 probes failed\nlast events:'
        found = self.failures(said(message, urn=URN))
        assert found == (UpdateFailure(URN, "3 of 40 probes failed\nlast events:"),)

    def test_is_a_step_that_failed_without_a_word(self) -> None:
        assert self.failures({"resOpFailedEvent": step()}) == (UpdateFailure(URN, "update failed"),)

    def test_is_said_once(self) -> None:
        assert len(self.failures(said("a", urn=URN), said("a", urn=URN))) == 1

    def test_is_the_last_lines_when_nothing_was_said(self) -> None:
        assert self.failures() == (UpdateFailure("", "the last lines"),)

    def test_keeps_what_a_listener_raises_for_the_one_who_can_act_on_it(self) -> None:
        def fail(_: Event) -> None:
            raise ValueError("the listener's fault")

        recorder = EventCollector(fail)
        recorder(said("one"))
        recorder(said("two"))
        assert isinstance(recorder.error, ValueError)
        assert len(recorder.said) == 2

    def test_keeps_the_policies_that_are_broken(self) -> None:
        recorder = EventCollector()
        broken = {
            "policyName": "digest",
            "message": "<{%fg 1%}>pin it<{%reset%}>",
            "resourceUrn": URN,
            "enforcementLevel": "mandatory",
        }
        recorder({"policyEvent": broken})
        assert recorder.violations == [Violation("digest", "pin it", URN, mandatory=True)]


def test_an_outcome_words_its_failures_with_the_resource_they_are_about() -> None:
    outcome = Outcome(
        succeeded=False,
        failures=(UpdateFailure(URN, "it crashed"), UpdateFailure("", "and so on")),
        started=datetime(2026, 1, 1, tzinfo=UTC),
        duration=1.0,
    )
    assert outcome.why == "web: it crashed\nand so on"


def test_changes_are_what_is_different_afterwards() -> None:
    steps = [Step(op, URN, "t", "web") for op in ("same", "update", "read", "refresh")]
    changes = Changes(tuple(steps))
    assert [it.op for it in changes.changed] == ["update"]
    assert changes
    assert not Changes(tuple(steps[:1]))
