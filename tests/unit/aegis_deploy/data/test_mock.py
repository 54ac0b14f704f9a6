"""Made-up rows: the same everywhere, whole, and as the settings say."""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aegis_deploy.common.errors import AegisError, ExitCode
from aegis_deploy.data import rules_file
from aegis_deploy.data.catalog import Catalog, Key, Table, UniqueIndex
from aegis_deploy.data.mock.rows import MadeTable, planned
from aegis_deploy.data.values import spread
from tests.unit.aegis_deploy.data.schemas import catalog, column, name, reference, table

ROOT = Path(__file__).resolve().parents[4]
ID = column("id", "integer", nullable=False, identity=True)
Rows = list[dict[str, str | None]]


def made(of: Catalog, text: str = "", *, seed: int = 1, size: int = 50) -> dict[str, Rows]:
    said = rules_file.read(text)
    found = planned(
        Catalog(of.tables, (*of.references, *said.declared())), said.mock, seed=seed, size=size
    )
    return {it.table.name.name: read(it) for it in found}


def read(of: MadeTable) -> Rows:
    """Read rows back as COPY does."""
    lines = "".join(of.blocks()).splitlines()
    assert len(lines) == of.rows
    return [
        {
            column: None if it == "\\N" else re.sub(r"\\(.)", _unescaped, it)
            for column, it in zip(of.columns, line.split("\t"), strict=True)
        }
        for line in lines
    ]


def _unescaped(match: re.Match[str]) -> str:
    return {"t": "\t", "n": "\n", "r": "\r"}.get(match[1], match[1])


def refused(of: Catalog, text: str = "", *, size: int = 50) -> str:
    with pytest.raises(AegisError) as caught:
        made(of, text, size=size)
    assert caught.value.code is ExitCode.REFUSED
    return caught.value.why


def whole(of: Catalog, rows: dict[str, Rows]) -> None:
    """Hold rows against the keys, references and NOT NULL of their catalog."""
    for it in of.tables.values():
        mine = rows[it.name.name]
        for one in it.columns:
            assert one.nullable or all(row[one.name] is not None for row in mine), one
        for key in it.keys:
            values = [tuple(row[at] for at in key.columns) for row in mine]
            known = [one for one in values if None not in one]
            assert len({*known}) == len(known), (it.name, key)
    for link in of.references:
        there = {tuple(row[at] for at in link.to_columns) for row in rows[link.to.name]}
        for row in rows[link.table.name]:
            refers = tuple(row[at] for at in link.columns)
            assert None in refers or refers in there, link


TYPES = catalog(
    table(
        "t",
        ID,
        column("small", "smallint", nullable=False),
        column("price", "numeric", precision=(6, 2)),
        column("day", "date"),
        column("at", "timestamptz"),
        column("flag", "boolean"),
        column("token", "uuid"),
        column("data", "jsonb"),
        column("bytes", "bytea"),
        column("mood", "mood", enum=("happy", "sad")),
        column("list", "integer[]", base="int4", array=True),
        column("wait", "interval"),
        column("parent", "integer"),
        keys=[("id",), ("token",)],
        checks=[("CHECK (((small > 5) AND (small <= 9)))", ("small",))],
    ),
    references=[reference("t", ("parent",), "t", ("id",))],
)
DIGEST = "c42d02f9df199d55"


def test_the_same_seed_makes_the_same_rows_on_every_machine() -> None:
    text = "mock: {tables: {t: {columns: {parent: {zipf: 1.3}}}}}"
    (it,) = planned(TYPES, rules_file.read(text).mock, seed=7, size=5000)
    # Another digest here means that everybody's rows become others; nothing of Faker is in it.
    assert hashlib.sha256("".join(it.blocks()).encode()).hexdigest()[:16] == DIGEST


