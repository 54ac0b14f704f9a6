"""What a column takes, as far as it can be told: its type's kind, its length, its simple checks.

A CHECK is read from what PostgreSQL says of it (`pg_get_constraintdef`): `IN`, comparisons with a
constant, `~` and `length()`, joined by AND. What is written otherwise is left to PostgreSQL, which
checks every row when it is loaded.
"""

from __future__ import annotations

import json
import re
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Literal
from uuid import UUID

from aegis_deploy.data.catalog import Check, Column, Table

Kind = Literal[
    "text", "integer", "number", "day", "json", "uuid", "truth", "bytes", "enum", "other"
]

_KINDS: dict[str, Kind] = {
    **dict.fromkeys(("text", "varchar", "bpchar", "citext", "name"), "text"),
    **dict.fromkeys(("int2", "int4", "int8"), "integer"),
    **dict.fromkeys(("numeric", "float4", "float8"), "number"),
    **dict.fromkeys(("date", "timestamp", "timestamptz"), "day"),
    **dict.fromkeys(("json", "jsonb"), "json"),
    "uuid": "uuid",
    "bool": "truth",
    "bytea": "bytes",
}
INTEGERS = {"int2": 2**15, "int4": 2**31, "int8": 2**63}
"""The integer types, and the number that is the first too great for each."""
_ORDERED = frozenset({"integer", "number", "day"})
_TRUTHS = frozenset({"t", "f", "true", "false", "yes", "no", "on", "off", "1", "0"})
_ISO_DAY = re.compile(r"\d{4,}-\d\d-\d\d(?: BC|[ T].*)?|-?infinity")


@dataclass(frozen=True)
class Limit:
    """The least or the greatest value.

    Attributes:
        value: It, as PostgreSQL writes it.
        inclusive: Whether it is one itself.
    """

    value: str
    inclusive: bool


@dataclass(frozen=True)
class Bounds:
    """What the checks of a column say.

    Attributes:
        values: The only values; None: any.
        low: The least; None: any.
        high: The greatest; None: any.
        patterns: The regular expressions that a value matches, and whether case is nothing to them.
        unlike: The values that it is not.
        shortest: The characters that it has at least.
        longest: The characters that it has at most; None: any number.
        unread: The checks that are left to PostgreSQL.
    """

    values: tuple[str, ...] | None = None
    low: Limit | None = None
    high: Limit | None = None
    patterns: tuple[tuple[str, bool], ...] = ()
    unlike: tuple[str, ...] = ()
    shortest: int = 0
    longest: int | None = None
    unread: tuple[str, ...] = ()


@dataclass(frozen=True)
class Pair:
    """How a check compares two columns of a row; a NULL in one of them is never refused.

    Attributes:
        least: The column that is not greater.
        most: The other.
        apart: Whether they are not the same.
        ordered: Whether the one is not greater; else they are not the same, and no more.
    """

    least: str
    most: str
    apart: bool
    ordered: bool = True


def kind_of(column: Column) -> Kind:
    """Return what kind of values a column, or each element of an array, has.

    Args:
        column: The column.
    """
    return "enum" if column.enum else _KINDS.get(column.base, "other")


def bounds_of(table: Table, column: Column) -> Bounds:
    """Return what the checks say of a column.

    Args:
        table: The table.
        column: Its column.
    """
    found = Bounds(values=column.enum or None, longest=column.length)
    for check in table.checks:
        if column.name in check.columns:
            found = _read(check, column, found)
    return found


def narrower(one: Bounds, two: Bounds, kind: Kind) -> Bounds:
    """Return what holds for values that two columns have in common.

    Args:
        one: What the one takes.
        two: What the other takes.
        kind: The kind of their values.
    """
    lengths = [it for it in (one.longest, two.longest) if it is not None]
    values = one.values if two.values is None else two.values
    if one.values is not None and two.values is not None:
        values = tuple(it for it in one.values if it in two.values)
    return Bounds(
        values=values,
        low=_tighter(one.low, two.low, kind, highest=True),
        high=_tighter(one.high, two.high, kind, highest=False),
        patterns=tuple(dict.fromkeys((*one.patterns, *two.patterns))),
        unlike=tuple(dict.fromkeys((*one.unlike, *two.unlike))),
        shortest=max(one.shortest, two.shortest),
        longest=min(lengths, default=None),
        unread=tuple(dict.fromkeys((*one.unread, *two.unread))),
    )


