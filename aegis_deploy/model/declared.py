"""What a program declares of its cluster's objects, as a digest that is recognised again. Pure.

Beside its images and settings, by which a release is known, this tells a program that was mended
from the one that was rolled back: a probe, a limit, a port. What a preview cannot know or does not
show, and images, which are compared by themselves, count for nothing.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from hashlib import sha256
from typing import Any

from aegis_deploy.model.release import MASK
from aegis_deploy.model.signatures import is_secret

UNKNOWN = "04da6b54-80e4-46f7-96ec-b56ff0331ba9"
"""What the engine writes in place of a text that only the update will know."""
VARIABLE = "AEGIS_DECLARED"
"""What a deployer's preview saw declared, as this module has it; a program cannot see it all."""
_DIGITS = 8
_OBJECTS = "kubernetes:"


def digest(kind: str, inputs: Mapping[str, Any]) -> str:
    """Digest one resource's inputs.

    Args:
        kind: Its type.
        inputs: Its inputs, as an event or a state has them, secrets masked or encrypted.

    Returns:
        The digest; empty for what is no object of a cluster.
    """
    return _short(_legible(inputs)) if kind.startswith(_OBJECTS) else ""


def joined(digests: Mapping[str, str]) -> str:
    """Digest what a whole program declares.

    Args:
        digests: Each resource's, by URN; empty ones count for nothing.

    Returns:
        The digest; empty when there is nothing.
    """
    told = sorted((urn, it) for urn, it in digests.items() if it)
    return _short(told) if told else ""


def of_state(resources: Iterable[Mapping[str, Any]]) -> str:
    """Digest what a state's resources were declared as."""
    return joined(
        {
            str(it["urn"]): digest(str(it["type"]), it.get("inputs") or {})
            for it in resources
            if not it.get("delete")
        }
    )


def _short(value: object) -> str:
    return sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:_DIGITS]


def _legible(value: Any, name: str = "") -> Any:  # noqa: ANN401 - any JSON value
    if isinstance(value, Mapping):
        if is_secret(value):
            return MASK
        return {key: _legible(inner, key) for key, inner in value.items()}
    if isinstance(value, list):
        return [_legible(inner) for inner in value]
    if isinstance(value, str) and (name == "image" or UNKNOWN in value):
        return ""
    return value
