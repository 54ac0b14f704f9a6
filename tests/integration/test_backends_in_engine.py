"""History and rollback on every kind of backend that is far away, by the real CLI."""

from __future__ import annotations

import itertools
import json
import re
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from aegis_deploy.backend.diy_store import DiyStore
from aegis_deploy.common.errors import AegisError
from aegis_deploy.history import stack_history, verification_store
from aegis_deploy.locking import lease, lock_holders
from aegis_deploy.locking.lock_holders import Life
from aegis_deploy.stack import checkpoint
from aegis_deploy.stack.session import Session
from tests.integration import servers
from tests.integration.servers import PASSWORD, Server
from tests.integration.shop import Stand, made_stand, maps, objects
from tests.integration.test_recover_in_engine import left
from tests.integration.waiting import SECONDS
from tests.rendering import ROOT
from tests.series import every

pytestmark = [
    pytest.mark.integration,
    # What Google's library says of a library that it does without.
    pytest.mark.filterwarnings("ignore:Please install grpcio-status:ImportWarning"),
]
KINDS: dict[str, Callable[[], AbstractContextManager[Server]]] = {
    "postgres": servers.postgres,
    "s3": servers.s3,
    "gs": servers.gs,
    "azblob": servers.azblob,
    "cloud": servers.cloud,
}
no_service = pytest.mark.parametrize(
    "kind", [it for it in KINDS if it != "cloud"], indirect=True, scope="module"
)
"""What a service has not, or has in a way of its own: test_cloud_in_engine.py."""
one_of_each = pytest.mark.parametrize(
    "kind",
    ["s3", *(pytest.param(it, marks=every) for it in ("postgres", "gs", "azblob"))],
    indirect=True,
    scope="module",
)
"""For what the one store over all buckets does by itself, whichever it is."""
the_way_back = pytest.mark.parametrize(
    "kind",
    ["postgres", "s3", "cloud", *(pytest.param(it, marks=every) for it in ("gs", "azblob"))],
    indirect=True,
    scope="module",
)
"""For a whole way back on a service as well, of which a bucket's is one."""
_numbers = itertools.count()


@dataclass(frozen=True)
class Said:
    """What a command said.

    Attributes:
        code: Its exit code.
        text: All it printed.
        document: The JSON document on its standard output.
    """

    code: int
    text: str
    document: Any


@pytest.fixture(scope="module", params=[*KINDS])
def kind(request: pytest.FixtureRequest) -> str:
    """A kind of backend."""
    return str(request.param)


@pytest.fixture(scope="module")
def server(kind: str) -> Iterator[Server]:
    """A server that runs as long as this file's tests."""
    with KINDS[kind]() as running:
        yield running


@pytest.fixture
def stand(
    server: Server, tmp_path: Path, programs: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Stand]:
    """A stack in a backend of its own on the server."""
    for name, value in server.environment.items():
        monkeypatch.setenv(name, value)  # The libraries look nowhere else.
    url = server.place(f"backend{next(_numbers)}")
    with made_stand(tmp_path, programs, url, server.environment) as made:
        yield made