def misfit(value: str, column: Column, bounds: Bounds) -> str | None:
    """Return why a column does not take a value; None: as far as can be told, it does.

    Args:
        value: The value, as PostgreSQL writes it.
        column: The column; of an array the value is one of its elements.
        bounds: What its checks say.
    """
    kind = kind_of(column)
    if not _is_one(value, kind):
        return f"it is no {column.type.removesuffix('[]')}"
    return next(_misfits(value, column, bounds, kind), None)


def _misfits(value: str, column: Column, bounds: Bounds, kind: Kind) -> Iterator[str]:
    if bounds.values is not None and value not in bounds.values:
        yield f"it is none of {', '.join(bounds.values)}"
    if value in bounds.unlike:
        yield "a CHECK excludes it"
    if kind == "text" and bounds.longest is not None and len(value) > bounds.longest:
        yield f"it has {len(value)} characters, and {bounds.longest} is the most"
    if len(value) < bounds.shortest:
        yield f"it has {len(value)} characters, and {bounds.shortest} is the least"
    if kind == "integer" and not -INTEGERS[column.base] <= int(value) < INTEGERS[column.base]:
        yield f"it is too great for {column.type}"
    if column.precision is not None and not _has_room(value, column.precision):
        yield f"it is too great for {column.type}"
    for limit, sign in ((bounds.low, 1), (bounds.high, -1)):
        if limit is not None and not _inside(value, limit, sign, kind):
            yield f"a CHECK wants it {'above' if sign > 0 else 'below'} {limit.value}"
    for pattern, any_case in bounds.patterns:
        if not re.search(pattern, value, re.IGNORECASE if any_case else 0):
            yield f"a CHECK wants it to match {pattern}"


def _is_one(value: str, kind: Kind) -> bool:
    try:
        match kind:
            case "integer":
                int(value)
            case "number":
                Decimal(value)
            case "uuid":
                UUID(value)
            case "json":
                json.loads(value)
            case "truth":
                return value.lower() in _TRUTHS
            case "day":
                return _ISO_DAY.fullmatch(value) is not None
            case "bytes":
                return re.fullmatch(r"\\x(?:[0-9a-fA-F]{2})*", value) is not None
    except (ValueError, InvalidOperation):
        return False
    return "\x00" not in value


def _has_room(value: str, precision: tuple[int, int]) -> bool:
    digits, scale = precision
    number = Decimal(value)
    return number.is_nan() or abs(number) < Decimal(10) ** (digits - scale)


def _ordered(value: str, kind: Kind) -> Decimal | str:
    return Decimal(value) if kind in {"integer", "number"} else value


def _inside(value: str, limit: Limit, sign: int, kind: Kind) -> bool:
    try:
        one, two = _ordered(value, kind), _ordered(limit.value, kind)
    except InvalidOperation:
        return True
    if one == two:
        return limit.inclusive
    return (one > two) is (sign > 0)  # type: ignore[operator]


def _tighter(one: Limit | None, two: Limit | None, kind: Kind, *, highest: bool) -> Limit | None:
    if one is None or two is None:
        return one or two
    return two if _inside(two.value, one, 1 if highest else -1, kind) else one


# -- reading a check --------------------------------------------------------------------------

_TOKEN = re.compile(
    r"""\s*(?:
      (?P<cast>::\s*(?:"[^"]+"\.|\w+\.)?(?:"[^"]+"|\w+)
        (?:\s+(?:varying|precision|without\s+time\s+zone|with\s+time\s+zone))?
        (?:\s*\(\d+(?:,\d+)?\))?(?:\[\])*)
      |(?P<text>E?'(?:[^']|'')*')
      |(?P<number>\d+(?:\.\d+)?)
      |(?P<name>"(?:[^"]|"")+"|[^\W\d]\w*)
      |(?P<sign><=|>=|<>|!=|!~\*?|~\*|~|<|>|=|-|\[|\]|,|[()])
    )""",
    re.VERBOSE,
)
_IS_NULL = ["IS", "NULL"]
_LENGTHS = frozenset({"length", "char_length", "character_length"})
_OPEN = re.compile(r"^CHECK \((?P<inner>.*)\)(?: NO INHERIT)?(?: NOT VALID)?$", re.DOTALL)


