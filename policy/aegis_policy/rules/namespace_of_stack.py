"""Everything lives in the stack's own namespace."""

from __future__ import annotations

from collections.abc import Iterator

from ..resources import Resource, Stack, is_unknown, look
from ..rule import Level, Rule

NOWHERE = {
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
"""Kinds whose objects are in no namespace, but for namespaces themselves."""


def _check(resource: Resource, stack: Stack) -> Iterator[str]:  # noqa: ARG001
    if not resource.kind or resource.kind in NOWHERE:
        return
    expected = f"{resource.project}-{resource.stack}"
    if resource.kind == "Namespace":
        name = look(resource.inputs, "metadata", "name")
        if not is_unknown(name) and name != expected:
            yield (
                f"the namespace is called {name}, and stack {resource.stack} has {expected} for "
                "itself. Rename it, or deploy another stack."
            )
        return
    if resource.kind.endswith("List") or is_unknown(resource.namespace):
        return
    if resource.namespace != expected:
        given = "in no namespace, so in default" if resource.namespace is None else "in another"
        named = "" if resource.namespace is None else f" ({resource.namespace})"
        yield (
            f"it is {given}{named}, where stack {resource.stack} has no business. "
            f"Set metadata.namespace to {expected}."
        )


RULE = Rule(
    name="namespace-of-stack",
    level=Level.MANDATORY,
    says="Everything lives in the stack's own namespace, <project>-<stack>.",
    check=_check,
)
