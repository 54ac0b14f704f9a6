"""The build process against a client that says what a daemon says."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from docker.errors import APIError

from lab.plugins.docker import build
from lab.plugins.docker.job import Event, Job

DIGEST = "sha256:" + "0" * 64


class FakeClient:
    """Answers ``build`` and ``push`` with given messages and remembers what it was asked."""

    def __init__(self, built: list[Any], pushed: list[Any]) -> None:
        self.built, self.pushed = built, pushed
        self.options: dict[str, Any] = {}
        self.members: list[str] = []

    def build(self, **options: Any) -> Iterator[Any]:
        self.options = options
        with tarfile.open(fileobj=options["fileobj"]) as archive:
            self.members = archive.getnames()
        yield from self._play(self.built)

    def push(self, *_: object, **__: object) -> Iterator[Any]:
        yield from self._play(self.pushed)

    def inspect_image(self, _: str) -> dict[str, Any]:
        return {"Id": "sha256:local", "RepoDigests": [f"registry.test/aegis@{DIGEST}"]}

    def _play(self, messages: list[Any]) -> Iterator[Any]:
        for message in messages:
            if isinstance(message, Exception):
                raise message
            yield message


BUILT = [{"stream": "Step 1/1 : FROM scratch\n"}, {"aux": {"ID": "sha256:local"}}]
PUSHED = [
    {"status": "Pushing", "progressDetail": {"current": 1}, "id": "abc"},
    {"aux": {"Tag": "1", "Digest": DIGEST, "Size": 1}},
]


@pytest.fixture
def job(tmp_path: Path) -> Job:
    """A job in a context of two files."""
    (tmp_path / "Dockerfile").write_text("FROM scratch\n")
    (tmp_path / "hello").write_text("x")
    return Job.of(
        {
            "imageName": "registry.test/aegis:1",
            "build": {
                "context": str(tmp_path),
                "dockerfile": str(tmp_path / "Dockerfile"),
                "args": {"A": "1"},
                "platform": "linux/amd64",
            },
        },
        host="unix:///nowhere.sock",
        cert_path="",
        preview=False,
    )


def run(
    job: Job, monkeypatch: pytest.MonkeyPatch, built: list[Any], pushed: list[Any]
) -> tuple[str, FakeClient]:
    client = FakeClient(built, pushed)
    monkeypatch.setattr(build, "_client", lambda _: client)
    return build.run(job), client


def test_the_result_is_the_registry_s_digest(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    result, client = run(job, monkeypatch, BUILT, PUSHED)
    assert result == f"registry.test/aegis@{DIGEST}"
    assert client.members == ["Dockerfile", "hello"]
    assert client.options["buildargs"] == {"A": "1"}
    assert client.options["platform"] == "linux/amd64"


def test_a_push_without_a_digest_asks_the_daemon(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    result, _ = run(job, monkeypatch, BUILT, [])
    assert result == f"registry.test/aegis@{DIGEST}"


def test_without_a_push_the_result_is_the_local_id(
    job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    local = dataclasses.replace(job, push=False)
    assert run(local, monkeypatch, BUILT, [RuntimeError("pushed")])[0] == "sha256:local"


def test_a_dockerfile_outside_of_the_context_is_added(
    job: Job, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    outside = tmp_path_factory.mktemp("outside") / "Other"
    outside.write_text("FROM scratch\n")
    _, client = run(dataclasses.replace(job, dockerfile=str(outside)), monkeypatch, BUILT, PUSHED)
    assert client.options["dockerfile"] == ".dockerfile.Other"
    assert ".dockerfile.Other" in client.members


@pytest.mark.parametrize(
    ("built", "pushed", "expected"),
    [
        (
            [
                {"stream": "Step 2/2 : RUN false\n"},
                {"stream": " ---> Running in 0\n"},
                {"stream": "\x1b[91moops\n\x1b[0m"},
                {"error": "x", "errorDetail": {"code": 1, "message": "returned code: 1"}},
            ],
            [],
            ["failed at Step 2/2 : RUN false", "returned code: 1", "    | oops\n  next"],
        ),
        ([APIError("400", explanation="dockerfile parse error")], [], ["dockerfile parse error"]),
        (BUILT, [{"error": "denied: no"}], ["pushing registry.test/aegis:1", "docker login"]),
        (BUILT, [APIError("500", explanation="connection refused")], ["its registry runs"]),
    ],
)
def test_failures(
    job: Job,
    monkeypatch: pytest.MonkeyPatch,
    built: list[Any],
    pushed: list[Any],
    expected: list[str],
) -> None:
    with pytest.raises(build.Failed) as caught:
        run(job, monkeypatch, built, pushed)
    assert [part for part in expected if part not in str(caught.value)] == []


@pytest.mark.parametrize(
    ("cause", "expected"),
    [
        (OSError(28, "No space left on device"), "does not fit into"),
        (OSError(13, "Permission denied"), "cannot be read\n  why:  Can not read it: Permission"),
    ],
)
def test_a_full_disk_is_told_apart(
    job: Job, monkeypatch: pytest.MonkeyPatch, cause: OSError, expected: str
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError("Can not read it") from cause  # docker-py hides every cause like this

    monkeypatch.setattr(build, "create_archive", fail)
    with pytest.raises(build.Failed, match=expected):
        run(job, monkeypatch, BUILT, PUSHED)


def test_no_daemon_is_one_clear_failure(job: Job) -> None:
    done = subprocess.run(
        [sys.executable, "-P", "-m", "lab.plugins.docker.build"],
        input=job.dump(),
        env={"PYTHONPATH": str(Path(build.__file__).parents[3])},
        capture_output=True,
        check=False,
        timeout=120,
    )
    said = Event.load(done.stdout)
    assert (done.returncode, done.stderr, said.kind) == (1, b"", "failed")
    assert said.text.startswith("no Docker daemon answers at unix:///nowhere.sock\n")


def test_half_given_credentials_are_mentioned_without_them(
    job: Job, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(build, "Client", lambda **_: object())
    build._client(dataclasses.replace(job, password="hunter2"))
    said = Event.load(capsys.readouterr().out.encode())
    assert said.kind == "warning"
    assert "hunter2" not in said.text
