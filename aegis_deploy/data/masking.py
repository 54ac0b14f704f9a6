"""Rules held against a database, and the masks of its tables that they say.

Columns that refer to each other, through chains and circles and to whatever key, are one set with
one rule and one mask: a value stays the same wherever it stands. All that is wrong is found before
a row is read.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import InvalidOperation
from string import Formatter
from typing import NamedTuple

from aegis_deploy.common.errors import AegisError
from aegis_deploy.data import rules
from aegis_deploy.data.catalog import Catalog, Column, Reference, Table, TableName
from aegis_deploy.data.suggestions import as_lines, suggestion
from aegis_deploy.data.values.arrays import each_element
from aegis_deploy.data.values.bounds import bounds_of, kind_of, narrower
from aegis_deploy.data.values.days import offset, shift_key, shifted, window_of
from aegis_deploy.data.values.keyed import key_id, require_key
from aegis_deploy.data.values.masks import Apply, Mask, Target, Unfit, compiled

__all__ = ["Findings", "Masking", "compile_masks", "judge", "key_id"]

_NO_KEY = bytes(32)
_MANY = 2
Values = Sequence[str | None]
MaskRow = Callable[[Values], Values]


class Place(NamedTuple):
    """A column of a table."""

    table: TableName
    column: str

    def __str__(self) -> str:
        return f"{self.table}.{self.column}"


@dataclass(frozen=True)
class Findings:
    """What rules and a schema have to say of each other.

    Attributes:
        missing: The rules that may be wanted, by table and column that has none.
        gone: What rules name and the database does not have.
        changed: Columns whose type is not the one that their rule was written for.
        problems: What contradicts, or cannot fit.
        kept_text: Columns whose text is kept as it is.
        unread: Checks and indexes that PostgreSQL alone can hold the masked rows to, when they are
            loaded.
    """

    missing: Mapping[TableName, Mapping[str, str]]
    gone: tuple[str, ...]
    changed: tuple[str, ...]
    problems: tuple[str, ...]
    kept_text: tuple[str, ...]
    unread: tuple[str, ...]

    @property
    def differ(self) -> bool:
        """Whether rules and schema do not go together any more."""
        return bool(self.missing or self.gone or self.changed)

    def as_json(self) -> dict[str, object]:
        """Return it for a program."""
        return {
            "missing": [
                {"table": str(table), "column": column, "suggestion": rule}
                for table, columns in self.missing.items()
                for column, rule in columns.items()
            ],
            "gone": list(self.gone),
            "changed": list(self.changed),
            "problems": list(self.problems),
            "keptText": list(self.kept_text),
            "uncheckedConstraints": list(self.unread),
        }

    def lines(self) -> list[str]:
        """Return what stands in the way of masking, for a person."""
        found = [*self.problems, *self.gone, *self.changed]
        if self.missing:
            count = sum(map(len, self.missing.values()))
            have = "1 column has" if count == 1 else f"{count} columns have"
            found.append(f"{have} no rule; with one that may be wanted for each:")
            found += as_lines(self.missing)
        return found


class Masking:
    """The masks of a database's tables."""

    def __init__(self, rows: Mapping[TableName, _Row]) -> None:
        self._rows = rows

    def of(self, table: TableName) -> MaskRow:
        """Return what masks a row of a table.

        It takes and gives the values of the table's columns in order, those that PostgreSQL works
        out left out, as PostgreSQL writes them.

        Args:
            table: The table.

        Raises:
            KeyError: There is none.
        """
        return self._rows[table].mask

    def masked(self, table: TableName) -> Mapping[str, bool]:
        """Return the columns that are masked, and whether values may be found in production, too.

        Args:
            table: The table.

        Raises:
            KeyError: There is none.
        """
        return self._rows[table].coincide


def compile_masks(catalog: Catalog, given: rules.Rules, key: bytes) -> Masking:
    """Make the masks that rules say.

    Args:
        catalog: The database, with the references that the rules declare.
        given: The rules.
        key: The key.

    Raises:
        AegisError: A column has no rule, a rule no column, rules contradict, or the key is short.
    """
    require_key(key)
    made = _Made(catalog, given, key)
    found = made.findings()
    if found.differ or found.problems:
        raise AegisError(
            what="the rules do not go with the database",
            why="\n".join(found.lines()),
            state="no row was read, nothing was changed",
            next="mend the rules, judging each suggestion; aegis data check holds them against "
            "the database again",
            details=found.as_json(),
        )
    return Masking(made.rows)


