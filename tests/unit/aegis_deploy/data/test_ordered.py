"""Made-up rows whose columns stand in the order that checks want."""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aegis_deploy.data.catalog import Column
from aegis_deploy.data.values.bounds import Limit, Pair, bounds_of, pairs_of
from aegis_deploy.data.values.ordered import amount, fitted, limit, orders, step, written
from tests.unit.aegis_deploy.data.schemas import catalog, column, reference, table
from tests.unit.aegis_deploy.data.test_mock import ID, Rows, made

DAY = column("day", "date")
MOMENT = column("at", "timestamptz")
PRICE = column("price", "numeric", precision=(6, 2))


def rows_of(*columns: Column, checks: list[tuple[str, tuple[str, ...]]], text: str = "") -> Rows:
    of = catalog(table("t", ID, *columns, keys=[("id",)], checks=checks))
    return made(of, text, size=400)["t"]


def both(rows: Rows, one: str, two: str) -> list[tuple[str, str]]:
    found = [(a, b) for it in rows if (a := it[one]) is not None and (b := it[two]) is not None]
    assert len(found) > len(rows) // 2
    return found


class TestWhatAChecksSaysOfTwo:
    """As PostgreSQL writes it."""

    @pytest.mark.parametrize(
        ("check", "pairs"),
        [
            ("CHECK ((a <= b))", [Pair("a", "b", apart=False)]),
            ("CHECK ((a > b))", [Pair("b", "a", apart=True)]),
            ("CHECK ((a <> b))", [Pair("a", "b", apart=True, ordered=False)]),
            ("CHECK (((b IS NULL) OR (a < b)))", [Pair("a", "b", apart=True)]),
            ("CHECK (((a >= (b)::numeric) OR (b IS NULL)))", [Pair("b", "a", apart=False)]),
            ("CHECK (((a < b) AND (a > 0) AND (b < 100)))", [Pair("a", "b", apart=True)]),
            # What is not understood whole is not held to in parts.
            ("CHECK (((a < b) OR (a > 3)))", []),
            ("CHECK (((a < b) AND ((a % 2) = 0)))", []),
            ("CHECK (((c IS NULL) OR (a < b)))", []),
            ("CHECK (((a * b) < 100))", []),
        ],
    )
    def test_is_read(self, check: str, pairs: list[Pair]) -> None:
        columns = [column(it, "integer") for it in "abc"]
        about = ("a", "b", "c") if "c " in check else ("a", "b")
        assert [*pairs_of(table("t", *columns, checks=[(check, about)]))] == pairs

    def test_of_one_of_them_holds_and_the_rest_is_left_to_postgresql_when_it_is_masked(
        self,
    ) -> None:
        of = table(
            "t", column("a", "integer"), column("b", "integer"),
            checks=[("CHECK (((a < b) AND (a > 0) AND (b < 100)))", ("a", "b"))],
        )  # fmt: skip
        one, two = (bounds_of(of, it) for it in of.columns)
        assert (one.low, one.high) == (Limit("0", inclusive=False), None)
        assert (two.low, two.high) == (None, Limit("100", inclusive=False))
        assert one.unread == two.unread == ("check_0",)


