"""The one way to `pg_dump`: the schema as PostgreSQL itself writes it down."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

from aegis_deploy.common.errors import AegisError
from aegis_deploy.data.connection import Address, shown_version

_PLACES = ("/usr/lib/postgresql/*/bin", "/usr/pgsql-*/bin", "/opt/homebrew/opt/postgresql@*/bin")
"""Where distributions keep the programs of several versions beside each other."""
_OPTIONS = (
    "--no-owner",
    "--no-privileges",
    "--no-comments",
    "--no-publications",
    "--no-subscriptions",
    "--no-security-labels",
    "--no-tablespaces",
    "--no-blobs",
)
"""What belongs to the place and not to the rows, or needs more rights than an owner has."""
_MAPPING = re.compile(
    r"^-- Name: USER MAPPING .*\n--\n\nCREATE USER MAPPING FOR (?:[^';]|'(?:[^']|'')*')*;\n",
    re.MULTILINE,
)
"""With whose password a server asks another one; no option leaves it out."""
_RESTRICTED = re.compile(r"^\\restrict (\S+)\n", re.MULTILINE)
_SECONDS = 3600


def program(server: int) -> Path:
    """Find a `pg_dump` that can dump a server: it refuses a newer one than itself.

    Args:
        server: The server's version as PostgreSQL numbers it.

    Raises:
        AegisError: There is none.
    """
    major = server // 10000
    seen = []
    for path in _candidates():
        said = subprocess.run([path, "--version"], capture_output=True, text=True, check=False)
        version = re.search(r"(\d+)(?:\.\d+)?", said.stdout)
        if version and int(version[1]) >= major:
            return path
        seen.append(f"{path} is {version[1] if version else 'unknown'}")
    raise AegisError(
        what="there is no pg_dump for this server",
        why="\n".join([f"the server is PostgreSQL {shown_version(server)}", *seen]),
        next=f"install PostgreSQL's client programs, {major} or newer; or add --without-schema "
        "and load into a migrated database only",
    )


def dump(path: Path, address: Address, snapshot: str, section: str) -> str:
    """Return a part of the schema, as SQL.

    Args:
        path: The program.
        address: Where the database is.
        snapshot: The moment, by the name it was exported with.
        section: `pre-data` or `post-data`.

    Raises:
        AegisError: It failed.
    """
    # The address goes by the environment: everybody can read arguments.
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PG")}
    passed = {
        k: v for k, v in os.environ.items() if k in {"PGPASSFILE", "PGPASSWORD", "PGSYSCONFDIR"}
    }
    done = subprocess.run(
        [
            path,
            f"--section={section}",
            f"--snapshot={snapshot}",
            "--lock-wait-timeout=10s",
            *_OPTIONS,
        ],
        env={**environment, **passed, **address.environment(), "PGCLIENTENCODING": "UTF8"},
        capture_output=True,
        text=True,
        check=False,
        timeout=_SECONDS,
    )
    if done.returncode:
        raise AegisError(
            what="the schema cannot be dumped",
            # It reads no row with a section, so it can quote none.
            why=f"{path} ended with {done.returncode}: {done.stderr.strip()}",
            next="mend that, then run it again; or add --without-schema",
        )
    return without_accounts(done.stdout)


def without_accounts(sql: str) -> str:
    """Return a dumped schema without what says as whom a server asks others: names and passwords.

    Args:
        sql: As `pg_dump` wrote it.
    """
    return _MAPPING.sub("", sql)


def for_server(sql: str) -> str:
    """Return a dumped schema without what only `psql` understands.

    Args:
        sql: As `pg_dump` wrote it.
    """
    found = _RESTRICTED.search(sql)
    if found is None:
        return sql
    # By its word: a function's body may have a line that looks like one.
    return sql.replace(found[0], "", 1).replace(f"\\unrestrict {found[1]}\n", "", 1)


def _candidates() -> Iterator[Path]:
    found = shutil.which("pg_dump")
    if found:
        yield Path(found)
    for pattern in _PLACES:
        root = Path(pattern).anchor
        yield from sorted(Path(root).glob(f"{pattern.removeprefix(root)}/pg_dump"), reverse=True)
