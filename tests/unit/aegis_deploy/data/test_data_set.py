"""What a data set says of itself, its rows as COPY has them, and its proof."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aegis_deploy.common.errors import AegisError
from aegis_deploy.data import proof, schema_dump
from aegis_deploy.data.catalog import TableName
from aegis_deploy.data.data_set import copy_text
from aegis_deploy.data.data_set import directory as data_set
from aegis_deploy.data.data_set.manifest import Manifest, TableRows, described, differences
from aegis_deploy.data.data_set.on_disk import Directory
from aegis_deploy.data.selection.closure import Places, Taken
from aegis_deploy.data.selection.picture import mermaid
from tests.unit.aegis_deploy.data.schemas import catalog, column, name, reference, table

ONE = catalog(table("t", column("id", "integer", nullable=False), column("x"), keys=[("id",)]))
TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))


def manifest(**more: object) -> Manifest:
    rows = TableRows(name("t"), "rows/0001-public.t.copy", ("id", "x"), 2, "ab")
    given = {"schema": described(ONE), "tables": (rows,), "server": 150004, "key": "k"}
    return Manifest(**{**given, "rules": "r", "made": "now", **more})  # type: ignore[arg-type]


class TestRows:
    """In COPY's text format."""

    @given(st.lists(st.none() | TEXT, min_size=1))
    def test_are_read_as_they_were_written(self, row: list[str | None]) -> None:
        line = copy_text.encode(row)
        assert line.count(b"\n") == 1
        assert copy_text.decode(line) == row

    @pytest.mark.parametrize(
        ("line", "values"),
        [(rb"\N" + b"\t\n", [None, ""]), (rb"\x41\101\b\q" + b"\n", ["AA\bq"])],
    )
    def test_are_read_as_postgresql_reads_them(self, line: bytes, values: list[str]) -> None:
        assert copy_text.decode(line) == values

    @given(st.permutations([b"a\n", b"a\n", b"b\n", b"c\n"]))
    def test_have_one_digest_in_any_order(self, lines: list[bytes]) -> None:
        assert self.digest(*lines) == self.digest(b"a\n", b"a\n", b"b\n", b"c\n")

    def test_of_another_number_have_another_digest(self) -> None:
        found = {self.digest(*[b"a\n"] * count) for count in range(5)}
        assert len(found) == 5

    @staticmethod
    def digest(*lines: bytes) -> str:
        digest = data_set.RowDigest()
        for line in lines:
            digest.add(line)
        return digest.hex


class TestTheManifest:
    """What a data set says of itself."""

    def test_is_read_as_it_was_written(self) -> None:
        written = manifest(proof={"columns": 1})
        assert Manifest.of_json(json.loads(json.dumps(written.as_json()))) == written

    @pytest.mark.parametrize(
        "more", [{"made": "later"}, {"key": "other"}, {"proof": {"values": 3}}]
    )
    def test_names_it_by_its_content_alone(self, more: dict[str, object]) -> None:
        assert manifest(**more).name == manifest().name

    def test_names_other_rows_and_another_schema_otherwise(self) -> None:
        (rows,) = manifest().tables
        other = TableRows(rows.table, rows.file, rows.columns, rows.rows, "cd")
        names = {manifest().name, manifest(tables=(other,)).name, manifest(schema={}).name}
        assert len(names) == 3

    @pytest.mark.parametrize(
        ("change", "said"),
        [
            ({"format": 2}, "its format is 2"),
            ({"tables": [{}]}, "it lacks tables.0.table, or has something else there"),
            ({"tables": [{"table": ["public", None]}]}, "it lacks tables.0.table.1"),
            ({"schema": {"t": {"columns": []}}}, "it lacks schema.t.columns"),
            ({"proof": None}, "it lacks proof"),
            ({"name": "0" * 64}, "its name is not that of what it lists"),
        ],
    )
    def test_is_refused_when_it_is_not_whole(self, change: dict[str, object], said: str) -> None:
        with pytest.raises(ValueError, match=said):
            Manifest.of_json({**manifest().as_json(), **change})

    @pytest.mark.parametrize("document", [None, [], "x", 3])
    def test_is_none_when_it_is_something_else(self, document: object) -> None:
        with pytest.raises(ValueError, match="its format is None"):
            Manifest.of_json(document)

    def test_tells_in_what_two_schemas_differ(self) -> None:
        other = catalog(
            table("t", column("id", "bigint"), column("y"), keys=[("id",)]), table("u", column("a"))
        )
        assert differences(described(ONE), described(ONE)) == []
        assert differences(described(ONE), described(other)) == [
            "t.id: integer not null in the data set, bigint in the database",
            "t.x: text in the data set, nothing in the database",
            "t.y: nothing in the data set, text in the database",
            "u is not in the data set",
        ]


