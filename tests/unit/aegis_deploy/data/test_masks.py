"""Masks: what they make follows from value and key, and what has to stay apart does."""

from __future__ import annotations

import json
import re
from datetime import date, timedelta
from decimal import Decimal
from typing import Any, ClassVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aegis_deploy.common.errors import AegisError
from aegis_deploy.data import rules
from aegis_deploy.data.catalog import Column
from aegis_deploy.data.values.arrays import each_element
from aegis_deploy.data.values.bounds import Bounds, Limit
from aegis_deploy.data.values.days import offset, shift_key, shifted, window_of
from aegis_deploy.data.values.keyed import Digest, Permutation, derived, key_id, require_key
from aegis_deploy.data.values.masks import Mask, Target, Unfit, compiled
from aegis_deploy.data.values.same_form import scrambler
from tests.unit.aegis_deploy.data.schemas import KEY, column

CHARACTERS = st.characters(codec="utf-8", exclude_characters="\x00")
TEXTS = st.text(CHARACTERS, max_size=60)


def mask(
    rule: object, *columns: Column, key: bytes = KEY, unique: bool = False, **bounds: Any
) -> Mask:
    them = columns or (column("it"),)
    length = min((it.length for it in them if it.length is not None), default=None)
    limits = Bounds(**{"longest": length, **bounds})
    nullable = all(it.nullable for it in them)
    return compiled(rules.one(rule), Target(them, limits, unique, nullable), key)


def unfit(rule: object, *columns: Column, unique: bool = False, **bounds: Any) -> str:
    with pytest.raises(Unfit) as caught:
        mask(rule, *columns, unique=unique, **bounds)
    return str(caught.value)


class TestKey:
    """The key."""

    def test_that_is_short_is_refused(self) -> None:
        with pytest.raises(AegisError, match="too short") as caught:
            require_key(b"x" * 31)
        assert "xxx" not in str(caught.value)
        assert require_key(b"x" * 32)

    def test_is_told_by_what_tells_nothing_of_it(self) -> None:
        assert key_id(KEY) == key_id(KEY) != key_id(KEY + b"x")
        assert KEY.hex() not in key_id(KEY)

    def test_is_another_for_each_use(self) -> None:
        assert len({derived(KEY, "a", "b"), derived(KEY, "ab"), derived(KEY, "a"), KEY}) == 4

    @pytest.mark.parametrize(
        "rule", ["hash", "email", "name", "phone", "scramble", "uuid", {"rule": "job"}]
    )
    def test_decides_what_a_value_becomes(self, rule: object) -> None:
        values = [f"person number {it} of 01012345678" for it in range(20)]
        one = [mask(rule).apply(it) for it in values]
        assert one == [mask(rule).apply(it) for it in values]
        assert one != [mask(rule, key=KEY[::-1]).apply(it) for it in values]
        assert not {*one} & {*values}


class TestPermutation:
    """A keyed permutation."""

    @given(st.integers(1, 600))
    @settings(max_examples=40, deadline=None)
    def test_reaches_each_number_once(self, size: int) -> None:
        made = Permutation(KEY, size)
        assert sorted(made.of(it) for it in range(size)) == [*range(size)]

    @given(st.integers(2, 2**3000), st.data())
    @settings(max_examples=50, deadline=None)
    def test_stays_inside_and_keeps_two_apart(self, size: int, data: st.DataObject) -> None:
        one, two = (data.draw(st.integers(0, size - 1)) for _ in range(2))
        made = Permutation(KEY, size)
        assert 0 <= made.of(one) < size
        assert (made.of(one) == made.of(two)) == (one == two)

    def test_is_the_same_on_every_machine(self) -> None:
        # A change here makes other values of every data set there is.
        assert [Permutation(bytes(32), 1000).of(it) for it in range(4)] == GOLDEN_NUMBERS
        assert Digest(bytes(32)).letters("a value", 16) == GOLDEN_LETTERS


GOLDEN_NUMBERS = [14, 200, 334, 82]
GOLDEN_LETTERS = "4zjmwv2cxnwpnrma"

