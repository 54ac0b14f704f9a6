"""The gate of a stack that has one: what binds it to the Deployment that it judges."""

from __future__ import annotations

from typing import TYPE_CHECKING

from components.external_route import declared
from components.labels import CANARY, SERVICE

if TYPE_CHECKING:
    from aegis_deploy.model.gate_settings import GateSettings, Share
    from aegis_deploy.program.hooks import GateHook
    from components.settings import Settings


def gate_of(settings: Settings) -> GateHook | None:
    """Make the stack's gate; None when its settings have none.

    Args:
        settings: The stack's settings.
    """
    return None if settings.gate is None else _hook(settings, settings.gate, SERVICE)


def canary_gate_of(settings: Settings) -> GateHook | None:
    """Make what judges a release by the share of requests that it gets first; None without one.

    Args:
        settings: The stack's settings.
    """
    if settings.gate is None or settings.gate.canary_share is None:
        return None
    return _hook(settings, settings.gate, CANARY, share=settings.gate.canary_share)


def _hook(
    settings: Settings, gate: GateSettings, name: str, share: Share | None = None
) -> GateHook:
    # A stack without a gate pays nothing for it.
    from aegis_deploy.program.hooks import GateHook

    expected = None if settings.version.startswith("digest-") else {"version": settings.version}
    if settings.source is not None:
        expected = {"version": settings.version, "gitSha": settings.source.commit}
    services = (SERVICE, CANARY) if settings.size.canaries else (SERVICE,)
    route = settings.route
    return GateHook(
        stack=settings.environment,
        namespace=settings.namespace,
        name=name,
        service=name,
        settings=gate,
        expected=expected,
        context=settings.kube_context,
        kubeconfig=settings.kubeconfig,
        external=() if route is None else [declared(route, settings.namespace, *services)],
        share=share,
    )
