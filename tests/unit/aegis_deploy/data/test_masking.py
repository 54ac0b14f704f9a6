"""Rules held against a schema: what stops a run before a row is read, and what goes along."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aegis_deploy.common.errors import AegisError, ExitCode
from aegis_deploy.data import rules, rules_file
from aegis_deploy.data.catalog import Catalog, Key, Reference, Table, UniqueIndex
from aegis_deploy.data.masking import Findings, Masking, compile_masks, judge
from tests.unit.aegis_deploy.data.schemas import KEY, catalog, column, name, reference, table

SERIAL = column("id", "integer", nullable=False, identity=True)
SHOP = catalog(
    table("people", SERIAL, column("email"), column("born", "date"), keys=[("id",), ("email",)]),
    table(
        "orders",
        SERIAL,
        column("person", "integer"),
        column("email"),
        column("note"),
        column("words", "tsvector", generated=True),
        keys=[("id",)],
    ),
    table("lines", column("order", "integer"), column("no", "integer"), keys=[("order", "no")]),
    table("parts", column("order", "integer"), column("no", "integer"), column("price", "integer")),
    references=[
        reference("orders", ("person",), "people", ("id",)),
        reference("orders", ("email",), "people", ("email",)),
        reference("lines", ("order",), "orders", ("id",)),
        reference("parts", ("order", "no"), "lines", ("order", "no")),
    ],
)
RULES = """
tables:
  people: {id: number, email: email, born: {rule: shift, days: 9}}
  orders: {id: number, note: redact}
  lines: {no: keep}
  parts: {price: {rule: bucket, size: 10}}
