"""What a store without a service says, whole and damaged."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aegis_deploy.backend.buckets.directory import DirectoryBucket
from aegis_deploy.backend.history_files import UNREADABLE
from aegis_deploy.backend.state_faults import Faults
from aegis_deploy.common.errors import AegisError
from aegis_deploy.history import stack_history
from tests.unit.aegis_deploy.made_backend import DIGEST, MadeBackend, deployment

COPY = '{"checkpoint": {"latest": {}}}'


@pytest.fixture
def backend(tmp_path: Path) -> MadeBackend:
    return MadeBackend(tmp_path)


class TestReleases:
    """The history's releases."""

    def test_are_listed_newest_first_and_numbered_from_the_oldest(
        self, backend: MadeBackend
    ) -> None:
        backend.update()
        backend.update("failed")
        backend.update(kind="refresh")
        found = stack_history.releases(backend.session())
        assert [(it.number, it.kind, it.result) for it in found] == [
            (3, "refresh", "succeeded"),
            (2, "update", "failed"),
            (1, "update", "succeeded"),
        ]

    def test_current_is_the_newest_that_could_change_anything_even_if_it_failed(
        self, backend: MadeBackend
    ) -> None:
        backend.update()
        backend.update("failed")
        backend.update(kind="refresh")
        found = stack_history.releases(backend.session())
        assert [it.number for it in found if it.current] == [2]

    def test_have_who_commit_message_and_settings_with_the_secrets_still_encrypted(
        self, backend: MadeBackend
    ) -> None:
        backend.update(message="Ship it")
        release = stack_history.releases(backend.session())[0]
        assert (release.who, release.message) == ("Ann", "Ship it")
        assert release.git_commit == f"{1:040x}"
        assert release.config["shop:replicas"].shown == "2"
        assert release.config["shop:token"].shown == "[secret]"
        assert release.config["shop:token"].encrypted

    def test_of_a_rollback_name_the_release_restored(self, backend: MadeBackend) -> None:
        backend.update(message="aegis: automated rollback to release 12: it crashed")
        backend.update(message="about aegis: rollback to release 3")
        newest, oldest = stack_history.releases(backend.session())
        assert (oldest.restores, newest.restores) == (12, None)

    def test_who_is_what_aegis_or_a_pipeline_says_before_who_made_the_commit(
        self, backend: MadeBackend
    ) -> None:
        ours = {"git.committer": "Ann", "ci.system": "aegis", "ci.build.id": "bo@ci-7"}
        theirs = {"git.committer": "Ann", "ci.system": "GitHub", "ci.build.id": "41"}
        backend.update(environment=ours)
        backend.update(environment=theirs)
        found = stack_history.releases(backend.session())
        assert [it.who for it in found] == ["GitHub 41", "bo@ci-7"]

    def test_that_are_compressed_read_the_same(self, backend: MadeBackend) -> None:
        backend.update(compressed=True)
        session = backend.session()
        release = stack_history.releases(session)[0]
        assert release.result == "succeeded"
        assert stack_history.deployed(session, release).version == "1.0.1"

    def test_of_a_stack_never_updated_are_none(self, backend: MadeBackend) -> None:
        assert stack_history.releases(backend.session()) == []

    def test_of_a_namesake_with_a_dash_are_not_mixed_in(self, backend: MadeBackend) -> None:
        backend.update()
        other = backend.history / "staging-two-1790000000000000000.history.json"
        other.write_text("{}")
        assert len(stack_history.releases(backend.session())) == 1

    def test_not_asked_for_are_not_read(self, backend: MadeBackend) -> None:
        oldest = backend.update()
        backend.update()
        backend.file(oldest).unlink()
        backend.file(oldest).mkdir()  # Reading it would fail.
        assert [it.number for it in stack_history.releases(backend.session(), limit=1)] == [2]


