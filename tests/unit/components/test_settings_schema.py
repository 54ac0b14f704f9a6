"""components.settings_schema: an editor refuses of a stack's file what the program refuses."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft7Validator, ValidationError, validators

from aegis_deploy.model.gate_settings import FIELDS
from aegis_deploy.model.setting_forms import OTHERWISE
from components.postgres_settings import FIELDS as POSTGRES_FIELDS
from components.sampling_settings import FIELDS as SAMPLING_FIELDS
from components.setting_errors import SettingsError
from components.setting_keys import (
    API_TOKEN,
    DATABASE,
    ENVIRONMENTS,
    GATE,
    KEYS,
    POSTGRES,
    PROVIDER_KEYS,
    SAMPLING,
    Key,
)
from components.settings_schema import FILE, schema
from tests.rendering import ROOT, passed_on, render

SCHEMA = schema()
PLAIN = [key for key in KEYS if not key.secret and key not in (GATE, POSTGRES, SAMPLING)]
NEEDED = {"image": f"registry.example.com/data@sha256:{'a' * 64}", "to": "s3://bucket/prefix"}
GROUPS = {
    POSTGRES.full_name: (POSTGRES_FIELDS, {}),
    SAMPLING.full_name: (SAMPLING_FIELDS, NEEDED),
}
"""The members of each group, and what there is no group without."""
SECRET = {"secure": "v1:abcdefgh:0123"}


def _pattern(_: Any, pattern: str, value: Any, __: Any) -> Any:
    """Match as editors do: their `$` is the end of the text, not also before a last newline."""
    if isinstance(value, str) and re.search(pattern.replace("$", r"\Z"), value) is None:
        yield ValidationError(f"{value!r} does not match {pattern}")


Validator = validators.extend(Draft7Validator, {"pattern": _pattern})  # type: ignore[no-untyped-call]


def accepted(config: object, **others: object) -> bool:
    """Whether an editor finds nothing wrong with a stack's file."""
    return bool(Validator(SCHEMA).is_valid({"config": config, **others}))


def read(key: Key[Any], value: object) -> bool:
    """Whether the program reads a value that stands in a stack's file."""
    try:
        key.parse(passed_on(value))
    except ValueError:
        return False
    return True


def patterns_of(value: Any) -> set[str]:
    """Every pattern in a schema."""
    if isinstance(value, Mapping):
        own = {value["pattern"]} if isinstance(value.get("pattern"), str) else set()
        return own.union(*(patterns_of(it) for it in value.values()))
    return set().union(*map(patterns_of, value)) if isinstance(value, list) else set()


# Of a power of ten the CLI writes an exponent, and the largest whole numbers lose digits.
NUMBERS = st.one_of(
    st.integers(-1100, 4000),
    st.integers(-(10**9), 10**9),
    st.floats(-4000, 4000).filter(lambda it: it == 0 or abs(it) > 1e-6),
    st.sampled_from([0, 1, 0.5, 0.07, 0.1, 0.001]),
)
WRITTEN = st.one_of(
    NUMBERS.map(passed_on), NUMBERS.map(lambda it: f"0{it}"), NUMBERS.map(lambda it: f"{it}m")
)
TEXTS = st.one_of(
    st.text(),
    WRITTEN,
    st.text(st.sampled_from("0123456789./:-_amMGi \n"), max_size=8),
    st.sampled_from(["minimal", "mock", "debug", "true", "linux/amd64", "1/3", "128Mi", "a.b:5"]),
)
ELSE = st.one_of(st.booleans(), st.none(), st.lists(NUMBERS, max_size=1), st.just({"a": "b"}))


def left_to_the_program(value: object) -> bool:
    """Whether a value has a form whose size, or places, no schema can tell."""
    if isinstance(value, str):
        return re.fullmatch(rf"{OTHERWISE}|\s*[0-9_]+(/[0-9_]+){{1,2}}\s*", value) is not None
    return isinstance(value, float) and re.search(r"\.\d{4}", passed_on(value)) is not None


def test_the_committed_file_is_what_the_definition_gives() -> None:
    assert json.loads(FILE.read_text(encoding="utf-8")) == SCHEMA, "make schema"


def test_it_is_a_schema() -> None:
    Draft7Validator.check_schema(SCHEMA)
    # Editors have other regular expressions: no names, no \Z, nothing that looks behind.
    assert not [it for it in patterns_of(SCHEMA) if re.search(r"\(\?[P<#]|\\[AZ]", it)]


@pytest.mark.parametrize("stack", ENVIRONMENTS)
def test_a_committed_stack_is_right_and_says_where_its_schema_is(stack: str) -> None:
    text = (ROOT / f"Pulumi.{stack}.yaml").read_text(encoding="utf-8")
    assert list(Validator(SCHEMA).iter_errors(yaml.safe_load(text))) == []
    first = text.splitlines()[0]
    assert first == f"# yaml-language-server: $schema={FILE.relative_to(ROOT)}"


