"""What of a state does not hold together, and calling all of it by one name."""

from __future__ import annotations

from typing import Any

import pytest

from aegis_deploy.model.predecessor import Name
from aegis_deploy.stack.integrity import faults, under_one_name
from tests.unit.aegis_deploy.states import CONFIG_KIND, DEFAULT, STACK, state, thing, urn

A, B = urn(CONFIG_KIND, "a"), urn(CONFIG_KIND, "b")
NOW = Name("shop", "staging")


def of(*resources: Any) -> dict[str, Any]:
    return state(*resources)


def old(text: str) -> str:
    return text.replace(":staging::", ":dev::").replace("shop-staging", "shop-dev")


def test_a_whole_state_has_no_faults() -> None:
    whole = of(
        thing(CONFIG_KIND, "a"),
        thing(CONFIG_KIND, "b", dependencies=[A], propertyDependencies={"x": [A], "y": None}),
        thing(CONFIG_KIND, "b", delete=True),
    )
    assert faults(whole) == ()
    assert under_one_name(whole, NOW) == whole


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"dependencies": [B]}, "a: its dependency is not there"),
        ({"propertyDependencies": {"x": [B]}}, "a: its dependency is not there"),
        ({"parent": B}, "a: its parent is not there"),
        ({"deletedWith": B}, "a: its owner is not there"),
        ({"provider": f"{DEFAULT}::2"}, "a: its provider is not there"),
    ],
)
def test_what_leads_to_what_is_not_there_or_comes_later_is_a_fault(
    more: dict[str, Any], said: str
) -> None:
    assert faults(of(thing(CONFIG_KIND, "a", **more), thing(CONFIG_KIND, "b"))) == (said,)


def test_one_that_is_there_twice_is_a_fault() -> None:
    assert faults(of(thing(CONFIG_KIND, "a"), thing(CONFIG_KIND, "a"))) == ("a: it is there twice",)


def test_all_of_it_is_called_by_the_present_name() -> None:
    broken = of(
        thing(CONFIG_KIND, "a"),
        thing(
            CONFIG_KIND,
            "b",
            dependencies=[old(A)],
            parent=old(STACK),
            provider=old(f"{DEFAULT}::1"),
        ),
        {**thing(CONFIG_KIND, "a"), "urn": old(A)},
    )
    assert faults(broken)
    mended = under_one_name(broken, NOW)
    assert faults(mended) == ()
    assert [it["urn"] for it in mended["resources"][2:]] == [A, B]
    assert mended["resources"][3]["dependencies"] == [A]
