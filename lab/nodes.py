"""The nodes beside the first one: added, taken away, stopped, cut off, and known again.

A node that was added is one of the lab until it leaves: a directory of its own says so, whatever
runs of it. What it runs are daemons like all others, on record under its name.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from lab import (
    cgroup,
    cluster,
    containers,
    dns,
    images,
    isolation,
    network_policies,
    objects,
    pki,
    preflight,
)
from lab.command import wait_until
from lab.daemon import Supervisor
from lab.errors import EXIT_REFUSED, EXIT_USAGE, LabError
from lab.node import HOLDER, Node, directories, first, further, number_of
from lab.settings import MOST_NODES, NAME, LabSettings

SETTLED_SECONDS = 150.0
"""How long a node may take to be ready again after its API server was away: client-go's reflectors
wait up to 30 s, doubled by jitter, before they list anew, and the controllers' have to as well."""
DRAIN_SECONDS = 180
"""How long a node's pods may take to go elsewhere before it leaves."""
_PROGRAMS = ("kubelet", "kube-proxy", network_policies.NAME, "containerd")
_RECORD = "node.json"


@dataclass(frozen=True)
class State:
    """What is seen of one node.

    Attributes:
        node: It.
        runs: Which of its programs run.
        cut: Whether its link is down.
        ready: What the cluster says of it; empty when it knows no such node.
        schedulable: Whether pods may be put on it.
    """

    node: Node
    runs: tuple[str, ...]
    cut: bool
    ready: str
    schedulable: bool


def recorded(settings: LabSettings) -> list[Node]:
    """Return the further nodes that the lab has, whether they run or not."""
    found = []
    for path in directories(settings).glob(f"{NAME}-*/{_RECORD}"):
        known = json.loads(path.read_text())
        found.append(further(settings, known["number"], known["taint"]))
    return sorted(found, key=lambda node: node.number)


def everybodys(settings: LabSettings) -> list[Node]:
    """Return the further nodes that anybody's pods may be on; those with a taint are somebody's."""
    return [node for node in recorded(settings) if not node.taint]


def count(settings: LabSettings) -> int:
    """Return how many nodes the lab has for everybody, with the first one."""
    return 1 + len(everybodys(settings))


def named(settings: LabSettings, name: str) -> Node:
    """Return the further node of a name.

    Raises:
        LabError: The lab has none that is called so.
    """
    number = number_of(name)
    them = recorded(settings)
    for node in them:
        if node.number == number:
            return node
    raise LabError(
        what=f"the lab has no node {NAME}-{number}",
        why=f"beside {NAME} it has {', '.join(it.name for it in them) or 'none'}",
        next=f"python -m lab node join {NAME}-{number} adds it",
        code=EXIT_USAGE,
    )


def join(
    settings: LabSettings, supervisor: Supervisor, name: str | None = None, taint: str = ""
) -> Node:
    """Add a node, or bring up the one of that name; return when it is ready.

    Args:
        settings: The lab, which is up.
        supervisor: What starts its programs.
        name: Its name; the next one unless given.
        taint: What keeps pods off it from the beginning, as `key:effect`.

    Raises:
        LabError: The lab is not up, it has as many as it can, or the node does not come up.
    """
    require_up(supervisor)
    number = _next(settings) if name is None else number_of(name)
    node = next((it for it in recorded(settings) if it.number == number), None)
    if node is None:
        preflight.require_room_for_nodes(1)
        node = further(settings, number, taint)
        _note(node)
    bring_up(settings, supervisor, [node])
    return node


def ensure(settings: LabSettings, supervisor: Supervisor, wanted: int) -> list[Node]:
    """Have so many nodes: bring up those that there are, add or drain and take away the rest.

    Those that were added with a taint are somebody's own, who may just have killed one: they are
    neither counted nor touched.

    Args:
        settings: The lab, whose first node is ready.
        supervisor: What starts their programs.
        wanted: How many, with the first one.

    Returns:
        The further nodes.

    Raises:
        LabError: One does not come up, or its pods do not go elsewhere.
    """
    them = everybodys(settings)
    for node in them[wanted - 1 :]:
        leave(settings, supervisor, node)
    them = them[: wanted - 1]
    while len(them) < wanted - 1:
        node = further(settings, _next(settings))
        _note(node)
        them.append(node)
    bring_up(settings, supervisor, them)
    return them