def test_nothing_rests_on_what_a_process_was_started_with() -> None:
    program = (
        "from tests.unit.aegis_deploy.data.test_mock import SHOP, made\n"
        "print(sorted(made(SHOP, size=9).items()))"
    )
    found = {
        subprocess.run(
            [sys.executable, "-c", program],
            cwd=ROOT,
            env={**os.environ, "PYTHONHASHSEED": seed, "TZ": zone, "LC_ALL": locale},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed, zone, locale in (("1", "UTC", "C"), ("2", "Asia/Seoul", "C.UTF-8"))
    }
    assert len(found) == 1


def test_another_seed_makes_others() -> None:
    one, two = (made(TYPES, seed=it)["t"] for it in (1, 2))
    assert one != two
    assert [it["id"] for it in one] == [it["id"] for it in two]


def test_more_rows_leave_those_before_as_they_are() -> None:
    of = catalog(table("t", ID, column("day", "date"), column("note"), keys=[("id",)]))
    assert made(of, size=5000)["t"][:70] == made(of, size=70)["t"]


def test_each_type_gets_what_it_takes() -> None:
    rows = made(TYPES, size=300)["t"]
    whole(TYPES, {"t": rows})
    forms = {
        "small": r"[6-9]",
        "price": r"\d{1,4}\.\d\d",
        "day": r"202[0-4]-\d\d-\d\d",
        "at": r"202[0-4]-\d\d-\d\d \d\d:\d\d:\d\d\+00",
        "flag": r"true|false",
        "token": r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}",
        "data": r'\{"made": \d+\}',
        "bytes": r"\\x[0-9a-f]{16}",
        "mood": r"happy|sad",
        "list": r'\{("\d+"(,"\d+")*)?\}',
        "wait": r"1 day|36:00:00|3 mons",
    }
    for name_, form in forms.items():
        values = [row[name_] for row in rows]
        assert all(it is None or re.fullmatch(form, it) for it in values), (name_, values[:5])
        # And about a tenth of what may be NULL is.
        assert (None in values) == (name_ not in {"small"})
    assert {row["small"] for row in rows} == {"6", "7", "8", "9"}


SHOP = catalog(
    table(
        "people",
        ID,
        column("name", nullable=False),
        column("email", nullable=False),
        column("boss", "integer"),
        keys=[("id",), ("email",)],
    ),
    table("shops", ID, column("owner", "integer", nullable=False), keys=[("id",)]),
    table("badges", column("person", "integer", nullable=False), keys=[("person",)]),
    table(
        "visits",
        column("person", "integer", nullable=False),
        column("shop", "integer", nullable=False),
        column("friend", "integer"),
        keys=[("person", "shop")],
    ),
    references=[
        reference("people", ("boss",), "people", ("id",)),
        reference("shops", ("owner",), "badges", ("person",)),
        reference("badges", ("person",), "people", ("id",)),
        reference("visits", ("person",), "people", ("id",)),
        reference("visits", ("shop",), "shops", ("id",)),
        reference("visits", ("friend",), "people", ("id",)),
    ],
)


def test_rows_refer_to_rows_that_are_there_and_keys_are_unique() -> None:
    rows = made(SHOP, "mock: {tables: {visits: {times: 20}}}", size=60)
    whole(SHOP, rows)
    assert {name_: len(it) for name_, it in rows.items()} == {
        "people": 60,
        "shops": 60,
        "badges": 60,
        "visits": 1200,
    }
    assert all(int(str(it["boss"] or 0)) < int(str(it["id"])) for it in rows["people"])


def test_a_table_gets_no_more_rows_than_its_keys_have_room_for() -> None:
    rows = made(SHOP, "mock: {tables: {people: {rows: 3}}}", size=50)
    whole(SHOP, rows)
    assert (len(rows["badges"]), len(rows["visits"])) == (3, 50)
    why = refused(SHOP, "mock: {tables: {people: {rows: 3}, badges: {rows: 9}}}")
    assert "badges: 9 rows are asked for, and the key badges_0 has room for 3" in why
    none = made(SHOP, "mock: {tables: {people: {rows: 0}}}")
    assert all(not it for it in none.values())


