"""Where pods and containers are in the objects that make them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from .resources import Resource, Stack, is_unknown, listed, look, mapped

WORKLOADS = (
    "Deployment",
    "StatefulSet",
    "DaemonSet",
    "ReplicaSet",
    "ReplicationController",
    "Job",
    "CronJob",
    "Pod",
)
SERVING = ("Deployment", "StatefulSet", "DaemonSet")
"""What is meant to run for ever and answer."""


@dataclass(frozen=True)
class Container:
    """One container of a pod.

    Attributes:
        name: Its name.
        spec: What it is made from.
        helper: Whether it runs before the others, or beside them.
    """

    name: str
    spec: Any
    helper: bool


def template(resource: Resource) -> Any:  # noqa: ANN401 - a mapping, None or UNKNOWN
    """What the pods of a workload are made from: their metadata and spec."""
    if resource.kind == "Pod":
        return resource.inputs
    if resource.kind == "CronJob":
        return look(resource.inputs, "spec", "jobTemplate", "spec", "template")
    return look(resource.inputs, "spec", "template")


def pod_spec(resource: Resource) -> Any:  # noqa: ANN401
    """The spec of a workload's pods."""
    return look(template(resource), "spec")


def pod_labels(resource: Resource) -> dict[str, Any]:
    """The labels of a workload's pods."""
    return mapped(template(resource), "metadata", "labels")


def containers(resource: Resource) -> Iterator[Container]:
    """Every container of a workload's pods."""
    spec = pod_spec(resource)
    for key, helper in (
        ("containers", False),
        ("initContainers", True),
        ("ephemeralContainers", True),
    ):
        for item in listed(spec, key):
            yield Container(str(look(item, "name")), item, helper)


def selects(selector: Any, labels: Mapping[str, Any]) -> bool:  # noqa: ANN401
    """Whether a label selector of the API's finds something with these labels."""
    for key, value in mapped(selector, "matchLabels").items():
        if labels.get(key) != value:
            return False
    return all(_holds(item, labels) for item in listed(selector, "matchExpressions"))


def _holds(expression: Any, labels: Mapping[str, Any]) -> bool:  # noqa: ANN401
    key, values = look(expression, "key"), listed(expression, "values")
    match look(expression, "operator"):
        case "In":
            return labels.get(key) in values
        case "NotIn":
            return labels.get(key) not in values
        case "Exists":
            return key in labels
        case "DoesNotExist":
            return key not in labels
    return False


def replicas(resource: Resource, stack: Stack) -> int | None:
    """How many pods a Deployment or StatefulSet keeps at least; None when that is not known yet.

    Beside an autoscaler that aims at it, what it says itself is only what it began with.

    Args:
        resource: The Deployment or StatefulSet.
        stack: What is known of its stack.
    """
    count = look(resource.inputs, "spec", "replicas")
    for scaler in stack.of_kind("HorizontalPodAutoscaler"):
        aim = look(scaler.inputs, "spec", "scaleTargetRef")
        aims_at = (scaler.namespace, look(aim, "kind"), look(aim, "name"))
        if aims_at == (resource.namespace, resource.kind, resource.name):
            count = look(scaler.inputs, "spec", "minReplicas")
    if count is None:
        return 1
    return None if is_unknown(count) else int(count)
