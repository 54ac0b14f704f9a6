"""Outages of the lab's own daemons: one ends, or stands still, and is brought back.

Only processes that the lab itself started and recorded are touched. What ended is started again by
the same calls as `make up` makes, so that an outage leaves the lab as it was.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

from lab import cluster, containers, lifecycle, network_policies, nodes, registry, storage
from lab.daemon import Supervisor
from lab.errors import EXIT_REFUSED, EXIT_USAGE, LabError
from lab.settings import LabSettings

CONTROL_PLANE = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler")
NODE = ("kubelet", "kube-proxy")
RUNTIME = ("containerd",)
IMAGES = ("registry", "dockerd")
VOLUMES = (storage.NAME,)
POLICIES = (network_policies.NAME,)
DAEMONS = (*CONTROL_PLANE, *NODE, *RUNTIME, *IMAGES, *VOLUMES, *POLICIES)
"""What can be restarted; the rest holds the lab together."""


def known(names: Sequence[str]) -> tuple[str, ...]:
    """Return the daemons that are meant; `apiserver` means `kube-apiserver`.

    Raises:
        LabError: One is not known.
    """
    found = []
    for name in names:
        full = name if name in DAEMONS else f"kube-{name}"
        if full not in DAEMONS:
            raise LabError(
                what=f"the lab has no daemon {name} that could be restarted",
                why="only its own long-running programs can be",
                next=f"name one of {', '.join(DAEMONS)}",
                code=EXIT_USAGE,
            )
        found.append(full)
    return tuple(found)


def end(settings: LabSettings, *names: str, grace: float = 10) -> None:
    """End daemons and leave them ended.

    Args:
        settings: The lab, which is up.
        names: The daemons.
        grace: Seconds between SIGTERM and SIGKILL; 0 is as near to a crash as it gets.

    Raises:
        LabError: One is not known, or the lab is not up.
    """
    supervisor = Supervisor(settings)
    _require_up(supervisor)
    supervisor.stop(*known(names), grace=grace)


def resume(settings: LabSettings, *names: str) -> None:
    """Bring back everything of a lab that is up: what stands still goes on, what ended starts.

    Returns when the API server, the registry and the Docker daemon answer again and the node has
    told the API server anew that it is there.

    Args:
        settings: The lab.
        names: What there was an outage of; all of it unless named.

    Raises:
        LabError: The lab is not up, or something does not come back; its log is quoted.
    """
    supervisor = Supervisor(settings)
    _require_up(supervisor)
    for name in DAEMONS:
        _signal(supervisor, name, signal.SIGCONT)
    containers.start(settings, supervisor)
    cluster.start_control_plane(settings, supervisor)
    before = lifecycle.node_was_heard(settings)
    network_policies.start(settings, supervisor)
    cluster.start_node(settings, supervisor)
    storage.start(settings, supervisor)
    if not names or not set(names) <= {*IMAGES, *POLICIES}:
        supervisor.wait_for(
            ["kubelet", "containerd", "kube-apiserver"],
            lambda: lifecycle.node_was_heard(settings) not in {before, ""},
            what="the node to be heard of",
            timeout=nodes.SETTLED_SECONDS,
        )
    lifecycle.wait_for_node(settings, supervisor)
    registry.start(settings, supervisor)


def restart(settings: LabSettings, *names: str, grace: float = 10) -> None:
    """End daemons and bring them back.

    Raises:
        LabError: As `end` and `resume` do.
    """
    try:
        end(settings, *names, grace=grace)
    finally:
        resume(settings, *known(names))


@contextmanager
def ended(settings: LabSettings, *names: str, grace: float = 0) -> Iterator[None]:
    """Have daemons ended while the block runs."""
    try:
        end(settings, *names, grace=grace)
        yield
    finally:
        resume(settings, *known(names))


@contextmanager
def standing_still(settings: LabSettings, *names: str) -> Iterator[None]:
    """Have daemons stand still while the block runs: connections stay open and say nothing."""
    supervisor = Supervisor(settings)
    _require_up(supervisor)
    try:
        for name in known(names):
            _signal(supervisor, name, signal.SIGSTOP)
        yield
    finally:
        resume(settings, *known(names))


def _signal(supervisor: Supervisor, name: str, number: signal.Signals) -> None:
    pid = supervisor.pid_of(name)
    if pid is not None:
        with suppress(ProcessLookupError):
            os.kill(pid, number)


def _require_up(supervisor: Supervisor) -> None:
    if supervisor.pid_of("holder") is None:
        raise LabError(
            what="the lab is not up",
            why="no process holds its namespaces",
            next="make up",
            code=EXIT_REFUSED,
        )