def bring_up(settings: LabSettings, supervisor: Supervisor, them: Sequence[Node]) -> None:
    """Start what does not run of some nodes, mend their links, and wait until they are ready.

    Raises:
        LabError: One does not come up; its log is quoted.
    """
    before = {}
    for node in them:
        if supervisor.pid_of(node.daemon("kubelet")) is None:
            before[node.name] = heard(settings, node)
        if not isolation.node_stands(supervisor, node):
            _end(supervisor, node, grace=1)
        pki.add_node(settings, node)
        cgroup.create(part=node.group)
        isolation.create_node(settings, supervisor, node)
        isolation.join_link(node)
        containers.start(settings, supervisor, node)
        images.load_cluster_images(settings, node)
        network_policies.start(settings, supervisor, node)
        cluster.start_node(settings, supervisor, node)
    for node in them:
        wait_until_ready(settings, supervisor, node, since=before.get(node.name))
    if them:
        zone = f"{cluster.ZONE_LABEL}={first(settings).zone}"
        words = ("label", "node", NAME, zone, "--overwrite")
        objects.kubectl(settings, *words, what="say in which zone the first node is")
    # One more of CoreDNS, or one less: a node that dies is not to take the names along.
    objects.apply(settings, dns.manifests(settings, nodes=count(settings)), what="CoreDNS")


def stop(supervisor: Supervisor, node: Node) -> None:
    """Shut a node down as a machine is: its pods are told to end, and then it is gone."""
    supervisor.stop(node.daemon("kubelet"))
    cgroup.end_all(below=f"{node.group}/kubepods", grace=5)
    _end(supervisor, node, grace=5)
    if isolation.node_has_link(node):
        isolation.cut_link(node)


def kill(supervisor: Supervisor, node: Node) -> None:
    """Take the power from a node: from one moment to the next nothing of it runs or answers."""
    if isolation.node_has_link(node):
        isolation.cut_link(node)
    _end(supervisor, node, grace=0)


def cut(supervisor: Supervisor, node: Node) -> None:
    """Take down a node's link: what runs on it runs on, and nobody can reach it.

    Raises:
        LabError: The node does not run, so that it has no link.
    """
    _require_stands(supervisor, node)
    isolation.cut_link(node)


def mend(supervisor: Supervisor, node: Node) -> None:
    """Take up a node's link again.

    Raises:
        LabError: The node does not run, so that it has no link.
    """
    _require_stands(supervisor, node)
    isolation.join_link(node)


def leave(settings: LabSettings, supervisor: Supervisor, node: Node) -> None:
    """Drain a node, so that its pods go elsewhere, and take it away with all that it had.

    One that is off, cut off or not ready has no kubelet that could end its pods, whatever the
    cluster still says of it: it is taken away at once.

    Raises:
        LabError: Its pods did not go elsewhere; it is still there, and gets no new ones.
    """
    runs = supervisor.pid_of(node.daemon("kubelet")) is not None
    if runs and not isolation.is_cut(node) and ready(settings, node) == "True":
        drain(settings, node)
    take_away(settings, supervisor, node)


def drain(settings: LabSettings, *them: Node) -> None:
    """Have the pods of some nodes go elsewhere, as many at a time as their budgets allow.

    Raises:
        LabError: They did not in time; the nodes get no new ones.
    """
    names = [node.name for node in them]
    words = ("drain", *names, "--ignore-daemonsets", "--delete-emptydir-data", "--force")
    what = f"drain {', '.join(names)}"
    try:
        objects.kubectl(
            settings, *words, f"--timeout={DRAIN_SECONDS}s", what=what, timeout=DRAIN_SECONDS + 30
        )
    except LabError as error:
        raise LabError(
            what=f"could not {what}",
            why=error.why,
            state="it is still there and gets no new pods",
            next="see which PodDisruptionBudget keeps them: kubectl get poddisruptionbudgets -A; "
            f"or take it all the same: kubectl uncordon {names[0]}",
        ) from error


def take_away(settings: LabSettings, supervisor: Supervisor, node: Node) -> None:
    """Take a node out of the cluster, with its pods, and away with all that it has."""
    words = ("delete", "node", node.name, "--ignore-not-found")
    objects.kubectl(settings, *words, what=f"take {node.name} out of the cluster")
    _end(supervisor, node, grace=2)
    isolation.remove_node_network(node)
    cgroup.remove(part=node.group)
    pki.remove_node(settings, node)
    shutil.rmtree(node.state, ignore_errors=True)


def down(supervisor: Supervisor, them: Sequence[Node]) -> None:
    """Take away the namespaces of nodes that run no more, and what is in their /run."""
    supervisor.stop(*(node.daemon(it) for node in them for it in (*_PROGRAMS, HOLDER)))
    for node in them:
        isolation.remove_node_network(node)
        isolation.clean_run_directory(node)


