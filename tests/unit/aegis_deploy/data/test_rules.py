"""The file of rules is read strictly, and editors know what it may say."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from aegis_deploy.common.errors import AegisError, ExitCode
from aegis_deploy.data import rules, rules_file
from aegis_deploy.data.catalog import TableName

WHOLE = """
sample:
  percent: 10
  tables: {countries: all, payments: {percent: 1}, logs: none, tags: {rows: 50}}
follow:
  - {table: order_items, with: orders, by: [no]}
references:
  - {table: comments, columns: [post_no], to: posts, to_columns: [no]}
  - {table: notes, columns: [subject_id], to: shop.orders, to_columns: [id], where: {kind: order}}
types:
  email_address: {rule: email}
tables:
  customers:
    id: keep
    no: {rule: email, type: email_address}
    name: {rule: name, locale: ko_KR, coincide: true}
    birthday: {rule: shift, days: 90, by: id}
    salary: {rule: bucket, size: 1000}
    document: {rule: json, paths: {"$.owner.phone": {rule: phone}, "$.tags": keep}, others: redact}
    note: {rule: template, text: "customer {id}"}
    vip: {rule: fixed, value: false}
    secret: "null"
    reference: hash
mock:
  locale: ko_KR
  tables:
    orders:
      times: 3
      columns:
        customer_id: {zipf: 1.1, nulls: 0.2}
        placed: {between: [2024-01-01, 2025-01-01]}
        status: {choice: {open: 8, closed: 1.5}}
"""


def refused(text: str) -> list[str]:
    with pytest.raises(AegisError) as caught:
        rules_file.read(text)
    assert caught.value.code is ExitCode.REFUSED
    return caught.value.why.splitlines()


def test_all_of_it_is_read() -> None:
    found = rules_file.read(WHOLE)
    assert found.sample.percent == 10
    assert found.sample.tables["countries"] == "all"
    assert found.tables["customers"]["no"] == rules.Email(rule="email", type="email_address")
    assert found.tables["customers"]["vip"] == rules.Fixed(rule="fixed", value="false")
    assert found.mock.tables["orders"].columns["placed"].between == ("2024-01-01", "2025-01-01")
    one, two = found.declared()
    assert (one.columns, one.to_columns, one.declared) == (("post_no",), ("no",), True)
    assert (two.to, two.only_where) == (TableName("shop", "orders"), ("kind", "order"))


def test_an_empty_file_has_no_rules() -> None:
    assert rules_file.read("") == rules.Rules()


def test_each_error_has_its_line_its_key_its_value_and_what_is_allowed() -> None:
    found = refused(
        "colour: red\n"
        "sample: {percent: 110}\n"
        "tables:\n"
        "  customers:\n"
        "    id: keeep\n"
        "    email: {rule: email, domian: x}\n"
        "    name: {rule: name, locale: kr}\n"
        "    born: shift\n"
        "    salary: {rule: bucket, size: ten}\n"
    )
    assert sorted(it.split(": ", 2)[0:2] for it in found) == [
        ["line 1", "colour"],
        ["line 2", "sample.percent"],
        ["line 5", "tables.customers.id"],
        ["line 6", "tables.customers.email.domian"],
        ["line 7", "tables.customers.name.locale"],
        ["line 8", "tables.customers.born.days"],
        ["line 9", "tables.customers.salary.size"],
    ]
    told = {it.split(": ")[1]: it for it in found}
    assert '"keeep" is no rule; there are: address, bucket' in told["tables.customers.id"]
    assert "coincide, domain, rule, type" in told["tables.customers.email.domian"]
    assert "'ko_KR'" in told["tables.customers.name.locale"]
    assert 'not "kr"' in told["tables.customers.name.locale"]
    assert "there are: follow, mock, references" in told["colour"]


def test_a_null_that_yaml_reads_is_no_rule_and_the_rule_is_named() -> None:
    for text in ("null", "~", ""):
        [line] = refused(f"tables: {{a: {{b: {text}}}}}" if text else "tables:\n  a:\n    b:\n")
        assert 'the rule that gives NULL is "null", in quotes' in line


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("tables: {a: {b: keep, b: hash}}", "b stands in line 1 already"),
        ("tables: [a", "expected ',' or ']'"),
        ("- a", "it has to be a mapping"),
        ("tables: {a: {? [x] : keep}}", "a key has to be a text"),
        ("sample: {percent: 1, rows: 2}", "give one of percent and rows"),
        ("sample: {tables: {a: all, public.a: none}}", "a and public.a are one table"),
        ("mock: {tables: {public.a: {rows: 1}, a: {}}}", "public.a and a are one table"),
        ("sample: {tables: {a: {}}}", "give one of percent and rows"),
        ("mock: {tables: {a: {rows: 1, times: 2}}}", "give one of rows and times"),
        ("mock: {tables: {a: {columns: {b: {zipf: 1, fixed: x}}}}}", "give one of zipf and fixed"),
        ("mock: {tables: {a: {columns: {b: {between: [1]}}}}}", "between.1: it is missing"),
        ("references: [{table: a, columns: [x, y], to: b, to_columns: [z]}]", "as many"),
        ("tables: {a: {b: !!python/name:os.system x}}", "could not determine a constructor"),
    ],
)
def test_what_contradicts_itself_is_refused(text: str, why: str) -> None:
    assert why in "\n".join(refused(text))


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(AegisError, match="the rules cannot be read") as caught:
        rules_file.load(tmp_path / "none.yaml")
    assert caught.value.why == "No such file or directory"
    (tmp_path / "odd.yaml").write_bytes(b"\xff")
    with pytest.raises(AegisError, match="cannot be read"):
        rules_file.load(tmp_path / "odd.yaml")


class TestSchema:
    """The JSON schema beside the module."""

    def test_is_that_of_the_models(self) -> None:
        assert json.loads(rules.FILE.read_text()) == rules.schema(), "run: make schema"

    def test_accepts_what_is_read(self) -> None:
        jsonschema.validate(yaml.load(WHOLE, rules_file._Loader), rules.schema())  # noqa: S506

    @pytest.mark.parametrize(
        "text",
        [
            "tables: {a: {b: keeep}}",
            "tables: {a: {b: {rule: email, domian: x}}}",
            "tables: {a: {b: null}}",
            "tables: {a: {b: shift}}",
            "colour: red",
        ],
    )
    def test_refuses_what_is_refused(self, text: str) -> None:
        refused(text)
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(yaml.load(text, rules_file._Loader), rules.schema())  # noqa: S506


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text() | st.sampled_from([*rules.RULES]),
        lambda it: (
            st.lists(it, max_size=3)
            | st.dictionaries(
                st.sampled_from(["tables", "rule", "a", "sample", "paths", "mock", "types"])
                | st.text(max_size=5),
                it,
                max_size=4,
            )
        ),
    )
)
def test_a_file_of_anything_is_read_or_refused_in_words(document: object) -> None:
    try:
        rules_file.read(yaml.safe_dump(document, allow_unicode=True))
    except AegisError as error:
        assert error.why
