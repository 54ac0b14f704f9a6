"""The pool of connections, and what a failure of the database means to a client.

A connection is tried before it is used (`pool_pre_ping`), so that those to a server that was
restarted are replaced and not failed on; and one is made whenever one is needed, so that nothing
has to notice that a database came back. Transactions run in threads: SQLAlchemy's asyncio needs
greenlet, and that a C++ runtime which an image with nothing but Python lacks.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import anyio.to_thread
import psycopg
from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from app.database.address import Tls, connect_arguments, parse
from app.metrics import DatabaseMetrics
from app.problems import ProblemError

T = TypeVar("T")

POOL_SIZE = 5
_MOST_AT_ONCE = 2 * POOL_SIZE
_POOL_SECONDS = 3.0
"""So long a request waits for one of the connections, when all are in use."""
LOOK = "look"
"""The operation of the watch."""
_AWAY = (psycopg.OperationalError, psycopg.InterfaceError)
_BUSY = (psycopg.errors.QueryCanceled, psycopg.errors.LockNotAvailable)
_ROLE_CHANGE = psycopg.errors.ReadOnlySqlTransaction
"""What a server says that was a primary a moment ago."""
_logger = logging.getLogger("aegis.database")


class Database:
    """A PostgreSQL that the service reads and writes."""

    def __init__(
        self,
        address: str,
        metrics: DatabaseMetrics,
        *,
        tls: Tls = "verify-full",
        authority: str | None = None,
        name: str = "aegis-api",
    ) -> None:
        """Prepare it; nothing is connected yet.

        Args:
            address: Its address, with the password.
            metrics: Where its work is counted.
            tls: Whether it must prove who it is.
            authority: The file with its certificate authority's certificate.
            name: What the server's own views call the connections.

        Raises:
            AddressError: The address is none.
        """
        arguments = connect_arguments(tls=tls, authority=authority, name=name)
        self._metrics = metrics
        self._engine: Engine = create_engine(
            parse(address),
            connect_args=dict(arguments),
            pool_size=POOL_SIZE,
            max_overflow=_MOST_AT_ONCE - POOL_SIZE,
            pool_timeout=_POOL_SECONDS,
            pool_pre_ping=True,
            # A statement's parameters are a client's data: not for a log.
            hide_parameters=True,
        )
        event.listen(self._engine, "connect", _keep_commits_durable)
        metrics.watch_pool(self._counts)
        self._turns = asyncio.Semaphore(_MOST_AT_ONCE)

    async def run(self, operation: str, work: Callable[[Connection], T]) -> T:
        """Do some work as one transaction: all of it is kept at its end, or none.

        Args:
            operation: What it is for, as metrics call it.
            work: It, given the connection; it runs in a thread.

        Raises:
            ProblemError: The database is away or does not get to it: 503, and when to ask again.
        """
        with self._metrics.timed(operation), self._told(operation):
            try:
                async with asyncio.timeout(_POOL_SECONDS):
                    await self._turns.acquire()
            except TimeoutError:
                raise PoolTimeoutError("every connection is in use") from None
            try:
                # Whoever is cut off by the end of the process does not wait for the thread.
                return await anyio.to_thread.run_sync(
                    self._transaction, work, abandon_on_cancel=True
                )
            finally:
                self._turns.release()

    def _transaction(self, work: Callable[[Connection], T]) -> T:
        with self._engine.begin() as connection:
            return work(connection)

    @contextmanager
    def _told(self, operation: str) -> Iterator[None]:
        """Make of the database's failures what a client is to know of them."""
        try:
            yield
        except (SQLAlchemyError, OSError) as error:
            problem = _problem(error)
            if problem is None:
                raise
            self._metrics.failed(operation, str(problem.slug))
            _logger.log(
                # Whoever looks whether it is there tells it once, when that changes.
                logging.DEBUG if operation == LOOK else logging.WARNING,
                "database failed",
                extra={"operation": operation, "why": reason(error)},
            )
            raise problem from error

    def close(self) -> None:
        """Close every connection that does nothing."""
        self._engine.dispose()

    def _counts(self) -> tuple[int, int]:
        pool: Any = self._engine.pool
        return pool.checkedout(), pool.checkedin()


def reason(error: BaseException) -> str:
    """Return what PostgreSQL or the way to it said, in one line; never a value of a statement."""
    cause = getattr(error, "orig", None) or error
    diagnosis = getattr(cause, "diag", None)
    said = getattr(diagnosis, "message_primary", None) or str(cause)
    return f"{type(cause).__name__}: {' '.join(str(said).split())}"[:300]


def _problem(error: SQLAlchemyError | OSError) -> ProblemError | None:
    cause = getattr(error, "orig", None)
    invalidated = isinstance(error, DBAPIError) and error.connection_invalidated
    if isinstance(cause, _BUSY) or isinstance(error, PoolTimeoutError):
        return ProblemError(
            503,
            slug="database-busy",
            title="The database does not get to it",
            detail="Other work held it up for too long; nothing was kept. Ask again.",
            headers={"Retry-After": "1"},
        )
    if invalidated or isinstance(error, OSError) or isinstance(cause, (*_AWAY, _ROLE_CHANGE)):
        return ProblemError(
            503,
            slug="database-away",
            title="The database does not answer",
            detail="Whether what was to be written is kept is not known: ask again, a create with "
            "the same Idempotency-Key.",
            headers={"Retry-After": "1"},
        )
    return None


def _keep_commits_durable(connection: Any, _record: object) -> None:  # noqa: ANN401 - the driver's
    """See that a commit is on disk before it is acknowledged, whatever a role was set to."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT set_config('synchronous_commit', 'on', false)"
            " WHERE current_setting('synchronous_commit') IN ('off', 'local')"
        )
    connection.commit()
