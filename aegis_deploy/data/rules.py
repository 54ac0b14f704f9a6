"""The reviewed file that says what is taken, what becomes of each column, and what is made up.

One YAML file; :mod:`aegis_deploy.data.rules_file` reads it. ``rules.schema.json`` beside this one
is the same for editors; ``make schema`` writes it anew. Nothing here knows a database:
:mod:`aegis_deploy.data.masking` holds the rules against one.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeAlias, TypeVar, get_args

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    TypeAdapter,
    WithJsonSchema,
    model_validator,
)

from aegis_deploy.data.catalog import Reference, TableName, table_name

if TYPE_CHECKING:
    from typing import Self

T = TypeVar("T")
FILE = Path(__file__).with_name("rules.schema.json")
_SHOWN = 60
_BOTH = 2


def shown(value: object) -> str:
    """Return a value as a message has it: not all of a long one.

    Args:
        value: The value.
    """
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."


class _Strict(BaseModel):
    """A mapping of the file: no key but its own, no value of another kind."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


def _text(value: object) -> object:
    """Take a number or a truth as the text that PostgreSQL has for it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, int) else value


def _each_once(tables: dict[str, T]) -> dict[str, T]:
    """Refuse a table that is named with and without its schema."""
    seen: dict[TableName, str] = {}
    for text in tables:
        other = seen.setdefault(table_name(text), text)
        if other != text:
            raise ValueError(f"{other} and {text} are one table; say it once")
    return tables


def _rows_of_all(value: object) -> object:
    return tuple(value) if isinstance(value, list) else value


_Value: TypeAlias = Annotated[
    str, BeforeValidator(_text), WithJsonSchema({"type": ["string", "integer", "boolean"]})
]
_Names: TypeAlias = Annotated[tuple[str, ...], Field(min_length=1), BeforeValidator(_rows_of_all)]
_Percent: TypeAlias = Annotated[float, Field(gt=0, le=100, strict=False)]
_Rows: TypeAlias = Annotated[int, Field(ge=0)]
_Locale: TypeAlias = Literal[
    "de_DE", "en_GB", "en_US", "es_ES", "fr_FR", "ja_JP", "ko_KR", "zh_CN"
]  # fmt: skip
_Faked: TypeAlias = Literal[
    "name", "first_name", "last_name", "company", "address", "city", "postcode", "job"
]


# -- what becomes of a column -----------------------------------------------------------------


class Rule(_Strict):
    """What becomes of a column's values.

    Attributes:
        coincide: Whether a value may be found in production as well; None: as the rule's kind has
            it.
        type: The column's type that the rule was written for; `aegis data check` tells when it is
            another one now.
    """

    rule: str
    coincide: bool | None = None
    type: str | None = None


class Keep(Rule):
    """As it is."""

    rule: Literal["keep"]


class Null(Rule):
    """NULL instead of every value."""

    rule: Literal["null"]


class Fixed(Rule):
    """One value instead of every other.

    Attributes:
        value: It, as PostgreSQL writes it.
    """

    rule: Literal["fixed"]
    value: _Value


class Hash(Rule):
    """A keyed digest of the value, in lower-case letters and digits.

    Attributes:
        length: Of how many characters; None: 26, or as many as the column takes.
    """

    rule: Literal["hash"]
    length: Annotated[int, Field(ge=1, le=48)] | None = None


class Uuid(Rule):
    """A UUID that follows from the value and the key."""

    rule: Literal["uuid"]


class Number(Rule):
    """Another whole number: a keyed permutation, so that no two become one."""

    rule: Literal["number"]


class Fake(Rule):
    """A made-up value of a kind.

    Attributes:
        locale: Whose.
        unique: Whether two different values always become two, as in a unique column: with a
            suffix. A column without a key that has the values of one with a key needs it.
    """

    rule: _Faked
    locale: _Locale = "en_US"
    unique: bool = False


class Email(Rule):
    """An address at a domain that nobody has.

    Attributes:
        domain: The domain.
    """

    rule: Literal["email"]
    domain: Annotated[str, Field(pattern=r"^[a-z0-9.-]+$")] = "example.com"


class Phone(Rule):
    """A number of the same form: digits for digits, the first three of a long one stay."""

    rule: Literal["phone"]


class Scramble(Rule):
    """A value of the same form: letters for letters, digits for digits, no two become one."""

    rule: Literal["scramble"]


class Redact(Rule):
    """The same words instead of any text.

    Attributes:
        text: They.
    """

    rule: Literal["redact"]
    text: str = "[redacted]"


class Shift(Rule):
    """A date or a moment, some days earlier or later.

    Attributes:
        days: By how many days at most.
        by: The column of the same row that decides by how many; None: the key alone does, so that
            all distances stay.
    """

    rule: Literal["shift"]
    days: Annotated[int, Field(ge=1, le=36500)]
    by: str | None = None


class Bucket(Rule):
    """A number, rounded down.

    Attributes:
        size: To a multiple of which.
    """

    rule: Literal["bucket"]
    size: Annotated[int, Field(ge=1)]


class Template(Rule):
    """A text made of the row's other columns, masked.

    Attributes:
        text: It, with `{column}` for a column.
    """

    rule: Literal["template"]
    text: str


_Handler: TypeAlias = Callable[[object], dict[str, Any]]


class _NameAlone:
    """Lets editors know that a rule may be its name alone."""

    @staticmethod
    def __get_pydantic_json_schema__(core: object, handler: _Handler) -> dict[str, Any]:
        alone = sorted({*_ALONE, *names_of(Fake)})
        return {"anyOf": [{"enum": alone}, handler(core)]}


def _named(value: object) -> object:
    """Take a rule's name alone as the rule with nothing else."""
    if value is None:
        raise ValueError('nothing is no rule; the rule that gives NULL is "null", in quotes')
    if isinstance(value, str):
        value = {"rule": value}
    if not isinstance(value, dict):
        return value
    name = value.get("rule")
    if not isinstance(name, str) or name not in RULES:
        raise ValueError(f"{shown(name)} is no rule; there are: {', '.join(sorted(RULES))}")
    return value