class TestRows:
    """Of the order that checks want."""

    def test_one_day_follows_another(self) -> None:
        rows = rows_of(
            column("begun", "date"), column("ended", "date"),
            checks=[("CHECK ((begun < ended))", ("begun", "ended"))],
        )  # fmt: skip
        assert all(one < two for one, two in both(rows, "begun", "ended"))

    def test_a_moment_follows_a_day_and_a_number_another_of_other_digits(self) -> None:
        rows = rows_of(
            DAY, MOMENT, PRICE, column("least", "integer"),
            checks=[
                ("CHECK ((at >= day))", ("at", "day")),
                ("CHECK (((least)::numeric < price))", ("least", "price")),
            ],
        )  # fmt: skip
        assert all(two[:10] >= one for one, two in both(rows, "day", "at"))
        assert all(int(one) < Decimal(two) for one, two in both(rows, "least", "price"))

    def test_a_chain_keeps_within_what_single_checks_say(self) -> None:
        rows = rows_of(
            *(column(it, "integer") for it in "abc"),
            checks=[
                ("CHECK (((a < b) AND (b < c)))", ("a", "b", "c")),
                ("CHECK (((a > 0) AND (c <= 3)))", ("a", "c")),
            ],
        )
        known = [[int(str(row[it])) for it in "abc"] for row in rows if None not in row.values()]
        assert known
        assert all(them == [1, 2, 3] for them in known)

    def test_the_one_in_a_key_is_what_the_other_follows(self) -> None:
        rows = rows_of(
            column("low", "integer"),
            checks=[("CHECK ((low < id))", ("low", "id"))],
        )
        assert all(int(two) > int(one) for one, two in both(rows, "low", "id"))

    def test_what_settings_say_is_followed(self) -> None:
        rows = rows_of(
            column("begun", "date"), column("ended", "date"),
            checks=[("CHECK ((begun <= ended))", ("begun", "ended"))],
            text="mock: {tables: {t: {columns: {begun: {between: [2021-01-01, 2021-01-31]},"
            " ended: {between: [2021-02-01, 2021-02-02]}}}}}",
        )  # fmt: skip
        found = both(rows, "begun", "ended")
        assert {one[:7] for one, _ in found} == {"2021-01"}
        assert {two for _, two in found} <= {"2021-02-01", "2021-02-02"}

    def test_two_references_lead_to_different_rows(self) -> None:
        of = catalog(
            table("people", ID, keys=[("id",)]),
            table(
                "letters", ID, *(column(it, "integer", nullable=False) for it in ("sent", "got")),
                keys=[("id",)], checks=[("CHECK ((sent <> got))", ("sent", "got"))],
            ),
            references=[
                reference("letters", ("sent",), "people", ("id",)),
                reference("letters", ("got",), "people", ("id",)),
            ],
        )  # fmt: skip
        rows = made(of, "mock: {tables: {people: {rows: 7}}}", size=500)
        assert all(it["sent"] != it["got"] for it in rows["letters"])
        there = {it["id"] for it in rows["people"]}
        assert {it["got"] for it in rows["letters"]} <= there

    def test_moments_keep_within_a_check_that_leaves_the_last_one_out(self) -> None:
        rows = rows_of(
            column("at", "timestamp"),
            checks=[("CHECK (((at >= '2007-01-01 06:00:00') AND (at < '2007-01-03')))", ("at",))],
        )
        found = [it["at"] for it in rows if it["at"]]
        assert "2007-01-01 06:00:00" <= min(found) < max(found) < "2007-01-03"

    def test_a_value_that_is_named_among_others_is_taken(self) -> None:
        check = "CHECK (((x = 'a'::text) OR (x = 'b'::text) OR (x IS NULL)))"
        rows = rows_of(column("x", "text"), checks=[(check, ("x",))])
        assert {it["x"] for it in rows} == {"a", "b", None}


class TestNumbers:
    """By which values of different columns are compared."""

    @given(st.dates(date(1, 1, 1), date(9000, 1, 1)))
    def test_days_are_written_as_they_were_read(self, value: date) -> None:
        assert written(DAY, amount(DAY, value.isoformat())) == value.isoformat()

    @given(st.datetimes(datetime(1000, 1, 1), datetime(9000, 1, 1)))  # noqa: DTZ001
    def test_moments_too(self, value: datetime) -> None:
        text = f"{value:%Y-%m-%d %H:%M:%S}+00"
        assert written(MOMENT, amount(MOMENT, text)) == text

    @given(st.decimals(-1000, 1000, places=4), st.booleans())
    def test_fit_to_what_a_column_has(self, value: Decimal, up: bool) -> None:
        found = fitted(PRICE, value, up=up)
        assert found % step(PRICE) == 0
        assert abs(found - value) < step(PRICE)
        assert found == value or (found > value) is up

    @pytest.mark.parametrize(
        ("of", "text", "inclusive", "up", "found"),
        [
            (DAY, "2024-01-01", False, True, "2024-01-02"),
            (DAY, "2024-01-01 12:00:00", True, True, "2024-01-02"),
            (MOMENT, "2024-01-01 00:00:00+00", False, False, "2023-12-31 23:59:59+00"),
            (PRICE, "5", False, False, "4.99"),
        ],
    )
    def test_end_where_a_check_says(
        self, of: Column, text: str, inclusive: bool, up: bool, found: str
    ) -> None:
        end = limit(of, Limit(text, inclusive=inclusive), up=up)
        assert end is not None
        assert written(of, end) == found

    def test_have_no_end_where_it_cannot_be_read(self) -> None:
        assert limit(DAY, Limit("infinity", inclusive=True), up=False) is None

    def test_in_a_circle_one_follows_and_the_rest_is_left_to_postgresql(self) -> None:
        pairs = [Pair("a", "b", apart=True), Pair("b", "a", apart=True)]
        columns = {it: column(it, "integer") for it in "ab"}
        assert [*orders(pairs, columns, lambda _: True)] == ["b"]
