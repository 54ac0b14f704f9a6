"""What a stack was called before it was renamed, from the newest checkpoint in its history. Pure.

``pulumi stack rename`` moves a stack's state and history, in a store that is no service, and leaves
its tags where they are: the marks of `aegis`, and what it keeps beside its claim.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_ROOT = re.compile(rb'"urn"\s*:\s*"urn:pulumi:([^"]+?)::([^"]+?)::pulumi:pulumi:Stack::')

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


def named_in(head: bytes) -> Name | None:
    """Return the name that a checkpoint's stack had, from its first bytes; None when not there."""
    found = _ROOT.search(head)
    return None if found is None else Name(found[2].decode(), found[1].decode())
