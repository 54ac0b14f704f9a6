"""Rows that are made up: how many each table gets, and what stands in each column. Pure.

A row is a function of its number. What refers to another row is told that row's number, and takes
its key from the same function; so circles, rows that refer to themselves and tables in any order
are all the same, and no row is kept. Unique columns are unique by construction: they hold the
row's number, or each combination of what they are made of comes once.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from functools import partial
from math import prod

from aegis_deploy.common.errors import AegisError
from aegis_deploy.data import rules
from aegis_deploy.data.catalog import (
    Catalog,
    Column,
    Key,
    Reference,
    Table,
    TableName,
    UniqueIndex,
)
from aegis_deploy.data.mock.orders import RowOrders
from aegis_deploy.data.values import spread
from aegis_deploy.data.values.bounds import pairs_of
from aegis_deploy.data.values.made import Refused, Settings, Unique, made_column, room_of
from aegis_deploy.data.values.ordered import Made, differing
from aegis_deploy.data.values.spread import Rows

_NULLS, _NULLS_OF_SELF = 0.1, 0.3
"""Which share of a column that takes NULL is NULL, unless the settings say."""


@dataclass(frozen=True)
class MadeTable:
    """A table's rows.

    Attributes:
        table: The table.
        rows: How many.
        wanted: How many were wanted.
        columns: Its columns that are written, in order.
        sources: What each of them holds.
    """

    table: Table
    rows: int
    wanted: int
    columns: tuple[str, ...]
    sources: tuple[Made, ...]

    def blocks(self) -> Iterator[str]:
        """Return the rows as COPY reads them, some thousand at a time."""
        for start in range(0, self.rows, spread.BLOCK):
            rows = range(start, min(start + spread.BLOCK, self.rows))
            columns = [
                ["\\N" if it is None else it for it in source(rows)] for source in self.sources
            ]
            yield "\n".join(map("\t".join, zip(*columns, strict=True))) + "\n"


def planned(catalog: Catalog, given: rules.Mock, *, seed: int, size: int) -> list[MadeTable]:
    """Say what rows each table gets.

    Args:
        catalog: The database, with the references that the rules declare.
        given: How many rows a table gets, and how they are.
        seed: What decides, together with the schema and the settings.
        size: How many rows a table gets of which nothing is said.

    Raises:
        AegisError: The settings name what there is not, or what cannot be made.
    """
    return _Plan(catalog, given, seed, size).made()


@dataclass(eq=False)
class _Slot:
    """A reference of a table: which row each of its rows refers to.

    Attributes:
        own: The columns that it decides.
        shared: Those that another reference has decided already.
        nulls: Which share refers to nothing.
        once: Whether no row is referred to twice.
    """

    reference: Reference
    own: tuple[str, ...]
    shared: tuple[str, ...]
    nulls: float
    zipf: float | None
    once: bool = False

    @property
    def to_itself(self) -> bool:
        """Whether a row of the same table is referred to."""
        return self.reference.to == self.reference.table

    def other(self, column: str) -> str:
        """The column that one of it refers to."""
        return self.reference.to_columns[self.reference.columns.index(column)]


@dataclass(eq=False)
class _Table:
    """A table that is planned.

    Attributes:
        slots: Its references that decide a column.
        slot_of: The one that decides a column.
        unique: The columns that hold the row's number.
        joint: Parts of a key, slots and columns of few values, of which each combination is once.
        orders: The columns that follow from others of their row, as checks have it; known once the
            slots are.
    """

    table: Table
    settings: rules.MockTable
    rows: int
    wanted: int
    slots: list[_Slot] = field(default_factory=list)
    slot_of: dict[str, _Slot] = field(default_factory=dict)
    unique: set[str] = field(default_factory=set)
    joint: list[list[_Slot | str]] = field(default_factory=list)
    orders: RowOrders = field(init=False)

    def column(self, name: str) -> rules.MockColumn:
        """How a column's values are spread."""
        return self.settings.columns.get(name, rules.MockColumn())