TENANTS = catalog(
    table("tenants", ID, keys=[("id",)]),
    table(
        "orders",
        column("tenant", "integer", nullable=False),
        column("no", "integer", nullable=False),
        column("follows", "integer"),
        keys=[("tenant", "no")],
    ),
    table(
        "goods",
        column("tenant", "integer", nullable=False),
        column("no", "integer", nullable=False),
        keys=[("tenant", "no")],
    ),
    table(
        "lines",
        column("tenant", "integer", nullable=False),
        column("order", "integer", nullable=False),
        column("good", "integer", nullable=False),
        keys=[],
    ),
    references=[
        reference("orders", ("tenant",), "tenants", ("id",)),
        reference("orders", ("tenant", "follows"), "orders", ("tenant", "no")),
        reference("goods", ("tenant",), "tenants", ("id",)),
        reference("lines", ("tenant",), "tenants", ("id",)),
        reference("lines", ("tenant", "order"), "orders", ("tenant", "no")),
        reference("lines", ("tenant", "good"), "goods", ("tenant", "no")),
    ],
)


def test_references_that_share_a_column_agree_in_it() -> None:
    rows = made(TENANTS, "mock: {tables: {tenants: {rows: 7}}}", size=80)
    whole(TENANTS, rows)
    assert any(it["follows"] is not None for it in rows["orders"])
    assert "has no row for some" in refused(
        TENANTS, "mock: {tables: {goods: {rows: 2}, orders: {rows: 2}}}"
    )


def test_a_key_that_is_made_of_itself_is_refused() -> None:
    of = catalog(
        table("a", column("id", "integer", nullable=False), keys=[("id",)]),
        table("b", column("id", "integer", nullable=False), keys=[("id",)]),
        references=[reference("a", ("id",), "b", ("id",)), reference("b", ("id",), "a", ("id",))],
    )
    assert "its key is made of itself" in refused(of)


def test_a_polymorphic_reference_leads_to_what_its_kind_says() -> None:
    of = catalog(
        *SHOP.tables.values(),
        table("notes", column("kind", nullable=False), column("ref", "integer")),
        references=SHOP.references,
    )
    text = (
        "references:\n"
        "- {table: notes, columns: [ref], to: people, to_columns: [id], where: {kind: person}}\n"
        "- {table: notes, columns: [ref], to: shops, to_columns: [id], where: {kind: shop}}\n"
        "mock: {tables: {shops: {rows: 2}}}\n"
    )
    notes = made(of, text)["notes"]
    assert {it["kind"] for it in notes} == {"person", "shop"}
    assert {it["ref"] for it in notes if it["kind"] == "shop"} == {"1", "2"}


