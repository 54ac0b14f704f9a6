"""Nodes beside the first one, of a test's own, and the program on them alone.

They are added to the lab that runs and taken away at the end. A taint keeps the pods of all others
off them and a selector the program's on them, so that nodes may be drained, killed and cut off here
while other tests use the lab.
"""

from __future__ import annotations

import json
import os
import re
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from lab import nodes, settings
from lab.daemon import Supervisor
from lab.node import Node
from lab.settings import LabSettings
from tests.e2e import release_history
from tests.e2e.releases import push_release
from tests.e2e.running import Running, begin
from tests.e2e.stand import ROOT, Finished, Stand, execute, stand
from tests.e2e.traffic import Seen, traffic

STACK = "production"
TAINT = "aegis.dev/trial"
SECONDS = 900
"""A deploy that a node is taken from waits until Kubernetes gives that up."""
SETTLED_SECONDS = 300
SETTINGS = {"minReadySeconds": 1, "preStopSeconds": 2, "drainSeconds": 5}
GATE = {"bakeSeconds": 5, "canary": 0, "unreadySeconds": 300, "p99Ms": 60_000, "probeRate": 20}
_SILENCE = re.compile(r"deadline exceeded|time(d ?)?out", re.IGNORECASE)
_TOLERATIONS = "tolerations=[_while_away(taint) for taint in _AWAY]"
_ACCOUNT = "            service_account_name=args.service_account,\n"


@dataclass
class Nodes:
    """The program on nodes of its own.

    Attributes:
        at: The program.
        lab: The lab.
        them: The nodes.
    """

    at: Stand
    lab: LabSettings
    them: list[Node]

    @property
    def namespace(self) -> str:
        """The namespace of the stack."""
        return self.at.namespace(STACK)

    @property
    def supervisor(self) -> Supervisor:
        """What knows the nodes' programs."""
        return Supervisor(self.lab)

    def aegis(self, *words: str, expect: int | None = 0) -> Finished:
        """Run `aegis` on the stack."""
        argv = ("aegis", *words, "--stack", STACK)
        done = execute(*argv, cwd=self.at.directory, env=self.at.environment)
        assert expect is None or done.code == expect, f"{argv}: {done.code}\n{done.output}"
        return done

    def told(self, *words: str) -> dict[str, Any]:
        """Run `aegis` on the stack; return its document."""
        found: dict[str, Any] = json.loads(self.aegis(*words, "--json").standard_output)
        return found

    def begin(self, *words: str) -> Running:
        """Begin `aegis` on the stack."""
        argv = ["aegis", *words, "--yes", "--stack", STACK]
        return begin(argv, self.at.directory, self.at.environment, SECONDS)

    def current(self) -> dict[str, Any]:
        """What the history says is deployed."""
        return release_history.current(self.at, STACK)

    def change(self, values: dict[str, object], gate: dict[str, object] | None = None) -> None:
        """Edit the stack's file, as a person does."""
        path = self.at.directory / f"Pulumi.{STACK}.yaml"
        content = yaml.safe_load(path.read_text())
        project, config = self.at.project, content["config"]
        config.update({f"{project}:{key}": value for key, value in values.items()})
        config[f"{project}:gate"] = {**config.get(f"{project}:gate", {}), **(gate or {})}
        path.write_text(yaml.safe_dump(content))

    def release(self, version: str) -> None:
        """Push an image of a version and choose it."""
        built = str(self.at.outputs(STACK)["imageDigest"])
        digest = push_release(self.at.environment, built, version)
        self.change({"imageDigest": digest, "version": version})

    def pods(self, version: str | None = None, *, ending: bool = False) -> list[dict[str, Any]]:
        """The service's pods, of all versions or of one; those that end only when asked for."""
        service = "app.kubernetes.io/name=aegis-api"
        items = self.at.cluster.objects("pods", self.namespace, service)
        label = "app.kubernetes.io/version"
        return [
            it
            for it in items
            if (ending or "deletionTimestamp" not in it["metadata"])
            and version in (None, it["metadata"]["labels"][label])
        ]

    def spread(self, version: str | None = None) -> Counter[str]:
        """How many pods each node has that are ready."""
        return Counter(str(it["spec"]["nodeName"]) for it in self.pods(version) if _is_ready(it))

    def homeless(self, version: str) -> bool:
        """Return whether there is a pod of a version that no node takes."""
        conditions = [
            condition
            for pod in self.pods(version)
            for condition in pod["status"].get("conditions", ())
        ]
        return any(it.get("reason") == "Unschedulable" for it in conditions)

    def wait_for(self, what: str, seconds: float, happened: object) -> None:
        """Wait until something is so."""
        assert callable(happened)
        deadline = time.monotonic() + seconds
        while not happened():
            assert time.monotonic() < deadline, f"{what}: {self.spread()}, {_states(self.pods())}"
            time.sleep(0.5)

    def whole(self, version: str) -> None:
        """Wait until all pods that there are to be serve a version, which is in order."""
        wanted = int(self.at.live("deployment", "aegis-api", self.namespace)["spec"]["replicas"])
        self.wait_for(
            f"{wanted} pods of {version}",
            SETTLED_SECONDS,
            lambda: self.spread(version).total() == wanted == len(self.pods()),
        )
        current = self.current()
        assert (current["version"], current["verified"]) == (version, True), current

    def even(self) -> None:
        """Have the pods spread anew over all the nodes, as they are put there: evenly."""
        restart = ("rollout", "restart", "deployment/aegis-api")
        where = ("--namespace", self.namespace)
        self.at.kubectl(*where, *restart)
        self.at.kubectl(*where, "rollout", "status", "deployment/aegis-api", "--timeout=180s")
        self.aegis("drift", "--fix", "--yes", expect=None)

    def drain(self, *them: Node) -> None:
        """Drain nodes, as a person does."""
        nodes.drain(self.lab, *them)

    def uncordon(self, *them: Node) -> None:
        """Have nodes take pods again."""
        self.at.kubectl("uncordon", *(node.name for node in them))

    def mended(self) -> None:
        """Have all nodes run, reachable, ready and open to pods."""
        nodes.bring_up(self.lab, self.supervisor, self.them)
        self.uncordon(*self.them)

    @contextmanager
    def loaded(self) -> Iterator[Seen]:
        """Send requests while the block runs."""
        with traffic(self.at.address(self.namespace), watched="version") as seen:
            yield seen


