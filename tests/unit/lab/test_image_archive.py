"""The image archives that the lab writes itself are what `docker save` would write."""

from __future__ import annotations

import hashlib
import json
import tarfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lab import image_archive


def members(archive: Path) -> dict[str, bytes]:
    with tarfile.open(archive) as tar:
        files = {info.name: tar.extractfile(info) for info in tar.getmembers()}
        return {name: file.read() for name, file in files.items() if file is not None}


def written(directory: Path, content: bytes = b"\x7fELF program") -> Path:
    program = directory / "coredns"
    program.write_bytes(content)
    archive = directory / "images" / "coredns.tar"
    image_archive.write(
        archive, name="aegis.lab/coredns:1", program=program, entrypoint=["/coredns", "-x"]
    )
    return archive


def configuration(files: dict[str, bytes]) -> dict[str, Any]:
    (manifest,) = json.loads(files["manifest.json"])
    loaded = json.loads(files[manifest["Config"]])
    assert isinstance(loaded, dict)
    return loaded


class TestArchive:
    """One layer, one program, digests that are right."""

    def test_names_its_parts_and_the_image(self, tmp_path: Path) -> None:
        files = members(written(tmp_path))
        (manifest,) = json.loads(files["manifest.json"])
        assert manifest["RepoTags"] == ["aegis.lab/coredns:1"]
        assert {manifest["Config"], *manifest["Layers"], "manifest.json"} == set(files)

    @given(content=st.binary(max_size=3000))
    @settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
    def test_has_digests_of_what_is_in_it(self, tmp_path: Path, content: bytes) -> None:
        files = members(written(tmp_path, content))
        (manifest,) = json.loads(files["manifest.json"])
        digest = hashlib.sha256(files[manifest["Config"]]).hexdigest()
        assert manifest["Config"] == f"{digest}.json"
        layer = hashlib.sha256(files["layer.tar"]).hexdigest()
        assert configuration(files)["rootfs"]["diff_ids"] == [f"sha256:{layer}"]

    def test_holds_the_program_executable_in_the_root(self, tmp_path: Path) -> None:
        archive = written(tmp_path)
        layer = tmp_path / "layer.tar"
        layer.write_bytes(members(archive)["layer.tar"])
        with tarfile.open(layer) as tar:
            (info,) = tar.getmembers()
            assert (info.name, info.mode) == ("coredns", 0o755)
        assert members(layer) == {"coredns": b"\x7fELF program"}

    def test_runs_as_somebody_without_rights(self, tmp_path: Path) -> None:
        found = configuration(members(written(tmp_path)))
        assert found["config"] == {"Entrypoint": ["/coredns", "-x"], "User": "65532:65532"}
        assert found["os"] == "linux"
        assert found["architecture"] == image_archive.architecture()

    def test_is_the_same_for_the_same_program(self, tmp_path: Path) -> None:
        assert written(tmp_path).read_bytes() == written(tmp_path).read_bytes()

    def test_that_fails_is_not_there(self, tmp_path: Path) -> None:
        archive = tmp_path / "x.tar"
        with pytest.raises(FileNotFoundError):
            image_archive.write(archive, name="x", program=tmp_path / "none", entrypoint=["/x"])
        assert not archive.exists()

    def test_architectures_have_the_names_that_images_use(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for machine, name in (("x86_64", "amd64"), ("aarch64", "arm64"), ("riscv64", "riscv64")):
            monkeypatch.setattr("platform.machine", lambda m=machine: m)
            assert image_archive.architecture() == name