@dataclass(frozen=True)
class _Word:
    kind: str
    text: str


def pairs_of(table: Table) -> tuple[Pair, ...]:
    """Return how the checks of a table compare two of its columns.

    Args:
        table: The table.
    """
    found = [it for check in table.checks for it in _parts(check) or () if isinstance(it, Pair)]
    return tuple(dict.fromkeys(found))


def _read(check: Check, column: Column, so_far: Bounds) -> Bounds:
    """Add what a check says; one that is not understood whole is left to PostgreSQL."""
    unread = Bounds(unread=(check.name,))
    kind = kind_of(column)
    parts = _parts(check)
    if parts is None or column.array:
        return narrower(so_far, unread, kind)
    found = so_far
    for part in parts:
        if isinstance(part, Pair):
            # A mask does not see the other column.
            found = narrower(found, unread, kind)
        elif part[0] in {column.name, "VALUE"}:
            one = part[1]
            # How texts are ordered is the collation's.
            if kind not in _ORDERED and (one.low or one.high):
                return narrower(so_far, unread, kind)
            found = narrower(found, one, kind)
    return found


def _parts(check: Check) -> list[Pair | tuple[str, Bounds]] | None:
    """Read what a check says, ANDed: of a column, or of two; None: it is not understood whole."""
    words = _words(check.definition)
    if words is None:
        return None
    names = (*check.columns, "VALUE")
    words = _unless_null(words, names)
    texts = [it.text for it in words]
    if "OR" in texts:
        one = None if "AND" in texts else _one_of(words, names)
        return None if one is None else [one]
    found: list[Pair | tuple[str, Bounds]] = []
    for part in _split(words, "AND"):
        pair = _pair(part, check.columns)
        single = [(it, bounds) for it in names if (bounds := _comparison(part, it)) is not None]
        if pair is None and not single:
            return None
        found.append(single[0] if pair is None else pair)
    return found


def _split(words: list[_Word], between: str) -> list[list[_Word]]:
    found: list[list[_Word]] = [[]]
    for word in words:
        if word == _Word("name", between):
            found.append([])
        else:
            found[-1].append(word)
    return found


def _pair(words: list[_Word], columns: tuple[str, ...]) -> Pair | None:
    """Read a comparison of two columns."""
    match [(it.kind, it.text) for it in words]:
        case [("name", left), ("sign", sign), ("name", right)] if {left, right} <= {*columns}:
            forms = {"<": (left, right, True), "<=": (left, right, False)}
            forms |= {">": (right, left, True), ">=": (right, left, False)}
            if sign in forms:
                least, most, apart = forms[sign]
                return Pair(least, most, apart=apart)
            if sign in {"<>", "!="}:
                return Pair(left, right, apart=True, ordered=False)
    return None


def _one_of(words: list[_Word], names: tuple[str, ...]) -> tuple[str, Bounds] | None:
    """Read values of one column that are named one by one."""
    values = list[str]()
    column = ""
    for part in _split(words, "OR"):
        for name in names:
            one = _comparison(part, name)
            if one is not None and column in {"", name}:
                break
        else:
            return None
        if one.values is None or one != Bounds(values=one.values):
            return None
        column = name
        values += one.values
    return column, Bounds(values=tuple(dict.fromkeys(values)))


def _unless_null(words: list[_Word], columns: tuple[str, ...]) -> list[_Word]:
    """Leave out that a column may be NULL instead: what is said of its values is the rest."""
    rest, free = list[list[_Word]](), set[str]()
    for part in _split(words, "OR"):
        name, *more = [it.text for it in part]
        if more == _IS_NULL and name in columns:
            free.add(name)
        else:
            rest.append(part)
    told = {it.text for part in rest for it in part} & {*columns}
    # Without parentheses, only what is said of one column or two is the same either way.
    several = len(told) > 1 and _Word("name", "AND") in words
    if not free or not rest or not free <= told or several:
        return words
    return [it for part in rest for it in (_Word("name", "OR"), *part)][1:]