class TestSettings:
    """What a column is told to hold."""

    def test_how_often_each_value_comes(self) -> None:
        text = "mock: {tables: {t: {columns: {note: {choice: {a: 8, b: 2}, nulls: 0.5}}}}}"
        of = catalog(table("t", ID, column("note"), keys=[("id",)]))
        counts = Counter(it["note"] for it in made(of, text, size=8000)["t"])
        assert {*counts} == {"a", "b", None}
        assert 3700 < counts[None] < 4300
        assert 3 < counts["a"] / counts["b"] < 5

    def test_how_often_a_row_is_referred_to(self) -> None:
        text = "mock: {tables: {shops: {times: 100, columns: {owner: {zipf: 1.2}}}}}"
        of = catalog(
            table("badges", ID, keys=[("id",)]),
            table("shops", ID, column("owner", "integer", nullable=False), keys=[("id",)]),
            references=[reference("shops", ("owner",), "badges", ("id",))],
        )
        rows = made(of, text, size=100)
        whole(of, rows)
        counts = [it for _, it in Counter(it["owner"] for it in rows["shops"]).most_common()]
        # The n-th of a hundred has 1/n**1.2 of 3.60 in all: 2,776 of 10,000, 1,208, 743, ...
        assert 2600 < counts[0] < 2950
        assert 1080 < counts[1] < 1340
        assert counts[50] < 60

    def test_between_which_numbers_and_days(self) -> None:
        text = (
            "mock: {tables: {t: {columns: {n: {between: [3, 5]}, d: {between: [2024-02-28, "
            "2024-03-01]}, p: {pattern: 'A-##?'}, f: {fixed: x}, k: {fake: name, locale: ko_KR}}}}}"
        )
        of = catalog(
            table("t", *(column(it, nullable=False) for it in "pfk"),
                  column("n", "integer", nullable=False), column("d", "date", nullable=False))
        )  # fmt: skip
        rows = made(of, text, size=400)["t"]
        assert {it["n"] for it in rows} == {"3", "4", "5"}
        assert {it["d"] for it in rows} == {"2024-02-28", "2024-02-29", "2024-03-01"}
        assert all(re.fullmatch(r"A-\d\d[A-Z]", str(it["p"])) for it in rows)
        assert {it["f"] for it in rows} == {"x"}
        assert all(re.search("[가-힣]", str(it["k"])) for it in rows)

    @pytest.mark.parametrize(
        ("of", "said", "why"),
        [
            (column("x", nullable=False), "{nulls: 0.5}", "NOT NULL, and nulls is not 0"),
            (column("x", "integer"), "{fixed: a}", "'a' does not fit: it is no integer"),
            (column("x", "integer"), "{between: [a, b]}", "has to be two numbers"),
            (column("x", "date"), "{between: [1, 2]}", "has to be two days"),
            (column("x", "integer"), "{between: [5, 2]}", "no number between 5 and 2"),
            (column("x", "date"), "{between: [2024-01-02, 2024-01-01]}", "no day between"),
            (column("x", "smallint"), "{between: [1, 40000]}", "too great"),
            (column("x", "varchar", length=3), "{pattern: '####'}", "3 is the most"),
            (column("x", "mood", enum=("a", "b")), "{choice: {c: 1}}", "does not fit"),
            (column("x", "geometry", nullable=False), "{}", "nothing is known of geometry"),
        ],
    )
    def test_what_cannot_be_is_refused(self, of: object, said: str, why: str) -> None:
        tables = catalog(table("t", of))  # type: ignore[arg-type]
        assert why in refused(tables, f"mock: {{tables: {{t: {{columns: {{x: {said}}}}}}}}}")

    def test_what_there_is_not_is_refused(self) -> None:
        text = "mock: {tables: {nix: {rows: 1}, people: {columns: {nox: {fixed: 1}}}}}"
        why = refused(SHOP, text)
        assert "there is no table nix" in why
        assert "people has no column nox" in why

    def test_references_that_name_what_there_is_not_are_refused(self) -> None:
        way = {"declared": True, "only_where": ("kind", "x")}
        lost = reference("people", ("nox",), "nix", ("id",), **way)
        why = refused(replace(SHOP, references=(lost,)))
        assert "references: people has no column nox" in why
        assert "references: people has no column kind" in why
        assert "references: there is no table nix" in why


@pytest.mark.parametrize("cased", [(), ("code",)])
def test_what_else_keeps_rows_apart_is_held_to_where_there_is_room(cased: tuple[str, ...]) -> None:
    plain = table("t", ID, column("code"), column("flag", "boolean"), keys=[("id",)])
    indexes = (UniqueIndex("one", ("code",), cased), UniqueIndex("two", ("flag",), (), ("flag",)))
    found = made(catalog(replace(plain, indexes=indexes)), size=3000)["t"]
    codes = [str(it["code"]).lower() for it in found if it["code"] is not None]
    assert len(found) == 3000
    assert len({*codes}) == len(codes)


