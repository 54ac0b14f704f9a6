"""Texts of the same form: letters for letters, digits for digits, no two become one. Pure."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable
from functools import lru_cache
from math import prod

from aegis_deploy.data.values.keyed import Permutation

_CACHED = 4096
KEPT_OF_PHONE = 3
_LONG_PHONE = 9
_DIGITS = "0123456789"
_ASCII = ("abcdefghijklmnopqrstuvwxyz", "ABCDEFGHIJKLMNOPQRSTUVWXYZ", _DIGITS)
_WIDE_BLOCKS = ((0xAC00, 0xD7A4), (0x4E00, 0xA000))
"""Hangul's syllables, and what is written in Chinese and Japanese."""
_NARROW_BLOCK = 128


@lru_cache(maxsize=8192)
def _kin(character: str) -> str | range | None:
    """Return the characters that one may become, itself among them; None: it stays."""
    code = ord(character)
    for alphabet in _ASCII:
        if character in alphabet:
            return alphabet
    for start, end in _WIDE_BLOCKS:
        if start <= code < end:
            return range(start, end)
    category = unicodedata.category(character)
    if category[0] not in "LNM" or code < _NARROW_BLOCK:
        return None
    start = code - code % _NARROW_BLOCK
    block = map(chr, range(start, start + _NARROW_BLOCK))
    # What lower() makes two characters of, or of another length, would not stay what it is.
    return "".join(it for it in block if unicodedata.category(it) == category)


def scrambler(key: bytes, kept: int = 0) -> Callable[[str], str]:
    """Return what makes of a text another of the same form, and never the same of two.

    Args:
        key: The key.
        kept: How many digits stay at the beginning of a text with at least nine.
    """
    permutation = lru_cache(_CACHED)(lambda size: Permutation(key, size))

    def made(value: str) -> str:
        kins: list[str | range | None] = [_kin(it) for it in value]
        if kept:
            digits = [index for index, it in enumerate(kins) if it is _DIGITS]
            for index in digits[:kept] if len(digits) >= _LONG_PHONE else ():
                kins[index] = None
        sizes = [len(it) for it in kins if it is not None]
        number = 0
        for character, kin in zip(value, kins, strict=True):
            if kin is not None:
                place = (
                    ord(character) - kin.start if isinstance(kin, range) else kin.index(character)
                )
                number = number * len(kin) + place
        number = permutation(prod(sizes)).of(number)
        found = []
        for character, kin in zip(reversed(value), reversed(kins), strict=True):
            if kin is None:
                found.append(character)
                continue
            number, place = divmod(number, len(kin))
            it = kin[place]
            found.append(it if isinstance(it, str) else chr(it))
        return "".join(reversed(found))

    return made
