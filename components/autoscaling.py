"""What scales the service by its load: a HorizontalPodAutoscaler over CPU.

The number of pods is then the autoscaler's. A program that went on to declare it would be refused
by the API server as soon as that has scaled; see docs/adr/0010-fields-of-control-loops.md.
"""

from __future__ import annotations

import pulumi_kubernetes.autoscaling.v2 as autoscaling

from components.sizing import Autoscale

LEFT_TO_IT = ["spec.replicas"]
"""What of a Deployment is ignored once it was made.

It is made with its least number, where a Deployment without a number would begin with one pod. Nor
can the number be left out later: the server would set it to its default, which is one as well.
"""


def autoscaler_spec(
    deployment: str, least: int, scaled: Autoscale
) -> autoscaling.HorizontalPodAutoscalerSpecArgs:
    """Describe the autoscaler of a Deployment.

    How quickly it scales is Kubernetes' default: up at once, down after five minutes of less load.

    Args:
        deployment: The Deployment's name.
        least: How many pods there are at least.
        scaled: How many at most, and when there are more.
    """
    return autoscaling.HorizontalPodAutoscalerSpecArgs(
        scale_target_ref=autoscaling.CrossVersionObjectReferenceArgs(
            api_version="apps/v1", kind="Deployment", name=deployment
        ),
        min_replicas=least,
        max_replicas=scaled.maximum,
        metrics=[
            autoscaling.MetricSpecArgs(
                type="Resource",
                resource=autoscaling.ResourceMetricSourceArgs(
                    name="cpu",
                    target=autoscaling.MetricTargetArgs(
                        type="Utilization", average_utilization=scaled.cpu_percent
                    ),
                ),
            )
        ],
    )
