"""Small files of ours beside the claim, in a directory or a bucket."""

from __future__ import annotations

from pathlib import Path

import pytest

from aegis_deploy.backend.artifacts import ArtifactStore
from aegis_deploy.backend.buckets.directory import DirectoryBucket
from aegis_deploy.backend.cloud_store import ServiceStore
from aegis_deploy.pulumi_cli.engine import Engine
from tests.unit.aegis_deploy.made_backend import MadeBackend


@pytest.fixture
def shelf(tmp_path: Path) -> ArtifactStore:
    return ArtifactStore(DirectoryBucket(tmp_path), ".pulumi/aegis/shop/staging.timelines")


def test_what_is_put_there_is_there_in_order(shelf: ArtifactStore) -> None:
    assert shelf.names() == []
    for name in ("2.json", "1.json"):
        shelf.write(name, name.encode())
    shelf.write("1.json", b"again")
    assert shelf.names() == ["1.json", "2.json"]
    assert shelf.read("1.json") == b"again"
    shelf.remove("1.json")
    shelf.remove("1.json")
    assert shelf.names() == ["2.json"]
    with pytest.raises(FileNotFoundError):
        shelf.read("1.json")
    assert shelf.shared


def test_a_draft_is_neither_listed_nor_left(tmp_path: Path) -> None:
    shelf, there = ArtifactStore(DirectoryBucket(tmp_path), "shelf"), tmp_path / "shelf"
    there.mkdir()
    (there / ".1.json.77.77").touch()
    assert shelf.names() == []
    (there / "1.json").mkdir()
    with pytest.raises(OSError, match="directory"):
        shelf.write("1.json", b"x")
    assert {it.name for it in there.iterdir()} == {".1.json.77.77", "1.json"}


def test_it_is_beside_the_claim(tmp_path: Path) -> None:
    backend = MadeBackend(tmp_path)
    backend.session().store.timelines.write("1.json", b"x")
    assert (backend.pulumi / "aegis" / "shop" / "staging.timelines" / "1.json").exists()


def test_a_service_has_none_so_each_machine_keeps_its_own(tmp_path: Path) -> None:
    environment = {"XDG_STATE_HOME": str(tmp_path / "state"), "PATH": ""}
    engine = Engine(tmp_path, environment)

    def shelf(name: str, url: str = "https://api.pulumi.com") -> ArtifactStore:
        return ServiceStore(engine, name, url, None).timelines

    whole, short = shelf("acme/shop/staging"), shelf("staging")
    assert whole == short
    assert whole not in (shelf("production"), shelf("staging", "https://pulumi.example.com"))
    assert not whole.shared
    place = Path(whole.bucket.place(whole.prefix))
    assert place.parent == tmp_path / "state" / "aegis" / "timelines"
