"""A stack's namespace and what guards it: Pod Security, quota, default limits, closed network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pulumi
import pulumi_kubernetes.core.v1 as core
import pulumi_kubernetes.meta.v1 as meta
import pulumi_kubernetes.networking.v1 as networking

from components.labels import common
from components.sizing import PodResources, Size

if TYPE_CHECKING:
    from components.settings import Settings

_POD_SECURITY_MODES = ("enforce", "audit", "warn")
_NODE_LOCAL_DNS = "169.254.20.10/32"
_PODS_OF_POSTGRES = 3
"""The server, a backup, and a restore or another pod of somebody who looks around."""


@dataclass(frozen=True, kw_only=True)
class NamespaceArgs:
    """What a namespace is made from.

    Attributes:
        size: The stack's size, which quota and default limits follow.
        beside: The pods that there is room for beside the service's.
        stays: Whether it outlives the stack, with what stays in it.
    """

    size: Size
    beside: Sequence[PodResources] = ()
    stays: bool = False


class Namespace(pulumi.ComponentResource):
    """A namespace in which nothing runs by accident.

    Pods must meet Pod Security ``restricted``, share a quota with room for one rollout, and may
    neither be reached nor reach anything but DNS until a policy says so. What a service in it
    needs from the network is the service's own business, as are its objects.
    """

    name: pulumi.Output[str]
    """The namespace's name; everything in it takes it from here, and so is made after it."""

    def __init__(
        self, name: str, args: NamespaceArgs, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("aegis:namespace:Namespace", name, None, opts)
        child = pulumi.ResourceOptions(parent=self)
        levels = {
            f"pod-security.kubernetes.io/{mode}{key}": value
            for mode in _POD_SECURITY_MODES
            for key, value in (("", "restricted"), ("-version", "latest"))
        }
        namespace = core.Namespace(
            name,
            metadata=meta.ObjectMetaArgs(name=name, labels={**common(), **levels}),
            opts=pulumi.ResourceOptions(parent=self, retain_on_delete=args.stays or None),
        )
        self.name = namespace.metadata.name
        core.ResourceQuota(
            f"{name}-quota",
            metadata=self._metadata("quota"),
            spec=core.ResourceQuotaSpecArgs(hard=args.size.quota(args.beside)),
            opts=child,
        )
        limits = args.size.pod.limits()
        core.LimitRange(
            f"{name}-limits",
            metadata=self._metadata("limits"),
            spec=core.LimitRangeSpecArgs(
                limits=[
                    core.LimitRangeItemArgs(
                        type="Container",
                        default=limits,
                        default_request=args.size.pod.requests(),
                        max=args.size.most(args.beside),
                    )
                ]
            ),
            opts=child,
        )
        networking.NetworkPolicy(
            f"{name}-default-deny",
            metadata=self._metadata("default-deny"),
            spec=networking.NetworkPolicySpecArgs(
                pod_selector=meta.LabelSelectorArgs(), policy_types=["Ingress", "Egress"]
            ),
            opts=child,
        )
        networking.NetworkPolicy(
            f"{name}-allow-dns",
            metadata=self._metadata("allow-dns"),
            spec=networking.NetworkPolicySpecArgs(
                pod_selector=meta.LabelSelectorArgs(),
                policy_types=["Egress"],
                egress=[_to_dns()],
            ),
            opts=child,
        )
        self.register_outputs({"name": self.name})

    def _metadata(self, name: str) -> meta.ObjectMetaArgs:
        return meta.ObjectMetaArgs(name=name, namespace=self.name, labels=common())


def _to_dns() -> networking.NetworkPolicyEgressRuleArgs:
    """Out to the cluster's DNS pods, or to the per-node cache where a cluster has one."""
    return networking.NetworkPolicyEgressRuleArgs(
        to=[
            networking.NetworkPolicyPeerArgs(
                namespace_selector=meta.LabelSelectorArgs(
                    match_labels={"kubernetes.io/metadata.name": "kube-system"}
                ),
                pod_selector=meta.LabelSelectorArgs(match_labels={"k8s-app": "kube-dns"}),
            ),
            networking.NetworkPolicyPeerArgs(ip_block=networking.IPBlockArgs(cidr=_NODE_LOCAL_DNS)),
        ],
        ports=[
            networking.NetworkPolicyPortArgs(protocol=protocol, port=53)
            for protocol in ("UDP", "TCP")
        ],
    )


def namespace_args(settings: Settings) -> NamespaceArgs:
    """Describe a stack's namespace, with room for what it has beside the service.

    Args:
        settings: The stack's settings.
    """
    own, sampling = settings.postgres, settings.sampling
    beside = [] if own is None else [own.resources] * _PODS_OF_POSTGRES
    beside += [] if sampling is None else [sampling.settings.resources]
    return NamespaceArgs(size=settings.size, beside=beside, stays=own is not None and own.keep_data)
