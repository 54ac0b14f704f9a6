"""A data set in S3: whole or none, whoever dies or comes in between."""

from __future__ import annotations

import hashlib
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import boto3  # type: ignore[import-untyped]
import pytest

from aegis_deploy.common.errors import AegisError, ExitCode
from aegis_deploy.data.data_set import directory as data_set
from aegis_deploy.data.data_set import in_s3
from aegis_deploy.data.data_set.directory import storage_at
from aegis_deploy.data.data_set.in_s3 import S3Prefix
from aegis_deploy.data.data_set.manifest import Manifest

LONG = bytes(range(256)) * (1 << 16) + b"and a rest"
"""More than two parts, and not a whole number of them."""
EMPTY = Manifest({}, (), 150004, "k", "r", "now", has_schema=False)


class Stand:
    """A server with a bucket."""

    def __init__(self, at: str) -> None:
        self.at = at
        self.client: Any = boto3.client("s3", endpoint_url=f"http://{at}", region_name="us-east-1")

    def url(self, prefix: str = "set", bucket: str = "rows") -> str:
        return (
            f"s3://{bucket}/{prefix}?region=us-east-1&endpoint=http://{self.at}&use_path_style=true"
        )

    def prefix(self) -> S3Prefix:
        return S3Prefix.at(self.url())

    def keys(self) -> list[str]:
        found = self.client.list_objects_v2(Bucket="rows").get("Contents", ())
        return [it["Key"] for it in found]

    def uploads(self) -> list[Any]:
        return list(self.client.list_multipart_uploads(Bucket="rows").get("Uploads", ()))

    def put(self, key: str, content: bytes = b"x") -> None:
        self.client.put_object(Bucket="rows", Key=key, Body=content)


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    from moto.server import ThreadedMotoServer

    moto = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    moto.start()
    try:
        host, port = moto.get_host_and_port()
        yield f"{host}:{port}"
    finally:
        moto.stop()


@pytest.fixture
def stand(server: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stand]:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "of-a-test")
    reset = urllib.request.Request(f"http://{server}/moto-api/reset", method="POST")
    urllib.request.urlopen(reset, timeout=60).close()  # noqa: S310
    made = Stand(server)
    made.client.create_bucket(Bucket="rows")
    yield made
    made.client.close()


def content(place: S3Prefix, name: str) -> bytes:
    with place.open(name) as file:
        return file.read()


class TestWriting:
    """In parts, and a data set when the last word is written."""

    def test_files_come_back_as_they_were(self, stand: Stand) -> None:
        place = stand.prefix()
        with place.being_written() as draft:
            for name, said in (("rows/1", LONG), ("rows/2", b""), ("note", b"short")):
                with draft.create(name) as file:
                    for start in range(0, len(said), 100_000):
                        file.write(said[start : start + 100_000])
            assert place.is_unfinished()
        assert not place.is_unfinished()
        read = stand.prefix()
        assert content(read, "rows/1") == LONG
        assert [content(read, it) for it in ("rows/2", "note")] == [b"", b"short"]
        assert draft.sums["rows/1"] == hashlib.sha256(LONG).hexdigest()
        assert stand.keys() == ["set/note", "set/rows/1", "set/rows/2"]

    def test_a_run_that_fails_leaves_nothing(self, stand: Stand) -> None:
        def run() -> None:
            with stand.prefix().being_written() as draft:
                with draft.create("whole") as file:
                    file.write(b"whole")
                with draft.create("half") as file:
                    file.write(LONG)
                    raise RuntimeError

        with pytest.raises(RuntimeError):
            run()
        assert (stand.keys(), stand.uploads()) == ([], [])

    def test_what_a_killed_run_left_is_taken_over(self, stand: Stand) -> None:
        stand.put("set/INCOMPLETE", b"its mark")
        stand.put("set/rows/0001-old")
        stand.client.create_multipart_upload(Bucket="rows", Key="set/rows/0002-old")
        assert stand.prefix().is_unfinished()
        with stand.prefix().being_written() as draft, draft.create("new") as file:
            file.write(b"new")
        assert (stand.keys(), stand.uploads()) == (["set/new"], [])

    def test_a_run_finds_out_that_another_one_has_begun(self, stand: Stand) -> None:
        def run() -> None:
            with stand.prefix().being_written() as draft, draft.create("rows/1") as file:
                file.write(b"the first")
                with stand.prefix().being_written() as other, other.create("rows/1") as again:
                    again.write(b"the second")

        with pytest.raises(AegisError, match="is being written by another run"):
            run()
        assert stand.keys() == ["set/rows/1"]
        assert content(stand.prefix(), "rows/1") == b"the second"

    def test_a_file_that_another_run_wrote_is_not_taken_for_its_own(self, stand: Stand) -> None:
        def run() -> None:
            with stand.prefix().being_written() as draft:
                with draft.create("rows/1") as file:
                    file.write(b"mine")
                stand.put("set/rows/1", b"another's")

        with pytest.raises(AegisError, match="another run wrote the same files"):
            run()

    def test_nothing_is_written_over(self, stand: Stand) -> None:
        stand.put("set/rows/else")
        with pytest.raises(AegisError, match="is not empty"), stand.prefix().being_written():
            raise AssertionError
        assert stand.keys() == ["set/rows/else"]


