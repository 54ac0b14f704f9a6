"""A stack opened by `aegis`, with the real engine: updates, their end, and what it leaves."""

from __future__ import annotations

import json
import os
import socket
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from aegis_deploy.common.console import Output
from aegis_deploy.common.errors import AegisError
from aegis_deploy.common.signals import Signals
from aegis_deploy.flows.context import FlowContext
from aegis_deploy.history import stack_history, verification_store
from aegis_deploy.history.compare import compare
from aegis_deploy.history.inspection import inspect
from aegis_deploy.history.listing import collect
from aegis_deploy.locking import state_repair
from aegis_deploy.locking.diagnosis import Action, decide, diagnose
from aegis_deploy.locking.lock_holders import Life
from aegis_deploy.model.fingerprint import fingerprint
from aegis_deploy.model.release import ConfigValue
from aegis_deploy.stack.session import Session
from tests.integration.shop import Stand, copied_stand, made_stand, maps, objects

pytestmark = pytest.mark.integration


@pytest.fixture
def stand(tmp_path: Path, programs: Path, made_shop: Path) -> Iterator[Stand]:
    with copied_stand(made_shop, tmp_path, programs) as made:
        yield made


def test_a_stack_is_made_and_taken_away_by_the_cli(tmp_path: Path, programs: Path) -> None:
    (tmp_path / "backend").mkdir()
    with made_stand(tmp_path, programs, f"file://{tmp_path / 'backend'}", {}) as stand:
        session = stand.open()
        assert session.update(program=objects("a"), message="first").succeeded
        stand.pulumi("stack", "rm", "--force", "--yes", "--stack", "one")
        with pytest.raises(AegisError, match="no stack one of shop"):
            stand.open()
        stand.init()
        again = stand.open()
        assert stack_history.releases(again) == []
        assert again.update(program=objects("b"), message="first").succeeded
        assert [it["id"] for it in maps(again)] == ["b"]


class TestAnUpdate:
    """It comes to an outcome, whatever happens."""

    def test_that_succeeds_is_recorded_with_its_message_settings_and_who(
        self, stand: Stand
    ) -> None:
        session = stand.open()
        outcome = session.update(program=objects("a"), message="Ship it")
        assert outcome.succeeded, outcome.why
        assert outcome.summary == {"create": 2}
        release = stack_history.releases(session)[0]
        assert (release.number, release.message, release.current) == (1, "Ship it", True)
        assert release.who.endswith(f"@{socket.gethostname()}")
        assert {key: it.shown for key, it in release.config.items()} == {
            "shop:replicas": "2",
            "shop:token": "[secret]",
        }
        assert stack_history.deployed(session, release).version == "1.0.1"

    def test_that_fails_is_an_outcome_that_says_why(self, stand: Stand) -> None:
        stand.tell("fail", "create ConfigMap")
        session = stand.open()
        outcome = session.update(program=objects("a"), message="Ship it")
        assert not outcome.succeeded
        assert [it.message for it in outcome.failures] == [
            "create ConfigMap fails, as the test asks"
        ]
        assert stack_history.releases(session)[0].result == "failed"

    def test_that_is_stopped_ends_without_a_lock_or_a_word_left_over(self, stand: Stand) -> None:
        stand.tell("hang", "create ConfigMap")
        session = stand.open()

        def stop() -> None:
            stand.wait_for("create ConfigMap a")
            session.stop()
            (stand.root / "hang").unlink()

        asked = threading.Thread(target=stop)
        asked.start()
        outcome = session.update(program=objects("a", "b"), message="Ship it")
        asked.join()
        assert (outcome.succeeded, outcome.stopped, outcome.killed) == (False, True, False)
        assert session.store.locks() == []
        assert "pending_operations" not in session.export()["deployment"]

    def test_says_what_happens_and_no_secret(self, stand: Stand) -> None:
        said: list[str] = []
        session = stand.open()
        session.update(program=objects("a"), message="x", on_event=lambda it: said.append(str(it)))
        assert any("kind='ends'" in line and "name='a'" in line for line in said)
        assert "hunter" not in "".join(said)

    def test_with_other_settings_records_those_encrypted(self, stand: Stand) -> None:
        session = stand.open()
        session.update(program=objects("a"), message="first")
        recorded = stack_history.releases(session)[0].config
        before = session.config_file.read_text()
        settings = {
            **recorded,
            "shop:replicas": ConfigValue("3"),
            "shop:extra": ConfigValue("hunter4", secret=True),
        }
        outcome = session.update(program=objects("a"), message="second", config=settings)
        assert outcome.succeeded, outcome.why
        config = stack_history.releases(session)[0].config
        assert config["shop:replicas"].value == "3"
        assert config["shop:token"] == recorded["shop:token"]
        assert config["shop:extra"].encrypted
        assert session.config_file.read_text() == before

    def test_previewed_changes_nothing(self, stand: Stand) -> None:
        session = stand.open()
        changes = session.preview(program=objects("a"))
        assert [(it.op, it.name) for it in changes.changed][-1] == ("create", "a")
        assert stack_history.releases(session) == []

    def test_that_cannot_begin_for_a_wrong_passphrase_says_so(self, stand: Stand) -> None:
        stand.open().update(program=objects("a"), message="first")
        session = stand.open(PULUMI_CONFIG_PASSPHRASE="another")
        with pytest.raises(AegisError) as raised:
            session.update(program=objects("a"), message="second")
        assert "cannot be decrypted with this passphrase" in raised.value.what
        assert len(stack_history.releases(session)) == 1

    def test_that_finds_a_lock_names_its_holder(self, stand: Stand) -> None:
        session = stand.open()
        place = stand.root / "backend/.pulumi/locks/organization/shop/one"
        place.mkdir(parents=True, exist_ok=True)
        stamp = datetime.now(UTC).isoformat()
        content = {"pid": os.getpid(), "username": "ann", "hostname": "ci-7", "timestamp": stamp}
        (place / "theirs.json").write_text(json.dumps(content))
        with pytest.raises(AegisError) as raised:
            session.update(program=objects("a"), message="x")
        assert "locked" in raised.value.what
        assert f"ann@ci-7 (pid {os.getpid()})" in raised.value.why


