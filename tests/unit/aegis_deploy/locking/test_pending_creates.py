"""Whose an object is that has the name a dead update asked for."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from aegis_deploy.locking.pending_creates import KEPT, is_ours, judge_entered

SINCE = datetime(2026, 1, 1, 12, tzinfo=UTC)
BEFORE, AFTER = "2026-01-01T11:00:00Z", "2026-01-01T12:00:05Z"
INPUTS: dict[str, Any] = {"metadata": {"name": "a"}, "data": {"x": "1"}}


def entered(created: str = "", manager: str = "", data: str = "1", **more: Any) -> dict[str, Any]:
    """A resource that was entered and has been refreshed."""
    metadata: dict[str, Any] = {"name": "a", "uid": "u"}
    if created:
        metadata["creationTimestamp"] = created
    if manager:
        metadata["managedFields"] = [{"manager": manager, "operation": "Update"}]
    outputs = {"metadata": metadata, "data": {"x": data}}
    return {"urn": "a", "inputs": INPUTS, "outputs": outputs, KEPT: True, **more}


@pytest.mark.parametrize(
    ("resource", "since", "ours"),
    [
        (entered(AFTER, "pulumi-kubernetes"), SINCE, True),
        (entered(AFTER, "pulumi-kubernetes", data="defaulted"), SINCE, True),
        (entered(BEFORE, "pulumi-kubernetes"), SINCE, False),
        (entered(AFTER, "kubectl-create"), SINCE, False),
        (entered(BEFORE, "kubectl-create"), None, False),
        (entered(BEFORE, "pulumi-kubernetes-1f"), None, True),
        (entered(BEFORE, "pulumi-kubernetes-1f", data="2"), None, False),
        (entered(), SINCE, True),
        ({"urn": "a", "inputs": INPUTS, "outputs": {}}, SINCE, False),
    ],
    ids=[
        "made by the update",
        "and changed by the cluster",
        "there before",
        "made by a person meanwhile",
        "made by a person, nobody knows when",
        "as wanted, nobody knows when",
        "not as wanted, nobody knows when",
        "a cluster that says nothing",
        "never read",
    ],
)
def test_is_told_by_who_made_it_and_when(
    resource: dict[str, Any], since: datetime | None, ours: bool
) -> None:
    assert is_ours(resource, since) is ours


def test_somebody_elses_leaves_the_state_with_all_that_named_it_and_ours_may_go_again() -> None:
    other = {"urn": "b", KEPT: True, "dependencies": ["a"], "propertyDependencies": {"x": ["a"]}}
    foreign, resources = judge_entered([entered(BEFORE, "kubectl"), other], {"a"}, SINCE)
    assert foreign == {"a"}
    assert resources == [
        {"urn": "b", KEPT: True, "dependencies": [], "propertyDependencies": {"x": []}}
    ]
    foreign, resources = judge_entered([entered(AFTER, "pulumi"), other], {"a"}, SINCE)
    assert foreign == set()
    assert KEPT not in resources[0]
    assert resources[1] == other
