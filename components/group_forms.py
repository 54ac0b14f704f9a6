"""What members of structured settings may be that more than one group has."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from aegis_deploy.model.setting_forms import Form, Schema, exactly
from components.quantities import CPU_SCHEMA, Cpu

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
CPU = text(Cpu.parse, CPU_SCHEMA)
