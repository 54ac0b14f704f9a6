"""Amounts of CPU and memory, in the form Kubernetes itself prints them.

A manifest that says ``1000m`` reads back as ``1``. Writing the canonical form in the first place
keeps the program, the state and the live object comparable as text.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction
from math import ceil
from typing import Self

from aegis_deploy.model.setting_forms import exactly

# The words of these are the schema's, too, which knows no named groups and no amount of nothing.
_CPU = re.compile(r"([0-9]+(?:\.[0-9]{1,3})?)|([0-9]+)m")
_MEMORY = re.compile(r"([0-9]+)(Mi|Gi)")
_SOMETHING = "(?=.*[1-9])"
_MEBIBYTES_PER = {"Mi": 1, "Gi": 1024}


@dataclass(frozen=True, order=True)
class Cpu:
    """An amount of CPU time."""

    millicores: int

    def __add__(self, other: Self) -> Self:
        return type(self)(self.millicores + other.millicores)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read ``100m``, ``2`` or ``0.5``.

        Raises:
            ValueError: The text is not such an amount, or is zero.
        """
        match = _CPU.fullmatch(text)
        if match is None:
            raise ValueError("is not an amount of CPU")
        cores, millicores = match.groups()
        amount = int(millicores) if millicores else int(Fraction(cores) * 1000)
        if amount == 0:
            raise ValueError("is nothing")
        return cls(amount)

    def times(self, factor: int | Fraction) -> Self:
        """This amount, ``factor`` times, rounded up to a whole millicore."""
        return type(self)(ceil(self.millicores * factor))

    def __str__(self) -> str:
        cores, rest = divmod(self.millicores, 1000)
        return f"{self.millicores}m" if rest else str(cores)


@dataclass(frozen=True, order=True)
class Memory:
    """An amount of memory."""

    mebibytes: int

    def __add__(self, other: Self) -> Self:
        return type(self)(self.mebibytes + other.mebibytes)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read ``128Mi`` or ``1Gi``.

        Raises:
            ValueError: The text is not such an amount, or is zero.
        """
        match = _MEMORY.fullmatch(text)
        if match is None:
            raise ValueError("is not an amount of memory")
        number, unit = match.groups()
        amount = int(number) * _MEBIBYTES_PER[unit]
        if amount == 0:
            raise ValueError("is nothing")
        return cls(amount)

    def times(self, factor: int | Fraction) -> Self:
        """This amount, ``factor`` times, rounded up to a whole mebibyte."""
        return type(self)(ceil(self.mebibytes * factor))

    def __str__(self) -> str:
        gibibytes, rest = divmod(self.mebibytes, 1024)
        return f"{self.mebibytes}Mi" if rest else f"{gibibytes}Gi"


CPU_SCHEMA = {
    "anyOf": [
        {"type": "number", "exclusiveMinimum": 0},
        exactly(f"{_SOMETHING}(?:{_CPU.pattern})"),
    ]
}
"""What :meth:`Cpu.parse` reads, as a JSON schema; a number's decimal places it cannot count."""

MEMORY_SCHEMA = exactly(f"{_SOMETHING}{_MEMORY.pattern}")
"""What :meth:`Memory.parse` reads, as a JSON schema."""
