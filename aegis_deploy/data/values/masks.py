"""What each rule makes of a value: functions of the value and the key, and of nothing else. Pure.

Values are as PostgreSQL writes them. What cannot fit a column is refused before there is a value:
:class:`Unfit` says why.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Context, Decimal, InvalidOperation
from functools import lru_cache
from itertools import pairwise
from typing import Any

from aegis_deploy.data import rules
from aegis_deploy.data.catalog import Column
from aegis_deploy.data.values import fakes
from aegis_deploy.data.values.arrays import each_element
from aegis_deploy.data.values.bounds import INTEGERS, Bounds, Kind, kind_of, misfit
from aegis_deploy.data.values.days import offset, shift_key, shifted, window_of
from aegis_deploy.data.values.documents import Leaf, Number, document, parsed_path, redacted
from aegis_deploy.data.values.keyed import (
    BITS_OF_LETTER,
    UNIQUE_LETTERS,
    Digest,
    Permutation,
    derived,
)
from aegis_deploy.data.values.same_form import KEPT_OF_PHONE, scrambler

Apply = Callable[[str], str | None]
"""A mask of one value that is not NULL."""

_CACHED = 4096
_PROBES = ("a", "probe of a mask", "0")


class Unfit(Exception):  # noqa: N818 - it is an answer, no fault
    """A rule cannot be that of a column; the message says why."""


@dataclass(frozen=True)
class Target:
    """The columns that a mask is for: one, and those that refer to it.

    Attributes:
        columns: They, the one that is referred to first.
        bounds: What the checks of all of them say.
        unique: Whether two values must never become one.
        nullable: Whether all of them take NULL.
        cased: Whether two values that differ by their case alone are one to an index.
    """

    columns: tuple[Column, ...]
    bounds: Bounds = field(default_factory=Bounds)
    unique: bool = False
    nullable: bool = False
    cased: bool = False
    _kinds: frozenset[Kind] = field(init=False, repr=False, default=frozenset())

    def __post_init__(self) -> None:
        object.__setattr__(self, "_kinds", frozenset(map(kind_of, self.columns)))

    @property
    def kind(self) -> Kind:
        """The kind of their values: that of the one that is referred to."""
        return kind_of(self.columns[0])

    @property
    def type(self) -> str:
        """Their type, for people."""
        return self.columns[0].type

    @property
    def length(self) -> int | None:
        """The characters that each of them takes at most; None: any number."""
        return self.bounds.longest

    @property
    def folded(self) -> bool:
        """Whether upper and lower case are the same to one of them."""
        return any(it.base == "citext" for it in self.columns)

    @property
    def padded(self) -> bool:
        """Whether blanks at the end mean nothing to one of them."""
        return any(it.base == "bpchar" for it in self.columns)


@dataclass(frozen=True)
class Mask:
    """A mask.

    Attributes:
        apply: It.
        injective: Whether two values never become one.
        coincide: Whether what it makes may be found among what it was made of.
    """

    apply: Apply
    injective: bool
    coincide: bool


def compiled(rule: rules.Rule, target: Target, key: bytes) -> Mask:
    """Make the mask that a rule says.

    Args:
        rule: The rule; a template's is made elsewhere, for it needs the row.
        target: The columns it is for.
        key: The key.

    Raises:
        Unfit: It cannot be theirs.
    """
    match rule:
        case rules.Keep():
            return Mask(lambda value: value, injective=True, coincide=True)
        case rules.Null():
            if not target.nullable:
                raise Unfit("it is NOT NULL")
            return Mask(lambda _: None, injective=True, coincide=True)
        case rules.Fixed():
            return _fixed(rule, target)
    if target.kind == "enum" or target.bounds.values is not None:
        allowed = ", ".join(target.bounds.values or ())
        raise Unfit(f"it takes only {allowed}; give keep, fixed or null")
    made, injective, natural = _made(rule, target, key)
    if target.unique and not injective:
        raise Unfit(f"it is in a key, and {rule.rule} may make one of two values")
    if not isinstance(rule, rules.Scramble | rules.Phone | rules.Number | rules.Shift | rules.Json):
        _probe(made, rule, target)
    coincide = natural if rule.coincide is None else rule.coincide
    # What others make of a value holds small letters that tell it apart.
    same_form = isinstance(rule, rules.Scramble | rules.Phone)
    canonical = _canonical(target, folded=target.folded or (target.cased and same_form))
    quick = lru_cache(_CACHED)(lambda value: made(canonical(value)))
    if any(it.array for it in target.columns):
        return Mask(lambda value: each_element(value, quick), injective, coincide)
    return Mask(quick, injective, coincide)


_Made = tuple[Apply, bool, bool]
"""A function, whether it is injective, and whether what it makes may coincide."""


def _made(rule: rules.Rule, target: Target, key: bytes) -> _Made:
    maker = _MAKERS.get(type(rule))
    if maker is None:
        raise Unfit(f"{rule.rule} is no rule for it")
    return maker(rule, target, key)


def _same_form(rule: rules.Rule, target: Target, key: bytes) -> _Made:
    _require(target, "text")
    kept = KEPT_OF_PHONE if isinstance(rule, rules.Phone) else 0
    return scrambler(derived(key, rule.rule), kept), True, False


def _redact(rule: rules.Redact, target: Target, _: bytes) -> _Made:
    _require(target, "text", "json")
    if target.kind == "json":
        return document({}, lambda value: redacted(value, rule.text)), False, True
    text = rule.text[: target.length]
    return lambda _: text, False, True


def _shift(rule: rules.Shift, target: Target, key: bytes) -> _Made:
    _require(target, "day")
    days = offset(rule, shift_key(key), "")
    window = window_of(target.bounds, target.columns[0].base)
    return lambda value: shifted(value, days, window), rule.by is None, True


def _require(target: Target, *kinds: Kind) -> None:
    if target.kind not in kinds or not target._kinds <= {*kinds}:
        raise Unfit(f"it is {target.type}, and the rule is for {' and '.join(map(_worded, kinds))}")


def _worded(kind: Kind) -> str:
    words = {"integer": "whole numbers", "number": "numbers", "day": "dates and timestamps"}
    return {**words, "bytes": "bytea"}.get(kind, kind)


def _canonical(target: Target, *, folded: bool) -> Callable[[str], str]:
    """Return what makes one text of values that PostgreSQL takes for the same."""
    kind = target.kind
    if kind == "number":
        return _one_number
    if folded and target.padded:
        return lambda value: value.lower().rstrip(" ")
    if folded:
        return str.lower
    if target.padded:
        return lambda value: value.rstrip(" ")
    return str


_EXACT = Context(prec=150_000)
"""PostgreSQL's numeric has up to 131,072 digits before its point and 16,383 after it; a context of
Python's own rounds to 28, and two values would become one."""


