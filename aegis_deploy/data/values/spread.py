"""Made-up values: functions of a seed, a column's name and a row's number, and of nothing else.

Whole numbers alone decide: the same on every machine, whatever its floating point. A source gives
the values of any rows, in whatever order they are asked for, so that a row that refers to another
knows its key without having read it.
"""

from __future__ import annotations

import hashlib
import re
import sys
from array import array
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from datetime import date, timedelta
from decimal import Context, Decimal
from functools import lru_cache
from itertools import accumulate
from math import gcd, prod

BLOCK = 4096
"""The rows whose numbers are drawn at once."""
_CACHED_BLOCKS = 512
_WORD = 64

Rows = Sequence[int]
Source = Callable[[Rows], list[str]]
"""Gives the values of rows."""
Draw = Callable[[Rows], Sequence[int]]
"""Gives a whole number below 2**64 for each of some rows."""


def stream(*names: object) -> Draw:
    """Return a row's number at random, the same for the same names.

    Args:
        names: The seed, the table, the column and what it is for.
    """
    tag = "\x00".join(map(str, names)).encode()

    def made(number: int) -> array[int]:
        text = tag + number.to_bytes(8, "big")
        # An array: a row's number as an object of its own would take four times the memory.
        found = array("Q", hashlib.shake_128(text).digest(BLOCK * _WORD // 8))
        if sys.byteorder == "little":
            found.byteswap()
        return found

    # Row by row each block is asked for once or twice; only what others refer to is come back to.
    latest, block = lru_cache(2)(made), lru_cache(_CACHED_BLOCKS)(made)

    def draw(rows: Rows) -> Sequence[int]:
        if isinstance(rows, range) and rows.step == 1 and len(rows) <= BLOCK:
            first, at = divmod(rows.start, BLOCK)
            if at + len(rows) <= BLOCK:
                return latest(first)[at : at + len(rows)]
        return [block(it // BLOCK)[it % BLOCK] for it in rows]

    return draw


def scattered(*names: object, size: int) -> Callable[[Rows], list[int]]:
    """Return what leads each row to another of a size, each as often as the others.

    Rows below the size are led to different ones.

    Args:
        names: As those of :func:`stream`.
        size: How many there are.
    """
    tag = "\x00".join(map(str, names)).encode()
    drawn = int.from_bytes(hashlib.sha256(tag).digest(), "big")
    # Near the golden section, neighbours are led far from each other.
    step = max(1, size * 618 // 1000 + drawn % (size // 50 + 1))
    while gcd(step, size) != 1:
        step += 1
    start = (drawn >> 128) % size
    return lambda rows: [(it * step + start) % size for it in rows]


def below(draw: Draw, size: int) -> Callable[[Rows], list[int]]:
    """Return a number below a size for each row, all as likely.

    Args:
        draw: The numbers at random.
        size: How many there are.
    """
    return lambda rows: [it * size >> _WORD for it in draw(rows)]


def weighted(draw: Draw, weights: Sequence[Decimal]) -> Callable[[Rows], list[int]]:
    """Return a place for each row, as likely as its weight has it.

    Args:
        draw: The numbers at random.
        weights: They.
    """
    edges = _edges(weights)
    return lambda rows: [bisect_right(edges, it) for it in draw(rows)]


def _edges(weights: Sequence[Decimal]) -> list[int]:
    total = sum(weights)
    sums = list(accumulate(weights))
    return [int(it * 2**_WORD / total) for it in sums[:-1]]


_RANKS = 1024
_DIGITS = Context(prec=28)


def zipf(draw: Draw, finer: Draw, exponent: float, size: int) -> Callable[[Rows], list[int]]:
    """Return a rank for each row: the n-th is taken as often as 1/n**exponent has it.

    The first 1,024 ranks have their own weight, and those after share that of all up to twice as
    many.

    Args:
        draw: The numbers at random.
        finer: Others.
        exponent: The exponent.
        size: How many ranks there are.
    """
    power = -Decimal(str(exponent))
    ranks = min(size, _RANKS)
    # Powers of Decimal are rounded as its context says, and not as a machine's library does.
    weights = [_DIGITS.power(Decimal(it), power) for it in range(1, ranks + 1)]
    starts, counts = list(range(ranks)), [1] * ranks
    start = ranks
    while start < size:
        count = min(start, size - start)
        middle = Decimal(2 * start + count) / 2
        weights.append(_DIGITS.power(middle, power) * count)
        starts.append(start)
        counts.append(count)
        start += count
    edges = _edges(weights)

    def ranked(rows: Rows) -> list[int]:
        found = []
        for one, two in zip(draw(rows), finer(rows), strict=True):
            place = bisect_right(edges, one)
            found.append(starts[place] + (two * counts[place] >> _WORD))
        return found

    return ranked


# -- sources ----------------------------------------------------------------------------------


def picked(values: Sequence[str], place: Callable[[Rows], list[int]]) -> Source:
    """Return one of some values for each row.

    Args:
        values: They.
        place: Which.
    """
    return lambda rows: [values[it] for it in place(rows)]


def numbers(draw: Draw, low: int, high: int, scale: int = 0) -> Source:
    """Return a number for each row.

    Args:
        draw: The numbers at random.
        low: The least, in units of the last digit.
        high: The greatest.
        scale: The digits after the point.
    """
    span = high - low + 1
    if not scale:
        return lambda rows: [str(low + (it * span >> _WORD)) for it in draw(rows)]
    return lambda rows: [
        str(Decimal(low + (it * span >> _WORD)).scaleb(-scale)) for it in draw(rows)
    ]


DAY_SECONDS = 86400


def days(place: Callable[[Rows], list[int]], first: date) -> Source:
    """Return a day for each row.

    Args:
        place: Which, counted from the first.
        first: The first.
    """

    @lru_cache(maxsize=20000)
    def shown(number: int) -> str:
        return (first + timedelta(number)).isoformat()

    return lambda rows: [shown(it) for it in place(rows)]


def moments(place: Callable[[Rows], list[int]], first: date, zone: str = "") -> Source:
    """Return a moment for each row, to the second.

    Args:
        place: Which second, counted from the first day's beginning.
        first: The first day.
        zone: What stands behind it: `+00`, or nothing.
    """
    times = [
        f" {hour:02}:{minute:02}:{second:02}{zone}"
        for hour in range(24)
        for minute in range(60)
        for second in range(60)
    ]
    day = lru_cache(maxsize=20000)(lambda it: (first + timedelta(it)).isoformat())

    def made(rows: Rows) -> list[str]:
        found = []
        for it in place(rows):
            number, second = divmod(it, DAY_SECONDS)
            found.append(day(number) + times[second])
        return found

    return made


_BASE36 = "0123456789abcdefghijklmnopqrstuvwxyz"


def base36(number: int) -> str:
    """Return a number in digits and small letters."""
    text = ""
    while True:
        number, digit = divmod(number, 36)
        text = _BASE36[digit] + text
        if not number:
            return text


def uuids(high: Draw, low: Draw) -> Source:
    """Return a UUID for each row, none twice: it holds the row's number.

    Args:
        high: Numbers at random.
        low: Others.
    """

    def made(rows: Rows) -> list[str]:
        found = []
        for row, one, two in zip(rows, high(rows), low(rows), strict=True):
            text = f"{one:016x}"
            tail = f"{two >> 52:03x}"
            found.append(f"{text[:8]}-{text[8:12]}-4{text[13:16]}-8{tail}-{row:012x}")
        return found

    return made


# -- forms ------------------------------------------------------------------------------------

_LETTERS = "abcdefghijklmnopqrstuvwxyz"
_FORMS = {"#": "0123456789", "?": _LETTERS.upper()}
Form = Sequence[str]
"""The characters that may stand at each place."""


def form_of(pattern: str) -> Form:
    """Read a pattern with `#` for a digit and `?` for a letter.

    Args:
        pattern: The pattern.
    """
    return [_FORMS.get(it, it) for it in pattern]


def filled(form: Form, number: int) -> str:
    """Return the text of a form with a number, another for each below its size.

    Args:
        form: The form.
        number: The number.
    """
    found = []
    for characters in reversed(form):
        number, place = divmod(number, len(characters))
        found.append(characters[place])
    return "".join(reversed(found))


def of_form(form: Form, draw: Draw) -> Source:
    """Return a text of a form for each row.

    Args:
        form: The form.
        draw: Numbers at random.
    """
    size = prod(map(len, form))
    return lambda rows: [filled(form, it * size >> _WORD) for it in draw(rows)]


_ATOM = re.compile(
    r"(?:\[(?P<not>\^)?(?P<inner>(?:\\.|[^\]\\])+)\]|\\(?P<escape>.)|(?P<one>[^\\\[\](){}|.*+?^$]))"
    r"(?P<times>\{(?P<least>\d+)(?:,\d*)?\}|[+*?])?"
)
_CLASSES = {"d": "0123456789", "w": _LETTERS + "0123456789", "s": " "}
_TIMES_OF_PLUS = 8


def form_of_expression(expression: str) -> Form | None:
    """Return a form whose texts match a regular expression; None: it is not one of the simple kind.

    Args:
        expression: It: characters, classes and how often they come, without groups.
    """
    inner = expression.removeprefix("^").removesuffix("$")
    at, form = 0, list[str]()
    while at < len(inner):
        match = _ATOM.match(inner, at)
        if match is None:
            return None
        characters = _characters(match)
        if not characters:
            return None
        times = match["times"] or ""
        least = int(match["least"]) if match["least"] else (_TIMES_OF_PLUS if times in "+*" else 1)
        form += [characters] * (least if times else 1)
        at = match.end()
    return form


def _characters(match: re.Match[str]) -> str:
    if match["one"] is not None:
        return match["one"]
    if match["escape"] is not None:
        return _CLASSES.get(match["escape"], "" if match["escape"].isalnum() else match["escape"])
    inner = re.sub(r"\\(\w)", lambda it: _CLASSES.get(it[1], ""), match["inner"])
    found, at = "", 0
    while at < len(inner):
        if inner[at + 1 : at + 2] == "-" and at + 2 < len(inner):
            found += "".join(map(chr, range(ord(inner[at]), ord(inner[at + 2]) + 1)))
            at += 3
        else:
            found += inner[at].removeprefix("\\")
            at += 1
    if match["not"]:
        return "".join(it for it in _LETTERS if it not in found)
    return found


# -- COPY -------------------------------------------------------------------------------------

_ESCAPES: Mapping[str, str] = {"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"}
_ESCAPED = re.compile(r"[\\\t\n\r]")


def copied(value: str) -> str:
    """Return a value as COPY reads it from text."""
    return _ESCAPED.sub(lambda it: _ESCAPES[it[0]], value)
