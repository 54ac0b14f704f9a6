"""`python -m app.migrate`: brings the database to this code's schema, as far as it may.

Expands run; from the first contract on everything waits until contracts are asked for
(`--contract`). A database that is at this code's revision or beyond is left as it is, so that an
older release's migration is harmless. Only one runs at a time. Each revision is a transaction of
its own: what fails leaves the database at the last whole one, and the next run goes on from there.

With `--plan` nothing is changed: standard output says, as JSON, what would be applied. With
`--revisions` no database is asked either: it says what there is, with its SQL. With `--rehearse`
all is done to a copy, which is dropped; where AEGIS_REHEARSAL is `keep` it stays for `--probe`,
with which other code tries a read and a write on it and drops it.

Exit codes: 0 the database fits this code; 1 the database does not answer or was held up, which
the next try may not see; 2 the settings are wrong; 3 the database is none that this code fits or
may migrate; 4 a revision failed, as it would again.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable
from contextlib import nullcontext, suppress
from pathlib import Path

from prometheus_client import CollectorRegistry
from pydantic import SecretStr
from sqlalchemy import Connection, Engine, create_engine
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool

from app.database.address import connect_arguments, parse
from app.database.engine import Database, reason
from app.database.schema import DatabaseSchema, of_this_code
from app.metrics import DatabaseMetrics
from app.migrations.history import HistoryError, Revision
from app.migrations.rehearsal import rehearse
from app.migrations.rendering import render, statements
from app.migrations.runner import MigrationError, Pending, RefusedError, Runner, Within, revisions
from app.migrations.trial import tried
from app.service import SERVICE
from app.settings import Settings, SettingsError, load_settings

EXIT_OK, EXIT_HELD_UP, EXIT_SETTINGS, EXIT_REFUSED, EXIT_FAILED = 0, 1, 2, 3, 4
LIMITS = {"lock_seconds": 1, "statement_seconds": 300}
"""How long a statement may wait for a lock, and how long it may take."""
MIGRATIONS = Path(__file__).with_name("migrations")
KEEP_VARIABLE = "AEGIS_REHEARSAL"
"""Where it is `keep`, a rehearsal leaves its copy to whoever probes it next."""
TERMINATION_LOG = Path("/dev/termination-log")
"""Where Kubernetes looks for a container's last words; there is none outside of it."""


def main(arguments: list[str] | None = None) -> int:
    """Runs it and returns its exit code."""
    parser = argparse.ArgumentParser(prog="python -m app.migrate", description=__doc__)
    parser.add_argument(
        "--contract", action="store_true", help="apply contracts, too: what older code uses goes"
    )
    parser.add_argument(
        "--plan", action="store_true", help="say what would be applied, as JSON, and apply nothing"
    )
    parser.add_argument(
        "--revisions", action="store_true", help="list every revision with its SQL, as JSON"
    )
    parser.add_argument(
        "--rehearse",
        action="store_true",
        help="try it on a copy that is dropped afterwards, and say as JSON how long each statement "
        "takes and what it locks",
    )
    parser.add_argument(
        "--probe",
        action="store_true",
        help="try a read and a write on the copy that a rehearsal kept, and drop it",
    )
    given = parser.parse_args(arguments)
    try:
        if given.revisions:
            print(json.dumps({"revisions": [_listed(it) for it in revisions(MIGRATIONS)]}))  # noqa: T201
            return EXIT_OK
    except HistoryError as error:
        _say(_NO_LINE.format(why=error))
        return EXIT_REFUSED
    try:
        settings = load_settings(os.environ)
    except SettingsError as error:
        _say(str(error))
        return EXIT_SETTINGS
    if settings.database_url is None:
        _say(
            "error: there is nothing to migrate\n"
            "  why:   AEGIS_DATABASE_URL is not set\n"
            "  state: nothing was done\n"
            "  next:  set it to postgresql://user:password@host:port/name"
        )
        return EXIT_SETTINGS
    return _migrate(settings, settings.database_url, given)


def _engine(settings: Settings, address: SecretStr, name: str | None = None) -> Engine:
    """What connects to the database, or to another one of the same server."""
    url = parse(address.get_secret_value())
    return create_engine(
        url if name is None else url.set(database=name),
        connect_args=dict(
            connect_arguments(
                tls=settings.database_tls,
                authority=settings.database_ca,
                name=f"{SERVICE} migrate",
                **LIMITS,
            )
        ),
        poolclass=NullPool,
        hide_parameters=True,
    )


def _database(settings: Settings, address: SecretStr, name: str) -> Database:
    """The service's own way to another database of the same server."""
    url = parse(address.get_secret_value()).set(drivername="postgresql", database=name)
    return Database(
        url.render_as_string(hide_password=False),
        DatabaseMetrics(CollectorRegistry()),
        tls=settings.database_tls,
        authority=settings.database_ca,
        name=f"{SERVICE} probe",
    )