def _one_number(value: str) -> str:
    try:
        number = Decimal(value)
    except InvalidOperation:
        return value
    return f"{_EXACT.normalize(number):f}" if number.is_finite() else value


def _probe(made: Apply, rule: rules.Rule, target: Target) -> None:
    """Hold what a rule makes against what the columns take, as far as that can be told."""
    if target.kind != "text":
        return
    for probe in _PROBES:
        value = made(probe)
        reasons = (misfit(value, it, target.bounds) for it in target.columns if value is not None)
        reason = next(filter(None, reasons), None)
        if reason is not None:
            raise Unfit(
                f"{reason}, which {rule.rule} does not hold to; give scramble, fixed or null"
            )


def _fixed(rule: rules.Fixed, target: Target) -> Mask:
    value = rule.value
    if target.unique:
        raise Unfit("it is in a key, and fixed makes one of all values")
    if not any(it.array for it in target.columns):
        for column in target.columns:
            reason = misfit(value, column, target.bounds)
            if reason is not None:
                raise Unfit(f"{json.dumps(value, ensure_ascii=False)} does not fit: {reason}")
    return Mask(lambda _: value, injective=False, coincide=rule.coincide is not False)


def _letters(target: Target, room: int | None, of: str) -> int:
    """Return how many letters of a digest there is room for."""
    if target.unique and room is not None and room < UNIQUE_LETTERS:
        raise Unfit(
            f"{target.type} has room for {max(room, 0)} characters of a digest in {of}, and it is "
            f"in a key: values are told apart by {UNIQUE_LETTERS} "
            f"({UNIQUE_LETTERS * BITS_OF_LETTER} bits); give scramble, or make it longer"
        )
    return UNIQUE_LETTERS if room is None else min(room, UNIQUE_LETTERS)


