"""Pulumi Cloud as the backend: the real CLI and engine, and a stand-in of the service.

History, show, diff and rollback are in test_backends_in_engine.py, for every kind of backend.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor

import pytest

from aegis_deploy.backend.cloud_store import ServiceStore
from aegis_deploy.common.errors import AegisError, ExitCode
from aegis_deploy.common.process import Machine
from aegis_deploy.history import stack_history, verification_store
from aegis_deploy.locking import diagnosis, lease, lock_holders
from aegis_deploy.locking.lock_holders import Claim, Life
from aegis_deploy.model.fingerprint import fingerprint
from aegis_deploy.stack.session import Session, signature
from tests.integration.cloud_service import Asked
from tests.integration.cloud_shop import Shop, with_program
from tests.integration.shop import objects
from tests.integration.waiting import wait_until

pytestmark = pytest.mark.integration


def left(intent: str, target: int | None = None) -> Claim:
    """The claim of a deployer that has died on this machine."""
    here = Machine.here()
    return Claim(
        id="1" * 12,
        who=signature({})["PULUMI_CI_BUILD_ID"],
        boot=here.boot[:13],
        pid=4_000_000,
        ticks=1,
        since="2026-01-02T03:04:05Z",
        intent=intent,
        target=target,
    )


def test_a_release_is_verified_and_a_bad_one_rolled_back_with_its_settings(shop: Shop) -> None:
    with_program(shop.stand)
    assert shop.deploys("v1") == ExitCode.OK, shop.said
    shop.stand.tell("fail", "create ConfigMap")
    assert shop.deploys("v2") == ExitCode.ROLLED_BACK, shop.said
    (shop.stand.root / "fail").unlink()
    assert shop.live() == ["web-v1"]
    assert shop.aegis("history --json") == ExitCode.OK
    listed = json.loads(shop.said)["releases"]
    assert [(it["number"], it["result"], it["verified"]) for it in listed] == [
        (3, "succeeded", True),
        (2, "failed", False),
        (1, "succeeded", True),
    ]
    assert listed[0]["restores"] == 1
    assert shop.aegis("preview") == ExitCode.OK, shop.said
    assert shop.aegis("config restore") == ExitCode.OK, shop.said
    settings = (shop.stand.root / "project" / "Pulumi.one.yaml").read_text()
    assert "version: v1" in settings
    assert shop.stand.run("config", "get", "token", "--stack", "one").stdout.strip() == "hunter2"
    for sealed in (shop.stack.exported(None), [it.info() for it in shop.stack.updates]):
        assert "hunter" not in json.dumps(sealed)


class TestADeathInTheMiddle:
    """The CLI is killed while it creates an object: the service still holds its lease."""

    def test_of_a_deployer_that_left_its_claim_is_recovered_from(self, shop: Shop) -> None:
        session = shop.stand.die_while_creating()
        session.store.swap_claim(None, left("deploy").encode())
        dead = shop.stack.updates[-1]
        with pytest.raises(AegisError, match="locked by another update"):
            session.update(program=objects("a"), message="while it is held")
        assert [it.life for it in lock_holders.holders(session)] == [Life.ORPHANED] * 2
        assert shop.aegis("recover --json") == ExitCode.OK, shop.said
        document = json.loads(shop.said[: shop.said.rindex("}") + 1])
        assert (document["action"], document["target"]) == ("restore", 1)
        assert dead.cancelled
        shop.stand.wait_for("delete ConfigMap b")
        assert shop.live() == ["a"]
        newest = stack_history.releases(session)[0]
        assert (newest.restores, newest.verified, newest.succeeded) == (1, True, True)
        assert lock_holders.holders(session) == []
        assert shop.aegis("recover") == ExitCode.OK
        assert stack_history.releases(session)[0].number == newest.number

    def test_of_a_cli_of_which_nobody_knows_is_asked_about(self, shop: Shop) -> None:
        shop.stand.die_while_creating()
        assert shop.aegis("recover") == ExitCode.REFUSED, shop.said
        assert "has in progress, of ann" in shop.said
        assert "--take-lock" in shop.said
        assert shop.aegis("recover --take-lock") == ExitCode.OK, shop.said
        assert shop.live() == ["a"]

    def test_whose_lease_has_run_out_needs_nobody_to_be_asked(self, shop: Shop) -> None:
        shop.stack.journals = (
            False  # The CLI sends states then, which must not lack what was begun.
        )
        session = shop.stand.die_while_creating()
        assert [it.life for it in lock_holders.holders(session)] == [Life.UNKNOWN]
        shop.stack.clock = lambda: time.time() + 2 * shop.stack.lease_seconds
        assert lock_holders.holders(session) == []
        found = diagnosis.diagnose(session)
        assert [str(it) for it in found.pending] == ["creating b"]
        decision = diagnosis.decide(found)
        assert decision.target is not None
        assert decision.target.number == 1


class TestSomebodyElse:
    """Two at once: the service lets one update run, and the claim in the tags covers the rest."""

    def test_who_updates_is_named(self, shop: Shop) -> None:
        session = shop.stand.open()
        session.update(program=objects("a"), message="first")
        bobs = shop.stack.create("update", {}, "bob")
        shop.stack.start(bobs.id, {})
        try:
            with pytest.raises(AegisError, match="locked by another update") as raised:
                session.update(program=objects("a", "b"), message="second")
            assert "Another update is currently in progress" in raised.value.why
            assert shop.aegis("deploy --yes") == ExitCode.REFUSED
            assert "bob, since" in shop.said
            assert shop.aegis("status --no-drift") in {ExitCode.OK, ExitCode.NOT_ROLLED_BACK}
            assert "bob" in shop.said
        finally:
            shop.stack.cancel(bobs.id)

    def test_who_deploys_is_named_with_the_message(self, shop: Shop) -> None:
        session = shop.stand.open()
        with lease.claimed(session, intent="deploy", message="Ship it"):
            assert shop.aegis("rollback --yes") == ExitCode.REFUSED
            assert "Ship it" in shop.said
        assert session.store.claim() is None

    def test_of_many_who_come_at_once_one_has_the_claim(self, store: ServiceStore) -> None:
        barrier, wrote = threading.Barrier(4), set[int]()

        def until_all_wrote(_: float = 0.0) -> None:
            wrote.add(threading.get_ident())
            wait_until(lambda: len(wrote) == barrier.parties, "some did not write")

        def take(number: int) -> bool:
            barrier.wait()
            taken = store.swap_claim(None, json.dumps([f"{number:012}"]))
            until_all_wrote()  # One that found it taken has waited for nobody.
            return taken

        store.sleep = until_all_wrote
        with ThreadPoolExecutor(4) as pool:
            taken = list(pool.map(take, range(4)))
        assert taken.count(True) == 1
        assert store.claim() == json.dumps([f"{taken.index(True):012}"])

    def test_a_claim_outlives_the_start_of_an_update_that_writes_older_tags_back(
        self, shop: Shop
    ) -> None:
        session = shop.stand.open()
        beats: list[bool] = []

        def beat(held: lease.Claimed) -> Callable[[Asked], None]:
            def before(asked: Asked) -> None:
                starts = "/update/" in asked.path and asked.path.count("/") == 7
                if asked.method == "POST" and starts and not beats:
                    beats.append(True)
                    held.becomes("deploy")  # It writes the claim, as its heart does.

            return before

        with lease.claimed(session, intent="recover", message="Ship it") as held:
            shop.cloud.fault = beat(held)
            assert session.update(program=objects("a"), message="first").succeeded
            assert beats
            held.becomes("deploy")
            held.require()
        assert session.store.claim() is None


def test_what_was_rolled_back_is_known_by_its_settings_and_pardoned(shop: Shop) -> None:
    session = shop.stand.open()
    session.update(program=objects("a"), message="first")
    release = stack_history.releases(session)[0]
    name = fingerprint("sha256:1", release.config)
    verification_store.refuse(session, release, name, "it\ncrashed")
    session.update(program=objects("a"), message="second")
    again = shop.stand.open()
    to_come = fingerprint("sha256:1", again.settings())
    assert (verification_store.why_refused(again, to_come) or "").startswith("it crashed (")
    shop.stand.pulumi("config", "set", "--secret", "token", "hunter2", "--stack", "one")
    assert verification_store.why_refused(again, fingerprint("sha256:1", again.settings())) is None
    verification_store.pardon(again, to_come)
    assert verification_store.why_refused(session, name) is None


def test_marks_that_are_set_at_once_are_all_kept(
    store: ServiceStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    write, writing = store._write, set[object]()

    def watched(change: Mapping[str, str | None]) -> None:
        this = object()
        writing.add(this)
        try:
            write(change)
        finally:
            writing.remove(this)

    def until_others_wrote(_: float) -> None:
        others = set(writing)
        wait_until(lambda: others.isdisjoint(writing), "some did not write")

    def mark(who: str) -> None:
        for number in range(3):
            store.change_tags({f"aegis:{who}.{number}": "x" * 256})

    monkeypatch.setattr(store, "_write", watched)
    store.sleep = until_others_wrote
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(mark, ("one", "two")))
    marks = {f"aegis:{who}.{number}" for who in ("one", "two") for number in range(3)}
    assert store.tags().keys() == {"pulumi:project", *marks}


class TestTheStacksName:
    """With its organization, and with its project."""

    def test_leads_to_the_stack_of_the_organization(self, shop: Shop) -> None:
        shop.stand.pulumi("stack", "init", "acme/two")
        project = shop.stand.root / "project"
        for name in ("acme/two", "acme/shop/two"):
            session = Session.open(name, project, shop.stand.environment)
            assert session.name == "two"
            assert session.update(program=objects(name.replace("/", "-")), message=name).succeeded
        stack = shop.cloud.stacks["acme/shop/two"]
        assert [it.info()["message"] for it in stack.updates] == ["acme/two", "acme/shop/two"]
        assert shop.aegis("history --json", "acme/two") == ExitCode.OK
        assert [it["number"] for it in json.loads(shop.said)["releases"]] == [2, 1]
        with pytest.raises(AegisError, match="no such stack"):
            Session.open("acme/three", project, shop.stand.environment)
        with pytest.raises(AegisError, match="a stack of the project mall"):
            Session.open("acme/mall/two", project, shop.stand.environment)