UNIQUE_TEXT = ["hash", "email", "scramble", "phone", "name", "address", "company", "keep"]


@pytest.mark.parametrize("rule", UNIQUE_TEXT)
@given(values=st.lists(TEXTS, min_size=2, max_size=20, unique=True))
@settings(max_examples=60, deadline=None)
def test_unique_texts_stay_unique_within_the_length(rule: str, values: list[str]) -> None:
    made = mask(rule, column("it", "character varying(60)", base="varchar", length=60), unique=True)
    found = [made.apply(it) for it in values]
    assert made.injective
    assert len({*found}) == len(values)
    assert all(it is not None and len(it) <= 60 for it in found)
    assert found == [made.apply(it) for it in values]


@given(st.lists(st.integers(-(2**31), 2**31 - 1), min_size=2, unique=True))
@settings(deadline=None)
def test_unique_numbers_stay_unique_and_fit(values: list[int]) -> None:
    made = mask("number", column("it", "integer"), unique=True)
    found = [int(str(made.apply(str(it)))) for it in values]
    assert len({*found}) == len(values)
    for before, after in zip(values, found, strict=True):
        assert (before < 0) == (after < 0)
        # What is below half stays there, so that a sequence has room.
        assert (-(2**30) <= before < 2**30) == (-(2**30) <= after < 2**30)
        assert -(2**31) <= after < 2**31


@given(st.integers(3, 12))
@settings(deadline=None, max_examples=10)
def test_numbers_stay_inside_what_a_check_says(value: int) -> None:
    bounds: dict[str, Any] = {
        "low": Limit("2", inclusive=False),
        "high": Limit("12", inclusive=True),
    }
    made = mask("number", column("it", "integer"), unique=True, **bounds)
    assert sorted(int(str(made.apply(str(it)))) for it in range(3, 13)) == [*range(3, 13)]
    assert 3 <= int(str(made.apply(str(value)))) <= 12


def test_numbers_of_more_digits_than_python_rounds_to_stay_apart() -> None:
    wide = column("it", "numeric(38,0)", base="numeric", precision=(38, 0))
    made = mask("number", wide, unique=True)
    first = 10**37
    found = {made.apply(str(it)) for it in range(first, first + 50)}
    assert len(found) == 50
    bucket = mask({"rule": "bucket", "size": 1000}, column("it", "numeric"))
    assert Decimal(str(bucket.apply(f"{10**40 + 1234}.56789"))) == 10**40 + 1000
    assert Decimal(str(bucket.apply("1e-30"))) == 0


def test_a_number_that_refers_to_a_wider_one_fits_both() -> None:
    made = mask("number", column("id", "bigint"), column("ref", "integer"), unique=True)
    assert all(int(str(made.apply(str(it)))) < 2**31 for it in range(200))
    assert int(str(made.apply(str(2**40)))) >= 2**31


@given(st.lists(TEXTS, min_size=2, max_size=10, unique=True))
@settings(deadline=None)
def test_what_is_scrambled_keeps_its_form(values: list[str]) -> None:
    made = scrambler(KEY)
    found = [str(made(it)) for it in values]
    assert len({*found}) == len(values)
    for before, after in zip(values, found, strict=True):
        assert len(before) == len(after)
        for one, two in zip(before, after, strict=True):
            assert (one in "0123456789") == (two in "0123456789")
            assert one.isalpha() == two.isalpha()
            if not one.isalnum():
                assert one.isalpha() or one == two or not one.isascii()


def test_a_phone_number_keeps_what_it_begins_with() -> None:
    made = mask("phone", unique=True)
    found = str(made.apply("010-1234-5678"))
    assert re.fullmatch(r"010-\d{4}-\d{4}", found)
    assert found != "010-1234-5678"
    assert "홍길동" not in str(made.apply("홍길동 010-1234-5678"))


def test_case_and_padding_that_mean_nothing_to_postgresql_mean_nothing() -> None:
    citext = column("it", "citext")
    assert mask("hash", citext).apply("Kim@X.kr") == mask("hash", citext).apply("kim@x.kr")
    char = column("it", "character(9)", base="bpchar", length=9)
    assert mask("scramble", char).apply("ab  ") == mask("scramble", char).apply("ab")
    assert mask("hash").apply("A") != mask("hash").apply("a")


