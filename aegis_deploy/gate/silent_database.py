"""Whether pods do not become ready for their database's sake, as others say that had reached it.

A pod that is ready reached its database once, with the settings that it has. So when all of those
say now that it is away, a pod beside them that waits for it is no fault of its release, and the
release before would wait as long. Where none is ready nobody can tell that from a wrong address.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

from aegis_deploy.common.errors import AegisError
from aegis_deploy.gate.data_prober import PATIENCE
from aegis_deploy.gate.prober import Asking, Proxied, ask
from aegis_deploy.kubernetes.client import ApiError
from aegis_deploy.kubernetes.informer import read_snapshot
from aegis_deploy.kubernetes.informers import Where, reach
from aegis_deploy.model.database.data_probes import AWAY, METHODS, READ, WRITE, excuse, of_template
from aegis_deploy.model.gate_settings import DataPaths, GateSettings
from aegis_deploy.model.workloads.rollout import Workload, http_port, is_going, is_ready
from aegis_deploy.model.workloads.workload_kinds import DEPLOYMENT, JOB

SHOWN_BY = frozenset({"unready", "deadline", "startup", "crash", "timeout", "job"})
"""The kinds of evidence that a database which is away brings about."""
_MOST_ASKED = 4
"""Of each workload: those that run know as much as any other."""


def who_says_away(cluster: Where, workloads: Sequence[Workload], settings: GateSettings) -> str:
    """Name the pods that are ready and say that their database is away; empty unless all do.

    Args:
        cluster: The cluster they are in, or what returns the one that each workload is in.
        workloads: What runs pods.
        settings: The gate's, which may say by which paths data is asked for.
    """
    asked: list[tuple[str, Asking]] = []
    # Who cannot look knows nothing.
    with suppress(ApiError, AegisError):
        for workload in workloads:
            if workload.kind != JOB:
                asked += _of_workload(cluster, workload, settings.data)
    if not asked:
        return ""
    with ThreadPoolExecutor(len(asked)) as beside:
        answers = beside.map(
            lambda it: ask(it[1], it[1].path, fresh=True, seconds=PATIENCE, excuse=excuse), asked
        )
        away = [it.excuse == AWAY for it in answers]
    return ", ".join(name for name, _ in asked) if all(away) else ""


def _of_workload(
    cluster: Where, workload: Workload, chosen: DataPaths | None
) -> list[tuple[str, Asking]]:
    """The ways to the data behind a workload's ready pods, old ones and new ones, by name."""
    at = reach(cluster)(workload)
    found: dict[bool, list[tuple[str, Asking]]] = {True: [], False: []}
    snapshot = read_snapshot(at, workload)
    for pod in snapshot.pods:
        port, paths = http_port(pod), _paths(workload, pod, chosen)
        path, of = (paths.read, READ) if paths.read else (paths.write, WRITE)
        if not path or port is None or is_going(pod) or not is_ready(pod):
            continue
        name, namespace = pod["metadata"]["name"], workload.namespace
        way = Proxied(at, f"/api/v1/namespaces/{namespace}/pods/http:{name}:{port}/proxy")
        of_release = found[snapshot.is_new(pod)]
        if len(of_release) < _MOST_ASKED // 2:
            of_release.append((f"{name}{workload.where}", Asking(way, path, METHODS[of])))
    return [*found[False], *found[True]]


def _paths(workload: Workload, pod: Mapping[str, Any], chosen: DataPaths | None) -> DataPaths:
    """What is asked for: the gate's setting is the project's, what a pod says its release's own."""
    if chosen is None:
        return of_template({"spec": {"template": pod}})
    return chosen if workload.kind == DEPLOYMENT or workload.service else DataPaths()
