"""Paths into a resource's properties, as Pulumi's options have them: ``spec.ports[0]["a.b"].*``."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from aegis_deploy.stack.checkpoint import plain

EVERYTHING = "*"
_STEP = re.compile(r"""\["((?:[^"\\]|\\.)*)"\]|\[(\d+|\*)\]|([^.\[\]]+)""")


def steps_of(path: str) -> tuple[str, ...]:
    """Split a path into its steps."""
    return tuple(quoted or index or name for quoted, index, name in _STEP.findall(path))


def within(inner: Sequence[str], outer: Sequence[str]) -> bool:
    """Whether a path is another one or lies below it."""
    return len(inner) >= len(outer) and all(
        there in (EVERYTHING, here) for here, there in zip(inner, outer, strict=False)
    )


def found(value: Any, steps: Sequence[str]) -> Any:  # noqa: ANN401 - any property value
    """What properties have at a path, secrets without their envelopes; None where there is none."""
    value = plain(value)
    if not steps:
        return value
    first, *rest = steps
    if first == EVERYTHING:
        if isinstance(value, Mapping):
            return {key: found(inner, rest) for key, inner in value.items()}
        return [found(inner, rest) for inner in value] if isinstance(value, list) else None
    if isinstance(value, Mapping):
        return found(value.get(first), rest)
    if isinstance(value, list) and first.isdigit() and int(first) < len(value):
        return found(value[int(first)], rest)
    return None
