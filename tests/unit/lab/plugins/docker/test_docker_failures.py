"""Every cause people meet gets its own remedy."""

from __future__ import annotations

import pytest

from lab.plugins.docker import failures

IMAGE = "198.18.0.2:5000/aegis:1"
FROM = "Step 1/9 : FROM 198.18.0.2:5000/python:3.11"


@pytest.mark.parametrize(
    ("step", "message", "remedy"),
    [
        ("Step 2/9 : RUN false", "returned a non-zero code: 1", "correct what the step does"),
        ("Step 2/9 : RUN x", "write /x: no space left on device", "docker system prune"),
        ("Step 2/9 : RUN --mount=type=cache x", "the --mount option requires BuildKit.", "classic"),
        ("Step 2/9 : COPY a b", "COPY failed: file not found in build context", ".dockerignore"),
        ("", "dockerfile parse error line 3: unknown instruction: FOO", "correct the Dockerfile"),
        ("", "invalid reference format", "the build's options"),
        (FROM, "manifest for x not found: manifest unknown", "correct the FROM line"),
        (FROM, "pull access denied for x, repository does not exist or", "correct the FROM line"),
        (FROM, "dial tcp 198.18.0.2:5000: connect: connection refused", "check that 198.18.0.2"),
        (FROM, "http: server gave HTTP response to HTTPS client", "--insecure-registry 198.18.0.2"),
        (FROM, "x509: certificate signed by unknown authority", "/etc/docker/certs.d/198.18.0.2"),
        (FROM, "unauthorized: authentication required", "docker login 198.18.0.2:5000"),
        (FROM, "was found but does not match the specified platform", "platform"),
        ("Step 1/9 : FROM python:3", "no such host", "check that the base image's registry"),
        ("Step 2/9 : RUN curl", "connection refused", "correct what the step does"),
    ],
)
def test_builds(step: str, message: str, remedy: str) -> None:
    text = failures.build_failed(IMAGE, message, step=step)
    what, why, after = text.split("\n")
    assert what.startswith(f"building {IMAGE} failed")
    assert step in what
    assert why == f"  why:  {message}"
    assert remedy in after


def test_a_step_s_last_output_is_quoted() -> None:
    text = failures.build_failed(IMAGE, "code: 1", step="Step 2/2 : RUN x", output=["one", "two"])
    assert "    | one\n    | two\n" in text


@pytest.mark.parametrize(
    ("message", "remedy"),
    [
        ("dial tcp: connect: connection refused", "its registry runs"),
        ("denied: requested access to the resource is denied", "docker login"),
        ("no basic auth credentials", "docker login"),
        ("EOF", "docker login"),
        ("server gave HTTP response to HTTPS client", "--insecure-registry"),
        ("blob upload: no space left on device", "free disk space"),
        ("something new", "what the registry complains about"),
    ],
)
def test_pushes(message: str, remedy: str) -> None:
    text = failures.push_failed(IMAGE, "198.18.0.2:5000", message)
    assert text.startswith(f"pushing {IMAGE} to 198.18.0.2:5000 failed")
    assert remedy in text


def test_no_daemon_names_the_address() -> None:
    assert "unix:///x" in failures.no_daemon("unix:///x", "No such file or directory")
    assert "DOCKER_HOST" in failures.no_daemon("unix:///x", "No such file or directory")