"""


def masking(text: str = RULES, of: Catalog = SHOP) -> Masking:
    return compile_masks(of, rules_file.read(text), KEY)


def found(text: str, of: Catalog = SHOP) -> Findings:
    given = rules_file.read(text)
    return judge(replace(of, references=(*of.references, *given.declared())), given)


def problems(text: str, of: Catalog = SHOP) -> str:
    it = found(text, of)
    assert it.problems
    with pytest.raises(AegisError) as caught:
        masking(text, of)
    assert all(one in caught.value.why for one in it.problems)
    return "\n".join(it.problems)


def test_a_rule_goes_along_references_by_itself() -> None:
    made = masking()
    person = made.of(name("people"))(["7", "kim@x.kr", "2024-01-01"])
    order = made.of(name("orders"))(["9", "7", "kim@x.kr", "secret"])
    line = made.of(name("lines"))(["9", "1"])
    part = made.of(name("parts"))(["9", "1", "27"])
    assert order[1:3] == person[0:2]
    assert person[0] != "7"
    assert line[0] == part[0] == order[0] != "9"
    assert (line[1], part[1], part[2], order[3]) == ("1", "1", "20", "[redacted]")


def test_null_stays_null_in_every_column() -> None:
    made = masking()
    for it, table_ in SHOP.tables.items():
        values = [None for column in table_.columns if not column.generated]
        assert made.of(it)(values) == values


def test_what_may_coincide_is_told_of_what_is_masked() -> None:
    made = masking()
    assert made.masked(name("people")) == {"id": True, "email": False, "born": True}
    assert made.masked(name("lines")) == {"order": True}
    text = RULES.replace("email: email", "email: {rule: email, coincide: true}")
    assert masking(text).masked(name("orders"))["email"] is True


def test_a_short_key_is_refused_first() -> None:
    with pytest.raises(AegisError, match="key is too short"):
        compile_masks(SHOP, rules.Rules(), b"short")


def test_a_column_without_a_rule_stops_it_with_the_lines_to_add() -> None:
    with pytest.raises(AegisError) as caught:
        masking("")
    assert caught.value.code is ExitCode.REFUSED
    assert "no row was read" in caught.value.state
    first, *lines = caught.value.why.splitlines()
    assert first.startswith("7 columns have no rule")
    suggested = rules_file.read("\n".join(lines))
    # Those that refer to others go along, and what PostgreSQL works out needs none.
    assert "words" not in suggested.tables["orders"]
    assert "person" not in suggested.tables["orders"]
    assert not found("\n".join(lines)).differ
    assert not found("\n".join(lines)).problems
    assert suggested.tables["people"]["email"].rule == "email"
    assert suggested.tables["people"]["id"].rule == "keep"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (RULES.replace("note", "person: keep, note"), "have to have one rule"),
        (RULES.replace("people: {id: number", "people: {id: hash"), "people.id cannot be hash"),
        (RULES.replace("no: keep", "no: {rule: bucket, size: 2}"), "bucket may make one of two"),
        (RULES.replace("note", "words: redact, note"), "it takes no rule"),
        (RULES.replace("id: number, email", "id: 'null', email"), "it is NOT NULL"),
        (RULES.replace("redact", "{rule: template, text: 'x {nix}'}"), "no such column"),
        (RULES.replace("redact", "{rule: template, text: 'x {note}'}"), "is one itself"),
        (RULES.replace("redact", "{rule: template, text: 'x {id!r}'}"), "is no template"),
        (RULES.replace("redact", "{rule: template, text: 'x {id'}"), "is no template"),
        (RULES.replace("email: email", "email: {rule: template, text: x}"), "nothing refers to"),
        (RULES.replace("days: 9", "days: 9, by: nix"), "no such column"),
        (RULES + "  public.parts: {price: keep}", "stands there twice"),
        ("types: {text: redact, varchar: keep}\n" + RULES, ""),
        ("types: {date: {rule: shift, days: 1}, a: keep}\n" + RULES, ""),
    ],
)
def test_rules_that_contradict_or_cannot_fit_are_refused(text: str, why: str) -> None:
    if why:
        assert why in problems(text)
    else:
        assert not found(text).problems


def test_two_types_that_match_are_refused_unless_the_column_has_its_own() -> None:
    of = catalog(table("a", column("b", "mail", base="text", domain="public.mail")))
    assert found("types: {mail: email}", of).problems == ()
    assert "types has several rules for it (mail, text)" in problems(
        "types: {mail: email, text: redact}", of
    )
    assert found("types: {mail: email, text: redact}\ntables: {a: {b: keep}}", of).problems == ()


def test_a_reference_may_be_left_out_where_null_is_taken() -> None:
    text = RULES.replace("note", "person: 'null', note")
    row = masking(text).of(name("orders"))(["9", "7", "kim@x.kr", "secret"])
    assert row[1] is None
    strict = catalog(
        table("a", SERIAL, keys=[("id",)]),
        table("b", column("a", "integer", nullable=False), column("c", "integer")),
        references=[reference("b", ("a",), "a", ("id",))],
    )
    assert "b.a cannot be null" in problems(
        "tables: {a: {id: keep}, b: {a: 'null', c: keep}}", strict
    )
    both = catalog(
        table("a", column("x", "integer"), column("y", "integer"), keys=[("x", "y")]),
        table("b", column("x", "integer"), column("y", "integer")),
        references=[reference("b", ("x", "y"), "a", ("x", "y"), full=True)],
    )
    assert "MATCH FULL" in problems("tables: {a: {x: keep, y: keep}, b: {x: 'null'}}", both)


def test_a_key_that_takes_one_null_is_not_made_null() -> None:
    of = catalog(Table(name("a"), (column("b"),), keys=(Key("k", ("b",), nulls_distinct=False),)))
    assert "k takes one NULL" in problems("tables: {a: {b: 'null'}}", of)


def test_what_the_rules_name_and_the_database_has_not_is_told() -> None:
    it = found(
        RULES
        + "  nix: {a: keep}\n  people.nix: {}\nsample: {tables: {nox: all}}\n"
        + "follow: [{table: orders, with: people, by: [nux]}]\n"
        + "references: [{table: orders, columns: [a], to: people, to_columns: [id]}]\n"
        + "mock: {tables: {orders: {columns: {nex: {nulls: 0.5}}}}}\n"
    )
    assert it.differ
    assert it.gone == (
        "tables.nix: there is no table nix",
        "tables.people.nix: there is no table people.nix",
        "sample.tables.nox: there is no table nox",
        "follow: orders has no column nux",
        "mock.tables.orders: orders has no column nex",
        "references: orders has no column a",
    )
    gone = found("tables: {people: {id: keep, nix: keep}}").gone
    assert gone == ("tables.people: people has no column nix",)


def test_a_type_that_changed_is_told() -> None:
    it = found(RULES.replace("note: redact", "note: {rule: redact, type: character varying(9)}"))
    assert it.changed == (
        "orders.note: its rule was written for character varying(9), and it is text",
    )
    assert it.differ


def test_text_that_is_kept_and_checks_that_are_left_to_postgresql_are_told() -> None:
    of = catalog(
        table(
            "a",
            column("b"),
            column("c"),
            column("d"),
            checks=[
                ("CHECK ((b = ANY (ARRAY['x'::text])))", ("b",)),
                ("CHECK ((lower(c) = c))", ("c",)),
                ("CHECK ((lower(d) = d))", ("d",)),
            ],
        )
    )
    it = found("tables: {a: {b: keep, c: keep, d: hash}}", of)
    assert it.kept_text == ("a.c",)
    assert it.unread == ("a.d: check_2",)
    assert not it.differ


class TestWhatElseKeepsRowsApart:
    """Unique indexes over some rows, or over what is worked out of columns."""

    def of(self, **index: tuple[str, ...]) -> Catalog:
        made = table("a", column("b"), column("c"))
        return catalog(replace(made, indexes=(UniqueIndex("one", **index),)))

    def test_a_rule_that_may_make_one_of_two_values_is_refused(self) -> None:
        refused = problems("tables: {a: {b: redact, c: keep}}", self.of(columns=("b",)))
        assert "a.b cannot be redact: it is in a key" in refused

    def test_a_name_gets_what_tells_it_apart(self) -> None:
        given = "tables: {a: {b: name, c: name}}"
        mask = masking(given, self.of(columns=("b",))).of(name("a"))
        made = [mask([str(it), str(it)]) for it in range(2000)]
        assert len({it[0] for it in made}) == 2000 > len({it[1] for it in made})

    def test_texts_of_the_same_form_differ_by_more_than_their_case(self) -> None:
        given = "tables: {a: {b: scramble, c: scramble}}"
        mask = masking(given, self.of(columns=("b",), cased=("b",))).of(name("a"))
        texts = [f"{one}{two}" for one in "abcdef" for two in "ABCDEF"]
        made = [mask([it, it]) for it in texts]
        assert len({str(it[0]).lower() for it in made}) == len(texts)
        assert all(str(it[1])[1].isupper() for it in made)

    def test_what_postgresql_alone_can_tell_is_told(self) -> None:
        of = self.of(columns=("b",), left=("b", "c"))
        assert found("tables: {a: {b: keep, c: keep}}", of).unread == ()
        assert found("tables: {a: {b: hash, c: redact}}", of).unread == (
            "a.b: the index one",
            "a.c: the index one",
        )


class TestRow:
    """Masks that need the row."""

    def test_a_template_has_masked_values(self) -> None:
        text = RULES.replace("redact", "{rule: template, text: 'order {id} of {email}'}")
        row = masking(text).of(name("orders"))(["9", "7", "kim@x.kr", "secret"])
        assert row[3] == f"order {row[0]} of {row[2]}"

    def test_a_shift_by_a_column_is_the_same_for_the_same_value(self) -> None:
        of = catalog(
            table(
                "a",
                column("who"),
                column("at", "date"),
                column("to", "date[]", base="date", array=True),
            )
        )
        rule = "{rule: shift, days: 500, by: who}"
        made = masking(f"tables: {{a: {{who: hash, at: {rule}, to: {rule}}}}}", of).of(name("a"))
        one, two = (
            made(["kim", "2024-01-01", "{2024-01-01,NULL}"]),
            made(["lee", "2024-01-01", None]),
        )
        assert one[1] == made(["kim", "2024-01-01", None])[1] != two[1]
        assert one[2] == f"{{{one[1]},NULL}}"

    def test_a_polymorphic_reference_goes_along_with_what_it_refers_to(self) -> None:
        of = catalog(
            table("a", column("id", "integer"), keys=[("id",)]),
            table("b", column("id", "uuid"), keys=[("id",)]),
            table("notes", column("kind"), column("ref")),
        )
        text = (
            "references:\n"
            "- {table: notes, columns: [ref], to: a, to_columns: [id], where: {kind: a}}\n"
            "- {table: notes, columns: [ref], to: b, to_columns: [id], where: {kind: b}}\n"
            "tables: {a: {id: number}, b: {id: uuid}, notes: {kind: keep, ref: redact}}"
        )
        of = Catalog(of.tables, rules_file.read(text).declared())
        made = masking(text, of)
        note = made.of(name("notes"))
        identity = "d5c1ae0e-72a3-4f0f-9d51-0e5a4c3ad001"
        assert note(["a", "5"])[1] == made.of(name("a"))(["5"])[0]
        assert note(["b", identity])[1] == made.of(name("b"))([identity])[0]
        assert note(["c", "5"])[1] == "[redacted]"
        assert note(["a", None])[1] is None
        assert "can only be kept" in problems(text.replace("kind: keep", "kind: hash"), of)

    def test_a_value_of_another_form_is_refused_without_being_told(self) -> None:
        of = catalog(table("a", column("b", "numeric", precision=(9, 0))))
        made = masking("tables: {a: {b: number}}", of).of(name("a"))
        with pytest.raises(AegisError) as caught:
            made(["Infinity"])
        assert "a, b, cannot be masked" in caught.value.what
        assert "Infinity" not in str(caught.value)
        assert caught.value.__cause__ is None


@st.composite
def schemas(draw: st.DrawFn) -> Catalog:
    """A few tables with references at random: circles, chains, to themselves, of two columns."""
    names = [f"t{it}" for it in range(draw(st.integers(1, 6)))]
    tables = [
        table(
            it,
            column("a", "integer"),
            column("b", "integer"),
            column("c"),
            keys=[("a", "b"), ("c",)],
        )
        for it in names
    ]
    one = st.tuples(st.sampled_from(names), st.sampled_from(names), st.booleans())
    references: list[Reference] = [
        reference(x, ("a", "b"), y, ("a", "b")) if pair else reference(x, ("c",), y, ("c",))
        for x, y, pair in draw(st.lists(one, max_size=10))
    ]
    return catalog(*tables, references=references)


@given(schemas(), st.integers(-(2**31), 2**31 - 1), st.text(max_size=20))
@settings(deadline=None, max_examples=60)
def test_a_value_is_the_same_on_both_ends_of_every_reference(
    of: Catalog, number: int, text: str
) -> None:
    said = "types: {integer: number, text: hash}"
    made = masking(said, of)
    row = [str(number), str(number), text]
    for it in of.references:
        places = [
            (name, columns) for name, columns in ((it.table, it.columns), (it.to, it.to_columns))
        ]
        one, two = (
            [made.of(table_)(row)["abc".index(column)] for column in columns]
            for table_, columns in places
        )
        assert one == two
    # And the suggestions alone are rules that fit.
    assert not judge(of, rules_file.read("\n".join(judge(of, rules.Rules()).lines()[1:]))).problems


MIXED = catalog(
    table(
        "a",
        column("id", "integer", nullable=False),
        column("code", "character varying(30)", base="varchar", length=30),
        column("at", "date"),
        column("doc", "jsonb"),
        column("price", "numeric", precision=(8, 2)),
        column("note"),
        keys=[("id",), ("code", "at")],
    ),
    table("b", column("a", "integer"), column("code", "text"), column("at", "date")),
    references=[
        reference("b", ("a",), "a", ("id",)),
        reference("b", ("code", "at"), "a", ("code", "at")),
    ],
)
ANY_RULE = st.sampled_from(
    [
        "keep", "null", "hash", "uuid", "number", "email", "phone", "scramble", "redact", "json",
        "name", "{rule: city, locale: ko_KR, unique: true}", "{rule: fixed, value: '7'}",
        "{rule: fixed, value: '2024-01-01'}", "{rule: shift, days: 30}",
        "{rule: shift, days: 30, by: note}", "{rule: bucket, size: 10}", "{rule: hash, length: 9}",
        "{rule: template, text: 'a {id} {{}}'}", "{rule: json, paths: {$.x: number}}",
    ]
)  # fmt: skip
# Rules that fit each column, and now and then any.
FITTING = (
    ("keep", "number"),
    ("keep", "null", "hash", "email", "phone", "scramble", "{rule: city, locale: ko_KR}"),
    ("keep", "null", "{rule: shift, days: 30}", "{rule: shift, days: 30}"),
    ("keep", "null", "redact", "json", "{rule: json, paths: {$.x: number}, others: keep}"),
    ("keep", "null", "{rule: bucket, size: 10}", "{rule: fixed, value: '7'}"),
    ("hash", "uuid", "email", "phone", "redact", "name", "{rule: template, text: 'a {id}'}"),
)
CHOSEN = st.tuples(*(st.sampled_from(it) for it in FITTING)) | st.tuples(
    *(st.sampled_from(it * 4) | ANY_RULE for it in FITTING)
)
ROWS = st.lists(
    st.tuples(
        st.integers(-(2**31), 2**31 - 1).map(str),
        st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=30) | st.none(),
        st.dates().map(str) | st.none(),
        st.dictionaries(st.text(max_size=3), st.integers() | st.text() | st.none(), max_size=3).map(
            json.dumps
        )
        | st.none(),
        st.decimals(-99999, 99999, places=2).map(str) | st.none(),
        st.text(max_size=9) | st.none(),
    ),
    max_size=8,
    unique_by=(lambda it: it[0], lambda it: it[1:3]),
)


def either(rule: str) -> str:
    return '"null"' if rule == "null" else rule


@given(CHOSEN, ROWS)
@settings(deadline=None, max_examples=300)
def test_rules_at_random_are_refused_or_leave_rows_that_fit(
    chosen: tuple[str, ...], rows: list[tuple[str | None, ...]]
) -> None:
    names = [it.name for it in MIXED.tables[name("a")].columns]
    said = ", ".join(f"{it}: {either(rule)}" for it, rule in zip(names, chosen, strict=True))
    text = f"tables: {{a: {{{said}}}}}"
    if found(text, MIXED).problems:
        problems(text, MIXED)
        return
    made = masking(text, MIXED)
    after = [made.of(name("a"))(row) for row in rows]
    for before, masked in zip(rows, after, strict=True):
        referring = made.of(name("b"))([before[0], before[1], before[2]])
        assert [*referring] == [*masked[:3]]
        for value, own, rule in zip(before, masked, chosen, strict=True):
            assert (own is None) == (value is None or rule == "null")
        id_, code, at, doc, price, _ = masked
        assert -(2**31) <= int(str(id_)) < 2**31
        assert code is None or len(code) <= 30
        assert at is None or re.fullmatch(r"\d{4,}-\d\d-\d\d( BC)?", at)
        assert doc is None or json.loads(doc) is not ...
        assert price is None or abs(Decimal(price)) < 10**6
    for key in MIXED.tables[name("a")].keys:
        values = [tuple(row[names.index(it)] for it in key.columns) for row in after]
        known = [it for it in values if None not in it]
        assert len({*known}) == len(known)
