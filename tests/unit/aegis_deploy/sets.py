"""StatefulSets, DaemonSets and Jobs with their pods, as an API server lists them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aegis_deploy.model.workloads.rollout import Snapshot
from aegis_deploy.model.workloads.workload_kinds import DAEMON_SET, JOB, STATEFUL_SET

OLD, NEW = "db-old", "db-new"
RUNNING = {"running": {"startedAt": "2026-01-01T00:00:00Z"}}
CRASHED = {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off"}}
LAST = {"terminated": {"exitCode": 3, "reason": "Error"}}
HANGING: Mapping[str, Any] = {"waiting": {"reason": "PodInitializing"}}
TEMPLATE: Mapping[str, Any] = {
    "metadata": {"labels": {"app": "db"}},
    "spec": {"containers": [{"name": "db", "image": "db:1"}]},
}


def pod(
    name: str,
    revision: str = NEW,
    *,
    ready: bool = True,
    going: bool = False,
    state: Mapping[str, Any] = RUNNING,
    restarts: int = 0,
    version: str | None = None,
    initial: Mapping[str, Any] | None = None,
    generation: int | None = None,
) -> dict[str, Any]:
    """A pod of the set `db`, whose uid is its name and revision."""
    labels = {"app": "db", "controller-revision-hash": revision}
    if version is not None:
        labels["app.kubernetes.io/version"] = version
    if generation is not None:
        labels["pod-template-generation"] = str(generation)
    container = {"name": "db", "ready": ready, "started": ready, "state": dict(state)}
    container |= {"restartCount": restarts, "lastState": LAST if restarts else {}}
    status: dict[str, Any] = {
        "phase": "Running",
        "conditions": [{"type": "Ready", "status": str(ready)}],
        "containerStatuses": [container],
    }
    made: dict[str, Any] = {
        "metadata": {
            "name": name,
            "namespace": "shop",
            "uid": f"{name} {revision}",
            "labels": labels,
            "ownerReferences": [{"controller": True, "uid": "db"}],
        },
        "spec": {"containers": [{"name": "db", "image": "db:1"}]},
        "status": status,
    }
    if initial is not None:
        made["spec"]["initContainers"] = [{"name": "wait"}]
        status["initContainerStatuses"] = [{"name": "wait", "state": dict(initial)}]
    if going:
        made["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    return made


def live(
    spec: Mapping[str, Any], status: Mapping[str, Any], *, generation: int = 2, **more: Any
) -> dict[str, Any]:
    """A workload called `db` of which the cluster has taken note."""
    return {
        "metadata": {
            "name": "db",
            "namespace": "shop",
            "uid": "db",
            "generation": generation,
            **more,
        },
        "spec": {"template": TEMPLATE, **spec},
        "status": {"observedGeneration": generation, **status},
    }


def stateful_set(
    *pods: dict[str, Any],
    replicas: int = 2,
    generation: int = 2,
    status: Mapping[str, Any] | None = None,
    **spec: Any,
) -> Snapshot:
    """A StatefulSet of whose pods those of the revision `NEW` are the new release's."""
    there = [it for it in pods if "deletionTimestamp" not in it["metadata"]]
    ready = [it for it in there if it["status"]["conditions"][0]["status"] == "True"]
    new = [it for it in there if it["metadata"]["labels"]["controller-revision-hash"] == NEW]
    said = {
        "replicas": len(there),
        "readyReplicas": len(ready),
        "availableReplicas": len(ready),
        "updatedReplicas": len(new),
        "currentRevision": OLD,
        "updateRevision": NEW,
        **(status or {}),
    }
    return Snapshot(
        kind=STATEFUL_SET,
        live=live({"replicas": replicas, **spec}, said, generation=generation),
        pods=pods,
    )


def revision(name: str, image: str) -> dict[str, Any]:
    """A ControllerRevision of a DaemonSet, whose template has an image."""
    template = {
        "$patch": "replace",
        "metadata": {"labels": {"app": "db"}, "creationTimestamp": None},
        "spec": {"containers": [{"name": "db", "image": image}]},
    }
    return {
        "metadata": {"name": f"db-{name}", "labels": {"controller-revision-hash": name}},
        "data": {"spec": {"template": template}},
    }


def daemon_set(
    *pods: dict[str, Any],
    revisions: tuple[dict[str, Any], ...] = (),
    generation: int = 2,
    status: Mapping[str, Any] | None = None,
    **spec: Any,
) -> Snapshot:
    """A DaemonSet that is to have one pod."""
    said = {
        "desiredNumberScheduled": 1,
        "currentNumberScheduled": 1,
        "updatedNumberScheduled": 1,
        "numberReady": 1,
        "numberAvailable": 1,
        **(status or {}),
    }
    marks: dict[str, Any] = {
        "annotations": {"deprecated.daemonset.template.generation": str(generation)}
    }
    return Snapshot(
        kind=DAEMON_SET,
        live=live(spec, said, generation=generation, **marks),
        revisions=revisions,
        pods=pods,
    )


def job(*pods: dict[str, Any], failed: str = "", going: bool = False) -> Snapshot:
    """A Job, failed for a reason or not."""
    status: dict[str, Any] = {}
    if failed:
        why = {"reason": failed, "message": "Job has reached the specified backoff limit"}
        status["conditions"] = [{"type": "Failed", "status": "True", **why}]
    more: dict[str, Any] = {"deletionTimestamp": "2026-01-01T00:00:00Z"} if going else {}
    return Snapshot(kind=JOB, live=live({"backoffLimit": 1}, status, **more), pods=pods)
