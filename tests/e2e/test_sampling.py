"""Production is sampled in its own cluster; whoever has the bucket alone loads what came of it."""

from __future__ import annotations

import json
import os
import secrets
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import psycopg
import pytest

from aegis_deploy.data.data_set import directory as data_set
from lab import database, images, settings
from tests.e2e.stand import CPU_REQUEST, ROOT, Stand, execute
from tests.integration import servers
from tests.integration.servers import Server
from tests.series import every

PROJECT = "sampled"
STACK, NAMESPACE = "production", f"{PROJECT}-production"
IN_NAMESPACE = ("--namespace", NAMESPACE)
ROWS = """
INSERT INTO customers (name, email)
  SELECT 'person ' || n, 'person' || n || '@real.example' FROM generate_series(1, 200) n;
INSERT INTO records (customer_id, name, status)
  SELECT id, 'record ' || id, 'active' FROM customers;
"""
REACHES = """
import socket, sys

for port in sys.argv[2:]:
    try:
        socket.create_connection((sys.argv[1], int(port)), 10).close()
    except OSError:
        print(port, "no")
    else:
        print(port, "yes")
"""


@dataclass(frozen=True)
class Production:
    """A stack on a database outside the cluster, with what samples it.

    Attributes:
        at: The program.
        server: The database's server.
        name: The database, and the role that owns it.
        password: That role's, and the reader's.
        store: The bucket's server.
    """

    at: Stand
    server: database.Server
    name: str
    password: str = field(repr=False)
    store: Server

    @property
    def to(self) -> str:
        """Below which address data sets are put."""
        return self.store.place(self.name)

    def connect(self, name: str | None = None) -> psycopg.Connection[Any]:
        """A connection of the superuser's."""
        options: dict[str, Any] = {
            "sslmode": "verify-full",
            "sslrootcert": str(self.server.authority),
        }
        return psycopg.connect(self.server.url(name or "postgres"), autocommit=True, **options)

    def count(self, name: str) -> tuple[int, int]:
        """How many customers and records a database has."""
        with self.connect(name) as link:
            ask = "SELECT (SELECT count(*) FROM customers), (SELECT count(*) FROM records)"
            ((customers, records),) = link.execute(ask).fetchall()
        return customers, records


@pytest.fixture(scope="module")
def production(at: Stand) -> Iterator[Production]:
    """The stand, whose stack is sampled."""
    lab = settings.load(os.environ, ROOT)
    name, password = f"sampled_{secrets.token_hex(4)}", secrets.token_urlsafe(16)
    with servers.s3(str(lab.addresses.host)) as store:
        made = Production(at, database.start(lab), name, password, store)
        with made.connect() as link:
            link.execute(f"CREATE ROLE {name} LOGIN PASSWORD '{password}'".encode())
            link.execute(
                f"CREATE ROLE {name}_reader LOGIN PASSWORD '{password}'"
                " IN ROLE pg_read_all_data".encode()
            )
            for it in (name, f"{name}_staging"):
                link.execute(f"CREATE DATABASE {it} OWNER {name}".encode())
        shutil.copy(made.server.authority, at.directory / "database-ca.pem")
        at.pulumi("stack", "init", STACK)
        at.stacks.append(STACK)
        at.configure(STACK, "scale", "minimal")
        at.configure(STACK, "databaseCa", "database-ca.pem")
        image = images.push_data_image(lab)
        group = {"image": image, "to": made.to, "cpuRequest": CPU_REQUEST, "at": "0 0 1 1 *"}
        at.configure(STACK, "sampling", json.dumps(group))
        for key, value in {
            "database": made.server.url(name, name, password),
            "samplingSource": made.server.url(name, f"{name}_reader", password),
            "samplingKey": secrets.token_hex(32),
            "samplingCredentials": ":".join(store.environment.values()),
        }.items():
            full = f"{PROJECT}:{key}"
            at.pulumi("config", "set", "--secret", full, value, "--stack", STACK)
        at.up(STACK)
        with made.connect(name) as link:
            link.execute(ROWS)
        yield made
    with made.connect() as link:
        for it in (name, f"{name}_staging"):
            link.execute(f"DROP DATABASE {it} WITH (FORCE)".encode())
        link.execute(f"DROP ROLE {name}_reader".encode())
        link.execute(f"DROP ROLE {name}".encode())


def run(at: Stand, name: str) -> str:
    """Have it run now, as the page says; return what it said."""
    at.kubectl(*IN_NAMESPACE, "create", "job", name, "--from=cronjob/aegis-sampling")
    wait = ("wait", "--for=condition=complete", "--timeout=300s", f"job/{name}")
    done = at.kubectl(*IN_NAMESPACE, *wait, expect=None)
    said = at.kubectl(*IN_NAMESPACE, "logs", f"job/{name}", expect=None).output
    assert done.code == 0, said
    return said


@every
def test_a_run_leaves_a_sample_that_is_loaded_with_the_bucket_alone(
    production: Production, monkeypatch: pytest.MonkeyPatch
) -> None:
    at, before = production.at, production.count(production.name)
    said = run(at, "first")
    assert production.password not in said
    run(at, "second")
    for name, value in production.store.environment.items():
        monkeypatch.setenv(name, value)
    newest = data_set.newest_below(production.to)
    assert newest.shown.endswith("/second")
    # The same key takes the same rows of what nobody changed.
    first = data_set.storage_at(production.store.place(f"{production.name}/first"))
    assert data_set.read(first).name == data_set.read(newest).name
    assert production.count(production.name) == before

    staging = f"{production.name}_staging"
    url = production.server.url(staging, production.name, production.password)
    tls = f"?sslmode=verify-full&sslrootcert={production.server.authority}"
    place = production.store.place(f"{production.name}/second")
    done = execute(
        *("aegis", "data", "load", place, "--to", "env:STAGING"),
        cwd=at.directory,
        env={**at.environment, **production.store.environment, "STAGING": url + tls},
    )
    assert done.code == 0, done.output
    customers, records = production.count(staging)
    assert 0 < customers < before[0]
    assert 0 < records < before[1]
    with production.connect(staging) as link:
        kept = link.execute("SELECT count(*) FROM customers WHERE email LIKE '%real.example'")
        assert kept.fetchall() == [(0,)]


@every
def test_its_pod_reaches_nothing_but_the_database_and_the_bucket(production: Production) -> None:
    at = production.at
    make = ("create", "job", "curious", "--from=cronjob/aegis-sampling", "--dry-run=client")
    job = json.loads(at.kubectl(*IN_NAMESPACE, *make, "--output=json").standard_output)
    pod = job["spec"]["template"]["spec"]
    assert pod["automountServiceAccountToken"] is False
    (only,) = pod["containers"]
    node = str(settings.load(os.environ, ROOT).addresses.node)
    only["command"] = ["python3", "-c", REACHES]
    only["args"] = [node, "5432", "6443"]
    file = at.directory / "curious.json"
    file.write_text(json.dumps(job))
    at.kubectl(*IN_NAMESPACE, "create", "--filename", str(file))
    wait = ("wait", "--for=condition=complete", "--timeout=300s", "job/curious")
    at.kubectl(*IN_NAMESPACE, *wait)
    said = at.kubectl(*IN_NAMESPACE, "logs", "job/curious").standard_output
    assert said.split() == ["5432", "yes", "6443", "no"]
