"""What is being deleted, and has to be gone before a replay begins."""

from __future__ import annotations

from typing import Any

import pytest

from aegis_deploy.replay.dying import in_the_way
from aegis_deploy.replay.planning import plan
from tests.unit.aegis_deploy.states import CONFIG_KIND, made, thing

NAMESPACE = "kubernetes:core/v1:Namespace"
DEFINITION = "kubernetes:apiextensions.k8s.io/v1:CustomResourceDefinition"
DYING = {"metadata": {"deletionTimestamp": "2026-01-02T03:04:05Z"}}
STANDING: dict[str, Any] = {"metadata": {}}


@pytest.mark.parametrize(
    ("kind", "changes", "waits"),
    [
        (CONFIG_KIND, True, True),
        (CONFIG_KIND, False, False),
        (NAMESPACE, False, True),
        (DEFINITION, False, True),
    ],
)
def test_what_is_changed_or_holds_others_is_waited_for(
    kind: str, changes: bool, waits: bool
) -> None:
    before, now = (thing(kind, "a", {"data": {"x": it}}) for it in ("1", "2" if changes else "1"))
    current = made(now)
    replay = plan(made(before), current)
    urn = before["urn"]
    assert in_the_way(replay, current, {urn: DYING}) == ((urn,) if waits else ())
    assert in_the_way(replay, current, {urn: STANDING}) == ()
    assert in_the_way(replay, current, {urn: None}) == ()


def test_it_is_called_as_the_state_calls_it() -> None:
    named = {"metadata": {"name": "a", "namespace": "shop"}}
    before, now = (thing(CONFIG_KIND, it, {**named, "data": {"x": it}}) for it in ("old", "new"))
    current = made(now)
    replay = plan(made(before), current)
    assert in_the_way(replay, current, {before["urn"]: DYING}) == (now["urn"],)
