"""Names for objects that have none, marked so that tools can tell them from chosen ones."""

from __future__ import annotations

import hashlib
import random
import secrets as randomness

from lab.plugins.kubernetes.objects import (
    AUTONAMED,
    Json,
    Object,
    annotation,
    name_of,
    nested,
    set_field,
    text,
)
from lab.plugins.properties import UNKNOWN, Unknown

_LENGTH = 8
_CHARACTERS = "0123456789abcdef"


class NamingDisabledError(Exception):
    """The stack's configuration forbids automatic names."""


def is_named(obj: Object) -> bool:
    """Say whether an object has a name, or will have one that is not known yet."""
    return name_of(obj) != "" or nested(obj, "metadata", "name") is UNKNOWN


def is_generate_name(obj: Object) -> bool:
    """Say whether the API server is to complete the name."""
    if is_named(obj):
        return False
    prefix = nested(obj, "metadata", "generateName")
    return prefix is UNKNOWN or text(obj, "metadata", "generateName") != ""


def is_autonamed(obj: Json) -> bool:
    """Say whether Pulumi made the object's name."""
    return annotation(obj, AUTONAMED) == "true"


def adopt_old_name(new: Object, old: Object) -> None:
    """Keep the automatic name an object already has when its inputs still give none."""
    if not is_named(new) and is_autonamed(old):
        _assign(new, name_of(old))


def assign_name(new: Object, *, resource: str, seed: bytes, mode: str, proposed: str) -> None:
    """Give a new object a name when its inputs give none.

    Args:
        new: The inputs, changed in place.
        resource: The resource's name in the program.
        seed: The engine's randomness for this resource; empty takes the system's.
        mode: What the stack's configuration says: "", "propose", "enforce" or "disable".
        proposed: The name it proposes.

    Raises:
        NamingDisabledError: The configuration wants every name given.
    """
    if is_named(new) or is_generate_name(new):
        return
    if mode == "disable":
        raise NamingDisabledError(
            "autonaming is disabled, resource requires the .metadata.name field to be set"
        )
    _assign(
        new, proposed if mode in ("propose", "enforce") and proposed else unique(resource, seed)
    )


def unique(resource: str, seed: bytes = b"") -> str:
    """Return the resource's name with eight random hexadecimal digits."""
    source = (
        random.Random(hashlib.sha256(seed).digest())  # noqa: S311 - a name is no secret
        if seed
        else randomness.SystemRandom()
    )
    return f"{resource}-" + "".join(source.choice(_CHARACTERS) for _ in range(_LENGTH))


def _assign(obj: Object, name: str) -> None:
    if isinstance(obj.get("metadata"), Unknown):
        return
    set_field(obj, name, "metadata", "name")
    set_field(obj, "true", "metadata", "annotations", AUTONAMED)
