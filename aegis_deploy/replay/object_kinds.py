"""Of which kinds the objects are that a resource stands for. Pure.

A resource is one object as a rule. A Helm release is many, whose names it records; a list has them
in it.
"""

from __future__ import annotations

import re

from aegis_deploy.stack.checkpoint import Resource
from aegis_deploy.stack.property_path import found

_HELM_RELEASE = "kubernetes:helm.sh/v3:Release"
_KUBERNETES, _LIST = "kubernetes:", "List"


def kinds(item: Resource) -> frozenset[str]:
    """Return the kinds of a resource's objects in a cluster, none for a resource of another sort.

    Args:
        item: The resource.
    """
    if not item.type.startswith(_KUBERNETES):
        return frozenset()
    kind = item.type.rpartition(":")[2]
    if item.type == _HELM_RELEASE:
        names = found(item.inputs, ["resourceNames"]) or ()
        return frozenset(re.split(r"[./]", key)[0] for key in names)
    listed = found(item.inputs, ["items"])
    if kind.endswith(_LIST) and isinstance(listed, list):
        inner = (found(one, ["kind"]) for one in listed)
        return frozenset(str(it or kind.removesuffix(_LIST)) for it in inner)
    return frozenset({kind})
