"""The build process: one image, built and pushed with docker-py.

Run as ``python -m lab.plugins.docker.build`` by the provider. Reads a ``Job`` from stdin (with the
registry's password, which therefore is in no argument and no environment) and prints ``Event``
lines.
"""

from __future__ import annotations

import os
import re
import sys
import tempfile
from collections import deque
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final

import docker
from docker.errors import APIError, DockerException
from docker.utils import create_archive, kwargs_from_env

from lab.plugins.docker import failures, names
from lab.plugins.docker.context import archive_members, relative_dockerfile
from lab.plugins.docker.job import Event, EventKind, Job

_TIMEOUT_SECONDS: Final = 600
_LAST_LINES: Final = 15
_COLOR: Final = re.compile(r"\x1b\[[0-9;]*m")
_BOOKKEEPING: Final = (" ---> ", "Removing intermediate container ")


class Failed(Exception):  # noqa: N818
    """The build or the push failed; the message is for people."""


class Client(docker.APIClient):
    """docker-py's client, with the resource's own registry credentials."""

    def use_credentials(self, server: str, username: str, password: str) -> None:
        """Use credentials for pulls and pushes, in this process only."""
        self._auth_configs.add_auth(  # type: ignore[attr-defined]
            server, {"username": username, "password": password, "serveraddress": server}
        )


def main() -> int:
    """Run the job that stdin holds."""
    job = Job.load(sys.stdin.buffer.readline())
    try:
        _say("done", run(job))
    except Failed as error:
        _say("failed", str(error))
        return 1
    return 0


def run(job: Job) -> str:
    """Build an image and push it.

    Returns:
        The image's digest in its registry, as ``name@sha256:...``; without a push its local id.

    Raises:
        Failed: With a message that says what, why, and what to do.
    """
    client = _client(job)
    _pull_caches(client, job)
    with _archive(job) as archive:
        _build(client, job, archive)
    if job.push:
        return _push(client, job)
    return str(_inspect(client, job.image)["Id"])


def _say(kind: EventKind, text: str) -> None:
    sys.stdout.write(Event(kind, text).dump() + "\n")
    sys.stdout.flush()


def _client(job: Job) -> Client:
    environment = dict(os.environ) | {"DOCKER_HOST": job.host}
    if job.cert_path:
        environment |= {"DOCKER_CERT_PATH": job.cert_path, "DOCKER_TLS_VERIFY": "1"}
    try:
        client = Client(timeout=_TIMEOUT_SECONDS, **kwargs_from_env(environment=environment))
    except DockerException as error:
        raise Failed(failures.no_daemon(job.host, _innermost(error))) from error
    if job.push or job.cache_from:
        if job.username and job.password:
            server = names.auth_server(job.server, job.image)
            client.use_credentials(server, job.username, job.password)
        elif job.username or job.password:
            given, missing = ("username", "password") if job.username else ("password", "username")
            _say(
                "warning",
                f"the resource's registry has a {given} and no {missing}: "
                "credentials of this machine's Docker configuration are used",
            )
    return client


def _pull_caches(client: Client, job: Job) -> None:
    """Pull the images to take layers from; one that is missing only makes the build slower."""
    for image in job.cache_from:
        _say("status", f"Pulling cached image {image}")
        try:
            for _ in _messages(
                client.pull(image, stream=True, decode=True, platform=job.platform or None)
            ):
                pass
        except (Failed, DockerException) as error:
            _say("info", f"cacheFrom image {image} is not available: {error}")


def _archive(job: Job) -> Any:  # noqa: ANN401 - docker-py's stub names a private type
    name = relative_dockerfile(job.context, job.dockerfile)
    outside = [(_outside_name(name), Path(job.dockerfile).read_text())] if _outside(name) else []
    try:
        return create_archive(
            os.path.realpath(job.context),
            files=archive_members(job.context, job.dockerfile),
            extra_files=outside,
        )
    except OSError as error:
        reason = _innermost(error)
        if failures.is_disk_full(reason):
            raise Failed(failures.no_space_for_context(tempfile.gettempdir(), reason)) from error
        raise Failed(failures.context_unreadable(job.context, f"{error}: {reason}")) from error


