"""What a Deployment of the service's pods is, what keeps them, and what notes its gate's word."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pulumi
import pulumi_kubernetes.apps.v1 as apps
import pulumi_kubernetes.meta.v1 as meta
import pulumi_kubernetes.policy.v1 as policy
from pulumi.stash import StashArgs

from components.api_pod import PodArgs, pod_template
from components.labels import selector

_KEPT_REVISIONS = 2
"""For a person with kubectl. An older release's ConfigMap is gone, so its ReplicaSet is of no use;
rolling back is what the stack's history is for."""

_WAIT_FOR = "pulumi.com/waitFor"
SKIP_AWAIT: Mapping[str, str] = {"pulumi.com/skipAwait": "true"}
"""The annotation by which the provider waits for nothing."""
WAITED_FOR_BY_GATE: Mapping[str, str] = {_WAIT_FOR: "jsonpath={.metadata.uid}"}
"""The annotation by which the provider leaves the waiting to the gate, which sees at once when a
rollout cannot succeed. True as soon as the object is; other than skipAwait it leaves the wait at
its deletion alone."""
WAITED_FOR_UNTIL_READY: Mapping[str, str] = {_WAIT_FOR: "jsonpath={.status.readyReplicas}"}
"""The annotation by which it waits for the first pod there ever is, and leaves the rest to the
gate."""


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


def budget_spec(name: str, max_unavailable: int | str) -> policy.PodDisruptionBudgetSpecArgs:
    """Describe how many pods may be taken away at once by who means to.

    Args:
        name: What they are called by the label that selects them.
        max_unavailable: How many, or their share as Kubernetes has it.
    """
    return policy.PodDisruptionBudgetSpecArgs(
        max_unavailable=max_unavailable,
        selector=meta.LabelSelectorArgs(match_labels=selector(name)),
        # Pods that never became ready would otherwise hold a node for ever.
        unhealthy_pod_eviction_policy="AlwaysAllow",
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
