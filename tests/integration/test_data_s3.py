"""`aegis data` with its data set in S3: the same as elsewhere, and none of it on a disk here."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import boto3  # type: ignore[import-untyped]
import pytest

from tests.integration.data_commands import CLIENT_OF_S3, Data
from tests.integration.databases import PostgresServer
from tests.integration.servers import Server

pytestmark = pytest.mark.integration
SCHEMA = """
CREATE TABLE people (id int PRIMARY KEY, post text NOT NULL UNIQUE);
CREATE TABLE letters (id int PRIMARY KEY, person int NOT NULL REFERENCES people, words text);
INSERT INTO people SELECT i, 'person' || i || '@real.example' FROM generate_series(1, 3000) AS i;
INSERT INTO letters SELECT i, 1 + i % 3000, repeat('secret ' || i, 9)
  FROM generate_series(1, 3000) AS i;
"""


@pytest.fixture
def data(
    server: PostgresServer, s3: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Data:
    made = Data(server, tmp_path, monkeypatch)
    made.knows(s3)
    made.production.execute(SCHEMA)
    tables = {
        "people": {"id": "keep", "post": "email"},
        "letters": {"id": "keep", "words": "redact"},
    }
    made.rules(sample={"percent": 50}, tables=tables)
    return made


def objects(s3: Server) -> Any:
    endpoint = s3.url.partition("endpoint=")[2].partition("&")[0]
    return boto3.client("s3", endpoint_url=endpoint, **CLIENT_OF_S3)


@contextmanager
def no_room_for_files() -> Iterator[None]:
    """No file of this process can be longer than a page."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("compressed", [(), ("--gzip",)])
def test_it_is_the_data_set_that_a_directory_has(
    data: Data, s3: Server, compressed: tuple[str, ...]
) -> None:
    assert data.sample("here", *compressed).code == 0
    place = s3.place(f"same{len(compressed)}")
    with no_room_for_files():
        taken = data.run("sample", *data.source(), "--to", place, "--json", *compressed)
    assert taken.code == 0, taken.told
    assert "of-a-test" not in taken.told + taken.out
    assert taken.data["name"] == data.manifest("here")["name"]
    assert data.run("verify", place, *data.source()).code == 0
    staging = data.server.database()
    data.set("STAGING", data.address(staging))
    with no_room_for_files():
        loaded = data.run("load", place, "--to", "env:STAGING", "--json")
    assert loaded.code == 0, loaded.told
    assert loaded.data["foreign_keys"] == 1
    assert staging.query("SELECT count(*) FROM letters") == [(1500,)]


def test_a_damaged_object_is_refused_before_the_database_is_touched(data: Data, s3: Server) -> None:
    place = s3.place("damaged")
    assert data.run("sample", *data.source(), "--to", place).code == 0
    client = objects(s3)
    key = "team/damaged/rows/0002-public.letters.copy"
    whole = client.get_object(Bucket="state", Key=key)["Body"].read()
    client.put_object(Bucket="state", Key=key, Body=whole[:-9])
    staging = data.server.database()
    data.set("STAGING", data.address(staging))
    refused = data.run("load", place, "--to", "env:STAGING")
    assert refused.code == 3
    assert "s3://state/team/damaged is damaged" in refused.told
    assert "rows/0002-public.letters.copy is not what its checksum was made of" in refused.told
    assert staging.query("SELECT tablename FROM pg_tables WHERE schemaname = 'public'") == []
    client.delete_object(Bucket="state", Key=key)
    assert "there is no such object" in data.run("load", place, "--to", "env:STAGING").told
    client.put_object(Bucket="state", Key="team/damaged/INCOMPLETE", Body=b"another's")
    assert (
        "the run that wrote it did not end" in data.run("load", place, "--to", "env:STAGING").told
    )
    client.close()


def test_values_of_production_on_both_sides_leave_nothing(data: Data, s3: Server) -> None:
    data.production.execute(
        "UPDATE people SET post = 'x' || id; UPDATE letters SET words = '[redacted]'"
    )
    rules = {
        "people": {"id": "keep", "post": "email"},
        "letters": {"id": "keep", "words": {"rule": "redact", "coincide": False}},
    }
    data.rules(sample={"percent": 50}, tables=rules)
    refused = data.run("sample", *data.source(), "--to", s3.place("both"))
    assert refused.code == 3
    assert "has values of production" in refused.told
    client = objects(s3)
    assert client.list_objects_v2(Bucket="state", Prefix="team/both")["KeyCount"] == 0
    client.close()


def test_a_bucket_that_is_not_there_is_told_before_a_row_is_read(data: Data, s3: Server) -> None:
    place = s3.place("set").replace("s3://state", "s3://nobodys")
    refused = data.run("sample", *data.source(), "--to", place)
    assert refused.code == 3
    assert "there is no bucket nobodys" in refused.told
    assert data.run("load", "gs://bucket/set", "--to", "env:STAGING").code == 2
