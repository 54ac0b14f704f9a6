"""A sample of any schema is whole, masked and the same again: random tables, keys and circles."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.integration.data_commands import Data
from tests.integration.databases import PostgresServer
from tests.series import ALL

pytestmark = pytest.mark.integration
EXAMPLES = 300 if ALL else 15
TEXTS = ("plain", "tab\tand\nline", "back\\slash", "\\N", "quote'\"", "한국어", "\\x41", " ", "\r")
"""What COPY has to write in another way, and what it must not."""


@dataclass
class RandomTable:
    """A table of a random schema."""

    name: str
    kind: str
    rows: int
    references: list[RandomReference] = field(default_factory=list)

    @property
    def key(self) -> list[str]:
        return {"number": ["id"], "text": ["code"], "both": ["a", "b"], "unique": ["code"]}.get(
            self.kind, []
        )

    @property
    def key_types(self) -> list[str]:
        kinds = {"number": ["int"], "text": ["text"], "both": ["int", "text"], "unique": ["text"]}
        return kinds.get(self.kind, [])


@dataclass
class RandomReference:
    """A foreign key of one."""

    name: str
    to: RandomTable
    nullable: bool
    deferrable: bool
    full: bool
    follow: bool

    @property
    def columns(self) -> list[str]:
        return [f"{self.name}_{it}" for it in self.to.key]


@st.composite
def schemas(draw: st.DrawFn) -> list[RandomTable]:
    kinds = st.sampled_from(["number", "text", "both", "unique", "none"])
    tables = [
        RandomTable(f"t{i}", draw(kinds), draw(st.integers(0, 40)))
        for i in range(draw(st.integers(1, 8)))
    ]
    targets = [it for it in tables if it.key]
    for table in tables:
        for number in range(draw(st.integers(0, 3)) if targets else 0):
            to = draw(st.sampled_from(targets))
            table.references.append(
                RandomReference(
                    name=f"r{number}",
                    to=to,
                    # Rows come before constraints, so a circle may be NOT NULL; nothing is not.
                    nullable=draw(st.booleans()) or not to.rows,
                    deferrable=draw(st.booleans()),
                    full=draw(st.booleans()),
                    follow=draw(st.integers(0, 4)) == 0,
                )
            )
    return tables


def made(tables: list[RandomTable], chance: random.Random) -> str:
    """The schema and its rows as SQL."""
    lines, keys = [], {}
    for table in tables:
        keys[table.name] = [
            [str(i) if kind == "int" else f"{chance.choice(TEXTS)}{i}" for kind in table.key_types]
            for i in range(table.rows)
        ]
    for table in tables:
        columns = [
            f"{name} {kind} NOT NULL" for name, kind in zip(table.key, table.key_types, strict=True)
        ]
        columns += [
            f"{name} {kind}{'' if it.nullable else ' NOT NULL'}"
            for it in table.references
            for name, kind in zip(it.columns, it.to.key_types, strict=True)
        ]
        lines.append(f"CREATE TABLE {table.name} ({', '.join([*columns, 'secret text'])});")
        for own in keys[table.name]:
            values: list[str | None] = list(own)
            for it in table.references:
                values += _referred(it, keys[it.to.name], chance)
            values.append(None if chance.random() < 0.2 else f"{chance.choice(TEXTS)}~{own}")
            listed = ", ".join(map(_literal, values))
            lines.append(f"INSERT INTO {table.name} VALUES ({listed});")  # noqa: S608
    for table in tables:
        if table.key:
            kind = "UNIQUE" if table.kind == "unique" else "PRIMARY KEY"
            lines.append(f"ALTER TABLE {table.name} ADD {kind} ({', '.join(table.key)});")
    for table in tables:
        for it in table.references:
            lines.append(
                f"ALTER TABLE {table.name} ADD FOREIGN KEY ({', '.join(it.columns)}) "
                f"REFERENCES {it.to.name} ({', '.join(it.to.key)})"
                f"{' MATCH FULL' if it.full else ''}"
                f"{' DEFERRABLE INITIALLY DEFERRED' if it.deferrable else ''};"
            )
    return "\n".join(lines)


def _referred(
    it: RandomReference, keys: list[list[str]], chance: random.Random
) -> list[str | None]:
    if it.nullable and (not keys or chance.random() < 0.3):
        one: list[str | None] = list(chance.choice(keys)) if keys else []
        if len(one) > 1 and not it.full:
            one[chance.randrange(len(one))] = None  # MATCH SIMPLE: one NULL, and it refers to none.
            return one
        return [None] * len(it.columns)
    return list(chance.choice(keys))


def _literal(value: str | None) -> str:
    return "NULL" if value is None else "'" + value.replace("'", "''") + "'"


@given(tables=schemas(), seed=st.integers(0, 2**32), percent=st.sampled_from([5, 20, 60, 100]))
@settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize=not ALL,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
def test_a_sample_of_any_schema_is_whole_masked_and_the_same_again(
    tables: list[RandomTable],
    seed: int,
    percent: int,
    server: PostgresServer,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        data = Data(server, tmp_path_factory.mktemp("random"), patch)
        data.production.execute(made(tables, random.Random(seed)))  # noqa: S311 - no secret
        data.rules(
            sample={"percent": percent},
            types={"integer": "keep", "text": "hash"},
            follow=[
                {"table": table.name, "with": it.to.name, "by": it.columns}
                for table in tables
                for it in table.references
                if it.follow
            ],
        )

        first, second = data.sample("one"), data.sample("two")
        assert first.code == 0, first.told
        assert second.data["name"] == first.data["name"]
        assert second.code == 0

        staging = server.database()
        loaded = data.load("one", staging)
        assert loaded.code == 0, loaded.told
        assert loaded.data["foreign_keys"] == sum(len(it.references) for it in tables)

        wanted = {it["table"]: it for it in (one["selection"] for one in first.data["tables"])}
        for table in tables:
            (rows,) = staging.query(f"SELECT count(*) FROM {table.name}")  # noqa: S608
            chosen = wanted[table.name]
            assert rows[0] == chosen["total"] <= table.rows
            follows = any(it.follow for it in table.references)
            # Rows that are the same in all columns are taken all or none.
            if not follows and table.key:
                assert chosen["total"] >= -(-table.rows * percent // 100)
            texts = [
                "secret",
                *(
                    it
                    for it, kind in zip(table.key, table.key_types, strict=True)
                    if kind == "text"
                ),
            ]
            for column in texts:
                ask = f"SELECT {column} FROM {table.name} WHERE {column} IS NOT NULL"  # noqa: S608
                seen = {it for (it,) in staging.query(ask)}
                assert not seen & {it for (it,) in data.production.query(ask)}