class TestTheLedger:
    """Marks are in the stack itself."""

    def test_is_seen_by_whoever_opens_the_stack(self, stand: Stand) -> None:
        session = stand.open()
        session.update(program=objects("a"), message="first")
        session.update(program=objects("a", "b"), message="second")
        newest, oldest = stack_history.releases(session)
        verification_store.mark_verified(session, oldest)
        name = fingerprint("sha256:1", session.settings())
        verification_store.refuse(session, newest, name, "it\ncrashed")
        session.update(program=objects("a"), message="third")
        again = stand.open()
        entries = collect(again, limit=None).entries
        assert [it.notes for it in entries] == ["current", "refused", "verified"]
        assert (verification_store.why_refused(again, name) or "").startswith("it crashed (")
        verification_store.pardon(again, name)
        assert verification_store.why_refused(session, name) is None

    def test_names_the_same_settings_whether_recorded_or_to_come(self, stand: Stand) -> None:
        session = stand.open()
        session.update(program=objects("a"), message="first")
        recorded = stack_history.releases(session)[0].config
        assert fingerprint("i", recorded) == fingerprint("i", session.settings())


class TestTheCluster:
    """What is looked at is what is deployed to."""

    @pytest.mark.parametrize("hidden", ["--secret", "--plaintext"])
    def test_is_the_one_of_the_kubeconfig_in_the_settings(self, stand: Stand, hidden: str) -> None:
        named = {"name": "it"}
        kubeconfig = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "another",
            "clusters": [{**named, "cluster": {"server": "https://the-one:6443"}}],
            "users": [{**named, "user": {"token": "t0ken"}}],
            "contexts": [{**named, "context": {"cluster": "it", "user": "it"}}],
        }
        for name, value in (
            ("kubernetes:kubeconfig", json.dumps(kubeconfig)),
            ("kubernetes:context", "it"),
        ):
            stand.pulumi("config", "set", "--stack", "one", hidden, name, value)
        flow = FlowContext.of(stand.open(), Output(), Signals())
        assert flow.clusters.own().address == "https://the-one:6443"