class TestADirectory:
    """It is compared once, and then it has to stay what it was."""

    @pytest.fixture
    def place(self, tmp_path: Path) -> Directory:
        place = Directory(tmp_path / "set")
        with place.being_written() as draft:
            with data_set.row_file(draft, "rows/1", compress=False) as file:
                file.add(b"a\n")
            rows = TableRows(name("t"), "rows/1", ("x",), file.rows, file.digest.hex)
            data_set.finish(draft, manifest(tables=(rows,), has_schema=False))
        return place

    def read(self, place: Directory) -> list[str]:
        """Read it; return which files were read to compare them."""
        files = list[str]()
        data_set.read(place, files.append)
        return files

    def test_no_file_is_read_a_second_time_to_compare_it(self, place: Directory) -> None:
        all_files = ["load.sql", "manifest.json", "rows/1"]
        assert self.read(place) == all_files
        assert self.read(place) == []
        assert self.read(Directory(place.path)) == all_files

    @pytest.mark.parametrize("same_file", [True, False])
    def test_what_was_compared_cannot_be_read_as_anything_else(
        self, place: Directory, same_file: bool
    ) -> None:
        self.read(place)
        rows = place.path / "rows/1"
        if not same_file:
            rows.unlink()
        rows.write_bytes(b"b\n")
        with pytest.raises(AegisError, match="is another file by now"), place.open("rows/1"):
            raise AssertionError
        with pytest.raises(AegisError, match="is another file by now"):
            place.size("rows/1")

    @pytest.mark.parametrize("file", ["SHA256SUMS", "manifest.json"])
    @pytest.mark.parametrize("content", [b"\xff", b"[" * 100_000])
    def test_a_file_of_its_own_that_is_something_else_is_named(
        self, place: Directory, file: str, content: bytes
    ) -> None:
        (place.path / file).write_bytes(content)
        with pytest.raises(AegisError) as caught:
            data_set.read(place)
        assert "is damaged" in caught.value.what
        assert file in caught.value.why

    def test_what_is_changed_while_it_is_read_is_refused(self, place: Directory) -> None:
        def run() -> None:
            with place.open("rows/1") as file:
                file.read()
                (place.path / "rows/1").write_bytes(b"longer\n")

        with pytest.raises(AegisError, match="is another file by now"):
            run()


class TestTheNewest:
    """Of the data sets below a place."""

    def put(self, at: Path, made: object) -> None:
        at.mkdir(parents=True)
        (at / data_set.MANIFEST).write_text(json.dumps({"made": made}))

    def test_is_the_one_that_was_made_last_and_is_whole(self, tmp_path: Path) -> None:
        self.put(tmp_path / "b", "2026-11-28T23:00:00+00:00")
        self.put(tmp_path / "a", "2026-11-29T01:00:00+02:00")
        self.put(tmp_path / "c", "2026-11-28T22:00:00+00:00")
        self.put(tmp_path / "unfinished", "2026-11-30T00:00:00+00:00")
        (tmp_path / "unfinished" / "INCOMPLETE").touch()
        (tmp_path / "another").mkdir()
        (tmp_path / "file").touch()
        self.put(tmp_path / "c" / "deeper", "2026-11-30T00:00:00+00:00")
        assert data_set.newest_below(str(tmp_path)).shown in {f"{tmp_path}/a", f"{tmp_path}/b"}
        self.put(tmp_path / "d", "2026-11-29T01:00:01+02:00")
        assert data_set.newest_below(str(tmp_path)).shown == f"{tmp_path}/d"

    def test_is_asked_for_where_there_is_none(self, tmp_path: Path) -> None:
        with pytest.raises(AegisError, match="there is no data set below"):
            data_set.newest_below(str(tmp_path))
        with pytest.raises(AegisError, match="cannot be looked through"):
            data_set.newest_below(str(tmp_path / "not there"))

    @pytest.mark.parametrize("made", [None, "last week", 7])
    def test_is_not_told_where_one_does_not_say_when_it_was_made(
        self, tmp_path: Path, made: object
    ) -> None:
        self.put(tmp_path / "a", "2026-11-28T23:00:00+00:00")
        self.put(tmp_path / "b", made)
        with pytest.raises(AegisError, match="it says no time"):
            data_set.newest_below(str(tmp_path))


@pytest.mark.parametrize(
    "odd", [TableName("public", "a/../b"), TableName("s", "it's"), TableName("s", "뷰" * 63)]
)
def test_no_name_of_a_table_leads_a_file_elsewhere(odd: TableName) -> None:
    path = Path(data_set.file_of(7, odd, compress=True))
    assert path.parent == Path("rows")
    assert len(path.name) < 255
    assert not set(path.name) & set("/'\" \\")