def _migrate(settings: Settings, address: SecretStr, given: argparse.Namespace) -> int:
    production, contracts = settings.environment == "production", bool(given.contract)

    def runner_of(connection: Connection, within: Within = nullcontext) -> Runner:
        return Runner(
            connection,
            of_this_code(),
            service=SERVICE,
            production=production,
            say=_say,
            within=within,
        )

    try:
        if given.probe or given.rehearse:
            print(json.dumps(_on_copy(settings, address, given, runner_of)))  # noqa: T201
        elif given.plan:
            with _engine(settings, address).connect() as connection:
                pending = runner_of(connection).pending(contracts=contracts)
            print(json.dumps(_told(pending)))  # noqa: T201
        else:
            with _engine(settings, address).connect() as connection:
                schema = runner_of(connection).run(contracts=contracts)
            _end_with(schema)
    except HistoryError as error:
        _say(_NO_LINE.format(why=error))
        return EXIT_REFUSED
    except MigrationError as error:
        return _not_done(error, "rehearsed on" if given.rehearse else "migrated")
    except DBAPIError as error:
        _say(
            "error: the database could not be reached\n"
            f"  why:   {reason(error)}\n"
            "  state: it is at its last whole revision; the release that runs serves on\n"
            "  next:  see that it answers and lets this role in; then the same again"
        )
        return EXIT_HELD_UP
    return EXIT_OK


def _on_copy(
    settings: Settings,
    address: SecretStr,
    given: argparse.Namespace,
    runner_of: Callable[..., Runner],
) -> dict[str, object]:
    """Try what is pending on a copy, or this code on the copy that stayed."""

    def engine_of(name: str | None) -> Engine:
        return _engine(settings, address, name)

    if given.probe:
        trial = tried(
            engine_of,
            lambda name: _database(settings, address, name),
            of_this_code(),
            service=SERVICE,
        )
        return {"probe": trial.as_json()}
    done = rehearse(
        engine_of,
        runner_of,
        service=SERVICE,
        production=settings.environment == "production",
        contracts=bool(given.contract),
        say=_say,
        keep=os.environ.get(KEEP_VARIABLE) == "keep",
    )
    return {"rehearsal": done.as_json()}


def _not_done(error: MigrationError, what: str) -> int:
    """Tell of what was refused or failed; return the exit code."""
    refused = isinstance(error, RefusedError)
    _say(
        f"error: the database {'is not' if refused else 'could not be'} {what}\n"
        f"  why:   {error.why}\n"
        f"  state: {_state(error)}\n"
        f"  next:  {_NEXT_REFUSED if refused else _NEXT_FAILED}"
    )
    if refused:
        return EXIT_REFUSED
    return EXIT_FAILED if error.final else EXIT_HELD_UP


def _end_with(schema: DatabaseSchema) -> None:
    """Leave with the pod what the database is now: whoever asks for it need not reach it."""
    with suppress(OSError):
        TERMINATION_LOG.write_text(f"{json.dumps(schema.as_json())}\n", encoding="utf-8")


def _told(pending: Pending) -> dict[str, object]:
    """What a run would do, as docs/schema.md has it."""
    return {
        "database": pending.at.as_json(),
        "after": pending.after.as_json(),
        "revisions": [
            {
                "revision": it.number,
                "kind": it.kind,
                "about": it.about,
                "leastHead": it.least_head,
                "irreversible": it.irreversible,
                "sql": _shown(it.number),
            }
            for it in pending.runs
        ],
    }


def _listed(revision: Revision) -> dict[str, object]:
    """A revision as docs/schema.md has it, with all that is sent for it."""
    sql, lacks = render(MIGRATIONS, revision.number)
    lines = [it for it in sql.splitlines() if it.strip()]
    return {
        "revision": revision.number,
        "kind": revision.kind,
        "about": revision.about,
        "irreversible": revision.irreversible,
        "waived": list(revision.waived),
        # What was begun and is not rendered to its end would be taken for one that never ends.
        "sql": [*lines, *(["COMMIT;"] if lacks else [])],
    }


def _shown(number: int) -> list[str]:
    sql, lacks = render(MIGRATIONS, number)
    return [*statements(sql), *([f"-- and what is not known before: {lacks}"] if lacks else [])]


_NO_LINE = (
    "error: the revisions of this code are no line\n"
    "  why:   {why}\n"
    "  state: nothing was changed\n"
    "  next:  give each the number after the one before it; make check says the same"
)
_NEXT_REFUSED = "deploy code that fits it, or correct AEGIS_DATABASE_URL or its role"
_NEXT_FAILED = "correct what it names, and run it again: it goes on from there"


def _state(error: MigrationError) -> str:
    if error.began:
        return f"it is at revision {error.at}, whole; the release that runs serves on"
    return f"it is at revision {error.at}; nothing was changed"


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)  # noqa: T201 - its output is for people


if __name__ == "__main__":
    sys.exit(main())
