"""The gate of a stack that has one: what binds it to the Deployment that it judges."""

from __future__ import annotations

from typing import TYPE_CHECKING

from components.external_route import declared
from components.labels import SERVICE

if TYPE_CHECKING:
    from aegis_deploy.program.hooks import GateHook
    from components.settings import Settings


def gate_of(settings: Settings) -> GateHook | None:
    """Make the stack's gate; None when its settings have none.

    Args:
        settings: The stack's settings.
    """
    if settings.gate is None:
        return None
    # A stack without a gate pays nothing for it.
    from aegis_deploy.program.hooks import GateHook

    expected = None if settings.version.startswith("digest-") else {"version": settings.version}
    if settings.source is not None:
        expected = {"version": settings.version, "gitSha": settings.source.commit}
    return GateHook(
        stack=settings.environment,
        namespace=settings.namespace,
        name=SERVICE,
        service=SERVICE,
        settings=settings.gate,
        expected=expected,
        context=settings.kube_context,
        kubeconfig=settings.kubeconfig,
        external=() if settings.route is None else [declared(settings.route, settings.namespace)],
    )
