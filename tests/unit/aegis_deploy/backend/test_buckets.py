"""Every kind of bucket keeps the same promises; those of the clouds over the wire.

The directory is the real one. S3 is moto's server; Google's and Azure's are stand-ins of our own
(`tests/object_servers.py`), spoken to by the makers' libraries. PostgreSQL is real, and in
`tests/integration/test_backends_in_engine.py`.
"""

from __future__ import annotations

import gc
import threading
import urllib.request
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from aegis_deploy.backend.buckets.directory import DirectoryBucket
from aegis_deploy.backend.buckets.object_store import Bucket, swap
from aegis_deploy.backend.diy_store import DiyStore
from aegis_deploy.backend.factory import open_store
from aegis_deploy.common.errors import AegisError
from aegis_deploy.pulumi_cli.engine import Engine
from tests import object_servers
from tests.object_servers import PAGE, ObjectServer

# What Google's library says of a library that it does without.
pytestmark = pytest.mark.filterwarnings("ignore:Please install grpcio-status:ImportWarning")
KEY = ".pulumi/aegis/shop/one.claim"
ACCOUNT = {"AZURE_STORAGE_ACCOUNT": "acme", "AZURE_STORAGE_KEY": "b2YtYS10ZXN0"}


@dataclass
class Stand:
    """A kind of bucket, and how to open one.

    Attributes:
        url: A backend's address, with ``{}`` where its bucket's name belongs.
        environment: What whoever opens it needs in the environment.
        server: The stand-in; None where it is none of ours.
        opened: What was opened and is not closed yet.
    """

    url: str
    environment: dict[str, str] = field(default_factory=dict)
    server: ObjectServer | None = None
    opened: list[Bucket] = field(default_factory=list)

    def open(self, name: str = "state", directory: Path = Path("/")) -> Bucket:
        engine = Engine(directory, {"HOME": str(directory), **self.environment})
        store = open_store(self.url.format(name), "shop", "one", engine, "one")
        assert isinstance(store, DiyStore)
        self.opened.append(store.bucket)
        return store.bucket

    def close(self) -> None:
        """Close the connections that the makers' libraries keep for as long as a process lives.

        Collected at some later moment they would fail a test that has nothing to do with them.
        """
        while self.opened:
            kept = vars(self.opened.pop())
            for client in filter(None, map(kept.get, ("_client", "_container"))):
                client.close()


@contextmanager
def _directory(root: Path) -> Iterator[Stand]:
    (root / "state").mkdir()
    yield Stand(f"file://{root}/{{}}")


@contextmanager
def _s3(_: Path) -> Iterator[Stand]:
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        made = urllib.request.Request(f"http://{host}:{port}/state", method="PUT")
        urllib.request.urlopen(made, timeout=60).close()  # noqa: S310
        keys = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "of-a-test"}
        at = f"endpoint=http://{host}:{port}&s3ForcePathStyle=true"
        yield Stand(f"s3://{{}}/team?region=us-east-1&{at}", keys)
    finally:
        server.stop()


@contextmanager
def _google(_: Path) -> Iterator[Stand]:
    with object_servers.google() as server:
        emulator = {"STORAGE_EMULATOR_HOST": server.url}
        yield Stand("gs://{}/team", emulator, server)


@contextmanager
def _azure(_: Path) -> Iterator[Stand]:
    with object_servers.azure() as server:
        domain = server.url.removeprefix("http://")
        url = f"azblob://{{}}/team?storage_account=acme&protocol=http&domain={domain}"
        yield Stand(url, ACCOUNT, server)


KINDS: dict[str, Callable[[Path], AbstractContextManager[Stand]]] = {
    "directory": _directory,
    "s3": _s3,
    "gs": _google,
    "azblob": _azure,
}
far_away = pytest.mark.parametrize(
    "stand", [kind for kind in KINDS if kind != "directory"], indirect=True, scope="module"
)
OURS = ("gs", "azblob")
"""The servers that can be told to fail."""


@pytest.fixture(scope="module", params=[*KINDS])
def stand(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Stand]:
    """A server that runs as long as the tests of its kind."""
    with KINDS[request.param](tmp_path_factory.mktemp("stand")) as made:
        yield made


@pytest.fixture
def bucket(stand: Stand, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bucket]:
    """An empty bucket."""
    for name, value in stand.environment.items():
        monkeypatch.setenv(name, value)  # The libraries look nowhere else.
    made = stand.open(directory=tmp_path)
    yield made
    for kind in ("aegis/shop", "history/shop/one", "stacks/shop"):
        for entry in made.list(f".pulumi/{kind}/"):
            made.delete(entry.key)
    stand.close()


def test_an_object_is_swapped_only_while_it_is_what_it_was(bucket: Bucket) -> None:
    assert bucket.swap(KEY, None, b"1")
    assert not bucket.swap(KEY, None, b"2")
    assert not bucket.swap(KEY, b"2", b"3")
    assert bucket.swap(KEY, b"1", b"2")
    assert bucket.read(KEY) == b"2"
    assert not bucket.swap(KEY, b"1", None)
    assert bucket.swap(KEY, b"2", None)
    assert not bucket.swap(KEY, b"2", None)
    assert not bucket.swap(KEY, b"2", b"3")
    with pytest.raises(FileNotFoundError):
        bucket.read(KEY)