class TestReading:
    """In ranges of one and the same object."""

    def test_an_object_that_is_written_anew_meanwhile_is_refused(self, stand: Stand) -> None:
        stand.put("set/rows/1", LONG)

        def run() -> None:
            with stand.prefix().open("rows/1") as file:
                file.read(1)
                stand.put("set/rows/1", LONG[::-1])
                file.read()

        with pytest.raises(AegisError, match="is another object by now"):
            run()

    def test_what_was_compared_is_not_fetched_again_to_compare_it(
        self, stand: Stand, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        place = stand.prefix()
        with place.being_written() as draft:
            data_set.finish(draft, EMPTY)
        fetched = list[str]()
        ask = place._bucket.part

        def part(key: str, *asked: Any) -> bytes:
            fetched.append(key)
            return ask(key, *asked)

        monkeypatch.setattr(place._bucket, "part", part)
        assert data_set.read(place) == EMPTY
        assert sorted(set(fetched)) == ["SHA256SUMS", "load.sql", "manifest.json"]
        fetched.clear()
        assert data_set.read(place) == EMPTY
        assert sorted(set(fetched)) == ["SHA256SUMS", "manifest.json"]

    def test_the_newest_below_a_prefix_is_the_last_that_is_whole(self, stand: Stand) -> None:
        for name, hour in (("run-1", 2), ("run-2", 3), ("run-3", 4)):
            stand.put(f"set/{name}/manifest.json", f'{{"made": "2026-11-29T0{hour}:00Z"}}'.encode())
        stand.put("set/run-3/INCOMPLETE")
        stand.put("set/of-somebody")
        assert data_set.newest_below(stand.url()).shown == "s3://rows/set/run-2"
        with pytest.raises(AegisError, match="there is no data set below s3://rows/set/run-2"):
            data_set.newest_below(stand.url("set/run-2"))

    def test_a_body_that_breaks_off_is_asked_for_again(
        self, stand: Stand, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        stand.put("set/rows/1", LONG)
        place = stand.prefix()
        ask = place._bucket._client.get_object
        broken = iter([True, True])

        def broken_off() -> bytes:
            raise place._bucket._errors.ReadTimeoutError(endpoint_url=stand.at)

        def breaking(**asked: Any) -> Any:
            answer = ask(**asked)
            if next(broken, False):
                answer["Body"].read = broken_off
            return answer

        monkeypatch.setattr(place._bucket._client, "get_object", breaking)
        assert content(place, "rows/1") == LONG
        monkeypatch.setattr(in_s3, "_AGAIN", 1)
        broken = iter([True])
        with pytest.raises(AegisError, match="cannot be used"):
            content(place, "rows/1")

    def test_an_object_that_is_not_there(self, stand: Stand) -> None:
        with pytest.raises(FileNotFoundError) as raised:
            content(stand.prefix(), "rows/1")
        assert raised.value.filename == "s3://rows/set/rows/1"


class TestRefusals:
    """What is in the way, and what to do about it."""

    def said(self, url: str) -> str:
        with pytest.raises(AegisError) as raised:
            S3Prefix.at(url).require_free()
        return str(raised.value)

    def test_there_is_no_such_bucket(self, stand: Stand) -> None:
        told = self.said(stand.url(bucket="nobodys"))
        assert "s3://nobodys/set cannot be used" in told
        assert "there is no bucket nobodys" in told

    def test_nobody_is_known(self, stand: Stand, monkeypatch: pytest.MonkeyPatch) -> None:
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            monkeypatch.delenv(name)
        monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nowhere")
        assert "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY" in self.said(stand.url())

    @pytest.mark.usefixtures("stand")
    def test_whoever_asks_may_not(self) -> None:
        with _refusing() as at:
            told = self.said(Stand(at).url())
        assert "AccessDenied" in told
        assert "let who asks have s3:ListBucket and s3:GetObject" in told

    @pytest.mark.usefixtures("stand")
    def test_nobody_answers(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
        assert "see that it answers" in self.said(Stand("127.0.0.1:9").url())

    def test_no_bucket_is_named(self) -> None:
        with pytest.raises(AegisError, match="names no bucket"):
            storage_at("s3://")

    def test_other_stores_are_told(self) -> None:
        with pytest.raises(AegisError, match="cannot be at gs://") as raised:
            storage_at("gs://bucket/prefix")
        assert raised.value.code == ExitCode.USAGE


@contextmanager
def _refusing() -> Iterator[str]:
    """A server that lets nobody in."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = b"<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>"
            self.send_response(403)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
