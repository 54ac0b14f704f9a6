"""The service as a whole: a Deployment that is replaced with no request lost, and its address."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pulumi
import pulumi_kubernetes.apps.v1 as apps
import pulumi_kubernetes.autoscaling.v2 as autoscaling
import pulumi_kubernetes.core.v1 as core
import pulumi_kubernetes.meta.v1 as meta
import pulumi_kubernetes.networking.v1 as networking
import pulumi_kubernetes.policy.v1 as policy
from pulumi.stash import StashArgs
from pulumi_kubernetes import apiextensions

from aegis_deploy.model.external_routes import GATEWAY_API, HTTP_ROUTE
from components.api_pod import PORT, PORT_NAME, PodArgs, pod_template
from components.autoscaling import LEFT_TO_IT, autoscaler_spec
from components.database import Database
from components.external_route import (
    ExternalRoute,
    http_route_spec,
    ingress_spec,
    issuer_annotations,
    peers,
)
from components.labels import of_service, selector
from components.migration import Migration, MigrationArgs, egress_to
from components.sizing import Size
from components.timings import Timings

if TYPE_CHECKING:
    from aegis_deploy.program.hooks import GateHook

_SERVICE_PORT = 80
_WAIT_FOR = "pulumi.com/waitFor"
_THERE = "jsonpath={.metadata.uid}"
"""True as soon as the object is. Other than skipAwait it leaves the wait at its deletion alone."""

_SKIP_AWAIT = {"pulumi.com/skipAwait": "true"}

_KEPT_REVISIONS = 2
"""For a person with kubectl. An older release's ConfigMap is gone, so its ReplicaSet is of no use;
rolling back is what the stack's history is for."""


@dataclass(frozen=True, kw_only=True)
class ApiServiceArgs:
    """What the service is made from.

    Attributes:
        namespace: Where it lives.
        image: The image its pods run, by digest.
        version: The release's version.
        size: How many pods, how large.
        timings: How long the steps of a rollout may take.
        config_map: The ConfigMap that is its environment.
        secret: The Secret that is the rest of it, when there is one.
        route: How it is reached from outside; None means not at all.
        client_namespaces: The namespaces whose pods may reach it; none means all.
        gate: What judges a release while it is rolled out; None means nothing does.
        guards: What is there before the first pod and stays until the last one is gone.
        database: The database it reads and writes, when there is one.
    """

    namespace: pulumi.Input[str]
    image: pulumi.Input[str]
    version: str
    size: Size
    timings: Timings
    config_map: pulumi.Input[str]
    secret: pulumi.Input[str] | None = None
    route: ExternalRoute | None = None
    client_namespaces: Sequence[str] = ()
    gate: GateHook | None = None
    guards: Sequence[pulumi.Resource] = ()
    database: Database | None = None


