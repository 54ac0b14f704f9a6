"""What members of structured settings may be that more than one group has."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from aegis_deploy.model.setting_forms import Field, Form, Schema, exactly
from components.quantities import CPU_SCHEMA, MEMORY_SCHEMA, Cpu, Memory
from components.sizing import PodResources

_IMAGE = r"[A-Za-z0-9][A-Za-z0-9._/:-]{0,254}@sha256:[0-9a-f]{64}"
IMAGE_ALLOWED = "an image reference with its digest, <repository>@sha256:<digest>"
SCHEDULE_ALLOWED = "minute, hour, day, month and weekday as cron has them, in UTC"


def text(parse: Callable[[str], Any], schema: Schema) -> Form[Any]:
    """Return the form of a member that is read as text.

    Args:
        parse: Reads it; raises ValueError, worded to follow the value.
        schema: What it reads.
    """
    # Of `cpuRequest: 1` the configuration makes a number.
    return Form(lambda value: parse("" if isinstance(value, bool) else str(value)), schema)


def matching(pattern: str, why: str) -> Form[Any]:
    """Return the form of text that matches a regular expression from beginning to end.

    Args:
        pattern: The expression.
        why: What is said of text that does not, worded to follow it.
    """

    def parse(given: str) -> str:
        if re.fullmatch(pattern, given) is None:
            raise ValueError(why)
        return given

    return text(parse, exactly(pattern))


IMAGE = matching(_IMAGE, "is not an image by digest")
SCHEDULE = matching(r"[0-9A-Za-z*,/-]+( [0-9A-Za-z*,/-]+){4}", "is not a schedule")
_CPU = text(Cpu.parse, CPU_SCHEMA)
CPU_FIELDS: Mapping[str, Field] = {
    "cpuRequest": Field(
        attribute="cpu_request",
        what="the CPU that it asks the scheduler for",
        form=_CPU,
        allowed="CPU such as 100m, 0.5 or 1, at most cpuLimit",
    ),
    "cpuLimit": Field(
        attribute="cpu_limit",
        what="the CPU that it may use at most",
        form=_CPU,
        allowed="CPU such as 500m or 1, at least cpuRequest",
    ),
}
"""The members that say how much of a processor a pod has, by the names the configuration has."""


@dataclass(frozen=True, kw_only=True)
class OnePod:
    """How large the one pod of a group is.

    Attributes:
        cpu_request: The CPU that it asks the scheduler for.
        cpu_limit: The CPU that it may use at most.
        memory: The memory that it has, no less and no more.
    """

    cpu_request: Cpu = Cpu(100)  # noqa: RUF009 - frozen
    cpu_limit: Cpu = Cpu(1000)  # noqa: RUF009
    memory: Memory = Memory(256)  # noqa: RUF009

    @property
    def resources(self) -> PodResources:
        """What its pod asks for and may use."""
        return PodResources(
            cpu_request=self.cpu_request,
            cpu_limit=self.cpu_limit,
            memory_request=self.memory,
            memory_limit=self.memory,
        )

    def require_room(self) -> None:
        """Refuse a request above the limit.

        Raises:
            ValueError: It is; the message is worded to follow the group's value.
        """
        if self.cpu_request > self.cpu_limit:
            raise ValueError(f"has a cpuRequest above its cpuLimit, which is {self.cpu_limit}")


def memory_from(least: Memory, why: str) -> Form[Any]:
    """Return the form of an amount of memory.

    Args:
        least: The least there may be.
        why: What is said of less, worded to follow it.
    """

    def parse(given: str) -> Memory:
        amount = Memory.parse(given)
        if amount < least:
            raise ValueError(why)
        return amount

    return text(parse, MEMORY_SCHEMA)