@pytest.mark.parametrize("key", PLAIN, ids=lambda key: key.name)
class TestAValue:
    """A value by itself."""

    @settings(max_examples=50, deadline=None)
    @given(data=st.data())
    def test_is_refused_where_the_program_refuses_it(self, key: Key[Any], data: Any) -> None:
        own = SCHEMA["properties"]["config"]["properties"][key.full_name]
        fitting = [st.from_regex(it) for it in sorted(patterns_of(own))]
        value = data.draw(st.one_of(TEXTS, NUMBERS, ELSE, *fitting))
        is_text = all(it.get("type", "string") == "string" for it in own["anyOf"][:-1])
        if is_text and isinstance(value, int | float):
            # What Pulumi makes of a bare 1.10 is 1.1: an editor is to say that it wants quotes.
            assert not accepted({key.full_name: value})
        elif not left_to_the_program(value):
            assert accepted({key.full_name: value}) == read(key, value)
        elif read(key, value):
            assert accepted({key.full_name: value})

    @pytest.mark.parametrize("stack", ENVIRONMENTS)
    def test_is_accepted_as_the_errors_give_it(self, key: Key[Any], stack: str) -> None:
        assert accepted({key.full_name: key.example_for(stack)})
        if key.default is not None:
            assert accepted({key.full_name: key.default})

    def test_may_be_a_secret(self, key: Key[Any]) -> None:
        assert accepted({key.full_name: SECRET})
        assert not accepted({key.full_name: {**SECRET, "more": "x"}})

    def test_is_completed_with_what_it_is(self, key: Key[Any]) -> None:
        described = SCHEMA["properties"]["config"]["properties"][key.full_name]
        assert key.what in described["description"]
        assert key.allowed in described["description"]


@pytest.mark.parametrize(
    ("key", "name"), [(key, it) for key, (of, _) in GROUPS.items() for it in of]
)
class TestAMember:
    """A member of ``aegis:postgres`` or ``aegis:sampling`` by itself."""

    @settings(max_examples=50, deadline=None)
    @given(data=st.data())
    def test_is_refused_where_the_program_refuses_it(self, key: str, name: str, data: Any) -> None:
        fields, needed = GROUPS[key]
        field = fields[name]
        fitting = [st.from_regex(it) for it in sorted(patterns_of(dict(field.form.schema)))]
        value = data.draw(st.one_of(TEXTS, st.booleans(), *fitting))
        try:
            field.form.parse(value)
        except ValueError:
            right = False
        else:
            right = True
        said = accepted({key: {**needed, name: value}})
        # How much memory is enough a schema cannot tell.
        assert said == right or (name == "memory" and said)

    def test_may_be_a_secret(self, key: str, name: str) -> None:
        assert accepted({key: {**GROUPS[key][1], name: SECRET}})

    def test_is_described_with_its_default(self, key: str, name: str) -> None:
        fields, needed = GROUPS[key]
        group = SCHEMA["properties"]["config"]["properties"][key]["anyOf"][0]
        described = group["properties"][name]
        assert fields[name].what in described["description"]
        if "default" in described:
            assert accepted({key: {**needed, name: described["default"]}})
            fields[name].form.parse(described["default"])

    def test_that_is_needed_is_asked_for(self, key: str, name: str) -> None:
        needed = GROUPS[key][1]
        without = {it: value for it, value in needed.items() if it != name}
        assert accepted({key: without}) == (name not in needed)


MEMBERS = st.one_of(
    NUMBERS, TEXTS, ELSE, st.sampled_from([True, "true", "false", "/ready", "http://p", "up"])
)
QUERIES = st.fixed_dictionaries(
    {"url": st.one_of(st.just("http://prometheus:9090"), MEMBERS), "query": MEMBERS},
    optional={"most": MEMBERS, "least": MEMBERS, "max": MEMBERS},
)


@settings(max_examples=400, deadline=None)
@given(
    st.dictionaries(
        st.sampled_from([*FIELDS, "canari"]), st.one_of(MEMBERS, QUERIES), min_size=1, max_size=2
    )
)
def test_a_gate_is_refused_where_the_program_refuses_it(gate: dict[str, Any]) -> None:
    prometheus = gate.get("prometheus")
    given = [*gate.values(), *(prometheus.values() if isinstance(prometheus, dict) else ())]
    if not any(map(left_to_the_program, given)):
        assert accepted({GATE.full_name: gate}) == read(GATE, gate)
    elif read(GATE, gate):
        assert accepted({GATE.full_name: gate})


@pytest.mark.parametrize(
    "gate", [{}, "{}", GATE.example_for("staging"), {"prometheus": {"url": SECRET, "query": "up"}}]
)
def test_a_gate_may_be_its_json_and_hold_a_secret(gate: Any) -> None:
    if isinstance(gate, dict) and gate:
        gate["prometheus"]["least"] = "0.5"
    assert accepted({GATE.full_name: gate})


@pytest.mark.parametrize("key", [API_TOKEN, DATABASE], ids=lambda key: key.name)
def test_what_is_never_shown_is_a_secret(key: Key[Any]) -> None:
    assert accepted({key.full_name: SECRET})
    assert not accepted({key.full_name: key.example_for("staging")})


class TestNames:
    """A name that nobody reads is refused, as the program does it."""

    @pytest.mark.parametrize("name", ["aegis:replicas", "replicas", "kubernetes:namespace"])
    def test_that_are_no_setting_are_refused(self, name: str) -> None:
        full = name if ":" in name else f"aegis:{name}"
        with pytest.raises(SettingsError):
            render("staging", **{full: "2"})
        assert not accepted({name: "2"})

    @pytest.mark.parametrize("name", ["docker:host", *PROVIDER_KEYS])
    def test_that_are_read_by_others_are_accepted(self, name: str) -> None:
        assert render("staging", **{name: "x"}).resources
        assert accepted({name: "x"})

    @pytest.mark.parametrize("name", ["aegis:logLevel", "logLevel", "aegis:config:logLevel"])
    def test_may_be_spelt_as_pulumi_reads_them(self, name: str) -> None:
        assert accepted({name: "info"})
        assert not accepted({name: "loud"})

    def test_beside_the_settings_are_those_of_pulumi(self) -> None:
        assert accepted({}, encryptionsalt="v1:x", environment=["shared"])
        assert not accepted({}, confg={})
