"""The environment variables the service is configured with."""

from __future__ import annotations

from components.api_pod import PORT
from components.settings import Settings


def plain_environment(settings: Settings) -> dict[str, str]:
    """What anybody may read of a release's configuration."""
    return {
        "AEGIS_ENVIRONMENT": settings.environment,
        "AEGIS_DATA_PROFILE": settings.data_profile,
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
