"""A pod has the time to finish: its grace period is longer than preStop and drain together."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

from ..environment import variables
from ..pods import Container, containers, pod_spec
from ..resources import Resource, Stack, is_unknown, listed, look
from ..rule import Level, Rule

DRAIN = "AEGIS_DRAIN_SECONDS"
"""The variable that tells the service how long it may drain."""

_DEFAULT_GRACE = 30


def _check(resource: Resource, stack: Stack) -> Iterator[str]:
    grace = look(pod_spec(resource), "terminationGracePeriodSeconds")
    if is_unknown(grace):
        return
    seconds = _DEFAULT_GRACE if grace is None else int(grace)
    for container in containers(resource):
        if container.helper or not listed(container.spec, "ports"):
            continue
        sleep = _pre_stop(container)
        if sleep is None:
            yield (
                f"container {container.name} has no lifecycle.preStop that sleeps: it stops while "
                "proxies still send it requests. Add lifecycle.preStop.sleep.seconds."
            )
            continue
        drain = _drain(resource, container, stack)
        if seconds <= sleep + drain:
            yield (
                f"terminationGracePeriodSeconds is {seconds}, and container {container.name} "
                f"sleeps {sleep} s before it stops and then drains for up to {drain} s: it is "
                f"killed while it still answers. Set it to {sleep + drain + 5} or more."
            )


def _pre_stop(container: Container) -> int | None:
    hook = look(container.spec, "lifecycle", "preStop")
    if is_unknown(hook):
        return 0
    seconds = look(hook, "sleep", "seconds")
    if seconds is None:
        seconds = _slept_by(listed(hook, "exec", "command"))
    return None if seconds is None else 0 if is_unknown(seconds) else int(seconds)


def _slept_by(command: list[Any]) -> int | None:
    words = " ".join(str(word) for word in command).split()
    for word, following in pairwise(words):
        if word.rpartition("/")[2] == "sleep" and following.isdecimal():
            return int(following)
    return None


def _drain(resource: Resource, container: Container, stack: Stack) -> int:
    value = variables(resource, container, stack).get(DRAIN)
    return int(value) if isinstance(value, str) and value.isdecimal() else 0


RULE = Rule(
    name="grace-period",
    level=Level.MANDATORY,
    says="A pod's grace period is longer than its preStop and its drain together.",
    check=_check,
    kinds=("Deployment", "StatefulSet"),
)