def test_a_check_on_text_is_held_to_where_it_is_simple() -> None:
    of = catalog(
        table(
            "t",
            column("code", nullable=False),
            column("email", nullable=False),
            keys=[("code",)],
            checks=[
                ("CHECK ((code ~ '^[A-Z]{2}-\\d{3}$'::text))", ("code",)),
                ("CHECK ((email ~ '^[^@]+@[^@]+$'::text))", ("email",)),
            ],
        )
    )
    rows = made(of, size=300)["t"]
    whole(of, {"t": rows})
    assert all(re.fullmatch(r"[A-Z]{2}-\d{3}", str(it["code"])) for it in rows)
    assert all("@example.com" in str(it["email"]) for it in rows)
    odd = catalog(
        table(
            "t", column("x", nullable=False), checks=[("CHECK ((x ~ '^(a|b){9}$'::text))", ("x",))]
        )
    )
    assert "give it pattern, choice or fixed" in refused(odd)


def test_a_type_that_nothing_is_known_of_is_left_to_its_default_or_null() -> None:
    of = catalog(table("t", ID, column("a", "geometry"), column("b", "geometry", default="f()")))
    rows = made(of)["t"]
    assert {it["a"] for it in rows} == {None}
    assert "b" not in rows[0]


def test_a_key_with_one_null_gets_none() -> None:
    of = catalog(Table(name("t"), (column("a"),), keys=(Key("k", ("a",), nulls_distinct=False),)))
    assert None not in {it["a"] for it in made(of, size=300)["t"]}


@given(st.integers(1, 2000), st.integers())
@settings(deadline=None, max_examples=60)
def test_what_is_scattered_comes_to_each_place_once(size: int, seed: int) -> None:
    assert sorted(spread.scattered(seed, size=size)(range(size))) == [*range(size)]


@given(st.floats(0.1, 5), st.integers(1, 10**6))
@settings(deadline=None, max_examples=60)
def test_each_rank_is_one_of_them(exponent: float, size: int) -> None:
    ranked = spread.zipf(spread.stream(1), spread.stream(2), exponent, size)
    assert all(0 <= it < size for it in ranked(range(500)))


@given(st.lists(st.integers(0, 10**7), max_size=50))
@settings(deadline=None)
def test_a_rows_number_is_the_same_however_it_is_asked_for(rows: list[int]) -> None:
    draw = spread.stream(3, "t", "c")
    assert [*draw(rows)] == [draw(range(it, it + 1))[0] for it in rows]


@given(st.text())
def test_what_copy_reads_is_what_was_meant(text: str) -> None:
    read_back = re.sub(r"\\(.)", _unescaped, spread.copied(text))
    assert read_back == text
    assert not {"\t", "\n", "\r"} & {*spread.copied(text)}


@st.composite
def shops(draw: st.DrawFn) -> Catalog:
    """Tables with references at random, to others and themselves, in circles, unique or not."""
    names = [f"t{it}" for it in range(draw(st.integers(1, 6)))]
    tables, references = [], []
    for one in names:
        columns, keys = [ID, column("pair", "integer", nullable=False)], [("id",), ("id", "pair")]
        for index in range(draw(st.integers(0, 3))):
            to, loose = draw(st.sampled_from(names)), draw(st.booleans())
            columns.append(column(f"r{index}", "integer", nullable=loose))
            if draw(st.booleans()):
                columns.append(column(f"p{index}", "integer", nullable=loose))
                pair = (f"r{index}", f"p{index}")
                references.append(reference(one, pair, to, ("id", "pair")))
                continue
            references.append(reference(one, (f"r{index}",), to, ("id",)))
            if draw(st.booleans()):
                keys.append((f"r{index}",))
        tables.append(table(one, *columns, keys=keys))
    return catalog(*tables, references=references)


@given(shops(), st.integers(), st.integers(0, 40))
@settings(deadline=None, max_examples=150)
def test_rows_of_any_such_schema_are_whole(of: Catalog, seed: int, size: int) -> None:
    rows = made(of, seed=seed, size=size)
    whole(of, rows)
    assert rows == made(of, seed=seed, size=size)
