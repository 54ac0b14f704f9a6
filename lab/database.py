"""A PostgreSQL outside the cluster, as production has one: with TLS, on demand.

It is a container of the lab's Docker daemon on the node's address. Its certificate is of the
cluster's authority, it takes encrypted connections alone, and its data stay until the lab's state
is purged.
"""

from __future__ import annotations

import os
import secrets
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from lab import files, images, pki
from lab.command import wait_until
from lab.errors import LabError
from lab.settings import LabSettings

if TYPE_CHECKING:
    from docker.models.containers import Container

NAME = "aegis-lab-database"
PORT = 5432
SUPERUSER = "postgres"
ACCOUNT = 999
"""The account of the image, which owns what is mounted into it."""
_SECONDS = 120
_INSIDE = "/var/lib/postgresql"
_HBA = """\
local   all all     trust
hostssl all all all scram-sha-256
"""
_START = f"""\
set -e
umask 077
if [ ! -s {_INSIDE}/data/PG_VERSION ]; then
  rm -rf {_INSIDE}/data/*
  initdb --pgdata={_INSIDE}/data --username={SUPERUSER} --pwfile={_INSIDE}/password \
    --auth=scram-sha-256 --encoding=UTF8 --locale=C.UTF-8
fi
exec postgres -D {_INSIDE}/data -c hba_file={_INSIDE}/pg_hba.conf -c ssl=on \
  -c ssl_cert_file={_INSIDE}/server.crt -c ssl_key_file={_INSIDE}/server.key \
  -c listen_addresses="$ADDRESS" -c unix_socket_directories=/tmp -c max_connections=200
"""


@dataclass(frozen=True, kw_only=True)
class Server:
    """A PostgreSQL that runs.

    Attributes:
        host: Where it listens; its certificate names it.
        password: The superuser's.
        authority: The file with the certificate of the authority that signed its own.
    """

    host: str
    password: str = field(repr=False)
    authority: Path

    def url(self, database: str = "postgres", user: str = SUPERUSER, password: str = "") -> str:
        """Return the address of a database of it; without a user, the superuser's."""
        account = f"{quote(user, safe='')}:{quote(password or self.password, safe='')}"
        return f"postgresql://{account}@{self.host}:{PORT}/{database}"


def start(settings: LabSettings) -> Server:
    """Start it unless it runs, and wait until it takes connections.

    Raises:
        LabError: Its image cannot be made, or it ends; its last lines are quoted.
    """
    directory = settings.state / "database"
    host = str(settings.addresses.node)
    reference = images.push_postgres_image(settings)
    with images.docker_client(settings) as client:
        found = client.containers.list(all=True, filters={"name": f"^{NAME}$"})
        container = found[0] if found else None
        if container is None:
            _prepare(settings, directory, host)
            container = client.containers.create(
                reference,
                ["sh", "-c", _START],
                name=NAME,
                network_mode="host",
                environment={"ADDRESS": host},
                volumes={str(directory / "mounted"): {"bind": _INSIDE, "mode": "rw"}},
                read_only=True,
                tmpfs={"/tmp": "mode=1777", "/run": "mode=1777"},  # noqa: S108 - a container's own
                cap_drop=["ALL"],
                security_opt=["no-new-privileges"],
            )
        container.start()
        _wait(container)
    return Server(
        host=host,
        password=password_file(settings).read_text(),
        authority=directory / "ca.pem",
    )


def password_file(settings: LabSettings) -> Path:
    """Return the file with the superuser's password."""
    return settings.state / "database" / "password"


def stop(settings: LabSettings) -> None:
    """End it, as a machine's end does: whoever is connected is cut off. Its data stay."""
    with images.docker_client(settings) as client:
        for container in client.containers.list(filters={"name": f"^{NAME}$"}):
            container.kill()
            container.wait()


def _prepare(settings: LabSettings, directory: Path, host: str) -> None:
    mounted = directory / "mounted"
    (mounted / "data").mkdir(parents=True, exist_ok=True)
    password = password_file(settings)
    if not password.exists():
        files.write(password, secrets.token_urlsafe(24))
    files.write(directory / "ca.pem", pki.authority(settings).certificate_pem().decode())
    issued = pki.issue_server(settings, "aegis-lab-database", [host])
    for name, content in {
        "password": password.read_text(),
        "pg_hba.conf": _HBA,
        "server.crt": issued.certificate_pem().decode(),
        "server.key": issued.key_pem().decode(),
    }.items():
        files.write(mounted / name, content)
    for path in (mounted, mounted / "data", *mounted.glob("*")):
        path.chmod(0o700 if path.is_dir() else 0o600)
        os.chown(path, ACCOUNT, ACCOUNT)


def _wait(container: Container) -> None:
    def ready() -> bool:
        container.reload()
        if container.status not in ("running", "created"):
            raise LabError(what="the lab's database ended", why=_last_lines(container))
        # Over its socket, which a server that still recovers does not answer well.
        code, _ = container.exec_run(["pg_isready", "--quiet", "--host=/tmp"])
        return bool(code == 0)

    wait_until(
        ready,
        what="the lab's database to take connections",
        timeout=_SECONDS,
        detail=lambda: _last_lines(container),
    )


def _last_lines(container: Container) -> str:
    return str(container.logs(tail=20).decode(errors="replace"))
