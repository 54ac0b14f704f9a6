"""The settings of what takes samples by a schedule: what they may be, the defaults.

The table :data:`FIELDS` is documentation and schema.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlsplit

from aegis_deploy.model.setting_forms import Field, Schema, group_schema, read_group
from components.group_forms import (
    CPU_FIELDS,
    IMAGE,
    IMAGE_ALLOWED,
    SCHEDULE,
    SCHEDULE_ALLOWED,
    OnePod,
    matching,
    memory_from,
)
from components.quantities import Cpu, Memory

_PLACE = r"s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/[A-Za-z0-9._=-]+)+(\?[A-Za-z0-9._~:/%&=-]+)?"
_NEEDED = ("image", "to")
_LEAST_MEMORY = Memory(128)
_HTTPS, _HTTP = 443, 80


@dataclass(frozen=True, kw_only=True)
class SamplingSettings(OnePod):
    """What takes samples, and when.

    Attributes:
        image: The image with `aegis data`, by digest.
        to: Below which address each data set has a prefix of its own.
        at: When, as a CronJob has it.
        rules: The file of rules, from the checkout's top on.
        cpu_request: The CPU that its pod asks the scheduler for.
        cpu_limit: The CPU that it may use at most.
        memory: The memory that it has, no less and no more.
    """

    image: str | None = None
    to: str | None = None
    at: str = "37 1 * * 0"
    rules: str = "data-rules.yaml"
    cpu_limit: Cpu = Cpu(2000)  # noqa: RUF009
    memory: Memory = Memory(512)  # noqa: RUF009

    @property
    def store_port(self) -> int:
        """Where the bucket's server listens."""
        endpoint = parse_qs(urlsplit(self.to or "").query).get("endpoint", [""])[-1]
        parts = urlsplit(endpoint if "://" in endpoint else f"//{endpoint}")
        return parts.port or (_HTTP if parts.scheme == "http" else _HTTPS)

    def place(self, name: str) -> str:
        """Return where a data set is put.

        Args:
            name: What it is called there.
        """
        where, query, options = str(self.to).partition("?")
        return f"{where}/{name}{query}{options}"


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """What samples are taken with, all of it.

    Attributes:
        settings: What takes them, and when.
        source: Where they are taken of, with the reader's password.
        key: What rows are chosen and values masked by.
        credentials: Who writes to the bucket: an access key's id, a colon, the key.
        authority: The certificate of the authority that signed the database's, PEM; None for the
            image's.
        rules: What the file of rules says.
    """

    settings: SamplingSettings
    source: str = field(repr=False)
    key: str = field(repr=False)
    credentials: str = field(repr=False)
    authority: str | None = field(repr=False)
    rules: str = field(repr=False)


FIELDS: Mapping[str, Field] = {
    "image": Field(
        attribute="image",
        what="the image with aegis data, which data.Dockerfile makes",
        form=IMAGE,
        allowed=IMAGE_ALLOWED,
    ),
    "to": Field(
        attribute="to",
        what="below which address each data set has a prefix of its own",
        form=matching(_PLACE, "is no place in S3"),
        allowed="s3://bucket/prefix, with the options of a state backend's address",
    ),
    "at": Field(attribute="at", what="when", form=SCHEDULE, allowed=SCHEDULE_ALLOWED),
    "rules": Field(
        attribute="rules",
        what="the file of rules",
        form=matching(
            r"[A-Za-z0-9_-][A-Za-z0-9_./-]{0,254}", "is not the path of a file in the checkout"
        ),
        allowed="a file of the checkout",
    ),
    **CPU_FIELDS,
    "memory": Field(
        attribute="memory",
        what="the memory that it asks for and may use",
        form=memory_from(_LEAST_MEMORY, "is less than a sample takes"),
        allowed=f"memory such as 512Mi or 1Gi, at least {_LEAST_MEMORY}",
    ),
}
"""Every member of ``aegis:sampling``, by the name the configuration has."""

SCHEMA: Schema = group_schema(FIELDS, SamplingSettings(), _NEEDED)
"""What :func:`sampling_settings` reads, as a JSON schema."""


def sampling_settings(value: str | Mapping[str, Any]) -> SamplingSettings:
    """Read the settings of what takes samples.

    Args:
        value: The structured setting, as an object or as the JSON that Pulumi passes on.

    Raises:
        ValueError: Something is wrong; the message says everything that is, worded to follow
            the value.
    """
    found = SamplingSettings(**read_group(value, FIELDS, whose="the sampling"))
    lacks = [it for it in _NEEDED if getattr(found, it) is None]
    if lacks:
        raise ValueError(f"has no {' and no '.join(lacks)}")
    found.require_room()
    return found
