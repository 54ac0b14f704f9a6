"""Applies revisions to a database: one runner at a time, and each revision whole or not at all."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
from alembic import command
from alembic.config import Config
from alembic.script import Script, ScriptDirectory
from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError

from app.database import identity
from app.database.engine import reason
from app.database.schema import CodeSchema, DatabaseSchema, misfit
from app.database.tables import AEGIS_SCHEMA
from app.migrations.history import HistoryError, Plan, Revision, line, plan
from app.migrations.online import SAY, OrderError

LOCK = 0x61656769_73
"""The advisory lock of whoever migrates: "aegis"."""
ATTEMPTS = 8
Within = Callable[[Revision], AbstractContextManager[object]]
_TURN_SECONDS = 0.5
_WAIT_SECONDS = 300.0
_FIRST_PAUSE, _MOST_PAUSE = 0.5, 15.0
_HELD_UP = (psycopg.errors.LockNotAvailable, psycopg.errors.DeadlockDetected)


class MigrationError(Exception):
    """A migration that was not done, or not to its end.

    Attributes:
        why: Why.
        at: The revision the database is at.
        began: Whether a revision was begun: if not, nothing was changed.
        final: Whether the same again would come to the same.
    """

    def __init__(self, why: str, *, at: int, began: bool, final: bool = False) -> None:
        super().__init__(why)
        self.why, self.at, self.began, self.final = why, at, began, final


class RefusedError(MigrationError):
    """A database that this code must not migrate."""


def revisions(directory: Path = Path(__file__).parent) -> tuple[Revision, ...]:
    """Return the revisions of a directory, in order.

    Raises:
        HistoryError: They are no line.
    """
    return line(_revision(it) for it in ScriptDirectory(str(directory)).walk_revisions())


def _revision(script: Script) -> Revision:
    """Read a revision: what its module says, once its place is sure."""
    called, before, module = script.revision, script.down_revision, script.module
    kind: Any = getattr(module, "kind", None)
    number = int(called) if called.isascii() and called.isdigit() else 0
    irreversible = getattr(module, "irreversible", False) is True
    waived = getattr(module, "waived", ())
    if called != f"{number:04d}" or before != (f"{number - 1:04d}" if number > 1 else None):
        raise HistoryError(
            f"revision {called!r} follows {before!r}: each is called by its number, as in 0001, "
            "and follows the one before it, so that there is one head"
        )
    return Revision(
        number=number,
        kind=kind,
        about=(module.__doc__ or "").strip().partition("\n")[0].rstrip("."),
        least_head=getattr(module, "least_head", number if irreversible else 0),
        irreversible=irreversible,
        # One of another form is for the lint to refuse.
        waived=tuple(waived) if isinstance(waived, Mapping) else (),
    )


@dataclass(frozen=True, kw_only=True)
class Pending:
    """What a run would do.

    Attributes:
        at: What the database says of itself.
        after: What it would say afterwards.
        runs: The revisions that would be applied, in order.
    """

    at: DatabaseSchema
    after: DatabaseSchema
    runs: tuple[Revision, ...] = ()


class Runner:
    """Brings one database to a code's schema.

    Attributes:
        service: Whose the database has to be.
    """

    def __init__(
        self,
        connection: Connection,
        code: CodeSchema,
        *,
        service: str,
        production: bool,
        say: Callable[[str], None],
        within: Within = nullcontext,
        directory: Path = Path(__file__).parent,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        """Prepare it.

        Args:
            connection: A connection to the database, for this alone.
            code: What the code says of itself.
            service: Whose the database has to be.
            production: Whether a mistake would be one in production.
            say: Tells a line.
            within: What a revision is applied within.
            directory: Where the revisions are.
            pause: Waits for some seconds.
        """
        self._connection, self._code, self.service = connection, code, service
        self._production, self._say, self._pause = production, say, pause
        self._within, self._directory = within, directory
        self._line = revisions(directory)

    def run(self, *, contracts: bool = False) -> DatabaseSchema:
        """Apply what is pending.

        Args:
            contracts: Whether contracts are applied, too.

        Returns:
            What the database says of itself afterwards.

        Raises:
            RefusedError: It does not fit, or is not to be migrated by this role.
            MigrationError: A revision failed.
        """
        self._take_turn()
        try:
            done = self._run(contracts)
            if self._production:
                self._mark_real()
            return done
        finally:
            self._end_turn()

    def replay(self, revision: int) -> None:
        """Apply all revisions up to one to an empty database, contracts, too: a copy's beginning.

        Args:
            revision: The last one.

        Raises:
            MigrationError: One failed.
        """
        for it in self._line[:revision]:
            self._apply(it)

    def pending(self, *, contracts: bool = False) -> Pending:
        """Say what a run would do, and do nothing.

        Args:
            contracts: Whether contracts would be applied, too.

        Raises:
            RefusedError: It would be refused.
        """
        at = self._look()
        if at.revision >= self._code.head or self._code.head < at.least_head:
            self._require_fit(at)
            return Pending(at=at, after=at)
        return self._planned(at, plan(self._line, at.revision, contracts=contracts))

    def _run(self, contracts: bool) -> DatabaseSchema:
        at = self._look()
        if at.revision >= self._code.head or self._code.head < at.least_head:
            self._require_fit(at)
            self._say(
                f"nothing to do: the database is at revision {at.revision}, "
                f"and this code's last is {self._code.head}"
            )
            return at
        refused = identity.refusal(self._connection, production=self._production)
        self._connection.rollback()
        if refused is not None:
            raise RefusedError(refused, at=at.revision, began=False)
        todo = plan(self._line, at.revision, contracts=contracts)
        # Before anything is applied: what is refused afterwards would have been changed.
        self._planned(at, todo)
        for revision in todo.runs:
            self._apply(revision)
        self._tell_waiting(todo)
        return self._look()

    def _mark_real(self) -> None:
        """Have the database say whose data it holds; nothing depends on whether it could now."""
        try:
            if not identity.says_real(self._connection):
                identity.mark_real(self._connection)
            self._connection.commit()
        except DBAPIError as error:
            self._connection.rollback()
            self._say(f"not marked as holding real data: {reason(error)}")

    def _planned(self, at: DatabaseSchema, todo: Plan) -> Pending:
        """Say what a database would be after a plan.

        Raises:
            RefusedError: This code would not fit it.
        """
        revision = at.revision + len(todo.runs)
        least = max((it.least_head for it in self._line[:revision]), default=0)
        after = DatabaseSchema(revision=revision, least_head=max(at.least_head, least))
        why = misfit(self._code, after)
        if why is not None:
            behind = next((f"; {it} waits for aegis migrate contract" for it in todo.waits), "")
            raise RefusedError(f"{why}{behind}", at=at.revision, began=False)
        return Pending(at=at, after=after, runs=todo.runs)

    def _look(self) -> DatabaseSchema:
        try:
            return identity.read(self._connection, self.service, production=self._production)
        except identity.UnfitError as error:
            raise RefusedError(str(error), at=0, began=False) from None
        finally:
            self._connection.rollback()

    def _require_fit(self, at: DatabaseSchema) -> None:
        why = misfit(self._code, at)
        if why is not None:
            raise RefusedError(why, at=at.revision, began=False)

    def _tell_waiting(self, todo: Plan) -> None:
        for revision in todo.waits:
            self._say(f"waits: {revision}")

    def _apply(self, revision: Revision) -> None:
        """Apply one revision; try again while something else holds what it has to lock."""
        pause = _FIRST_PAUSE
        for attempt in range(1, ATTEMPTS + 1):
            began = time.monotonic()
            try:
                self._upgrade(revision)
            except DBAPIError as error:
                self._connection.rollback()
                if not isinstance(error.orig, _HELD_UP) or attempt == ATTEMPTS:
                    raise self._failed(revision, error) from None
                # Whoever waits for a strong lock makes everybody behind it wait: give way instead.
                self._say(f"held up: {revision}: {reason(error)}; attempt {attempt}")
                self._pause(pause * random.uniform(0.5, 1.0))  # noqa: S311 - spreads, hides nothing
                pause = min(pause * 2, _MOST_PAUSE)
            except OrderError as error:
                self._connection.rollback()
                raise MigrationError(
                    f"{revision}: {error}", at=revision.number - 1, began=True, final=True
                ) from None
            else:
                self._say(f"applied {revision}, {time.monotonic() - began:.1f} s")
                return

    def _failed(self, revision: Revision, error: DBAPIError) -> MigrationError:
        return MigrationError(
            f"{revision}: {reason(error)}",
            at=revision.number - 1,
            began=True,
            # Of locks, time, space or a server that goes the next try may see nothing.
            final=not isinstance(error.orig, psycopg.OperationalError),
        )

    def _upgrade(self, revision: Revision) -> None:
        config = Config()
        config.set_main_option("script_location", str(self._directory))
        config.attributes["connection"] = self._connection
        config.attributes["on_apply"] = self._note
        config.attributes[SAY] = self._say
        with self._within(revision):
            command.upgrade(config, f"{revision.number:04d}")
        self._connection.commit()

    def _note(self, *, ctx: Any, step: Any, **_: Any) -> None:  # noqa: ANN401 - Alembic's
        """Write what the database is by now, in the transaction of the revision itself."""
        revision = self._line[int(step.up_revision_id) - 1]
        least = max((it.least_head for it in self._line[: revision.number]), default=0)
        values = {"revision": revision.number, "least_head": least}
        done = ctx.connection.execute(AEGIS_SCHEMA.update().values(**values))
        if done.rowcount == 0:
            ctx.connection.execute(
                AEGIS_SCHEMA.insert().values(singleton=1, service=self.service, **values)
            )

    def _take_turn(self) -> None:
        """Wait for the turn without a statement that waits: it would hold up an index's making."""
        waited = 0.0
        while not self._connection.scalar(text(f"SELECT pg_try_advisory_lock({LOCK})")):
            self._connection.rollback()
            if waited == 0:
                self._say("waiting for another migration of this database")
            if waited >= _WAIT_SECONDS:
                raise MigrationError(
                    f"another migration of this database has not ended for {waited:g} s",
                    at=self._look().revision,
                    began=False,
                )
            self._pause(_TURN_SECONDS)
            waited += _TURN_SECONDS
        self._connection.rollback()

    def _end_turn(self) -> None:
        if not self._connection.invalidated and not self._connection.closed:
            self._connection.rollback()
            self._connection.scalar(text(f"SELECT pg_advisory_unlock({LOCK})"))
            self._connection.rollback()