def test_the_same_value_becomes_the_same_in_columns_of_another_length() -> None:
    one = mask("email", column("it", "varchar(60)", base="varchar", length=60), unique=True)
    assert mask("email").apply("kim@corp.kr") == one.apply("kim@corp.kr")
    assert str(one.apply("kim@corp.kr")).endswith("@example.com")


@pytest.mark.parametrize("days", [1, 30, 36500])
@given(value=st.dates(date(200, 1, 1), date(9800, 1, 1)), by=TEXTS)
@settings(deadline=None)
def test_a_shifted_day_is_another_within_the_days(days: int, value: date, by: str) -> None:
    rule = rules.Shift(rule="shift", days=days)
    moved = offset(rule, shift_key(KEY), by)
    assert 1 <= abs(moved) <= days
    assert shifted(value.isoformat(), moved) == (value + timedelta(moved)).isoformat()
    assert shifted(f"{value} 10:00:00.5+09", moved).endswith(" 10:00:00.5+09")


@pytest.mark.parametrize(
    ("type_", "low", "high"),
    [
        ("date", Limit("2024-02-01", inclusive=True), Limit("2024-02-29", inclusive=True)),
        ("date", Limit("2024-01-31", inclusive=False), Limit("2024-03-01", inclusive=False)),
        (
            "timestamp",
            Limit("2024-02-01 00:00:00", inclusive=True),
            Limit("2024-03-01", inclusive=False),
        ),
        (
            "timestamptz",
            Limit("2024-02-01 00:00:00+00", inclusive=True),
            Limit("2024-03-01 00:00:00+00", inclusive=False),
        ),
    ],
)
@pytest.mark.parametrize("by", [-90, -29, -1, 1, 29, 90])
def test_a_shifted_day_stays_where_a_check_wants_it(
    type_: str, low: Limit, high: Limit, by: int
) -> None:
    window = window_of(Bounds(low=low, high=high), type_)
    days = [f"2024-02-{it:02}" for it in range(1, 30)]
    found = [shifted(it, by, window) for it in days]
    assert sorted(found) == days
    assert not any(one == two for one, two in zip(days, found, strict=True))
    # One that is not checked any more is shifted as without.
    assert shifted("2023-06-01", by, window) == shifted("2023-06-01", by)


@pytest.mark.parametrize(
    ("type_", "low", "high"),
    [
        ("date", Limit("2024-02-01", inclusive=True), None),
        ("date", Limit("2024-02-01", inclusive=True), Limit("2024-02-01", inclusive=True)),
        ("date", Limit("-infinity", inclusive=True), Limit("2024-02-01", inclusive=True)),
        (
            "timestamp",
            Limit("2024-02-01 00:00:00", inclusive=True),
            Limit("2024-03-01 00:00:00", inclusive=True),
        ),
        (
            "timestamp",
            Limit("2024-02-01 10:00:00", inclusive=True),
            Limit("2024-03-01 00:00:00", inclusive=False),
        ),
    ],
)
def test_what_names_no_whole_days_is_left_to_postgresql(
    type_: str, low: Limit, high: Limit | None
) -> None:
    assert window_of(Bounds(low=low, high=high), type_) is None


def test_days_that_python_does_not_know_are_shifted() -> None:
    assert shifted("infinity", 3) == "infinity"
    assert shifted("0001-01-01", -1) == "0001-12-31 BC"
    assert shifted("0001-12-31 10:00:00 BC", 1) == "0001-01-01 10:00:00"
    assert shifted("0044-03-15 BC", 366) == "0043-03-16 BC"
    assert shifted("9999-12-31", 1) == "10000-01-01"
    with pytest.raises(ValueError, match="ISO"):
        shifted("31/12/1999", 1)


def test_distances_between_days_stay() -> None:
    made = mask({"rule": "shift", "days": 90}, column("it", "date"), unique=True)
    found = [date.fromisoformat(str(made.apply(it))) for it in ("2024-02-28", "2024-03-05")]
    assert (found[1] - found[0]).days == 6


