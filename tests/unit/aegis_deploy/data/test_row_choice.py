"""Which rows are taken, and in which order tables come."""

from __future__ import annotations

import pytest

from aegis_deploy.data.catalog import Catalog, TableName
from aegis_deploy.data.selection.row_choice import (
    ALL,
    NO_ROW,
    NONE,
    Choice,
    RowSql,
    Target,
    Wanted,
    identity,
    leads,
    parents_first,
    share,
)
from tests.unit.aegis_deploy.data.schemas import KEY, catalog, column, name, reference, table

CUSTOMERS = table("customers", column("id", "integer", nullable=False), keys=[("id",)])
ORDERS = table(
    "orders",
    column("id", "integer", nullable=False),
    column("customer", "integer"),
    column("seller", "integer"),
    keys=[("id",)],
)
ITEMS = table(
    "items", column("order_id", "integer"), column("line", "integer"), keys=[("order_id", "line")]
)
SHOP = catalog(
    CUSTOMERS,
    ORDERS,
    ITEMS,
    references=[
        reference("orders", ("customer",), "customers", ("id",), operators=("pg_catalog.=",)),
        reference("items", ("order_id",), "orders", ("id",), operators=("pg_catalog.=",)),
    ],
)
ROWS = {name("customers"): 100, name("orders"): 300, name("items"): 900}


@pytest.mark.parametrize(
    ("target", "rows", "wanted"),
    [
        (ALL, 7, 7),
        (NONE, 7, 0),
        (Target(percent=10), 1000, 100),
        (Target(percent=10), 5, 1),
        (Target(percent=0.1), 1, 1),
        (Target(percent=10), 0, 0),
        (Target(rows=50), 20, 20),
        (Target(rows=50), 200, 50),
    ],
)
def test_a_target_is_so_many_rows(target: Target, rows: int, wanted: int) -> None:
    assert target.of(rows) == wanted


@pytest.mark.parametrize(
    ("part", "whole", "limit"),
    [(1, 2, b"\x80" + bytes(7)), (1, 256, b"\x01" + bytes(7)), (2, 2, None), (3, 2, None)],
)
def test_a_share_of_all_ranks_lies_below_its_limit(
    part: int, whole: int, limit: bytes | None
) -> None:
    assert share(part, whole) == limit


class TestTheLead:
    """Along which reference a table's rows are chosen."""

    def test_is_the_reference_to_the_largest_sampled_table(self) -> None:
        two = catalog(
            CUSTOMERS,
            table("sellers", column("id", "integer"), keys=[("id",)]),
            ORDERS,
            references=[
                reference("orders", ("customer",), "customers", ("id",)),
                reference("orders", ("seller",), "sellers", ("id",)),
            ],
        )
        rows = {name("customers"): 100, name("sellers"): 5, name("orders"): 300}
        found = leads(two, Wanted(Target(percent=10)), rows)
        assert {str(it): str(to.to) for it, to in found.items()} == {"orders": "customers"}

    @pytest.mark.parametrize("of_parent", [ALL, NONE, Target(rows=1000)])
    def test_is_none_where_the_parent_decides_nothing(self, of_parent: Target) -> None:
        wanted = Wanted(Target(percent=10), {name("customers"): of_parent})
        assert name("orders") not in leads(SHOP, wanted, ROWS)

    def test_is_what_the_rules_have_it_follow_before_all(self) -> None:
        follow = SHOP.references_of(name("items"))
        wanted = Wanted(NONE, {name("orders"): Target(rows=3)}, follow)
        assert leads(SHOP, wanted, ROWS) == {name("items"): follow[0]}

    def test_never_forms_a_circle(self) -> None:
        circle = catalog(
            table("a", column("id", "integer"), column("b", "integer"), keys=[("id",)]),
            table("b", column("id", "integer"), column("a", "integer"), keys=[("id",)]),
            references=[
                reference("a", ("b",), "b", ("id",)),
                reference("b", ("a",), "a", ("id",)),
                reference("a", ("id",), "a", ("id",)),
            ],
        )
        found = leads(circle, Wanted(Target(percent=10)), {name("a"): 50, name("b"): 50})
        assert len(found) == 1


class TestTheRank:
    """What a row is told by."""

    def test_is_by_the_primary_key_else_a_key_without_nulls_else_the_whole_row(self) -> None:
        unique = table(
            "t", column("a"), column("b", nullable=False), column("c"), keys=[("b",), ("c",)]
        )
        assert identity(CUSTOMERS) == ("id",)
        assert identity(table("t", column("a"), column("b"))) == ()
        no_primary = type(unique)(
            unique.name,
            unique.columns,
            keys=tuple(type(it)(it.name, it.columns) for it in reversed(unique.keys)),
        )
        assert identity(no_primary) == ("b",)

    def test_follows_from_the_key_and_the_table(self) -> None:
        ranks = {
            RowSql(SHOP, key).rank(table_, "t")
            for key in (KEY, KEY + b"2")
            for table_ in (name("customers"), name("orders"))
        }
        assert len(ranks) == 4
        assert all(KEY.decode() not in it for it in ranks)


class TestTheSql:
    """What PostgreSQL is asked."""

    def test_quotes_every_name(self) -> None:
        odd = TableName('a"b', "c'd; DROP TABLE x")
        table_ = type(CUSTOMERS)(odd, CUSTOMERS.columns)
        sql = RowSql(Catalog({odd: table_}), KEY)
        assert 'ONLY "a""b"."c\'d; DROP TABLE x"' in sql.rows(odd)

    def test_reads_partitions_by_their_root_and_heirs_by_themselves(self) -> None:
        parts = type(CUSTOMERS)(name("parts"), CUSTOMERS.columns, partitioned=True)
        sql = RowSql(catalog(CUSTOMERS, parts), KEY)
        assert sql.source(name("customers")) == 'ONLY "public"."customers"'
        assert sql.source(name("parts")) == '"public"."parts"'

    def test_a_polymorphic_reference_is_one_of_its_kind_alone(self) -> None:
        notes = table("notes", column("kind"), column("subject"))
        found = reference(
            "notes", ("subject",), "customers", ("id",), declared=True, only_where=("kind", "o'k")
        )
        sql = RowSql(catalog(CUSTOMERS, notes, references=[found]), KEY)
        # Of another type, so as text.
        assert sql.match(found, "c", "p") == (
            'p."id"::text = c."subject"::text AND c."kind"::text = \'o\'\'k\''
        )

    def test_a_row_without_a_parent_comes_with_a_lead_but_not_with_what_it_follows(self) -> None:
        sql = RowSql(SHOP, KEY)
        sql.choices[name("customers")] = Choice(with_lead=b"\x10", other=b"\x10")
        (lead,) = SHOP.references_of(name("orders"))
        for follows in (False, True):
            sql.choices[name("orders")] = Choice(lead, follows, None, NO_ROW)
            _, condition = sql.chosen(name("orders"), "t")
            assert ('t."customer" IS NULL' in condition) is not follows


def test_tables_come_after_those_they_refer_to_as_far_as_there_is_no_circle() -> None:
    a, b, c, d, e = (name(it) for it in "abcde")
    edges = {a: [b], b: [c], c: [b], d: [a, d], e: []}
    found = parents_first([a, b, c, d, e], edges)
    assert sorted(found) == [a, b, c, d, e]
    assert found.index(b) < found.index(a) < found.index(d)
    assert found[0] == e
