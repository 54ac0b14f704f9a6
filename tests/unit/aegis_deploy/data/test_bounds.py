"""What is read from a CHECK as PostgreSQL writes it, and what is left to PostgreSQL."""

from __future__ import annotations

import pytest

from aegis_deploy.data.values.bounds import Bounds, Limit, bounds_of, misfit
from tests.unit.aegis_deploy.data.schemas import column, table


def read(check: str, type_: str = "text", **more: object) -> Bounds:
    it = column("x", type_, **more)
    return bounds_of(table("t", it, checks=[(check, ("x",))]), it)


@pytest.mark.parametrize(
    ("check", "type_", "found"),
    [
        (
            "CHECK ((x = ANY (ARRAY['a'::text, 'it''s'::text])))",
            "text",
            Bounds(values=("a", "it's")),
        ),
        (
            "CHECK (((x)::text = ANY ((ARRAY['a'::varchar, 'b'::character varying])::text[])))",
            "text",
            Bounds(values=("a", "b")),
        ),
        ("CHECK ((x = ANY (ARRAY[1, '-2'::integer])))", "integer", Bounds(values=("1", "-2"))),
        ("CHECK ((x = 1))", "integer", Bounds(values=("1",))),
        (
            "CHECK (((x >= 0) AND (x <= 150)))",
            "integer",
            Bounds(low=Limit("0", inclusive=True), high=Limit("150", inclusive=True)),
        ),
        (
            "CHECK ((x > (0)::numeric)) NOT VALID",
            "numeric",
            Bounds(low=Limit("0", inclusive=False)),
        ),
        (
            "CHECK ((x >= '2020-01-01'::date))",
            "date",
            Bounds(low=Limit("2020-01-01", inclusive=True)),
        ),
        ("CHECK ((VALUE ~ '^[A-Z]{3}$'::text))", "text", Bounds(patterns=(("^[A-Z]{3}$", False),))),
        (
            "CHECK (((char_length(x) <= 10) AND (x <> ''::text)))",
            "text",
            Bounds(longest=10, unlike=("",)),
        ),
        ("CHECK ((length((x)::text) > 2))", "text", Bounds(shortest=3)),
        ("CHECK ((x IS NOT NULL))", "text", Bounds()),
        (
            "CHECK ((upper((x)::text) = ANY (ARRAY['M'::text, 'F'::text])))",
            "text",
            Bounds(values=("M", "F")),
        ),
        (
            "CHECK (((x = ANY (ARRAY['M'::text, 'F'::text])) OR (x IS NULL)))",
            "text",
            Bounds(values=("M", "F")),
        ),
        (
            "CHECK (((x IS NULL) OR (x > 0)))",
            "integer",
            Bounds(low=Limit("0", inclusive=False)),
        ),
    ],
)
def test_a_simple_check_is_read(check: str, type_: str, found: Bounds) -> None:
    assert read(check, type_) == found


@pytest.mark.parametrize(
    "check",
    [
        "CHECK (((x > 0) OR (x < '-5'::integer)))",
        "CHECK ((NOT (x > 0)))",
        "CHECK (((x > 5) OR ((x > 0) AND (x IS NULL))))",
        "CHECK (((x > 5) OR (y IS NULL)))",
        "CHECK ((x IS NULL))",
        "CHECK ((upper((x)::text) = ANY (ARRAY['m'::text])))",
        "CHECK ((NOT ((x > 0) AND (x < 9))))",
        "CHECK ((x > (y + 1)))",
        "CHECK ((abs(x) > 1))",
        "CHECK ((x > ALL (ARRAY[1, 2])))",
        "CHECK (((x % 2) = 0))",
        "CHECK (((x > 0) = true))",
        "CHECK ((x >= 0) AND something odd: ?)",
        "whatever",
    ],
)
def test_any_other_is_left_to_postgresql_whole(check: str) -> None:
    assert read(check, "integer") == Bounds(unread=("check_0",))


def test_how_texts_are_ordered_is_left_to_postgresql() -> None:
    assert read("CHECK ((x > 'm'::text))").unread == ("check_0",)
    for pattern in ("^[[:alpha:]]", "(", "\\mx", "[[a]"):
        assert read(f"CHECK ((x ~ '{pattern}'::text))").unread == ("check_0",)
    assert read("CHECK ((x <> ''::text))", array=True).unread == ("check_0",)


@pytest.mark.parametrize(
    ("type_", "value", "why"),
    [
        ("integer", "x", "no integer"),
        ("integer", "3000000000", "too great"),
        ("numeric", "1.5", None),
        ("numeric", "1,5", "no numeric"),
        ("uuid", "d5c1ae0e-72a3-4f0f-9d51-0e5a4c3ad001", None),
        ("uuid", "d5c1", "no uuid"),
        ("jsonb", '{"a": 1}', None),
        ("jsonb", "{", "no jsonb"),
        ("boolean", "maybe", "no boolean"),
        ("boolean", "f", None),
        ("date", "2024-02-29", None),
        ("date", "29.2.2024", "no date"),
        ("timestamptz", "2024-02-29 10:00:00+09", None),
        ("bytea", "\\x00ff", None),
        ("bytea", "\\x0", "no bytea"),
        ("text", "a\x00", "no text"),
        ("interval", "1 day", None),
    ],
)
def test_a_value_is_held_against_its_type(type_: str, value: str, why: str | None) -> None:
    found = misfit(value, column("x", type_), Bounds())
    assert (found is None) == (why is None)
    assert why is None or why in str(found)


def test_a_numeric_has_only_so_much_room() -> None:
    it = column("x", "numeric", precision=(5, 2))
    assert misfit("999.99", it, Bounds()) is None
    assert "too great" in str(misfit("1000", it, Bounds()))
