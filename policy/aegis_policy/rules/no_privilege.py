"""Pods run without privilege."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ..pods import WORKLOADS, Container, containers, pod_spec
from ..resources import Resource, Stack, is_unknown, listed, look
from ..rule import Level, Rule

_ENFORCE = "pod-security.kubernetes.io/enforce"
_SECCOMP = ("RuntimeDefault", "Localhost")
_MAY_ADD = {"NET_BIND_SERVICE"}


def _check(resource: Resource, stack: Stack) -> Iterator[str]:  # noqa: ARG001
    if resource.kind == "Namespace":
        labels = look(resource.inputs, "metadata", "labels")
        if not is_unknown(labels) and look(labels, _ENFORCE) != "restricted":
            yield f"it lets privileged pods in. Label it {_ENFORCE}: restricted."
        return
    spec = pod_spec(resource)
    if is_unknown(spec):
        return
    yield from _pod(spec)
    for container in containers(resource):
        yield from _container(container, look(spec, "securityContext"))


def _pod(spec: Any) -> Iterator[str]:  # noqa: ANN401
    for field in ("hostNetwork", "hostPID", "hostIPC"):
        if look(spec, field):
            yield f"its pods share the node's ({field}). Remove it."
    for volume in listed(spec, "volumes"):
        if look(volume, "hostPath") is not None:
            yield f"volume {look(volume, 'name')} is a directory of the node. Use another kind."
    if look(spec, "automountServiceAccountToken") is not False:
        yield (
            "its pods hold a token for the cluster's API. "
            "Set automountServiceAccountToken: false in the pod's spec."
        )


def _container(container: Container, pod: Any) -> Iterator[str]:  # noqa: ANN401
    own = look(container.spec, "securityContext")
    where = f"container {container.name}"
    if is_unknown(own):
        return

    def effective(*path: str) -> Any:  # noqa: ANN401
        value = look(own, *path)
        return look(pod, *path) if value is None else value

    if effective("runAsNonRoot") is not True or effective("runAsUser") == 0:
        yield f"{where} may run as root. Set runAsNonRoot: true and a runAsUser above 0."
    if effective("seccompProfile", "type") not in _SECCOMP:
        yield f"{where} may make any system call. Set seccompProfile.type: RuntimeDefault."
    if look(own, "privileged"):
        yield f"{where} is privileged. Remove securityContext.privileged."
    if look(own, "allowPrivilegeEscalation") is not False:
        yield f"{where} may gain privilege. Set allowPrivilegeEscalation: false."
    if look(own, "readOnlyRootFilesystem") is not True:
        yield f"{where} may change its own programs. Set readOnlyRootFilesystem: true."
    if "ALL" not in listed(own, "capabilities", "drop"):
        yield f"{where} keeps capabilities. Set capabilities.drop: [ALL]."
    added = {str(name) for name in listed(own, "capabilities", "add")} - _MAY_ADD
    if added:
        yield f"{where} gets the capabilities {', '.join(sorted(added))}. Remove them."
    if any(look(port, "hostPort") for port in listed(container.spec, "ports")):
        yield f"{where} takes a port of the node (hostPort). Use a Service."


RULE = Rule(
    name="no-privilege",
    level=Level.MANDATORY,
    says="Pods run without privilege: no root, a read-only root, no capabilities, seccomp.",
    check=_check,
    kinds=(*WORKLOADS, "Namespace"),
)
