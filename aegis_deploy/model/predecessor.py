"""What a stack was called before it was renamed, as a state of then has it. Pure.

``pulumi stack rename`` moves a stack's state and history, in a store that is no service, and leaves
its tags where they are: the marks of `aegis`, and what it keeps beside its claim.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

_STACK = "pulumi:pulumi:Stack"

KEPT = (".claim", ".tags", ".timelines")
"""How what `aegis` keeps of a stack ends, below its own place in the store."""


@dataclass(frozen=True)
class Name:
    """A stack's name.

    Attributes:
        project: Its project's.
        stack: Its own.
    """

    project: str
    stack: str


def named_in(deployment: Mapping[str, Any]) -> Name | None:
    """Return the name that the stack of a deployment had; None where it does not say.

    Args:
        deployment: The deployment, as a state has it.
    """
    for resource in deployment.get("resources") or ():
        if resource.get("type") == _STACK:
            head, _, rest = str(resource["urn"]).partition("::")
            return Name(rest.partition("::")[0], head.removeprefix("urn:pulumi:"))
    return None