AnyValueRule: TypeAlias = Annotated[
    Keep | Null | Fixed | Hash | Uuid | Number | Fake | Email | Phone | Scramble | Redact | Shift
    | Bucket,
    Field(discriminator="rule"),
    BeforeValidator(_named),
    _NameAlone,
]  # fmt: skip
"""What becomes of one value."""


class Json(Rule):
    """A document, value by value.

    Attributes:
        paths: What becomes of the values at a path and below it: `$.owner.phone`, `$.list[*].id`.
        others: What becomes of all other values.
    """

    rule: Literal["json"]
    paths: dict[str, AnyValueRule] = Field(default_factory=dict)
    others: AnyValueRule = Redact(rule="redact")


AnyRule: TypeAlias = Annotated[
    Keep | Null | Fixed | Hash | Uuid | Number | Fake | Email | Phone | Scramble | Redact | Shift
    | Bucket | Template | Json,
    Field(discriminator="rule"),
    BeforeValidator(_named),
    _NameAlone,
]  # fmt: skip
"""What becomes of a column."""


KEEP = Keep(rule="keep")


def one(value: object) -> Rule:
    """Read one rule.

    Args:
        value: It, as it stands in the file.

    Raises:
        ValidationError: It is none.
    """
    read: Rule = TypeAdapter(AnyRule).validate_python(value)
    return read


def names_of(kind: type[Rule]) -> tuple[str, ...]:
    """Return the names that a kind of rule has in the file."""
    return get_args(kind.model_fields["rule"].annotation)


RULES: dict[str, type[Rule]] = {
    name: kind
    for kind in (
        Keep, Null, Fixed, Hash, Uuid, Number, Fake, Email, Phone, Scramble, Redact, Shift, Bucket,
        Template, Json,
    )
    for name in names_of(kind)
}  # fmt: skip
"""The kinds of rules by their names."""
_ALONE = ("keep", "null", "hash", "uuid", "number", "email", "phone", "scramble", "redact", "json")


# -- what is taken ----------------------------------------------------------------------------


class Share(_Strict):
    """How much of a table is to be taken.

    Attributes:
        percent: So much of a hundred of its rows.
        rows: Or so many rows.
    """

    percent: _Percent | None = None
    rows: _Rows | None = None

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.percent is None) == (self.rows is None):
            raise ValueError("give one of percent and rows")
        return self


class Sample(_Strict):
    """How much is to be taken.

    Attributes:
        percent: So much of a hundred of each table's rows.
        rows: Or so many of each.
        tables: Tables of which it is something else: a share, `all`, or `none`, which is only
            what rows of others need.
    """

    percent: _Percent | None = None
    rows: _Rows | None = None
    tables: Annotated[dict[str, Share | Literal["all", "none"]], AfterValidator(_each_once)] = (
        Field(default_factory=dict)
    )

    @model_validator(mode="after")
    def _at_most_one(self) -> Self:
        if self.percent is not None and self.rows is not None:
            raise ValueError("give one of percent and rows")
        return self


