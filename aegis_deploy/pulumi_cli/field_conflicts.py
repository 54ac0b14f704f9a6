"""What the API server refuses since an apply would take a field away from another manager. Pure.

Pulumi's Kubernetes provider applies on the server's side and forces nothing, unless it is told to:
a program that declares a field which an autoscaler has written since is refused, and nothing of
that object is changed. https://github.com/pulumi/pulumi-kubernetes/issues/2491
"""

from __future__ import annotations

import re

_CONFLICT = re.compile(
    r'conflicts? with "(?P<who>[^"]+)"(?: with subresource "[^"]*")?(?: using \S+(?: at \S+)?)?:'
    r"(?P<fields>(?:\s+(?:- )?\.\S+)+)"
)

"""Its words: ``printManager`` and ``NewConflictError`` of ``apimachinery``'s ``managedfields``."""


def told(text: str) -> str | None:
    """Say what an apply was refused for; None when that is not what a text says."""
    found = [
        f"the program declares {field}, which {who} has set since" for who, field in _found(text)
    ]
    return "; ".join(found) or None


def advice(text: str, stack: str) -> str:
    """Say how to go on after such a refusal; empty when that is not what a text says."""
    fields = dict.fromkeys(field for _, field in _found(text))
    if not fields:
        return ""
    return (
        f"where a control loop decides on it, leave {', '.join(fields)} out of the program, or "
        "give the resource ignore_changes\n"
        f"where a person set it: aegis drift --fix --stack {stack} puts it back"
    )


def _found(text: str) -> list[tuple[str, str]]:
    """Return who set which field, each once, in the order of their names."""
    found = {
        (conflict["who"], field.lstrip("."))
        for conflict in _CONFLICT.finditer(text)
        for field in re.findall(r"\.\S+", conflict["fields"])
    }
    return sorted(found)
