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
from pulumi_kubernetes import apiextensions

from aegis_deploy.model.gate_settings import WHOLE
from aegis_deploy.model.routes.external_routes import GATEWAY_API, HTTP_ROUTE
from components.api_pod import PORT, PORT_NAME, PodArgs
from components.autoscaling import LEFT_TO_IT, autoscaler_spec
from components.canary import Canary, CanaryArgs
from components.database import Database
from components.external_route import (
    ExternalRoute,
    http_route_spec,
    ingress_spec,
    issuer_annotations,
    peers,
)
from components.labels import CANARY, of_service, selector
from components.migration import Migration, MigrationArgs, egress_to
from components.rollout import (
    SKIP_AWAIT,
    WAITED_FOR_BY_GATE,
    budget_spec,
    passed_marker,
    rollout_spec,
)
from components.sizing import Size
from components.timings import Timings

if TYPE_CHECKING:
    from aegis_deploy.program.hooks import GateHook

_SERVICE_PORT = 80


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
        canary_gate: What judges a release by a share of the requests, before it goes on to the
            rest; None means that it goes to all at once.
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
    canary_gate: GateHook | None = None
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
        pod = self._pod(self._service_account())
        migration = self._migration()
        canary = self._canary(pod, migration)
        # What passes among a share of the requests goes on to the rest.
        before = migration if canary is None else [canary.passed]
        self._deployment(pod, before, self._autoscaler())
        service = self._service()
        if args.route is not None:
            self._route(service, args.route, canary)
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

    def _every_pod(self) -> meta.LabelSelectorArgs:
        """Those of the canary, too."""
        if not self._args.size.canaries:
            return self._pods()
        (key,) = selector(self._name)
        both = meta.LabelSelectorRequirementArgs(
            key=key, operator="In", values=[self._name, CANARY]
        )
        return meta.LabelSelectorArgs(match_expressions=[both])

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
                pod_selector=self._every_pod(),
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
                spec=egress_to(self._args.database, self._every_pod()),
                opts=self._child,
            )

    def _disruption_budget(self) -> None:
        policy.PodDisruptionBudget(
            self._name,
            metadata=self._metadata(),
            spec=budget_spec(self._name, max_unavailable=self._args.size.disruptions),
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

    def _pod(self, service_account: pulumi.Output[str]) -> PodArgs:
        args = self._args
        return PodArgs(
            image=args.image,
            version=args.version,
            resources=args.size.pod,
            timings=args.timings,
            config_map=args.config_map,
            secret=args.secret,
            service_account=service_account,
            database=args.database,
        )

    def _canary(self, pod: PodArgs, migration: Sequence[pulumi.Resource]) -> Canary | None:
        if self._args.canary_gate is None:
            return None
        args = CanaryArgs(
            namespace=self._args.namespace,
            replicas=self._args.size.canaries,
            pod=pod,
            service=self._service_spec(CANARY),
            gate=self._args.canary_gate,
            depends_on=[*self._args.guards, *migration],
        )
        return Canary(CANARY, args, pulumi.ResourceOptions(parent=self))

    def _deployment(
        self,
        pod: PodArgs,
        before: Sequence[pulumi.Resource],
        autoscaler: Sequence[pulumi.Resource],
    ) -> None:
        size, timings, gate = self._args.size, self._args.timings, self._args.gate
        hooks, marker_hooks = (None, None) if gate is None else gate.bound()
        one_by_one = gate is not None and gate.settings.canary_seconds > 0
        timeout = f"{timings.rollout_timeout(size.rollout_steps)}s"
        deployment = apps.Deployment(
            self._name,
            metadata=self._metadata(None if gate is None else dict(WAITED_FOR_BY_GATE)),
            spec=rollout_spec(self._name, size.replicas, 1 if one_by_one else size.max_surge, pod),
            opts=pulumi.ResourceOptions(
                parent=self,
                # The pods alone wait for their guards; the rest is made meanwhile. Whoever judges
                # the number of pods has to know the autoscaler by then: it alone has it.
                depends_on=[*self._args.guards, *autoscaler, *before],
                custom_timeouts=pulumi.CustomTimeouts(create=timeout, update=timeout),
                hooks=hooks,
                ignore_changes=LEFT_TO_IT if autoscaler else None,
            ),
        )
        if gate is not None:
            gate.preview(self._args.image)
            passed_marker(self._name, pod, deployment, marker_hooks, self)

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

    def _service(self) -> core.Service:
        return core.Service(
            self._name,
            # The provider would wait ten seconds for the endpoints to settle, at every update.
            # The Deployment's own wait has already seen every pod ready.
            metadata=self._metadata(dict(SKIP_AWAIT)),
            spec=self._service_spec(self._name),
            opts=self._child,
        )

    @staticmethod
    def _service_spec(name: str) -> core.ServiceSpecArgs:
        port = core.ServicePortArgs(
            name=PORT_NAME, port=_SERVICE_PORT, target_port=PORT_NAME, protocol="TCP"
        )
        return core.ServiceSpecArgs(type="ClusterIP", selector=selector(name), ports=[port])

    def _route(self, service: core.Service, route: ExternalRoute, canary: Canary | None) -> None:
        if route.gateway is None:
            networking.Ingress(
                self._name,
                # Not every controller reports an address, and waiting for one takes ten minutes.
                metadata=self._metadata({**SKIP_AWAIT, **issuer_annotations(route)}),
                spec=ingress_spec(route, service.metadata.name, PORT_NAME),
                opts=self._child,
            )
            return
        apiextensions.CustomResource(
            self._name,
            api_version=GATEWAY_API,
            kind=HTTP_ROUTE,
            # Whether a Gateway takes it is the gate's to see, of this very generation.
            metadata=self._metadata(dict(SKIP_AWAIT)),
            spec=http_route_spec(
                route.host,
                route.gateway,
                self._shares(service, canary),
                _SERVICE_PORT,
                drain_seconds=self._args.timings.drain,
            ),
            opts=pulumi.ResourceOptions(
                parent=self,
                # A share of the requests must not go where no pod is ready yet.
                depends_on=None if canary is None else [canary.passed],
            ),
        )

    def _shares(
        self, service: core.Service, canary: Canary | None
    ) -> list[tuple[pulumi.Input[str], int]]:
        gate = self._args.canary_gate
        share = None if gate is None else gate.share
        if canary is None or share is None:
            return [(service.metadata.name, 1)]
        of_all = share.hundredths
        return [(service.metadata.name, WHOLE - of_all), (canary.service, of_all)]
