"""The provider as the engine sees it: over its own methods, with no daemon."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import grpc
import pytest

from lab.plugins.docker.job import Job
from lab.plugins.docker.provider import IMAGE, DockerProvider
from lab.plugins.properties import Secret, decode, encode
from lab.plugins.protocol import Engine, light_pulumi
from tests.unit.lab.plugins.rpc_context import AbortedError, context

with light_pulumi():
    from pulumi.runtime.proto import provider_pb2

URN = f"urn:pulumi:dev::aegis::aegis:image:Image${IMAGE}::api"
PROGRAM = {"imageName": "registry.test/aegis:1", "build": {"platform": "linux/amd64"}}


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A project with a Dockerfile and no Docker daemon."""
    (tmp_path / "Dockerfile").write_text("FROM scratch\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/none.sock")


@pytest.fixture
def provider() -> DockerProvider:
    """A configured provider whose engine listens to nobody."""
    provider = DockerProvider(Engine(""))
    provider.Configure(provider_pb2.ConfigureRequest(), context())
    return provider


@pytest.fixture
def built(provider: DockerProvider, monkeypatch: pytest.MonkeyPatch) -> list[Job]:
    """The jobs that the provider runs, each with a digest of its own."""
    jobs: list[Job] = []

    def run(job: Job, *_: object) -> str:
        jobs.append(job)
        return f"registry.test/aegis@sha256:{len(jobs)}"

    monkeypatch.setattr("lab.plugins.docker.daemon.unreachable", lambda _: None)
    monkeypatch.setattr(provider, "_run", run)
    return jobs


def check(provider: DockerProvider, **more: Any) -> Any:
    request = provider_pb2.CheckRequest(urn=URN, news=encode(PROGRAM | more))
    return provider.Check(request, context()).inputs


def test_created_outputs_are_the_official_ones(provider: DockerProvider, built: list[Job]) -> None:
    checked = check(provider)
    created = provider.Create(provider_pb2.CreateRequest(urn=URN, properties=checked), context())
    assert created.id == "registry.test/aegis:1"
    assert decode(created.properties) == {
        "dockerfile": "Dockerfile",
        "context": ".",
        "baseImageName": "registry.test/aegis:1",
        "registryServer": "",
        "imageName": "registry.test/aegis:1",
        "platform": "linux/amd64",
        "repoDigest": "registry.test/aegis@sha256:1",
        "__inputs": Secret(decode(checked)),
    }
    assert len(built) == 1


@pytest.mark.usefixtures("built")
def test_nothing_changes_when_nothing_changed(provider: DockerProvider) -> None:
    checked = check(provider)
    created = provider.Create(provider_pb2.CreateRequest(urn=URN, properties=checked), context())
    request = provider_pb2.DiffRequest(urn=URN, olds=created.properties, news=check(provider))
    assert provider.Diff(request, context()).changes == provider_pb2.DiffResponse.DIFF_NONE


@pytest.mark.usefixtures("built")
def test_a_changed_context_is_an_update(provider: DockerProvider) -> None:
    checked = check(provider)
    created = provider.Create(provider_pb2.CreateRequest(urn=URN, properties=checked), context())
    Path("new").write_text("file")
    news = check(provider)
    diff = provider.Diff(
        provider_pb2.DiffRequest(urn=URN, olds=created.properties, news=news), context()
    )
    assert diff.changes == provider_pb2.DiffResponse.DIFF_SOME
    assert not diff.replaces
    assert dict(diff.detailedDiff) == {
        "build": provider_pb2.PropertyDiff(kind=provider_pb2.PropertyDiff.UPDATE)
    }
    updated = provider.Update(provider_pb2.UpdateRequest(urn=URN, news=news), context())
    assert decode(updated.properties)["repoDigest"] == "registry.test/aegis@sha256:2"


@pytest.mark.parametrize("method", ["Create", "Update"])
class TestPreview:
    """A preview builds only when the program asks for it, and fails when the update would."""

    def preview(self, provider: DockerProvider, method: str, inputs: Any) -> Any:
        if method == "Create":
            request: Any = provider_pb2.CreateRequest(urn=URN, properties=inputs, preview=True)
        else:
            request = provider_pb2.UpdateRequest(urn=URN, news=inputs, preview=True)
        return decode(getattr(provider, method)(request, context()).properties)

    def test_leaves_what_a_build_tells_unknown(
        self, provider: DockerProvider, built: list[Job], method: str
    ) -> None:
        inputs = check(provider)
        assert self.preview(provider, method, inputs) == decode(inputs)
        assert built == []

    def test_builds_when_asked_to_and_pushes_nothing(
        self, provider: DockerProvider, built: list[Job], method: str
    ) -> None:
        self.preview(provider, method, check(provider, buildOnPreview=True))
        assert [job.push for job in built] == [False]

    def test_fails_without_a_daemon(self, provider: DockerProvider, method: str) -> None:
        with pytest.raises(AbortedError, match=r"no Docker daemon answers at unix://.*none\.sock"):
            self.preview(provider, method, check(provider))


def test_an_update_without_a_daemon_fails(provider: DockerProvider) -> None:
    request = provider_pb2.CreateRequest(urn=URN, properties=check(provider))
    with pytest.raises(AbortedError, match="no Docker daemon"):
        provider.Create(request, context())


def test_read_echoes_and_delete_does_nothing(provider: DockerProvider) -> None:
    read = provider_pb2.ReadRequest(id="x", urn=URN, properties=encode({"a": 1}))
    assert decode(provider.Read(read, context()).properties) == {"a": 1}
    assert provider.Delete(provider_pb2.DeleteRequest(urn=URN), context()) is not None


def test_bad_inputs_are_the_user_s_mistake(provider: DockerProvider) -> None:
    call = context()
    request = provider_pb2.CheckRequest(urn=URN, news=encode({"imageName": "short"}))
    with pytest.raises(AbortedError, match="does not say which registry"):
        provider.Check(request, call)
    assert call.code is grpc.StatusCode.INVALID_ARGUMENT


def test_other_types_are_refused_by_name(provider: DockerProvider) -> None:
    call = context()
    urn = "urn:pulumi:dev::aegis::docker:index/container:Container::c"
    with pytest.raises(AbortedError, match=r"stand-in .* not docker:index/container:Container"):
        provider.Check(provider_pb2.CheckRequest(urn=urn), call)
    assert call.code is grpc.StatusCode.UNIMPLEMENTED


def test_buildkit_is_not_pretended(
    provider: DockerProvider, built: list[Job], monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    monkeypatch.setattr(provider._engine, "warning", lambda text, _: said.append(text))
    provider.Create(provider_pb2.CreateRequest(urn=URN, properties=check(provider)), context())
    classic = check(provider, build={"platform": "linux/amd64", "builderVersion": "BuilderV1"})
    provider.Create(provider_pb2.CreateRequest(urn=URN, properties=classic), context())
    assert len(built) == 2
    assert [text for text in said if "no BuildKit" in text] == said
    assert len(said) == 1


def test_the_configured_host_is_used(provider: DockerProvider, tmp_path: Path) -> None:
    variables = {"docker:config:host": f"unix://{tmp_path}/other.sock"}
    provider.Configure(provider_pb2.ConfigureRequest(variables=variables), context())
    with pytest.raises(AbortedError, match=r"other\.sock"):
        provider.Create(provider_pb2.CreateRequest(urn=URN, properties=check(provider)), context())
