"""The cluster that is deployed to."""

from __future__ import annotations

import pulumi
import pulumi_kubernetes as kubernetes


def cluster_provider(
    name: str, *, identifier: str, context: str | None, kubeconfig: str | None
) -> kubernetes.Provider:
    """Make the provider every Kubernetes object of a stack belongs to.

    An explicit one, so that no object ever lands in whatever cluster a default would name.

    Args:
        name: The provider's name in the state.
        identifier: Which cluster this is. As long as it stays, a changed kubeconfig (a renewed
            certificate, another address) never makes Pulumi delete every object and make it anew.
        context: The kubeconfig's context; None means its current one.
        kubeconfig: A kubeconfig or its path; None means ``KUBECONFIG`` or the home directory's.
    """
    return kubernetes.Provider(
        name,
        cluster_identifier=identifier,
        context=context,
        kubeconfig=None if kubeconfig is None else pulumi.Output.secret(kubeconfig),
        enable_server_side_apply=True,
        opts=None if kubeconfig else pulumi.ResourceOptions(transformations=[_forget_path]),
    )


def _forget_path(
    args: pulumi.ResourceTransformationArgs,
) -> pulumi.ResourceTransformationResult:
    """Take out of the inputs what the SDK puts there from ``KUBECONFIG``.

    The provider reads the variable itself. In the state, the path on one machine would be a
    change on every other.
    """
    props = {key: value for key, value in args.props.items() if key != "kubeconfig"}
    return pulumi.ResourceTransformationResult(props=props, opts=args.opts)
