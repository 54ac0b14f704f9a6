"""The new pods that get a share of the requests before the rest does.

They are a Deployment of their own beside the service's, with a Service of their own, to which the
HTTPRoute gives the share. Both keep what they have between releases: of the same release as the
rest, they change nothing. So no weight is ever changed and put back, and whoever dies in the middle
leaves none behind; a release that goes on to all pods went to these first.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pulumi
import pulumi_kubernetes.apps.v1 as apps
import pulumi_kubernetes.core.v1 as core
import pulumi_kubernetes.meta.v1 as meta
import pulumi_kubernetes.policy.v1 as policy

from components.api_pod import PodArgs
from components.labels import of_service
from components.rollout import (
    SKIP_AWAIT,
    WAITED_FOR_UNTIL_READY,
    budget_spec,
    passed_marker,
    rollout_spec,
)

if TYPE_CHECKING:
    from aegis_deploy.program.hooks import GateHook

_WAIVED = {
    f"policy.aegis/{rule}": "a canary's pods are as many as its share of requests asks for"
    for rule in ("staging-is-half", "production-spread")
}


@dataclass(frozen=True, kw_only=True)
class CanaryArgs:
    """What the canary is made from.

    Attributes:
        namespace: Where it lives.
        replicas: How many pods it has.
        pod: What they are made from.
        service: Describes the Service in front of pods of a name.
        gate: What judges a release by them.
        depends_on: What is there before the first pod.
    """

    namespace: pulumi.Input[str]
    replicas: int
    pod: PodArgs
    service: core.ServiceSpecArgs
    gate: GateHook
    depends_on: Sequence[pulumi.Resource] = ()


class Canary(pulumi.ComponentResource):
    """The pods that a release comes to first, and the address that their requests go to.

    It does not own the route that gives them their share.
    """

    service: pulumi.Output[str]
    """The name of its Service."""
    passed: pulumi.Resource
    """What is there once a release has passed its gate here: the rest waits for it."""

    def __init__(
        self, name: str, args: CanaryArgs, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("aegis:api:Canary", name, None, opts)
        child = pulumi.ResourceOptions(parent=self)

        def metadata(annotations: dict[str, str] | None = None) -> meta.ObjectMetaArgs:
            return meta.ObjectMetaArgs(
                name=name,
                namespace=args.namespace,
                labels=of_service(name),
                annotations=annotations,
            )

        policy.PodDisruptionBudget(
            name,
            metadata=metadata(),
            spec=budget_spec(name, max_unavailable=1),
            opts=child,
        )
        hooks, marker_hooks = args.gate.bound()
        timeout = f"{args.pod.timings.rollout_timeout(args.replicas)}s"
        deployment = apps.Deployment(
            name,
            # The route must not lead there before, in a rollback neither, which runs no hooks.
            metadata=metadata({**WAITED_FOR_UNTIL_READY, **_WAIVED}),
            spec=rollout_spec(name, args.replicas, 1, args.pod),
            opts=pulumi.ResourceOptions(
                parent=self,
                depends_on=args.depends_on,
                custom_timeouts=pulumi.CustomTimeouts(create=timeout, update=timeout),
                hooks=hooks,
            ),
        )
        self.passed = passed_marker(name, args.pod, deployment, marker_hooks, self)
        service = core.Service(
            name, metadata=metadata(dict(SKIP_AWAIT)), spec=args.service, opts=child
        )
        self.service = service.metadata.name
        self.register_outputs({"service": self.service})
