"""The environment variables the service is configured with."""

from __future__ import annotations

import pulumi

from components.api_pod import PORT
from components.release_config import ReleaseConfigArgs
from components.settings import Settings


def release_environment(settings: Settings, namespace: pulumi.Input[str]) -> ReleaseConfigArgs:
    """Describe a release's configuration.

    Args:
        settings: The stack's settings.
        namespace: Where it lives.
    """
    return ReleaseConfigArgs(
        namespace=namespace,
        plain=plain_environment(settings),
        secret=secret_environment(settings),
        salt=settings.namespace,
    )


def plain_environment(settings: Settings) -> dict[str, str]:
    """What anybody may read of a release's configuration."""
    return {
        "AEGIS_ENVIRONMENT": settings.environment,
        "AEGIS_DATA_PROFILE": settings.data_profile,
        **({} if settings.mock_rows is None else {"AEGIS_MOCK_ROWS": str(settings.mock_rows)}),
        "AEGIS_LOG_LEVEL": settings.log_level,
        "AEGIS_DRAIN_SECONDS": str(settings.timings.drain),
        "AEGIS_PORT": str(PORT),
        **({} if settings.database is None else settings.database.plain_environment()),
    }


def secret_environment(settings: Settings) -> dict[str, str]:
    """What nobody may read of it; empty when there is nothing."""
    return {
        **({} if settings.api_token is None else {"AEGIS_API_TOKEN": settings.api_token}),
        **({} if settings.database is None else settings.database.secret_environment()),
    }