def _words(definition: str) -> list[_Word] | None:
    """Split a check, without casts and without parentheses, which mean nothing among ANDs alone."""
    outer = _OPEN.match(definition)
    if outer is None:
        return None
    text, at, found = outer["inner"], 0, list[_Word]()
    while at < len(text.rstrip()):
        match = _TOKEN.match(text, at)
        if match is None:
            return None
        at = match.end()
        kind, word = str(match.lastgroup), match[match.lastgroup or 0]
        if kind == "text":
            if word.startswith("E"):
                word = word[1:].replace("\\\\", "\\")
            word = word[1:-1].replace("''", "'")
        elif kind == "name":
            word = word[1:-1].replace('""', '"') if word.startswith('"') else word
        elif kind == "cast" or word in {"(", ")"}:
            continue
        found.append(_Word(kind, word))
    return found


def _comparison(words: list[_Word], column: str) -> Bounds | None:
    """Read one comparison; None: it is another kind of condition."""
    words = _negatives(words)
    texts = [it.text for it in words]
    kinds = [it.kind for it in words]
    constant = {"text", "number"}
    match texts:
        case [name, "IS", "NOT", "NULL"] if name in {column, "VALUE"}:
            return Bounds()
        case ["upper" | "lower" as case, *rest] if rest[1:4] == ["=", "ANY", "ARRAY"]:
            # Of the spellings that it takes, those that it names.
            found = _comparison(words[1:], column)
            named = found is not None and all(
                it == getattr(it, case)() for it in found.values or ()
            )
            return found if named else None
        case [name, "=", "ANY", "ARRAY", "[", *items, "]"] if name in {column, "VALUE"}:
            values = tuple(items[::2])
            apart = set(items[1::2]) <= {","} and {*kinds[5:-1:2]} <= constant
            return Bounds(values=values) if apart else None
        case [function, name, sign, number] if (
            function in _LENGTHS and name in {column, "VALUE"} and kinds[3] == "number"
        ):
            return _length(sign, int(Decimal(number)))
        case [name, sign, value] if name in {column, "VALUE"} and kinds[2] in constant:
            return _against(sign, value)
    return None


def _negatives(words: list[_Word]) -> list[_Word]:
    found = list[_Word]()
    for word in words:
        if word.kind == "number" and found and found[-1] == _Word("sign", "-"):
            found[-1] = _Word("number", f"-{word.text}")
        elif word.kind == "text" and found and found[-1] == _Word("sign", "-"):
            return []
        else:
            found.append(word)
    return found


def _against(sign: str, value: str) -> Bounds | None:
    if sign in {"~", "~*"} and not _same_to_python(value):
        return None
    forms = {
        "=": Bounds(values=(value,)),
        "<>": Bounds(unlike=(value,)),
        ">=": Bounds(low=Limit(value, inclusive=True)),
        ">": Bounds(low=Limit(value, inclusive=False)),
        "<=": Bounds(high=Limit(value, inclusive=True)),
        "<": Bounds(high=Limit(value, inclusive=False)),
        "~": Bounds(patterns=((value, False),)),
        "~*": Bounds(patterns=((value, True),)),
    }
    return forms.get(sign)


_ONLY_POSTGRESQL = re.compile(r"\[[:.=]|\\[mMyYAZ]|^\*\*\*|\(\?[^:=!]")
"""What a regular expression of PostgreSQL's may have and Python's takes for something else."""


def _same_to_python(pattern: str) -> bool:
    if _ONLY_POSTGRESQL.search(pattern):
        return False
    try:
        with warnings.catch_warnings(action="error"):
            re.compile(pattern)
    except (re.error, FutureWarning):
        return False
    return True


def _length(sign: str, number: int) -> Bounds | None:
    forms = {
        ">=": Bounds(shortest=number),
        ">": Bounds(shortest=number + 1),
        "<=": Bounds(longest=number),
        "<": Bounds(longest=number - 1),
        "=": Bounds(shortest=number, longest=number),
    }
    return forms.get(sign)