@given(st.decimals(-(10**9), 10**9, places=2), st.sampled_from([1, 7, 1000]))
@settings(deadline=None)
def test_a_bucket_is_the_multiple_below(value: object, size: int) -> None:
    made = mask({"rule": "bucket", "size": size}, column("it", "numeric"))
    found = float(str(made.apply(str(value))))
    assert found <= float(str(value)) < found + size
    assert found % size == 0


def test_a_bucket_keeps_to_a_check() -> None:
    rule, kind = {"rule": "bucket", "size": 100}, column("it", "integer")
    assert mask(rule, kind, low=Limit("0", inclusive=False)).apply("5") == "100"
    assert mask(rule, kind, low=Limit("18", inclusive=True)).apply("20") == "18"
    assert mask(rule, column("it", "float8")).apply("NaN") == "NaN"


DOCUMENT = {
    "owner": {"name": "Kim", "phone": "010-1234-5678"},
    "tags": ["a", "b"],
    "list": [{"id": 7, "x": 1.5}],
    "n": 12345678901234567890.5,
    "on": True,
    "no": None,
}


class TestDocument:
    """JSON."""

    RULE: ClassVar[object] = {
        "rule": "json",
        "paths": {
            "$.owner.phone": {"rule": "phone"},
            "$.tags": "keep",
            "$.list[*].id": "number",
            '$["n"]': "keep",
        },
        "others": "redact",
    }

    def test_is_masked_value_by_value(self) -> None:
        text = json.dumps(DOCUMENT).replace("1.2345678901234567e+19", "12345678901234567890.50")
        found = str(mask(self.RULE, column("it", "jsonb")).apply(text))
        assert "12345678901234567890.50" in found
        read = json.loads(found)
        assert re.fullmatch(r"010-\d{4}-\d{4}", read["owner"].pop("phone"))
        assert isinstance(read["list"][0].pop("id"), int)
        assert read == {
            "owner": {"name": "[redacted]"},
            "tags": ["a", "b"],
            "list": [{"x": 0}],
            "n": read["n"],
            "on": False,
            "no": None,
        }

    def test_of_another_form_than_a_rule_is_for_leaves_nothing(self) -> None:
        rule = {"rule": "json", "paths": {"$.a": "number"}, "others": "keep"}
        made = mask(rule, column("it", "json"))
        assert json.loads(str(made.apply('{"a": "Kim", "b": "Lee"}'))) == {
            "a": "[redacted]",
            "b": "Lee",
        }

    def test_may_have_half_a_pair_of_utf_16(self) -> None:
        rule = {"rule": "json", "paths": {"$.a": "keep", "$.b": "hash"}}
        text = str(
            mask(rule, column("it", "json")).apply(r'{"a": "\ud83d", "b": "\ud83d", "김": 1}')
        )
        assert text.encode()
        assert json.loads(text) == {"a": "\ud83d", "b": "[redacted]", "김": 0}

    def test_has_paths_that_can_be_read(self) -> None:
        for path in ("owner", "$.a[", "$..a", "$[x]"):
            assert "path" in unfit({"rule": "json", "paths": {path: "keep"}}, column("it", "jsonb"))

    @given(
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
            lambda it: st.lists(it) | st.dictionaries(st.text(), it),
        )
    )
    @settings(deadline=None)
    def test_that_is_kept_says_the_same(self, document: object) -> None:
        made = mask({"rule": "json", "others": "keep"}, column("it", "jsonb"))
        assert json.loads(str(made.apply(json.dumps(document)))) == document

    @given(st.lists(TEXTS.filter(lambda it: len(it) > 12), min_size=1))
    @settings(deadline=None)
    def test_that_is_redacted_has_no_text_left(self, texts: list[str]) -> None:
        found = mask("redact", column("it", "jsonb")).apply(json.dumps({"a": texts}))
        assert not any(json.dumps(it) in str(found) for it in texts)


