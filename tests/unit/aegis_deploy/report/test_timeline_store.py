"""Timelines are kept, found again, bounded in number, and hold no secret; none fails a deploy."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from aegis_deploy.backend.artifacts import ArtifactStore
from aegis_deploy.backend.buckets.directory import DirectoryBucket
from aegis_deploy.common.errors import AegisError
from aegis_deploy.history.stack_history import releases
from aegis_deploy.model.release import MASK, ConfigValue
from aegis_deploy.model.timeline import UPDATE
from aegis_deploy.model.verdict import Verdict
from aegis_deploy.report import timeline_store
from aegis_deploy.report.recorder import Recorder, name_of
from aegis_deploy.stack.session import Session
from tests.unit.aegis_deploy.made_backend import MadeBackend
from tests.unit.aegis_deploy.made_timeline import made_timeline, now, put

SECRET = "hunter2-hunter2"
CRASHED = Verdict(passed=False, reason="crash", kind="crash", evidence=(f"token={SECRET}",))


@pytest.fixture
def backend(tmp_path: Path) -> MadeBackend:
    return MadeBackend(tmp_path)


@pytest.fixture
def session(backend: MadeBackend) -> Session:
    return backend.session()


def kept(session: Session) -> list[str]:
    return session.store.timelines.names()


def knows_its_secrets(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    hidden = {"shop:token": ConfigValue(SECRET, secret=True)}
    monkeypatch.setattr(type(session), "settings", lambda _: hidden)
    monkeypatch.setattr(
        type(session), "decrypted", lambda _, them: {k: it.value for k, it in them.items()}
    )


class TestKept:
    """A block that is recorded."""

    def test_is_kept_with_how_it_ended(self, session: Session) -> None:
        recording, warned = Recorder(session.name), list[str]()
        with (
            pytest.raises(AegisError),
            timeline_store.kept(session, recording, "deploy", warned.append),
            recording.phase(UPDATE),
        ):
            raise AegisError(what="no", why="because")
        [name] = kept(session)
        from aegis_deploy.report.timeline_codec import decode

        found = decode(session.store.timelines.read(name))
        assert (found.command, found.finished, found.phases[0].failed) == ("deploy", True, True)
        assert found.outcome == "no\nbecause\nnothing was changed"
        assert warned == []

    def test_in_which_nothing_was_changed_is_not(self, session: Session) -> None:
        with timeline_store.kept(session, Recorder(session.name), "deploy", pytest.fail):
            pass
        assert kept(session) == []

    def test_that_cannot_be_kept_is_a_warning(
        self, session: Session, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def full(*_: object) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(ArtifactStore, "write", full)
        recording, warned = Recorder(session.name), list[str]()
        with (
            timeline_store.kept(session, recording, "deploy", warned.append),
            recording.phase(UPDATE),
        ):
            pass
        assert len(warned) == 1
        assert "No space left" in warned[0]


class TestSecrets:
    """What a container wrote may hold them."""

    def recorded(self, session: Session) -> Recorder:
        recording = Recorder(session.name)
        with recording.phase(UPDATE):
            recording.judged(CRASHED)
        return recording

    def test_are_masked(self, session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
        knows_its_secrets(session, monkeypatch)
        timeline_store.save(session, self.recorded(session), pytest.fail, finished=True)
        content = session.store.timelines.read(kept(session)[0]).decode()
        assert SECRET not in content
        assert f"token={MASK}" in content

    def test_that_cannot_be_read_leave_the_evidence_out(
        self, session: Session, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        knows_its_secrets(session, monkeypatch)

        def locked(*_: object, **__: object) -> None:
            raise AegisError(what="no passphrase")

        monkeypatch.setattr(type(session), "decrypted", locked)
        timeline_store.save(session, self.recorded(session), pytest.fail, finished=True)
        content = session.store.timelines.read(kept(session)[0]).decode()
        assert SECRET not in content
        assert "could not be read" in content

    def test_are_not_asked_for_while_somebody_waits(
        self, session: Session, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(type(session), "decrypted", lambda *_, **__: pytest.fail("asked"))
        timeline_store.save(session, self.recorded(session), pytest.fail, finished=False)
        assert SECRET not in session.store.timelines.read(kept(session)[0]).decode()

    def test_are_known_by_their_parts_their_lines_and_their_base64(self) -> None:
        found = timeline_store.secrets_of(
            [{"user": "annabelle", "keys": ["one-key", 1234567]}, "a\nlong"]
        )
        assert {"annabelle", "one-key", "1234567", "long"} <= found
        assert "YW5uYWJlbGxl" in found
        assert "a" not in found

    def test_cut_off_with_a_long_line_are_masked_too(self) -> None:
        line = "x" * 300 + SECRET[:9]
        timeline = replace(made_timeline(now()), outcome=line)
        assert timeline_store.masked(timeline, {SECRET}).outcome == "x" * 300 + MASK


class TestFind:
    """Which timeline is a release's."""

    def test_that_of_the_change_that_was_under_way(
        self, backend: MadeBackend, session: Session
    ) -> None:
        for _ in range(3):
            backend.update()
        third, second, first = releases(session)
        for it in (first, second):
            began = it.started - timedelta(seconds=2.5)
            put(session, replace(made_timeline(now()), started=began, seconds=9.0))
        found = timeline_store.find(session.store.timelines, second)
        assert found is not None
        assert found.started == second.started - timedelta(seconds=2.5)
        assert timeline_store.find(session.store.timelines, third) is None

    def test_that_of_a_gate_within_a_plain_update(
        self, backend: MadeBackend, session: Session
    ) -> None:
        backend.update()
        [release] = releases(session)
        began = release.started + timedelta(seconds=2)
        put(session, replace(made_timeline(now()), started=began, seconds=2.0))
        assert timeline_store.find(session.store.timelines, release) is not None

    def test_one_change_may_have_made_two(self, backend: MadeBackend, session: Session) -> None:
        backend.update("failed")
        backend.update(message="aegis: automated rollback to release 1: x")
        rollback, failed = releases(session)
        put(session, replace(made_timeline(failed.started), seconds=70.0))
        shelf = session.store.timelines
        assert (
            timeline_store.find(shelf, failed) == timeline_store.find(shelf, rollback) is not None
        )

    def test_a_damaged_one_is_said_to_be(self, backend: MadeBackend, session: Session) -> None:
        backend.update()
        [release] = releases(session)
        session.store.timelines.write(name_of(release.started.timestamp()), b"{")
        with pytest.raises(ValueError, match="Expecting"):
            timeline_store.find(session.store.timelines, release)


def test_only_the_newest_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timeline_store, "MOST_KEPT", 5)
    shelf = ArtifactStore(DirectoryBucket(tmp_path), "shelf")
    names = [name_of(float(it)) for it in range(timeline_store.MOST_KEPT + 5)]
    for name in names:
        timeline_store.keep(shelf, name, made_timeline(now()))
    assert shelf.names() == names[-timeline_store.MOST_KEPT :]
