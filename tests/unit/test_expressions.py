"""The tests' own reading of GitHub's expressions."""

from __future__ import annotations

from typing import Any

import pytest

from tests.e2e.expressions import asks_for_status, evaluate

KNOWN: dict[str, Any] = {
    "github.ref": "refs/heads/main",
    "vars.X": "",
    "needs.*.result": ["skipped", "failure"],
    "always()": True,
}


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("github.ref == 'refs/heads/main'", True),
        ("github.ref != 'it''s'", True),
        ("github.ref == 'refs/heads/main' && (vars.X || 'production') || 'staging'", "production"),
        ("github.ref == 'develop' && 'production' || 'staging'", "staging"),
        ("always() && (contains(needs.*.result, 'failure') || vars.X)", True),
        ("!vars.X", True),
        ("vars.X", ""),
    ],
)
def test_is_githubs(expression: str, value: object) -> None:
    assert evaluate(expression, KNOWN.__getitem__) == value


@pytest.mark.parametrize("expression", ["github.actor", "fromJSON(vars.X)", "vars.X ? 1 : 2"])
def test_what_is_not_known_is_an_error(expression: str) -> None:
    with pytest.raises((AssertionError, KeyError)):
        evaluate(expression, KNOWN.__getitem__)


def test_knows_conditions_that_look_at_what_came_before() -> None:
    assert asks_for_status("always() && x")
    assert not asks_for_status("github.ref == 'a'")
