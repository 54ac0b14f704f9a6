"""What the last whole release has and the state has no more."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from aegis_deploy.drift.forgotten import lacking, look
from aegis_deploy.history import stack_history
from tests.unit.aegis_deploy.made_backend import MadeBackend, deployment, urn
from tests.unit.aegis_deploy.two_clusters import EAST, WEST
from tests.unit.aegis_deploy.two_clusters import config as config_of

CONFIG = "kubernetes:core/v1:ConfigMap"
PART = {"environment": {"pulumi.flag.target": "set"}}


def config(name: str, **more: Any) -> dict[str, Any]:
    """A ConfigMap of a state."""
    return {
        "urn": urn(CONFIG, name),
        "type": CONFIG,
        "custom": True,
        "id": f"shop/{name}",
        "inputs": {"metadata": {"name": name, "namespace": "shop"}},
        **more,
    }


def state(*resources: Any) -> dict[str, Any]:
    """A state with these resources besides what every one has."""
    found = deployment()
    return {**found, "resources": [*found["resources"], *resources]}


@pytest.fixture
def backend(tmp_path: Path) -> MadeBackend:
    return MadeBackend(tmp_path)


def lacks(backend: MadeBackend) -> tuple[str, ...]:
    """What the stack's state lacks."""
    session = backend.session()
    return look(session, stack_history.reading(session)).labels


def test_what_was_taken_out_of_the_state_is_told_by_its_own_name(backend: MadeBackend) -> None:
    provider = {
        "urn": urn("pulumi:providers:kubernetes", "mine"),
        "type": "pulumi:providers:kubernetes",
        "custom": True,
        "id": "7",
        "parent": urn("pulumi:pulumi:Stack", "shop-staging"),
    }
    backend.update(state=state(config("alpha"), config("beta"), provider))
    backend.leave(state(config("alpha")))
    assert lacks(backend) == ("ConfigMap shop/beta", "kubernetes mine")
    session = backend.session()
    found = look(session, stack_history.reading(session))
    assert (
        found.lines[0] == "ConfigMap shop/beta is not in the state any more, and release 1 has it"
    )
    assert "aegis rollback --to 1 --stack staging" in found.next("staging")


@pytest.mark.parametrize(
    "later",
    [
        {"kind": "refresh"},
        {"kind": "destroy", **PART},
        {"kind": "resource-import"},
        {"kind": "import"},
        PART,
        {"result": "failed", **PART},
    ],
)
def test_operations_that_are_no_release_take_nothing_out_of_it(
    backend: MadeBackend, later: dict[str, Any]
) -> None:
    backend.update(state=state(config("beta")))
    backend.update(state=state(), **later)
    backend.leave(state())
    assert lacks(backend) == ("ConfigMap shop/beta",)


@pytest.mark.parametrize("later", [{}, {"result": "failed"}, {"kind": "destroy"}])
def test_what_a_release_or_a_destroy_took_out_is_not_missing(
    backend: MadeBackend, later: dict[str, Any]
) -> None:
    backend.update(state=state(config("beta")))
    backend.update(state=state(), **later)
    backend.leave(state())
    assert lacks(backend) == ()


@pytest.mark.parametrize(
    ("recorded", "present"),
    [
        (config("a", external=True), None),
        (config("a", viewOf=urn(CONFIG, "of")), None),
        (config("a", delete=True), None),
        ({**config("a"), "custom": False}, None),
        # Known by another name, waiting to be deleted, or to be made anew: not out of the state.
        (config("a"), {**config("b"), "id": "shop/a"}),
        (config("a"), config("a", delete=True)),
        (config("a"), config("a", pendingReplacement=True)),
        # It is declared to go by itself, which a refresh sees.
        ({**config("a"), "inputs": {"spec": {"ttlSecondsAfterFinished": 60}}}, None),
    ],
)
def test_what_no_state_has_to_have_is_not_missing(
    backend: MadeBackend, recorded: Any, present: Any
) -> None:
    backend.update(state=state(recorded))
    backend.leave(state(*filter(None, [present])))
    assert lacks(backend) == ()


def test_a_stack_that_was_renamed_lacks_nothing(backend: MadeBackend) -> None:
    before = {**config("a"), "urn": config("a")["urn"].replace("staging", "before")}
    recorded = state(before)
    for it in recorded["resources"]:
        it["urn"] = it["urn"].replace("staging", "before")
    backend.update(state=recorded)
    backend.leave(state(config("a")))
    assert lacks(backend) == ()


def test_a_stack_without_a_release_lacks_nothing(backend: MadeBackend) -> None:
    assert lacks(backend) == ()
    backend.update("failed", state=state(config("a")))
    assert lacks(backend) == ()


def test_what_one_cluster_lost_is_not_made_up_for_by_its_namesake() -> None:
    both = [EAST, WEST, config_of(EAST), config_of(WEST)]
    assert [it.provider_urn for it in lacking(both, both[:3])] == [WEST["urn"]]
    renamed = [{**config_of(EAST), "urn": "another"}, *both[:2], both[3]]
    assert lacking(both, renamed) == []