def aegis(stand: Stand, *arguments: str) -> Said:
    """Run the command as a person does."""
    done = subprocess.run(
        [sys.executable, "-m", "aegis_deploy.cli.main", *arguments, "--json", "--stack", "one"],
        cwd=stand.root / "project",
        env={**stand.environment, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    text = done.stdout + done.stderr
    for hidden in (PASSWORD, "hunter2", "hunter3"):
        assert hidden not in text
    return Said(done.returncode, text, json.loads(done.stdout) if done.stdout else None)


@the_way_back
def test_a_release_of_before_is_listed_shown_compared_and_restored(stand: Stand) -> None:
    for number, packing in enumerate(({}, {"PULUMI_DIY_BACKEND_ZSTD": "true"}, {}), start=1):
        session = stand.open(**packing)
        program = objects("a", *("b" * (number > 1)), data=f"of release {number}")
        outcome = session.update(program=program, message=f"change {number}")
        assert outcome.succeeded, outcome.failures
    before = {"of release 2"}

    listed = aegis(stand, "history", "--limit", "2").document
    assert [(it["number"], it["message"]) for it in listed["releases"]] == [
        (3, "change 3"),
        (2, "change 2"),
    ]
    assert listed["more"] == 1
    shown = aegis(stand, "show", "2")
    assert (shown.code, "change 2" in shown.text) == (0, True)
    compared = aegis(stand, "diff", "1", "2")
    assert "ConfigMap" in compared.text

    done = aegis(stand, "rollback", "--to", "2", "--yes")
    assert done.code == 0, done.text
    assert {it["inputs"]["data"]["x"] for it in maps(stand.open())} == before  # type: ignore[index]
    newest = stack_history.releases(stand.open())[0]
    assert (newest.number, newest.restores, newest.result) == (4, 2, "succeeded")
    assert newest.config["shop:token"].encrypted
    restored = checkpoint.load(stand.open(), newest)
    assert checkpoint.plain(restored.outputs["secret"]) == "hunter3"


@no_service
def test_a_lock_of_the_dead_is_seen_and_taken_away_and_a_claim_is_had_by_one(stand: Stand) -> None:
    session = stand.open()
    store = session.store
    assert isinstance(store, DiyStore)
    who = {"pid": 4_000_000, "username": "ann", "hostname": socket.gethostname()}
    text = json.dumps({**who, "timestamp": "2026-01-02T03:04:05.123456789Z"})
    assert store.bucket.swap(".pulumi/locks/organization/shop/one/x.json", None, text.encode())
    # Another machine may have this one's name, and the backend is anybody's.
    assert [it.life for it in lock_holders.holders(session)] == [Life.UNKNOWN]
    with pytest.raises(AegisError, match="locked by another update") as raised:
        session.update(program=objects("a"), message="while it is locked")
    assert "ann@" in raised.value.why
    with pytest.raises(AegisError, match="may be being worked on"):
        lock_holders.clear(session)
    lock_holders.clear(session, take=True)
    assert lock_holders.holders(session) == []

    with lease.claimed(session, intent="deploy", message="ship it"):
        assert not store.swap_claim(None, "another")
        assert not store.swap_claim("another", None)
        assert [it.message for it in lock_holders.holders(session)] == ["ship it"]
    assert store.claim() is None


def updated(stand: Stand, message: str) -> tuple[Session, DiyStore]:
    """A stack with a verified release, and another update after it."""
    session = stand.open()
    store = session.store
    assert isinstance(store, DiyStore)
    assert session.update(program=objects("a"), message="good").succeeded
    verification_store.mark_verified(session, stack_history.releases(session)[0])
    assert session.update(program=objects("a", "b"), message=message).succeeded
    return session, store


@one_of_each
def test_what_a_machine_recorded_whose_clock_is_ahead_gets_no_mark_of_anothers(
    stand: Stand,
) -> None:
    session, store = updated(stand, "bad")
    written = stack_history.releases(session)[0].key
    shift(store, written, 120)

    done = aegis(stand, "rollback", "--to", "1", "--yes")

    assert done.code == 0, done.text
    found = stack_history.releases(stand.open())
    assert [(it.message, it.verified, it.current) for it in found] == [
        ("aegis: rollback to release 1", True, True),
        ("bad", False, False),
        ("good", True, False),
    ]
    assert done.document["release"] == 3
    assert store.checkpoint(found[0]) is not None


@one_of_each
def test_an_update_that_a_dead_machine_recorded_whose_clock_is_behind_is_not_passed_over(
    stand: Stand,
) -> None:
    session, store = updated(stand, "unjudged")
    # It died after the CLI had recorded that, and before it saw to its place in the history.
    shift(store, stack_history.releases(session)[0].key, -120)
    store.swap_claim(None, left("deploy").encode())
    assert [it.message for it in stack_history.releases(session)] == ["good", "unjudged"]

    done = aegis(stand, "recover")

    # The one that it left is judged, not the one that a clock calls the last.
    assert (done.code, done.document["action"]) == (0, "judge"), done.text
    found = stack_history.releases(session)
    assert [(it.message, it.verified) for it in found] == [("unjudged", True), ("good", True)]
    assert done.document["target"] == found[0].number == 2
    assert store.checkpoint(found[0]) == session.export()["deployment"]
    assert aegis(stand, "recover").document["action"] == "nothing"


@one_of_each
def test_a_state_that_the_last_record_does_not_have_is_not_taken_for_it(stand: Stand) -> None:
    session, store = updated(stand, "unjudged")
    # Nobody says whose it was.
    shift(store, stack_history.releases(session)[0].key, -120)

    done = aegis(stand, "recover")

    assert (done.code, done.document["action"]) == (0, "restore"), done.text
    assert [it["id"] for it in maps(session)] == ["a"]
    assert stack_history.releases(session)[0].verified
    assert aegis(stand, "recover").document["action"] == "nothing"


def shift(store: DiyStore, key: str, seconds: int) -> None:
    """Name an update's records as a machine names them whose clock is so far ahead, or behind."""
    named = str(int(key) + seconds * 10**9)
    for entry in store.bucket.list(f".pulumi/history/shop/one/one-{key}."):
        content = store.bucket.read(entry.key)
        assert store.bucket.swap(entry.key.replace(key, named), None, content)
        store.bucket.delete(entry.key)


@no_service
def test_projects_and_backends_do_not_mix(server: Server, stand: Stand) -> None:
    elsewhere = {**stand.environment, "PULUMI_BACKEND_URL": server.other}
    with pytest.raises(AegisError, match="no stack one of shop"):
        replace(stand, environment=elsewhere).open()
    assert stand.open().update(program=objects("a"), message="ours").succeeded
    project = stand.root / "project" / "Pulumi.yaml"
    project.write_text("name: mall\nruntime: python\n")
    with pytest.raises(AegisError, match="no stack one of mall"):
        stand.open()
    with pytest.raises(AegisError, match="a stack of the project shop"):
        Session.open("organization/shop/one", project.parent, stand.environment)
    project.write_text("name: shop\nruntime: python\n")
    full = Session.open("organization/shop/one", project.parent, stand.environment)
    assert [it.message for it in stack_history.releases(full)] == ["ours"]


# Google's has no address in its URL, and its library asks for two minutes before it says so.
@pytest.mark.parametrize(
    "kind",
    # Azure's library asks for a minute before it says so.
    ["postgres", "s3", pytest.param("azblob", marks=every)],
    indirect=True,
    scope="module",
)
def test_a_server_that_is_not_there_is_named_without_its_password(
    stand: Stand, server: Server
) -> None:
    gone = re.sub(r"127\.0\.0\.1:\d+", "127.0.0.1:9", server.place("gone"))
    environment = {**stand.environment, "PULUMI_BACKEND_URL": gone, "AWS_MAX_ATTEMPTS": "1"}
    said = aegis(replace(stand, environment=environment), "history")
    assert said.code == 3
    assert "backend cannot be reached" in said.text
