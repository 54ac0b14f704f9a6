"""Reading how the service is reached from outside, and holding the gate's settings against it."""

from __future__ import annotations

from typing import Any

from aegis_deploy.model.gate_settings import INGRESS, GateSettings
from components import setting_keys as keys
from components.external_route import TLS_SECRET, ExternalRoute
from components.setting_keys import Key
from components.setting_reader import Reader


def route_of(reader: Reader) -> ExternalRoute | None:
    """Read how the service is reached from outside; None where it is not.

    Args:
        reader: The stack's settings.
    """
    host = reader.optional(keys.HOST)
    gateway = reader.optional(keys.GATEWAY)
    ingress_class = reader.optional(keys.INGRESS_CLASS)
    tls_secret = reader.optional(keys.TLS_SECRET_NAME)
    issuer = reader.optional(keys.TLS_ISSUER)
    of_ingress: list[tuple[Key[Any], object]] = [
        (keys.INGRESS_CLASS, ingress_class),
        (keys.TLS_SECRET_NAME, tls_secret),
        (keys.TLS_ISSUER, issuer),
    ]
    for key, value in [(keys.GATEWAY, gateway), *of_ingress] if reader.right(keys.HOST) else ():
        if value is not None and host is None:
            reader.refuse(
                key,
                value,
                "has no effect without aegis:host",
                fix=f"pulumi config set --stack {reader.environment} aegis:host "
                f"{keys.HOST.example}",
            )
        elif value is not None and gateway is not None and key is not keys.GATEWAY:
            reader.refuse(
                key,
                value,
                "is an Ingress's, and aegis:gateway is set: class and certificate are the "
                "Gateway's own",
                fix=f"pulumi config rm --stack {reader.environment} {key.full_name}",
            )
    if host is None:
        return None
    return ExternalRoute(
        host=host,
        gateway=gateway,
        ingress_class=ingress_class,
        tls_secret=tls_secret or (None if issuer is None else TLS_SECRET),
        issuer=issuer,
    )


def check_gate_of_route(
    reader: Reader, gate: GateSettings | None, route: ExternalRoute | None
) -> None:
    """Refuse a gate that asks for a way in which there is not.

    Args:
        reader: The stack's settings.
        gate: The gate's; None means no gate.
        route: How the service is reached from outside; None means not at all.
    """
    if gate is None:
        return
    stack, name = reader.environment, keys.GATE.full_name
    by = f"{name}.through"
    if gate.through == INGRESS and route is None and reader.right(keys.HOST):
        reader.refuse(
            keys.GATE,
            f"through {gate.through}",
            "is to probe the way in, and there is none without aegis:host",
            fix=f"pulumi config rm --stack {stack} --path {by}",
        )
    share = gate.canary_share
    if share is not None and (route is None or route.gateway is None) and reader.right(keys.HOST):
        reader.refuse(
            keys.GATE,
            f"canary {share}",
            "is a share of requests, which only an HTTPRoute can give",
            fix=f"pulumi config set --stack {stack} aegis:gateway {keys.GATEWAY.example}",
        )
    if share is not None and gate.bake_seconds <= 0:
        reader.refuse(
            keys.GATE,
            f"canary {share}",
            "would be over at once: it lasts for bakeSeconds, which is 0",
            fix=f"pulumi config set --stack {stack} --path {name}.bakeSeconds 15",
        )
    for member, value in (("address", gate.address), ("ca", gate.ca)):
        # Requests that count a share come from outside as well.
        if value is not None and gate.through != INGRESS and share is None:
            reader.refuse(
                keys.GATE,
                f"{member} ...",
                f"has no effect without {by} {INGRESS}",
                fix=f"pulumi config set --stack {stack} --path {by} {INGRESS}",
            )