class _Plan:
    """Plans all tables; what is wrong is gathered."""

    def __init__(self, catalog: Catalog, given: rules.Mock, seed: int, size: int) -> None:
        self._catalog, self._given, self._seed = catalog, given, seed
        self._problems = [f"references: {it}" for it in catalog.lacking()]
        self._require_no_problem()
        self._made_columns: dict[tuple[TableName, str], Made] = {}
        self._under_way: list[tuple[TableName, str]] = []
        settings = self._settings()
        self._tables = {}
        for name, table in catalog.tables.items():
            said = settings.get(name, rules.MockTable())
            rows = said.rows if said.rows is not None else int(size * Decimal(str(said.times or 1)))
            self._tables[name] = _Table(table, said, rows, rows)
        self._referred = {(it.to, to) for it in catalog.references for to in it.to_columns}
        for planned_table in self._tables.values():
            self._choose_slots(planned_table)
            self._choose_orders(planned_table)
        self._count()

    def made(self) -> list[MadeTable]:
        """Put the sources together."""
        found = []
        for it in self._tables.values():
            names = [column.name for column in it.table.columns if not column.generated]
            sources = list[Made]()
            written = list[str]()
            for name in names if it.rows else ():
                try:
                    source = self._written(it, name)
                except Refused as refused:
                    self._problems.append(f"{it.table.name}.{name}: {refused}")
                    continue
                if source is not None:
                    written.append(name)
                    sources.append(source)
            found.append(MadeTable(it.table, it.rows, it.wanted, tuple(written), tuple(sources)))
        self._require_no_problem()
        return found

    def _require_no_problem(self) -> None:
        if self._problems:
            raise AegisError(
                what="rows for this schema cannot be made up like this",
                why="\n".join(dict.fromkeys(self._problems)),
                next="say under mock: in the rules what these are to hold, then run it again; "
                "docs/data.md says how",
            )

    # -- which rows ---------------------------------------------------------------------------

    def _settings(self) -> Mapping[TableName, rules.MockTable]:
        found = {}
        for text, said in self._given.tables.items():
            lacks = self._catalog.lacks(text, said.columns)
            self._problems += [f"mock.tables.{text}: {it}" for it in lacks]
            table = self._catalog.table(text)
            if table is None:
                continue
            there = {it.name: it for it in table.columns}
            for name, column in said.columns.items():
                if name in there and column.nulls and not there[name].nullable:
                    self._problems.append(f"{text}.{name}: it is NOT NULL, and nulls is not 0")
            found[table.name] = said
        return found

    def _choose_slots(self, of: _Table) -> None:
        """Decide which reference decides which column; one without any follows by itself."""
        table = of.table
        references = [
            it for it in self._catalog.references_of(table.name)
            if it.only_where is None and it.to in self._tables
        ]  # fmt: skip

        def rank(it: Reference) -> tuple[bool, bool, int, str]:
            loose = any(table.column(name).nullable for name in it.columns)
            wide_self = it.to == it.table and len(it.columns) > 1
            return wide_self, loose, -len(it.columns), it.name

        for it in sorted(references, key=rank):
            told = [of.column(name) for name in it.columns]
            if any(map(_own_source, told)):
                continue  # Somebody knows better; PostgreSQL checks it.
            own = tuple(name for name in it.columns if name not in of.slot_of)
            if not own:
                continue
            shared = tuple(name for name in it.columns if name in of.slot_of)
            slot = _Slot(it, own, shared, self._share(of, it, own), _zipf_of(told))
            of.slots.append(slot)
            of.slot_of |= dict.fromkeys(own, slot)

    def _choose_orders(self, of: _Table) -> None:
        """Decide which column follows from which, where checks compare two."""
        of.orders = RowOrders.chosen(of.table, of.column, of.slot_of)

    def _share(self, of: _Table, it: Reference, own: Sequence[str]) -> float:
        loose = [name for name in own if of.table.column(name).nullable]
        fixed = any((of.table.name, name) in self._referred for name in loose)
        if not loose or fixed or (it.full and len(loose) < len(it.columns)):
            return 0.0
        said = [given for name in loose if (given := of.column(name).nulls) is not None]
        return said[0] if said else (_NULLS_OF_SELF if it.to == it.table else _NULLS)

    def _count(self) -> None:
        """Take rows away until each table's keys have room and what its rows need is there."""
        while True:
            before = {name: it.rows for name, it in self._tables.items()}
            for it in self._tables.values():
                room, why = self._room(it)
                if room >= it.rows:
                    continue
                if it.settings.rows is not None:
                    self._problems.append(
                        f"{it.table.name}: {it.rows} rows are asked for, and {why}"
                    )
                it.rows = room
            if before == {name: it.rows for name, it in self._tables.items()}:
                return

    def _room(self, of: _Table) -> tuple[int, str]:
        """Return how many rows a table has room for, and why not for more."""
        for slot in of.slots:
            needed = not all(of.table.column(name).nullable for name in slot.own)
            if needed and not slot.to_itself and not self._tables[slot.reference.to].rows:
                return 0, f"{slot.reference.to}, which each refers to, has none"
        of.unique = {it.name for it in of.table.columns if it.counted and it.name not in of.slot_of}
        of.joint = []
        for slot in of.slots:
            slot.once = False
        room, why = of.rows, ""
        for key in sorted(of.table.keys, key=lambda it: (len(it.columns), not it.primary)):
            one = self._room_of_key(of, key)
            if one is not None and one < room:
                room, why = one, f"the key {key.name} has room for {one}"
        for index in of.table.indexes:
            self._keep_apart(of, index)
        return room, why

    def _keep_apart(self, of: _Table, index: UniqueIndex) -> None:
        """Make a column of an index unique where there is room; it need not hold all rows apart."""
        columns = [of.table.column(name) for name in index.columns]
        taken = {*of.slot_of, *of.orders.of}
        free = [it for it in columns if it.name not in taken and not it.generated]
        if not any(it.name in of.unique for it in columns):
            best = max(free, key=lambda it: self._room_of_column(of, it), default=None)
            if best is not None and self._room_of_column(of, best) >= of.rows:
                of.unique.add(best.name)

    def _room_of_key(self, of: _Table, key: Key) -> int | None:
        """Choose what makes a key unique; None: there is room for any number of rows."""
        columns = [of.table.column(name) for name in key.columns]
        slots = dict.fromkeys(of.slot_of[it.name] for it in columns if it.name in of.slot_of)
        if (
            # What is generated follows from the others; PostgreSQL checks it.
            any(it.generated or it.name in of.unique for it in columns)
            or any(it.once for it in slots)
        ):
            return None
        free = [it for it in columns if it.name not in of.slot_of]
        rooms = {it.name: self._room_of_column(of, it) for it in free}
        best = max(free, key=lambda it: rooms[it.name], default=None)
        if best is not None and (rooms[best.name] >= of.rows or len(columns) == 1):
            of.unique.add(best.name)
            return rooms[best.name]
        parts: list[_Slot | str] = [*(it for it in slots if not it.shared), *rooms]
        return self._room_of_parts(of, key, parts, [*map(partial(self._size, of), parts)])

    def _size(self, of: _Table, part: _Slot | str) -> int:
        """How many different values a part of a key has."""
        if isinstance(part, str):
            return self._room_of_column(of, of.table.column(part))
        return self._tables[part.reference.to].rows

    def _room_of_parts(
        self, of: _Table, key: Key, parts: list[_Slot | str], sizes: list[int]
    ) -> int | None:
        if len(parts) == 1 and isinstance(parts[0], _Slot):
            parts[0].once = True
            return sizes[0]
        if parts and not any(part in group for group in of.joint for part in parts):
            of.joint.append(parts)
            return prod(sizes)
        self._problems.append(
            f"{of.table.name}: nothing makes the key {key.name} unique beside its other keys"
        )
        return None

    def _room_of_column(self, of: _Table, column: Column) -> int:
        return room_of(self._settings_of(of, column, Unique(of.rows)))

    # -- what stands there --------------------------------------------------------------------

    def _written(self, of: _Table, name: str) -> Made | None:
        """A column as COPY reads it; None: its default stands there."""
        column = of.table.column(name)
        if name not in of.slot_of and self._omitted(of, column):
            return None
        source = self._apart(of, name)
        plain = column.base in _PLAIN and not column.array
        if plain:
            return source
        escaped = spread.copied
        return lambda rows: [None if it is None else escaped(it) for it in source(rows)]

    def _apart(self, of: _Table, name: str) -> Made:
        """A column, other than another one where a check wants that."""
        made = self._column(of, name)
        slot = of.slot_of.get(name)
        fixed = (
            any(name in key.columns for key in of.table.keys)
            or (of.table.name, name) in self._referred
            or (slot is not None and (slot.once or len(slot.reference.columns) > 1))
        )
        for pair in pairs_of(of.table):
            if not pair.ordered and pair.most == name and not fixed:
                made = differing(made, self._column(of, pair.least), of.rows)
        return made

    def _omitted(self, of: _Table, column: Column) -> bool:
        settings = self._settings_of(of, column, None)
        return not settings.can_be_made and column.default is not None

    def _settings_of(self, of: _Table, column: Column, unique: Unique | None) -> Settings:
        said = of.column(column.name)
        locale = said.locale or self._given.locale
        limits = of.orders.limits(column)
        return Settings(of.table, column, said, self._seed, locale, unique, limits)

    def _column(self, of: _Table, name: str) -> Made:
        """What a column holds."""
        place = (of.table.name, name)
        if place in self._made_columns:
            return self._made_columns[place]
        if place in self._under_way:
            circle = " -> ".join(f"{table}.{column}" for table, column in self._under_way)
            raise Refused(
                f"its key is made of itself ({circle}); give one of these fixed or choice"
            )
        self._under_way.append(place)
        try:
            found = self._made_column(of, name)
        finally:
            self._under_way.pop()
        self._made_columns[place] = found
        return found

    def _made_column(self, of: _Table, name: str) -> Made:
        slot = of.slot_of.get(name)
        column = of.table.column(name)
        if slot is not None:
            source = self._column(self._tables[slot.reference.to], slot.other(name))
            return _referring(self._index(of, slot), source, nulls=column.nullable)
        group = next((it for it in of.joint if name in it), None)
        if group is not None:
            values = self._settings_of(of, column, None).values
            if values is None:
                raise Refused("it is in a key with little room; give it choice")
            return spread.picked(values, self._part(of, group, name))
        ways = [
            it for it in self._catalog.references_of(of.table.name)
            if it.only_where is not None and name in it.columns and it.to in self._tables
        ]  # fmt: skip
        if ways:
            return self._by_kind(of, name, ways)
        kinds = [
            it.only_where[1] for it in self._catalog.references_of(of.table.name)
            if it.only_where is not None and it.only_where[0] == name
        ]  # fmt: skip
        unique = Unique(of.rows) if name in of.unique else None
        settings = self._settings_of(of, column, unique)
        if kinds and of.column(name).choice is None:
            return spread.picked(kinds, spread.below(self._draw(of, name), len(kinds)))
        made = made_column(settings)
        made = of.orders.behind(
            column, made, partial(self._column, of), self._draw(of, name, "behind")
        )
        return self._with_nulls(of, column, made)

    def _with_nulls(self, of: _Table, column: Column, made: Made) -> Made:
        said = of.column(column.name).nulls
        share = _NULLS if said is None else said
        place = (of.table.name, column.name)
        lonely = any(column.name in it.columns and not it.nulls_distinct for it in of.table.keys)
        if not column.nullable or place in self._referred or lonely or not share:
            return made
        draw, limit = self._draw(of, column.name, "null"), _limit(share)
        return lambda rows: [
            None if number < limit else it
            for number, it in zip(draw(rows), made(rows), strict=True)
        ]

    def _draw(self, of: _Table, *names: object) -> spread.Draw:
        return spread.stream(self._seed, of.table.name.schema, of.table.name.name, *names)

    def _index(self, of: _Table, slot: _Slot) -> Callable[[Rows], list[int | None]]:
        """Return which row each row refers to."""
        name = ",".join(slot.reference.columns)
        size = self._tables[slot.reference.to].rows
        place = self._place(of, slot, name, size)
        draw, limit = self._draw(of, name, "null"), _limit(slot.nulls)

        def index(rows: Rows) -> list[int | None]:
            found: list[int | None] = list(place(rows)) if size else [None] * len(rows)
            if limit:
                for at, number in enumerate(draw(rows)):
                    if number < limit:
                        found[at] = None
            return found

        return _latest(index)

    def _place(
        self, of: _Table, slot: _Slot, name: str, size: int
    ) -> Callable[[Rows], Sequence[int | None]]:
        draw = self._draw(of, name)
        scatter = (self._seed, of.table.name.schema, of.table.name.name, name)
        if not size:
            return lambda rows: [None] * len(rows)
        group = next((it for it in of.joint if slot in it), None)
        if group is not None:
            return self._part(of, group, slot)
        if slot.shared:
            return self._tied(of, slot, draw)
        if slot.to_itself:
            return self._to_itself(of, slot, draw)
        if slot.zipf is not None and not slot.once:
            ranked = spread.zipf(draw, self._draw(of, name, "finer"), slot.zipf, size)
            spot = spread.scattered(*scatter, "rank", size=size)
            return lambda rows: spot(ranked(rows))
        # Where others share the column, each row of the other table is to be there for them.
        even = slot.once or any((of.table.name, it) in self._referred for it in slot.own)
        return spread.scattered(*scatter, size=size) if even else spread.below(draw, size)

    def _to_itself(
        self, of: _Table, slot: _Slot, draw: spread.Draw
    ) -> Callable[[Rows], Sequence[int | None]]:
        """Refer to a row before: a forest, or a chain where none is referred to twice."""
        loose = any(of.table.column(it).nullable for it in slot.own)
        if slot.once:
            end = None if loose else of.rows - 1
            return lambda rows: [it - 1 if it else end for it in rows]
        root = None if loose else 0
        return lambda rows: [
            number * row >> 64 if row else root
            for row, number in zip(rows, draw(rows), strict=True)
        ]

    def _tied(
        self, of: _Table, slot: _Slot, draw: spread.Draw
    ) -> Callable[[Rows], Sequence[int | None]]:
        """Refer to a row that has the same values in the columns that are decided already."""
        to = self._tables[slot.reference.to]
        shared = [self._column(of, it) for it in slot.shared]
        theirs = [self._column(to, slot.other(it)) for it in slot.shared]
        rows_with = defaultdict[tuple[str | None, ...], list[int]](list)
        for start in range(0, to.rows, spread.BLOCK):
            rows = range(start, min(start + spread.BLOCK, to.rows))
            for row, values in zip(
                rows, zip(*(it(rows) for it in theirs), strict=True), strict=True
            ):
                rows_with[values].append(row)
        strict = not any(of.table.column(it).nullable for it in slot.own)

        def place(rows: Rows) -> list[int | None]:
            found = list[int | None]()
            mine = zip(*(it(rows) for it in shared), strict=True)
            for values, number in zip(mine, draw(rows), strict=True):
                those = rows_with.get(values)
                if those is None and strict and None not in values:
                    raise AegisError(
                        what=f"rows for {of.table.name} cannot be made up like this",
                        why=f"{slot.reference.name}: {to.table.name} has no row for some that "
                        f"agree in {', '.join(slot.shared)}",
                        next=f"give {to.table.name} more rows under mock: in the rules, then run "
                        "it again",
                    )
                found.append(None if those is None else those[number * len(those) >> 64])
            return found

        return place

    def _part(
        self, of: _Table, group: list[_Slot | str], part: _Slot | str
    ) -> Callable[[Rows], list[int]]:
        """Return one part of the combination that each row has for itself."""
        sizes = [self._size(of, it) for it in group]
        names = [it if isinstance(it, str) else it.reference.name for it in group]
        spot = spread.scattered(
            self._seed, of.table.name.schema, of.table.name.name, *names, size=prod(sizes)
        )
        at = group.index(part)
        below, size = prod(sizes[:at]), sizes[at]
        return lambda rows: [it // below % size for it in spot(rows)]

    def _by_kind(self, of: _Table, name: str, ways: Sequence[Reference]) -> Made:
        """Refer to a row of the table that another column tells."""
        tells = self._column(of, str(ways[0].only_where and ways[0].only_where[0]))
        sources = {}
        for it in ways:
            to = self._tables[it.to]
            other = it.to_columns[it.columns.index(name)]
            if it.only_where is not None and to.rows:
                place = spread.below(
                    self._draw(of, ",".join(it.columns), it.only_where[1]), to.rows
                )
                sources[it.only_where[1]] = (place, self._column(to, other))

        def made(rows: Rows) -> list[str | None]:
            found: list[str | None] = [None] * len(rows)
            kinds = tells(rows)
            for kind, (place, source) in sources.items():
                at = [index for index, it in enumerate(kinds) if it == kind]
                values = source(place([rows[it] for it in at]))
                for index, value in zip(at, values, strict=True):
                    found[index] = value
            return found

        return made


_PLAIN = frozenset(
    {"int2", "int4", "int8", "numeric", "float4", "float8", "bool", "uuid", "date", "timestamp",
     "timestamptz"}
)  # fmt: skip
"""The types whose text COPY reads as it is."""


def _own_source(told: rules.MockColumn) -> bool:
    return any(it is not None for it in (told.fixed, told.choice, told.pattern, told.between))


def _zipf_of(told: Sequence[rules.MockColumn]) -> float | None:
    return next((it.zipf for it in told if it.zipf is not None), None)


def _limit(share: float) -> int:
    return int(Decimal(str(share)) * 2**64)


def _referring(index: Callable[[Rows], list[int | None]], source: Made, *, nulls: bool) -> Made:
    """Return the key of the row that each row refers to."""

    def made(rows: Rows) -> Sequence[str | None]:
        places = index(rows)
        if None not in places:
            return source([it for it in places if it is not None])
        # A column that is NOT NULL says nothing when the others of its reference are NULL.
        known = source([0 if it is None else it for it in places])
        if not nulls:
            return known
        return [None if place is None else it for place, it in zip(places, known, strict=True)]

    return made


def _latest(index: Callable[[Rows], list[int | None]]) -> Callable[[Rows], list[int | None]]:
    """Remember the last answer: the columns of one reference ask for the same rows in turn."""
    last: list[tuple[Rows, list[int | None]]] = []

    def remembered(rows: Rows) -> list[int | None]:
        if isinstance(rows, range) and last and last[0][0] == rows:
            return last[0][1]
        found = index(rows)
        if isinstance(rows, range):
            last[:] = [(rows, found)]
        return found

    return remembered
