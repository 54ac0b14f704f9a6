"""The settings of a PostgreSQL in the stack's own namespace: what it may be set to, the defaults.

The table :data:`FIELDS` is documentation and schema.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from aegis_deploy.model.setting_forms import (
    Field,
    Form,
    Schema,
    exactly,
    group_schema,
    read_group,
    whole_text,
)
from components.group_forms import (
    CPU_FIELDS,
    IMAGE,
    IMAGE_ALLOWED,
    SCHEDULE,
    SCHEDULE_ALLOWED,
    OnePod,
    matching,
    memory_from,
    text,
)
from components.quantities import MEMORY_SCHEMA, Memory

IMAGE_VARIABLE = "AEGIS_POSTGRES_IMAGE"
"""The environment variable that names the image when the settings do not."""

_LEAST_MEMORY = Memory(128)


@dataclass(frozen=True, kw_only=True)
class PostgresSettings(OnePod):
    """What a stack's own PostgreSQL is like.

    Attributes:
        image: Its image, by digest; None means what the environment names.
        storage: How large its volume is.
        backup_storage: How large the volume of its backups is.
        storage_class: The class of both volumes; None means the cluster's default.
        backup_at: When it is backed up, as a CronJob has it.
        keep_backups: How many backups are kept.
        keep_data: Whether its volumes outlive the stack.
    """

    image: str | None = None
    storage: Memory = Memory(1024)  # noqa: RUF009 - frozen
    backup_storage: Memory = Memory(1024)  # noqa: RUF009
    storage_class: str | None = None
    backup_at: str = "17 2 * * *"
    keep_backups: int = 7
    keep_data: bool = True


def _count(text: str) -> int:
    if re.fullmatch(r"[0-9]{1,9}", text) is None:
        raise ValueError("is not a whole number")
    if not 1 <= int(text) <= _MOST_BACKUPS:
        raise ValueError("is out of range")
    return int(text)


def _boolean(text: str) -> bool:
    if text.lower() not in {"true", "false"}:
        raise ValueError("is neither true nor false")
    return text.lower() == "true"


_MOST_BACKUPS = 1000
_STORAGE = text(Memory.parse, MEMORY_SCHEMA)
_SIZE = "a size such as 1Gi or 500Mi; the class may have it grow, never shrink"

FIELDS: Mapping[str, Field] = {
    "image": Field(
        attribute="image",
        what=f"the official PostgreSQL image, 14 or newer; without it {IMAGE_VARIABLE}'s",
        form=IMAGE,
        allowed=IMAGE_ALLOWED,
    ),
    "storage": Field(
        attribute="storage", what="how large its volume is", form=_STORAGE, allowed=_SIZE
    ),
    "backupStorage": Field(
        attribute="backup_storage",
        what="how large the volume of its backups is",
        form=_STORAGE,
        allowed=_SIZE,
    ),
    "storageClass": Field(
        attribute="storage_class",
        what="the class of both volumes; without it the cluster's default",
        form=matching(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?", "is not a StorageClass's name"),
        allowed="the name of a StorageClass of the cluster",
    ),
    **CPU_FIELDS,
    "memory": Field(
        attribute="memory",
        what="the memory that it asks for and may use, a quarter of it for its cache",
        form=memory_from(_LEAST_MEMORY, "is less than PostgreSQL starts with"),
        allowed=f"memory such as 256Mi or 1Gi, at least {_LEAST_MEMORY}",
    ),
    "backupAt": Field(
        attribute="backup_at",
        what="when it is backed up",
        form=SCHEDULE,
        allowed=SCHEDULE_ALLOWED,
    ),
    "keepBackups": Field(
        attribute="keep_backups",
        what="how many backups are kept",
        form=text(
            _count,
            {
                "anyOf": [
                    {"type": "integer", "minimum": 1, "maximum": _MOST_BACKUPS},
                    exactly(rf"(?=[0-9]{{1,9}}$){whole_text(1, _MOST_BACKUPS)}"),
                ]
            },
        ),
        allowed=f"a whole number, 1 to {_MOST_BACKUPS}",
    ),
    "keepData": Field(
        attribute="keep_data",
        what="whether its volumes are protected, and stay when the stack is destroyed",
        form=Form(
            lambda value: _boolean(str(value)),
            {"anyOf": [{"type": "boolean"}, exactly("[tT][rR][uU][eE]|[fF][aA][lL][sS][eE]")]},
        ),
        allowed="true or false",
    ),
}
"""Every member of ``aegis:postgres``, by the name the configuration has."""

SCHEMA: Schema = group_schema(FIELDS, PostgresSettings())
"""What :func:`postgres_settings` reads, as a JSON schema."""


def postgres_settings(value: str | Mapping[str, Any]) -> PostgresSettings:
    """Read the settings of a stack's own PostgreSQL.

    Args:
        value: The structured setting, as an object or as the JSON that Pulumi passes on.

    Raises:
        ValueError: Something is wrong; the message says everything that is, worded to follow
            the value.
    """
    found = PostgresSettings(**read_group(value, FIELDS, whose="the database"))
    found.require_room()
    return found
