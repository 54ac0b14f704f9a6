"""Whether a Service leads to the pods that are ready, as its EndpointSlices say. Pure.

They are written by a controller that watches; while it cannot, and for up to a minute after, they
are old. Pods that are ready get no requests then, or pods get them that are gone: a release would
be judged by what it has no part in.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

SERVICE_LABEL = "kubernetes.io/service-name"


def behind(
    name: str,
    slices: Iterable[Mapping[str, Any]],
    *,
    ready: Collection[str],
    there: Collection[str],
) -> str:
    """Say what is old in the EndpointSlices of a Service; empty when nothing is.

    Args:
        name: The Service's name.
        slices: Its EndpointSlices.
        ready: The uids of pods that are ready and that it selects.
        there: The uids of all pods of its namespace.
    """
    named = {
        str(target["uid"])
        for it in slices
        for endpoint in it.get("endpoints") or ()
        # What is not said is to be taken as true.
        if (endpoint.get("conditions") or {}).get("ready") is not False
        for target in [endpoint.get("targetRef") or {}]
        if target.get("kind") == "Pod" and target.get("uid")
    }
    missing, gone = len(set(ready) - named), len(named - set(there))
    said = []
    if missing:
        said.append(f"does not lead to {missing} of {len(set(ready))} ready pods")
    if gone:
        said.append(f"leads to {gone} that {'is' if gone == 1 else 'are'} gone")
    return f"Service {name} {' and '.join(said)}" if said else ""
