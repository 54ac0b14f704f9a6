"""Which values of an object are secret: in the state, and in every message.

The data of a Secret is always secret; elsewhere a value is secret when its input was.
"""

from __future__ import annotations

import base64
import binascii

from lab.plugins.kubernetes.objects import Json, Object, is_secret, nested
from lab.plugins.properties import Secret, has_secret, plain

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
    """Return a message without secret values: a Secret's data, and strings marked secret.

    Args:
        message: What people would see.
        obj: An object or a resource's outputs, with or without marks.
    """
    for value in sorted(_values(obj), key=len, reverse=True):
        if len(value) >= _SHORTEST:
            message = message.replace(value, "[secret]")
    return message


def _values(obj: Json) -> set[str]:
    found: set[str] = set()
    if isinstance(obj, Secret) and isinstance(obj.value, str):
        found.add(obj.value)
    elif isinstance(obj, dict):
        if is_secret(obj):
            for field in ("data", "stringData"):
                values = nested(plain(obj), field)
                found.update(_data_values(values) if isinstance(values, dict) else ())
        for value in obj.values():
            found |= _values(value)
    elif isinstance(obj, list):
        for item in obj:
            found |= _values(item)
    return found


def _data_values(data: Object) -> list[str]:
    texts = [value for value in data.values() if isinstance(value, str)]
    return [*texts, *(decoded for text in texts for decoded in _decoded(text))]


def _decoded(value: str) -> list[str]:
    try:
        return [base64.b64decode(value, validate=True).decode()]
    except (binascii.Error, ValueError):
        return []
