"""The kinds whose scope the official provider knows without asking a server, and type tokens."""

from __future__ import annotations

from aegis_deploy.model.cluster_scoped import CLUSTER_SCOPED
from lab.plugins.kubernetes.normalize import is_builtin_version

_NAMESPACED = frozenset(
    (
        "Binding",
        "ConfigMap",
        "ControllerRevision",
        "CronJob",
        "CSIStorageCapacity",
        "DaemonSet",
        "Deployment",
        "Endpoints",
        "EndpointSlice",
        "Event",
        "HorizontalPodAutoscaler",
        "Ingress",
        "Job",
        "Lease",
        "LimitRange",
        "NetworkPolicy",
        "PersistentVolumeClaim",
        "Pod",
        "PodDisruptionBudget",
        "PodTemplate",
        "ReplicaSet",
        "ReplicationController",
        "ResourceQuota",
        "Role",
        "RoleBinding",
        "Secret",
        "Service",
        "ServiceAccount",
        "StatefulSet",
    )
)
_EXTENSION_VERSIONS = ("apiextensions.k8s.io/v1", "apiregistration.k8s.io/v1")
_URN_PARTS = 4


def known_scope(api_version: str, kind: str) -> bool | None:
    """Say whether a built-in kind is namespaced, None when only a server knows."""
    if is_builtin_version(api_version) or api_version in _EXTENSION_VERSIONS:
        if kind in _NAMESPACED:
            return True
        if kind in CLUSTER_SCOPED:
            return False
    return None


def urn_type(urn: str) -> str:
    """Return the type token in a URN (the last one of a chain of parents)."""
    parts = urn.split("::")
    return parts[2].rpartition("$")[2] if len(parts) >= _URN_PARTS else ""


def urn_name(urn: str) -> str:
    """Return the resource's name in a URN."""
    return "::".join(urn.split("::")[3:])


def kind_of_urn(urn: str) -> tuple[str, str]:
    """Return the API version (``v1``, ``apps/v1``) and the kind a resource's type stands for.

    Raises:
        ValueError: The type is none of this provider's.
    """
    token = urn_type(urn)
    package, _, rest = token.partition(":")
    module, _, kind = rest.rpartition(":")
    if package != "kubernetes" or module.count("/") != 1 or not kind:
        raise ValueError(f"unrecognized resource type {token!r} for the kubernetes provider")
    return module.removeprefix("core/"), kind


def is_patch(urn: str, kind: str) -> bool:
    """Say whether a resource is a Patch resource for objects of this kind."""
    return urn_type(urn).rpartition(":")[2] == f"{kind}Patch"


def is_list(urn: str) -> bool:
    """Say whether a resource is one of the built-in List kinds."""
    token = urn_type(urn)
    module = token.partition(":")[2].rpartition(":")[0].removeprefix("core/")
    kind = token.rpartition(":")[2]
    return kind.endswith("List") and known_scope(module, kind.removesuffix("List")) is not None