class TestTheProof:
    """Values on both sides."""

    def compare(
        self, kind: str, own: list[str | None], production: list[str | None], **more: object
    ) -> proof.Coincidence:
        made = table("t", column("x", kind, **more))
        seen = proof.Fingerprints(made, ("x",), {"x": False})
        for value in own:
            seen.add([value])
        (found,) = seen.compare([value] for value in production)
        return found

    def test_are_counted_once_each(self) -> None:
        found = self.compare("text", ["a", "b", "b", "c"], ["b", "b", "c", "d"])
        assert (found.values, found.found, found.bad) == (3, 2, True)

    def test_are_none_where_there_is_no_value(self) -> None:
        found = self.compare("text", [None, "", "{}", "x"], [None, "", "{}", "y"])
        assert (found.values, found.found, found.bad) == (1, 0, False)

    def test_are_none_without_a_letter_or_a_digit(self) -> None:
        assert self.compare("text", [" ", "-", "n/a"], [" ", "-", "N/A"]).found == 0
        assert self.compare("text", ["뷰", "Ω"], ["뷰", "Ω"]).found == 2

    @pytest.mark.parametrize(
        ("kind", "own", "production"),
        [
            ("numeric", "1000", "1000.00"),
            ("jsonb", '{"a":1.50,"b":2}', '{"b": 2, "a": 1.5}'),
            ("boolean", "false", "f"),
            ("bpchar", "a", "a  "),
        ],
    )
    def test_are_the_same_in_whatever_form(self, kind: str, own: str, production: str) -> None:
        base = "bool" if kind == "boolean" else kind
        assert self.compare(kind, [own], [production], base=base).found == 1

    def test_are_never_in_what_is_told(self) -> None:
        found = self.compare("text", ["secret value"], ["secret value"])
        with pytest.raises(AegisError) as caught:
            proof.require([found], "none")
        assert "t.x: 1 of 1 values" in str(caught.value)
        assert "secret value" not in f"{caught.value} {caught.value.details}"


class TestPlaces:
    """Rows by where they lie."""

    def test_are_given_out_once_also_when_more_come_meanwhile(self) -> None:
        places = Places()
        assert places.add(iter([(1, 7), (1, 9), (1, 7), (2, 1)])) == {1: 2, 2: 1}
        fresh = places.fresh(1)
        assert next(fresh) == [7, 9]
        assert places.add(iter([(1, 3), (1, 9)])) == {1: 1}
        assert list(fresh) == [[3]]
        assert list(places.fresh(1)) == []
        assert list(places.taken(1)) == [[3, 7, 9]]

    def test_come_in_batches_in_the_order_they_lie_in(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("aegis_deploy.data.selection.closure.BATCH", 2)
        places = Places()
        places.add((1, it) for it in (5, 1, 4, 2, 3))
        assert list(places.taken(1)) == [[1, 2], [3, 4], [5]]
        assert list(places.fresh(1)) == [[1, 2], [3, 4], [5]]


def test_a_picture_escapes_what_mermaid_would_read() -> None:
    odd = TableName("public", 'a"]-->b')
    tables = catalog(table("t", column("id", "integer"), keys=[("id",)]))
    made = type(tables)({odd: type(tables.tables[name("t")])(odd, ()), **tables.tables})
    drawn = mermaid(made, [Taken(odd, 10, 1, 1), Taken(name("t"), 10, 1, 9)], [])
    assert '  t0["a#34;#93;--#62;b<br/>1 of 10 rows"]' in drawn
    assert '  t1["t<br/>9 of 10 rows"]:::off' in drawn


def test_a_picture_tells_what_rows_are_chosen_along_and_what_no_constraint_says() -> None:
    lead = reference("b", ("a",), "a", ("id",))
    with_it = reference("b", ("y",), "a", ("id",))
    declared = reference("b", ("x",), "a", ("id",), declared=True)
    tables = catalog(
        table("a", column("id")),
        table("b", column("a"), column("x"), column("y")),
        references=[lead, declared, with_it],
    )
    taken = [Taken(name("a"), 1, 1, 1), Taken(name("b"), 1, 1, 1, lead)]
    drawn = mermaid(tables, taken, [with_it])
    assert '  t1 ==>|"y"| t0' in drawn
    assert '  t1 -->|"y"| t0' in mermaid(tables, taken, [])
    assert '  t1 ==>|"a"| t0' in drawn
    assert '  t1 -.->|"x"| t0' in drawn


def test_no_account_at_another_server_is_in_a_schema() -> None:
    mapping = "--\n-- Name: USER MAPPING {0} SERVER far; Type: USER MAPPING; Schema: -\n--\n\n"
    body = "CREATE FUNCTION f() AS $$\nCREATE USER MAPPING FOR me SERVER far;\n$$;\n"
    told = "CREATE USER MAPPING FOR me SERVER far OPTIONS (\n    password 'it''s;\n);'\n);\n"
    plain = "CREATE USER MAPPING FOR public SERVER far;\n"
    dumped = f"{mapping.format('me')}{told}\n{mapping.format('public')}{plain}\n{body}"
    found = schema_dump.without_accounts(dumped)
    assert found == f"--\n\n--\n\n{body}"


def test_what_only_psql_understands_is_left_out_and_nothing_else() -> None:
    body = "CREATE FUNCTION f() AS $$\n\\restrict other\n\\unrestrict other\n$$;\n"
    dumped = f"--\n\\restrict abc\n\nSET x = 0;\n{body}\\unrestrict abc\n"
    assert schema_dump.for_server(dumped) == f"--\n\nSET x = 0;\n{body}"
    assert schema_dump.for_server("SET x = 0;\n") == "SET x = 0;\n"
