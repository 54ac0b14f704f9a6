"""Numbers as Kubernetes writes them."""

from __future__ import annotations

import math
from decimal import Decimal, InvalidOperation

_SUFFIXES = {
    "n": Decimal("1e-9"),
    "u": Decimal("1e-6"),
    "m": Decimal("1e-3"),
    "": Decimal(1),
    **{letter: Decimal(1000) ** power for power, letter in enumerate("kMGTPE", start=1)},
    **{f"{letter}i": Decimal(1024) ** power for power, letter in enumerate("KMGTPE", start=1)},
}


def quantity(value: object) -> Decimal | None:
    """Read an amount such as ``100m`` or ``1Gi``; None when it is none."""
    text = str(value)
    number = text.rstrip("numkKMGTPEi")
    try:
        return Decimal(number) * _SUFFIXES[text.removeprefix(number)]
    except (InvalidOperation, KeyError):
        return None


def share(value: object, of: int) -> int | None:
    """Read a count or a percentage of a number of pods, rounded up as the API does."""
    text = str(value)
    try:
        if text.endswith("%"):
            return math.ceil(of * int(text[:-1]) / 100)
        return int(float(text))
    except ValueError:
        return None