def judge(catalog: Catalog, given: rules.Rules) -> Findings:
    """Hold rules against a database, without a key and without its rows.

    Args:
        catalog: The database, with the references that the rules declare.
        given: The rules.
    """
    return _Made(catalog, given, _NO_KEY).findings()


@dataclass
class _Row:
    """How a table's rows are masked."""

    table: Table
    plain: list[tuple[int, Apply]] = field(default_factory=list)
    late: list[Callable[[Values, list[str | None]], None]] = field(default_factory=list)
    coincide: dict[str, bool] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.columns = [it.name for it in self.table.columns if not it.generated]

    def mask(self, values: Values) -> Values:
        """Mask a row."""
        found = list(values)
        at = -1
        try:
            for at, apply in self.plain:
                value = found[at]
                if value is not None:
                    found[at] = apply(value)
            at = -1
            for step in self.late:
                step(values, found)
        except (ValueError, InvalidOperation, RecursionError):
            # What it says may quote the value.
            where = self.columns[at] if at >= 0 else "a column"
            raise AegisError(
                what=f"a value of {self.table.name}, {where}, cannot be masked",
                why="it is not of the form that its rule is for",
                next="give the column another rule, such as redact, hash or null",
            ) from None
        return found


class _Set(NamedTuple):
    """Columns that refer to each other: the one that is referred to first."""

    places: tuple[Place, ...]
    target: Target