class Follow(_Strict):
    """Rows that come with those that they refer to.

    Attributes:
        table: Whose rows.
        with_: With whose.
        by: By which columns they refer; None: by the only ones.
    """

    table: str
    with_: str = Field(alias="with")
    by: _Names | None = None


class DeclaredReference(_Strict):
    """A reference that no constraint says.

    Attributes:
        table: Whose rows refer.
        columns: By which columns.
        to: To whose rows.
        to_columns: To which columns.
        where: Of a polymorphic one: the column and the value with which a row refers so.
    """

    table: str
    columns: _Names
    to: str
    to_columns: _Names
    where: dict[str, _Value] = Field(default_factory=dict, max_length=1)

    @model_validator(mode="after")
    def _as_many(self) -> Self:
        if len(self.columns) != len(self.to_columns):
            raise ValueError("columns and to_columns have to be as many")
        return self

    def reference(self) -> Reference:
        """Return it as a catalog has it."""
        return Reference(
            name=f"{self.table}({', '.join(self.columns)})",
            table=table_name(self.table),
            columns=self.columns,
            to=table_name(self.to),
            to_columns=self.to_columns,
            declared=True,
            only_where=next(iter(self.where.items()), None),
        )


# -- what is made up --------------------------------------------------------------------------


class MockColumn(_Strict):
    """How a column's values are spread.

    Attributes:
        nulls: Which share of them is NULL, from 0 to 1.
        choice: Each value, and how often it comes beside the others.
        between: The least and the greatest, numbers or days.
        zipf: Of a reference: with which exponent a few rows are referred to often.
        fake: Made-up values of a kind.
        locale: Whose.
        pattern: A text with `#` for a digit and `?` for a letter.
        fixed: One value.
    """

    nulls: Annotated[float, Field(ge=0, le=1, strict=False)] | None = None
    choice: dict[str, Annotated[float, Field(gt=0, strict=False)]] | None = Field(
        default=None, min_length=1
    )
    between: Annotated[tuple[_Value, _Value], BeforeValidator(_rows_of_all)] | None = None
    zipf: Annotated[float, Field(gt=0, le=5, strict=False)] | None = None
    fake: Literal[_Faked, "email", "phone", "sentence"] | None = None
    locale: _Locale | None = None
    pattern: str | None = Field(default=None, min_length=1)
    fixed: _Value | None = None

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        sources = ("choice", "between", "zipf", "fake", "pattern", "fixed")
        given = [name for name in sources if getattr(self, name) is not None]
        if len(given) >= _BOTH:
            raise ValueError(f"give one of {' and '.join(given)}")
        return self


class MockTable(_Strict):
    """How many rows a table gets, and how they are.

    Attributes:
        rows: How many.
        times: Or how many times the size that was asked for.
        columns: How its columns' values are spread.
    """

    rows: _Rows | None = None
    times: Annotated[float, Field(gt=0, strict=False)] | None = None
    columns: dict[str, MockColumn] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _at_most_one(self) -> Self:
        if self.rows is not None and self.times is not None:
            raise ValueError("give one of rows and times")
        return self


class Mock(_Strict):
    """What is made up.

    Attributes:
        locale: Whose names and addresses.
        tables: How many rows a table gets, and how they are.
    """

    locale: _Locale = "en_US"
    tables: Annotated[dict[str, MockTable], AfterValidator(_each_once)] = Field(
        default_factory=dict
    )


class Rules(_Strict):
    """The file.

    Attributes:
        sample: How much is taken.
        follow: Rows that come with those that they refer to.
        references: References that no constraint says.
        types: Rules by domain or type, for columns without one of their own.
        tables: Rules by table and column.
        mock: What is made up.
    """

    sample: Sample = Sample()
    follow: Annotated[tuple[Follow, ...], BeforeValidator(_rows_of_all)] = ()
    references: Annotated[tuple[DeclaredReference, ...], BeforeValidator(_rows_of_all)] = ()
    types: dict[str, AnyRule] = Field(default_factory=dict)
    tables: dict[str, dict[str, AnyRule]] = Field(default_factory=dict)
    mock: Mock = Mock()

    def declared(self) -> tuple[Reference, ...]:
        """Return the references that no constraint says, for the catalog's reader."""
        return tuple(it.reference() for it in self.references)


def schema() -> dict[str, Any]:
    """Make the JSON schema of the file."""
    made = Rules.model_json_schema(by_alias=True)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **made}


if __name__ == "__main__":
    FILE.write_text(json.dumps(schema(), indent=2) + "\n", encoding="utf-8")
