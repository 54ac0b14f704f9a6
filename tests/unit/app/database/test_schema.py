"""Which code fits which database, and what this code says of itself."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.database.schema import FILE, CodeSchema, DatabaseSchema, misfit, of_this_code
from app.migrations.runner import revisions

NUMBERS = st.integers(min_value=0, max_value=30)


@given(NUMBERS, NUMBERS, NUMBERS, NUMBERS)
def test_they_fit_when_neither_lacks_what_the_other_needs(d: int, n: int, h: int, m: int) -> None:
    code = CodeSchema(head=h, least=m)
    fits = misfit(code, DatabaseSchema(revision=d, least_head=n)) is None
    assert fits == (m <= d and n <= h)


@pytest.mark.parametrize(
    ("database", "why"),
    [
        (
            DatabaseSchema(revision=1, least_head=0),
            "is at revision 1, and this code needs at least 2",
        ),
        (DatabaseSchema(revision=9, least_head=4), "revision 4 or later, and this code is of 3"),
    ],
)
def test_why_not_is_told_in_numbers(database: DatabaseSchema, why: str) -> None:
    assert why in str(misfit(CodeSchema(head=3, least=2), database))


def test_this_code_s_head_is_the_last_of_its_revisions() -> None:
    code = of_this_code()
    assert code.head == revisions()[-1].number
    assert 1 <= code.least <= code.head


def test_what_the_program_says_is_irreversible_is_the_last_that_says_so_itself() -> None:
    said = json.loads(FILE.read_text()).get("irreversible", 0)
    assert said == max((it.number for it in revisions() if it.irreversible), default=0)
