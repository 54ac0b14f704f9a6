"""What a Deployment of the service's pods is, and what notes that its gate has passed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pulumi
import pulumi_kubernetes.apps.v1 as apps
import pulumi_kubernetes.meta.v1 as meta
from pulumi.stash import StashArgs

from components.api_pod import PodArgs, pod_template
from components.labels import selector

_KEPT_REVISIONS = 2
"""For a person with kubectl. An older release's ConfigMap is gone, so its ReplicaSet is of no use;
rolling back is what the stack's history is for."""

WAITED_FOR_BY_GATE: Mapping[str, str] = {"pulumi.com/waitFor": "jsonpath={.metadata.uid}"}
"""The annotation by which the provider leaves the waiting to the gate, which sees at once when a
rollout cannot succeed. True as soon as the object is; other than skipAwait it leaves the wait at
its deletion alone."""


def rollout_spec(
    name: str, replicas: int, max_surge: int | str, pod: PodArgs
) -> apps.DeploymentSpecArgs:
    """Describe a Deployment whose pods are replaced with no request lost.

    Args:
        name: What its pods are called by the label that selects them.
        replicas: How many there are.
        max_surge: How many more a rollout may start at once.
        pod: What they are made from.
    """
    return apps.DeploymentSpecArgs(
        replicas=replicas,
        revision_history_limit=_KEPT_REVISIONS,
        min_ready_seconds=pod.timings.min_ready,
        progress_deadline_seconds=pod.timings.progress_deadline,
        strategy=apps.DeploymentStrategyArgs(
            type="RollingUpdate",
            rolling_update=apps.RollingUpdateDeploymentArgs(max_unavailable=0, max_surge=max_surge),
        ),
        selector=meta.LabelSelectorArgs(match_labels=selector(name)),
        template=pod_template(name, pod),
    )


def passed_marker(
    name: str,
    pod: PodArgs,
    deployment: apps.Deployment,
    hooks: pulumi.ResourceHookBinding | None,
    parent: pulumi.Resource,
) -> pulumi.Resource:
    """Note in the state which release was the last one to pass its gate.

    Args:
        name: The Deployment's name.
        pod: What its pods are made from.
        deployment: The Deployment, which is there before.
        hooks: What lets the note be changed only once the gate has passed.
        parent: What the note belongs to.
    """
    depends_on: Sequence[pulumi.Resource] = [deployment]
    return pulumi.Stash(
        f"{name}-gate",
        StashArgs(
            input={
                "image": pod.image,
                "version": pod.version,
                "configMap": pod.config_map,
                "secret": pod.secret,
            }
        ),
        opts=pulumi.ResourceOptions(parent=parent, depends_on=depends_on, hooks=hooks),
    )
