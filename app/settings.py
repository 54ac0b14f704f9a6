"""The service's settings: read from the environment once, validated, never read again.

Every mistake is reported at once, in plain words, and without the value of a secret.
"""

from __future__ import annotations

import difflib
import re
import ssl
from collections.abc import Iterable, Mapping
from typing import Annotated, Literal

from pydantic import Field, SecretStr, ValidationError, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from app.database.address import Tls, parse

Environment = Literal["development", "staging", "production"]
DataProfile = Literal["mock", "sample", "real"]
LogLevel = Literal["debug", "info", "warning", "error"]

PREFIX = "AEGIS_"
UNKNOWN = "unknown"
_SECRETS = frozenset({"api_token", "database_url"})
_MAX_SHOWN = 60
# Specification 2.1: which data an environment may serve.
_PROFILES: Mapping[str, tuple[DataProfile, ...]] = {
    "development": ("mock", "sample"),
    "staging": ("mock", "sample"),
    "production": ("real",),
}
# Kubernetes sets such variables for each Service of the namespace ("service links").
_SERVICE_LINK = re.compile(r"^AEGIS_\w+_(SERVICE_HOST|SERVICE_PORT\w*|PORT|PORT_\d+_\w+)$")


class SettingsError(Exception):
    """The environment does not make valid settings.

    Attributes:
        problems: One line for each setting that is wrong, secrets left out.
    """

    def __init__(self, problems: list[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems

    def __str__(self) -> str:
        count = len(self.problems)
        what = "a setting is wrong" if count == 1 else f"{count} settings are wrong"
        return "\n".join(
            [
                f"error: aegis-api cannot start: {what}",
                *(f"  {problem}" for problem in self.problems),
                "  next: correct these environment variables and start it again",
            ]
        )


class Settings(BaseSettings):
    """What the environment says, one field for each `AEGIS_` variable.

    A field's description is what the error message says is allowed.
    """

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, frozen=True, extra="ignore", hide_input_in_errors=True
    )

    environment: Annotated[
        Environment, Field(description="must be development, staging or production")
    ]
    data_profile: Annotated[DataProfile, Field(description="must be mock, sample or real")]
    mock_rows: Annotated[
        int, Field(ge=1, le=1_000_000, description="must be a whole number from 1 to 1000000")
    ] = 1000
    log_level: Annotated[LogLevel, Field(description="must be debug, info, warning or error")] = (
        "info"
    )
    host: Annotated[str, Field(min_length=1, description="must be an address to listen on")] = (
        "0.0.0.0"  # noqa: S104 - a pod's address is not known beforehand
    )
    port: Annotated[
        int,
        Field(ge=0, le=65535, description="must be a whole number from 1 to 65535 (0: any free)"),
    ] = 8000
    drain_seconds: Annotated[
        float,
        Field(ge=1, le=3600, allow_inf_nan=False, description="must be from 1 to 3600 seconds"),
    ] = 20.0
    keep_alive_seconds: Annotated[
        int,
        Field(ge=1, le=3600, description="must be a whole number of seconds from 1 to 3600"),
    ] = 75
    api_token: Annotated[
        SecretStr | None,
        Field(description="must be visible ASCII characters, no spaces; unset: no token needed"),
    ] = None
    database_url: Annotated[
        SecretStr | None,
        Field(description="must be postgresql://user:password@host:port/name; unset: no database"),
    ] = None
    database_tls: Annotated[
        Tls,
        Field(
            description="must be verify-full, or none for a database in the service's own namespace"
        ),
    ] = "verify-full"
    database_ca: Annotated[
        str | None,
        Field(min_length=1, description="must be the file of the authority's certificate"),
    ] = None
    version: Annotated[str, Field(max_length=128, description="must be at most 128 characters")] = (
        UNKNOWN
    )
    git_sha: Annotated[str, Field(max_length=128, description="must be at most 128 characters")] = (
        UNKNOWN
    )

    @field_validator("data_profile")
    @classmethod
    def _fits_environment(cls, value: DataProfile, info: ValidationInfo) -> DataProfile:
        environment = info.data.get("environment")
        if environment is not None and value not in _PROFILES[environment]:
            allowed = " or ".join(_PROFILES[environment])
            raise ValueError(f"must be {allowed} when {PREFIX}ENVIRONMENT is {environment}")
        return value

    @field_validator("api_token")
    @classmethod
    def _token_can_be_sent(cls, value: SecretStr | None) -> SecretStr | None:
        # An empty token is a mistake, not "no token": reading it as unset would open the service.
        if value is not None and not re.fullmatch(r"[!-~]+", value.get_secret_value()):
            raise ValueError(cls.model_fields["api_token"].description)
        return value

    @field_validator("database_url")
    @classmethod
    def _address_of_a_database(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None:
            parse(value.get_secret_value())
        return value

    @field_validator("database_tls")
    @classmethod
    def _encrypted_in_production(cls, value: Tls, info: ValidationInfo) -> Tls:
        if value == "none" and info.data.get("environment") == "production":
            raise ValueError(f"must be verify-full when {PREFIX}ENVIRONMENT is production")
        return value

    @field_validator("database_ca")
    @classmethod
    def _authority_can_be_read(cls, value: str | None) -> str | None:
        if value is None:
            return None
        try:
            ssl.create_default_context(cafile=value)
        except ssl.SSLError:
            raise ValueError("must be a file with a certificate: it holds none") from None
        except OSError as error:
            raise ValueError(f"must be a file with a certificate: {error.strerror}") from None
        return value

    @field_validator("version", "git_sha")
    @classmethod
    def _unknown_when_empty(cls, value: str) -> str:
        # An image built without the build arguments carries empty variables.
        return value or UNKNOWN


def load_settings(environ: Mapping[str, str]) -> Settings:
    """Reads and validates the settings.

    Args:
        environ: The process's environment; `BaseSettings` reads the same one, this is for saying
            which value was wrong.

    Raises:
        SettingsError: With every setting that is wrong.
    """
    try:
        # Values come from the environment, which the type checker cannot see.
        return Settings()
    except ValidationError as error:
        raise SettingsError(_explain(error, environ)) from None


def misspelt(names: Iterable[str]) -> dict[str, str]:
    """Finds variables that look like one of ours but are not.

    Args:
        names: Names of environment variables.

    Returns:
        The unknown name and the known one it is near to, for each.
    """
    known = {PREFIX + field.upper() for field in Settings.model_fields}
    found = {}
    for name in sorted({name.upper() for name in names} - known):
        if name.startswith(PREFIX) and not _SERVICE_LINK.match(name):
            near = difflib.get_close_matches(name, known, n=1, cutoff=0.8)
            if near:
                found[name] = near[0]
    return found


def _explain(error: ValidationError, environ: Mapping[str, str]) -> list[str]:
    values = {name.upper(): value for name, value in environ.items()}
    lines = []
    for item in error.errors(include_url=False, include_input=False):
        field = str(item["loc"][0]).lower().removeprefix(PREFIX.lower())
        name = PREFIX + field.upper()
        cause = item.get("ctx", {}).get("error")
        rule = str(cause) if cause else Settings.model_fields[field].description
        if name not in values:
            lines.append(f"{name} is missing: {rule}")
        elif field in _SECRETS:
            lines.append(f"{name} (not shown): {rule}")
        else:
            shown = values[name]
            shown = shown if len(shown) <= _MAX_SHOWN else shown[:_MAX_SHOWN] + "..."
            lines.append(f"{name}={shown!r}: {rule}")
    return lines
