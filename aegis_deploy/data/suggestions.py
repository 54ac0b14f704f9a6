"""Which rule a column without one may want, by its name and its type: for a person to judge."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

import yaml

from aegis_deploy.data import rules
from aegis_deploy.data.catalog import Column, TableName
from aegis_deploy.data.values.bounds import kind_of
from aegis_deploy.data.values.masks import Target, Unfit, compiled
from aegis_deploy.data.values.naming import meant

_NO_KEY = bytes(32)
_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_SHARED = frozenset({"first_name", "last_name", "city", "postcode", "job"})
"""What many people have the same of."""
_BY_KIND = {
    "integer": "{rule: bucket, size: 10}",
    "number": "{rule: bucket, size: 100}",
    "day": "{rule: shift, days: 90}",
    "json": "{rule: json, paths: {}, others: redact}",
    "uuid": "uuid",
    "truth": "keep",
    "enum": "keep",
    "bytes": '"null"',
    "other": '"null"',
}
_FEW = 8
_LAST = ("scramble", "hash", "number", "uuid", '"null"', "{rule: shift, days: 90}")
_EMPTY = {"tsvector": "{rule: fixed, value: ''}", "bytea": "{rule: fixed, value: '\\x'}"}


def suggestion(column: Column, target: Target) -> str:
    """Return the rule that a column may want, as it stands in the file.

    Args:
        column: It.
        target: It, and the columns that refer to it.
    """
    for text in _candidates(column, target):
        rule = rules.one(yaml.safe_load(text))
        try:
            compiled(rule, target, _NO_KEY)
        except Unfit:
            continue
        return text
    return "keep # no other rule fits: is there anything of a person in it?"


def _candidates(column: Column, target: Target) -> Iterator[str]:
    kind = kind_of(column)
    if kind in {"integer", "truth"} and column.counted:
        yield "keep"
    if target.bounds.values is not None:
        # One of a few that the schema itself names.
        yield "keep"
    if kind == "text":
        named = meant(column.name)
        if named is not None:
            yield f"{{rule: {named}, coincide: true}}" if named in _SHARED else named
        yield "hash" if target.unique else "redact"
        if column.length is not None and column.length <= _FEW:
            # Of so few characters some combinations are found on both sides by chance.
            yield "{rule: scramble, coincide: true}"
    elif kind == "integer" and target.unique:
        yield "number"
    yield _BY_KIND.get(kind, "scramble")
    if column.base in _EMPTY:
        yield _EMPTY[column.base]
    yield from _LAST


def as_lines(found: Mapping[TableName, Mapping[str, str]]) -> list[str]:
    """Return rules as lines of the file.

    Args:
        found: The rules by table and column.
    """
    lines = ["tables:"]
    for table, columns in found.items():
        lines.append(f"  {_key(str(table))}:")
        lines += [f"    {_key(column)}: {rule}" for column, rule in columns.items()]
    return lines


def _key(name: str) -> str:
    plain = all(_PLAIN.fullmatch(it) for it in name.split(".")) and name not in {
        "true", "false", "null",
    }  # fmt: skip
    quoted = name.replace("\\", "\\\\").replace('"', '\\"')
    return name if plain else f'"{quoted}"'
