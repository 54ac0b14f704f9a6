"""What of its changes a release ignores (``ignoreChanges``), against the release it replaces.

The engine keeps what the state has at an ignored path. That is meant where both releases ignore it:
somebody else, such as an autoscaler, decides there. Where the present release set it, the release
to be restored has a value of its own, which ignoring would lose.
"""

from __future__ import annotations

from dataclasses import replace

from aegis_deploy.stack.checkpoint import Resource
from aegis_deploy.stack.property_path import found, steps_of, within

_OPTION = "ignoreChanges"


def restoring(target: Resource, now: Resource | None) -> Resource:
    """A resource that ignores no more than may be ignored for it to be restored.

    Args:
        target: The resource as the release recorded it.
        now: What it is at present; None when it is not there.
    """
    recorded = list(target.options.get(_OPTION) or ())
    if now is None or not recorded:
        return target
    present = list(now.options.get(_OPTION) or ())
    kept: list[str] = []
    for path in recorded:
        steps = steps_of(path)
        same = found(target.inputs, steps) == found(now.inputs, steps)
        if same or any(within(steps, steps_of(there)) for there in present):
            kept.append(path)
        else:
            kept += [narrower for narrower in present if within(steps_of(narrower), steps)]
    return replace(target, options={**target.options, _OPTION: kept})
