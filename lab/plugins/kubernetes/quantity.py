"""Resource quantities ("500m", "1Gi") in the one spelling the API server stores.

The rules are those of Kubernetes' resource.Quantity: the suffix family of the input stays (binary,
decimal, exponent), the suffix becomes the largest one that leaves a whole number.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from decimal import ROUND_CEILING, Decimal

_PATTERN = re.compile(r"([+-]?(?:\d+\.?\d*|\.\d+))([KMGTPE]i|[numkMGTPE]|[eE][+-]?\d+)?")
_BINARY = ("", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei")
_DECIMAL = {"n": -9, "u": -6, "m": -3, "": 0, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
_NAMES = {power: name for name, power in _DECIMAL.items()}
_SMALLEST = Decimal("1e-9")
_FAST_DIGITS = 18


def canonical(value: str | float) -> str:
    """Return a quantity as the API server would write it.

    Args:
        value: A quantity as a manifest may have it; numbers are allowed.

    Returns:
        The canonical spelling.

    Raises:
        ValueError: It is not a quantity.
    """
    match = _PATTERN.fullmatch(str(value))
    if match is None:
        raise ValueError("not a Kubernetes quantity")
    number, suffix = Decimal(match.group(1)), match.group(2) or ""
    if not suffix.endswith("i") and _kept_as_written(match.group(1), suffix):
        return str(value)
    if suffix.endswith("i"):
        return _binary(number * 1024 ** _BINARY.index(suffix))
    if suffix not in _DECIMAL:
        exponent = int(suffix[1:])
        return _scaled(number.scaleb(exponent), lambda power: f"e{power}" if power else "")
    return _scaled(number.scaleb(_DECIMAL[suffix]), _NAMES.get)


def _kept_as_written(number: str, suffix: str) -> bool:
    """Say whether Go's parser takes a decimal for canonical already (so even "1.234" stays)."""
    whole, _, fraction = number.lstrip("+-").partition(".")
    digits = (whole.lstrip("0") or "0") + fraction
    scale = (_DECIMAL[suffix] if suffix in _DECIMAL else int(suffix[1:])) - len(fraction)
    canonical_looking = scale % 3 == 0 and not digits.endswith("000") and digits[0] != "0"
    return canonical_looking and scale >= _DECIMAL["n"] and len(digits) <= _FAST_DIGITS


def _binary(amount: Decimal) -> str:
    if abs(amount) < 1024 or amount != amount.to_integral_value():  # noqa: PLR2004 - one Ki
        return _scaled(amount, _NAMES.get)
    whole, step = int(amount), 0
    while whole and whole % 1024 == 0 and step < len(_BINARY) - 1:
        whole, step = whole // 1024, step + 1
    return f"{whole}{_BINARY[step]}"


def _scaled(amount: Decimal, suffix: Callable[[int], str | None]) -> str:
    """Write an amount with the largest power of a thousand that leaves a whole number."""
    amount = amount.quantize(_SMALLEST, rounding=ROUND_CEILING) if amount % _SMALLEST else amount
    if amount == 0:
        return "0"
    for power in range(18, -10, -3):
        scaled = amount.scaleb(-power)
        name = suffix(power)
        if name is not None and scaled == scaled.to_integral_value():
            return f"{int(scaled)}{name}"
    return str(amount)
