"""The names and labels of what Aegis deploys."""

from __future__ import annotations

SERVICE = "aegis-api"
"""The service's name: of its objects, its container and its DNS name."""
CANARY = f"{SERVICE}-canary"
"""What of the service gets a share of the requests first: the name of its objects."""
POSTGRES = "aegis-postgres"
"""The stack's own PostgreSQL: its objects and its DNS name."""


def common() -> dict[str, str]:
    """The labels of every object of a stack."""
    return {
        "app.kubernetes.io/part-of": "aegis",
        "app.kubernetes.io/managed-by": "pulumi",
    }


def selector(name: str) -> dict[str, str]:
    """What finds a service's pods; a Deployment's selector can never change, so this is short."""
    return {"app.kubernetes.io/name": name}


def of_service(name: str) -> dict[str, str]:
    """The labels of every object of a service."""
    return {**selector(name), **common()}
