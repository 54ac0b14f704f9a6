"""What of two long texts a person needs to see: where they differ."""

from __future__ import annotations

from itertools import takewhile

LONGEST = 200
"""So many characters of a value are shown on a line."""
_BEFORE = 40
"""So many characters are shown before the first one that differs."""


def excerpts(before: str, after: str) -> tuple[str, str]:
    """Where two texts begin to differ, of each as much as can be shown.

    Args:
        before: The one.
        after: The other; where both are at most `LONGEST` characters long, they stay as they are.
    """
    if max(len(before), len(after)) <= LONGEST:
        return before, after
    pairs = zip(before, after, strict=False)
    same = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))
    begin = max(same - _BEFORE, 0)
    return _from(before, begin), _from(after, begin)


def _from(text: str, begin: int) -> str:
    if len(text) <= LONGEST:
        return text
    head = f"(from character {begin + 1:,}) …" if begin else ""
    tail = "…" if begin + LONGEST < len(text) else ""
    return f"{head}{text[begin : begin + LONGEST]}{tail} ({len(text):,} characters)"
