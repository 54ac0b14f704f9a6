"""How the engine signs a value in a state that is no plain value: a secret, an asset. Pure.

The signatures are Pulumi's own (``sdk/go/common/resource/sig``). A secret comes in an
envelope. It holds the ``ciphertext``, the ``plaintext`` as JSON where the state was exported with
its secrets, or the ``value`` where the engine passes it on.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

SIGNATURE = "4dabf18193072939515e22adb298388d"
"""The key that marks an object as something else than an object."""
SECRET = "1b47061264138c4ac30d75fd1eb44270"  # noqa: S105 - the mark of a secret, not one


def is_secret(value: Any) -> bool:  # noqa: ANN401 - any property value
    """Whether a property value is a secret in its envelope."""
    return isinstance(value, Mapping) and value.get(SIGNATURE) == SECRET


def content(envelope: Mapping[str, Any]) -> Any:  # noqa: ANN401 - any property value
    """Return what a secret's envelope holds, which may hold further ones.

    Raises:
        KeyError: It holds what is encrypted.
    """
    return envelope["value"] if "value" in envelope else json.loads(envelope["plaintext"])


def opened(value: Any) -> Any:  # noqa: ANN401 - any property value
    """Return a value as plain JSON: without the envelopes of its secrets, at any depth.

    Raises:
        KeyError: One of them holds what is encrypted.
    """
    if is_secret(value):
        return opened(content(value))
    if isinstance(value, Mapping):
        return {key: opened(inner) for key, inner in value.items()}
    return [opened(inner) for inner in value] if isinstance(value, list | tuple) else value


def masked(value: Any, mask: str) -> Any:  # noqa: ANN401 - any property value
    """Return a value as plain JSON with something else for each of its secrets, at any depth."""
    if is_secret(value):
        return mask
    if isinstance(value, Mapping):
        return {key: masked(inner, mask) for key, inner in value.items()}
    return [masked(inner, mask) for inner in value] if isinstance(value, list | tuple) else value