class TestOverrides:
    """What a deploy is told by its arguments, the settings file learns when it is good."""

    def test_are_what_an_update_uses_and_records_and_leave_the_file_as_it_is(
        self, stand: Stand
    ) -> None:
        session = stand.open()
        session.update(program=objects("a"), message="first")
        before = session.config_file.read_bytes()
        overrides = {"shop:replicas": "9", "shop:imageDigest": "sha256:1"}
        assert session.preview(program=objects("a", "b"), overrides=overrides)
        done = session.update(program=objects("a", "b"), message="second", overrides=overrides)
        assert done.succeeded
        assert session.config_file.read_bytes() == before
        second, first = stack_history.releases(session)
        assert {key: second.config[key].value for key in overrides} == overrides
        assert second.config["shop:token"] == first.config["shop:token"]
        assert second.config["shop:token"].encrypted

    def test_come_into_the_file_when_they_are_to_stay(self, stand: Stand) -> None:
        program_update = FlowContext.of(stand.open(), Output(), Signals()).program_update
        program_update.override("replicas", "9")
        assert program_update.settings()["shop:replicas"].value == "9"
        assert stand.open().settings()["shop:replicas"].value != "9"
        program_update.keep_overrides()
        assert stand.open().settings()["shop:replicas"].as_recorded == "9"


class TestShowAndDiff:
    """What people look at holds no secret."""

    def test_say_what_a_release_had_and_what_differs(self, stand: Stand) -> None:
        session = stand.open()
        session.update(program=objects("a"), message="first")
        stand.pulumi("config", "set", "--stack", "one", "replicas", "3")
        session.update(program=objects("a", "b", data="y"), message="second")
        shown = inspect(session, 2)
        assert shown.settings == {"shop:replicas": "3", "shop:token": "[secret]"}
        assert {it.name for it in shown.resources} >= {"a", "b"}
        found = compare(session, 1, 2)
        assert [(it.what, it.before, it.after) for it in found.settings] == [
            ("shop:replicas", "2", "3")
        ]
        assert [(it.name, it.change) for it in found.resources] == [
            ("a", "changed"),
            ("b", "added"),
        ]
        assert [(it.what, it.after) for it in found.resources[0].properties] == [("data.x", "y")]
        assert "hunter" not in json.dumps([shown.as_json(), found.as_json()])

    def test_refuse_a_number_that_is_not_there(self, stand: Stand) -> None:
        session = stand.open()
        session.update(program=objects("a"), message="first")
        with pytest.raises(AegisError, match="there is no release 7"):
            inspect(session, 7)


class TestADeathInTheMiddle:
    """The CLI is killed while it creates an object."""

    @pytest.fixture
    def stand(self, tmp_path: Path, programs: Path, made_dead: Path) -> Iterator[Stand]:
        with copied_stand(made_dead, tmp_path, programs) as made:
            yield made

    @pytest.fixture
    def session(self, stand: Stand) -> Session:
        """A stack with a verified release, killed in the update after it."""
        return stand.open()

    def test_is_seen_and_leads_back_to_the_verified_release(self, session: Session) -> None:
        diagnosis = diagnose(session)
        assert [it.life for it in diagnosis.holders] == [Life.ORPHANED]
        assert [str(it) for it in diagnosis.pending] == ["creating b"]
        decision = decide(diagnosis)
        assert decision.action is Action.RESTORE
        assert decision.target is not None
        assert decision.target.number == 1

    def test_is_settled_so_that_the_object_begun_is_known_and_can_go(
        self, stand: Stand, session: Session
    ) -> None:
        settled = state_repair.settle(session)
        assert [str(it) for it in settled.confirmed] == ["creating b"]
        diagnosis = diagnose(session)
        assert (diagnosis.holders, diagnosis.pending) == ((), ())
        state_repair.refresh(session)
        assert not state_repair.disown(session, settled).foreign
        outcome = session.update(program=objects("a"), message="restore", refresh=True)
        assert outcome.succeeded, outcome.why
        stand.wait_for("delete ConfigMap b")
        assert [it["id"] for it in maps(session)] == ["a"]

    def test_is_settled_so_that_an_object_never_made_is_forgotten(
        self, stand: Stand, session: Session
    ) -> None:
        stand.tell("gone", "shop/b")
        assert state_repair.tidy(session)
        assert [it["id"] for it in maps(session)] == ["a"]
        assert "pending_operations" not in session.export()["deployment"]
        assert not state_repair.tidy(session)
