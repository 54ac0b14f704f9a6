"""What was waived is told, with its reason, each time."""

from __future__ import annotations

from collections.abc import Iterator

from ..resources import Resource, Stack
from ..rule import LEAST_REASON, Level, Rule, waivers


def _check(resource: Resource, stack: Stack) -> Iterator[str]:  # noqa: ARG001
    for name, reason in sorted(waivers(resource).items()):
        if len(reason.strip()) >= LEAST_REASON:
            yield f"{name} does not hold for it: {reason.strip()}"


RULE = Rule(
    name="waived",
    level=Level.ADVISORY,
    says="What was waived is told, with its reason.",
    check=_check,
)
