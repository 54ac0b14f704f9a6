"""Inputs in the one form the API server keeps, so that equal manifests compare equal.

The official provider sends inputs of built-in kinds through their Go types and back: fields the
type does not know and empty fields the server would not keep fall away, quantities get their
canonical spelling. types.json (see generate_types.py) holds what of those types matters.
"""

from __future__ import annotations

import base64
import binascii
import copy
import functools
import json
from pathlib import Path
from typing import Any

from lab.plugins.kubernetes import quantity
from lab.plugins.kubernetes.objects import Json, Object, is_kind, is_secret, prune, remove_field
from lab.plugins.properties import has_unknown

_READ_ONLY = (
    "creationTimestamp",
    "deletionGracePeriodSeconds",
    "deletionTimestamp",
    "generation",
    "managedFields",
    "resourceVersion",
    "uid",
)
_DROP = object()


class _MismatchError(Exception):
    """A value does not fit its Go type; the server will say so better than this file can."""


@functools.cache
def _table() -> dict[str, Any]:
    table: dict[str, Any] = json.loads(Path(__file__).with_name("types.json").read_text())
    return table


def is_builtin(api_version: str, kind: str) -> bool:
    """Say whether Kubernetes itself defines this kind."""
    return f"{api_version}/{kind}" in _table()["kinds"]


def is_builtin_version(api_version: str) -> bool:
    """Say whether Kubernetes itself defines this group and version."""
    return any(key.rpartition("/")[0] == api_version for key in _table()["kinds"])


def normalize(inputs: Object) -> Object:
    """Return inputs in normal form; the argument is left alone.

    Args:
        inputs: A resource's inputs, without secret marks. With any unknown in it only the
            read-only metadata is removed.
    """
    result = copy.deepcopy(inputs)
    if not has_unknown(result):
        if is_kind(result, "apiextensions.k8s.io", "CustomResourceDefinition"):
            _normalize_definition(result)
        elif is_secret(result):
            _normalize_secret(result)
        else:
            result = prune(_through_type(result), result)
    for field in _READ_ONLY:
        remove_field(result, "metadata", field)
    return result


def _through_type(obj: Object) -> Object:
    api_version = str(obj.get("apiVersion", "")).removeprefix("core/")
    name = _table()["kinds"].get(f"{api_version}/{obj.get('kind')}")
    if name is None:
        return obj
    try:
        return {**_struct(obj, name), **{key: obj[key] for key in ("apiVersion", "kind")}}
    except _MismatchError:
        return obj


def _struct(value: Json, name: str) -> Object:
    if not isinstance(value, dict):
        raise _MismatchError
    result: Object = {}
    for key, expression in _table()["types"][name].items():
        if key in value:
            kept = _field(value[key], expression)
            if kept is not _DROP:
                result[key] = kept
    return result


def _field(value: Json, expression: str) -> Json:
    omit_empty = expression.endswith("?")
    expression = expression.removesuffix("?")
    if value is None:
        # A struct in place has no null; a pointer, list or map without omitempty keeps it.
        return _DROP if omit_empty or expression[0] in "=qp" else None
    converted = _value(value, expression)
    empty = expression[0] in "sifb[{y" and not converted
    return _DROP if omit_empty and empty else converted


def _value(value: Json, expression: str) -> Json:
    mark, rest = expression[0], expression[1:]
    if mark == "*":
        return _value(value, rest)
    if mark == "=":
        return _struct(value, rest)
    if mark == "[":
        if not isinstance(value, list):
            raise _MismatchError
        return [_value(item, rest) if item is not None else None for item in value]
    if mark == "{":
        if not isinstance(value, dict):
            raise _MismatchError
        return {key: _value(item, rest) for key, item in value.items() if item is not None}
    if mark == "q":
        try:
            return quantity.canonical(value)
        except (ValueError, TypeError) as error:
            raise _MismatchError from error
    return _scalar(value, mark)


_SCALARS: dict[str, tuple[type, ...]] = {
    "s": (str,),
    "y": (str,),
    "b": (bool,),
    "i": (int,),
    "f": (int, float),
    "p": (int, str),
}


def _scalar(value: Json, mark: str) -> Json:
    if mark == "a":
        return value
    wrong_bool = isinstance(value, bool) and mark != "b"
    if wrong_bool or not isinstance(value, _SCALARS[mark]):
        raise _MismatchError
    return value


def _normalize_secret(secret: Object) -> None:
    """Do what the API server does: stringData becomes data, data is decoded and encoded again."""
    plain = secret.get("stringData")
    data = secret.get("data")
    if isinstance(plain, dict) and plain and all(isinstance(v, str) for v in plain.values()):
        merged = dict(data) if isinstance(data, dict) else {}
        for key, value in plain.items():
            merged[key] = base64.b64encode(value.encode()).decode()
        secret["data"] = merged
        del secret["stringData"]
    elif isinstance(data, dict):
        for key, value in data.items():
            if isinstance(value, str):
                data[key] = _encoded_again(value)


def _encoded_again(value: str) -> str:
    try:
        decoded = base64.b64decode("".join(value.split("\n")).replace("\r", ""), validate=True)
    except (binascii.Error, ValueError):
        return value
    return base64.b64encode(decoded).decode()


def _normalize_definition(definition: Object) -> None:
    spec = definition.get("spec")
    if isinstance(spec, dict) and spec.get("preserveUnknownFields") is False:
        del spec["preserveUnknownFields"]
    definition.pop("status", None)
