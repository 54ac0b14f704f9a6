"""A rollout never leaves fewer pods than asked for."""

from __future__ import annotations

from collections.abc import Iterator

from ..quantities import share
from ..resources import Resource, Stack, is_unknown, look
from ..rule import Level, Rule

_HUNDRED = 100
_DEFAULT_DEADLINE = 600


def _check(resource: Resource, stack: Stack) -> Iterator[str]:  # noqa: ARG001
    spec = look(resource.inputs, "spec")
    if is_unknown(spec):
        return
    kind = look(spec, "strategy", "type")
    if kind == "Recreate":
        yield (
            "spec.strategy.type is Recreate: every old pod ends before a new one starts. "
            "Set it to RollingUpdate with maxUnavailable: 0."
        )
        return
    rolling = look(spec, "strategy", "rollingUpdate")
    unavailable = look(rolling, "maxUnavailable")
    if not is_unknown(unavailable) and share(unavailable, _HUNDRED) != 0:
        given = "not set, so a quarter" if unavailable is None else unavailable
        yield (
            f"spec.strategy.rollingUpdate.maxUnavailable is {given}: a rollout takes pods away "
            "before their successors are ready. Set it to 0."
        )
    surge = look(rolling, "maxSurge")
    if surge is not None and not is_unknown(surge) and share(surge, _HUNDRED) == 0:
        yield (
            "spec.strategy.rollingUpdate.maxSurge is 0: with maxUnavailable: 0 no rollout could "
            "begin. Set it to 1 or more."
        )
    ready, deadline = look(spec, "minReadySeconds"), look(spec, "progressDeadlineSeconds")
    if is_unknown(ready) or is_unknown(deadline):
        return
    if not ready:
        yield (
            "spec.minReadySeconds is 0: a pod that is ready for a moment counts, and an old one "
            "goes. Set it to a few seconds."
        )
    if int(ready or 0) >= int(_DEFAULT_DEADLINE if deadline is None else deadline):
        yield (
            "spec.progressDeadlineSeconds is not above minReadySeconds: every rollout would be "
            "called failed. Raise it."
        )


RULE = Rule(
    name="rolling-update",
    level=Level.MANDATORY,
    says="A rollout never leaves fewer pods than asked for.",
    check=_check,
    kinds=("Deployment",),
)