class ApiService(pulumi.ComponentResource):
    """The pods of the service, and the one address they are reached at.

    It does not own its namespace, its configuration or its image.
    """

    url: pulumi.Output[str]
    """Where it answers inside the cluster."""

    def __init__(
        self, name: str, args: ApiServiceArgs, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("aegis:api:ApiService", name, None, opts)
        self._name = name
        self._args = args
        self._child = pulumi.ResourceOptions(parent=self)
        self._network_policy()
        self._disruption_budget()
        self._deployment(self._service_account(), self._autoscaler())
        service = self._service()
        if args.route is not None:
            self._route(service, args.route)
        self.url = pulumi.Output.concat(
            "http://", service.metadata.name, ".", args.namespace, ".svc.cluster.local"
        )
        self.register_outputs({"url": self.url})

    def _metadata(self, annotations: dict[str, str] | None = None) -> meta.ObjectMetaArgs:
        return meta.ObjectMetaArgs(
            name=self._name,
            namespace=self._args.namespace,
            labels=of_service(self._name),
            annotations=annotations,
        )

    def _pods(self) -> meta.LabelSelectorArgs:
        return meta.LabelSelectorArgs(match_labels=selector(self._name))

    def _service_account(self) -> pulumi.Output[str]:
        account = core.ServiceAccount(
            self._name,
            metadata=self._metadata(),
            automount_service_account_token=False,
            opts=self._child,
        )
        name: pulumi.Output[str] = account.metadata.name
        return name

    def _network_policy(self) -> None:
        networking.NetworkPolicy(
            self._name,
            metadata=self._metadata(),
            spec=networking.NetworkPolicySpecArgs(
                pod_selector=self._pods(),
                policy_types=["Ingress"],
                ingress=[
                    networking.NetworkPolicyIngressRuleArgs(
                        from_=peers(self._args.client_namespaces),
                        ports=[networking.NetworkPolicyPortArgs(protocol="TCP", port=PORT)],
                    )
                ],
            ),
            opts=self._child,
        )
        if self._args.database is not None:
            name = f"{self._name}-database"
            networking.NetworkPolicy(
                name,
                metadata=meta.ObjectMetaArgs(
                    name=name, namespace=self._args.namespace, labels=of_service(self._name)
                ),
                spec=egress_to(self._args.database, self._name),
                opts=self._child,
            )

    def _disruption_budget(self) -> None:
        policy.PodDisruptionBudget(
            self._name,
            metadata=self._metadata(),
            spec=policy.PodDisruptionBudgetSpecArgs(
                max_unavailable=self._args.size.disruptions,
                selector=self._pods(),
                # Pods that never became ready would otherwise hold a node for ever.
                unhealthy_pod_eviction_policy="AlwaysAllow",
            ),
            opts=self._child,
        )

    def _autoscaler(self) -> list[pulumi.Resource]:
        size = self._args.size
        if size.autoscale is None:
            return []
        return [
            autoscaling.HorizontalPodAutoscaler(
                self._name,
                metadata=self._metadata(),
                spec=autoscaler_spec(self._name, size.replicas, size.autoscale),
                opts=self._child,
            )
        ]

    def _deployment(
        self, service_account: pulumi.Output[str], autoscaler: Sequence[pulumi.Resource]
    ) -> None:
        size, timings, gate = self._args.size, self._args.timings, self._args.gate
        hooks, marker_hooks = (None, None) if gate is None else gate.bound()
        canary = gate is not None and gate.settings.canary > 0
        timeout = f"{timings.rollout_timeout(size.rollout_steps)}s"
        deployment = apps.Deployment(
            self._name,
            # The gate does the waiting: it sees at once when a rollout cannot succeed.
            metadata=self._metadata(None if gate is None else {_WAIT_FOR: _THERE}),
            spec=apps.DeploymentSpecArgs(
                replicas=size.replicas,
                revision_history_limit=_KEPT_REVISIONS,
                min_ready_seconds=timings.min_ready,
                progress_deadline_seconds=timings.progress_deadline,
                strategy=apps.DeploymentStrategyArgs(
                    type="RollingUpdate",
                    rolling_update=apps.RollingUpdateDeploymentArgs(
                        max_unavailable=0, max_surge=1 if canary else size.max_surge
                    ),
                ),
                selector=self._pods(),
                template=pod_template(
                    self._name,
                    PodArgs(
                        image=self._args.image,
                        version=self._args.version,
                        resources=size.pod,
                        timings=timings,
                        config_map=self._args.config_map,
                        secret=self._args.secret,
                        service_account=service_account,
                        database=self._args.database,
                    ),
                ),
            ),
            opts=pulumi.ResourceOptions(
                parent=self,
                # The pods alone wait for their guards; the rest is made meanwhile. Whoever judges
                # the number of pods has to know the autoscaler by then: it alone has it.
                depends_on=[*self._args.guards, *autoscaler, *self._migration()],
                custom_timeouts=pulumi.CustomTimeouts(create=timeout, update=timeout),
                hooks=hooks,
                ignore_changes=LEFT_TO_IT if autoscaler else None,
            ),
        )
        if gate is not None:
            gate.preview(self._args.image)
            self._passed_marker(deployment, marker_hooks)

    def _migration(self) -> list[pulumi.Resource]:
        """Bring the database to the release's schema before any of its pods runs."""
        if self._args.database is None:
            return []
        args = MigrationArgs(
            namespace=self._args.namespace,
            image=self._args.image,
            database=self._args.database,
            resources=self._args.size.pod,
            config_map=self._args.config_map,
            secret=self._args.secret,
        )
        # In a namespace that nothing guards yet it would not run.
        opts = pulumi.ResourceOptions(parent=self, depends_on=self._args.guards)
        return [Migration(self._name, args, opts).job]

    def _passed_marker(
        self, deployment: apps.Deployment, hooks: pulumi.ResourceHookBinding | None
    ) -> None:
        """Note in the state which release was the last one to pass its gate."""
        pulumi.Stash(
            f"{self._name}-gate",
            StashArgs(
                input={
                    "image": self._args.image,
                    "version": self._args.version,
                    "configMap": self._args.config_map,
                    "secret": self._args.secret,
                }
            ),
            opts=pulumi.ResourceOptions(parent=self, depends_on=[deployment], hooks=hooks),
        )

    def _service(self) -> core.Service:
        return core.Service(
            self._name,
            # The provider would wait ten seconds for the endpoints to settle, at every update.
            # The Deployment's own wait has already seen every pod ready.
            metadata=self._metadata(_SKIP_AWAIT),
            spec=core.ServiceSpecArgs(
                type="ClusterIP",
                selector=selector(self._name),
                ports=[
                    core.ServicePortArgs(
                        name=PORT_NAME, port=_SERVICE_PORT, target_port=PORT_NAME, protocol="TCP"
                    )
                ],
            ),
            opts=self._child,
        )

    def _route(self, service: core.Service, route: ExternalRoute) -> None:
        if route.gateway is None:
            networking.Ingress(
                self._name,
                # Not every controller reports an address, and waiting for one takes ten minutes.
                metadata=self._metadata({**_SKIP_AWAIT, **issuer_annotations(route)}),
                spec=ingress_spec(route, service.metadata.name, PORT_NAME),
                opts=self._child,
            )
            return
        apiextensions.CustomResource(
            self._name,
            api_version=GATEWAY_API,
            kind=HTTP_ROUTE,
            # Whether a Gateway takes it is the gate's to see, of this very generation.
            metadata=self._metadata(_SKIP_AWAIT),
            spec=http_route_spec(
                route.host,
                route.gateway,
                service.metadata.name,
                _SERVICE_PORT,
                drain_seconds=self._args.timings.drain,
            ),
            opts=self._child,
        )
