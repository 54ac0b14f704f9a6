"""Tries this code on the copy of the database that a rehearsal of other code's revisions left.

What the service tries when it is asked whether it works with its data is tried: a read and a write
of which nothing stays. The copy is dropped at the end.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from app.database import identity
from app.database.engine import Database, reason
from app.database.records import DatabaseRecords
from app.database.schema import CodeSchema, DatabaseSchema, misfit
from app.migrations.rehearsal import left_copy
from app.probe import DataProbe
from app.problems import ProblemError

_NO_COPY = "there is no copy: nothing was pending, or the rehearsal drops its own"


@dataclass(frozen=True, kw_only=True)
class Trial:
    """What came of it.

    Attributes:
        code: What the code says of itself.
        database: What the copy is; None where there is none.
        failed: Why it does not work; empty where it does.
    """

    code: CodeSchema
    database: DatabaseSchema | None
    failed: str = ""

    def as_json(self) -> dict[str, object]:
        """It as docs/schema.md has it."""
        return {
            "code": self.code.as_json(),
            "database": None if self.database is None else self.database.as_json(),
            "failed": self.failed or None,
        }


def tried(
    engine_of: Callable[[str | None], Engine],
    database_of: Callable[[str], Database],
    code: CodeSchema,
    *,
    service: str,
) -> Trial:
    """Try a read and a write on the copy, and drop it.

    Args:
        engine_of: Makes what connects to a database of the server; None names the original.
        database_of: Makes the service's own way to one.
        code: What the code says of itself.
        service: Whose the database has to be.
    """
    with engine_of(None).connect() as original, left_copy(original) as name:
        if not name:
            return Trial(code=code, database=None, failed=_NO_COPY)
        with engine_of(name).connect() as copy:
            try:
                schema = identity.read(copy, service, production=False)
            except identity.UnfitError as error:
                return Trial(code=code, database=None, failed=str(error))
        why = misfit(code, schema)
        if not why:
            database = database_of(name)
            try:
                why = asyncio.run(_probed(database))
            finally:
                database.close()
        return Trial(code=code, database=schema, failed=why or "")


async def _probed(database: Database) -> str:
    """Return why the service's own probes of its data fail; empty when they do not."""
    probe = DataProbe(DatabaseRecords(database))
    for what, ask in (("a read", probe.read), ("a write", probe.write)):
        try:
            await ask()
        except ProblemError as error:
            cause = error.__cause__
            return f"{what} fails: {error.title if cause is None else reason(cause)}"
        except SQLAlchemyError as error:
            return f"{what} fails: {reason(error)}"
    return ""
