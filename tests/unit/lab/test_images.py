"""The names of the images that the lab makes follow what is in them."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from unittest.mock import MagicMock

import pytest
from docker.errors import DockerException

from lab import containers, images, stacks
from lab.errors import LabError
from lab.node import first
from lab.settings import LabSettings
from lab.toolchain import COREDNS, Toolchain


@pytest.fixture
def service(lab: LabSettings) -> LabSettings:
    """A checkout whose service has requirements."""
    (lab.checkout / "app").mkdir()
    (lab.checkout / "app" / "requirements.txt").write_text("uvicorn==1 --hash=sha256:a\n")
    return lab


class TestBaseImages:
    """A changed content is a changed name, so that no old image is taken for a new one."""

    def test_are_in_the_labs_registry(self, service: LabSettings) -> None:
        names = images.base_images(service)
        prefix = "198.18.0.2:5000/aegis-lab/python"
        assert names.build.startswith(f"{prefix}-build:3.11-")
        assert names.runtime.startswith(f"{prefix}:3.11-")

    def test_keep_their_names_while_nothing_changes(self, service: LabSettings) -> None:
        assert images.base_images(service) == images.base_images(service)

    def test_follow_the_requirements_where_the_wheels_are(self, service: LabSettings) -> None:
        before = images.base_images(service)
        (service.checkout / "app" / "requirements.txt").write_text("uvicorn==2\n")
        after = images.base_images(service)
        assert after.build != before.build
        assert after.runtime == before.runtime

    @pytest.mark.parametrize("constant", ["SUITE", "_HOOK"])
    def test_follow_the_recipe(
        self, service: LabSettings, monkeypatch: pytest.MonkeyPatch, constant: str
    ) -> None:
        before = images.base_images(service)
        monkeypatch.setattr(images, constant, "another")
        after = images.base_images(service)
        assert after.build != before.build
        assert after.runtime != before.runtime

    def test_are_told_apart_in_the_registry_by_their_tags(
        self, service: LabSettings, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        asked: list[str] = []

        def answers(url: str) -> bool:
            asked.append(url)
            return False

        monkeypatch.setattr("lab.cluster.answers", answers)
        name = images.base_images(service).runtime
        assert not images._in_registry(service, name)
        tag = name.rpartition(":")[2]
        expected = f"http://198.18.0.2:5000/v2/aegis-lab/python/manifests/{tag}"
        assert asked == [expected]


class TestPostgres:
    """Made when it is asked for; then the lab's environment names it, by its digest."""

    @pytest.fixture
    def pushed(self, service: LabSettings, monkeypatch: pytest.MonkeyPatch) -> str:
        monkeypatch.setattr(images, "docker_client", lambda _: nullcontext())
        monkeypatch.setattr(images, "_in_registry", lambda *_: True)
        monkeypatch.setattr(images, "_digest", lambda *_: f"sha256:{'d' * 64}")
        return images.push_postgres_image(service)

    def test_nothing_names_it_before(self, service: LabSettings) -> None:
        assert "AEGIS_POSTGRES_IMAGE" not in stacks.variables(service)

    def test_it_is_named_by_its_digest(self, service: LabSettings, pushed: str) -> None:
        assert pushed == f"198.18.0.2:5000/aegis-lab/postgres@sha256:{'d' * 64}"
        assert stacks.variables(service)["AEGIS_POSTGRES_IMAGE"] == pushed

    @pytest.mark.usefixtures("pushed")
    @pytest.mark.parametrize("constant", ["SUITE", "_HOOK", "_POSTGRES_HOOK", "_POSTGRES"])
    def test_one_of_another_recipe_is_not_taken_for_it(
        self, service: LabSettings, monkeypatch: pytest.MonkeyPatch, constant: str
    ) -> None:
        monkeypatch.setattr(images, constant, "another")
        assert images.pushed_postgres_image(service) is None


class TestClusterImages:
    """Loaded when they are not there, and only then."""

    def test_are_written_once_and_loaded_when_missing(
        self, lab: LabSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        busybox, loaded = tmp_path / "busybox", list[str]()
        busybox.write_bytes(b"busybox")
        (lab.checkout / "lab" / "tools" / COREDNS.module).mkdir(parents=True)
        coredns = Toolchain(lab).path(COREDNS)
        coredns.parent.mkdir(parents=True)
        coredns.write_bytes(b"coredns")
        monkeypatch.setattr(images, "BUSYBOX", busybox)
        monkeypatch.setattr(
            containers, "has_image", lambda _, __, name: name == containers.PAUSE_IMAGE
        )
        monkeypatch.setattr(containers, "load_image", lambda _, __, path: loaded.append(path.name))
        images.load_cluster_images(lab, first(lab))
        images.load_cluster_images(lab, first(lab))
        assert len(loaded) == 2
        assert len(set(loaded)) == 1
        assert loaded[0].startswith("coredns-")


class TestWithoutADockerDaemon:
    """A sentence, not the client's traceback."""

    def test_names_the_socket(self, lab: LabSettings, monkeypatch: pytest.MonkeyPatch) -> None:
        # docker-py itself leaves a socket open when nobody answers.
        def refuse(**_: object) -> None:
            raise DockerException("Connection refused")

        monkeypatch.setattr("docker.DockerClient", refuse)
        with pytest.raises(LabError) as caught, images.docker_client(lab):
            pass
        assert f"unix://{lab.docker_socket}" in caught.value.what
        assert "make up" in caught.value.next

    def test_names_what_it_refused(self, lab: LabSettings, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("docker.DockerClient", lambda **_: MagicMock())
        with pytest.raises(LabError) as caught, images.docker_client(lab):
            raise DockerException("no such executable")
        assert caught.value.why == "no such executable"