def look(settings: LabSettings, supervisor: Supervisor) -> list[State]:
    """Look at every node of the lab.

    Raises:
        LabError: The API server does not answer.
    """
    items = {it["metadata"]["name"]: it for it in _live(settings)}
    found = []
    for node in (first(settings), *recorded(settings)):
        live = items.get(node.name, {})
        found.append(
            State(
                node=node,
                runs=tuple(it for it in _PROGRAMS if supervisor.pid_of(node.daemon(it))),
                cut=not node.is_first and isolation.is_cut(node),
                ready=_ready(live),
                schedulable=not (live.get("spec") or {}).get("unschedulable"),
            )
        )
    return found


def ready(settings: LabSettings, node: Node) -> str:
    """Return what the cluster says of a node: True, False, Unknown, or nothing."""
    try:
        items = _live(settings)
    except LabError:
        return ""  # The API server may not have settled; a deadline decides.
    return next((_ready(it) for it in items if it["metadata"]["name"] == node.name), "")


def heard(settings: LabSettings, node: Node) -> str:
    """Return when a node last told the API server that it is there; empty when nobody knows."""
    words = ("--namespace", "kube-node-lease", "get", "lease", node.name)
    path = "jsonpath={.spec.renewTime}"
    try:
        return objects.kubectl(settings, *words, "-o", path, what="look at the node's lease")
    except LabError:
        return ""


def wait_until_ready(
    settings: LabSettings, supervisor: Supervisor, node: Node, since: str | None = None
) -> None:
    """Wait until a node says that it is ready.

    Args:
        settings: The lab.
        supervisor: What knows its programs.
        node: The node.
        since: When it was heard of before it was started: of a node that was off for a moment the
            cluster says that it is ready before it is. None where it runs all the time.

    Raises:
        LabError: It does not in time, or its kubelet or containerd ended.
    """

    def is_ready() -> bool:
        anew = since is None or heard(settings, node) not in {since, ""}
        return anew and ready(settings, node) == "True"

    supervisor.wait_for(
        [node.daemon("kubelet"), node.daemon("containerd")],
        is_ready,
        what=f"{node.name} to be ready",
        timeout=SETTLED_SECONDS,
    )


def wait_until_given_up(settings: LabSettings, node: Node) -> float:
    """Wait until Kubernetes calls a node dead; return the seconds that took.

    Raises:
        LabError: It does not.
    """
    return wait_until(
        lambda: ready(settings, node) != "True",
        what=f"Kubernetes to give {node.name} up",
        timeout=SETTLED_SECONDS,
    )


def require_up(supervisor: Supervisor) -> None:
    """Check that the lab is up.

    Raises:
        LabError: It is not.
    """
    if supervisor.pid_of(HOLDER) is None:
        raise LabError(
            what="the lab is not up",
            why="no process holds its namespaces",
            next="make up",
            code=EXIT_REFUSED,
        )


def _require_stands(supervisor: Supervisor, node: Node) -> None:
    if not isolation.node_stands(supervisor, node):
        raise LabError(
            what=f"{node.name} does not run",
            why="no process holds its namespaces",
            next=f"python -m lab node start {node.name}",
            code=EXIT_REFUSED,
        )


def _end(supervisor: Supervisor, node: Node, grace: float) -> None:
    """End all that runs of a node, and have it begin as after a boot."""
    cgroup.end_all(below=node.group, grace=grace)
    supervisor.stop(*(node.daemon(it) for it in (*_PROGRAMS, HOLDER)))
    isolation.clean_run_directory(node)


def _note(node: Node) -> None:
    node.state.mkdir(parents=True, exist_ok=True)
    partial = node.state / f"{_RECORD}.partial"
    partial.write_text(json.dumps({"number": node.number, "taint": node.taint}))
    partial.replace(node.state / _RECORD)


def _next(settings: LabSettings) -> int:
    taken = {node.number for node in recorded(settings)}
    number = next((it for it in range(2, MOST_NODES + 1) if it not in taken), None)
    if number is None:
        raise LabError(
            what="the lab cannot have a further node",
            why=f"it has {MOST_NODES}, which is as many as it has addresses for",
            next="python -m lab node leave NAME",
            code=EXIT_REFUSED,
        )
    return number


def _live(settings: LabSettings) -> list[dict[str, Any]]:
    shown = objects.kubectl(settings, "get", "nodes", "-o", "json", what="look at the nodes")
    items: list[dict[str, Any]] = json.loads(shown)["items"]
    return items


def _ready(live: dict[str, Any]) -> str:
    conditions = (live.get("status") or {}).get("conditions", ())
    return next((str(it["status"]) for it in conditions if it["type"] == "Ready"), "")
