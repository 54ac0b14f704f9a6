"""A refresh: what is refused, loaded, deployed, and dropped at the end, in which order."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from aegis_deploy.common.errors import AegisError, ExitCode
from aegis_deploy.data.catalog import TableName
from aegis_deploy.data.data_set import directory as data_set
from aegis_deploy.data.data_set.manifest import Manifest, TableRows
from aegis_deploy.data.data_set.on_disk import Directory
from aegis_deploy.data.dataset_server import Kept
from aegis_deploy.flows import deploy
from aegis_deploy.flows import refresh as flow
from aegis_deploy.flows.deploy import DeployRequest
from aegis_deploy.flows.refresh import RefreshRequest, referred, refresh
from aegis_deploy.flows.rollback import RollbackRequest, rollback
from aegis_deploy.history.schema_store import DATASET_TAG
from aegis_deploy.kubernetes.client import ApiError
from aegis_deploy.model.database.dataset import LOADER, short
from aegis_deploy.model.database.schema import CodeSchema, DatabaseSchema
from aegis_deploy.model.release import Deployed
from aegis_deploy.operations import dataset_access
from aegis_deploy.operations.dataset_access import Opened, find
from aegis_deploy.operations.update_runner import Ran
from aegis_deploy.registry.image_registry import Presence
from tests.unit.aegis_deploy.schema_cluster import migration
from tests.unit.aegis_deploy.stage import GOOD, PASSED, Stage, outcome, release

OLD, GONE = "a" * 64, "c" * 64
MANIFEST = Manifest(
    schema={},
    tables=(TableRows(TableName("public", "t"), "rows/1", ("a",), 2, "00"),),
    server=170000,
    key="k",
    rules="r",
    made="2026-11-29T00:00:00+00:00",
)
NEW = MANIFEST.name
SERVER = {
    "urn": "urn:pulumi:s::p::kubernetes:apps/v1:StatefulSet::db",
    "type": "kubernetes:apps/v1:StatefulSet",
    "custom": True,
    "inputs": {
        "metadata": {"name": "db", "namespace": "n", "annotations": {LOADER: "db-loader"}},
        "spec": {
            "selector": {"matchLabels": {"app": "db"}},
            "template": {
                "spec": {"volumes": [{"persistentVolumeClaim": {"claimName": "data"}}, {}]}
            },
        },
    },
}
PLACE = Directory(Path("set"))


@dataclass
class Server:
    """A server that takes data sets, as it is known to a flow."""

    stage: Stage
    there: list[Kept] = field(default_factory=list)
    refuses: AegisError | None = None
    busy: tuple[str, ...] = ()

    def kept(self) -> list[Kept]:
        return list(self.there)

    def require_room(self, _: Manifest, place: Directory, capacity: int | None) -> None:
        assert (place, capacity) == (PLACE, 1 << 30)

    def load(self, manifest: Manifest, _: Directory) -> Any:
        if self.refuses is not None:
            raise self.refuses
        self.stage.did.append(f"load {manifest.shown}")
        self.there.append(Kept(manifest.name, "2026-11-29"))
        return SimpleNamespace(foreign_keys=1)

    def drop(self, name: str) -> None:
        if name in self.busy:
            raise AegisError(what="it cannot be dropped", why="somebody uses it")
        self.stage.did.append(f"drop {short(name)}")
        self.there = [it for it in self.there if it.name != name]


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> tuple[Stage, Server]:
    """A stack on one data set, with a release before on another one."""
    stage = Stage(
        history=[release(2, verified=True, current=True), release(1, verified=True)],
        updates=[Ran(outcome())],
        verdicts=[PASSED],
        settings={"a:dataProfile": "sample"},
        beside=[SERVER, migration()],
        presences=[Presence(GOOD, True)],
    )
    stage.datasets = {2: OLD, 1: GONE}
    stage.loaded = {DATASET_TAG + short(it): "3 0" for it in (OLD, GONE)}
    server = Server(stage, [Kept(OLD, "2026-11-01"), Kept(GONE, "2026-10-01")])

    @contextmanager
    def opened(*_: object) -> Iterator[Opened]:
        yield Opened(cast("Any", server), 1 << 30)

    def read(place: Directory, _: object) -> Manifest:
        assert place == PLACE
        return MANIFEST

    monkeypatch.setattr(dataset_access, "opened", opened)
    monkeypatch.setattr(data_set, "read", read)
    monkeypatch.setattr(flow, "revision_of", lambda *_: (3, 0))
    return stage, server


def run(stage: Stage, **asked: Any) -> Any:
    asked = {"source": PLACE, "yes": True, **asked}
    return refresh(stage.flow, RefreshRequest(**asked))


def refused(stage: Stage, **asked: Any) -> AegisError:
    with pytest.raises(AegisError) as error:
        run(stage, **asked)
    return error.value


class TestDone:
    """Loaded beside, deployed behind the gate, and what nothing refers to is dropped."""

    def test_what_runs_is_deployed_with_it_and_nothing_that_is_referred_to_goes(
        self, made: tuple[Stage, Server]
    ) -> None:
        stage, server = made
        report = run(stage)
        assert (report.name, report.loaded, report.dropped) == (NEW, True, ())
        digest = GOOD.partition("@")[2]
        tag = f"{DATASET_TAG}{short(NEW)}"
        wanted = [
            "claim deploy",
            f"load {short(NEW)}",
            f"{tag}: 3 0",
            f"override imageDigest={digest} once",
            "override version=1.2 once",
            f"override dataset={NEW}",
        ]
        assert [it for it in stage.did if it in wanted] == wanted
        assert f"update: aegis: data set {short(NEW)}" in stage.did
        assert f"keep dataset={NEW}" in stage.did
        assert {it.name for it in server.there} == {OLD, GONE, NEW}

    def test_with_a_number_only_so_many_former_ones_stay(self, made: tuple[Stage, Server]) -> None:
        stage, server = made
        server.busy = (GONE,)
        report = run(stage, keep=0)
        assert report.dropped == (short(OLD),)
        assert "stays for now" in stage.messages.getvalue()
        # Forgotten before it is dropped: nobody goes back to half of it.
        at = stage.did.index(f"{DATASET_TAG}{short(OLD)}: None")
        assert stage.did.index(f"drop {short(OLD)}") == at + 1

    def test_what_was_asked_of_the_deploy_is_asked_of_it(
        self, made: tuple[Stage, Server], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        stage, _ = made
        asked: list[DeployRequest] = []
        monkeypatch.setattr(deploy, "deploy_claimed", lambda _, it: asked.append(it))
        run(stage, force=True, policy_packs=("packs",))
        message = f"aegis: data set {short(NEW)}"
        wanted = DeployRequest(message=message, yes=True, force=True, policy_packs=("packs",))
        assert asked == [wanted]

    def test_a_server_that_is_away_at_the_end_is_no_failure(
        self, made: tuple[Stage, Server], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        stage, server = made
        asked = iter([server.kept()])

        def kept() -> list[Kept]:
            found = next(asked, None)
            if found is None:
                raise AegisError(what="it does not answer", why="no")
            return found

        monkeypatch.setattr(server, "kept", kept)
        report = run(stage, keep=0)
        assert report.deployed is not None
        assert report.dropped == ()
        assert "it does not answer" in stage.messages.getvalue()

    def test_one_that_is_there_is_not_loaded_again(self, made: tuple[Stage, Server]) -> None:
        stage, server = made
        server.there.append(Kept(NEW, "2026-11-20"))
        assert not run(stage).loaded
        assert f"load {short(NEW)}" not in stage.did
        assert f"{DATASET_TAG}{short(NEW)}" in stage.loaded

    def test_without_a_directory_the_newest_is_taken(self, made: tuple[Stage, Server]) -> None:
        stage, _ = made
        assert run(stage, source=None).name == OLD

    def test_it_may_only_be_loaded(self, made: tuple[Stage, Server]) -> None:
        stage, _ = made
        report = run(stage, load_only=True)
        assert (report.loaded, report.deployed) == (True, None)
        assert not [it for it in stage.did if it.startswith(("update", "override", "drop"))]

    def test_what_somebody_dropped_by_hand_is_forgotten(self, made: tuple[Stage, Server]) -> None:
        stage, server = made
        server.there = server.there[:1]
        run(stage, load_only=True)
        assert set(stage.loaded) == {DATASET_TAG + short(it) for it in (OLD, NEW)}


class TestRefused:
    """Before anything is changed."""

    @pytest.mark.parametrize(
        ("profile", "why"), [("real", "nothing is ever loaded over real data"), ("mock", "sample")]
    )
    def test_a_stack_that_serves_anything_else(
        self, made: tuple[Stage, Server], profile: str, why: str
    ) -> None:
        stage, _ = made
        stage.settings = {"a:dataProfile": profile}
        error = refused(stage)
        assert error.code is ExitCode.REFUSED
        assert f"a:dataProfile is {profile}" in error.why
        assert why in error.why
        assert stage.did == []

    def test_a_stack_without_a_server_for_it(self, made: tuple[Stage, Server]) -> None:
        stage, _ = made
        stage.beside = []
        assert "has no server that data sets could be loaded to" in refused(stage).what
        assert stage.did == ["claim deploy"]

    def test_what_runs_and_is_not_verified(self, made: tuple[Stage, Server]) -> None:
        stage, _ = made
        stage.history = [release(2, current=True), release(1, verified=True)]
        assert "release 2 is not" in refused(stage).why

    @pytest.mark.parametrize(("said", "fits"), [((3, 5), False), ((9, 0), True), ((1, 0), True)])
    def test_one_that_what_runs_does_not_work_with(
        self,
        made: tuple[Stage, Server],
        monkeypatch: pytest.MonkeyPatch,
        said: tuple[int, int],
        fits: bool,
    ) -> None:
        stage, _ = made
        stage.schemas = {2: CodeSchema(head=4, least=2)}
        monkeypatch.setattr(flow, "revision_of", lambda *_: said)
        if fits:
            # What is too old is migrated, as any database is.
            assert run(stage, keep=None).loaded
            return
        error = refused(stage)
        assert "does not fit the data set" in error.what
        assert not [it for it in stage.did if it.startswith("load")]

    def test_one_without_a_schema(
        self, made: tuple[Stage, Server], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        stage, _ = made
        bare = Manifest(**{**vars(MANIFEST), "has_schema": False})
        monkeypatch.setattr(data_set, "read", lambda *_: bare)
        assert "--without-schema" in refused(stage).why
        assert stage.did == []

    def test_one_that_cannot_be_loaded_deploys_nothing(self, made: tuple[Stage, Server]) -> None:
        stage, server = made
        server.refuses = AegisError(what="the disk is full")
        assert refused(stage).what == "the disk is full"
        assert stage.did == ["claim deploy"]

    def test_a_database_of_somebody_else_s_is_not_taken_for_one(
        self, made: tuple[Stage, Server]
    ) -> None:
        stage, server = made
        server.there.append(Kept(short(NEW)))
        assert "and says that it is of none" in refused(stage).why
        assert not [it for it in stage.did if it.startswith(("load", "update"))]

    def test_what_was_loaded_and_not_deployed_is_told(self, made: tuple[Stage, Server]) -> None:
        stage, _ = made
        stage.unreachable = ApiError(0, "no answer")
        error = refused(stage)
        assert f"data set {short(NEW)} is on the server beside" in error.state
        assert error.code is ExitCode.REFUSED

    def test_none_where_there_is_none(self, made: tuple[Stage, Server]) -> None:
        stage, server = made
        server.there = []
        assert "there is no data set" in refused(stage, source=None).what


class TestGoingBack:
    """To a release whose data set is there; else it is refused, with what has it there again."""

    def test_a_data_set_that_was_dropped_is_refused_with_the_nearest_that_fits(
        self, made: tuple[Stage, Server]
    ) -> None:
        stage, _ = made
        stage.history.insert(0, release(3, verified=True, current=True))
        stage.history[1] = release(2, verified=True)
        del stage.loaded[DATASET_TAG + short(GONE)]
        with pytest.raises(AegisError) as error:
            rollback(stage.flow, RollbackRequest(to=1, yes=True))
        assert "its data set cccccccccccc is not on the server any more" in error.value.why
        assert "aegis data refresh --load-only --from PLACE" in error.value.why
        assert error.value.next == "the nearest that does: aegis rollback --to 2"
        assert not [it for it in stage.did if it.startswith("replay")]

    def test_without_a_number_it_is_passed_over(self, made: tuple[Stage, Server]) -> None:
        stage, _ = made
        del stage.loaded[DATASET_TAG + short(GONE)]
        with pytest.raises(AegisError) as error:
            rollback(stage.flow, RollbackRequest(yes=True))
        assert "release 1: its data set" in error.value.why

    def test_a_contract_of_one_database_is_nothing_of_another_s(
        self, made: tuple[Stage, Server]
    ) -> None:
        stage, _ = made
        stage.loaded[DATASET_TAG + short(OLD)] = "5 5"
        stage.schemas = dict.fromkeys((1, 2), CodeSchema(head=4, least=2))
        stage.flow.schema_reader.look()
        assert stage.flow.schema_reader.misfit(stage.history[0])
        assert not stage.flow.schema_reader.misfit(stage.history[1])


@pytest.mark.parametrize(
    ("keep", "stay"), [(None, "abc"), (0, "b"), (1, "ba"), (2, "bac"), (9, "abc")]
)
def test_the_one_in_use_always_stays(keep: int | None, stay: str) -> None:
    backs = [*(Deployed(dataset=it * 64) for it in "babac"), Deployed()]
    assert referred("b" * 64, backs, keep) == {it * 12 for it in stay}


def test_the_server_is_the_one_that_says_so() -> None:
    found = find([{"inputs": {"metadata": "untold"}}, SERVER], "s")
    assert (found.name, found.namespace, found.secret) == ("db", "n", "db-loader")
    assert (found.selector, found.claims) == ({"app": "db"}, ("data",))


def test_what_is_known_of_a_schema_is_one_of_its_database() -> None:
    stage = Stage(history=[release(1)], database=DatabaseSchema(revision=2, least_head=0))
    stage.flow.schema_reader.look()
    assert stage.flow.schema_reader.known.first == stage.database
