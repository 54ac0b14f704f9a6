"""What a setting's value may be: one definition that both reads it and describes it to editors.

A :class:`Form` reads a value and has the JSON schema of what it reads. The schema speaks of
the value as it stands in ``Pulumi.<stack>.yaml``, where a number may also be text, as
``pulumi config set`` writes it. What only the program can tell, such as one
value held against another, is not in it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from math import ceil
from typing import Any, Generic, TypeVar

T = TypeVar("T")

Schema = Mapping[str, Any]
"""A JSON schema of draft 7, which is the one that editors read."""


@dataclass(frozen=True)
class Form(Generic[T]):
    """What a value may be.

    Attributes:
        parse: Makes the value of what was given; raises ValueError, worded to follow the value.
        schema: Accepts all that ``parse`` accepts, and as little else as a schema can.
    """

    parse: Callable[[Any], T]
    schema: Schema


@dataclass(frozen=True, kw_only=True)
class Field:
    """One member of a structured setting.

    Attributes:
        attribute: Its name in what is made of the group.
        what: What it is, for people.
        form: What it may be, as JSON has it.
        allowed: The same for people.
    """

    attribute: str
    what: str
    form: Form[Any]
    allowed: str


OTHERWISE = r"[0-9.]*[\s+\-_eE][\s+\-0-9_.eE]*"
"""A number with a sign, an exponent or the like: a schema leaves its size to the program."""


def exactly(pattern: str) -> Schema:
    """Return the schema of text that matches a regular expression from its beginning to its end."""
    return {"type": "string", "pattern": f"^(?:{pattern})$"}


def number_text(least: float, most: int, *, above: bool = False) -> str:
    """Return a regular expression for numbers of a range, written with digits and a point.

    Args:
        least: The least, whole or of one decimal place.
        most: The most.
        above: Whether the number must be above ``least``, which then is 0.
    """
    from_one = above or least > 0
    ways = [rf"0*{most}(?:\.0*)?"]
    if most > max(least, from_one):
        whole = whole_text(max(ceil(least), int(from_one)), most - 1)
        ways.append(rf"{whole}(?:\.[0-9]*)?")
    if above:
        ways.append(r"0*\.[0-9]*[1-9][0-9]*")
    elif least < 1:
        ways.append(rf"0*\.[{round(least * 10)}-9][0-9]*")
    return "|".join(ways)


def whole_text(least: int, most: int) -> str:
    """Return a regular expression for the whole numbers of a range, zeros before them or not."""
    lengths = range(len(str(least)), len(str(most)) + 1)
    ways = (
        _between(str(max(least, 10 ** (it - 1) if it > 1 else 0)), str(min(most, 10**it - 1)))
        for it in lengths
    )
    return f"0*(?:{'|'.join(ways)})"


def _between(low: str, high: str) -> str:
    """Return a regular expression for the numbers between two that have as many digits."""
    if low == high:
        return low
    if low[0] == high[0]:
        return low[0] + _between(low[1:], high[1:])
    rest = len(low) - 1
    first, last = int(low[0]), int(high[0])
    ways = []
    if low[1:].strip("0"):
        ways.append(low[0] + _between(low[1:], "9" * rest))
        first += 1
    if high[1:].strip("9"):
        ways.append(high[0] + _between("0" * rest, high[1:]))
        last -= 1
    if first <= last:
        ways.append(f"[{first}-{last}]" + "[0-9]" * rest)
    return f"(?:{'|'.join(ways)})"


def read_group(
    value: str | Mapping[str, Any], fields: Mapping[str, Field], *, whose: str
) -> dict[str, Any]:
    """Read a structured setting.

    Args:
        value: The group, as an object or as the JSON that Pulumi passes on.
        fields: Its members, by the name the configuration has.
        whose: What the group is called in messages: "the gate".

    Returns:
        What was given, by the attributes' names.

    Raises:
        ValueError: Something is wrong; the message says everything that is, worded to follow
            the value.
    """
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError:
            value = ""
    if not isinstance(value, Mapping):
        raise ValueError("is not a group of settings")  # noqa: TRY004 - a wrong text, too
    problems: list[str] = []
    found: dict[str, Any] = {}
    for name, given in value.items():
        field = fields.get(name)
        if field is None:
            by_lower_case = {known.lower(): known for known in fields}
            near = get_close_matches(name.lower(), by_lower_case, n=1, cutoff=0.6)
            hint = f" (the nearest is {by_lower_case[near[0]]})" if near else ""
            problems.append(f"{name} is not a setting of {whose}{hint}")
            continue
        try:
            found[field.attribute] = field.form.parse(given)
        except ValueError as error:
            problems.append(f"{name}: {given!r} {error}, it is to be {field.allowed}")
    if problems:
        raise ValueError("; ".join(problems))
    return found


def group_schema(
    fields: Mapping[str, Field], defaults: object, required: Sequence[str] = ()
) -> Schema:
    """Return the JSON schema of what :func:`read_group` reads.

    Args:
        fields: The group's members.
        defaults: Has the attributes' values where nothing is given; None means that there is none.
        required: The members without which there is no group.
    """
    return {
        "type": "object",
        "properties": {
            name: {
                "description": f"{field.what}; {field.allowed}",
                **_default(getattr(defaults, field.attribute)),
                **field.form.schema,
            }
            for name, field in fields.items()
        },
        "additionalProperties": False,
        **({"required": list(required)} if required else {}),
    }


def _default(value: Any) -> Schema:  # noqa: ANN401
    if value is None:
        return {}
    return {"default": value if isinstance(value, bool | int | float) else str(value)}