class _Made:
    """Makes the masks; what is wrong is gathered."""

    def __init__(self, catalog: Catalog, given: rules.Rules, key: bytes) -> None:
        self._catalog, self._given, self._key = catalog, given, key
        self._problems: list[str] = []
        self._changed: list[str] = []
        self._kept: list[str] = []
        self._unread: list[str] = []
        self._missing: dict[TableName, dict[str, str]] = {}
        self._own = self._own_rules()
        self._gone = list(_gone(catalog, given))
        self._rule_of: dict[Place, rules.Rule] = {}
        self._mask_of: dict[Place, Mask] = {}
        self._sets = [self._set(it) for it in _sets(catalog)]
        for it in self._sets:
            self._decide(it)
        self.rows = {name: _Row(table) for name, table in catalog.tables.items()}
        for row in self.rows.values():
            self._fill(row)
        ways = defaultdict[Place, list[Reference]](list)
        for reference in catalog.references:
            for column in reference.columns if reference.only_where is not None else ():
                ways[Place(reference.table, column)].append(reference)
        for place, references in ways.items():
            self._by_kind(place, references)

    def findings(self) -> Findings:
        """What was found."""
        missing: dict[TableName, dict[str, str]] = {}
        for name, table in self._catalog.tables.items():
            found = self._missing.get(name, {})
            missing |= {name: {it.name: found[it.name] for it in table.columns if it.name in found}}
        return Findings(
            missing={name: columns for name, columns in missing.items() if columns},
            gone=tuple(self._gone),
            changed=tuple(self._changed),
            problems=tuple(dict.fromkeys(self._problems)),
            kept_text=tuple(self._kept),
            unread=tuple(dict.fromkeys(self._unread)),
        )

    def _column(self, place: Place) -> Column:
        return self._catalog.tables[place.table].column(place.column)

    def _own_rules(self) -> dict[Place, rules.Rule]:
        """The rules of the columns that there are."""
        found = dict[Place, rules.Rule]()
        for text, columns in self._given.tables.items():
            table = self._catalog.table(text)
            for name, rule in columns.items() if table is not None else ():
                column = next((it for it in table.columns if it.name == name), None)  # type: ignore[union-attr]
                if table is None or column is None:
                    continue
                place = Place(table.name, name)
                if place in found:
                    self._problems.append(
                        f"{place} stands there twice: with and without its schema"
                    )
                if column.generated:
                    self._problems.append(
                        f"{place}: PostgreSQL works it out from other columns; it takes no rule"
                    )
                    continue
                if rule.type is not None and rule.type != column.type:
                    self._changed.append(
                        f"{place}: its rule was written for {rule.type}, and it is {column.type}"
                    )
                found[place] = rule
        return found

    def _typed(self, place: Place) -> rules.Rule | None:
        """The rule of a column's domain or type."""
        column = self._column(place)
        domain = column.domain or ""
        names = {column.type, column.base, domain, domain.removeprefix("public.")}
        found = {name: rule for name, rule in self._given.types.items() if name in names}
        if len({_said(it) for it in found.values()}) >= _MANY:
            self._problems.append(
                f"{place}: types has several rules for it ({', '.join(sorted(found))}); give it "
                "one of its own"
            )
        return next(iter(found.values()), None)

    def _set(self, places: tuple[Place, ...]) -> _Set:
        columns = tuple(map(self._column, places))
        bounds = None
        for place, column in zip(places, columns, strict=True):
            one = bounds_of(self._catalog.tables[place.table], column)
            bounds = one if bounds is None else narrower(bounds, one, kind_of(columns[0]))
        tables = self._catalog.tables
        unique = any(tables[it.table].is_unique(it.column) for it in places)
        cased = any(it.column in one.cased for it in places for one in tables[it.table].indexes)
        assert bounds is not None  # noqa: S101 - a set has a column
        nullable = all(it.nullable for it in columns)
        return _Set(places, Target(columns, bounds, unique, nullable, cased))

    def _decide(self, of: _Set) -> None:
        """Choose the rule of a set, and make its mask."""
        heads = of.places
        if any(it.generated for it in of.target.columns):
            if len(heads) == 1:
                return
            self._decide_generated(of)
            return
        own = {it: self._own[it] for it in heads if it in self._own}
        # A reference may be left out: NULL refers to nothing.
        left_out = {
            it for it, rule in own.items() if isinstance(rule, rules.Null) and it != heads[0]
        }
        said = {it: rule for it, rule in own.items() if it not in left_out}
        if len({_said(it) for it in said.values()}) >= _MANY:
            told = "; ".join(f"{it} has {rule.rule}" for it, rule in said.items())
            self._problems.append(f"{told}: they refer to each other, and have to have one rule")
            return
        rule = next(iter(said.values()), None) or next(filter(None, map(self._typed, heads)), None)
        if rule is None and not (left_out and len(left_out) == len(heads)):
            text = suggestion(of.target.columns[0], of.target)
            self._missing.setdefault(heads[0].table, {})[heads[0].column] = text
            return
        for place in left_out:
            self._leave_out(place, own[place])
        if rule is None:
            return
        self._make(of, rule, left_out)

    def _decide_generated(self, of: _Set) -> None:
        rule = next((self._own[it] for it in of.places if it in self._own), rules.KEEP)
        if not isinstance(rule, rules.Keep):
            self._problems.append(
                f"{of.places[0]}: PostgreSQL works out a column that it is held together with; "
                "it can only be kept"
            )
        for place in of.places:
            if not self._column(place).generated:
                self._rule_of[place] = rule

    def _leave_out(self, place: Place, rule: rules.Rule) -> None:
        column, table = self._column(place), self._catalog.tables[place.table]
        if not column.nullable:
            self._problems.append(f"{place} cannot be null: it is NOT NULL")
        for reference in self._catalog.references_of(place.table):
            if reference.full and place.column in reference.columns and len(reference.columns) > 1:
                self._problems.append(
                    f"{place} cannot be null: {reference.name} is MATCH FULL, all or none"
                )
        for key in table.keys:
            if place.column in key.columns and not key.nulls_distinct:
                self._problems.append(f"{place} cannot be null: {key.name} takes one NULL")
        self._rule_of[place] = rule
        self._mask_of[place] = Mask(lambda _: None, injective=True, coincide=True)

    def _make(self, of: _Set, rule: rules.Rule, left_out: set[Place]) -> None:
        head = of.places[0]
        if isinstance(rule, rules.Null):
            for place in of.places:
                self._leave_out(place, rule)
            return
        if isinstance(rule, rules.Template):
            self._check_template(of, rule)
        elif isinstance(rule, rules.Shift) and rule.by is not None and len(of.places) > 1:
            self._problems.append(f"{head} cannot be shift by {rule.by}: other columns refer to it")
            return
        else:
            try:
                mask = compiled(rule, of.target, self._key)
            except Unfit as unfit:
                self._problems.append(f"{head} cannot be {rule.rule}: {unfit}")
                return
            self._mask_of |= {it: mask for it in of.places if it not in left_out}
        self._rule_of |= {it: rule for it in of.places if it not in left_out}
        if isinstance(rule, rules.Keep):
            if of.target.kind in {"text", "json"} and of.target.bounds.values is None:
                self._kept.append(str(head))
            return
        bounds = of.target.bounds
        self._unread += [f"{head}: {it}" for it in bounds.unread]
        windowed = window_of(bounds, of.target.columns[0].base) is not None
        if isinstance(rule, rules.Shift) and (bounds.low or bounds.high) and not windowed:
            self._unread.append(f"{head}: the least or the greatest day of a CHECK")
        if isinstance(rule, rules.Scramble | rules.Phone) and bounds.patterns:
            self._unread.append(f"{head}: the regular expression of a CHECK")

    def _check_template(self, of: _Set, rule: rules.Template) -> None:
        head, target = of.places[0], of.target
        table = self._catalog.tables[head.table]
        if len(of.places) > 1 or target.kind != "text" or any(it.array for it in target.columns):
            self._problems.append(
                f"{head} cannot be template: it is for a text that nothing refers to"
            )
            return
        if target.unique:
            self._problems.append(f"{head} cannot be template: it is in a key")
        try:
            used = _used(rule.text)
        except ValueError as error:
            self._problems.append(f"{head}: {rule.text!r} is no template: {error}")
            return
        there = {it.name for it in table.columns if not it.generated}
        templates = {
            it.column for it, one in self._own.items()
            if it.table == head.table and isinstance(one, rules.Template)
        }  # fmt: skip
        for name in used:
            if name not in there:
                self._problems.append(
                    f"{head}: its template has {{{name}}}, and there is no such column"
                )
            elif name in templates:
                self._problems.append(f"{head}: its template has {{{name}}}, which is one itself")

    def _fill(self, row: _Row) -> None:
        """Put the masks of a table's columns together."""
        for index, name in enumerate(row.columns):
            place = Place(row.table.name, name)
            rule = self._rule_of.get(place)
            if rule is None or isinstance(rule, rules.Keep):
                continue
            self._unread += [
                f"{place}: the index {it.name}" for it in row.table.indexes if name in it.left
            ]
            if isinstance(rule, rules.Template):
                row.coincide[name] = rule.coincide is True
                self._fill_template(row, index, rule)
                continue
            if isinstance(rule, rules.Shift) and rule.by is not None:
                self._fill_shift(row, index, rule, rule.by)
            else:
                row.plain.append((index, self._mask_of[place].apply))
            row.coincide[name] = self._mask_of[place].coincide

    def _fill_template(self, row: _Row, index: int, rule: rules.Template) -> None:
        try:
            places = {name: row.columns.index(name) for name in _used(rule.text)}
        except ValueError:
            return
        length = row.table.column(row.columns[index]).length

        def step(values: Values, found: list[str | None]) -> None:
            if values[index] is not None:
                filled = {name: found[at] or "" for name, at in places.items()}
                found[index] = rule.text.format_map(filled)[:length]

        # After the masks that it may name; those that are made late are before it in the list.
        row.late.append(step)

    def _fill_shift(self, row: _Row, index: int, rule: rules.Shift, by: str) -> None:
        if by not in row.columns:
            self._problems.append(
                f"{row.table.name}.{row.columns[index]}: shift by {by}, and there is no such column"
            )
            return
        at, key = row.columns.index(by), shift_key(self._key)
        column = row.table.column(row.columns[index])
        window = window_of(bounds_of(row.table, column), column.base)

        def step(values: Values, found: list[str | None]) -> None:
            value = values[index]
            if value is not None:
                days = offset(rule, key, values[at] or "")
                found[index] = (
                    each_element(value, lambda it: shifted(it, days))
                    if column.array
                    else shifted(value, days, window)
                )

        row.late.insert(0, step)

    def _by_kind(self, place: Place, references: Sequence[Reference]) -> None:
        """Mask a column of polymorphic references as what the row refers to."""
        row = self.rows.get(place.table)
        wheres = [it.only_where for it in references if it.only_where is not None]
        tells = {it[0] for it in wheres}
        if row is None or not {place.column, *tells} <= {*row.columns}:
            return
        if len(tells) > 1:
            self._problems.append(
                f"{place}: {' and '.join(sorted(tells))} both say what it refers to"
            )
            return
        kept = self._rule_of.get(Place(place.table, *tells))
        if kept is not None and not isinstance(kept, rules.Keep):
            self._problems.append(
                f"{place.table}.{wheres[0][0]} says what rows refer to; it can only be kept"
            )
        index, by = row.columns.index(place.column), row.columns.index(wheres[0][0])
        masks_of = {
            value: self._mask_of.get(Place(it.to, it.to_columns[it.columns.index(place.column)]))
            for it, (_, value) in zip(references, wheres, strict=True)
        }
        other = dict(row.plain).get(index)
        row.plain = [it for it in row.plain if it[0] != index]

        def step(values: Values, found: list[str | None]) -> None:
            own, tell = values[index], values[by]
            if own is None:
                return
            if tell in masks_of:
                mask = masks_of[tell]
                found[index] = own if mask is None else mask.apply(own)
            elif other is not None:
                found[index] = other(own)

        # Before the templates, which may name it.
        row.late.insert(0, step)
        coincide = [it is None or it.coincide for it in masks_of.values()]
        row.coincide[place.column] = any([*coincide, row.coincide.get(place.column, False)])


