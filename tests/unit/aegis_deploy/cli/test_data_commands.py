"""`aegis data check`: what it says of rules and a schema, and how it ends."""

from __future__ import annotations

import io
import json
from dataclasses import replace

import pytest

from aegis_deploy.cli.commands.data_check import render
from aegis_deploy.common.console import Output
from aegis_deploy.common.errors import AegisError, ExitCode
from aegis_deploy.data.catalog import TableName
from aegis_deploy.data.masking import Findings

GOOD = Findings({}, (), (), (), ("a.note",), ("a.code: code_check",))
MISSING = {TableName("public", "a"): {"b": "hash"}}


def shown(found: Findings, *, as_json: bool = False) -> str:
    results = io.StringIO()
    out = Output(results=results, messages=io.StringIO())
    out.json = as_json
    render(found, out, rules="rules.yaml", database="it")
    return results.getvalue()


def test_rules_that_go_with_the_schema_are_told_with_what_is_kept_and_not_checked() -> None:
    assert shown(GOOD).splitlines() == [
        "kept as it is, and text: a.note",
        "left to PostgreSQL, when rows are loaded: a.code: code_check",
        "rules.yaml goes with it: every column has a rule",
    ]
    assert json.loads(shown(GOOD, as_json=True)) == {
        "missing": [],
        "gone": [],
        "changed": [],
        "problems": [],
        "keptText": ["a.note"],
        "uncheckedConstraints": ["a.code: code_check"],
    }


@pytest.mark.parametrize(
    ("found", "code"),
    [
        (replace(GOOD, missing=MISSING), ExitCode.DIFFERENT),
        (replace(GOOD, gone=("tables.x: there is no table x",)), ExitCode.DIFFERENT),
        (replace(GOOD, changed=("a.b: its rule was written for text",)), ExitCode.DIFFERENT),
        (replace(GOOD, problems=("a.b cannot be null",)), ExitCode.REFUSED),
        (replace(GOOD, missing=MISSING, problems=("a.b cannot be null",)), ExitCode.REFUSED),
    ],
)
def test_rules_that_do_not_fail_with_a_code_of_their_own(found: Findings, code: ExitCode) -> None:
    with pytest.raises(AegisError) as caught:
        shown(found)
    assert caught.value.code is code
    assert caught.value.why.splitlines() == found.lines()
    assert caught.value.details == found.as_json()
    assert "nothing was changed" in caught.value.state