_HASH_LETTERS = 26


def _hash(rule: rules.Hash, target: Target, key: bytes) -> _Made:
    _require(target, "text", "bytes")
    digest = Digest(derived(key, "hash"))
    if target.kind == "bytes":
        return lambda value: f"\\x{digest.of(value).hex()}", True, False
    if rule.length is not None and target.length is not None and rule.length > target.length:
        raise Unfit(f"{target.type} takes {target.length} characters, and not {rule.length}")
    room = target.length if rule.length is None else rule.length
    _letters(target, room, "hash")
    count = min(_HASH_LETTERS, room) if room is not None and rule.length is None else room
    length = _HASH_LETTERS if count is None else count
    return lambda value: digest.letters(value, length), length >= UNIQUE_LETTERS, False


_UUID_LENGTH = 36


def _uuid(_: rules.Uuid, target: Target, key: bytes) -> _Made:
    _require(target, "uuid", "text")
    if target.length is not None and target.length < _UUID_LENGTH:
        raise Unfit(f"{target.type} takes {target.length} characters, and not {_UUID_LENGTH}")
    digest = Digest(derived(key, "uuid"))

    def made(value: str) -> str:
        it = bytearray(digest.of(value.lower())[:16])
        it[6], it[8] = it[6] & 0x0F | 0x40, it[8] & 0x3F | 0x80
        text = it.hex()
        return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"

    return made, True, False


_WIDE = 2**52
"""JSON's numbers are whole up to 2**53 in most languages; half of that leaves sequences room."""


