"""Which releases fit a database, and what says so."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aegis_deploy.model.database.schema import (
    HEAD,
    IRREVERSIBLE,
    LEAST,
    CodeSchema,
    DatabaseSchema,
    frozen,
    irreversible_of,
    latest,
    misfit,
    of_answer,
    of_outputs,
    of_templates,
)
from app.database import schema as services

NUMBERS = st.integers(min_value=0, max_value=20)


def workload(head: object, least: object) -> dict[str, Any]:
    annotations = {HEAD: head, LEAST: least}
    return {"spec": {"template": {"metadata": {"annotations": annotations}}}}


@given(NUMBERS, NUMBERS, NUMBERS, NUMBERS)
def test_a_release_fits_when_neither_lacks_what_the_other_needs(
    d: int, n: int, h: int, m: int
) -> None:
    why = misfit(CodeSchema(head=h, least=m), DatabaseSchema(revision=d, least_head=n))
    assert (why == "") == (m <= d and n <= h)
    # The service says the same of itself.
    of_service = services.misfit(
        services.CodeSchema(head=h, least=m), services.DatabaseSchema(revision=d, least_head=n)
    )
    assert (of_service is None) == (why == "")


def test_what_says_nothing_fits() -> None:
    assert misfit(None, DatabaseSchema(revision=1, least_head=1)) == ""
    assert misfit(CodeSchema(head=1, least=1), None) == ""


@pytest.mark.parametrize(
    ("code", "why"),
    [
        (
            CodeSchema(head=9, least=7),
            "needs the database at revision 7 or later, and that is at 5",
        ),
        (CodeSchema(head=2, least=1), "works with code of revision 3 or later, and this is of 2"),
    ],
)
def test_why_not_is_told_in_numbers(code: CodeSchema, why: str) -> None:
    assert why in misfit(code, DatabaseSchema(revision=5, least_head=3))


@pytest.mark.parametrize(
    ("database", "irreversible", "then"),
    [
        ((4, 0), 5, (4, 0, 0)),  # Not applied yet.
        ((5, 5), 5, (5, 5, 5)),
        ((6, 2), 5, (6, 5, 5)),  # Its migration did not raise N.
        ((9, 8), 5, (9, 8, 5)),
        ((9, 8), 0, (9, 8, 0)),
    ],
)
def test_what_cannot_be_gone_back_past_counts_once_it_is_applied(
    database: tuple[int, int], irreversible: int, then: tuple[int, int, int]
) -> None:
    found = frozen(DatabaseSchema(revision=database[0], least_head=database[1]), irreversible)
    assert found is not None
    assert (found.revision, found.least_head, found.irreversible) == then
    assert frozen(None, 5) is None


def test_what_freezes_is_told_in_words() -> None:
    database = DatabaseSchema(revision=9, least_head=8, irreversible=5)
    old, between = (CodeSchema(head=head, least=1) for head in (4, 7))
    assert misfit(old, database) == (
        "revision 5 cannot be gone back past by any code, and this is of 4"
    )
    assert "a contract removed what it uses" in misfit(between, database)
    assert misfit(CodeSchema(head=8, least=1), database) == ""
    assert str(database).endswith("; revision 5 cannot be gone back past by any code")
    assert database.as_json() == {"revision": 9, "leastHead": 8, "irreversible": 5}


def test_the_newest_that_any_template_calls_irreversible_counts() -> None:
    said = [workload("9", "1"), {}, workload("9", "1")]
    assert irreversible_of(said) == 0
    for manifest, number in zip(said[::2], ("5", "7"), strict=True):
        manifest["spec"]["template"]["metadata"]["annotations"][IRREVERSIBLE] = number
    assert irreversible_of(said) == 7
    assert of_templates(said) == CodeSchema(head=9, least=1, irreversible=7)


def test_the_greatest_that_anybody_says_is_what_a_database_is() -> None:
    early, late = DatabaseSchema(revision=3, least_head=2), DatabaseSchema(revision=4, least_head=1)
    assert latest((early, None, late)) == DatabaseSchema(revision=4, least_head=2)
    assert latest((None,)) is None


@pytest.mark.parametrize(
    ("manifests", "said"),
    [
        ([workload("3", "2")], CodeSchema(head=3, least=2)),
        ([workload("3", "1"), {}, workload("4", "2")], CodeSchema(head=3, least=2)),
        ([], None),
        ([{"spec": None}], None),
        ([workload("3", None)], None),
        ([workload("-1", "1")], None),
        ([workload("three", "1")], None),
        ([workload("\u0661", "1")], None),
        ([workload("99999999999", "1")], None),
        ([workload({"secure": "x"}, "1")], None),
    ],
)
def test_a_release_says_it_in_its_templates(
    manifests: list[dict[str, Any]], said: CodeSchema | None
) -> None:
    assert of_templates(manifests) == said


@pytest.mark.parametrize(
    ("outputs", "said"),
    [
        ({"schema": {"head": 3, "least": 2}}, CodeSchema(head=3, least=2)),
        ({"schema": {"head": 3.0, "least": 2.0}}, CodeSchema(head=3, least=2)),
        ({"schema": {"head": True, "least": 2}}, None),
        ({"schema": "3"}, None),
        ({}, None),
    ],
)
def test_or_in_its_program_s_outputs(outputs: dict[str, Any], said: CodeSchema | None) -> None:
    assert of_outputs(outputs) == said


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ('{"database": {"revision": 3, "leastHead": 1}, "version": "1"}', (3, 1)),
        ('{"revision": 3, "leastHead": 1}', (3, 1)),
        ('applied 3\n{"revision": 3, "leastHead": 0}\n', (3, 0)),
        ('{\n "revision": 3,\n "leastHead": 0\n}', (3, 0)),
        ('{"version": "1"}', None),
        ('{"database": null}', None),
        ('{"revision": "x", "leastHead": 1}', None),
        ("[1]", None),
        ("", None),
    ],
)
def test_a_pod_answers_it_and_a_migration_ends_with_it(
    body: str, said: tuple[int, int] | None
) -> None:
    found = of_answer(body)
    assert (None if found is None else (found.revision, found.least_head)) == said


@given(st.text(max_size=60) | st.recursive(st.none() | st.integers(), st.lists).map(json.dumps))
def test_any_other_answer_is_none_and_never_an_error(body: str) -> None:
    assert of_answer(body) is None
