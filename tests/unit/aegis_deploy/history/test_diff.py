"""What differs between two releases, with no secret in it."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aegis_deploy.history.diff import compare_images, compare_resources, compare_settings
from aegis_deploy.model.release import ConfigValue
from aegis_deploy.model.signatures import SECRET, SIGNATURE
from tests.unit.aegis_deploy.made_backend import deployment, urn

HIDDEN = "hunter2"


def secret(**content: Any) -> dict[str, Any]:
    return {SIGNATURE: SECRET, **content}


def state(**inputs: Any) -> dict[str, Any]:
    kind = "kubernetes:core/v1:ConfigMap"
    return {"resources": [{"urn": urn(kind, "a"), "type": kind, "inputs": inputs}]}


def told(before: dict[str, Any], after: dict[str, Any]) -> list[tuple[str, str, str, str]]:
    return [
        (it.what, it.change, it.before, it.after)
        for resource in compare_resources(before, after)
        for it in resource.properties
    ]


class TestSettings:
    """Keys that came, went or changed."""

    def test_are_told_by_key(self) -> None:
        before = {"a:x": ConfigValue("1"), "a:gone": ConfigValue("y"), "a:same": ConfigValue("z")}
        after = {"a:x": ConfigValue("2"), "a:new": ConfigValue("w"), "a:same": ConfigValue("z")}
        found = [
            (it.what, it.change, it.before, it.after) for it in compare_settings(before, after)
        ]
        assert found == [
            ("a:gone", "removed", "y", ""),
            ("a:new", "added", "", "w"),
            ("a:x", "changed", "1", "2"),
        ]

    def test_that_are_secret_are_told_without_their_value(self) -> None:
        one, two = (ConfigValue.recorded({"secure": f"v1:{text}"}) for text in "ab")
        found = compare_settings({"a:t": one, "a:s": one}, {"a:t": two, "a:s": one})
        assert [(it.what, it.before, it.after) for it in found] == [
            ("a:t", "[secret]", "[secret], set anew")
        ]


class TestResources:
    """What was declared, property by property."""

    @pytest.mark.parametrize(
        ("before", "after", "expected"),
        [
            ({"x": 1}, {"x": 1}, []),
            ({"x": 1}, {"x": 2}, [("x", "changed", "1", "2")]),
            ({"x": {"y": "a"}}, {"x": {"y": "b"}}, [("x.y", "changed", "a", "b")]),
            ({"x": [1, 2]}, {"x": [1]}, [("x[1]", "removed", "2", "")]),
            ({}, {"x": True}, [("x", "added", "", "true")]),
            ({"x": {"y": 1}}, {"x": "z"}, [("x", "changed", '{"y": 1}', "z")]),
            ({"x": None}, {"x": 0}, [("x", "changed", "null", "0")]),
            ({"x": None}, {}, [("x", "removed", "null", "")]),
            ({"__fieldManager": "a"}, {"__fieldManager": "b"}, []),
        ],
    )
    def test_are_compared_by_their_inputs(
        self, before: Any, after: Any, expected: list[tuple[str, str, str, str]]
    ) -> None:
        assert told(state(**before), state(**after)) == expected

    @pytest.mark.parametrize(
        ("before", "after", "differ"),
        [
            (secret(ciphertext="a"), secret(ciphertext="a"), False),
            (secret(ciphertext="a"), secret(ciphertext="b"), True),
            (secret(plaintext=json.dumps(HIDDEN)), secret(plaintext=json.dumps(HIDDEN)), False),
            (secret(value=HIDDEN), secret(plaintext=json.dumps(HIDDEN)), False),
            (secret(value=HIDDEN), secret(value="other"), True),
            (secret(value=HIDDEN), HIDDEN + "!", True),
        ],
    )
    def test_that_hold_secrets_are_compared_by_what_is_in_them(
        self, before: Any, after: Any, differ: bool
    ) -> None:
        found = told(state(x=before), state(x=after))
        assert bool(found) is differ
        assert HIDDEN not in str([it[:3] for it in found])

    def test_that_wait_to_be_deleted_do_not_count(self) -> None:
        after = state(x=1)
        old = copy.deepcopy(after["resources"][0])
        after["resources"].append({**old, "delete": True, "inputs": {"x": 0}})
        assert compare_resources(state(x=1), after) == ()

    def test_that_came_or_went_are_told_by_name(self) -> None:
        empty: dict[str, Any] = {"resources": []}
        assert [(it.name, it.change) for it in compare_resources(empty, state())] == [
            ("a", "added")
        ]
        assert [(it.name, it.change) for it in compare_resources(state(), empty)] == [
            ("a", "removed")
        ]

    @given(
        st.recursive(
            st.integers() | st.text(max_size=3) | st.just(secret(value=HIDDEN)),
            lambda inner: (
                st.lists(inner, max_size=3)
                | st.dictionaries(st.text("abc", max_size=2), inner, max_size=3)
            ),
            max_leaves=8,
        ),
        st.recursive(
            st.integers() | st.text(max_size=3) | st.just(secret(value=HIDDEN + "!")),
            lambda inner: (
                st.lists(inner, max_size=3)
                | st.dictionaries(st.text("abc", max_size=2), inner, max_size=3)
            ),
            max_leaves=8,
        ),
    )
    def test_never_tell_a_secret(self, before: Any, after: Any) -> None:
        assert HIDDEN not in str(told(state(x=before), state(x=after)))
        assert told(state(x=before), state(x=before)) == []


def test_images_that_came_and_went() -> None:
    found = compare_images(["shop:1", "proxy:1"], ["shop:2", "proxy:1"])
    assert [(it.what, it.change) for it in found] == [("shop:1", "removed"), ("shop:2", "added")]


def test_two_equal_states_do_not_differ() -> None:
    assert compare_resources(deployment(), deployment()) == ()