def _used(template: str) -> list[str]:
    """The columns that a template names.

    Raises:
        ValueError: It cannot be read.
    """
    found = []
    for _, name, form, conversion in Formatter().parse(template):
        if name is not None:
            if form or conversion or not name or any(it in name for it in ".[]"):
                raise ValueError("a placeholder is a column's name in braces")
            found.append(name)
    return found


def _said(rule: rules.Rule) -> str:
    """What a rule does, without what is only told of it."""
    return rule.model_dump_json(exclude={"type", "coincide"})


def _sets(catalog: Catalog) -> list[tuple[Place, ...]]:
    """The columns in sets that refer to each other, each with the one referred to first."""
    leader: dict[Place, Place] = {}

    def lead(place: Place) -> Place:
        while (above := leader.setdefault(place, place)) != place:
            leader[place] = leader[above]
            place = above
        return place

    every = [Place(name, it.name) for name, table in catalog.tables.items() for it in table.columns]
    known, refer = set(every), set[Place]()
    for it in catalog.references:
        if it.only_where is not None:
            continue
        for one, two in zip(it.columns, it.to_columns, strict=True):
            places = Place(it.table, one), Place(it.to, two)
            if known >= {*places} and places[0] != places[1]:
                leader[lead(places[0])] = lead(places[1])
                refer.add(places[0])
    found: dict[Place, list[Place]] = defaultdict(list)
    for place in every:
        found[lead(place)].append(place)
    return [tuple(sorted(them, key=lambda it: it in refer)) for them in found.values()]


def _gone(catalog: Catalog, given: rules.Rules) -> Iterator[str]:
    """What the rules name and the database does not have."""
    named = [
        *((f"tables.{text}", text, columns) for text, columns in given.tables.items()),
        *((f"sample.tables.{text}", text, ()) for text in given.sample.tables),
        *(("follow", it.table, it.by or ()) for it in given.follow),
        *(("follow", it.with_, ()) for it in given.follow),
        *((f"mock.tables.{text}", text, it.columns) for text, it in given.mock.tables.items()),
    ]
    for where, text, columns in named:
        yield from (f"{where}: {it}" for it in catalog.lacks(text, columns))
    yield from (f"references: {it}" for it in catalog.lacking())
