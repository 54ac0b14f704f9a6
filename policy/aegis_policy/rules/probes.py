"""Every serving container has startup, readiness and liveness probes that differ."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ..pods import SERVING, Container, containers
from ..resources import Resource, Stack, is_unknown, look
from ..rule import Level, Rule

_WHY = {
    "startupProbe": "a slow start is killed as if it hung",
    "readinessProbe": "requests reach a pod that cannot answer them yet",
    "livenessProbe": "a pod that hangs stays for ever",
}
_HANDLERS = ("httpGet", "exec", "tcpSocket", "grpc")
_DEFAULT_PERIOD, _DEFAULT_FAILURES = 10, 3


def _check(resource: Resource, stack: Stack) -> Iterator[str]:  # noqa: ARG001
    for container in containers(resource):
        if not container.helper:
            yield from _probes(container)


def _probes(container: Container) -> Iterator[str]:
    for probe, why in _WHY.items():
        if look(container.spec, probe) is None:
            yield f"container {container.name} has no {probe}: {why}. Add one."
    readiness, liveness = (look(container.spec, name) for name in list(_WHY)[1:])
    if None in (readiness, liveness) or is_unknown(readiness) or is_unknown(liveness):
        return
    if _handler(readiness) == _handler(liveness):
        yield (
            f"container {container.name} asks the same for readiness and liveness: an overloaded "
            "or draining pod is restarted, which loses what it was doing, when it should only get "
            "no new requests. Let liveness ask whether the process is alive, nothing more."
        )
    if _patience(liveness) <= _patience(readiness):
        yield (
            f"container {container.name}'s livenessProbe gives up after {_patience(liveness)} s, "
            f"not later than its readinessProbe ({_patience(readiness)} s): the pod is restarted "
            "before it is taken out of the Service. Raise periodSeconds or failureThreshold."
        )


def _handler(probe: Any) -> list[Any]:  # noqa: ANN401
    return [look(probe, kind) for kind in _HANDLERS]


def _patience(probe: Any) -> int:  # noqa: ANN401
    period, failures = look(probe, "periodSeconds"), look(probe, "failureThreshold")
    return int(period or _DEFAULT_PERIOD) * int(failures or _DEFAULT_FAILURES)


RULE = Rule(
    name="probes",
    level=Level.MANDATORY,
    says="Every serving container has startup, readiness and liveness probes that differ.",
    check=_check,
    kinds=SERVING,
)