def test_of_many_who_swap_at_once_one_succeeds(bucket: Bucket) -> None:
    assert bucket.swap(KEY, None, b"before")
    ready, won = threading.Barrier(6), list[int]()

    def contend(number: int) -> None:
        ready.wait()
        if bucket.swap(KEY, b"before", str(number).encode()):
            won.append(number)

    contenders = [threading.Thread(target=contend, args=(it,)) for it in range(6)]
    for each in contenders:
        each.start()
    for each in contenders:
        each.join()
    assert len(won) == 1
    assert bucket.read(KEY) == str(won[0]).encode()


@far_away
@pytest.mark.parametrize("after", [b"mine", None])
def test_a_version_that_somebody_replaced_meanwhile_is_not_replaced(
    bucket: Bucket, monkeypatch: pytest.MonkeyPatch, after: bytes | None
) -> None:
    """Between the look at it and the change. A directory is locked meanwhile."""
    whole: Any = bucket
    assert bucket.swap(KEY, None, b"1")
    found = whole._versioned(whole._at.prefix + KEY)
    assert bucket.swap(KEY, b"1", b"theirs")
    monkeypatch.setattr(whole, "_versioned", lambda _: found)
    assert not bucket.swap(KEY, b"1", after)
    assert bucket.read(KEY) == b"theirs"


def test_objects_are_listed_in_order_and_only_those_of_the_place(bucket: Bucket) -> None:
    keys = [f".pulumi/history/shop/one/one-{it}.history.json" for it in range(3 * PAGE)]
    for key in reversed(keys):
        assert bucket.swap(key, None, key.encode())
    assert bucket.swap(".pulumi/history/shop/one/below/x.json", None, b"x")
    assert bucket.swap(".pulumi/history/shop/two/x.json", None, b"x")
    listed = [it.key for it in bucket.list(".pulumi/history/shop/one/") if it.name != "below"]
    assert listed == keys
    assert [it.name for it in bucket.list(keys[4][:-4])] == ["one-4.history.json"]
    assert bucket.list(".pulumi/history/shop/three/") == []
    assert bucket.read_many(keys) == {key: key.encode() for key in keys}
    gone = bucket.read_many([keys[0], "no/such.json"])
    assert (gone[keys[0]], type(gone["no/such.json"])) == (keys[0].encode(), FileNotFoundError)
    for key in (".pulumi/history/shop/one/below/x.json", ".pulumi/history/shop/two/x.json"):
        bucket.delete(key)
    if isinstance(bucket, DirectoryBucket):
        Path(bucket.place(".pulumi/history/shop/one/below")).rmdir()


def test_the_newest_of_some_is_told_by_their_times(bucket: Bucket) -> None:
    for ending in ("", ".gz"):
        assert bucket.swap(f".pulumi/stacks/shop/one.json{ending}", None, b"{}")
    first, second = bucket.list(".pulumi/stacks/shop/one.json")
    assert (first.name, second.name) == ("one.json", "one.json.gz")
    assert second.modified >= first.modified > 0


@pytest.mark.parametrize("content", [b"", b"x" * 100, "한\r\n--\n".encode(), bytes(range(256))])
def test_what_is_read_is_what_was_written_or_its_beginning(bucket: Bucket, content: bytes) -> None:
    assert bucket.swap(KEY, None, content)
    assert bucket.read(KEY) == content
    if content:
        assert bucket.read(KEY, 1_000) == content
        assert bucket.read(KEY, 10) == content[:10]


def test_what_is_not_there_can_be_deleted(bucket: Bucket) -> None:
    bucket.delete(KEY)
    assert bucket.list(".pulumi/aegis/shop/") == []


def test_it_is_there_or_named(bucket: Bucket, stand: Stand) -> None:
    bucket.require()
    with pytest.raises(AegisError, match="cannot be reached") as raised:
        stand.open("nobodys").require()
    assert "nobodys" in raised.value.why
    assert "one.claim" in bucket.place(KEY)
    assert "state" in bucket.place(KEY)


@far_away
def test_what_is_far_away_has_room_and_is_written_by_other_machines_too(bucket: Bucket) -> None:
    bucket.require_room(".pulumi/stacks/shop/one.json")
    assert not bucket.is_own(".pulumi/locks/")


class TestOverTheWire:
    """What happens between a library and a server that is far away."""

    @pytest.fixture(params=OURS)
    def far(
        self, request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> Iterator[tuple[Bucket, ObjectServer]]:
        with KINDS[request.param](tmp_path) as made:
            for name, value in made.environment.items():
                monkeypatch.setenv(name, value)
            if request.param == "azblob":
                # It waits a quarter of a minute before it asks again.
                transport = "azure.core.pipeline.transport.HttpTransport.sleep"
                monkeypatch.setattr(transport, lambda *_: None)
            assert made.server is not None
            yield made.open(directory=tmp_path), made.server
            made.close()
            # Of an answer that was lost a library leaves the connection to the collector.
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ResourceWarning)
                gc.collect()

    def test_a_write_whose_answer_was_lost_is_done_once_and_counts(
        self, far: tuple[Bucket, ObjectServer]
    ) -> None:
        bucket, server = far
        for before, after in ((None, b"mine"), (b"mine", b"mine, later"), (b"mine, later", None)):
            server.lost = 1
            assert swap(bucket, KEY, before, after)
        with pytest.raises(FileNotFoundError):
            bucket.read(KEY)
        assert server.lost == 0

    def test_a_server_that_is_away_for_a_moment_is_asked_again(
        self, far: tuple[Bucket, ObjectServer]
    ) -> None:
        bucket, server = far
        assert bucket.swap(KEY, None, b"1")
        server.broken = 1
        assert bucket.read(KEY) == b"1"
        assert server.broken == 0
