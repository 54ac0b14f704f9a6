"""Looks at the database now and then: first until it is found in range, then to say how it is.

A pod is ready once it has reached its database and fits it. Later a database that is away takes no
pod out of the Service: all of them would go at once, and nobody would be left to say 503.
"""

from __future__ import annotations

import asyncio
import logging

from sqlalchemy.exc import DBAPIError

from app.database import identity
from app.database.engine import LOOK, Database, reason
from app.database.schema import CodeSchema, DatabaseSchema, misfit
from app.lifecycle import Lifecycle
from app.metrics import DatabaseMetrics
from app.problems import ProblemError

FIRST_SECONDS = 0.5
"""How often it is looked at until the service is ready."""
SECONDS = 5.0
"""How often later."""
_logger = logging.getLogger("aegis.database")


class DatabaseWatch:
    """What is known of the database, kept up to date by a task.

    Attributes:
        schema: What it last said of its schema; None before it was reached.
    """

    def __init__(
        self,
        database: Database,
        code: CodeSchema,
        lifecycle: Lifecycle,
        metrics: DatabaseMetrics,
        *,
        service: str,
        production: bool,
    ) -> None:
        self.schema: DatabaseSchema | None = None
        self._database, self._code, self._service = database, code, service
        self._production = production
        self._lifecycle, self._metrics = lifecycle, metrics
        self._last: str | None = ""
        lifecycle.await_first("database", "its database was not asked yet")

    async def run(self) -> None:
        """Look until cancelled."""
        fits = False
        while True:
            why = await self._look()
            self._metrics.reached(why is None)
            if why is None and not fits:
                fits = True
                self._lifecycle.arrived("database")
            elif why is not None and not fits:
                self._lifecycle.await_first("database", why)
            self._tell(why)
            await asyncio.sleep(SECONDS if fits else FIRST_SECONDS)

    def close(self) -> None:
        """Close the database's connections."""
        self._database.close()

    async def _look(self) -> str | None:
        """Return why the service cannot use its database now; None when it can."""
        try:
            self.schema = await self._read()
        except ProblemError as error:
            return error.title if error.__cause__ is None else reason(error.__cause__)
        except identity.UnfitError as error:
            return str(error)
        except DBAPIError as error:
            return f"the database refuses to say what it is: {reason(error)}"
        self._metrics.schema(self.schema.revision, self.schema.least_head)
        return misfit(self._code, self.schema)

    async def _read(self) -> DatabaseSchema:
        return await self._database.run(
            LOOK, lambda it: identity.read(it, self._service, production=self._production)
        )

    def _tell(self, why: str | None) -> None:
        if why == self._last:
            return
        self._last = why
        if why is None:
            _logger.info(
                "database reached", extra={"schema": self.schema and self.schema.as_json()}
            )
        else:
            _logger.warning("database not usable", extra={"why": why})
