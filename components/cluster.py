"""The cluster that is deployed to."""

from __future__ import annotations

import pulumi
import pulumi_kubernetes as kubernetes


def cluster_provider(
    name: str, *, context: str | None, kubeconfig: str | None
) -> kubernetes.Provider:
    """Make the provider every Kubernetes object of a stack belongs to.

    An explicit one, so that no object ever lands in whatever cluster a default would name.

    Args:
        name: The provider's name in the state.
        context: The kubeconfig's context; None means its current one.
        kubeconfig: A kubeconfig or its path; None means ``KUBECONFIG`` or the home directory's.
    """
    return kubernetes.Provider(
        name,
        context=context,
        kubeconfig=None if kubeconfig is None else pulumi.Output.secret(kubeconfig),
        enable_server_side_apply=True,
    )