def require_served(seen: Seen, title: str) -> None:
    """Require that no request was lost."""
    print(f"{title}: {seen.total} requests, {len(seen.failures)} failed")  # noqa: T201
    assert seen.failures == []
    assert set(seen.answers) == {200}


@dataclass(frozen=True)
class Away:
    """A node that went.

    Attributes:
        went: When, in seconds since the epoch.
        out: When Kubernetes had taken its pods out.
        pods: How many pods were on it.
        of: How many there were.
    """

    went: float
    out: float
    pods: int
    of: int


def require_lost_only_meanwhile(seen: Seen, title: str, node: Away) -> None:
    """Require that only requests were lost that may have gone to a node that was away."""
    away, back = node.went, node.out
    lost = [it for it in seen.requests if not it.status]
    meanwhile = [it for it in seen.requests if away <= it.at <= back]
    print(  # noqa: T201
        f"{title}: {seen.total} requests, {len(lost)} lost, of {len(meanwhile)} sent in the "
        f"{back - away:.0f} s until Kubernetes took out the node's {node.pods} of {node.of} pods"
    )
    assert set(seen.answers) == {200}
    # Those that were under way as it went are lost as well.
    outside = [it for it in lost if not away - LONGEST_SECONDS <= it.at <= back + SYNCED_SECONDS]
    # A connection that a client kept to it is no business of Kubernetes': whenever it is used the
    # next time, it stays silent.
    late = [it for it in outside if it.stream != "new" and _SILENCE.search(it.error)]
    print(f"{len(late)} more were lost later, on connections that clients had kept to it")  # noqa: T201
    others = [f"{it.at - away:.1f} s: {it.stream}: {it.error}" for it in outside if it not in late]
    assert others == []


LONGEST_SECONDS = 10.0
"""What an answer may take at most for a client to have it: it is under way so long."""
SYNCED_SECONDS = 15.0
"""From a pod that is called unready to rules that no longer lead to it, on a busy machine."""


@contextmanager
def nodes_stand(directory: Path, project: str, count: int) -> Iterator[Nodes]:
    """Add nodes and deploy the program to them, verified; take all of it away at the end."""
    lab = settings.load(os.environ, ROOT)
    supervisor = Supervisor(lab)
    _clear(lab, supervisor)
    try:
        them = [nodes.join(lab, supervisor, taint=f"{TAINT}:NoSchedule") for _ in range(count)]
        with stand(directory, project) as at:
            _only_on(at.directory, [node.name for node in them])
            at.pulumi("stack", "init", STACK)
            at.stacks.append(STACK)
            it = Nodes(at, lab, them)
            it.change(dict(SETTINGS), dict(GATE))
            it.aegis("deploy", "--yes")
            it.release("1.0.0")
            it.aegis("deploy", "--yes")
            yield it
            # What is taken down needs kubelets that end it.
            it.mended()
    finally:
        _clear(lab, supervisor)


def _clear(lab: LabSettings, supervisor: Supervisor) -> None:
    """Take away the nodes of tests, also those of a run that was killed."""
    for node in nodes.recorded(lab):
        if node.taint.startswith(TAINT):
            nodes.take_away(lab, supervisor, node)


def _only_on(directory: Path, names: Sequence[str]) -> None:
    """Have the program's pods run on some nodes alone; how they spread over these is its own."""
    path = directory / "components" / "api_pod.py"
    text = path.read_text()
    assert _ACCOUNT in text
    assert _TOLERATIONS in text
    path.write_text(
        text.replace(
            _ACCOUNT,
            f"""{_ACCOUNT}            affinity=core.AffinityArgs(
                node_affinity=core.NodeAffinityArgs(
                    required_during_scheduling_ignored_during_execution=core.NodeSelectorArgs(
                        node_selector_terms=[
                            core.NodeSelectorTermArgs(
                                match_expressions=[
                                    core.NodeSelectorRequirementArgs(
                                        key="kubernetes.io/hostname",
                                        operator="In",
                                        values={list(names)!r},
                                    )
                                ]
                            )
                        ]
                    )
                )
            ),
""",
        ).replace(
            _TOLERATIONS,
            f'tolerations=[core.TolerationArgs(key="{TAINT}", operator="Exists"), '
            "*map(_while_away, _AWAY)]",
        )
    )


def _is_ready(pod: dict[str, Any]) -> bool:
    conditions = pod["status"].get("conditions", ())
    return any(it["type"] == "Ready" and it["status"] == "True" for it in conditions)


def _states(pods: Sequence[dict[str, Any]]) -> list[tuple[str, str, bool]]:
    return [(it["metadata"]["name"], str(it["spec"].get("nodeName")), _is_ready(it)) for it in pods]
