"""What a rule is, and how a violation of it can be waived with a reason."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum

from .resources import Resource, Stack, look, mapped

WAIVER = "policy.aegis/"
"""The beginning of an annotation that waives a rule for one object; its value is the reason."""

LEAST_REASON = 10
"""A reason shorter than this says nothing."""


class Level(Enum):
    """What a violation does: end the preview or update, or be told."""

    ADVISORY = "advisory"
    MANDATORY = "mandatory"


Problems = Iterable[str]
"""What is wrong with one resource, each with how to mend it; no text of a secret."""


@dataclass(frozen=True, kw_only=True)
class Rule:
    """One rule.

    Attributes:
        name: What it is called, in messages, waivers and the pack's configuration.
        level: What a violation does.
        says: The rule in one sentence.
        check: Finds what is wrong with a resource, given what is known of the stack.
        kinds: The kinds of Kubernetes object it looks at; none means every resource.
        whole_stack: Whether it needs all of the stack, also what was registered later. Such a rule
            is judged once at the end: before anything is changed in a preview, after in an update.
    """

    name: str
    level: Level
    says: str
    check: Callable[[Resource, Stack], Problems]
    kinds: tuple[str, ...] = ()
    whole_stack: bool = False

    def problems(self, resource: Resource, stack: Stack) -> Iterator[str]:
        """What is wrong with a resource and not waived."""
        if self.kinds and resource.kind not in self.kinds:
            return
        reason = waivers(resource).get(self.name)
        if reason is not None and len(reason.strip()) >= LEAST_REASON:
            return
        for problem in self.check(resource, stack):
            if reason is not None:
                yield f"{problem} (The waiver {WAIVER}{self.name} gives no reason.)"
            else:
                yield problem


@dataclass(frozen=True)
class Violation:
    """A resource that does not keep to a rule."""

    rule: Rule
    resource: Resource
    message: str


def waivers(resource: Resource) -> dict[str, str]:
    """The rules an object asks to be excused from, with its reasons."""
    annotations = mapped(resource.inputs, "metadata", "annotations")
    return {
        key.removeprefix(WAIVER): str(look(annotations, key))
        for key in annotations
        if key.startswith(WAIVER)
    }


def violations(rules: Sequence[Rule], stack: Stack) -> list[Violation]:
    """Judge a whole stack.

    Args:
        rules: The rules.
        stack: All of its resources.
    """
    return [
        Violation(rule, resource, message)
        for rule in rules
        for resource in stack
        for message in rule.problems(resource, stack)
    ]