def _number(_: rules.Number, target: Target, key: bytes) -> _Made:
    """A permutation of each of the ranges that the values are cut into.

    What is below half of what the type takes stays there: a sequence that is set after the
    greatest value has numbers left.
    """
    limits = []
    # A text may refer to a number by a reference that only people know of.
    for column in (it for it in target.columns if kind_of(it) != "text" or it is target.columns[0]):
        if column.base in INTEGERS:
            limits.append(INTEGERS[column.base])
        elif column.precision is not None and column.precision[1] == 0:
            limits.append(10 ** column.precision[0])
        else:
            raise Unfit(f"it is {column.type}, and the rule is for whole numbers")
    cuts = {0}
    for limit in limits:
        half = min(limit // 2, _WIDE)
        cuts |= {half, limit, -half, -limit}
    low, high = target.bounds.low, target.bounds.high
    least, most = min(cuts), max(cuts)
    if low is not None:
        least = max(least, _next_whole(low.value, up=True, inclusive=low.inclusive))
    if high is not None:
        most = min(most, _next_whole(high.value, up=False, inclusive=high.inclusive) + 1)
    edges = sorted({least, most, *(it for it in cuts if least < it < most)})
    parts = [
        (start, end, Permutation(derived(key, "number", str(start), str(end)), end - start))
        for start, end in pairwise(edges)
    ]

    def made(value: str) -> str:
        number = int(value)
        for start, end, permutation in parts:
            if start <= number < end:
                return str(permutation.of(number - start) + start)
        raise ValueError("a whole number is outside what its column takes")

    return made, True, True


def _next_whole(value: str, *, up: bool, inclusive: bool) -> int:
    number = Decimal(value)
    whole = int(number.to_integral_value("ROUND_CEILING" if up else "ROUND_FLOOR"))
    return whole if inclusive or whole != number else whole + (1 if up else -1)


def _fake(rule: rules.Fake, target: Target, key: bytes) -> _Made:
    _require(target, "text")
    values = fakes.pool(rule.rule, rule.locale)
    chosen, told_apart = Digest(derived(key, rule.rule, rule.locale)), Digest(derived(key, "apart"))
    if not (target.unique or rule.unique):
        cut = [it[: target.length].rstrip() for it in values]
        return lambda value: cut[chosen.below(value, len(cut))], False, False
    # A blank and at least one character of the name go before it.
    room = None if target.length is None else target.length - 2
    _letters(target, room, rule.rule)
    if room is not None and room < UNIQUE_LETTERS:
        raise Unfit(f"{target.type} is too short for {rule.rule} with unique: true")
    kept = None if target.length is None else target.length - UNIQUE_LETTERS - 1

    def made(value: str) -> str:
        name = values[chosen.below(value, len(values))][:kept]
        return f"{name} {told_apart.letters(value, UNIQUE_LETTERS)}"

    return made, True, False


_LEAST_OF_EMAIL = 4


def _email(rule: rules.Email, target: Target, key: bytes) -> _Made:
    _require(target, "text")
    users = fakes.pool("user", "en_US")
    at = f"@{rule.domain}"
    room = None if target.length is None else target.length - len(at)
    count = _letters(target, room, "email")
    if count < _LEAST_OF_EMAIL:
        raise Unfit(f"{target.type} has no room for an address at {rule.domain}")
    kept = None if room is None else max(room - count - 1, 0)
    chosen, told_apart = Digest(derived(key, "user")), Digest(derived(key, "apart"))

    def made(value: str) -> str:
        user = users[chosen.below(value, len(users))][:kept].strip(".")
        letters = told_apart.letters(value, count)
        return f"{user}.{letters}{at}" if user else f"{letters}{at}"

    return made, count >= UNIQUE_LETTERS, False


def _bucket(rule: rules.Bucket, target: Target, _: bytes) -> _Made:
    _require(target, "integer", "number")
    low = target.bounds.low
    least, size = None if low is None else Decimal(low.value), Decimal(rule.size)

    def made(value: str) -> str:
        number = Decimal(value)
        if not number.is_finite():
            return value
        rest = _EXACT.remainder(number, size)
        rounded = _EXACT.subtract(number, rest)
        if rounded > number:  # The remainder has the sign of the number.
            rounded = _EXACT.subtract(rounded, size)
        if low is not None and least is not None and number >= least:
            # What a CHECK wants holds: its own limit, or the multiple above it.
            if low.inclusive:
                rounded = max(rounded, least)
            elif rounded <= least:
                rounded = _EXACT.add(rounded, size)
        return f"{rounded:f}"

    return made, False, True


def _json(rule: rules.Json, target: Target, key: bytes) -> _Made:
    _require(target, "json")
    try:
        paths = {path: parsed_path(path) for path in rule.paths}
    except ValueError as error:
        raise Unfit(str(error)) from error
    ways = {paths[path]: _of_leaf(one, key) for path, one in rule.paths.items()}
    return document(ways, _of_leaf(rule.others, key)), False, False


def _of_leaf(rule: rules.Rule, key: bytes) -> Leaf:
    """Return what a rule makes of a document's value: texts of texts, numbers of numbers."""
    match rule:
        case rules.Keep():
            return lambda value: value
        case rules.Null():
            return lambda _: None
        case rules.Fixed():
            return lambda _: rule.value
        case rules.Redact():
            return lambda value: redacted(value, rule.text)
    kinds = {"number": "int8", "bucket": "numeric", "shift": "timestamp"}
    base = kinds.get(rule.rule, "text")
    made = _made(rule, Target((Column("value", base, base),)), key)[0]

    def masked(value: object) -> object:
        if value is None or isinstance(value, bool):
            return value
        try:
            found = made(str(value))
        except (ValueError, InvalidOperation):
            # Something else than the rule is for: nothing of it may stay.
            return redacted(value, rules.Redact(rule="redact").text)
        return Number(found) if base in {"int8", "numeric"} and isinstance(value, Number) else found

    return masked


_MAKERS: dict[type[rules.Rule], Callable[[Any, Target, bytes], _Made]] = {
    rules.Hash: _hash,
    rules.Uuid: _uuid,
    rules.Number: _number,
    rules.Fake: _fake,
    rules.Email: _email,
    rules.Phone: _same_form,
    rules.Scramble: _same_form,
    rules.Redact: _redact,
    rules.Shift: _shift,
    rules.Bucket: _bucket,
    rules.Json: _json,
}
