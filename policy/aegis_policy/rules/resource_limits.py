"""Every container asks for CPU and memory and has limits."""

from __future__ import annotations

from collections.abc import Iterator

from ..pods import WORKLOADS, containers
from ..quantities import quantity
from ..resources import Resource, Stack, is_unknown, look
from ..rule import Level, Rule


def _check(resource: Resource, stack: Stack) -> Iterator[str]:  # noqa: ARG001
    for container in containers(resource):
        resources = look(container.spec, "resources")
        for what in ("cpu", "memory"):
            request, limit = (look(resources, part, what) for part in ("requests", "limits"))
            for part, value in (("requests", request), ("limits", limit)):
                amount = quantity(value)
                if not is_unknown(value) and (amount is None or amount <= 0):
                    yield (
                        f"container {container.name} has no resources.{part}.{what}: one pod can "
                        f"starve its node, or land on one that is full. Set it (Pulumi.yaml has "
                        f"aegis:{what}{part.title().removesuffix('s')})."
                    )
            asked, most = quantity(request), quantity(limit)
            if asked is not None and most is not None and asked > most:
                yield (
                    f"container {container.name} requests more {what} ({request}) than its limit "
                    f"({limit}). Raise the limit or lower the request."
                )


RULE = Rule(
    name="resource-limits",
    level=Level.MANDATORY,
    says="Every container asks for CPU and memory and has limits.",
    check=_check,
    kinds=WORKLOADS,
)