class TestDamage:
    """Files that were cut short, emptied, or are something else."""

    @pytest.mark.parametrize(
        ("content", "fault"),
        [
            (b"", "it is empty"),
            (b'{"kind": "upd', "it is not JSON"),
            (b"[]", "another shape"),
            (b"{}", "it lacks 'kind'"),
            (b"\x1f\x8b\x08\x00", "compressed data end too early"),
            (b"\xff\xfe\x00", "it is not text"),
        ],
    )
    def test_one_damaged_file_is_named_and_hides_no_other(
        self, backend: MadeBackend, content: bytes, fault: str
    ) -> None:
        backend.update()
        bad = backend.update()
        backend.update()
        backend.file(bad).write_bytes(content)
        newest, damaged, oldest = stack_history.releases(backend.session())
        assert (newest.number, oldest.number) == (3, 1)
        assert damaged.result == UNREADABLE
        assert damaged.number == 2
        assert str(backend.file(bad)) in damaged.message
        assert fault in damaged.message

    @given(
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
            lambda inner: (
                st.lists(inner, max_size=3)
                | st.dictionaries(
                    st.sampled_from(
                        ["kind", "startTime", "endTime", "config", "environment", "result", "x"]
                    ),
                    inner,
                    max_size=5,
                )
            ),
        )
    )
    @settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
    def test_whatever_json_a_file_holds_the_others_are_listed(
        self, tmp_path_factory: pytest.TempPathFactory, content: Any
    ) -> None:
        backend = MadeBackend(tmp_path_factory.mktemp("any") / "it")
        backend.update()
        backend.file(backend.update()).write_text(json.dumps(content))
        found = stack_history.releases(backend.session())
        assert [it.number for it in found] == [2, 1]
        assert found[1].result == "succeeded"

    def test_a_damaged_state_is_named_with_its_newest_copy_that_can_be_read(
        self, backend: MadeBackend
    ) -> None:
        backups = backend.pulumi / "backups" / "shop" / "staging"
        backups.mkdir(parents=True)
        for moment, content in enumerate((COPY, COPY, "{"), start=1):
            path = backups / f"staging.179000000000000000{moment}.json"
            path.write_text(content)
            os.utime(path, (moment, moment))
        backend.state.write_text('{"version": 3, "checkpoint": {"la')
        with pytest.raises(AegisError) as raised:
            backend.session().export()
        assert str(backend.state) in raised.value.what
        assert "staging.1790000000000000002.json" in raised.value.next

    def test_a_state_that_is_gone_is_not_a_stack_that_never_was(self, backend: MadeBackend) -> None:
        backend.update()
        backend.state.with_suffix(".json.bak").write_text(COPY)
        backend.state.unlink()
        with pytest.raises(AegisError, match="state is gone") as raised:
            backend.session().store.require()
        assert f"staging.json.bak {backend.state}" in raised.value.next

    def test_a_stack_that_was_removed_is_one_that_is_not_there(self, backend: MadeBackend) -> None:
        # What `pulumi stack rm` leaves of one.
        backend.state.rename(backend.state.with_suffix(".json.bak"))
        with pytest.raises(AegisError, match="there is no stack staging") as raised:
            backend.session().store.require()
        assert raised.value.next == "pulumi stack init staging"

    def test_a_damaged_checkpoint_is_named(self, backend: MadeBackend) -> None:
        key = backend.update()
        backend.file(key, "checkpoint").write_text("{")
        session = backend.session()
        with pytest.raises(AegisError, match=r"checkpoint\.json cannot be read"):
            stack_history.deployed(session, stack_history.releases(session)[0])

    def test_a_missing_checkpoint_leaves_version_and_digest_open(
        self, backend: MadeBackend
    ) -> None:
        key = backend.update()
        backend.file(key, "checkpoint").unlink()
        session = backend.session()
        assert stack_history.deployed(session, stack_history.releases(session)[0]).version is None

    def test_damaged_tags_are_named(self, backend: MadeBackend) -> None:
        backend.tags.write_text("{")
        with pytest.raises(AegisError, match="pulumi-tags cannot be read"):
            stack_history.releases(backend.session())

    def test_damaged_tags_leave_the_history_readable(self, backend: MadeBackend) -> None:
        backend.update()
        backend.tags.write_text("{")
        found, fault = stack_history.legible(backend.session())
        assert [it.number for it in found] == [1]
        assert fault is not None
        assert ".damaged" in fault.next

    def test_damaged_tags_have_a_copy(self, backend: MadeBackend) -> None:
        backend.tags.write_text('{"tags": {"a": "b"}}')
        store = backend.session().store
        store.keep_tags()
        backend.tags.write_text("")
        with pytest.raises(AegisError) as raised:
            store.tags()
        copy = raised.value.next.split()[-2]
        backend.tags.write_bytes(Path(copy).read_bytes())
        assert store.tags() == {"a": "b"}

    def test_tags_are_changed_in_one_step_as_the_cli_writes_them(
        self, backend: MadeBackend
    ) -> None:
        store = backend.session().store
        note = backend.tags.with_name(f"{backend.tags.name}.attrs")
        assert store.change_tags({"a:b": "x", "a:c": "é <&>"})
        assert backend.tags.read_text() == '{"version":1,"tags":{"a:b":"x","a:c":"é <&>"}}'
        note.write_text('{"md5":"of another content"}')
        assert store.change_tags({"a:b": None, "a:d": "y", "never": None})
        assert store.tags() == {"a:c": "é <&>", "a:d": "y"}
        assert not note.exists()
        assert sorted(path.name for path in backend.tags.parent.iterdir()) == [
            "staging.json",
            "staging.pulumi-tags",
        ]

    @pytest.mark.parametrize("content", ["", "{", "[]", '{"version": 1}'])
    def test_damaged_tags_are_not_written_over(self, backend: MadeBackend, content: str) -> None:
        backend.tags.write_text(content)
        with pytest.raises(AegisError, match="pulumi-tags cannot be read"):
            backend.session().store.change_tags({"a:b": "x"})
        assert backend.tags.read_text() == content

    def test_tags_that_cannot_be_written_are_as_they_were(
        self, backend: MadeBackend, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        store = backend.session().store
        store.change_tags({"a:b": "x"})

        def full(_: int) -> None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        monkeypatch.setattr(os, "fsync", full)
        with pytest.raises(AegisError, match="the disk that holds the state is full"):
            store.change_tags({"a:b": "y"})
        assert store.tags() == {"a:b": "x"}
        assert len(list(backend.tags.parent.iterdir())) == 2

    def test_the_newest_counts_as_deployed_though_it_cannot_be_read(
        self, backend: MadeBackend
    ) -> None:
        backend.update()
        backend.file(backend.update()).write_text("{")
        newest, older = stack_history.releases(backend.session())
        assert (newest.current, older.current) == (True, False)


class TestOrder:
    """Numbers follow the order of things, whatever the clocks said."""

    def test_what_a_clock_that_was_set_back_recorded_is_the_last(
        self, backend: MadeBackend
    ) -> None:
        last = backend.update(message="last")
        with backend.session().store.recording() as keys:
            made = backend.update(message="new")
            for kind in ("history", "checkpoint"):
                old = backend.file(made, kind)
                old.rename(backend.file(str(int(last) - 5), kind))
        newest, before = stack_history.releases(backend.session())
        assert (newest.message, before.message) == ("new", "last")
        assert [newest.key] == keys == [str(int(last) + 1)]
        assert backend.file(newest.key, "checkpoint").exists()

    def test_nothing_is_renamed_when_the_clock_is_right(self, backend: MadeBackend) -> None:
        backend.update()
        with backend.session().store.recording() as keys:
            made = backend.update()
        assert stack_history.releases(backend.session())[0].key == made
        assert keys == [made]


class TestDeployed:
    """What a release deployed, from its checkpoint."""

    def test_is_what_the_program_put_out(self, backend: MadeBackend) -> None:
        backend.update(state=deployment("2.1.0"))
        session = backend.session()
        release = stack_history.releases(session)[0]
        for found in (
            stack_history.deployed(session, release),
            stack_history.glance(session, release),
        ):
            assert (found.version, found.image_digest) == ("2.1.0", DIGEST)

    def test_of_a_program_without_such_outputs_is_what_its_workloads_run(
        self, backend: MadeBackend
    ) -> None:
        state = deployment("2.1.0")
        state["resources"][0]["outputs"] = {}
        backend.update(state=state)
        session = backend.session()
        found = stack_history.glance(session, stack_history.releases(session)[0])
        assert (found.version, found.image_digest) == ("2.1.0", DIGEST)

    def test_of_a_failed_update_is_what_it_tried_not_what_was_before(
        self, backend: MadeBackend
    ) -> None:
        state = deployment("1.0.0")
        tried = json.loads(json.dumps(state["resources"][1]["inputs"]).replace("1.0.0", "2.0.0"))
        tried["spec"]["template"]["spec"]["containers"][0]["image"] = "shop:bad"
        state["resources"][1]["outputs"] = tried
        backend.update("failed", state=state)
        session = backend.session()
        found = stack_history.glance(session, stack_history.releases(session)[0])
        assert (found.version, found.image_digest, found.images) == ("2.0.0", None, ("shop:bad",))


@pytest.mark.parametrize("content", [b'\xff["half', b"", b"{"])
def test_a_claim_that_is_no_text_can_be_taken_away(backend: MadeBackend, content: bytes) -> None:
    store, claim = backend.session().store, backend.pulumi / "aegis" / "shop" / "staging.claim"
    claim.parent.mkdir(parents=True)
    claim.write_bytes(content)
    found = store.claim()
    assert found is not None
    assert not store.swap_claim(found + "x", "mine")
    assert store.swap_claim(found, "mine")
    assert store.claim() == "mine"


@pytest.mark.parametrize(
    ("shell", "said"),
    [("", "cp {}.copy {}\n"), ("aws s3 ", "aws s3 cp {}.copy {}\n"), (None, ": {}.copy\nas {}\n")],
)
def test_what_puts_a_copy_in_its_place_is_what_there_is_for_the_place(
    tmp_path: Path, shell: str | None, said: str
) -> None:
    faults = Faults(DirectoryBucket(tmp_path, shell=shell))
    found = faults.damaged("state", ValueError("it is empty"), "state.copy").next
    assert said.format(tmp_path / "state", tmp_path / "state") in found
    layout = faults.damaged_layout(".pulumi/meta.yaml", ValueError("it is empty")).next
    assert "version: 1" in layout
    assert ("cp - " in layout) == bool(shell)


class TestOpening:
    """Stores and stacks that are there, or not."""

    def test_a_stack_that_is_not_there_is_refused_with_those_that_are(
        self, backend: MadeBackend
    ) -> None:
        backend.state.rename(backend.state.with_name("production.json"))
        with pytest.raises(AegisError) as raised:
            backend.session()
        assert "no stack staging of shop" in raised.value.what
        assert raised.value.why == "it has production"

    def test_a_backend_that_is_not_there_is_named(self, backend: MadeBackend) -> None:
        (backend.root / "backend").rename(backend.root / "elsewhere")
        with pytest.raises(AegisError, match="backend cannot be reached"):
            backend.session()

    def test_a_store_of_the_oldest_layout_is_read_too(self, backend: MadeBackend) -> None:
        backend.update()
        (backend.pulumi / "meta.yaml").unlink()
        for kind in ("stacks", "history"):
            for path in (backend.pulumi / kind / "shop").iterdir():
                path.rename(backend.pulumi / kind / path.name)
        assert [it.number for it in stack_history.releases(backend.session())] == [1]
