"""Which kinds of objects run pods, and which of them a gate judges: the one list of them. Pure.

A kind is told by its Pulumi type, such as ``kubernetes:apps/v1:StatefulSet``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aegis_deploy.model.workloads.pod_images import containers_of

DEPLOYMENT, STATEFUL_SET, DAEMON_SET, JOB = "Deployment", "StatefulSet", "DaemonSet", "Job"
GATED = (DEPLOYMENT, STATEFUL_SET, DAEMON_SET)
"""What runs pods for good, and is judged by the gate."""
_ROLLOUT = "Rollout"
"""Of Argo Rollouts: its images are known, nothing more is."""
_SCALED = (DEPLOYMENT, STATEFUL_SET, "ReplicaSet", "ReplicationController", _ROLLOUT)
_APPS = "kubernetes:apps/v1:"
_JOB = "kubernetes:batch/v1:Job"
_POD = "kubernetes:core/v1:Pod"
_HELM_RELEASE = "kubernetes:helm.sh/v3:Release"


def gated(token: str) -> str | None:
    """Return the kind of what the gate judges; None for everything else."""
    kind = token.removeprefix(_APPS)
    return kind if token.startswith(_APPS) and kind in GATED else None


def is_job(token: str) -> bool:
    """Return whether a type is that of a Job: its pods are to end, which its provider awaits."""
    return token == _JOB


def is_workload(token: str) -> bool:
    """Return whether a type is that of something whose pods run for good and that Kubernetes has.

    Of whatever version of its API: what was recorded may be old.
    """
    return token.startswith("kubernetes:apps/") and _kind(token) in GATED


def is_scaled(token: str) -> bool:
    """Return whether a type is that of something that runs as many pods as it is told to."""
    return token.startswith("kubernetes:") and _kind(token) in _SCALED


def runs_to_its_end(token: str) -> bool:
    """Return whether a type is that of something whose pods are run once: a Job, a bare Pod."""
    return token in (_JOB, _POD)


def names_images(token: str) -> bool:
    """Return whether a type is that of something whose images tell what a release runs."""
    return _kind(token) in (*GATED, _ROLLOUT)


def is_ungated(token: str, manifest: Mapping[str, Any] | None) -> bool:
    """Return whether something runs pods and is looked at by its provider alone.

    Args:
        token: Its type.
        manifest: It, as a program declares it; pods of kinds nobody knows are told by its template.
    """
    if not token.startswith("kubernetes:") or gated(token) or is_job(token):
        return False
    return token in (_HELM_RELEASE, _POD) or bool(containers_of(manifest))


def _kind(token: str) -> str:
    return token.rpartition(":")[2]
