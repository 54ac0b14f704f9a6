"""What a refresh takes into the state that a control loop decided, and no program declared. Pure.

The next update of the program would want its own value back, which the API server refuses (see
`pulumi_cli.field_conflicts`): a recovery, which begins with a refresh, would leave a stack that
cannot be updated.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from aegis_deploy.kubernetes.managed_fields import Owners, put_at, value_at


def as_before(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, Any] | None:
    """The state after a refresh, with what it said before where control loops decide.

    Args:
        before: The state, as ``pulumi stack export`` prints it.
        after: The same after the refresh, with the live objects in it.

    Returns:
        A copy; None where it says so already.
    """
    changed = copy.deepcopy(dict(after))
    former = _alive(before)
    for urn, item in _alive(changed).items():
        was, inputs = former.get(urn) or {}, item.get("inputs") or {}
        outputs = item.get("outputs") or {}
        owners = Owners(outputs)
        for path in {path for it in owners.managers for path in it.fields if owners.loop(path)}:
            declared = value_at(was.get("inputs"), path)
            if declared is None or value_at(inputs, path) in (None, declared):
                continue
            for tree in (inputs, outputs.get("__inputs"), outputs):
                put_at(tree, path, declared)
    return None if changed == after else changed


def _alive(state: Mapping[str, Any]) -> dict[str, Any]:
    resources = (state.get("deployment") or {}).get("resources") or ()
    return {it["urn"]: it for it in resources if not it.get("delete")}
