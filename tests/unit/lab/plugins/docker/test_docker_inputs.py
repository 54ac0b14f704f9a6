"""What Check returns, what Diff finds, what a job is made of."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from lab.plugins.docker import inputs, names
from lab.plugins.docker.daemon import DEFAULT_HOST, Daemon, Unsupported, configured, unreachable
from lab.plugins.docker.job import Event, Job
from lab.plugins.properties import UNKNOWN, Secret

IMAGE = "registry.test:5000/aegis:1"


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with a Dockerfile, as the working directory."""
    (tmp_path / "Dockerfile").write_text("FROM scratch\n")
    (tmp_path / "app").mkdir()
    (tmp_path / "app" / "Dockerfile").write_text("FROM scratch\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def checked(**news: Any) -> dict[str, Any]:
    return inputs.check({"imageName": IMAGE, **news}).inputs


class TestDefaults:
    """What a program may leave out."""

    def test_of_no_build_at_all(self) -> None:
        found = inputs.check({"imageName": IMAGE})
        build = found.inputs["build"]
        assert build.pop("contextDigest")
        assert found.inputs == {"imageName": IMAGE, "buildOnPreview": False, "build": build}
        assert build == {
            "context": ".",
            "dockerfile": "Dockerfile",
            "platform": inputs.host_platform(),
        }
        assert found.platform_assumed

    def test_the_dockerfile_is_looked_for_in_the_context(self) -> None:
        assert checked(build={"context": "./app"})["build"]["dockerfile"] == "app/Dockerfile"

    def test_what_the_program_says_stays(self) -> None:
        build = {
            "context": ".",
            "dockerfile": "Dockerfile",
            "platform": "linux/arm64",
            "builderVersion": "BuilderV1",
            "args": {"A": "1"},
        }
        found = inputs.check({"imageName": IMAGE, "build": build, "skipPush": False})
        assert {**found.inputs["build"], "contextDigest": ""} == {**build, "contextDigest": ""}
        assert not found.platform_assumed

    def test_nulls_are_dropped(self) -> None:
        assert "target" not in checked(build={"target": None})["build"]

    def test_unknown_parts_stay_unknown_and_have_no_digest(self) -> None:
        build = checked(build={"context": UNKNOWN})["build"]
        assert build["context"] is UNKNOWN
        assert "contextDigest" not in build
        assert checked(build=UNKNOWN)["build"] is UNKNOWN
        assert checked(buildOnPreview=UNKNOWN)["buildOnPreview"] is False


@pytest.mark.parametrize(
    ("news", "message"),
    [
        ({"build": {"dockerfile": "nope"}}, r"no Dockerfile at 'nope'"),
        ({"build": {"context": "nope", "dockerfile": "Dockerfile"}}, r"'nope' is not a directory"),
        ({"build": {"builderVersion": "V9"}}, r"'V9'; it must be BuilderV1 or BuilderBuildKit"),
        ({"build": {"cacheFrom": {}}}, r"cacheFrom has no `images`"),
        ({"build": {"cacheFrom": {"images": "x"}}}, r"must be a list"),
        ({"imageName": "aegis:1"}, r"does not say which registry"),
        (
            {"imageName": "aegis:1", "skipPush": True, "build": {"cacheFrom": {"images": [IMAGE]}}},
            r"does not say which registry",
        ),
    ],
)
def test_bad_inputs_are_refused(news: dict[str, Any], message: str) -> None:
    with pytest.raises(inputs.BadInput, match=message):
        checked(**news)


def test_a_dockerfile_given_relative_to_the_context_is_explained(project: Path) -> None:
    (project / "app" / "Other").write_text("FROM scratch\n")
    with pytest.raises(inputs.BadInput, match=r"set build.dockerfile to 'app/Other'"):
        checked(build={"context": "app", "dockerfile": "Other"})


def test_an_unreadable_context_is_an_input_error(project: Path) -> None:
    (project / "link").symlink_to("nowhere")
    with pytest.raises(inputs.BadInput, match=r"cannot be read.*\n.*\.dockerignore"):
        checked()


@pytest.mark.parametrize(
    "news",
    [
        {"imageName": "aegis:1", "skipPush": True},
        {"imageName": "aegis:1", "registry": {"server": "registry.test"}},
        {"imageName": UNKNOWN},
    ],
)
def test_a_short_name_is_enough_sometimes(news: dict[str, Any]) -> None:
    assert checked(**news)


@pytest.mark.parametrize(
    ("name", "registry", "full", "qualified"),
    [
        ("a.test:5000/x/y:tag", "a.test:5000", "a.test:5000/x/y", True),
        ("198.18.0.2:5000/aegis@sha256:00", "198.18.0.2:5000", "198.18.0.2:5000/aegis", True),
        ("localhost/x", "localhost", "localhost/x", True),
        ("x", names.DEFAULT_REGISTRY, f"{names.DEFAULT_REGISTRY}/library/x", False),
        ("me/x:1", names.DEFAULT_REGISTRY, f"{names.DEFAULT_REGISTRY}/me/x", False),
        (
            f"{names.DEFAULT_REGISTRY}/me/x",
            names.DEFAULT_REGISTRY,
            f"{names.DEFAULT_REGISTRY}/me/x",
            True,
        ),
    ],
)
def test_image_names(name: str, registry: str, full: str, qualified: bool) -> None:
    parsed = names.parse(name)
    assert (parsed.registry, parsed.full, parsed.qualified) == (registry, full, qualified)


@pytest.mark.parametrize(
    ("server", "image", "expected"),
    [
        ("", IMAGE, "registry.test:5000"),
        ("https://a.test/v1/", "x", "a.test"),
        (names.DEFAULT_REGISTRY, "x", f"https://index.{names.DEFAULT_REGISTRY}/v1/"),
    ],
)
def test_where_credentials_are_kept(server: str, image: str, expected: str) -> None:
    assert names.auth_server(server, image) == expected


OLD: dict[str, Any] = {
    "imageName": IMAGE,
    "build": {"args": {"A": "1"}, "contextDigest": "d", "builderVersion": "BuilderV1"},
    "registry": {"server": "s", "username": "u", "password": "p"},
}


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, {}),
        ({"imageName": "other"}, {"imageName": "update"}),
        ({"imageName": UNKNOWN}, {"imageName": "update"}),
        ({"build": {**OLD["build"], "contextDigest": "e"}}, {"build": "update"}),
        ({"build": {**OLD["build"], "args": {"A": "2"}}}, {"build": "update"}),
        ({"build": {**OLD["build"], "builderVersion": "BuilderBuildKit"}}, {"build": "update"}),
        ({"skipPush": True}, {"skipPush": "add"}),
        ({"skipPush": None}, {}),
        ({"registry": None}, {"registry": "delete"}),
        ({"registry": {"server": "s", "username": "v", "password": "q"}}, {}),
        ({"registry": {"server": "t", "username": "u", "password": "p"}}, {"registry": "update"}),
    ],
)
def test_changes(change: dict[str, Any], expected: dict[str, str]) -> None:
    assert inputs.changes(OLD, OLD | change) == expected


