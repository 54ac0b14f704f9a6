"""Which values of an object are secret: in the state, and in every message.

The data of a Secret is always secret; elsewhere a value is secret when its input was.
"""

from __future__ import annotations

import base64
import binascii
from typing import Any

from lab.plugins.kubernetes.objects import Json, Object, is_secret, nested, set_field
from lab.plugins.properties import Secret, has_secret

_SHORTEST = 4  # replacing shorter values would garble every message


def annotate(outs: Object, ins: Json) -> None:
    """Mark the values of ``outs`` secret that are secret in ``ins``, in place.

    Args:
        outs: A plain object (or part of one).
        ins: The inputs it came from, with their ``Secret`` marks. A list with a secret item
            makes the whole list secret, since items may move.
    """
    if outs.get("kind") == "Secret":
        for key in ("data", "stringData"):
            if key in outs:
                outs[key] = as_secret(outs[key])
        return
    if not isinstance(ins, dict):
        return
    for key, given in ins.items():
        if key not in outs:
            continue
        if isinstance(outs[key], dict) and isinstance(given, dict):
            annotate(outs[key], given)
        elif has_secret(given):
            outs[key] = as_secret(outs[key])


def as_secret(value: Json) -> Secret:
    """Return the value marked secret, once."""
    return value if isinstance(value, Secret) else Secret(value)


def redact(message: str, obj: Json) -> str:
    """Return a message without any value of a Secret's data, encoded or not."""
    if not is_secret(obj):
        return message
    for value in _values(obj):
        if len(value) >= _SHORTEST:
            message = message.replace(value, "[secret]")
    return message


def _values(secret: Object) -> list[str]:
    found: list[str] = []
    for field in ("data", "stringData"):
        values = nested(secret, field)
        for value in values.values() if isinstance(values, dict) else ():
            if isinstance(value, str):
                found += [value, *_decoded(value)]
    return sorted(found, key=len, reverse=True)


def _decoded(value: str) -> list[str]:
    try:
        return [base64.b64decode(value, validate=True).decode()]
    except (binascii.Error, ValueError):
        return []


def strip_data(obj: dict[str, Any]) -> dict[str, Any]:
    """Return a copy of an object that is safe to show: a Secret without its data."""
    if not is_secret(obj):
        return obj
    shown = dict(obj)
    for field in ("data", "stringData"):
        if field in shown:
            set_field(shown, "[secret]", field)
    return shown