def _outside(name: str) -> bool:
    return name.startswith("../")


def _outside_name(name: str) -> str:
    return f".dockerfile.{Path(name).name}"


def _build(client: Client, job: Job, archive: Any) -> None:  # noqa: ANN401 - as above
    _say("status", "Building the image with the classic builder")
    name = relative_dockerfile(job.context, job.dockerfile)
    step = ""
    output: deque[str] = deque(maxlen=_LAST_LINES)
    try:
        for message in _messages(
            client.build(
                fileobj=archive,
                custom_context=True,
                dockerfile=_outside_name(name) if _outside(name) else name,
                tag=job.image,
                buildargs=dict(job.arguments),
                target=job.target,
                network_mode=job.network,
                platform=job.platform or None,
                extra_hosts=job.extra_hosts or None,  # type: ignore[arg-type,unused-ignore]
                cache_from=job.cache_from or None,
                rm=True,
                forcerm=True,
                decode=True,
                use_config_proxy=False,
            )
        ):
            for line in _lines(message):
                if line.startswith("Step "):
                    step = line
                    output.clear()
                elif "stream" in message and not line.startswith(_BOOKKEEPING):
                    output.append(line)
                _say("status", line)
    except (Failed, APIError, DockerException, OSError) as error:
        raise Failed(
            failures.build_failed(job.image, _innermost(error), step=step, output=tuple(output))
        ) from error


def _push(client: Client, job: Job) -> str:
    registry = names.parse(job.image).registry
    digest = ""
    _say("status", f"Pushing to {registry}")
    try:
        for message in _messages(client.push(job.image, stream=True, decode=True)):
            digest = message.get("aux", {}).get("Digest", digest)
            for line in _lines(message):
                _say("status", line)
    except (Failed, APIError, DockerException, OSError) as error:
        raise Failed(failures.push_failed(job.image, registry, _innermost(error))) from error
    if digest:
        return f"{names.parse(job.image).full}@{digest}"
    return _recorded_digest(client, job)


def _recorded_digest(client: Client, job: Job) -> str:
    """Return the digest that the daemon keeps, for daemons whose push does not report it."""
    wanted = names.parse(job.image).full
    for digest in _inspect(client, job.image).get("RepoDigests") or []:
        if names.parse(digest).full == wanted:
            return f"{wanted}@{digest.partition('@')[2]}"
    raise Failed(
        failures.push_failed(
            job.image, names.parse(job.image).registry, "the daemon reported no digest"
        )
    )


def _inspect(client: Client, image: str) -> dict[str, Any]:
    found: dict[str, Any] = client.inspect_image(image)  # type: ignore[no-untyped-call]
    return found


def _messages(stream: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Pass the daemon's messages on and raise its errors."""
    for message in stream:
        if "error" in message:
            detail = message.get("errorDetail") or {}
            raise Failed(str(detail.get("message") or message["error"]))
        yield message


def _lines(message: dict[str, Any]) -> list[str]:
    """Return a message's lines worth showing; bytes counted so far are not."""
    if message.get("progressDetail"):
        return []
    text = str(message.get("stream") or message.get("status") or "")
    if message.get("id"):
        text = f"{message['id']}: {text}"
    plain = _COLOR.sub("", text)
    return [line for line in plain.splitlines() if line.strip()]


def _innermost(error: BaseException) -> str:
    """Return the cause at the bottom of an error, without the layers docker-py wraps it in."""
    if isinstance(error, APIError):
        return str(error.explanation or error)
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    inner = (
        error.__cause__
        or error.__context__
        or next((part for part in error.args if isinstance(part, BaseException)), None)
    )
    return _innermost(inner) if inner is not None else str(error)


if __name__ == "__main__":
    sys.exit(main())
