"""Which kinds have their objects in no namespace; of Kubernetes' own, the one list of them. Pure.

For where no API server can be asked. What a cluster says of a kind is read from its discovery
(:mod:`drift.live_objects`). The policy pack runs in an environment of its own and has a copy.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

_DEFINES = "kubernetes:apiextensions.k8s.io/"
"""What the type of a resource that defines a kind begins with."""

CLUSTER_SCOPED = frozenset(
    {
        "APIService",
        "CSIDriver",
        "CSINode",
        "CertificateSigningRequest",
        "ClusterRole",
        "ClusterRoleBinding",
        "CustomResourceDefinition",
        "FlowSchema",
        "IngressClass",
        "MutatingAdmissionPolicy",
        "MutatingAdmissionPolicyBinding",
        "MutatingWebhookConfiguration",
        "Namespace",
        "Node",
        "PersistentVolume",
        "PodSecurityPolicy",
        "PriorityClass",
        "PriorityLevelConfiguration",
        "RuntimeClass",
        "StorageClass",
        "ValidatingAdmissionPolicy",
        "ValidatingAdmissionPolicyBinding",
        "ValidatingWebhookConfiguration",
        "VolumeAttachment",
    }
)


def in_no_namespace(kind: str, resources: Iterable[Mapping[str, Any]]) -> bool:
    """Return whether objects of a kind are in no namespace, as far as a state says it.

    A custom kind is known by its definition, where the stack has that, and else by another object
    of it, which the provider named without a namespace.

    Args:
        kind: The type of a resource, such as ``kubernetes:example.com/v1:Tenant``.
        resources: Those of the state.
    """
    if kind.rpartition(":")[2] in CLUSTER_SCOPED:
        return True
    for it in resources:
        if it.get("type") == kind and it.get("id"):
            return "/" not in str(it["id"])
        if str(it.get("type")).startswith(_DEFINES):
            spec = (it.get("inputs") or {}).get("spec")
            if isinstance(spec, Mapping) and _defines(spec, kind):
                return spec.get("scope") == "Cluster"
    return False


def _defines(spec: Mapping[str, Any], kind: str) -> bool:
    """Whether a definition is that of a kind, in whichever version."""
    names = spec.get("names")
    group, _, name = kind.removeprefix("kubernetes:").partition("/")
    return (
        isinstance(names, Mapping)
        and names.get("kind") == name.rpartition(":")[2]
        and spec.get("group") == group
    )