class TestArray:
    """An array's text."""

    @pytest.mark.parametrize(
        ("before", "after"),
        [
            ("{}", "{}"),
            ("{a,NULL,b}", "{A,NULL,B}"),
            ('{"NULL","","x y"}', '{"NULL","","X Y"}'),
            ('{{a,b},{c,"d,e"}}', '{{A,B},{C,"D,E"}}'),
            ('[0:1]={a,"\\"q\\\\"}', '[0:1]={A,"\\"Q\\\\"}'),
        ],
    )
    def test_is_masked_element_by_element(self, before: str, after: str) -> None:
        assert each_element(before, str.upper) == after

    @given(st.lists(TEXTS.map(lambda it: f'{it}\\"{{}},')))
    def test_keeps_whatever_is_in_it(self, texts: list[str]) -> None:
        quoted = (it.replace("\\", "\\\\").replace('"', '\\"') for it in texts)
        seen = list[str]()
        each_element("{" + ",".join(f'"{it}"' for it in quoted) + "}", seen.append)
        assert seen == texts


VARCHAR8 = column("it", "character varying(8)", base="varchar", length=8)


@pytest.mark.parametrize(
    ("rule", "of", "unique", "why"),
    [
        ("name", column("it", "integer"), False, "it is integer, and the rule is for text"),
        ("null", column("it", nullable=False), False, "NOT NULL"),
        ("hash", VARCHAR8, True, "room for 8 characters of a digest in hash"),
        ("email", VARCHAR8, False, "no room for an address"),
        ("name", VARCHAR8, True, "too short|room for 6 characters"),
        ("redact", column("it"), True, "may make one of two"),
        ({"rule": "bucket", "size": 5}, column("it", "integer"), True, "may make one of two"),
        ({"rule": "shift", "days": 5, "by": "x"}, column("it", "date"), True, "may make one"),
        ({"rule": "fixed", "value": "a"}, column("it"), True, "fixed makes one of all"),
        ({"rule": "fixed", "value": "x"}, column("it", "integer"), False, "it is no integer"),
        ({"rule": "fixed", "value": "40000"}, column("it", "smallint"), False, "too great"),
        ({"rule": "fixed", "value": "x" * 9}, VARCHAR8, False, "9 characters, and 8 is the most"),
        ({"rule": "hash", "length": 9}, VARCHAR8, False, "takes 8 characters, and not 9"),
        ("number", column("it", "numeric", precision=(5, 2)), False, "for whole numbers"),
        ("number", column("it"), False, "for whole numbers"),
        ("uuid", VARCHAR8, False, "takes 8 characters, and not 36"),
        ("hash", column("it", "interval"), False, "the rule is for text"),
        ("bucket_is_no_alone", column("it"), False, "no rule"),
    ],
)
def test_what_cannot_fit_is_refused(rule: object, of: Column, unique: bool, why: str) -> None:
    if rule == "bucket_is_no_alone":
        with pytest.raises(ValueError, match=why):
            mask(rule, of)
        return
    assert re.search(why, unfit(rule, of, unique=unique))


def test_what_a_check_does_not_take_is_refused() -> None:
    assert "only open, paid" in unfit("hash", values=("open", "paid"))
    assert mask({"rule": "fixed", "value": "paid"}, values=("open", "paid")).apply("x") == "paid"
    assert "none of open" in unfit({"rule": "fixed", "value": "x"}, values=("open",))
    assert "match ^[0-9]" in unfit("hash", patterns=(("^[0-9]+$", False),))
    assert mask("email", patterns=(("^[^@]+@[^@]+$", False),)).apply("a")
    enum = column("mood", "mood", enum=("happy", "sad"))
    assert "only happy, sad" in unfit("hash", enum, values=("happy", "sad"))
    assert "is the least" in unfit("redact", shortest=30)


@given(
    st.text(CHARACTERS, min_size=9, max_size=60).filter(
        lambda it: it.strip() and it not in "[redacted]"
    )
)
@settings(deadline=None)
def test_nothing_of_a_text_is_left(value: str) -> None:
    for rule in ("hash", "email", "name", "redact", "uuid"):
        assert value not in str(mask(rule).apply(value))
