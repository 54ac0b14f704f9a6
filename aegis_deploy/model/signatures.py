"""How the engine marks a value in a state that is no plain value: a secret, an asset. Pure.

The marks are Pulumi's own (``sdk/go/common/resource/sig``).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

SIGNATURE = "4dabf18193072939515e22adb298388d"
"""The key that marks an object as something else than an object."""
SECRET = "1b47061264138c4ac30d75fd1eb44270"  # noqa: S105 - the mark of a secret, not one


def is_secret(value: Any) -> bool:  # noqa: ANN401 - any property value
    """Whether a property value is a secret in its envelope."""
    return isinstance(value, Mapping) and value.get(SIGNATURE) == SECRET