def test_recorded_inputs_come_from_the_outputs() -> None:
    assert inputs.recorded_inputs({"__inputs": Secret({"a": 1, "b": None})}) == {"a": 1}
    assert inputs.recorded_inputs({"__inputs": {"a": 1}}) == {"a": 1}
    assert inputs.recorded_inputs({}) == {}


def test_a_preview_says_what_it_waits_for() -> None:
    known = {"imageName": IMAGE, "build": {"context": ".", "dockerfile": "Dockerfile"}}
    assert inputs.preview_obstacle(known) is None
    unknown = known | {"build": {"context": ".", "args": {"A": UNKNOWN}}}
    assert "build.args" in str(inputs.preview_obstacle(unknown))
    assert "build" in str(inputs.preview_obstacle(known | {"build": UNKNOWN}))


class TestJob:
    """What the build process is told."""

    def job(self, *, preview: bool = False, **news: Any) -> Job:
        return Job.of(checked(**news), host="unix:///s", cert_path="", preview=preview)

    def test_survives_the_pipe(self) -> None:
        job = self.job(build={"args": {"A": "1"}}, registry={"username": "u", "password": "p"})
        assert Job.load(job.dump()) == job

    def test_never_shows_the_password(self) -> None:
        assert "hunter2" not in repr(self.job(registry={"username": "u", "password": "hunter2"}))

    def test_pushes_unless_told_not_to(self) -> None:
        assert self.job().push
        assert not self.job(skipPush=True).push
        assert not self.job(preview=True).push

    @pytest.mark.parametrize("line", [b"Traceback", b"3", b'["a"]', b"\xff"])
    def test_a_stray_line_is_a_status(self, line: bytes) -> None:
        assert Event.load(line).kind == "status"


class TestDaemon:
    """Where the daemon is."""

    def test_configuration_wins_over_the_environment(self) -> None:
        environment = {"DOCKER_HOST": "unix:///env", "DOCKER_CERT_PATH": "/certs"}
        assert configured({}, environment) == Daemon("unix:///env", "/certs")
        assert configured({"host": "unix:///set"}, environment).host == "unix:///set"
        assert configured({}, {}) == Daemon(DEFAULT_HOST)

    def test_certificates_as_text_are_refused(self) -> None:
        with pytest.raises(Unsupported, match="docker:certPath"):
            configured({"caMaterial": "-----BEGIN"}, {})

    def test_no_socket_is_unreachable(self, project: Path) -> None:
        assert unreachable(Daemon(f"unix://{project}/none.sock")) == "No such file or directory"
        assert unreachable(Daemon("tcp://127.0.0.1:1")) == "Connection refused"
        assert unreachable(Daemon("ssh://somewhere")) is None
